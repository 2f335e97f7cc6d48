//! Joins the rooms: binds, accepts within limits, drains at the end.
//!
//! Every task started here is awaited here: accept loops, store watch and writer lanes in
//! one `JoinSet`, connections in one `TaskTracker` that `stop` asks and `abort` ends.

mod accept;
mod acme;
mod admin;
mod certificates;
mod connection;
mod data_dir;
mod doors;
mod expiry;
mod files;
mod front;
mod handshakes;
mod inside;
mod registry;
mod secret;
mod spool;
mod store;
mod swap;
mod tunnel;

use crate::acme::AcmeError;
use crate::api::TelemetrySink;
use crate::config::Config;
use crate::device::Registry;
use crate::meter::Known;
use crate::net::listen::BindError;
use crate::ops::admin::Admin;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::store::StoreError;
use crate::tls::{ChainError, SetupError};
use connection::{Door, House};
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use acme::{Caches, acme_chain, acme_dir, acme_options};
pub use certificates::{CertificateFiles, chain_options, local_dir};
pub use data_dir::{DataDirError, running_listeners};
pub use secret::SecretError;
pub use store::{embedded_file, open as open_store};
pub use tunnel::tunnel_targets;

/// How long connections may take to answer what they have read, once the server stops.
/// Below the 90 s after which systemd kills, above any commit that is going to succeed.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The folder of our own files.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// `[tls] chain` or `key`.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// `[acme]` cannot work as it stands.
    #[error(transparent)]
    Acme(#[from] AcmeError),
    /// `[database] secret_file`.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// TLS options that make no server.
    #[error(transparent)]
    Tls(#[from] SetupError),
    /// No threads for passwords.
    #[error("cannot start the threads that check passwords: {0}")]
    Passwords(#[source] io::Error),
    /// A task of ours died while starting.
    #[error("a start-up task failed: {0}")]
    Task(String),
    /// The database, and waiting would not help.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of ours.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Serves until `stop` resolves, then answers what was read and returns.
///
/// # Errors
/// Only before anything listens: see [`ServeError`].
pub async fn run(config: Config, stop: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
    let data_dir = data_dir::DataDir::open(&config.data_dir)?;
    let open_files = files::raise_limit(config.database.max_connections);
    let metrics = Arc::new(Metrics::default());
    let health = Arc::new(Health::default());
    let bound = doors::bind(&config)?;
    let keys = certificates::load(&config).await?;
    let mut tasks = JoinSet::new();
    let stopping = CancellationToken::new();
    let store = store::open(&config).await?;
    let known = Arc::new(Known::default());
    let spool = spool::open(&config, &data_dir, &store, &known, &health, &metrics).await?;
    let mut stop = pin!(stop);
    let prepared = tokio::select! {
        prepared = store::first_contact(&*store, &health, &metrics) => prepared?,
        () = &mut stop => return Ok(()),
    };
    tasks.spawn(store::watch(
        Arc::clone(&store),
        prepared,
        Arc::clone(&health),
        Arc::clone(&metrics),
        stopping.clone(),
    ));

    let registry = registry::open(&store, prepared, &spool, (&health, &metrics), &mut tasks, &stopping).await;
    tasks.spawn(store::hear(Arc::clone(&store), stopping.clone()));
    let acme = acme::begin(&config, &*store, &keys, data_dir.node(), &health).await?;
    if acme.is_none() {
        tasks.spawn(swap::watch(config.clone(), Arc::clone(&keys), stopping.clone()));
    }
    let handle = acme.as_ref().map(acme::Acme::handle);
    tasks.spawn(expiry::count_down(Arc::clone(&keys), Arc::clone(&metrics), handle, stopping.clone()));
    let options = spool.for_telemetry(&config, &health, &metrics);
    let telemetry = TelemetrySink::start(Arc::clone(&store), options, &mut tasks);
    let lanes = doors::lanes(&config, spool.node, spool.packets, &health, &metrics);
    let draining = spool::drain(&lanes);
    let shared = doors::Shared { store: &store, known: &known, registry: &registry, lanes: &lanes };
    let rooms = doors::Rooms::build(&config, shared, telemetry, &mut tasks, &stopping)?;
    drop(lanes);
    let house = House::new(&config, open_files, &metrics, stopping.clone())
        .map_err(|error| ServeError::Task(error.to_string()))?;
    doors::write_listeners(&data_dir.path().join(LISTENERS), &bound)?;
    let mut opened = doors::open(&config, &rooms, &keys, bound.sections)?;
    let parts = tunnel::Parts { config: &config, keys: &keys, registry: &registry, house: &house };
    if let Some(service) = parts.open(bound.tunnel, &mut opened)? {
        tasks.spawn(tunnel::look_up(service, stopping.clone()));
    }
    accept_at(opened, registry, &house, &mut tasks, &stopping);
    drop(rooms);
    if let Some(acme) = acme {
        let doors = (bound.acme_http, bound.acme_tls_alpn);
        acme.run(&config, doors, (&health, &metrics), &stopping, &mut tasks);
    }
    let admin = Admin {
        health: Arc::clone(&health),
        metrics: Arc::clone(&metrics),
        addresses: bound.admin_addresses.into(),
    };
    for listener in bound.admin {
        tasks.spawn(admin::serve(listener, admin.clone(), stopping.clone()));
    }
    health.set_listening(true);
    notify(&[sd_notify::NotifyState::Ready]);
    log::info!("ready");

    stop.await;
    notify(&[sd_notify::NotifyState::Stopping]);
    health.set_listening(false);
    log::info!("stopping: answering what was read");
    stopping.cancel();
    house.drain(DRAIN_TIMEOUT).await;
    if timeout(DRAIN_TIMEOUT, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
        log::warn!("stopped with work left: the database or an HTTP client did not answer in time");
    }
    if let Some(draining) = draining {
        draining.finish().await;
    }
    data_dir.forget(LISTENERS);
    log::info!("stopped");
    Ok(())
}

/// Has every door take its connections.
fn accept_at(
    opened: Vec<(Arc<Door>, TcpListener)>,
    registry: Arc<Registry>,
    house: &Arc<House>,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let doors = opened.iter().map(|(door, _)| Arc::clone(door)).collect();
    tasks.spawn(doors::forget_sessions(doors, registry, stop.clone()));
    for (door, listener) in opened {
        tasks.spawn(accept::run(listener, door, Arc::clone(house)));
    }
}

/// Where the bound addresses are written, in `data_dir`.
const LISTENERS: &str = "listeners.json";

/// Tells systemd, when it listens.
fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("sd_notify: {error}");
    }
}
