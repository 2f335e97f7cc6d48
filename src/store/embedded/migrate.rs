//! Applies and upgrades the schema, in one transaction that holds the write lock.

use super::error::Fault;
use crate::store::StoreError;
use rusqlite::{Connection, TransactionBehavior};

/// One SQL text per version, in order; each ends by recording its version.
/// A released step is never edited: append the next one.
const STEPS: [&str; 1] = [include_str!("schema.sql")];

/// The newest version this binary knows.
pub(super) const KNOWN: i64 = STEPS.len() as i64;

/// Brings the schema to [`KNOWN`].
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Fault> {
    if found(connection)? == KNOWN {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = found(&transaction)?;
    for (step, known) in STEPS.iter().zip(1..) {
        if known > version {
            transaction.execute_batch(step)?;
            log::info!("the embedded store's schema is at version {known} now");
        }
    }
    transaction.commit()?;
    Ok(())
}

/// The version found, 0 in an empty file.
fn found(connection: &Connection) -> Result<i64, Fault> {
    let tables: Vec<String> = connection
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    if tables.is_empty() {
        return Ok(0);
    }
    if !has("schema_version") || !has("packet") {
        let text =
            format!("it has tables m0v did not make ({}): give m0v a file of its own", tables.join(", "));
        return Err(StoreError::Refused(text).into());
    }
    let version: Option<i64> =
        connection.query_row("SELECT max(version) FROM schema_version", [], |row| row.get(0))?;
    match version {
        Some(found) if found > KNOWN => Err(StoreError::SchemaTooNew { found, known: KNOWN }.into()),
        Some(found) => Ok(found),
        None => Err(StoreError::Refused("schema_version is empty: what is this file?".into()).into()),
    }
}
