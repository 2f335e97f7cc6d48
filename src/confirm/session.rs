//! One connection on the confirm port: confirmations stored, queries answered.

use super::lookup::Lookup;
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::confo::{self, Answer, Confirmation, Message};
use crate::protocol::reply::{self, Refusal};
use crate::session::{Room, Tally};
use crate::store::{Confirmed, Store, now};
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
    /// Opens the room for a connection from `peer`.
    pub fn new(service: Arc<ConfirmService>, peer: IpAddr) -> Self {
        Self { service, peer, taken: VecDeque::new(), tally: Tally::default() }
    }

    async fn answer(
        &self,
        Taken { at, message }: Taken,
        hurry: impl Future<Output = ()> + Send,
    ) -> Result<String, Refusal> {
        match message? {
            Message::Confirmation(confirmation) => self.service.confirm(&confirmation).await,
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
    async fn confirm(&self, confirmation: &Confirmation) -> Result<String, Refusal> {
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
        Ok(self.reply.clone())
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
