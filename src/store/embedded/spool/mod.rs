//! The spool's file: packets that wait for PostgreSQL, fsynced, and what is known without it: ids,
//! and who may speak.
//!
//! One thread owns its connection. `open` checks the file and sets a broken one aside, `salvage`
//! saves what can be read of that, `rows` is what lies in it, `batches` what leaves it, `known`
//! the ids, `listed` the allow-list, `telemetry` what came over HTTPS, `inspect` the look of another process. When
//! to spool and when to drain is not decided here, but in `meter` and `api`.

mod batches;
mod checksum;
mod inspect;
mod known;
mod listed;
mod open;
mod reserve;
mod rows;
mod salvage;
mod telemetry;
#[cfg(test)]
mod tests;

pub use inspect::{Found, Inspection, inspect};

use super::{error::Fault, worker::Worker};
use crate::{
    protocol::packet::PubRef,
    store::{Micros, PacketRow, StoreError, Ticket},
};
pub use telemetry::ClaimedTelemetry;

use reserve::Reserve;
use rusqlite::Connection;
use std::{
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The file's name in the spool's folder.
pub const FILE: &str = "spool.sqlite";

/// What a packet counts for against the spool's bound, its `extra` not counted: 98 bytes in a file
/// of 100,000 packets with `seq`, index included; more when devices come in random order.
pub const ROW_BYTES: u64 = 128;

/// A packet for the spool.
#[derive(Clone, Debug, PartialEq)]
pub struct Spooled {
    /// Its values. `pub_id` means nothing while the device is still to be made.
    pub row: PacketRow,
    /// The device to be made at drain; empty for one that exists.
    pub make: PubRef,
}

/// What became of a packet that was to be spooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Durable, or was already with the same values.
    Stored,
    /// The same (device, time, seq) waits here with other values.
    SeqConflict,
    /// Beyond the bound.
    Full,
}

/// A packet on its way out.
#[derive(Clone, Debug, PartialEq)]
pub enum Claimed {
    /// To be stored.
    Packet(PacketRow),
    /// For the table of rejected ones.
    Refused {
        /// Its values.
        row: PacketRow,
        /// Why.
        reason: String,
    },
}

/// How much waits, kept up to date by the one thread that writes.
#[derive(Debug, Default)]
struct Depth {
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// The file, open. Several tasks may use it at once.
pub struct SpoolFile {
    worker: Worker,
    depth: Arc<Depth>,
    telemetry: Arc<Depth>,
    reserve: Reserve,
    node: i64,
    max_bytes: u64,
    _lock: File,
}

impl SpoolFile {
    /// Opens or makes the file in `dir`, which is made too. A file that is damaged is set aside
    /// under another name, what can be read of it is taken over.
    ///
    /// # Errors
    /// [`StoreError::Refused`] or [`StoreError::Unavailable`] when folder or file cannot be used;
    /// [`StoreError::SchemaTooNew`] for the file of a newer m0v.
    pub fn open(dir: &Path, max_bytes: u64) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let lock = open::lock(dir)?;
        let (connection, node) = open::open(&path)?;
        let depth = Arc::new(Depth::default());
        let counted = rows::count(&connection).map_err(|fault| fault.explain(&path))?;
        depth.add(counted);
        let telemetry = telemetry::depth(&connection).map_err(|fault| fault.explain(&path))?;
        Ok(Self {
            worker: Worker::start("m0v-spool", &path, connection)?,
            depth,
            telemetry: Arc::new(telemetry),
            reserve: Reserve::make(dir),
            node,
            max_bytes,
            _lock: lock,
        })
    }

    /// This spool's name in `ingest`.
    #[must_use]
    pub fn node(&self) -> i64 {
        self.node
    }

