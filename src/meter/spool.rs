//! The spool, as the meter port sees it: rows in while the store is away, ids known without it.
//!
//! The file is `store::spool`; `drain` empties it.

use super::batch::Verdict;
use super::known::Known;
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::packet::PubRef;
use crate::protocol::reply::Refusal;
use crate::store::spool::{Kept, SpoolFile, Spooled};
use crate::store::{Outcome, Store, StoreError, Ticket};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// What lanes, sessions and the drain share.
pub struct Spool {
    pub(super) file: Arc<SpoolFile>,
    pub(super) store: Arc<dyn Store>,
    pub(super) known: Arc<Known>,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    /// Devices promised to be made, so that each takes one place of its peer's quota.
    promised: Mutex<HashSet<PubRef>>,
    /// The last attempt to put something failed: the disk is full, say.
    is_failing: AtomicBool,
    /// Something was put.
    pub(super) filled: Notify,
}

impl Spool {
    /// Takes charge of the file, and tells `known` the ids that it remembers. Returns with it the
    /// batches that an earlier process left unsettled.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn begin(
        file: Arc<SpoolFile>,
        store: &Arc<dyn Store>,
        known: &Arc<Known>,
        health: &Arc<Health>,
        metrics: &Arc<Metrics>,
    ) -> Result<(Arc<Self>, Vec<Ticket>), StoreError> {
        known.recall(file.known().await?);
        let promised = file.strangers().await?.into_iter().collect();
        let unsettled = file.unsettled().await?;
        let spool = Self {
            file,
            store: Arc::clone(store),
            known: Arc::clone(known),
            health: Arc::clone(health),
            metrics: Arc::clone(metrics),
            promised: Mutex::new(promised),
            is_failing: AtomicBool::new(false),
            filled: Notify::new(),
        };
        spool.tell();
        if spool.file.rows() > 0 {
            log::info!("{} packets wait in the spool", spool.file.rows());
        }
        Ok((Arc::new(spool), unsettled))
    }

    /// Stores rows durably, in one commit; one verdict each, in order.
    pub(super) async fn put(&self, rows: Vec<Spooled>, ticket: Option<Ticket>) -> Vec<Verdict> {
        let count = rows.len();
        if count == 0 {
            return Vec::new();
        }
        let since = Instant::now();
        let put = self.file.put(rows, ticket).await;
        self.is_failing.store(put.is_err(), Ordering::Release);
        self.tell();
        match put {
            Ok(kept) => {
                self.metrics.stored.committed("spool", count, since.elapsed());
                let stored = kept.iter().filter(|kept| **kept == Kept::Stored).count();
                events::spooled(&self.metrics, stored as u64);
                if kept.contains(&Kept::Full) {
                    events::spool_is_full(&self.metrics);
                }
                self.filled.notify_one();
                kept.into_iter().map(verdict).collect()
            }
            Err(error) => {
                events::spool_failed(&self.metrics, &error);
                let refusal = if error.is_transient() { Refusal::Busy } else { Refusal::Unavailable };
                vec![Err(refusal); count]
            }
        }
    }

    /// Whether this device is to be made at drain already.
    pub(super) fn has_promised(&self, device: PubRef) -> bool {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner).contains(&device)
    }

    /// A device will be made at drain, or (`false`) was.
    pub(super) fn promise(&self, device: PubRef, is_open: bool) {
        let mut promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        if is_open {
            promised.insert(device);
        } else {
            promised.remove(&device);
        }
    }

    /// A batch of a writer lane is settled. If it is stored, rows whose outcome nobody saw are
    /// drained again where that can do no harm.
    pub(super) async fn settled(&self, ticket: Ticket, is_stored: bool) -> Result<(), StoreError> {
        let word = if is_stored { "is stored" } else { "is not stored" };
        log::info!("batch {} of lane {} {word}", ticket.number, ticket.lane);
        if is_stored {
            let mut missing = Vec::new();
            for pub_id in self.file.devices(ticket).await? {
                if self.store.find_pub(PubRef { id: Some(pub_id), hash: None }).await?.is_none() {
                    missing.push(pub_id);
                }
            }
            self.file.finish_unseen(ticket, missing).await?;
        } else {
            self.file.release(ticket).await?;
        }
        self.tell();
        self.filled.notify_one();
        Ok(())
    }

    /// Packets left it, so there is room again.
    pub(super) fn has_drained(&self) {
        self.is_failing.store(false, Ordering::Release);
        self.tell();
    }

    /// Shows health and metrics how full it is.
    pub(super) fn tell(&self) {
        self.health.set_spool(self.file.has_room() && !self.is_failing.load(Ordering::Acquire));
        self.metrics.stored.spool_depth(self.file.rows(), self.file.bytes());
    }
}

fn verdict(kept: Kept) -> Verdict {
    match kept {
        Kept::Stored => Ok(Outcome::Stored),
        Kept::SeqConflict => Ok(Outcome::SeqConflict),
        Kept::Full => Err(Refusal::Busy),
    }
}
