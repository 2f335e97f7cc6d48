//! Packets: one batch, one transaction, one fsync.

use super::{
    error::{Fault, Remedy, is_foreign_key, remedy},
    json,
    worker::{Answer, Worker},
};
use crate::store::{Lane, Micros, Outcome, PacketRow, StoreError, fingerprint::Fingerprints};
use async_trait::async_trait;
use rusqlite::{CachedStatement, Connection, TransactionBehavior, params};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::timeout;

/// From rows to outcomes: the file's lock held by another process, jobs before this one, fsync.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

const PUT: &str = "
    INSERT INTO packet (pub_id, created_at, saved_at, voltage, frequency, protected, seq, extra)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (pub_id, created_at, seq) DO NOTHING";

const STORED: &str = "
    SELECT voltage, frequency, protected, extra FROM packet
     WHERE pub_id = ?1 AND created_at = ?2 AND seq = ?3";

/// A writer; all of them share the one connection that writes.
pub(super) struct EmbeddedLane {
    worker: Arc<Worker>,
    name: Name,
    fingerprints: Fingerprints,
    pending: Option<Pending>,
}

/// Whose batches these are.
#[derive(Clone, Copy)]
struct Name {
    node: i64,
    lane: i32,
    writer: i64,
}

/// A batch handed to the thread, whose answer was not seen yet: it stays here when a call
/// meets its deadline or is dropped, so that the next one learns of it first.
struct Pending {
    fingerprint: u64,
    answer: Answer<Vec<Outcome>>,
}

impl EmbeddedLane {
    pub(super) fn new(worker: Arc<Worker>, node: i64, lane: i32) -> Self {
        let fingerprints = Fingerprints::default();
        let name = Name { node, lane, writer: fingerprints.own() };
        Self { worker, name, fingerprints, pending: None }
    }

    async fn write_until_known(&mut self, rows: &[PacketRow]) -> Result<Vec<Outcome>, StoreError> {
        let fingerprint = self.fingerprints.of(rows);
        if let Some(Pending { fingerprint: earlier, .. }) = self.pending {
            let result = self.answer().await;
            if result.is_ok() && earlier == fingerprint {
                return result;
            }
        }
        let (name, rows) = (self.name, rows.to_vec());
        let answer = self.worker.send(move |connection| write(connection, name, &rows)).await?;
        self.pending = Some(Pending { fingerprint, answer });
        self.answer().await
    }

    /// Awaits the pending batch; it stays pending if this is dropped.
    async fn answer(&mut self) -> Result<Vec<Outcome>, StoreError> {
        let Some(pending) = &mut self.pending else { return Err(self.worker.gone()) };
        let result = (&mut pending.answer).await;
        self.pending = None;
        result.unwrap_or_else(|_| Err(self.worker.gone()))
    }
}

#[async_trait]
impl Lane for EmbeddedLane {
    async fn write(&mut self, rows: &[PacketRow]) -> Result<Vec<Outcome>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        timeout(WRITE_DEADLINE, self.write_until_known(rows)).await.unwrap_or_else(|_| {
            let seconds = WRITE_DEADLINE.as_secs();
            Err(StoreError::Unavailable(format!("the embedded store gave no answer within {seconds} s")))
        })
    }
}

/// Unix time now.
pub(super) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

fn write(connection: &mut Connection, name: Name, rows: &[PacketRow]) -> Result<Vec<Outcome>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction
        .prepare_cached(
            "INSERT INTO ingest (node, lane, batch, writer) VALUES (?1, ?2, 1, ?3)
             ON CONFLICT (node, lane) DO UPDATE SET batch = batch + 1, writer = excluded.writer",
        )?
        .execute(params![name.node, name.lane, name.writer])?;
    let saved_at = now();
    let mut put = transaction.prepare_cached(PUT)?;
    let outcomes = rows
        .iter()
        .map(|row| write_row(&transaction, &mut put, row, saved_at))
        .collect::<Result<Vec<_>, _>>()?;
    drop(put);
    transaction.commit()?;
    Ok(outcomes)
}

/// A row that fails takes only its own statement back.
fn write_row(
    connection: &Connection,
    put: &mut CachedStatement<'_>,
    row: &PacketRow,
    saved_at: Micros,
) -> Result<Outcome, Fault> {
    if [row.voltage, row.frequency].into_iter().flatten().any(f64::is_nan) {
        return Ok(Outcome::Rejected("not a number".into())); // SQLite would store NULL
    }
    let written = put.execute(params![
        row.pub_id,
        row.created_at,
        saved_at,
        row.voltage,
        row.frequency,
        row.protected,
        row.seq,
        row.extra
    ]);
    match written {
        Ok(0) if is_stored(connection, row)? => Ok(Outcome::Stored),
        Ok(0) => Ok(Outcome::SeqConflict),
        Ok(_) => Ok(Outcome::Stored),
        Err(error) if is_foreign_key(&error) => Ok(Outcome::UnknownPub),
        Err(error) if remedy(&error) == Remedy::RejectRow => Ok(Outcome::Rejected(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Whether the row with this seq has these values.
fn is_stored(connection: &Connection, row: &PacketRow) -> Result<bool, Fault> {
    let mut stored = connection.prepare_cached(STORED)?;
    let same = stored.query_row(params![row.pub_id, row.created_at, row.seq], |stored| {
        let extra: Option<String> = stored.get(3)?;
        let same_extra = match (&extra, &row.extra) {
            (Some(stored), Some(sent)) => json::same(stored, sent),
            (stored, sent) => stored == sent,
        };
        Ok(stored.get::<_, Option<f64>>(0)? == row.voltage
            && stored.get::<_, Option<f64>>(1)? == row.frequency
            && stored.get::<_, bool>(2)? == row.protected
            && same_extra)
    })?;
    Ok(same)
}
