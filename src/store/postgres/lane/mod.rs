//! The fast path of packets: group commit, exactly once.
//!
//! A batch is one statement, and so one transaction and one round trip: number and rows. The
//! number (`ingest`) is taken by compare-and-set in that transaction, so two attempts at one
//! batch cannot both commit. When the answer is lost, the next connection reads the number
//! (waiting for a transaction that is still open) before anything else is written. What became
//! of each row is asked afterwards, and only when fewer went in than were sent: the rows of a
//! transaction bear its id, so it does not matter what others have written since.
//!
//! `pending` is set before a batch is sent and cleared by its answer. Whatever happens between
//! (the connection breaks, the caller gives up) it says: this batch may be stored.

mod columns;
mod link;
mod reserved;
mod statements;

use super::{
    super::{
        Lane, Outcome, PacketRow, RejectedRow, StoreError, Ticket, Unsettled, fingerprint::Fingerprints,
    },
    connect::Dialer,
    fault::Fault,
};
use async_trait::async_trait;
use columns::Columns;
use link::{Care, Link, Name, Written, Xid};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// From rows to outcomes, reconnecting and settling included. Long enough for a failover to
/// begin, short enough that a device still waits for its answer.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// Attempts at one batch: a connection that had died unnoticed, a deadlock, another writer.
const ATTEMPTS: u32 = 4;

/// Batches that are written with care after one that had to be: a device that resends and
/// resends shall not make every batch be written twice.
const CAREFUL_BATCHES: u32 = 100;

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
    /// Batches still to be written with care.
    careful: u32,
}

/// A batch that was sent and whose commit was not answered (yet).
struct Pending {
    number: i64,
    fingerprint: u64,
    /// By which transaction, once it is known to be committed: only the outcomes are missing.
    committed: Option<Xid>,
    /// Known before the commit if it was written in parts; true if that succeeded.
    outcomes: Option<Vec<Outcome>>,
}

impl PostgresLane {
    pub(super) fn new(dialer: Arc<Dialer>, node: i64, lane: i32) -> Self {
        let fingerprints = Fingerprints::default();
        let name = Name { node, lane, writer: fingerprints.own() };
        Self {
            dialer,
            name,
            fingerprints,
            link: None,
            pending: None,
            columns: Columns::default(),
            careful: 0,
        }
    }

    async fn write_until_known(&mut self, rows: &[PacketRow]) -> Result<Vec<Outcome>, StoreError> {
        let fingerprint = self.fingerprints.of(rows);
        let mut last_error = None;
        for _ in 0..ATTEMPTS {
            let mut kept = self.link.take();
            if let Some(link) = &mut kept
                && !link.is_alive().await
            {
                kept = None;
            }
            let was_kept = kept.is_some();
            let mut link = match kept {
                Some(link) => link,
                None => self.connect().await?,
            };
            match self.attempt(&mut link, fingerprint, rows).await {
                Ok(Some(outcomes)) => {
                    self.pending = None;
                    self.link = Some(link);
                    return Ok(outcomes);
                }
                Ok(None) => self.warn_overtaken(), // a new connection learns the number
                Err(fault) => {
                    let is_lost = self.is_lost(&fault);
                    let again = was_kept || is_lost || fault.is_collision();
                    let error = fault.explain(self.dialer.target());
                    if is_lost {
                        log::warn!("a commit was not answered, asking what became of it: {error}");
                    } else if !(again && error.is_transient()) {
                        return Err(error);
                    }
                    last_error = Some(error);
                }
            }
        }
        Err(last_error.unwrap_or_else(|| self.busy("another writer keeps taking its numbers")))
    }

