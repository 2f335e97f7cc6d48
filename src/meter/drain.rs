//! Empties the spool: oldest first, beside direct writes, exactly once.
//!
//! A batch gets its number, the number is marked on its rows in the spool's file, the rows are
//! written under it, and only then they leave the file. Whoever finds marked rows, after an error
//! or in another process, asks the database for that number first.

use super::spool::Spool;
use crate::ops::events;
use crate::protocol::packet::PubRef;
use crate::store::spool::Claimed;
use crate::store::{Lane, Outcome, PacketRow, RejectedRow, StoreError, Ticket, now};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The drain's own lane in `ingest`, far from those of the writers.
const LANE: i32 = 1000;

/// How often depth and age are told, ids are written down, and a drain that failed begins again.
const TICK: Duration = Duration::from_secs(1);

/// How long the drain may go on once the server stops (DESIGN §4).
const LAST_DRAIN: Duration = Duration::from_secs(10);

/// How often all devices are read: this long at least, and so seldom that it takes at most a
/// hundredth of the time.
const MEET_EVERY: Duration = Duration::from_mins(1);
const MEET_SHARE: u32 = 100;

/// Devices read at once when the database is there again.
const DEVICES: i64 = 5000;

/// The task that empties the spool, and keeps its known ids up to date.
pub struct Drain {
    spool: Arc<Spool>,
    node: i64,
    max_rows: usize,
    /// Marked batches whose fate is to be asked.
    unsettled: Vec<Ticket>,
    lanes: BTreeMap<i32, Box<dyn Lane>>,
    meet_again: Option<Instant>,
}

impl Drain {
    /// `unsettled` are batches that an earlier process left, except those of the `writers` lanes
    /// that are there now.
    #[must_use]
    pub fn new(spool: Arc<Spool>, node: i64, writers: u16, max_rows: usize, unsettled: &[Ticket]) -> Self {
        let is_orphan = |ticket: &Ticket| !(0..i32::from(writers)).contains(&ticket.lane);
        let unsettled = unsettled.iter().copied().filter(is_orphan).collect();
        Self { spool, node, max_rows, unsettled, lanes: BTreeMap::new(), meet_again: None }
    }

