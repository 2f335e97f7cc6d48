//! Where readings and confirmations are kept: one interface, two engines.
//!
//! [`Store`] is everything the rooms above may ask; [`Lane`] is the fast path of
//! packets; [`People`] is the operator's part, [`Accounts`] onboarding's and brokers'; a
//! [`Bell`] wakes those who wait. `postgres` and `embedded` implement them; nothing above names an engine.

pub mod accounts;
mod bell;
pub mod devices;
pub mod embedded;
mod error;
mod fingerprint;
mod keys;
mod migration;
mod people;
pub mod postgres;
mod seal;
mod telemetry;

pub use accounts::Accounts;
pub use bell::{Bell, Listener, Topic};
pub use devices::Devices;
pub use embedded::spool;
pub use error::StoreError;
pub use keys::{ApiKey, ApiKeys};
pub use people::{Kept, People, Registration, Resolution, Resolved, Sub, Unresolved};
pub use seal::{Place, SealError, Sealer};
pub use telemetry::{TELEMETRY_LANE, Telemetry, TelemetryBatch, TelemetryKind, TelemetryRow};

use crate::{
    acme,
    confirm::rules::{Shelf, Verdict},
    protocol::{confo, packet::PubRef},
};
use async_trait::async_trait;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Unix time in microseconds, the store's unit of time on both engines.
pub type Micros = i64;

/// The server's clock.
#[must_use]
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

/// A packet ready to be written: device resolved, times fixed.
#[derive(Clone, Debug, PartialEq)]
pub struct PacketRow {
    /// `pub.pub_id`.
    pub pub_id: i64,
    /// When the device measured.
    pub created_at: Micros,
    /// Volts.
    pub voltage: Option<f64>,
    /// Hertz.
    pub frequency: Option<f64>,
    /// `status` on the wire.
    pub protected: bool,
    /// Unique per (`pub_id`, `created_at`).
    pub seq: Option<i64>,
    /// A JSON object text.
    pub extra: Option<String>,
}

/// What became of one row of a batch that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Durable now, or was already with the same values: thank.
    Stored,
    /// No such `pub_id` (any more).
    UnknownPub,
    /// The same (`pub_id`, `created_at`, `seq`) is stored with other values.
    SeqConflict,
    /// The database refuses this one row; the reason is for the operator's log.
    Rejected(String),
}

/// Names one batch of one writer, as `ingest` remembers the last of each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The lane.
    pub lane: i32,
    /// The batch's number in that lane.
    pub number: i64,
    /// Which lane object: two processes with one node number are told apart by it.
    pub writer: i64,
}

/// A batch whose COMMIT was sent, and whose fate is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// To ask about it.
    pub ticket: Ticket,
    /// What became of each row, if that is known. What is not `Stored` holds in any case.
    pub outcomes: Option<Vec<Outcome>>,
}

/// A packet for the table `rejected`: whole, with the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedRow {
    /// Its values; `pub_id` as the packet named it.
    pub row: PacketRow,
    /// Why it is not in `packet`.
    pub reason: String,
}

/// A device as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pub {
    /// The id devices send.
    pub pub_id: i64,
    /// The provisioning token, if it came from a confirmation.
    pub hash: Option<i64>,
    /// `sub_id` of its owner.
    pub creator: Option<i64>,
    /// When it was made.
    pub created_at: Micros,
}

/// A stored confirmation, as the app may see it (never the e-mail).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// As confirmed.
    pub device_name: String,
    /// When the device confirmed, by its own clock.
    pub created_at: Micros,
    /// As confirmed.
    pub ssid: String,
    /// The token.
    pub hash: i64,
    /// The device's id; `None` in a conflict.
    pub pub_id: Option<i64>,
    /// The confirmation lies in `cconfo`.
    pub conflict: bool,
    /// Somebody owns the device whom the confirmation did not name; told of a new one only, that is
    /// no conflict.
    pub is_anothers: bool,
}

impl Confirmed {
    /// What a confirmation is once the rules have spoken.
    fn judged(confirmation: &confo::Confirmation, pub_id: i64, verdict: Verdict, now: Micros) -> Self {
        Self {
            device_name: confirmation.device_name.clone(),
            created_at: confirmation.timestamp.map_or(now, |seconds| seconds.saturating_mul(1_000_000)),
            ssid: confirmation.ssid.clone(),
            hash: confirmation.hash,
            pub_id: (verdict.shelf == Shelf::Confirmed).then_some(pub_id),
            conflict: verdict.shelf == Shelf::Conflicting,
            is_anothers: verdict.is_anothers && verdict.shelf == Shelf::Confirmed,
        }
    }
}

/// Which confirmations may answer a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Saved then or later.
    pub since: Micros,
    /// With a higher id than this; 0 for all.
    pub after: i64,
}

/// How many of the latest confirmations [`Store::last_confirmation`] looks at: nodes whose
/// clocks differ may have saved a higher id with an earlier time.
const LATEST: i64 = 100;

