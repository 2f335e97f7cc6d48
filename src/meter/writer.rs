//! A writer lane: commits whatever is waiting, to the store or, while that is away, to the spool.
//!
//! It never sleeps to wait for more: the commit under way is the wait.

use super::batch::{Burst, Lanes, Queue, Verdict};
use super::spool::Spool;
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::reply::Refusal;
use crate::store::spool::Spooled;
use crate::store::{Lane, Outcome, PacketRow, StoreError, Ticket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A database that has not committed a batch after this long is too slow: the batch goes to the
/// spool instead, under its number. Devices wait some seconds for an answer, few wait ten; a
/// healthy commit takes milliseconds, one behind a checkpoint on a slow disk a second.
const TOO_SLOW: Duration = Duration::from_secs(2);

/// How often a lane without traffic asks about a batch it left unsettled.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

/// One lane's end of the queue.
pub(super) struct Writer {
    lane: Box<dyn Lane>,
    queue: Queue,
    max_rows: usize,
    spool: Option<Arc<Spool>>,
    /// Batches of this lane that lie in the spool and may be stored all the same. While there
    /// is one the lane must not write: its next number would hide what became of it.
    unsettled: Vec<Ticket>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

impl Writer {
    pub(super) fn new(lane: Box<dyn Lane>, number: i32, queue: Queue, lanes: &Lanes) -> Self {
        let (spool, unsettled) = lanes.spool.clone().unzip();
        let mut unsettled = unsettled.unwrap_or_default();
        unsettled.retain(|ticket| ticket.lane == number);
        Self {
            lane,
            queue,
            max_rows: lanes.max_rows,
            spool,
            unsettled,
            health: Arc::clone(&lanes.health),
            metrics: Arc::clone(&lanes.metrics),
        }
    }

    pub(super) async fn run(mut self) {
        let mut waiting = Vec::new();
        while let Some(first) = self.next().await {
            let mut rows = first.rows.len() + first.strangers.len();
            waiting.push((first.rows.len(), first.strangers.len(), first.verdicts));
            let (mut batch, mut strangers) = (first.rows, first.strangers);
            while rows < self.max_rows
                && let Some(burst) = self.queue.next_now()
            {
                rows += burst.rows.len() + burst.strangers.len();
                waiting.push((burst.rows.len(), burst.strangers.len(), burst.verdicts));
                batch.extend(burst.rows);
                strangers.extend(burst.strangers);
            }
            let mut verdicts = self.commit(&batch).await.into_iter();
            let mut others = self.put_strangers(strangers).await.into_iter();
            for (rows, strangers, sender) in waiting.drain(..) {
                let verdicts = verdicts.by_ref().take(rows).chain(others.by_ref().take(strangers));
                // A session that is gone needs no reply; its rows are stored all the same.
                let _gone = sender.send(verdicts.collect());
            }
        }
        self.settle().await;
    }

    /// The next burst; while the lane is idle, what it left unsettled.
    async fn next(&mut self) -> Option<Burst> {
        while !self.unsettled.is_empty() {
            match timeout(SETTLE_EVERY, self.queue.next()).await {
                Ok(burst) => return burst,
                Err(_) if self.health.store_is_up() => drop(self.settle().await),
                Err(_) => {}
            }
        }
        self.queue.next().await
    }

    async fn commit(&mut self, batch: &[PacketRow]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(batch.len());
        for rows in batch.chunks(self.max_rows) {
            match self.spool.clone() {
                Some(spool) => verdicts.extend(self.write_or_spool(&spool, rows).await),
                None => match self.write(rows).await {
                    Ok(outcomes) => verdicts.extend(outcomes.into_iter().map(Ok)),
                    Err(_) => verdicts.extend(rows.iter().map(|_| Err(Refusal::Unavailable))),
                },
            }
        }
        verdicts
    }

    async fn write_or_spool(&mut self, spool: &Spool, rows: &[PacketRow]) -> Vec<Verdict> {
        if !self.health.store_is_up() || !self.settle().await {
            return spool.put(known(rows), None).await;
        }
        let error = match timeout(TOO_SLOW, self.write(rows)).await {
            Ok(Ok(outcomes)) => return outcomes.into_iter().map(Ok).collect(),
            Ok(Err(error)) => error,
            Err(_) => {
                let error = too_slow();
                events::store_failed(&self.health, &self.metrics, "store a batch", &error);
                error
            }
        };
        log::debug!("a batch of {} goes to the spool: {error}", rows.len());
        let Some(unsettled) = self.lane.unsettled() else {
            return spool.put(known(rows), None).await;
        };
        // What the database refused stays refused, whatever became of the commit.
        let outcomes = unsettled.outcomes.unwrap_or_else(|| vec![Outcome::Stored; rows.len()]);
        let stored = |outcome: &&Outcome| **outcome == Outcome::Stored;
        let kept =
            rows.iter().zip(&outcomes).filter(|(_, outcome)| stored(outcome)).map(|(row, _)| row.clone());
        let kept: Vec<PacketRow> = kept.collect();
        let mut verdicts = spool.put(known(&kept), Some(unsettled.ticket)).await.into_iter();
        self.unsettled.push(unsettled.ticket);
        let verdict = |outcome| match outcome {
            Outcome::Stored => verdicts.next().unwrap_or(Err(Refusal::Unavailable)),
            refused => Ok(refused),
        };
        outcomes.into_iter().map(verdict).collect()
    }

    async fn write(&mut self, rows: &[PacketRow]) -> Result<Vec<Outcome>, StoreError> {
        let since = Instant::now();
        let written = self.lane.write(rows).await;
        match &written {
            Ok(_) => self.metrics.stored.committed("database", rows.len(), since.elapsed()),
            Err(error) => events::store_failed(&self.health, &self.metrics, "store a batch", error),
        }
        written
    }

    async fn put_strangers(&mut self, strangers: Vec<Spooled>) -> Vec<Verdict> {
        match &self.spool {
            _ if strangers.is_empty() => Vec::new(),
            Some(spool) => spool.put(strangers, None).await,
            None => vec![Err(Refusal::Unavailable); strangers.len()],
        }
    }

    /// Asks what became of the batches left unsettled. Whether nothing is left of them.
    async fn settle(&mut self) -> bool {
        let Some(spool) = self.spool.clone() else { return true };
        while let Some(ticket) = self.unsettled.last().copied() {
            let settled = match timeout(TOO_SLOW, self.lane.settle(ticket)).await {
                Ok(Ok(is_stored)) => spool.settled(ticket, is_stored).await,
                Ok(Err(error)) => Err(error),
                Err(_) => Err(too_slow()),
            };
            if let Err(error) = settled {
                events::store_failed(&self.health, &self.metrics, "settle a batch", &error);
                return false;
            }
            self.unsettled.pop();
        }
        true
    }
}

fn too_slow() -> StoreError {
    StoreError::Unavailable(format!("the database gave no answer within {} s", TOO_SLOW.as_secs()))
}

fn known(rows: &[PacketRow]) -> Vec<Spooled> {
    rows.iter().map(|row| Spooled { row: row.clone(), make: Default::default() }).collect()
}
