//! Counts down to the end of the served chain, wherever it comes from.

use crate::acme::Handle;
use crate::ops::metrics::Metrics;
use crate::tls::Keys;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How old the gauge may be: scrapes come every 15 s or more seldom.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How often the log says it.
const SAY_EVERY: Duration = Duration::from_secs(24 * 3600);
/// From here on it is a warning: nobody renewed in time.
const SOON: i64 = 7 * 24 * 3600;

/// Keeps the gauge, and says once a day how long the chain has left.
pub(super) async fn count_down(
    keys: Arc<Keys>,
    metrics: Arc<Metrics>,
    acme: Option<Handle>,
    stop: CancellationToken,
) {
    let mut tick = interval(COUNT_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = SystemTime::now();
        let left = seconds_until(keys.current().not_after(), now);
        metrics.certificate_expiry.set(left);
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            say(left, acme.as_ref(), now);
        }
    }
}

fn say(left: i64, acme: Option<&Handle>, now: SystemTime) {
    if let Some(handle) = acme {
        let state = handle.state().borrow().clone();
        let level = if state.failure.is_some() { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "{}", state.in_words(seconds_until(now, SystemTime::UNIX_EPOCH)));
    } else if left < SOON {
        log::warn!("the served certificate ends in {} hours", left / 3600);
    } else {
        log::info!("the served certificate ends in {} days", left / (24 * 3600));
    }
}

/// Negative when `end` is past.
fn seconds_until(end: SystemTime, now: SystemTime) -> i64 {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match end.duration_since(now) {
        Ok(left) => seconds(left),
        Err(past) => -seconds(past.duration()),
    }
}