/// Everything the rooms above may ask of a database. All calls have a deadline
/// of their own and may be dropped.
#[async_trait]
pub trait Store: People + ApiKeys + Devices + Telemetry + Accounts {
    /// Applies or upgrades the schema and checks the database's durability settings.
    /// Idempotent; several nodes may call it at once.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Upkeep the server calls daily: partitions for the months to come, statistics.
    /// Several nodes may call it at once; a failure loses nothing and may wait a day.
    async fn maintain(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Says in one line what the database is (engine, version, schema), changing nothing.
    ///
    /// # Errors
    /// What `prepare` would refuse as well.
    async fn inspect(&self) -> Result<String, StoreError>;

    /// Answers whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Proves that a commit succeeds, by committing one of no meaning. For when one failed.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Finds a device by id, by hash, or by both (then both must name one row:
    /// the caller compares). `None` if there is no row for what was given first.
    async fn find_pub(&self, device: PubRef) -> Result<Option<Pub>, StoreError>;

    /// Makes a device. An explicit id moves the sequence past it. If the id or
    /// the hash is taken, the existing row is the error's content.
    async fn add_pub(&self, device: PubRef) -> Result<Result<Pub, Pub>, StoreError>;

    /// Devices with `pub_id > after`, ascending, at most `limit`.
    async fn list_pubs(&self, after: i64, limit: i64) -> Result<Vec<Pub>, StoreError>;

    /// The database's own settings that decide whether it keeps what it acknowledges, as last
    /// seen: (name, whether it does). Empty before the first contact, and where they are ours.
    fn safety(&self) -> Vec<(&'static str, bool)> {
        Vec::new()
    }

    /// Opens a writer lane. `node` and `lane` name its batch numbers in `ingest`.
    fn lane(&self, node: i64, lane: i32) -> Box<dyn Lane>;

    /// Stores a confirmation by the rules of `confirm::rules`, in one transaction.
    async fn confirm(&self, confirmation: &confo::Confirmation, now: Micros)
    -> Result<Confirmed, StoreError>;

    /// The latest (by `saved_at`) confirmation of what is asked, among `window`.
    async fn find_confirmation(
        &self,
        query: &confo::Query,
        window: Window,
    ) -> Result<Option<Confirmed>, StoreError>;

    /// The highest id among the latest confirmations of a device name and SSID, whatever
    /// their token; 0 if there are none. What is saved from now on has a higher one: ids come
    /// from the database, and so tell earlier from later where the nodes' clocks differ.
    async fn last_confirmation(&self, query: &confo::Query) -> Result<i64, StoreError>;

    /// Rung when a confirmation was stored, by this process or by one [`Store::hear`] heard of.
    fn bell(&self) -> &Arc<Bell>;

    /// Rings the bell for what other processes store, and tells of devices that they change
    /// ([`Devices::changes`]), until it is dropped. A connection lost is made again, and what may
    /// have been missed is rung for and told.
    async fn hear(&self);

    /// What several nodes share of ACME under a name, its keys encrypted. `None` on a store
    /// that has one node only: a folder is simpler then.
    fn acme_cache(&self, _name: String, _sealer: Sealer) -> Option<Arc<dyn acme::Cache>> {
        None
    }
}

/// A writer of batches with one connection and its own batch numbers.
#[async_trait]
pub trait Lane: Send {
    /// Writes all rows in one statement and one commit and returns one outcome
    /// per row, in order. Returns only after the commit is durable. A row the
    /// database refuses never sinks its neighbours. When a COMMIT's answer is lost
    /// the batch number is looked up before anything is sent again, so that `Ok`
    /// means exactly once.
    ///
    /// # Errors
    /// Nothing of this batch is stored, or (connection lost and not yet regained)
    /// its fate is unknown: call again with the same rows until `Ok`, or answer
    /// the devices with a refusal; a resend is the device's to make.
    async fn write(&mut self, rows: &[PacketRow]) -> Result<Vec<Outcome>, StoreError>;

    /// The batch that the last failed or dropped `write` may have stored all the same. Whoever
    /// keeps its rows must [`settle`](Self::settle) it before this lane writes again.
    fn unsettled(&self) -> Option<Unsettled> {
        None
    }

    /// Says whether a batch of this lane was committed, once and for all: waits for a
    /// transaction that is still open. To be asked before the lane writes again.
    ///
    /// # Errors
    /// Not known yet.
    async fn settle(&mut self, _ticket: Ticket) -> Result<bool, StoreError> {
        Err(no_tickets())
    }

    /// Names the batch that [`write_as`](Self::write_as) will write next, so that its rows can be
    /// marked with it durably before.
    ///
    /// # Errors
    /// The database cannot be asked.
    async fn reserve(&mut self) -> Result<Ticket, StoreError> {
        Err(no_tickets())
    }

    /// Writes rows that were thanked already, as this batch and no other. What the database
    /// refuses goes to `rejected` in the same commit, and `rejected` as well.
    ///
    /// # Errors
    /// Its fate may be unknown: [`settle`](Self::settle) it before the next one is reserved.
    async fn write_as(
        &mut self,
        _ticket: Ticket,
        _rows: &[PacketRow],
        _rejected: &[RejectedRow],
    ) -> Result<Vec<Outcome>, StoreError> {
        Err(no_tickets())
    }
}

fn no_tickets() -> StoreError {
    StoreError::Refused("this store is local and has no spool".into())
}
