//! Keeps the snapshot true to the store: what other processes change is in force within a second.

use super::Registry;
use crate::ops::events;
use crate::store::devices::Change;
use crate::store::now;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

/// From a failure to the next try.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How often those are looked for whose certificate expired while they were connected, and the
/// counts of the metrics are made.
const TICK: Duration = Duration::from_secs(15);

/// Everything is read anew so often, whatever was announced: someone may have changed rows by hand, or
/// put a connection pooler in between that keeps notifications to itself.
const RELOAD_EVERY: Duration = Duration::from_secs(300);

/// Brings into force what `changes` tells of until `stop`. They are to be subscribed to before the registry
/// is loaded for the first time.
pub async fn follow(registry: Arc<Registry>, mut changes: Receiver<Change>, stop: CancellationToken) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reload_at = Instant::now() + RELOAD_EVERY;
    loop {
        let change = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            change = changes.recv() => match change {
                Ok(change) => change,
                Err(RecvError::Lagged(_)) => Change::Everything,
                Err(RecvError::Closed) => return,
            },
            () = sleep_until(reload_at) => Change::Everything,
            _ = tick.tick() => {
                registry.snapshot.expire(now());
                registry.count();
                continue;
            }
        };
        match registry.changed(&change).await {
            Ok(()) if change == Change::Everything => reload_at = Instant::now() + RELOAD_EVERY,
            Ok(()) => {}
            Err(error) => {
                events::registry_is_behind(&registry.metrics, &error);
                reload_at = Instant::now() + TRY_AGAIN_AFTER;
            }
        }
    }
}
