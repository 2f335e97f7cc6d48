//! The certificate: where it is, loaded or made at start. [`super::swap`] looks after it later.

use super::ServeError;
use crate::config::{Config, Tls};
use crate::tls::{self, CertifiedChain, ChainError, ChainOptions, Keys, Warning};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// Where the local CA and certificate are.
#[must_use]
pub fn local_dir(config: &Config) -> PathBuf {
    config.data_dir.join("tls")
}

/// How `[tls]` wants its chain completed.
#[must_use]
pub fn chain_options(tls: &Tls) -> ChainOptions {
    ChainOptions { append_root: tls.append_root, roots: tls.roots.clone() }
}

/// The files of the certificate in use.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// Leaf and intermediates.
    pub chain: PathBuf,
    /// The leaf's key.
    pub key: PathBuf,
    /// The CA's own file, when m0v made it.
    pub ca: Option<PathBuf>,
    /// How the chain is completed.
    pub options: ChainOptions,
}

impl CertificateFiles {
    /// Those that this configuration means.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let options = chain_options(&config.tls);
        match (&config.tls.chain, &config.tls.key) {
            (Some(chain), Some(key)) => Self { chain: chain.clone(), key: key.clone(), ca: None, options },
            _ => {
                let dir = local_dir(config);
                let (chain, key) = (dir.join("chain.pem"), dir.join("key.pem"));
                Self { chain, key, ca: Some(dir.join("ca.pem")), options }
            }
        }
    }

    /// Reads, checks and completes the chain.
    ///
    /// # Errors
    /// The first fault found, in one sentence.
    pub fn load(&self, now: SystemTime) -> Result<(CertifiedChain, Vec<Warning>), ChainError> {
        tls::load_files(&self.chain, &self.key, &self.options, now)
    }
}

/// Loads the certificate, or makes the local one, and checks it.
pub(super) async fn load(config: &Config) -> Result<Arc<Keys>, ServeError> {
    let (files, dir) = (CertificateFiles::of(config), local_dir(config));
    let loaded = tokio::task::spawn_blocking(move || {
        if files.ca.is_some() {
            ensure_local(&dir)?;
        }
        files.load(SystemTime::now())
    });
    let (chain, warnings) = loaded.await.map_err(|error| ServeError::Task(error.to_string()))??;
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok(Keys::new(chain))
}

/// Makes what is missing of the local CA and certificate, and renews the latter when it is due.
pub(super) fn ensure_local(dir: &std::path::Path) -> Result<(), ChainError> {
    let local = tls::ensure_local(dir, &host_name(), SystemTime::now())?;
    if local.ca_made {
        log::info!("made a local CA: devices must hold {}", local.ca.display());
    }
    if local.leaf_made {
        log::info!("made a server certificate: {}", local.chain.display());
    }
    Ok(())
}

/// What other machines may call this one.
fn host_name() -> Vec<String> {
    hostname::get().ok().and_then(|name| name.into_string().ok()).into_iter().collect()
}
