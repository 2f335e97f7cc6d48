//! Reads what can be read of a damaged spool into a new one.

use super::super::error::Fault;
use rusqlite::{Connection, OpenFlags, Row, ToSql, Transaction, types::Value};
use std::{fmt, path::Path};

/// What was saved, for the operator.
#[derive(Debug, Default)]
pub(super) struct Saved {
    packets: u64,
    telemetry: u64,
    known: u64,
    node: bool,
    /// Places of which nothing could be read.
    gaps: u64,
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packets, telemetry, known, node, gaps } = self;
        write!(
            f,
            "saved {packets} packets, {telemetry} rows of telemetry and {known} ids of the damaged spool"
        )?;
        if *gaps > 0 {
            write!(f, "; some are missing in {gaps} places: send what is set aside to whoever can read it")?;
        }
        if !node {
            f.write_str(
                "; its node number is lost: packets that were just being drained may be stored twice",
            )?;
        }
        Ok(())
    }
}

const PACKET: &str = "place, saved_at, id, hash, pub_id, created_at, voltage, frequency, protected, seq, extra, \
                      checksum, refused, lane, batch, writer";
const PACKET_COLUMNS: usize = 16;

const TELEMETRY: &str = "place, saved_at, device_id, kind, created_at, body, checksum, batch, writer";
const TELEMETRY_COLUMNS: usize = 9;

/// Copies from the file at `damaged`, which stays as it is, into `fresh`.
pub(super) fn save(damaged: &Path, fresh: &mut Connection) -> Result<Saved, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut saved = Saved::default();
    let Ok(from) = Connection::open_with_flags(damaged, flags) else { return Ok(saved) };
    // Else SQLite reads nothing of a file that is shorter than it was.
    from.pragma_update(None, "writable_schema", true)?;
    let transaction = fresh.transaction()?;
    if let Ok(node) = from.query_row("SELECT node FROM meta", [], |row| row.get::<_, i64>(0)) {
        transaction.execute("UPDATE meta SET node = ?1", [node])?;
        saved.node = true;
    }
    let packets = Table {
        from: &from,
        read: format!("SELECT {PACKET} FROM packet NOT INDEXED WHERE place"),
        order: "ORDER BY place",
        columns: PACKET_COLUMNS,
        write: format!(
            "INSERT OR IGNORE INTO packet ({PACKET}) VALUES (?{})",
            ", ?".repeat(PACKET_COLUMNS - 1)
        ),
    };
    (saved.packets, saved.gaps) = packets.copy(&transaction)?;
    let telemetry = Table {
        from: &from,
        read: format!("SELECT {TELEMETRY} FROM telemetry NOT INDEXED WHERE place"),
        order: "ORDER BY place",
        columns: TELEMETRY_COLUMNS,
        write: format!(
            "INSERT OR IGNORE INTO telemetry ({TELEMETRY}) VALUES (?{})",
            ", ?".repeat(TELEMETRY_COLUMNS - 1)
        ),
    };
    let gaps;
    (saved.telemetry, gaps) = telemetry.copy(&transaction)?;
    saved.gaps += gaps;
    let known = Table {
        from: &from,
        read: "SELECT pub_id, hash FROM known NOT INDEXED WHERE pub_id".to_owned(),
        order: "ORDER BY pub_id",
        columns: 2,
        write: "INSERT OR IGNORE INTO known (pub_id, hash) VALUES (?, ?)".to_owned(),
    };
    (saved.known, _) = known.copy(&transaction)?;
    transaction.commit()?;
    Ok(saved)
}

/// One to be copied; its first column is the key of its rows.
struct Table<'a> {
    from: &'a Connection,
    read: String,
    order: &'static str,
    columns: usize,
    write: String,
}

impl Table<'_> {
    /// Forwards from the start; where a page cannot be read, on behind it (the search tree leads
    /// past it), and then backwards towards it. Returns rows copied and gaps met.
    fn copy(&self, into: &Transaction<'_>) -> Result<(u64, u64), Fault> {
        let (mut copied, mut gaps) = (0, 0);
        let mut from = i64::MIN;
        let mut step = 1_i64;
        loop {
            let (rows, last, whole) = self.run(into, ">=", from, "ASC")?;
            copied += rows;
            if whole {
                return Ok((copied, gaps));
            }
            if rows > 0 || gaps == 0 {
                gaps += 1;
                step = 1;
            }
            // From the last row read, in strides that double, until there is something again.
            let Some(next) = last.unwrap_or_else(|| from.max(0)).checked_add(step) else {
                return Ok((copied, gaps));
            };
            step = step.saturating_mul(2);
            from = next;
            copied += self.run(into, "<", from, "DESC")?.0;
        }
    }

    /// Rows copied, the last key read, and whether the end was reached.
    fn run(
        &self,
        into: &Transaction<'_>,
        side: &str,
        bound: i64,
        direction: &str,
    ) -> Result<(u64, Option<i64>, bool), Fault> {
        let Self { read, order, .. } = self;
        let Ok(mut statement) = self.from.prepare(&format!("{read} {side} ?1 {order} {direction}")) else {
            return Ok((0, Some(i64::MAX), true)); // not even the table is known
        };
        let mut write = into.prepare_cached(&self.write)?;
        let Ok(mut rows) = statement.query([bound]) else { return Ok((0, None, false)) };
        let (mut copied, mut last) = (0, None);
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    let Ok(values) = self.values(row) else { continue };
                    last = row.get(0).ok();
                    let parameters: Vec<&dyn ToSql> =
                        values.iter().map(|value| value as &dyn ToSql).collect();
                    match write.execute(&parameters[..]) {
                        // Met twice, from both sides: enough of this one.
                        Ok(0) if direction == "DESC" => return Ok((copied, last, true)),
                        Ok(count) => copied += count as u64,
                        // Values that no column takes: damaged.
                        Err(error)
                            if error.sqlite_error_code()
                                == Some(rusqlite::ErrorCode::ConstraintViolation) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(None) => return Ok((copied, last, true)),
                Err(_) => return Ok((copied, last, false)),
            }
        }
    }

    fn values(&self, row: &Row<'_>) -> rusqlite::Result<Vec<Value>> {
        (0..self.columns).map(|column| row.get(column)).collect()
    }
}
