//! Keys of the API: added, retired, listed.

use super::{CALL_DEADLINE, Postgres, fault::Fault, subs::audit, time::Timestamp};
use crate::store::{ApiKey, ApiKeys, StoreError};
use async_trait::async_trait;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Client, Row};

const COLUMNS: &str = "name, key_hash, created_at, retired_at";

#[async_trait]
impl ApiKeys for Postgres {
    async fn add_key(
        &self,
        name: &str,
        key_hash: &str,
        who: &str,
    ) -> Result<Result<ApiKey, ApiKey>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let mut client = self.client().await?;
            let added = add(&mut client, name, key_hash, who).await?;
            client.give_back();
            Ok(added)
        })
        .await
    }

    async fn retire_key(&self, name: &str, who: &str) -> Result<Option<ApiKey>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let mut client = self.client().await?;
            let retired = retire(&mut client, name, who).await?;
            client.give_back();
            Ok(retired)
        })
        .await
    }

    async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let client = self.client().await?;
            let keys = list(&client).await?;
            client.give_back();
            Ok(keys)
        })
        .await
    }
}

async fn add(
    client: &mut ClientWrapper,
    name: &str,
    key_hash: &str,
    who: &str,
) -> Result<Result<ApiKey, ApiKey>, Fault> {
    let transaction = client.transaction().await?;
    let statement = format!(
        "INSERT INTO api_key (name, key_hash) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING {COLUMNS}"
    );
    if let Some(row) = transaction.query_opt(&statement, &[&name, &key_hash]).await? {
        let added = from_row(&row)?;
        audit(transaction.client(), who, "key add", name).await?;
        transaction.commit().await?;
        return Ok(Ok(added));
    }
    let statement = format!("SELECT {COLUMNS} FROM api_key WHERE name = $1 OR key_hash = $2 LIMIT 1");
    let taken = from_row(&transaction.query_one(&statement, &[&name, &key_hash]).await?)?;
    transaction.commit().await?;
    Ok(Err(taken))
}

async fn retire(client: &mut ClientWrapper, name: &str, who: &str) -> Result<Option<ApiKey>, Fault> {
    let transaction = client.transaction().await?;
    let statement = "UPDATE api_key SET retired_at = now() WHERE name = $1 AND retired_at IS NULL";
    if transaction.execute(statement, &[&name]).await? > 0 {
        audit(transaction.client(), who, "key retire", name).await?;
    }
    let statement = format!("SELECT {COLUMNS} FROM api_key WHERE name = $1");
    let row = transaction.query_opt(&statement, &[&name]).await?;
    let key = row.as_ref().map(from_row).transpose()?;
    transaction.commit().await?;
    Ok(key)
}

async fn list(client: &Client) -> Result<Vec<ApiKey>, Fault> {
    let rows = client.query(&format!("SELECT {COLUMNS} FROM api_key ORDER BY name"), &[]).await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &Row) -> Result<ApiKey, Fault> {
    let Timestamp(created_at) = row.try_get(2)?;
    let retired_at: Option<Timestamp> = row.try_get(3)?;
    Ok(ApiKey {
        name: row.try_get(0)?,
        key_hash: row.try_get(1)?,
        created_at,
        retired_at: retired_at.map(|Timestamp(at)| at),
    })
}
