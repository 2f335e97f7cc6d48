//! Fills the registry of devices, and keeps it true to the store.

use super::spool::Opened;
use crate::device::{self, Registry};
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::store::Store;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Reads the allow-list before a door opens: from the store if it is there (`prepared`), else as it
/// was kept in the spool's file. Without either, certificates are refused as `database unavailable`.
pub(super) async fn open(
    store: &Arc<dyn Store>,
    prepared: bool,
    spool: &Opened,
    (health, metrics): (&Arc<Health>, &Arc<Metrics>),
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Arc<Registry> {
    let registry =
        Registry::new(Arc::clone(store), spool.file.clone(), Arc::clone(health), Arc::clone(metrics));
    let registry = Arc::new(registry);
    let changes = store.changes();
    let is_fresh = prepared
        && registry.reload().await.inspect_err(|error| events::registry_is_behind(metrics, error)).is_ok();
    if !is_fresh {
        match registry.recall().await {
            Ok(Some(at)) => events::allow_list_recalled(at),
            Ok(None) => events::allow_list_unknown(None),
            Err(error) => events::allow_list_unknown(Some(&error)),
        }
    }
    tasks.spawn(device::follow(Arc::clone(&registry), changes, stop.clone()));
    registry
}
