//! What devices and brokers report over HTTPS: JSON, stored as sent.
//!
//! Rows have nothing that tells a resend from a second report, so a batch is written under a
//! number, as those of the packets are: `ingest` knows what became of it.

use super::{Micros, StoreError, Ticket};
use async_trait::async_trait;

/// The lane of telemetry in `ingest`, far from those of the packets. One for each node: its
/// batches follow each other, so the last number tells of all.
pub const TELEMETRY_LANE: i32 = 2000;

/// The writer of a number that was taken so that nobody else can.
pub(super) const NOBODY: i64 = 0;

/// By which way a report came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TelemetryKind {
    /// `POST /devicetelemetry`: a device's own.
    Device,
    /// `POST /forwardtelemetry`: a device's, told by a broker.
    Forwarded,
    /// `POST /forwardstatus`: of a device, told by a broker.
    Status,
}

impl TelemetryKind {
    /// The text in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "devicetelemetry",
            Self::Forwarded => "forwardtelemetry",
            Self::Status => "forwardstatus",
        }
    }

    /// Reads [`as_str`](Self::as_str).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Device, Self::Forwarded, Self::Status].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A row of `telemetry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryRow {
    /// Of whom; brokers forward for devices that are not known here.
    pub device_id: String,
    /// By which way.
    pub kind: TelemetryKind,
    /// When it was measured, or received.
    pub created_at: Micros,
    /// JSON text that both engines can store.
    pub body: String,
}

/// Rows to be written in one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryBatch {
    /// The server's name in `ingest`.
    pub node: i64,
    /// The number.
    pub ticket: Ticket,
    /// What is to be stored.
    pub rows: Vec<TelemetryRow>,
    /// What can only go to the table `rejected`, and why.
    pub refused: Vec<(TelemetryRow, String)>,
    /// The rows were acknowledged already: what the database refuses of them goes to `rejected`.
    pub is_promised: bool,
}

/// The part of a store that takes telemetry.
#[async_trait]
pub trait Telemetry: Send + Sync {
    /// Names the next batch of a node.
    ///
    /// # Errors
    /// The database cannot be asked.
    async fn reserve_telemetry(&self, node: i64) -> Result<Ticket, StoreError>;

    /// Stores a batch in one commit; `Some` says why the database refuses that row.
    ///
    /// # Errors
    /// It may be stored all the same: [`settle_telemetry`](Self::settle_telemetry) tells.
    async fn add_telemetry(&self, batch: &TelemetryBatch) -> Result<Vec<Option<String>>, StoreError>;

    /// Says whether a batch was stored, once and for all: if it was not, it cannot be any more.
    /// To be asked before the node's next batch is written.
    ///
    /// # Errors
    /// Not known yet.
    async fn settle_telemetry(&self, node: i64, ticket: Ticket) -> Result<bool, StoreError>;
}

/// The row as the table `rejected` keeps it.
pub(super) fn json(row: &TelemetryRow) -> String {
    let TelemetryRow { device_id, kind, created_at, body } = row;
    serde_json::json!({
        "device_id": device_id, "kind": kind.as_str(), "created_at": created_at, "body": body,
    })
    .to_string()
}
