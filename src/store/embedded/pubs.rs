//! Devices: find, add, list.

use super::{
    error::Fault,
    ids::{self, Sequence},
};
use crate::{
    protocol::packet::PubRef,
    store::{Micros, Pub},
};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

const BY_ID: &str = "SELECT pub_id, hash, creator, created_at FROM pub WHERE pub_id = ?1";
const BY_HASH: &str = "SELECT pub_id, hash, creator, created_at FROM pub WHERE hash = ?1";
const LIST: &str =
    "SELECT pub_id, hash, creator, created_at FROM pub WHERE pub_id > ?1 ORDER BY pub_id LIMIT ?2";

/// By id; without one, by hash.
pub(super) fn find(connection: &Connection, device: PubRef) -> Result<Option<Pub>, Fault> {
    let (statement, value) = match device {
        PubRef { id: Some(id), .. } => (BY_ID, id),
        PubRef { id: None, hash: Some(hash) } => (BY_HASH, hash),
        PubRef { id: None, hash: None } => return Ok(None),
    };
    Ok(connection.prepare_cached(statement)?.query_row([value], from_row).optional()?)
}

/// Ascending from above `after`.
pub(super) fn list(connection: &Connection, after: i64, limit: i64) -> Result<Vec<Pub>, Fault> {
    let mut statement = connection.prepare_cached(LIST)?;
    let rows = statement.query_map([after, limit.max(0)], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Adds a device, or tells which row is in its way.
pub(super) fn add(
    connection: &mut Connection,
    device: PubRef,
    now: Micros,
) -> Result<Result<Pub, Pub>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for part in [PubRef { id: device.id, hash: None }, PubRef { id: None, hash: device.hash }] {
        if let Some(taken) = find(&transaction, part)? {
            return Ok(Err(taken));
        }
    }
    let pub_id = match device.id {
        Some(id) => {
            ids::pass(&transaction, id)?;
            id
        }
        None => ids::next(&transaction, Sequence::Pub)?,
    };
    let added = Pub { pub_id, hash: device.hash, creator: None, created_at: now };
    insert(&transaction, &added)?;
    transaction.commit()?;
    Ok(Ok(added))
}

/// Inserts the row; the caller knows that neither id nor hash is taken.
pub(super) fn insert(connection: &Connection, row: &Pub) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT INTO pub (pub_id, created_at, hash, creator) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![row.pub_id, row.created_at, row.hash, row.creator])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Pub> {
    Ok(Pub { pub_id: row.get(0)?, hash: row.get(1)?, creator: row.get(2)?, created_at: row.get(3)? })
}
