//! The app's question, as both ports ask it: guarded, answered from the store, or held until
//! there is an answer.
//!
//! Who asks for something that never existed hears what the owner of a device that has not
//! confirmed yet hears: nothing was found.

use crate::net::admission::{PerIp, Place};
use crate::net::rate::PerIpRate;
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::confo::Query;
use crate::protocol::reply::Refusal;
use crate::store::{Confirmed, Micros, Store, StoreError, Topic, Window, now};
use governor::Quota;
use prometheus_client::metrics::gauge::Gauge;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// Queries a second one address may ask on both ports together, in the long run. An app asks
/// once a second, and a few phones share the address of one site; a stranger who tries
/// tokens one after the other has 2⁶⁴ before him.
const QUERIES_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("not zero");

/// The same, at once.
const QUERIES_AT_ONCE: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

/// Queries held at once, of all addresses: some kilobytes each.
const HELD: usize = 2000;

/// Queries held at once for one address.
const HELD_PER_IP: usize = 100;

/// A held query asks again after this long without being woken: a notification may have been
/// lost with its connection, or kept by a connection pooler.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How far the clocks of two nodes may differ. What was saved before a query began by more
/// than this is not its answer, whatever its id.
const CLOCK_DIFFERENCE: Micros = 600_000_000;

/// What queries are answered from.
pub struct Lookup {
    store: Arc<dyn Store>,
    visible: Duration,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    rate: PerIpRate,
    held: Semaphore,
    held_per_ip: Arc<PerIp>,
}

/// A held query's place in the bounds.
struct Seat<'a> {
    _permit: SemaphorePermit<'a>,
    _place: Place,
}

/// Counts a query as held while there is one of these.
struct Held<'a>(&'a Gauge);

impl<'a> Held<'a> {
    fn count(held: &'a Gauge) -> Self {
        held.inc();
        Self(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Lookup {
    /// `visible` is `[confirm] visible`: how long a confirmation answers; zero is for ever.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, visible: Duration, health: Arc<Health>, metrics: Arc<Metrics>) -> Self {
        let quota = Quota::per_second(QUERIES_PER_SECOND).allow_burst(QUERIES_AT_ONCE);
        Self {
            store,
            visible,
            health,
            metrics,
            rate: PerIpRate::new(quota),
            held: Semaphore::new(HELD),
            held_per_ip: PerIp::new(HELD_PER_IP),
        }
    }

    /// Answers `peer`'s query, which arrived at `asked`. A held one is answered with what
    /// there is as soon as `hurry` resolves. Dropping this leaves nobody waiting.
    ///
    /// # Errors
    /// [`Refusal`]: too many, or the store is not there.
    pub async fn ask(
        &self,
        query: &Query,
        peer: IpAddr,
        asked: Instant,
        hurry: impl Future<Output = ()> + Send,
    ) -> Result<Option<Confirmed>, Refusal> {
        self.rate.admit(peer).map_err(|wait| Refusal::TooManyQueries { seconds: whole_seconds(wait) })?;
        if !self.health.store_is_up() {
            return Err(Refusal::Unavailable);
        }
        if query.wait == 0 {
            let window = Window { since: self.visible_since(), after: 0 };
            return self.find(query, window).await.map_err(|error| self.failed(&error));
        }
        let _seat = self.seat(peer)?;
        let until = asked + Duration::from_secs(query.wait.into());
        self.wait(query, until, hurry).await
    }

    /// With a token its confirmation, even an earlier one; without, one saved from now on.
    async fn wait(
        &self,
        query: &Query,
        mut until: Instant,
        hurry: impl Future<Output = ()> + Send,
    ) -> Result<Option<Confirmed>, Refusal> {
        let mut hurry = pin!(hurry);
        let mut listener = self.store.bell().listen(Topic::of(&query.device_name, &query.ssid, query.token));
        let mut window = Window { since: self.visible_since(), after: 0 };
        if query.token.is_none() {
            let last = self.store.last_confirmation(query).await;
            window.after = last.map_err(|error| self.failed(&error))?;
            window.since = window.since.max(now().saturating_sub(CLOCK_DIFFERENCE));
        }
        // From here on it outlasts the database.
        let _held = Held::count(&self.metrics.held);
        loop {
            // What was announced since we listen is later than the question, even if it was stored
            // before we had asked for the last id.
            window.after = window.after.min(listener.heard().map_or(i64::MAX, |id| id - 1));
            let is_over = Instant::now() >= until;
            match self.find(query, window).await {
                Ok(None) if is_over => return Ok(None),
                Ok(None) => {}
                Ok(found) => return Ok(found),
                // Away for a moment: it may be back before the time is over.
                Err(error) if error.is_transient() && !is_over => {}
                Err(error) => return Err(self.failed(&error)),
            }
            tokio::select! {
                () = listener.rung() => {}
                () = sleep_until(until.min(Instant::now() + ASK_AGAIN)) => {}
                () = &mut hurry, if Instant::now() < until => until = Instant::now(),
            }
        }
    }

    async fn find(&self, query: &Query, window: Window) -> Result<Option<Confirmed>, StoreError> {
        self.store.find_confirmation(query, window).await
    }

    fn seat(&self, peer: IpAddr) -> Result<Seat<'_>, Refusal> {
        let permit = self.held.try_acquire().map_err(|_| Refusal::TooManyHeld)?;
        let place = self.held_per_ip.admit(peer).ok_or(Refusal::TooManyHeld)?;
        Ok(Seat { _permit: permit, _place: place })
    }

    fn visible_since(&self) -> Micros {
        if self.visible.is_zero() {
            return Micros::MIN;
        }
        now().saturating_sub(Micros::try_from(self.visible.as_micros()).unwrap_or(Micros::MAX))
    }

    fn failed(&self, error: &StoreError) -> Refusal {
        events::store_failed(&self.health, &self.metrics, "find a confirmation", error);
        error.refusal()
    }
}

/// Rounded up, so that whoever waits for so long is admitted.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
