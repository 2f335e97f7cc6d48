//! Telemetry that waits for PostgreSQL, in the packets' file and under the same bound: put, marked
//! with the number of the batch it may be stored with already, removed.

use super::{
    super::{error::Fault, lane::now},
    Depth, ROW_BYTES, SpoolFile, checksum,
    rows::unsigned,
};
use crate::store::{StoreError, TelemetryKind, TelemetryRow, Ticket, telemetry::TELEMETRY_LANE};
use rusqlite::{Connection, Row, TransactionBehavior, params};
use std::sync::{Arc, atomic::Ordering};

/// Said of a row whose values are not what was put.
const DAMAGED: &str = "damaged in the spool's file: these values are not what was sent";

/// Bytes of one batch: marking it rewrites its pages, for which even a full disk must have room
/// (`reserve`). A single row may be longer.
const BATCH_BYTES: i64 = 1 << 19;

/// What a row counts for against the bound beside [`ROW_BYTES`].
const LENGTH: &str = "octet_length(device_id) + octet_length(body)";

/// A row on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimedTelemetry {
    /// To be stored.
    Row(TelemetryRow),
    /// For the table of rejected ones.
    Refused {
        /// Its values.
        row: TelemetryRow,
        /// Why.
        reason: String,
    },
}

impl SpoolFile {
    /// Rows of telemetry that wait.
    #[must_use]
    pub fn telemetry_rows(&self) -> u64 {
        self.telemetry.rows.load(Ordering::Acquire)
    }

    /// Stores rows, in one commit, and returns after it: whether each found room. With a ticket
    /// they may be stored in PostgreSQL already, under that number.
    ///
    /// # Errors
    /// Nothing is stored.
    pub async fn put_telemetry(
        &self,
        rows: Vec<TelemetryRow>,
        ticket: Option<Ticket>,
    ) -> Result<Vec<bool>, StoreError> {
        let (packets, telemetry) = (Arc::clone(&self.depth), Arc::clone(&self.telemetry));
        let max_bytes = self.max_bytes;
        self.worker
            .run(move |connection| {
                let used = packets.bytes.load(Ordering::Acquire) + telemetry.bytes.load(Ordering::Acquire);
                let (kept, added) = put(connection, &rows, ticket, max_bytes.saturating_sub(used))?;
                telemetry.add(added);
                Ok(kept)
            })
            .await
    }

    /// Marks the oldest rows, at most `limit`, as those of the batch `ticket`, durably, and
    /// returns them.
    ///
    /// # Errors
    /// Nothing is marked.
    pub async fn claim_telemetry(
        &self,
        ticket: Ticket,
        limit: usize,
    ) -> Result<Vec<ClaimedTelemetry>, StoreError> {
        self.write(move |connection| claim(connection, ticket, limit)).await
    }

    /// The batch is stored in PostgreSQL: its rows leave. Returns how many.
    ///
    /// # Errors
    /// They are still here.
    pub async fn finish_telemetry(&self, ticket: Ticket) -> Result<u64, StoreError> {
        let telemetry = Arc::clone(&self.telemetry);
        self.write(move |connection| {
            let gone = finish(connection, ticket)?;
            telemetry.take(gone);
            Ok(gone.0)
        })
        .await
    }

    /// The batch is not stored in PostgreSQL and never will be: its rows wait as before.
    ///
    /// # Errors
    /// They are still marked.
    pub async fn release_telemetry(&self, ticket: Ticket) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE telemetry SET batch = NULL, writer = NULL WHERE batch = ?1 AND writer = ?2",
                )?
                .execute(params![ticket.number, ticket.writer])?;
            Ok(())
        })
        .await
    }

    /// Batches whose rows may be stored in PostgreSQL already.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unsettled_telemetry(&self) -> Result<Vec<Ticket>, StoreError> {
        self.worker.run(|connection| unsettled(connection)).await
    }
}

