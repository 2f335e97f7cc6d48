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
    lanes: LaneHandle,
}

/// A session's way to the lanes. It has one burst under way at a time, so the rows of one
/// connection keep their order whichever lane each burst takes.
#[derive(Clone)]
pub struct LaneHandle {
    lanes: Arc<[Entrance]>,
    metrics: Arc<Metrics>,
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
    /// Starts writers on `store`; they end when the batcher and every handle are dropped.
    pub fn start(store: &dyn Store, lanes: &Lanes, tasks: &mut JoinSet<()>) -> Self {
        let metrics = Arc::clone(&lanes.metrics);
        let start = |number: u16| {
            let (sender, bursts) = mpsc::channel(QUEUED_BURSTS);
            let waiting = Arc::new(AtomicUsize::new(0));
            let number = i32::from(number);
            let queue = Queue { bursts, waiting: Arc::clone(&waiting) };
            tasks.spawn(Writer::new(store.lane(lanes.node, number), number, queue, lanes).run());
            Entrance { sender, waiting, enough: lanes.max_rows / 2 }
        };
        Self { lanes: LaneHandle { lanes: (0..lanes.count).map(start).collect(), metrics } }
    }

    /// Gives a connection its way in.
    pub fn handle(&self) -> LaneHandle {
        self.lanes.clone()
    }
}

impl LaneHandle {
    /// Returns one verdict per row and then one per stranger, in order, after the commit. Waits
    /// while the queue is full.
    pub async fn write(&self, rows: Vec<PacketRow>, strangers: Vec<Spooled>) -> Vec<Verdict> {
        let count = rows.len() + strangers.len();
        let _queued = self.metrics.stored.queued(count);
        let (verdicts, answer) = oneshot::channel();
        if let Some(lane) = self.entrance()
            && let Ok(room) = lane.sender.reserve().await
        {
            lane.waiting.fetch_add(count, Ordering::Relaxed);
            room.send(Burst { rows, strangers, verdicts });
            if let Ok(verdicts) = answer.await {
                return verdicts;
            }
        }
        // The lane is gone: only while the process ends. Nothing was promised.
        vec![Err(Refusal::Unavailable); count]
    }

    /// The first lane whose next batch is not large enough yet, else the least full.
    fn entrance(&self) -> Option<&Entrance> {
        let waiting = |lane: &&Entrance| lane.waiting.load(Ordering::Relaxed);
        let not_full = self.lanes.iter().find(|lane| waiting(lane) < lane.enough);
        not_full.or_else(|| self.lanes.iter().min_by_key(waiting))
    }
}

/// A lane's end of its queue.
pub(super) struct Queue {
    bursts: mpsc::Receiver<Burst>,
    waiting: Arc<AtomicUsize>,
}

impl Queue {
    /// The next burst, as soon as there is one; `None` once nobody can send any more.
    pub(super) async fn next(&mut self) -> Option<Burst> {
        let burst = self.bursts.recv().await;
        self.taken(burst)
    }

    /// A burst that waits already.
    pub(super) fn next_now(&mut self) -> Option<Burst> {
        let burst = self.bursts.try_recv().ok();
        self.taken(burst)
    }

    fn taken(&self, burst: Option<Burst>) -> Option<Burst> {
        burst.inspect(|burst| {
            self.waiting.fetch_sub(burst.rows.len() + burst.strangers.len(), Ordering::Relaxed);
        })
    }
}