    /// Settles what is pending, then writes. `None` if another writer has taken the number.
    /// After an error `pending` tells whether the batch may be stored.
    async fn attempt(
        &mut self,
        link: &mut Link,
        fingerprint: u64,
        rows: &[PacketRow],
    ) -> Result<Option<Vec<Outcome>>, Fault> {
        if let Some(outcomes) = self.settle(link, fingerprint, rows).await? {
            return Ok(Some(outcomes));
        }
        // From here on the batch may be stored, even if this call is dropped.
        self.pending = Some(Pending { number: link.last + 1, fingerprint, committed: None, outcomes: None });
        match self.send(link, rows).await? {
            Written::All => Ok(Some(vec![Outcome::Stored; rows.len()])),
            Written::Some(xid) => self.look(link, rows, xid).await.map(Some),
            Written::Overtaken => Ok(self.forget()),
            Written::NotWithARow => {
                self.pending = None;
                let Some(outcomes) = link.write_in_parts(rows, &mut self.columns).await? else {
                    return Ok(None);
                };
                let outcomes = Some(outcomes);
                self.pending =
                    Some(Pending { number: link.last + 1, fingerprint, committed: None, outcomes });
                link.commit().await?;
                Ok(self.forget())
            }
        }
    }

    /// Without care at first; with care for a while once that has failed.
    async fn send(&mut self, link: &mut Link, rows: &[PacketRow]) -> Result<Written, Fault> {
        if self.careful == 0 {
            let written = link.write(rows, &mut self.columns, Care::None).await?;
            if written != Written::NotWithARow {
                return Ok(written);
            }
            self.careful = CAREFUL_BATCHES;
        }
        self.careful -= 1;
        link.write(rows, &mut self.columns, Care::OneStatement).await
    }

    /// Nothing is pending any more; its outcomes, if they were known.
    fn forget(&mut self) -> Option<Vec<Outcome>> {
        self.pending.take().and_then(|pending| pending.outcomes)
    }

    /// Whether the failure leaves something to be asked of the pending batch. The database's own
    /// ERROR ends a transaction, so it stored nothing.
    fn is_lost(&mut self, fault: &Fault) -> bool {
        if fault.is_refusal() && self.pending.as_ref().is_some_and(|pending| pending.committed.is_none()) {
            self.pending = None;
        }
        self.pending.is_some()
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
    async fn settle(
        &mut self,
        link: &mut Link,
        fingerprint: u64,
        rows: &[PacketRow],
    ) -> Result<Option<Vec<Outcome>>, Fault> {
        let Some(pending) = &mut self.pending else { return Ok(None) };
        let is_last = (link.last, link.last_writer) == (pending.number, self.name.writer);
        let found = is_last.then(|| link.found.clone());
        let committed = pending.committed.take().or(found);
        let word = if committed.is_some() { "is stored" } else { "is not stored" };
        log::warn!("batch {} of lane {} {word}", pending.number, self.name.lane);
        match (committed, pending.outcomes.take()) {
            (Some(_), Some(outcomes)) if pending.fingerprint == fingerprint => Ok(Some(outcomes)),
            (Some(xid), None) if pending.fingerprint == fingerprint => {
                self.look(link, rows, xid).await.map(Some)
            }
            _ => {
                self.pending = None;
                Ok(None)
            }
        }
    }

    /// Asks what became of each row of a batch that is committed. It stays pending until that
    /// is known, and is never written again.
    async fn look(&mut self, link: &mut Link, rows: &[PacketRow], xid: Xid) -> Result<Vec<Outcome>, Fault> {
        if let Some(pending) = &mut self.pending {
            pending.committed = Some(xid.clone());
        }
        link.look(rows, &mut self.columns, &xid).await
    }

    fn ticket(&self, number: i64) -> Ticket {
        Ticket { lane: self.name.lane, number, writer: self.name.writer }
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
                Err(self.busy("a commit was not answered, and its fate is not known yet"))
            }
            Err(_) => Err(self.busy(&format!("no answer within {} s", WRITE_DEADLINE.as_secs()))),
        }
    }
    fn unsettled(&self) -> Option<Unsettled> {
        let Pending { number, outcomes, .. } = self.pending.as_ref()?;
        Some(Unsettled { ticket: self.ticket(*number), outcomes: outcomes.clone() })
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
