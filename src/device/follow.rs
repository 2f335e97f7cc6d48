//! Keeps the snapshot true to the store: what other processes change is in force within a second, and written
//! down right after.

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

/// From a failure to write the allow-list down to the next try: the disk is full, say.
const KEEP_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Brings into force what `changes` tells of until `stop`, and has the registry write it down. They are to
/// be subscribed to before the registry is loaded for the first time.
pub async fn follow(registry: Arc<Registry>, mut changes: Receiver<Change>, stop: CancellationToken) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reload_at = Instant::now() + if registry.is_loaded() { RELOAD_EVERY } else { TRY_AGAIN_AFTER };
    let mut keep_at = Instant::now();
    let mut is_read_anew = false;
    loop {
        let change = tokio::select! {
            biased;
            () = stop.cancelled() => return registry.keep_rest().await,
            change = changes.recv() => match change {
                Ok(change) => change,
                Err(RecvError::Lagged(_)) => Change::Everything,
                Err(RecvError::Closed) => return,
            },
            () = sleep_until(reload_at) => Change::Everything,
            () = sleep_until(keep_at), if is_read_anew || registry.has_news() => {
                let had_news = registry.has_news();
                if registry.keep().await {
                    is_read_anew &= had_news;
                } else {
                    keep_at = Instant::now() + KEEP_AGAIN_AFTER;
                }
                continue;
            }
            _ = tick.tick() => {
                registry.snapshot.expire(now());
                registry.count();
                continue;
            }
        };
        match registry.changed(&change).await {
            Ok(()) if change == Change::Everything => {
                reload_at = Instant::now() + RELOAD_EVERY;
                is_read_anew = true;
            }
            Ok(()) => {}
            Err(error) => {
                events::registry_is_behind(&registry.metrics, &error);
                reload_at = Instant::now() + TRY_AGAIN_AFTER;
            }
        }
    }
}
