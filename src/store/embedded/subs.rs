//! Registered users: added, removed, listed. Each change holds the write lock throughout.

use super::{
    error::Fault,
    ids::{self, Sequence},
};
use crate::store::{Registration, Sub, now};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

const BY_EMAIL: &str = "SELECT sub_id, email, name, phone, created_at FROM sub WHERE email = ?1";
const LIST: &str = "SELECT sub_id, email, name, phone, created_at FROM sub WHERE sub_id > ?1
                     ORDER BY sub_id LIMIT ?2";

/// Registers a user; one seen before keeps the id.
pub(super) fn add(
    connection: &mut Connection,
    registration: &Registration,
    who: &str,
) -> Result<Result<Sub, Sub>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Registration { email, name, phone } = registration.clone();
    if let Some(taken) = find(&transaction, &email)? {
        return Ok(Err(taken));
    }
    let seen = transaction
        .prepare_cached("DELETE FROM csub WHERE email = ?1 RETURNING sub_id")?
        .query_map([&email], |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?
        .pop();
    let sub_id = match seen {
        Some(sub_id) => sub_id,
        None => ids::next(&transaction, Sequence::Sub)?,
    };
    let added = Sub { sub_id, email, name, phone, created_at: now() };
    transaction
        .prepare_cached(
            "INSERT INTO sub (sub_id, email, name, phone, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![sub_id, added.email, added.name, added.phone, added.created_at])?;
    audit(&transaction, who, "sub add", &format!("sub {sub_id}"))?;
    transaction.commit()?;
    Ok(Ok(added))
}

/// Deregisters a user, who keeps the id.
pub(super) fn remove(connection: &mut Connection, email: &str, who: &str) -> Result<Option<i64>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(Sub { sub_id, email, .. }) = find(&transaction, email)? else { return Ok(None) };
    transaction.prepare_cached("DELETE FROM sub WHERE sub_id = ?1")?.execute([sub_id])?;
    transaction
        .prepare_cached("INSERT INTO csub (sub_id, email, created_at) VALUES (?1, ?2, ?3)")?
        .execute(params![sub_id, email, now()])?;
    audit(&transaction, who, "sub remove", &format!("sub {sub_id}"))?;
    transaction.commit()?;
    Ok(Some(sub_id))
}

/// Ascending from above `after`.
pub(super) fn list(connection: &Connection, after: i64, limit: i64) -> Result<Vec<Sub>, Fault> {
    let mut statement = connection.prepare_cached(LIST)?;
    let rows = statement.query_map([after, limit.max(0)], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// By e-mail, without regard to case.
pub(super) fn find(connection: &Connection, email: &str) -> Result<Option<Sub>, Fault> {
    Ok(connection.prepare_cached(BY_EMAIL)?.query_row([email], from_row).optional()?)
}

/// Notes what an operator did, in the transaction that does it.
pub(super) fn audit(connection: &Connection, who: &str, what: &str, subject: &str) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT INTO audit (at, who, what, subject) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![now(), who, what, subject])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Sub> {
    Ok(Sub {
        sub_id: row.get(0)?,
        email: row.get(1)?,
        name: row.get(2)?,
        phone: row.get(3)?,
        created_at: row.get(4)?,
    })
}
