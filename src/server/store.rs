//! Opens the configured store and watches over it.

use super::data_dir;
use crate::config::Config;
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::store::embedded::Embedded;
use crate::store::postgres::{Postgres, PostgresOptions};
use crate::store::{Store, StoreError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How often the store is asked whether it is there: DESIGN §4 wants a reconnect once a second.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// How long that answer may take before the store counts as away.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long looking at the schema again may take when the store is back.
const RECHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// How often partitions are made ahead.
const MAINTAIN_EVERY: Duration = Duration::from_secs(6 * 3600);

/// The embedded store's file, in `data_dir`.
const EMBEDDED_FILE: &str = "m0v.sqlite";

/// Where the embedded store is, if there is no `[database] url`.
pub fn embedded_file(config: &Config) -> PathBuf {
    config.data_dir.join(EMBEDDED_FILE)
}

/// Opens the store of `config`. PostgreSQL is not contacted yet.
///
/// # Errors
/// A file that cannot be opened, a URL that cannot be read.
pub async fn open(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let Some(url) = &config.database.url else {
        let path = embedded_file(config);
        let data_dir = config.data_dir.clone();
        let open = move || {
            data_dir::make(&data_dir).map_err(|error| StoreError::Refused(error.to_string()))?;
            Embedded::open(&path)
        };
        return match tokio::task::spawn_blocking(open).await {
            Ok(opened) => Ok(Arc::new(opened?)),
            Err(error) => Err(StoreError::Refused(error.to_string())),
        };
    };
    let database = &config.database;
    let opened = Postgres::new(PostgresOptions {
        url: url.expose_secret().to_owned(),
        ca_file: database.ca_file.clone(),
        max_connections: database.max_connections,
        allow_unsafe: database.allow_unsafe,
    })?;
    Ok(Arc::new(opened))
}

/// Prepares the schema if the store is there. Whether it was.
///
/// # Errors
/// Only what waiting would not mend.
pub(super) async fn first_contact(
    store: &dyn Store,
    health: &Health,
    metrics: &Metrics,
) -> Result<bool, StoreError> {
    match prepare(store).await {
        Ok(()) => {
            health.set_store(true);
            events::store_is_up(metrics);
            Ok(true)
        }
        Err(error) if error.is_transient() => {
            events::store_is_down(metrics, &error);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Keeps `health` true to the store until `stop`: prepares it as soon as it is there, asks
/// it every second, makes partitions ahead.
pub(super) async fn watch(
    store: Arc<dyn Store>,
    mut prepared: bool,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut tick = interval(WATCH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut maintained = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let answer = match (prepared, health.store_is_up()) {
            (false, _) => prepare(&*store).await,
            (true, true) => within(PING_TIMEOUT, store.ping()).await,
            // It may have been upgraded or replaced while it was away.
            (true, false) => match within(RECHECK_TIMEOUT, store.prepare()).await {
                Ok(()) => within(PING_TIMEOUT, store.probe()).await,
                error => error,
            },
        };
        prepared |= answer.is_ok();
        metrics.stored.database_safety(&store.safety());
        let was_up = health.set_store(answer.is_ok());
        match answer {
            Ok(()) if !was_up => events::store_is_up(&metrics),
            Err(error) if was_up => events::store_is_down(&metrics, &error),
            Err(error) => events::store_stays_down(&metrics, &error),
            Ok(()) => {}
        }
        if prepared && maintained.elapsed() >= MAINTAIN_EVERY {
            maintained = Instant::now();
            if let Err(error) = store.maintain().await {
                events::store_failed(&health, &metrics, "make partitions ahead", &error);
            }
        }
    }
}

/// Keeps those who wait for a confirmation informed of other processes' until `stop`.
pub(super) async fn hear(store: Arc<dyn Store>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = store.hear() => {}
    }
}

async fn prepare(store: &dyn Store) -> Result<(), StoreError> {
    // No deadline beside the store's own: an upgrade that is cut off starts from the beginning.
    store.prepare().await
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    timeout(limit, call)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no answer within {} s", limit.as_secs()))))
}
