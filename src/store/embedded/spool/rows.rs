//! Packets as they lie in the spool: put, compared, counted.

use super::{
    super::{error::Fault, json, lane::now},
    Kept, ROW_BYTES, Spooled, checksum,
};
use crate::{
    protocol::packet::PubRef,
    store::{Micros, PacketRow, Ticket},
};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

/// Devices made in one go.
const STRANGERS: i64 = 100;

const PUT: &str = "
    INSERT INTO packet (saved_at, id, hash, pub_id, created_at, voltage, frequency, protected, seq, extra,
                        checksum, lane, batch, writer)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
    ON CONFLICT (id, hash, created_at, seq) WHERE seq IS NOT NULL DO NOTHING";

/// What [`read`] reads.
pub(super) const COLUMNS: &str =
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

pub(super) fn unsigned((rows, bytes): (i64, i64)) -> (u64, u64) {
    (rows.unsigned_abs(), bytes.unsigned_abs())
}

fn bytes_of(row: &PacketRow) -> u64 {
    ROW_BYTES + row.extra.as_ref().map_or(0, |extra| extra.len() as u64)
}

fn device(id: i64, hash: i64) -> PubRef {
    PubRef { id: (id != 0).then_some(id), hash: (hash != 0).then_some(hash) }
}

/// A packet as it lies in the file.
pub(super) struct Stored {
    /// Columns `id` and `hash`.
    pub(super) key: (i64, i64),
    pub(super) pub_id: Option<i64>,
    /// Under `id`.
    pub(super) row: PacketRow,
    pub(super) checksum: i64,
    pub(super) refused: Option<String>,
}

/// Reads [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
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