    /// Packets that wait.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.depth.rows.load(Ordering::Acquire)
    }

    /// What they, and the telemetry, count for against the bound.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.depth.bytes.load(Ordering::Acquire) + self.telemetry.bytes.load(Ordering::Acquire)
    }

    /// Whether one more packet fits.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bytes() + ROW_BYTES <= self.max_bytes
    }

    /// Stores packets, in one commit, and returns after it: one answer each, in order. With a
    /// ticket they may be stored in PostgreSQL already, under that number.
    ///
    /// There is no deadline: a local disk that hangs is backpressure, and an fsync cannot be called off.
    ///
    /// # Errors
    /// Nothing is stored.
    pub async fn put(&self, rows: Vec<Spooled>, ticket: Option<Ticket>) -> Result<Vec<Kept>, StoreError> {
        let (depth, telemetry) = (Arc::clone(&self.depth), Arc::clone(&self.telemetry));
        let max_bytes = self.max_bytes;
        self.worker
            .run(move |connection| {
                let used = depth.bytes.load(Ordering::Acquire) + telemetry.bytes.load(Ordering::Acquire);
                let room = max_bytes.saturating_sub(used);
                let (kept, added) = rows::put(connection, &rows, ticket, room)?;
                depth.add(added);
                Ok(kept)
            })
            .await
    }

    /// Marks the oldest packets, at most `limit`, as those of the batch `ticket`, durably, and
    /// returns them.
    ///
    /// # Errors
    /// Nothing is marked.
    pub async fn claim(&self, ticket: Ticket, limit: usize) -> Result<Vec<Claimed>, StoreError> {
        self.write(move |connection| batches::claim(connection, ticket, limit)).await
    }

    /// The batch is stored in PostgreSQL: its packets leave. Returns how many.
    ///
    /// # Errors
    /// They are still here.
    pub async fn finish(&self, ticket: Ticket) -> Result<u64, StoreError> {
        let depth = Arc::clone(&self.depth);
        let gone = self
            .write(move |connection| {
                let gone = batches::finish(connection, ticket)?;
                depth.take(gone);
                if depth.rows.load(Ordering::Acquire) == 0 {
                    rows::shrink(connection);
                }
                Ok(gone.0)
            })
            .await?;
        if self.rows() == 0 {
            self.reserve.renew();
        }
        Ok(gone)
    }

    /// The batch is not stored in PostgreSQL and never will be: its packets wait as before.
    ///
    /// # Errors
    /// They are still marked.
    pub async fn release(&self, ticket: Ticket) -> Result<(), StoreError> {
        self.write(move |connection| batches::release(connection, ticket)).await
    }

    /// Devices of a batch's packets that have no `seq`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn devices(&self, ticket: Ticket) -> Result<Vec<i64>, StoreError> {
        self.worker.run(move |connection| batches::devices(connection, ticket)).await
    }

    /// A batch is stored in PostgreSQL, but what became of each of its rows is not known. Those
    /// with `seq` wait again: sent once more they are recognised. So do those of devices that
    /// are `missing`: they cannot have been stored. The others leave.
    ///
    /// # Errors
    /// To be called again.
    pub async fn finish_unseen(&self, ticket: Ticket, missing: Vec<i64>) -> Result<(), StoreError> {
        self.write(move |connection| batches::release_resendable(connection, ticket, &missing)).await?;
        self.finish(ticket).await.map(drop)
    }

    /// Batches whose packets may be stored in PostgreSQL already.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unsettled(&self) -> Result<Vec<Ticket>, StoreError> {
        self.worker.run(|connection| batches::unsettled(connection)).await
    }

    /// Devices that are still to be made, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn strangers(&self) -> Result<Vec<PubRef>, StoreError> {
        self.worker.run(|connection| rows::strangers(connection)).await
    }

    /// Tells what became of a device that was to be made: its id, or why its packets are refused.
    ///
    /// # Errors
    /// It is still to be made.
    pub async fn introduce(&self, device: PubRef, made: Result<i64, String>) -> Result<(), StoreError> {
        self.write(move |connection| rows::introduce(connection, device, &made)).await
    }

    /// When the packet that waits longest was thanked.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn oldest(&self) -> Result<Option<Micros>, StoreError> {
        self.worker.run(|connection| rows::oldest(connection)).await
    }

    /// Devices that exist, as (`pub_id`, `hash`).
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn known(&self) -> Result<Vec<(i64, Option<i64>)>, StoreError> {
        self.worker.run(|connection| known::all(connection)).await
    }

    /// Remembers devices (`Some`, with their hash) and forgets others (`None`).
    ///
    /// # Errors
    /// Nothing of it is done.
    pub async fn learn(&self, changes: Vec<(i64, Option<Option<i64>>)>) -> Result<(), StoreError> {
        self.worker.run(move |connection| known::learn(connection, &changes)).await
    }

    /// Runs a job that makes room, or leads to it: when the disk is full, with what was kept for that.
    async fn write<T: Send + 'static>(
        &self,
        job: impl Fn(&mut Connection) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let job = Arc::new(job);
        let again = Arc::clone(&job);
        match self.worker.run(move |connection| job(connection)).await {
            Err(StoreError::Unavailable(why)) if self.reserve.spend(&why) => {
                self.worker.run(move |connection| again(connection)).await
            }
            result => result,
        }
    }
}

impl Depth {
    fn add(&self, (rows, bytes): (u64, u64)) {
        self.rows.fetch_add(rows, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    fn take(&self, (rows, bytes): (u64, u64)) {
        self.rows.fetch_sub(rows, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}
