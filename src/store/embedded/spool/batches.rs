//! Batches: packets marked with a number, and what becomes of them once it is known whether
//! that number was committed.

use super::{
    super::error::Fault,
    Claimed, ROW_BYTES, checksum,
    rows::{COLUMNS, Stored, read, unsigned},
};
use crate::store::{PacketRow, Ticket};
use rusqlite::{Connection, TransactionBehavior, params};

/// Said of packets whose values are not what was put.
const DAMAGED: &str = "damaged in the spool's file: these values are not what was sent";

/// Bytes (as [`ROW_BYTES`] counts) of one batch: marking it rewrites its pages, for which even a
/// full disk must have room (`reserve`).
const BATCH_BYTES: u64 = 1 << 19;

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

/// Every mark that is set.
pub(super) fn unsettled(connection: &Connection) -> Result<Vec<Ticket>, Fault> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT lane, batch, writer FROM packet WHERE lane IS NOT NULL ORDER BY lane, batch",
    )?;
    let tickets = statement
        .query_map([], |row| Ok(Ticket { lane: row.get(0)?, number: row.get(1)?, writer: row.get(2)? }))?;
    Ok(tickets.collect::<Result<_, _>>()?)
}