    /// Drains whenever the store is there, until `stop`; then for a last time, ten seconds at
    /// most. To be stopped after the writers have ended.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let worked = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                worked = self.turn() => worked,
            };
            if !worked {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = sleep(TICK) => {}
                }
            }
        }
        // What was under way was dropped, and stays marked.
        match self.spool.file.unsettled().await {
            Ok(tickets) => self.unsettled = tickets,
            Err(error) => events::spool_failed(&self.spool.metrics, &error),
        }
        if timeout(LAST_DRAIN, self.last()).await.is_err() {
            log::warn!("stopped with {} packets in the spool", self.spool.file.rows());
        }
        self.keep_ids().await;
    }

    /// Tells, learns, drains one batch. Whether there may be more to do at once.
    async fn turn(&mut self) -> bool {
        self.tell().await;
        self.keep_ids().await;
        if !self.spool.health.store_is_up() {
            self.meet_again = None;
            return false;
        }
        if self.meet_again.is_none_or(|then| then <= Instant::now()) {
            let since = Instant::now();
            match self.meet_all().await {
                Ok(()) => {
                    let pause = MEET_EVERY.max(since.elapsed().saturating_mul(MEET_SHARE));
                    self.meet_again = Some(Instant::now() + pause);
                }
                Err(error) => self.failed(&error),
            }
        }
        if self.spool.file.rows() == 0 && self.unsettled.is_empty() {
            // Woken by what is put while the store is up, too: a batch that was too slow.
            return timeout(TICK, self.spool.filled.notified()).await.is_ok() || self.meet_again.is_some();
        }
        match self.step().await {
            Ok(drained) => drained > 0,
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    async fn last(&mut self) {
        while self.spool.file.rows() > 0 {
            match self.step().await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return log::warn!("the spool keeps what waits: {error}"),
            }
        }
        if self.spool.file.rows() > 0 {
            log::warn!("stopped with {} packets in the spool", self.spool.file.rows());
        }
    }

    /// Settles what is marked, makes devices, then drains one batch; returns its size.
    async fn step(&mut self) -> Result<u64, StoreError> {
        while let Some(ticket) = self.unsettled.last().copied() {
            let is_stored = self.lane(ticket.lane).settle(ticket).await?;
            match (is_stored, ticket.lane == LANE) {
                (true, true) => self.finish(ticket).await.map(drop)?,
                (is_stored, _) => self.spool.settled(ticket, is_stored).await?,
            }
            self.unsettled.pop();
        }
        self.make_devices().await?;
        let ticket = self.lane(LANE).reserve().await?;
        self.unsettled.push(ticket);
        let claimed = self.spool.file.claim(ticket, self.max_rows).await?;
        if claimed.is_empty() {
            self.unsettled.pop();
            return Ok(0);
        }
        let (rows, rejected) = sort(claimed);
        let since = Instant::now();
        let outcomes = self.lane(LANE).write_as(ticket, &rows, &rejected).await?;
        self.spool.metrics.stored.committed("drain", rows.len(), since.elapsed());
        let refused = outcomes.iter().filter(|outcome| **outcome != Outcome::Stored).count() + rejected.len();
        events::rejected(&self.spool.metrics, refused as u64);
        for (row, outcome) in rows.iter().zip(&outcomes) {
            if *outcome == Outcome::UnknownPub {
                self.spool.known.remove(row.pub_id);
            }
        }
        let drained = self.finish(ticket).await?;
        self.unsettled.pop();
        Ok(drained)
    }

    /// The batch is stored: its rows leave the file.
    async fn finish(&mut self, ticket: Ticket) -> Result<u64, StoreError> {
        let drained = self.spool.file.finish(ticket).await?;
        self.spool.has_drained();
        events::drained(&self.spool.metrics, drained, self.spool.file.rows());
        Ok(drained)
    }

    /// Makes the devices that were promised while nobody could be asked.
    async fn make_devices(&mut self) -> Result<(), StoreError> {
        for device in self.spool.file.strangers().await? {
            let made = match self.make(device).await {
                // One that cannot be made must not hold up the others; it is tried again.
                Err(error) if !error.is_transient() => {
                    self.failed(&error);
                    continue;
                }
                made => made?,
            };
            self.spool.file.introduce(device, made).await?;
            self.spool.promise(device, false);
        }
        Ok(())
    }

    async fn make(&mut self, device: PubRef) -> Result<Result<i64, String>, StoreError> {
        let store = &self.spool.store;
        let found = match store.find_pub(device).await? {
            Some(found) => found,
            None => store.add_pub(device).await?.unwrap_or_else(|taken| taken),
        };
        self.spool.known.insert(&found);
        let agrees = |asked: Option<i64>, is: Option<i64>| asked.is_none() || asked == is;
        if agrees(device.id, Some(found.pub_id)) && agrees(device.hash, found.hash) {
            return Ok(Ok(found.pub_id));
        }
        Ok(Err("id and hash are not the same device".into()))
    }

    /// Learns every device that the database has, for the time when it cannot be asked.
    async fn meet_all(&mut self) -> Result<(), StoreError> {
        let mut after = i64::MIN;
        loop {
            let page = self.spool.store.list_pubs(after, DEVICES).await?;
            page.iter().for_each(|device| self.spool.known.insert(device));
            self.keep_ids().await;
            match page.last() {
                Some(last) => after = last.pub_id,
                None => return Ok(()),
            }
        }
    }

    /// Writes down which ids came and went.
    async fn keep_ids(&mut self) {
        let changes = self.spool.known.changes();
        if !changes.is_empty()
            && let Err(error) = self.spool.file.learn(changes.clone()).await
        {
            events::spool_failed(&self.spool.metrics, &error);
            self.spool.known.not_kept(changes);
        }
    }

    async fn tell(&mut self) {
        self.spool.tell();
        let age = match self.spool.file.oldest().await {
            Ok(Some(oldest)) => now().saturating_sub(oldest).max(0) / 1_000_000,
            _ => 0,
        };
        self.spool.metrics.stored.spool_age(age);
        self.spool
            .metrics
            .stored
            .set_degraded(self.spool.file.rows() > 0 || !self.spool.health.store_is_up());
    }

    fn failed(&self, error: &StoreError) {
        events::drain_failed(&self.spool.metrics, error);
    }

    fn lane(&mut self, number: i32) -> &mut Box<dyn Lane> {
        let Self { spool, node, lanes, .. } = self;
        lanes.entry(number).or_insert_with(|| spool.store.lane(*node, number))
    }
}

fn sort(claimed: Vec<Claimed>) -> (Vec<PacketRow>, Vec<RejectedRow>) {
    let (mut rows, mut rejected) = (Vec::with_capacity(claimed.len()), Vec::new());
    for packet in claimed {
        match packet {
            Claimed::Packet(row) => rows.push(row),
            Claimed::Refused { row, reason } => rejected.push(RejectedRow { row, reason }),
        }
    }
    (rows, rejected)
}
