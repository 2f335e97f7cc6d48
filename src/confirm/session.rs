//! One connection on the confirm port: confirmations stored, queries answered.

use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::confo::{self, Answer, Confirmation, Message, Query};
use crate::protocol::reply::{self, Refusal};
use crate::session::{Room, Tally};
use crate::store::{Confirmed, Micros, Store, StoreError, now};
use std::sync::Arc;
use std::time::Duration;

/// The port's name in logs and metrics.
const PORT: &str = "confirm";

/// What the app gets when nothing was confirmed (yet).
const NOT_FOUND: &str = "Not found";

/// What all connections of the confirm port share.
pub struct ConfirmService {
    /// Where confirmations are kept.
    pub store: Arc<dyn Store>,
    /// `[confirm] reply`.
    pub reply: String,
    /// `[confirm] visible`: how long a confirmation answers queries; zero is for ever.
    pub visible: Duration,
    /// Whether the store can be asked at all.
    pub health: Arc<Health>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The room of one connection. Lines are settled one after another: a query sees the
/// confirmation pipelined before it.
pub struct ConfirmRoom {
    service: Arc<ConfirmService>,
    taken: Vec<Result<Message, Refusal>>,
    tally: Tally,
}

impl ConfirmRoom {
    /// Opens the room.
    pub fn new(service: Arc<ConfirmService>) -> Self {
        Self { service, taken: Vec::new(), tally: Tally::default() }
    }
}

impl ConfirmService {
    async fn answer(&self, message: Message) -> Result<String, Refusal> {
        if !self.health.store_is_up() {
            return Err(Refusal::Unavailable);
        }
        match message {
            Message::Confirmation(confirmation) => self.confirm(&confirmation).await,
            Message::Query(query) => self.find(&query).await,
        }
    }

    async fn confirm(&self, confirmation: &Confirmation) -> Result<String, Refusal> {
        let stored = self.store.confirm(confirmation, now()).await;
        let stored = stored.map_err(|error| self.failed("store a confirmation", &error))?;
        events::confirmed(&self.metrics, &stored);
        Ok(self.reply.clone())
    }

    async fn find(&self, query: &Query) -> Result<String, Refusal> {
        let found = self.store.find_confirmation(query, self.visible_since()).await;
        let found = found.map_err(|error| self.failed("find a confirmation", &error))?;
        Ok(found.map_or_else(|| NOT_FOUND.to_owned(), |found| answer(&found)))
    }

    fn visible_since(&self) -> Micros {
        if self.visible.is_zero() {
            return Micros::MIN;
        }
        now().saturating_sub(Micros::try_from(self.visible.as_micros()).unwrap_or(Micros::MAX))
    }

    fn failed(&self, what: &str, error: &StoreError) -> Refusal {
        events::store_failed(&self.health, &self.metrics, what, error);
        Refusal::Unavailable
    }
}

impl Room for ConfirmRoom {
    fn take(&mut self, line: &[u8]) {
        self.taken.push(confo::parse(line));
    }

    async fn settle(&mut self, out: &mut Vec<u8>) {
        for message in std::mem::take(&mut self.taken) {
            let answered = match message {
                Ok(message) => self.service.answer(message).await,
                Err(refusal) => Err(refusal),
            };
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

    fn tally(&self) -> Tally {
        self.tally
    }
}

/// The line the app reads; the e-mail is not in it.
fn answer(found: &Confirmed) -> String {
    Answer {
        device_name: &found.device_name,
        timestamp: found.created_at.div_euclid(1_000_000),
        ssid: &found.ssid,
        hash: found.hash,
        id: found.pub_id,
        conflict: found.conflict,
    }
    .to_string()
}
