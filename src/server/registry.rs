//! Fills the registry of devices, and keeps it true to the store.

use crate::device::{self, Registry};
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::store::Store;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Reads the allow-list before a door opens, if the store is there (`prepared`); else certificates
/// are refused as `database unavailable` until it is.
pub(super) async fn open(
    store: &Arc<dyn Store>,
    prepared: bool,
    health: &Arc<Health>,
    metrics: &Arc<Metrics>,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Arc<Registry> {
    let registry = Arc::new(Registry::new(Arc::clone(store), Arc::clone(health), Arc::clone(metrics)));
    let changes = store.changes();
    if prepared && let Err(error) = registry.reload().await {
        events::registry_is_behind(metrics, &error);
    }
    tasks.spawn(device::follow(Arc::clone(&registry), changes, stop.clone()));
    registry
}
