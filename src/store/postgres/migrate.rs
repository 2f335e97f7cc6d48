//! Applies and upgrades the schema, under a lock and in one transaction.

use super::{
    super::{StoreError, migration},
    fault::Fault,
};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Client;

/// One SQL text per version, in order; each ends by recording its version.
/// A released step is never edited: append the next one.
const STEPS: [&str; 1] = [include_str!("../../../schema.sql")];

/// The newest version this binary knows.
pub(super) const KNOWN: i64 = STEPS.len() as i64;

/// Nodes that start together queue on this advisory lock ("m0v", 1).
const LOCK: i64 = 0x6d_3076_0001;

/// Tables that are somebody else's if `schema_version` or `packet` is not among them.
const OURS: [&str; 7] = ["schema_version", "packet", "pub", "sub", "csub", "confo", "cconfo"];

/// Brings the schema to [`KNOWN`]. Asks before it locks, so that a role without the right to
/// create anything can run on a schema that is up to date.
pub(super) async fn migrate(client: &mut ClientWrapper) -> Result<(), Fault> {
    if found(client).await? == KNOWN {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    // The lock ends with the transaction. Upgrades may rewrite tables: no deadline but ours.
    transaction
        .batch_execute(&format!("SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({LOCK})"))
        .await?;
    let version = found(transaction.client()).await?;
    for (step, known) in STEPS.iter().zip(1..) {
        if known > version {
            transaction.batch_execute(step).await?;
            log::info!("the database's schema is at version {known} now");
        }
    }
    transaction.commit().await?;
    Ok(())
}

/// What [`migrate`] would find.
pub(super) async fn describe(client: &Client) -> Result<String, Fault> {
    Ok(migration::describe(found(client).await?, KNOWN))
}

/// The version found, 0 in an empty database.
async fn found(client: &Client) -> Result<i64, Fault> {
    // Not to_regclass: it may answer from a cache that is older than the lock we waited for.
    let rows = client
        .query(
            "SELECT relname::text FROM pg_class
              WHERE relname = ANY ($1::text[]) AND relkind IN ('r', 'p', 'v') AND pg_table_is_visible(oid)",
            &[&&OURS[..]],
        )
        .await?;
    let tables: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    if tables.is_empty() {
        return Ok(0);
    }
    if !has("schema_version") || !has("packet") {
        return Err(is_foreign(&tables).into());
    }
    let version: Option<i64> =
        client.query_one("SELECT max(version) FROM schema_version", &[]).await?.try_get(0)?;
    match version {
        Some(found) if found > KNOWN => Err(StoreError::SchemaTooNew { found, known: KNOWN }.into()),
        Some(found) => Ok(found),
        None => Err(StoreError::Refused("schema_version is empty: what is this database?".into()).into()),
    }
}

fn is_foreign(tables: &[String]) -> StoreError {
    StoreError::Refused(format!(
        "it has tables of that name which m0v did not make ({}): give m0v a database or a schema of its own",
        tables.join(", ")
    ))
}
