//! Keys of the API: added, retired, listed.

use super::{Embedded, error::Fault, subs::audit};
use crate::store::{ApiKey, ApiKeys, StoreError, now};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

const COLUMNS: &str = "name, key_hash, created_at, retired_at";

#[async_trait]
impl ApiKeys for Embedded {
    async fn add_key(
        &self,
        name: &str,
        key_hash: &str,
        who: &str,
    ) -> Result<Result<ApiKey, ApiKey>, StoreError> {
        let key = ApiKey {
            name: name.to_owned(),
            key_hash: key_hash.to_owned(),
            created_at: now(),
            retired_at: None,
        };
        let who = who.to_owned();
        self.write(move |connection| add(connection, key, &who)).await
    }

    async fn retire_key(&self, name: &str, who: &str) -> Result<Option<ApiKey>, StoreError> {
        let (name, who) = (name.to_owned(), who.to_owned());
        self.write(move |connection| retire(connection, &name, &who)).await
    }

    async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.read(list).await
    }
}

fn add(connection: &mut Connection, key: ApiKey, who: &str) -> Result<Result<ApiKey, ApiKey>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let taken = transaction
        .prepare_cached(&format!("SELECT {COLUMNS} FROM api_key WHERE name = ?1 OR key_hash = ?2"))?
        .query_row([&key.name, &key.key_hash], from_row)
        .optional()?;
    if let Some(taken) = taken {
        return Ok(Err(taken));
    }
    transaction
        .prepare_cached("INSERT INTO api_key (name, key_hash, created_at) VALUES (?1, ?2, ?3)")?
        .execute(params![key.name, key.key_hash, key.created_at])?;
    audit(&transaction, who, "key add", &key.name)?;
    transaction.commit()?;
    Ok(Ok(key))
}

fn retire(connection: &mut Connection, name: &str, who: &str) -> Result<Option<ApiKey>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let retired = transaction
        .prepare_cached("UPDATE api_key SET retired_at = ?2 WHERE name = ?1 AND retired_at IS NULL")?
        .execute(params![name, now()])?;
    if retired > 0 {
        audit(&transaction, who, "key retire", name)?;
    }
    let key = transaction
        .prepare_cached(&format!("SELECT {COLUMNS} FROM api_key WHERE name = ?1"))?
        .query_row([name], from_row)
        .optional()?;
    transaction.commit()?;
    Ok(key)
}

fn list(connection: &Connection) -> Result<Vec<ApiKey>, Fault> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM api_key ORDER BY name"))?;
    let keys = statement.query_map([], from_row)?;
    Ok(keys.collect::<Result<_, _>>()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey { name: row.get(0)?, key_hash: row.get(1)?, created_at: row.get(2)?, retired_at: row.get(3)? })
}
