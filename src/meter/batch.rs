//! Group commit: rows queue, a writer lane commits what is waiting, the replies follow.
//!
//! A lane never sleeps to wait for more: the commit under way is the wait. A full queue is
//! backpressure: the session that cannot enqueue does not read on.

use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::reply::Refusal;
use crate::store::{Lane, Outcome, PacketRow, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Sessions' bursts that may wait for one lane. Each session has at most one, so this
/// bounds the queue without ever being what limits the speed.
const QUEUED_BURSTS: usize = 4096;

/// What became of one row: an outcome that is durable, or nothing was stored.
pub type Verdict = Result<Outcome, Refusal>;

struct Burst {
    rows: Vec<PacketRow>,
    verdicts: oneshot::Sender<Vec<Verdict>>,
}

/// The way from sessions into the store's lanes. Dropping it ends the lanes once they are empty.
pub struct Batcher {
    lanes: LaneHandle,
}

/// A session's way to the lanes. It has one burst under way at a time, so the rows of one
/// connection keep their order whichever lane each burst takes.
#[derive(Clone)]
pub struct LaneHandle {
    lanes: Arc<[Entrance]>,
}

struct Entrance {
    sender: mpsc::Sender<Burst>,
    /// Rows that wait in this lane's queue.
    waiting: Arc<AtomicUsize>,
    /// How many make it worth another lane: few large batches cost the database less than
    /// many small ones.
    enough: usize,
}

impl Batcher {
    /// Starts `lanes` writers on `store`; they end when the batcher and every handle are dropped.
    /// `node` names this server's batch numbers, `max_rows` bounds one commit.
    pub fn start(
        store: &dyn Store,
        node: i64,
        lanes: u16,
        max_rows: usize,
        health: &Arc<Health>,
        metrics: &Arc<Metrics>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let lanes = (0..lanes)
            .map(|number| {
                let (sender, bursts) = mpsc::channel(QUEUED_BURSTS);
                let waiting = Arc::new(AtomicUsize::new(0));
                let writer = Writer {
                    lane: store.lane(node, i32::from(number)),
                    bursts,
                    waiting: Arc::clone(&waiting),
                    max_rows,
                    health: Arc::clone(health),
                    metrics: Arc::clone(metrics),
                };
                tasks.spawn(writer.run());
                Entrance { sender, waiting, enough: max_rows / 2 }
            })
            .collect();
        Self { lanes: LaneHandle { lanes } }
    }

    /// Gives a connection its way in.
    pub fn handle(&self) -> LaneHandle {
        self.lanes.clone()
    }
}

impl LaneHandle {
    /// Returns one verdict per row, in order, after the commit. Waits while the queue is full.
    pub async fn write(&self, rows: Vec<PacketRow>) -> Vec<Verdict> {
        let count = rows.len();
        let (verdicts, answer) = oneshot::channel();
        if let Some(lane) = self.entrance()
            && let Ok(room) = lane.sender.reserve().await
        {
            lane.waiting.fetch_add(count, Ordering::Relaxed);
            room.send(Burst { rows, verdicts });
            if let Ok(verdicts) = answer.await {
                return verdicts;
            }
        }
        // The lane is gone: only while the process ends. Nothing was promised.
        vec![Err(Refusal::Unavailable); count]
    }
}

impl LaneHandle {
    /// The first lane whose next batch is not large enough yet, else the least full.
    fn entrance(&self) -> Option<&Entrance> {
        let waiting = |lane: &&Entrance| lane.waiting.load(Ordering::Relaxed);
        let not_full = self.lanes.iter().find(|lane| waiting(lane) < lane.enough);
        not_full.or_else(|| self.lanes.iter().min_by_key(waiting))
    }
}

struct Writer {
    lane: Box<dyn Lane>,
    bursts: mpsc::Receiver<Burst>,
    waiting: Arc<AtomicUsize>,
    max_rows: usize,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

impl Writer {
    async fn run(mut self) {
        let mut waiting = Vec::new();
        while let Some(first) = self.bursts.recv().await {
            let mut rows = first.rows.len();
            waiting.push((first.rows.len(), first.verdicts));
            let mut batch = first.rows;
            while rows < self.max_rows
                && let Ok(burst) = self.bursts.try_recv()
            {
                rows += burst.rows.len();
                waiting.push((burst.rows.len(), burst.verdicts));
                batch.extend(burst.rows);
            }
            self.waiting.fetch_sub(rows, Ordering::Relaxed);
            let mut verdicts = self.commit(&batch).await.into_iter();
            for (count, sender) in waiting.drain(..) {
                // A session that is gone needs no reply; its rows are stored all the same.
                let _gone = sender.send(verdicts.by_ref().take(count).collect());
            }
        }
    }

    async fn commit(&mut self, batch: &[PacketRow]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(batch.len());
        for rows in batch.chunks(self.max_rows) {
            match self.lane.write(rows).await {
                Ok(outcomes) => {
                    self.metrics.batch_rows.observe(rows.len());
                    verdicts.extend(outcomes.into_iter().map(Ok));
                }
                Err(error) => {
                    events::store_failed(&self.health, &self.metrics, "store a batch", &error);
                    verdicts.extend(rows.iter().map(|_| Err(Refusal::Unavailable)));
                }
            }
        }
        verdicts
    }
}