/// Rows and bytes, counted anew.
pub(super) fn depth(connection: &Connection) -> Result<Depth, Fault> {
    let counted = connection.query_row(
        &format!("SELECT count(*), coalesce(sum({LENGTH}), 0) FROM telemetry"),
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (rows, bytes) = unsigned(counted);
    let depth = Depth::default();
    depth.add((rows, rows * ROW_BYTES + bytes));
    Ok(depth)
}

fn put(
    connection: &mut Connection,
    rows: &[TelemetryRow],
    ticket: Option<Ticket>,
    room: u64,
) -> Result<(Vec<bool>, (u64, u64)), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut put = transaction.prepare_cached(
        "INSERT INTO telemetry (saved_at, device_id, kind, created_at, body, checksum, batch, writer)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let saved_at = now();
    let mut added = (0, 0);
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        let bytes = ROW_BYTES + (row.device_id.len() + row.body.len()) as u64;
        let fits = added.1 + bytes <= room;
        if fits {
            put.execute(params![
                saved_at,
                row.device_id,
                row.kind.as_str(),
                row.created_at,
                row.body,
                checksum::of_telemetry(row),
                ticket.map(|ticket| ticket.number),
                ticket.map(|ticket| ticket.writer),
            ])?;
            added = (added.0 + 1, added.1 + bytes);
        }
        kept.push(fits);
    }
    drop(put);
    transaction.commit()?;
    Ok((kept, added))
}

fn claim(connection: &mut Connection, ticket: Ticket, limit: usize) -> Result<Vec<ClaimedTelemetry>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction
        .prepare_cached(&format!(
            "UPDATE telemetry SET batch = ?1, writer = ?2 WHERE place IN (
                 SELECT place FROM (
                     SELECT place, row_number() OVER (ORDER BY place) AS number,
                            sum(bytes) OVER (ORDER BY place) AS total
                       FROM (SELECT place, {LENGTH} AS bytes FROM telemetry
                              WHERE batch IS NULL ORDER BY place LIMIT ?3))
                  WHERE number = 1 OR total <= ?4)"
        ))?
        .execute(params![
            ticket.number,
            ticket.writer,
            i64::try_from(limit).unwrap_or(i64::MAX),
            BATCH_BYTES
        ])?;
    let claimed = transaction
        .prepare_cached(
            "SELECT device_id, kind, created_at, body, checksum FROM telemetry
              WHERE batch = ?1 AND writer = ?2 ORDER BY place",
        )?
        .query_map(params![ticket.number, ticket.writer], claimed)?
        .collect::<Result<Vec<_>, _>>()?;
    transaction.commit()?;
    Ok(claimed)
}

fn claimed(row: &Row<'_>) -> rusqlite::Result<ClaimedTelemetry> {
    let (kind, checksum): (String, i64) = (row.get(1)?, row.get(4)?);
    let known = TelemetryKind::parse(&kind);
    let row = TelemetryRow {
        device_id: row.get(0)?,
        kind: known.unwrap_or(TelemetryKind::Device),
        created_at: row.get(2)?,
        body: row.get(3)?,
    };
    Ok(if known.is_some() && checksum::of_telemetry(&row) == checksum {
        ClaimedTelemetry::Row(row)
    } else {
        ClaimedTelemetry::Refused { row, reason: DAMAGED.into() }
    })
}

fn finish(connection: &mut Connection, ticket: Ticket) -> Result<(u64, u64), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let parameters = params![ticket.number, ticket.writer];
    let (rows, bytes) = transaction
        .prepare_cached(&format!(
            "SELECT count(*), coalesce(sum({LENGTH}), 0) FROM telemetry WHERE batch = ?1 AND writer = ?2"
        ))?
        .query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?)))
        .map(unsigned)?;
    transaction
        .prepare_cached("DELETE FROM telemetry WHERE batch = ?1 AND writer = ?2")?
        .execute(parameters)?;
    transaction.commit()?;
    Ok((rows, rows * ROW_BYTES + bytes))
}

fn unsettled(connection: &Connection) -> Result<Vec<Ticket>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT batch, writer FROM telemetry WHERE batch IS NOT NULL ORDER BY batch",
    )?;
    let tickets = statement
        .query_map([], |row| Ok(Ticket { lane: TELEMETRY_LANE, number: row.get(0)?, writer: row.get(1)? }))?;
    Ok(tickets.collect::<Result<_, _>>()?)
}
