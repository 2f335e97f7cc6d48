//! Group commit: rows queue, a writer lane (`writer`) commits what is waiting, the replies follow.
//!
//! A full queue is backpressure: the session that cannot enqueue does not read on.

use super::spool::Spool;
use super::writer::Writer;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::reply::Refusal;
use crate::store::spool::Spooled;
use crate::store::{Outcome, PacketRow, Store, Ticket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Sessions' bursts that may wait for one lane. Each session has at most one, so this
/// bounds the queue without ever being what limits the speed.
const QUEUED_BURSTS: usize = 4096;

/// What became of one row: an outcome that is durable, or nothing was stored.
pub type Verdict = Result<Outcome, Refusal>;

/// What one session has read, on its way to a lane.
pub(super) struct Burst {
    pub(super) rows: Vec<PacketRow>,
    /// Packets for the spool alone: their devices are still to be made.
    pub(super) strangers: Vec<Spooled>,
    /// One for each row, then one for each stranger.
    pub(super) verdicts: oneshot::Sender<Vec<Verdict>>,
}

/// What all lanes of a server have in common.
#[derive(Clone)]
pub struct Lanes {
    /// How many.
    pub count: u16,
    /// This server's name in `ingest`.
    pub node: i64,
    /// Most rows in one commit.
    pub max_rows: usize,
    /// Where rows go while the store is away, and batches that it left unsettled there.
    pub spool: Option<(Arc<Spool>, Vec<Ticket>)>,
    /// Whether the store can be asked.
    pub health: Arc<Health>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The way from sessions into the store's lanes. Dropping it ends the lanes once they are empty.
pub struct Batcher {
    lanes: Vec<mpsc::Sender<Burst>>,
    next: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// A session's place in one lane, so that the rows of one connection keep their order.
#[derive(Clone)]
pub struct LaneHandle {
    sender: mpsc::Sender<Burst>,
    metrics: Arc<Metrics>,
}

impl Batcher {
    /// Starts writers on `store`; they end when the batcher and every handle are dropped.
    pub fn start(store: &dyn Store, lanes: &Lanes, tasks: &mut JoinSet<()>) -> Self {
        let metrics = Arc::clone(&lanes.metrics);
        let start = |number: u16| {
            let (sender, bursts) = mpsc::channel(QUEUED_BURSTS);
            let number = i32::from(number);
            tasks.spawn(Writer::new(store.lane(lanes.node, number), number, bursts, lanes).run());
            sender
        };
        Self { lanes: (0..lanes.count).map(start).collect(), next: AtomicUsize::new(0), metrics }
    }

    /// Gives a connection its lane.
    pub fn handle(&self) -> LaneHandle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let sender = self.lanes[turn % self.lanes.len()].clone();
        LaneHandle { sender, metrics: Arc::clone(&self.metrics) }
    }
}

impl LaneHandle {
    /// Returns one verdict per row and then one per stranger, in order, after the commit. Waits
    /// while the queue is full.
    pub async fn write(&self, rows: Vec<PacketRow>, strangers: Vec<Spooled>) -> Vec<Verdict> {
        let count = rows.len() + strangers.len();
        let _queued = self.metrics.stored.queued(count);
        let (verdicts, answer) = oneshot::channel();
        if self.sender.send(Burst { rows, strangers, verdicts }).await.is_ok()
            && let Ok(verdicts) = answer.await
        {
            return verdicts;
        }
        // The lane is gone: only while the process ends. Nothing was promised.
        vec![Err(Refusal::Unavailable); count]
    }
}
