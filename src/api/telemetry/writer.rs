//! Makes telemetry durable: into the store, or into the spool while that is away, each report once.
//!
//! One task, one lane of numbers. It commits whatever waits, as the writers of packets do, and
//! between two batches brings one of the spool to the database. A batch whose fate is unknown is
//! put into the spool under its number, and nothing is written before that number is settled.

use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::reply::Refusal;
use crate::store::spool::{ClaimedTelemetry, SpoolFile};
use crate::store::{Store, StoreError, TelemetryBatch, TelemetryRow, Ticket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Reports that wait for their commit; whoever comes next waits for room. Each is a body at most,
/// so this is 16 MiB.
const QUEUE: usize = 256;

/// Bytes of bodies in one commit: a statement stays short, and a small one never waits for long.
const BATCH_BYTES: usize = 1 << 20;

/// A database that has not committed a batch after this long is too slow, as for packets.
const TOO_SLOW: Duration = Duration::from_secs(2);

/// Longest wait for the answer: room in the queue, batches before this one, the commit, the spool.
/// Below what HTTP clients wait for.
const ANSWER_DEADLINE: Duration = Duration::from_secs(25);

/// How often a drain that failed begins again.
const TICK: Duration = Duration::from_secs(1);

/// How long the drain may go on once the server stops; the server waits for ten.
const LAST_DRAIN: Duration = Duration::from_secs(8);

/// What the writer works with.
pub struct TelemetryOptions {
    /// This server's name in `ingest`.
    pub node: i64,
    /// Most rows in one commit.
    pub max_rows: usize,
    /// Where rows wait while the store is away; `None`: they are refused.
    pub spool: Option<Arc<SpoolFile>>,
    /// Whether the store is there.
    pub health: Arc<Health>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// The routes' end of the queue.
#[derive(Clone)]
pub struct TelemetrySink(mpsc::Sender<Waiting>);

struct Waiting {
    row: TelemetryRow,
    verdict: oneshot::Sender<Verdict>,
}

type Verdict = Result<(), Refusal>;

/// What keeps batches from being settled or drained: they are told and counted apart, and a spool
/// that fails says nothing of the database.
enum Trouble {
    Store(StoreError),
    Spool(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl TelemetrySink {
    /// Starts the writer; it ends when the last clone of this is gone and everything is answered.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, options: TelemetryOptions, tasks: &mut JoinSet<()>) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        let writer =
            Writer { store, options, queue, unsettled: Vec::new(), has_read_marks: false, next: None };
        tasks.spawn(writer.run());
        Self(sender)
    }

    /// Returns once the row is durable. Dropped, it may be stored all the same.
    pub(super) async fn store(&self, row: TelemetryRow) -> Verdict {
        let (verdict, answer) = oneshot::channel();
        let stored = async {
            self.0.send(Waiting { row, verdict }).await.map_err(|_| Refusal::Unavailable)?;
            answer.await.unwrap_or(Err(Refusal::Unavailable))
        };
        timeout(ANSWER_DEADLINE, stored).await.unwrap_or(Err(Refusal::Busy))
    }
}

struct Writer {
    store: Arc<dyn Store>,
    options: TelemetryOptions,
    queue: mpsc::Receiver<Waiting>,
    /// Numbers of which it is not known whether they were committed. Nothing is written meanwhile.
    unsettled: Vec<Ticket>,
    /// The batches that an earlier process left marked are among `unsettled`.
    has_read_marks: bool,
    /// The number after the last, if it is known.
    next: Option<Ticket>,
}

impl Writer {
    async fn run(mut self) {
        self.tell();
        while let Some(first) = self.next().await {
            let mut bytes = first.row.body.len();
            let (mut rows, mut verdicts) = (vec![first.row], vec![first.verdict]);
            while rows.len() < self.options.max_rows
                && bytes < BATCH_BYTES
                && let Ok(Waiting { row, verdict }) = self.queue.try_recv()
            {
                bytes += row.body.len();
                rows.push(row);
                verdicts.push(verdict);
            }
            let answers = self.keep(rows).await;
            for (verdict, answer) in verdicts.into_iter().zip(answers) {
                // A client that is gone needs no answer; its row is stored all the same.
                let _gone = verdict.send(answer);
            }
            self.tell();
        }
        if timeout(LAST_DRAIN, self.last()).await.is_err() || self.has_backlog() {
            log::warn!("stopped with telemetry in the spool");
        }
    }

    /// The next row, draining the spool meanwhile; `None` at the end.
    async fn next(&mut self) -> Option<Waiting> {
        while self.has_backlog() {
            if self.options.health.store_is_up() && self.drained().await {
                match self.queue.try_recv() {
                    Ok(waiting) => return Some(waiting),
                    Err(mpsc::error::TryRecvError::Disconnected) => return None,
                    Err(mpsc::error::TryRecvError::Empty) => continue,
                }
            }
            if let Ok(waiting) = timeout(TICK, self.queue.recv()).await {
                return waiting;
            }
        }
        self.queue.recv().await
    }

    fn has_backlog(&self) -> bool {
        let spooled = self.options.spool.as_ref().is_some_and(|spool| spool.telemetry_rows() > 0);
        spooled || !self.unsettled.is_empty()
    }

    async fn last(&mut self) {
        while self.has_backlog() && self.drained().await {}
    }

    /// Makes rows durable wherever it can; one verdict each, in order.
    async fn keep(&mut self, rows: Vec<TelemetryRow>) -> Vec<Verdict> {
        if !self.options.health.store_is_up() {
            return self.spool(rows, None).await;
        }
        match self.settle().await {
            Ok(()) => {}
            Err(Trouble::Store(error)) => {
                self.failed("settle a batch of telemetry", &error);
                return self.spool(rows, None).await;
            }
            Err(Trouble::Spool(error)) => {
                events::spool_failed(&self.options.metrics, &error);
                return self.spool(rows, None).await;
            }
        }
        let ticket = match self.reserve().await {
            Ok(ticket) => ticket,
            Err(error) => {
                self.failed("store telemetry", &error);
                return self.spool(rows, None).await;
            }
        };
        let batch =
            TelemetryBatch { node: self.options.node, ticket, rows, refused: Vec::new(), is_promised: false };
        match self.write(&batch, "database").await {
            Ok(outcomes) => outcomes.into_iter().map(|outcome| self.verdict(outcome)).collect(),
            Err(error) => {
                self.failed("store telemetry", &error);
                self.unsettled.push(ticket);
                self.spool(batch.rows, Some(ticket)).await
            }
        }
    }

    fn verdict(&self, refused: Option<String>) -> Verdict {
        match refused {
            None => Ok(()),
            Some(reason) => {
                events::telemetry_rejected(&self.options.metrics, &reason);
                Err(Refusal::Rejected)
            }
        }
    }

    /// Writes a batch under its number. After an error its fate is unknown.
    async fn write(
        &mut self,
        batch: &TelemetryBatch,
        into: &'static str,
    ) -> Result<Vec<Option<String>>, StoreError> {
        let since = Instant::now();
        self.next = None;
        let outcomes = within(self.limit(), self.store.add_telemetry(batch)).await?;
        let stored = outcomes.iter().filter(|outcome| outcome.is_none()).count();
        self.options.metrics.stored.telemetry(into, stored, since.elapsed());
        self.next = Some(Ticket { number: batch.ticket.number + 1, ..batch.ticket });
        Ok(outcomes)
    }

    async fn reserve(&mut self) -> Result<Ticket, StoreError> {
        match self.next {
            Some(ticket) => Ok(ticket),
            None => within(self.limit(), self.store.reserve_telemetry(self.options.node)).await,
        }
    }

    /// Without a spool there is nothing better to do than to wait.
    fn limit(&self) -> Duration {
        if self.options.spool.is_some() { TOO_SLOW } else { ANSWER_DEADLINE }
    }

    async fn spool(&self, rows: Vec<TelemetryRow>, ticket: Option<Ticket>) -> Vec<Verdict> {
        let count = rows.len();
        let Some(spool) = &self.options.spool else { return vec![Err(Refusal::Unavailable); count] };
        let since = Instant::now();
        match spool.put_telemetry(rows, ticket).await {
            Ok(kept) => {
                let stored = kept.iter().filter(|kept| **kept).count();
                self.options.metrics.stored.telemetry("spool", stored, since.elapsed());
                if stored < count {
                    events::spool_is_full(&self.options.metrics);
                }
                kept.into_iter().map(|kept| if kept { Ok(()) } else { Err(Refusal::Busy) }).collect()
            }
            Err(error) => {
                events::spool_failed(&self.options.metrics, &error);
                let refusal = if error.is_transient() { Refusal::Busy } else { Refusal::Unavailable };
                vec![Err(refusal); count]
            }
        }
    }

    /// Learns what became of every number that is in doubt.
    async fn settle(&mut self) -> Result<(), Trouble> {
        if let (Some(spool), false) = (&self.options.spool, self.has_read_marks) {
            // Until they are read nothing may be written: the next number would hide their fate.
            self.unsettled.extend(spool.unsettled_telemetry().await.map_err(Trouble::Spool)?);
            self.has_read_marks = true;
        }
        while let Some(ticket) = self.unsettled.last().copied() {
            self.next = None;
            let settled = self.store.settle_telemetry(self.options.node, ticket);
            let is_stored = within(self.limit(), settled).await?;
            if let Some(spool) = &self.options.spool {
                let noted = match is_stored {
                    true => spool.finish_telemetry(ticket).await.map(drop),
                    false => spool.release_telemetry(ticket).await,
                };
                noted.map_err(Trouble::Spool)?;
            }
            self.unsettled.pop();
        }
        Ok(())
    }

    /// Brings one batch of the spool to the database. False if that failed.
    async fn drained(&mut self) -> bool {
        let drained = self.drain().await;
        self.tell();
        match drained {
            Ok(()) => true,
            Err(Trouble::Store(error)) => {
                events::drain_failed(&self.options.metrics, &error);
                false
            }
            Err(Trouble::Spool(error)) => {
                events::spool_failed(&self.options.metrics, &error);
                false
            }
        }
    }

    async fn drain(&mut self) -> Result<(), Trouble> {
        self.settle().await?;
        let Some(spool) = self.options.spool.clone().filter(|spool| spool.telemetry_rows() > 0) else {
            return Ok(());
        };
        let ticket = self.reserve().await?;
        // Marked from here on, even if this is dropped.
        self.unsettled.push(ticket);
        let (mut rows, mut refused) = (Vec::new(), Vec::new());
        let claimed = spool.claim_telemetry(ticket, self.options.max_rows).await.map_err(Trouble::Spool)?;
        for claimed in claimed {
            match claimed {
                ClaimedTelemetry::Row(row) => rows.push(row),
                ClaimedTelemetry::Refused { row, reason } => refused.push((row, reason)),
            }
        }
        if rows.is_empty() && refused.is_empty() {
            let lost = "the spool counts telemetry that is not there";
            return Err(Trouble::Spool(StoreError::Refused(lost.into())));
        }
        let bad = refused.len();
        let batch = TelemetryBatch { node: self.options.node, ticket, rows, refused, is_promised: true };
        let outcomes = self.write(&batch, "drain").await?;
        let rejected = outcomes.iter().filter(|outcome| outcome.is_some()).count() + bad;
        events::rejected(&self.options.metrics, rejected as u64);
        spool.finish_telemetry(ticket).await.map_err(Trouble::Spool)?;
        self.unsettled.pop();
        Ok(())
    }

    fn failed(&self, what: &str, error: &StoreError) {
        events::store_failed(&self.options.health, &self.options.metrics, what, error);
    }

    fn tell(&self) {
        if let Some(spool) = &self.options.spool {
            self.options.metrics.stored.spooled_telemetry(spool.telemetry_rows());
        }
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    timeout(limit, call).await.unwrap_or_else(|_| {
        Err(StoreError::Unavailable(format!("the database gave no answer within {} s", limit.as_secs())))
    })
}
