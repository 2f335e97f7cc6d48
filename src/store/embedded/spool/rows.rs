//! What happens to packets in the spool: put, claimed for a batch, finished or released.

use super::{
    super::{error::Fault, json, lane::now},
    Claimed, Kept, ROW_BYTES, Spooled, checksum,
};
use crate::{
    protocol::packet::PubRef,
    store::{Micros, PacketRow, Ticket},
};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

/// Said of packets whose values are not what was put.
const DAMAGED: &str = "damaged in the spool's file: these values are not what was sent";

/// Devices made in one go.
const STRANGERS: i64 = 100;

/// Bytes (as [`ROW_BYTES`] counts) of one batch: marking it rewrites its pages, for which even a
/// full disk must have room (`reserve`).
const BATCH_BYTES: u64 = 1 << 19;

const PUT: &str = "
    INSERT INTO packet (saved_at, id, hash, pub_id, created_at, voltage, frequency, protected, seq, extra,
                        checksum, lane, batch, writer)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
    ON CONFLICT (id, hash, created_at, seq) WHERE seq IS NOT NULL DO NOTHING";

/// What [`read`] reads.
const COLUMNS: &str =
    "id, hash, pub_id, created_at, voltage, frequency, protected, seq, extra, checksum, refused";

/// Stores as many packets as there is `room` for; returns what became of each, and how many
/// rows and bytes were added.
pub(super) fn put(
    connection: &mut Connection,
    rows: &[Spooled],
    ticket: Option<Ticket>,
    room: u64,
) -> Result<(Vec<Kept>, (u64, u64)), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let saved_at = now();
    let mut added = (0, 0);
    let mut kept = Vec::with_capacity(rows.len());
    for spooled in rows {
        let bytes = bytes_of(&spooled.row);
        let fits = added.1 + bytes <= room;
        if fits && put_row(&transaction, spooled, saved_at, ticket)? {
            added = (added.0 + 1, added.1 + bytes);
            kept.push(Kept::Stored);
            continue;
        }
        kept.push(match earlier(&transaction, spooled)? {
            Some(earlier) if same(&earlier, &spooled.row) => Kept::Stored,
            Some(_) => Kept::SeqConflict,
            None => Kept::Full,
        });
    }
    transaction.commit()?;
    Ok((kept, added))
}

/// Whether it went in; it does not if its seq is here already.
fn put_row(
    transaction: &Transaction<'_>,
    spooled: &Spooled,
    saved_at: Micros,
    ticket: Option<Ticket>,
) -> Result<bool, Fault> {
    let Spooled { row, .. } = spooled;
    let (id, hash, pub_id) = key(spooled);
    let written = transaction.prepare_cached(PUT)?.execute(params![
        saved_at,
        id,
        hash,
        pub_id,
        row.created_at,
        row.voltage,
        row.frequency,
        row.protected,
        row.seq,
        row.extra,
        checksum::of((id, hash), row),
        ticket.map(|ticket| ticket.lane),
        ticket.map(|ticket| ticket.number),
        ticket.map(|ticket| ticket.writer),
    ])?;
    Ok(written > 0)
}

/// `id`, `hash` and `pub_id` as columns.
fn key(Spooled { row, make }: &Spooled) -> (i64, i64, Option<i64>) {
    match (make.id, make.hash) {
        (None, None) => (row.pub_id, 0, Some(row.pub_id)),
        (id, hash) => (id.unwrap_or(0), hash.unwrap_or(0), None),
    }
}

/// The packet of the same device, time and seq that waits here.
fn earlier(transaction: &Transaction<'_>, spooled: &Spooled) -> Result<Option<PacketRow>, Fault> {
    if spooled.row.seq.is_none() {
        return Ok(None);
    }
    let (id, hash, _) = key(spooled);
    let mut statement = transaction.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM packet WHERE id = ?1 AND hash = ?2 AND created_at = ?3 AND seq = ?4"
    ))?;
    let found = statement
        .query_row(params![id, hash, spooled.row.created_at, spooled.row.seq], |row| Ok(read(row)?.row));
    Ok(found.optional()?)
}

