//! One connection on the confirm port: confirmations stored, queries answered.

use super::lookup::Lookup;
use crate::device::{Identity, Registry};
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::confo::{self, Answer, Confirmation, Message};
use crate::protocol::reply::{self, Refusal};
use crate::session::{Room, Tally};
use crate::store::devices::{Change, Role};
use crate::store::{Confirmed, Store, StoreError, now};
use std::collections::VecDeque;
use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// The port's name in logs and metrics.
const PORT: &str = "confirm";

/// What the app gets when nothing was confirmed (yet).
pub const NOT_FOUND: &str = "Not found";

/// Confirmations under way at a time. Those of one hash wait for each other in the database,
/// each on a connection of the pool; meters that are not known yet need some of those too.
pub const TURNS: usize = 2;

/// How long a confirmation waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// What all connections of the confirm port share.
pub struct ConfirmService {
    /// Where confirmations are kept.
    pub store: Arc<dyn Store>,
    /// Told when a device is linked to what it confirmed.
    pub registry: Arc<Registry>,
    /// Answers queries.
    pub lookup: Arc<Lookup>,
    /// `[confirm] reply`.
    pub reply: String,
    /// Held by each confirmation under way: [`TURNS`].
    pub turns: Semaphore,
    /// Whether the store can be asked at all.
    pub health: Arc<Health>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The room of one connection. Lines are settled one after another: a query sees the
/// confirmation pipelined before it.
pub struct ConfirmRoom {
    service: Arc<ConfirmService>,
    peer: IpAddr,
    identity: Option<Arc<Identity>>,
    taken: VecDeque<Taken>,
    tally: Tally,
}

/// A line, read.
struct Taken {
    /// Queries pipelined together are held together, not one after the other.
    at: Instant,
    message: Result<Message, Refusal>,
}

impl ConfirmRoom {
    /// Opens the room for a connection from `peer`, who is `identity` if a certificate was accepted.
    pub fn new(service: Arc<ConfirmService>, peer: IpAddr, identity: Option<Arc<Identity>>) -> Self {
        Self { service, peer, identity, taken: VecDeque::new(), tally: Tally::default() }
    }

    async fn answer(
        &self,
        Taken { at, message }: Taken,
        hurry: impl Future<Output = ()> + Send,
    ) -> Result<String, Refusal> {
        match message? {
            Message::Confirmation(confirmation) => {
                self.service.confirm(&confirmation, self.identity.as_deref()).await
            }
            Message::Query(query) => {
                let found = self.service.lookup.ask(&query, self.peer, at, hurry).await?;
                Ok(found.map_or_else(|| NOT_FOUND.to_owned(), |found| answer(&found).to_string()))
            }
        }
    }

    fn push(&mut self, answered: Result<String, Refusal>, out: &mut Vec<u8>) {
        match answered {
            Ok(answer) => {
                self.tally.thanked += 1;
                events::lines_thanked(&self.service.metrics, PORT, 1);
                reply::push_line(out, &answer);
            }
            Err(refusal) => {
                self.tally.refused += 1;
                events::line_refused(&self.service.metrics, PORT, &refusal);
                reply::push_line(out, &reply::render(&refusal));
            }
        }
    }
}

impl ConfirmService {
    async fn confirm(
        &self,
        confirmation: &Confirmation,
        identity: Option<&Identity>,
    ) -> Result<String, Refusal> {
        if !self.health.store_is_up() {
            return Err(Refusal::Unavailable);
        }
        let turn = timeout(TURN_TIMEOUT, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(Refusal::Busy) };
        let stored = self.store.confirm(confirmation, now()).await.map_err(|error| {
            events::store_failed(&self.health, &self.metrics, "store a confirmation", &error);
            error.refusal()
        })?;
        events::confirmed(&self.metrics, &stored);
        if let Some(device) = identity.filter(|identity| identity.role() == Role::Device) {
            self.link(device, &stored).await?;
        }
        Ok(self.reply.clone())
    }

    /// A device that confirms over its own certificate is the device of what it confirmed. Right
    /// after the confirmation: should it fail, the device is told to try again and confirms
    /// once more. A conflict links nothing, nor does a pub that is another device's already, or
    /// whose owner was not named: the app tells its hash to whoever asks.
    async fn link(&self, device: &Identity, stored: &Confirmed) -> Result<(), Refusal> {
        let Some(pub_id) = stored.pub_id.filter(|pub_id| device.pub_id() != Some(*pub_id)) else {
            return Ok(());
        };
        let failed = |error: StoreError| {
            events::store_failed(&self.health, &self.metrics, "link a device", &error);
            error.refusal()
        };
        if stored.is_anothers {
            events::owner_not_named(&self.metrics, device.device_id(), stored.hash);
            return Ok(());
        }
        let (device_id, who) = (device.device_id(), format!("certificate {}", device.certificate_id()));
        match self.store.link_device(device_id, pub_id, &who).await.map_err(failed)? {
            Ok(_) => {
                let change = Change::Device(device_id.to_owned());
                self.registry.changed(&change).await.map_err(failed)
            }
            Err(why) => {
                events::not_linked(&self.metrics, device_id, stored.hash, &why);
                Ok(())
            }
        }
    }
}

impl Room for ConfirmRoom {
    fn take(&mut self, line: &[u8]) {
        self.taken.push_back(Taken { at: Instant::now(), message: confo::parse(line) });
    }

    async fn settle(&mut self, out: &mut Vec<u8>) {
        while !self.is_held()
            && let Some(taken) = self.taken.pop_front()
        {
            let answered = self.answer(taken, ready(())).await;
            self.push(answered, out);
        }
    }

    fn is_held(&self) -> bool {
        let next = self.taken.front().map(|taken| &taken.message);
        matches!(next, Some(Ok(Message::Query(query))) if query.wait > 0)
    }

    async fn settle_held(&mut self, out: &mut Vec<u8>, hurry: &CancellationToken) {
        if let Some(taken) = self.taken.pop_front() {
            let answered = self.answer(taken, hurry.cancelled()).await;
            self.push(answered, out);
        }
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

/// What the app is told of a confirmation; the e-mail is not in it.
#[must_use]
pub fn answer(found: &Confirmed) -> Answer<'_> {
    Answer {
        device_name: &found.device_name,
        timestamp: found.created_at.div_euclid(1_000_000),
        ssid: &found.ssid,
        hash: found.hash,
        id: found.pub_id,
        conflict: found.conflict,
    }
}
