//! The fast path of packets: group commit, exactly once.
//!
//! A batch is one transaction: BEGIN, number and rows go out together, then COMMIT. The number
//! (`ingest`) is taken by compare-and-set in that transaction, so two attempts at one batch
//! cannot both commit. When the answer to a COMMIT is lost, the next connection reads the
//! number (waiting for a transaction that is still open) before anything else is written.

mod columns;
mod link;
mod reserved;

use super::{
    super::{
        Lane, Outcome, PacketRow, RejectedRow, StoreError, Ticket, Unsettled, fingerprint::Fingerprints,
    },
    connect::Dialer,
};
use async_trait::async_trait;
use columns::Columns;
use link::{Link, Name};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// From rows to outcomes, reconnecting and settling included. Long enough for a failover to
/// begin, short enough that a device still waits for its answer.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// Attempts at one batch: a connection that had died unnoticed, a deadlock, another writer.
const ATTEMPTS: u32 = 4;

/// Between attempts to reconnect while a batch's fate is unknown.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

/// A writer with its own connection, outside of the pool.
pub(super) struct PostgresLane {
    dialer: Arc<Dialer>,
    name: Name,
    fingerprints: Fingerprints,
    /// Taken out while a batch is under way: a dropped call closes it.
    link: Option<Link>,
    pending: Option<Pending>,
    columns: Columns,
}

/// A batch whose COMMIT was sent and not answered (yet).
struct Pending {
    number: i64,
    fingerprint: u64,
    /// Known before COMMIT; true if it succeeded.
    outcomes: Vec<Outcome>,
}

impl PostgresLane {
    pub(super) fn new(dialer: Arc<Dialer>, node: i64, lane: i32) -> Self {
        let fingerprints = Fingerprints::default();
        let name = Name { node, lane, writer: fingerprints.own() };
        Self { dialer, name, fingerprints, link: None, pending: None, columns: Columns::default() }
    }

    async fn write_until_known(&mut self, rows: &[PacketRow]) -> Result<Vec<Outcome>, StoreError> {
        let fingerprint = self.fingerprints.of(rows);
        let mut last_error = None;
        for _ in 0..ATTEMPTS {
            let kept = self.link.take();
            let was_kept = kept.is_some();
            let mut link = match kept {
                Some(link) => link,
                None => self.connect().await?,
            };
            if let Some(outcomes) = self.settle(&link, fingerprint) {
                self.link = Some(link);
                return Ok(outcomes);
            }
            let outcomes = match link.write(rows, &mut self.columns).await {
                Ok(Some(outcomes)) => outcomes,
                Ok(None) => {
                    self.warn_overtaken();
                    continue; // a new connection learns the number
                }
                Err(fault) => {
                    let again = was_kept || fault.is_collision();
                    let error = fault.explain(self.dialer.target());
                    if again && error.is_transient() {
                        last_error = Some(error);
                        continue;
                    }
                    return Err(error);
                }
            };
            // From here on the batch may be stored, even if this call is dropped.
            self.pending = Some(Pending { number: link.last + 1, fingerprint, outcomes });
            match link.commit().await {
                Ok(()) => {
                    self.link = Some(link);
                    return Ok(self.pending.take().map_or_else(Vec::new, |pending| pending.outcomes));
                }
                Err(fault) => {
                    let error = fault.explain(self.dialer.target());
                    log::warn!("COMMIT was not answered, asking what became of it: {error}");
                    last_error = Some(error);
                }
            }
        }
        Err(last_error.unwrap_or_else(|| self.busy("another writer keeps taking its numbers")))
    }

    /// While a batch's fate is unknown, knocks until the deadline; else says at once what is wrong.
    async fn connect(&mut self) -> Result<Link, StoreError> {
        loop {
            match Link::open(&self.dialer, self.name).await {
                Err(error) if self.pending.is_some() && error.is_transient() => sleep(SETTLE_PAUSE).await,
                result => return result,
            }
        }
    }

    /// Judges the pending batch by the number the new connection read. If it was committed, and
    /// was these very rows, its outcomes are the answer.
    fn settle(&mut self, link: &Link, fingerprint: u64) -> Option<Vec<Outcome>> {
        let pending = self.pending.take()?;
        let committed = (link.last, link.last_writer) == (pending.number, self.name.writer);
        let word = if committed { "is stored" } else { "is not stored" };
        log::warn!("batch {} of lane {} {word}", pending.number, self.name.lane);
        (committed && pending.fingerprint == fingerprint).then_some(pending.outcomes)
    }

    fn warn_overtaken(&self) {
        let Name { node, lane, .. } = self.name;
        log::warn!("another process writes as node {node}, lane {lane}: was the data directory copied?");
    }

    fn busy(&self, what: &str) -> StoreError {
        StoreError::Unavailable(format!("{}: lane {}: {what}", self.dialer.target(), self.name.lane))
    }
}

#[async_trait]
impl Lane for PostgresLane {
    async fn write(&mut self, rows: &[PacketRow]) -> Result<Vec<Outcome>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        match timeout(WRITE_DEADLINE, self.write_until_known(rows)).await {
            Ok(result) => result,
            Err(_) if self.pending.is_some() => {
                Err(self.busy("a COMMIT was not answered, and its fate is not known yet"))
            }
            Err(_) => Err(self.busy(&format!("no answer within {} s", WRITE_DEADLINE.as_secs()))),
        }
    }

    fn unsettled(&self) -> Option<Unsettled> {
        let Pending { number, outcomes, .. } = self.pending.as_ref()?;
        let ticket = Ticket { lane: self.name.lane, number: *number, writer: self.name.writer };
        Some(Unsettled { ticket, outcomes: Some(outcomes.clone()) })
    }

    async fn settle(&mut self, ticket: Ticket) -> Result<bool, StoreError> {
        self.settle_ticket(ticket).await
    }

    async fn reserve(&mut self) -> Result<Ticket, StoreError> {
        self.reserve_next().await
    }

    async fn write_as(
        &mut self,
        ticket: Ticket,
        rows: &[PacketRow],
        rejected: &[RejectedRow],
    ) -> Result<Vec<Outcome>, StoreError> {
        self.write_reserved(ticket, rows, rejected).await
    }
}