fn same(a: &PacketRow, b: &PacketRow) -> bool {
    let same_extra = match (&a.extra, &b.extra) {
        (Some(a), Some(b)) => json::same(a, b),
        (a, b) => a == b,
    };
    (a.voltage, a.frequency, a.protected) == (b.voltage, b.frequency, b.protected) && same_extra
}

/// Marks the oldest packets and returns them.
pub(super) fn claim(
    connection: &mut Connection,
    ticket: Ticket,
    limit: usize,
) -> Result<Vec<Claimed>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction
        .prepare_cached(
            "UPDATE packet SET lane = ?1, batch = ?2, writer = ?3 WHERE place IN (
                 SELECT place FROM (
                     SELECT place, row_number() OVER (ORDER BY place) AS number,
                            sum(bytes) OVER (ORDER BY place) AS total
                       FROM (SELECT place, ?5 + coalesce(octet_length(extra), 0) AS bytes FROM packet
                              WHERE lane IS NULL AND (pub_id IS NOT NULL OR refused IS NOT NULL)
                              ORDER BY place LIMIT ?4))
                  WHERE number = 1 OR total <= ?6)",
        )?
        .execute(params![
            ticket.lane,
            ticket.number,
            ticket.writer,
            i64::try_from(limit).unwrap_or(i64::MAX),
            ROW_BYTES.cast_signed(),
            BATCH_BYTES.cast_signed(),
        ])?;
    let claimed = transaction
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM packet WHERE lane = ?1 AND batch = ?2 AND writer = ?3 ORDER BY place"
        ))?
        .query_map(params![ticket.lane, ticket.number, ticket.writer], |row| Ok(claimed(read(row)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    transaction.commit()?;
    Ok(claimed)
}

fn claimed(stored: Stored) -> Claimed {
    let is_whole = checksum::of(stored.key, &stored.row) == stored.checksum;
    let row = PacketRow { pub_id: stored.pub_id.unwrap_or(stored.row.pub_id), ..stored.row };
    match stored.refused {
        Some(reason) => Claimed::Refused { row, reason },
        None if !is_whole => Claimed::Refused { row, reason: DAMAGED.into() },
        None => Claimed::Packet(row),
    }
}

/// Removes the packets of a batch; returns how many rows and bytes.
pub(super) fn finish(connection: &mut Connection, ticket: Ticket) -> Result<(u64, u64), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let parameters = params![ticket.lane, ticket.number, ticket.writer];
    let (rows, extra) = transaction
        .prepare_cached(
            "SELECT count(*), coalesce(sum(octet_length(extra)), 0) FROM packet
              WHERE lane = ?1 AND batch = ?2 AND writer = ?3",
        )?
        .query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?)))
        .map(unsigned)?;
    transaction
        .prepare_cached("DELETE FROM packet WHERE lane = ?1 AND batch = ?2 AND writer = ?3")?
        .execute(parameters)?;
    transaction.commit()?;
    Ok((rows, rows * ROW_BYTES + extra))
}

/// Devices of the packets without seq of a batch.
pub(super) fn devices(connection: &Connection, ticket: Ticket) -> Result<Vec<i64>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT pub_id FROM packet
          WHERE lane = ?1 AND batch = ?2 AND writer = ?3 AND seq IS NULL AND pub_id IS NOT NULL",
    )?;
    let devices =
        statement.query_map(params![ticket.lane, ticket.number, ticket.writer], |row| row.get(0))?;
    Ok(devices.collect::<Result<_, _>>()?)
}

/// Takes the mark away from packets that can be sent again without harm.
pub(super) fn release_resendable(
    connection: &mut Connection,
    ticket: Ticket,
    missing: &[i64],
) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut with_seq = transaction.prepare_cached(
        "UPDATE packet SET lane = NULL, batch = NULL, writer = NULL
          WHERE lane = ?1 AND batch = ?2 AND writer = ?3 AND (seq IS NOT NULL OR pub_id = ?4)",
    )?;
    for pub_id in missing.iter().copied().map(Some).chain([None]) {
        with_seq.execute(params![ticket.lane, ticket.number, ticket.writer, pub_id])?;
    }
    drop(with_seq);
    Ok(transaction.commit()?)
}

