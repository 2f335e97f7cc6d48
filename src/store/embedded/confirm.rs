//! The confirmation transaction: the rules are `confirm::rules`. It holds the write lock from
//! its first statement, so nothing can come between.

use super::{
    error::Fault,
    ids::{self, Sequence},
    pubs,
};
use crate::{
    confirm::rules::{Change, Device, Sender, judge},
    protocol::{
        confo::{Confirmation, Query},
        packet::PubRef,
    },
    store::{Confirmed, LATEST, Micros, Pub, Window},
};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

/// Stores a confirmation, in the row with the id returned.
pub(super) fn confirm(
    connection: &mut Connection,
    confirmation: &Confirmation,
    now: Micros,
) -> Result<(Confirmed, i64), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (sender, sub_id) = match &confirmation.email {
        Some(email) => identify(&transaction, email, now)?,
        None => (Sender::Unnamed, None),
    };
    let known = pubs::find(&transaction, PubRef { id: None, hash: Some(confirmation.hash) })?;
    let device = known.as_ref().map_or(Device::New, |known| Device::Known(known.creator));
    let verdict = judge(sender, device);
    let pub_id = match known {
        Some(known) => known.pub_id,
        None => ids::next(&transaction, Sequence::Pub)?,
    };
    apply(&transaction, pub_id, verdict.change, confirmation.hash, now)?;
    let confirmed = Confirmed::judged(confirmation, pub_id, verdict, now);
    let id = ids::next(&transaction, Sequence::Confo)?;
    let statement = if confirmed.conflict {
        "INSERT INTO cconfo (id, created_at, saved_at, devicename, ssid, hash, sub_id, pub_id, extra)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    } else {
        "INSERT INTO confo (id, created_at, saved_at, devicename, ssid, hash, sub_id, pub_id, extra)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    };
    transaction.prepare_cached(statement)?.execute(params![
        id,
        confirmed.created_at,
        now,
        confirmed.device_name,
        confirmed.ssid,
        confirmed.hash,
        sub_id,
        pub_id,
        confirmation.extra,
    ])?;
    transaction.commit()?;
    Ok((confirmed, id))
}

/// The latest confirmation of what is asked.
pub(super) fn find(
    connection: &Connection,
    query: &Query,
    window: Window,
) -> Result<Option<Confirmed>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT devicename, created_at, ssid, hash, pub_id, conflict FROM (
             SELECT id, saved_at, devicename, created_at, ssid, hash, pub_id, 0 AS conflict FROM confo
              WHERE devicename = ?1 AND ssid = ?2 AND saved_at >= ?3 AND id > ?5 AND (?4 IS NULL OR hash = ?4)
             UNION ALL
             SELECT id, saved_at, devicename, created_at, ssid, hash, NULL, 1 FROM cconfo
              WHERE devicename = ?1 AND ssid = ?2 AND saved_at >= ?3 AND id > ?5 AND (?4 IS NULL OR hash = ?4)
         ) ORDER BY saved_at DESC, id DESC LIMIT 1",
    )?;
    let asked = params![query.device_name, query.ssid, window.since, query.token, window.after];
    Ok(statement.query_row(asked, from_row).optional()?)
}

/// The highest id among the latest confirmations of the names asked for.
pub(super) fn last(connection: &Connection, query: &Query) -> Result<i64, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT coalesce(max(id), 0) FROM (
             SELECT id FROM (SELECT id FROM confo WHERE devicename = ?1 AND ssid = ?2
                              ORDER BY saved_at DESC, id DESC LIMIT ?3)
             UNION ALL
             SELECT id FROM (SELECT id FROM cconfo WHERE devicename = ?1 AND ssid = ?2
                              ORDER BY saved_at DESC, id DESC LIMIT ?3))",
    )?;
    Ok(statement.query_row(params![query.device_name, query.ssid, LATEST], |row| row.get(0))?)
}

/// Who the e-mail is, and its id; one never seen enters `csub`.
fn identify(connection: &Connection, email: &str, now: Micros) -> Result<(Sender, Option<i64>), Fault> {
    let id_in =
        |statement| connection.prepare_cached(statement)?.query_row([email], |row| row.get(0)).optional();
    if let Some(id) = id_in("SELECT sub_id FROM sub WHERE email = ?1")? {
        return Ok((Sender::Registered(id), Some(id)));
    }
    if let Some(id) = id_in("SELECT sub_id FROM csub WHERE email = ?1")? {
        return Ok((Sender::Unregistered(Some(id)), Some(id)));
    }
    let id = ids::next(connection, Sequence::Sub)?;
    connection
        .prepare_cached("INSERT INTO csub (sub_id, email, created_at) VALUES (?1, ?2, ?3)")?
        .execute(params![id, email, now])?;
    Ok((Sender::Unregistered(None), Some(id)))
}

fn apply(connection: &Connection, pub_id: i64, change: Change, hash: i64, now: Micros) -> Result<(), Fault> {
    let creator = match change {
        Change::Keep => return Ok(()),
        Change::Create(creator) => {
            return pubs::insert(connection, &Pub { pub_id, hash: Some(hash), creator, created_at: now });
        }
        Change::Claim(sub_id) => Some(sub_id),
        Change::Disown => {
            log::warn!("pub {pub_id} has no creator any more: its creator is not registered");
            None
        }
    };
    connection
        .prepare_cached("UPDATE pub SET creator = ?2 WHERE pub_id = ?1")?
        .execute(params![pub_id, creator])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Confirmed> {
    Ok(Confirmed {
        device_name: row.get(0)?,
        created_at: row.get(1)?,
        ssid: row.get(2)?,
        hash: row.get(3)?,
        pub_id: row.get(4)?,
        conflict: row.get(5)?,
        is_anothers: false,
    })
}
