//! An issued chain on its way into service: judged as a file would be, completed by its root.

use crate::acme::{Certificate, Install};
use crate::tls::{self, CertifiedChain, ChainError, ChainOptions, Keys};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// What messages call a chain that is no file.
const NAME: &str = "the certificate from the CA";

/// Swaps issued chains into the keys of all ports.
pub(super) struct Installer {
    keys: Arc<Keys>,
    options: ChainOptions,
    served: Mutex<Option<Served>>,
}

struct Served {
    certificate: Certificate,
    until: SystemTime,
    /// Devices that want the root in the chain refuse it as it is.
    lacks_root: bool,
}

impl Installer {
    pub(super) fn new(keys: Arc<Keys>, options: ChainOptions) -> Self {
        Self { keys, options, served: Mutex::default() }
    }

    /// Whether a certificate from the CA is being served and has not ended.
    pub(super) fn serves(&self) -> bool {
        self.served().as_ref().is_some_and(|served| served.until > SystemTime::now())
    }

    /// What is being served.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        self.served().as_ref().map(|served| served.certificate.clone())
    }

    /// The roots changed: completes a chain that is served without its root.
    pub(super) fn look_for_root(&self) {
        let rootless =
            self.served().as_ref().filter(|served| served.lacks_root).map(|s| s.certificate.clone());
        let Some(certificate) = rootless else { return };
        match self.check(&certificate).and_then(|()| self.install(&certificate)) {
            Ok(()) => log::info!("the root `{}` is known now and sent with the chain", certificate.root),
            Err(reason) => log::warn!("{reason}; the chain is still served without it"),
        }
    }

    fn served(&self) -> MutexGuard<'_, Option<Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lacks_root(&self, chain: &CertifiedChain) -> bool {
        self.options.append_root && chain.root().is_none()
    }
}

impl Install for Installer {
    fn check(&self, certificate: &Certificate) -> Result<(), String> {
        let chain = complete(&self.options, certificate, SystemTime::now()).map_err(|e| e.to_string())?;
        if self.lacks_root(&chain) { Err(unknown_root(certificate)) } else { Ok(()) }
    }

    /// Without its root a chain is served only where nothing valid would be otherwise.
    fn install(&self, certificate: &Certificate) -> Result<(), String> {
        let now = SystemTime::now();
        let chain = complete(&self.options, certificate, now).map_err(|error| error.to_string())?;
        let lacks_root = self.lacks_root(&chain);
        let mut served = self.served();
        if lacks_root {
            if served.as_ref().is_some_and(|served| served.until > now) {
                return Err(unknown_root(certificate));
            }
            log::warn!("{}; until then the chain is served without it", unknown_root(certificate));
        }
        let until = chain.not_after();
        self.keys.swap(chain);
        *served = Some(Served { certificate: certificate.clone(), until, lacks_root });
        Ok(())
    }
}

fn unknown_root(certificate: &Certificate) -> String {
    format!(
        "its root `{}` is neither shipped nor in the folder [tls] roots: put it there (or set append_root = false \
         if no device wants it sent)",
        certificate.root
    )
}

/// The chain as both stacks would send it.
pub(super) fn complete(
    options: &ChainOptions,
    certificate: &Certificate,
    now: SystemTime,
) -> Result<CertifiedChain, ChainError> {
    let name = Path::new(NAME);
    let (chain, key) = (certificate.chain_pem.as_bytes(), certificate.key_pem.expose().as_bytes());
    tls::load_pem((name, chain), (name, key), options, now).map(|(chain, _)| chain)
}