/// Takes the mark of a batch away.
pub(super) fn release(connection: &mut Connection, ticket: Ticket) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE packet SET lane = NULL, batch = NULL, writer = NULL
              WHERE lane = ?1 AND batch = ?2 AND writer = ?3",
        )?
        .execute(params![ticket.lane, ticket.number, ticket.writer])?;
    Ok(())
}

/// Gives an empty file's pages back to the file system; while packets wait in it, free pages are
/// for those to come. Only tidiness: a failure is no news to anyone.
pub(super) fn shrink(connection: &Connection) {
    if let Err(error) = give_back(connection) {
        log::debug!("the spool's file did not shrink: {error}");
    }
}

fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let mut vacuum = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut pages = vacuum.query([])?; // one page a step
    while pages.next()?.is_some() {}
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Every mark that is set.
pub(super) fn unsettled(connection: &Connection) -> Result<Vec<Ticket>, Fault> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT lane, batch, writer FROM packet WHERE lane IS NOT NULL ORDER BY lane, batch",
    )?;
    let tickets = statement
        .query_map([], |row| Ok(Ticket { lane: row.get(0)?, number: row.get(1)?, writer: row.get(2)? }))?;
    Ok(tickets.collect::<Result<_, _>>()?)
}

/// Devices to be made.
pub(super) fn strangers(connection: &Connection) -> Result<Vec<PubRef>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, hash FROM packet WHERE pub_id IS NULL AND refused IS NULL
          GROUP BY id, hash ORDER BY min(place) LIMIT ?1",
    )?;
    let devices = statement.query_map([STRANGERS], |row| Ok(device(row.get(0)?, row.get(1)?)))?;
    Ok(devices.collect::<Result<_, _>>()?)
}

/// Gives a device's packets their id, or the reason why they are refused.
pub(super) fn introduce(
    connection: &Connection,
    device: PubRef,
    made: &Result<i64, String>,
) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE packet SET pub_id = ?3, refused = ?4
              WHERE id = ?1 AND hash = ?2 AND pub_id IS NULL AND refused IS NULL",
        )?
        .execute(params![
            device.id.unwrap_or(0),
            device.hash.unwrap_or(0),
            made.as_ref().ok(),
            made.as_ref().err()
        ])?;
    Ok(())
}

/// When the first one was thanked.
pub(super) fn oldest(connection: &Connection) -> Result<Option<Micros>, Fault> {
    let mut statement = connection.prepare_cached("SELECT saved_at FROM packet ORDER BY place LIMIT 1")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?)
}

/// Rows and bytes, counted anew.
pub(super) fn count(connection: &Connection) -> Result<(u64, u64), Fault> {
    let counted = connection.query_row(
        "SELECT count(*), coalesce(sum(octet_length(extra)), 0) FROM packet",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (rows, extra) = unsigned(counted);
    Ok((rows, rows * ROW_BYTES + extra))
}

fn unsigned((rows, bytes): (i64, i64)) -> (u64, u64) {
    (rows.unsigned_abs(), bytes.unsigned_abs())
}

fn bytes_of(row: &PacketRow) -> u64 {
    ROW_BYTES + row.extra.as_ref().map_or(0, |extra| extra.len() as u64)
}

fn device(id: i64, hash: i64) -> PubRef {
    PubRef { id: (id != 0).then_some(id), hash: (hash != 0).then_some(hash) }
}

/// A packet as it lies in the file.
struct Stored {
    /// Columns `id` and `hash`.
    key: (i64, i64),
    pub_id: Option<i64>,
    /// Under `id`.
    row: PacketRow,
    checksum: i64,
    refused: Option<String>,
}

/// Reads [`COLUMNS`].
fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let key = (row.get(0)?, row.get(1)?);
    Ok(Stored {
        key,
        pub_id: row.get(2)?,
        row: PacketRow {
            pub_id: key.0,
            created_at: row.get(3)?,
            voltage: row.get(4)?,
            frequency: row.get(5)?,
            protected: row.get(6)?,
            seq: row.get(7)?,
            extra: row.get(8)?,
        },
        checksum: row.get(9)?,
        refused: row.get(10)?,
    })
}
