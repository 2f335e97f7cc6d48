//! The certificate from a CA: joins the acme room to the TLS stacks, the store and the operator.
//!
//! `install` puts an issued chain through the devices' demands and into [`Keys`]; `attend` is the
//! task that keeps readiness, metrics and the copy on disk true, and looks after the roots folder.
//! On PostgreSQL with a secret all nodes share one cache; the newest certificate is copied to
//! `<data_dir>/acme/` then, so that a node can start and serve it while the database is away.

mod attend;
mod install;

use super::ServeError;
use super::certificates::chain_options;
use super::secret;
use crate::acme::{
    Ambient, Cache, CacheError, Certificate, Checked, FileCache, Handle, Install, Issuer, Keeper, Options,
    Pace, Secret, serve_http_01, serve_tls_alpn_01,
};
use crate::config::Config;
use crate::ops::{health::Health, metrics::Metrics};
use crate::store::Store;
use crate::tls::{CertifiedChain, ChainError, Keys};
use install::Installer;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(super) struct Acme {
    installer: Arc<Installer>,
    caches: Caches,
    keeper: Keeper,
    handle: Handle,
}

/// Where account, order and certificate are.
pub struct Caches {
    /// Of all nodes.
    shared: Option<Arc<dyn Cache>>,
    /// This node's, in `data_dir`.
    own: Arc<FileCache>,
}

impl Caches {
    /// Opens what the configuration asks for; nothing in the database is touched.
    ///
    /// # Errors
    /// The folder or the secret cannot be used.
    pub fn open(config: &Config, checked: &Checked, store: &dyn Store) -> Result<Self, ServeError> {
        let sealer = secret::sealer(&config.database)?;
        let shared = sealer.and_then(|sealer| store.acme_cache(checked.name(), sealer));
        let own = FileCache::open(&acme_dir(config)).map_err(crate::acme::AcmeError::from)?;
        Ok(Self { shared, own: Arc::new(own) })
    }

    /// The one that counts.
    #[must_use]
    pub fn used(&self) -> Arc<dyn Cache> {
        match &self.shared {
            Some(shared) => Arc::clone(shared),
            None => Arc::<FileCache>::clone(&self.own),
        }
    }
}

/// This node's account, certificate and keys.
#[must_use]
pub fn acme_dir(config: &Config) -> PathBuf {
    config.data_dir.join("acme")
}

/// `[acme]` as the room takes it; `None` while it is off.
#[must_use]
pub fn acme_options(config: &Config) -> Option<Options> {
    let acme = &config.acme;
    (!acme.domains.is_empty()).then(|| Options {
        domains: acme.domains.clone(),
        contact: acme.contact.clone(),
        directory: acme.directory.clone(),
        ca_file: acme.ca_file.clone(),
        eab_kid: acme.eab_kid.clone(),
        eab_key: acme.eab_key.as_ref().map(|key| Secret::new(key.expose_secret().to_owned())),
        key_bits: acme.key_bits,
        reuse_key: acme.reuse_key,
        preferred_chain: acme.preferred_chain.clone(),
        renew_before_days: acme.renew_before_days,
        profile: acme.profile.clone(),
        http_01: !acme.listen_http.is_empty(),
        tls_alpn_01: !acme.listen_tls_alpn.is_empty(),
    })
}

/// An issued certificate as it would be served.
///
/// # Errors
/// Why devices would refuse it.
pub fn acme_chain(config: &Config, certificate: &Certificate) -> Result<CertifiedChain, ChainError> {
    install::complete(&chain_options(&config.tls), certificate, SystemTime::now())
}

/// Takes the certificate of the last run into service, before any door is open.
pub(super) async fn begin(
    config: &Config,
    store: &dyn Store,
    keys: &Arc<Keys>,
    node: i64,
    health: &Health,
) -> Result<Option<Acme>, ServeError> {
    let Some(options) = acme_options(config) else { return Ok(None) };
    let checked = options.check()?;
    let caches = Caches::open(config, &checked, store)?;
    let installer = Arc::new(Installer::new(Arc::clone(keys), chain_options(&config.tls)));
    match caches.own.certificate().await {
        Ok(Some((_, certificate))) => {
            if let Err(reason) = installer.install(&certificate) {
                log::warn!("the certificate of the last run is not served: {reason}");
            }
        }
        Ok(None) => {}
        Err(error @ CacheError::Damaged { .. }) => log::error!("{error}"),
        Err(error) => return Err(crate::acme::AcmeError::from(error).into()),
    }
    if !installer.serves() {
        let trust = if config.acme.ready_with_local { "" } else { ", so /readyz says no" };
        log::warn!(
            "no certificate from {} yet: the local one is served, which devices do not trust{trust}",
            checked.directory()
        );
        health.set_certificate_missing(!config.acme.ready_with_local);
    }
    let installs: Arc<dyn Install> = Arc::<Installer>::clone(&installer);
    let issuer = Issuer::new(checked, caches.used(), installs, Ambient::system(), Pace::default())?;
    let (keeper, handle) = Keeper::new(issuer, format!("node {node}"));
    Ok(Some(Acme { installer, caches, keeper, handle }))
}

impl Acme {
    /// Watches and nudges the keeper from elsewhere.
    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Answers the CA, keeps the certificate fresh, and tells how it stands; until `stop`.
    pub(super) fn run(
        self,
        config: &Config,
        (http, tls_alpn): (Vec<TcpListener>, Vec<TcpListener>),
        (health, metrics): (&Arc<Health>, &Arc<Metrics>),
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) {
        for listener in http {
            tasks.spawn(serve_http_01(listener, self.caches.used(), stop.clone()));
        }
        for listener in tls_alpn {
            tasks.spawn(serve_tls_alpn_01(listener, self.caches.used(), stop.clone()));
        }
        let attendant = attend::Attendant {
            state: self.handle.state(),
            handle: self.handle,
            installer: self.installer,
            copy_to: self.caches.shared.is_some().then_some(self.caches.own),
            roots: config.tls.roots.clone(),
            ready_with_local: config.acme.ready_with_local,
            health: Arc::clone(health),
            metrics: Arc::clone(metrics),
        };
        tasks.spawn(attendant.run(stop.clone()));
        tasks.spawn(self.keeper.run(stop.clone()));
    }
}
