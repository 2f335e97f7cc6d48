//! Confirmations as the operator sees them, and the end of a conflict.

use super::{error::Fault, pubs, subs};
use crate::{
    protocol::packet::PubRef,
    store::{Kept, Resolution, Resolved, Unresolved},
};
use rusqlite::{Connection, Row, TransactionBehavior, params};

/// Each table is read as far as needed: this is asked page by page. An id of a person is in
/// `sub` or in `csub`.
const LIST: &str = "
    SELECT kept.id, saved_at, devicename, ssid, kept.hash, kept.pub_id,
           coalesce((SELECT email FROM sub WHERE sub.sub_id = kept.sub_id),
                    (SELECT email FROM csub WHERE csub.sub_id = kept.sub_id)),
           coalesce((SELECT email FROM sub WHERE sub.sub_id = pub.creator),
                    (SELECT email FROM csub WHERE csub.sub_id = pub.creator)),
           conflict
      FROM (SELECT * FROM (SELECT id, saved_at, devicename, ssid, hash, pub_id, sub_id, 1 AS conflict
                             FROM cconfo WHERE id > ?2 ORDER BY id LIMIT ?3)
            UNION ALL
            SELECT * FROM (SELECT id, saved_at, devicename, ssid, hash, pub_id, sub_id, 0
                             FROM confo WHERE id > ?2 AND NOT ?1 ORDER BY id LIMIT ?3)) AS kept
      JOIN pub ON pub.pub_id = kept.pub_id
     ORDER BY kept.id LIMIT ?3";

/// Ascending from above `after`.
pub(super) fn list(
    connection: &Connection,
    conflicts: bool,
    after: i64,
    limit: i64,
) -> Result<Vec<Kept>, Fault> {
    let mut statement = connection.prepare_cached(LIST)?;
    let rows = statement.query_map(params![conflicts, after, limit.max(0)], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Gives the device of a hash to a registered user and settles its conflicts.
pub(super) fn resolve(
    connection: &mut Connection,
    resolution: &Resolution,
    who: &str,
) -> Result<Result<Resolved, Unresolved>, Fault> {
    let hash = resolution.hash;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(owner) = subs::find(&transaction, &resolution.owner)? else {
        return Ok(Err(Unresolved::UnknownOwner));
    };
    let Some(device) = pubs::find(&transaction, PubRef { id: None, hash: Some(hash) })? else {
        return Ok(Err(Unresolved::UnknownHash));
    };
    transaction
        .prepare_cached("UPDATE pub SET creator = ?2 WHERE pub_id = ?1")?
        .execute(params![device.pub_id, owner.sub_id])?;
    let settled = transaction
        .prepare_cached(
            "INSERT INTO confo (id, created_at, saved_at, devicename, ssid, hash, sub_id, pub_id, extra)
             SELECT id, created_at, saved_at, devicename, ssid, hash, sub_id, pub_id, extra
               FROM cconfo WHERE hash = ?1",
        )?
        .execute([hash])?;
    transaction.prepare_cached("DELETE FROM cconfo WHERE hash = ?1")?.execute([hash])?;
    let resolved = Resolved {
        pub_id: device.pub_id,
        before: device.creator,
        creator: owner.sub_id,
        settled: u64::try_from(settled).unwrap_or(u64::MAX),
    };
    subs::audit(&transaction, who, "confo resolve", &resolved.subject(hash))?;
    transaction.commit()?;
    Ok(Ok(resolved))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept {
        id: row.get(0)?,
        saved_at: row.get(1)?,
        device_name: row.get(2)?,
        ssid: row.get(3)?,
        hash: row.get(4)?,
        pub_id: row.get(5)?,
        email: row.get(6)?,
        owner: row.get(7)?,
        conflict: row.get(8)?,
    })
}
