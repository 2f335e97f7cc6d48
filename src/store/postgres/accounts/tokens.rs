//! Onboarding tokens. A row is never deleted: that a token was ever made keeps the door shut.

use super::super::{fault::Fault, subs::audit, time::Timestamp};
use crate::store::accounts::{Entry, NewToken, Rules, Token};
use deadpool_postgres::ClientWrapper;
use serde_json::Value;
use tokio_postgres::{Client, Row};

/// A token that lets in now; `$1` is its hash.
const USABLE: &str = "token_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
    AND (uses_left IS NULL OR uses_left > 0)";

/// Keeps a token, unless its name is in use.
pub(super) async fn add(client: &mut ClientWrapper, token: &NewToken, who: &str) -> Result<bool, Fault> {
    let NewToken { name, token_hash, uses, expires_at, rules } = token;
    let transaction = client.transaction().await?;
    let made = transaction
        .execute(
            "INSERT INTO onboarding_token (name, token_hash, uses_left, expires_at, allow_publish, allow_subscribe)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING",
            &[
                name,
                token_hash,
                uses,
                &expires_at.map(Timestamp),
                &Value::from(rules.publish.clone()),
                &Value::from(rules.subscribe.clone()),
            ],
        )
        .await?;
    if made > 0 {
        audit(transaction.client(), who, "token new", &format!("token {name}")).await?;
    }
    transaction.commit().await?;
    Ok(made > 0)
}

/// In the order of their names' bytes, from after `after`.
pub(super) async fn list(client: &mut ClientWrapper, after: &str, limit: i64) -> Result<Vec<Token>, Fault> {
    let rows = client
        .query(
            "SELECT name, uses_left, expires_at, allow_publish, allow_subscribe, created_at, revoked_at
               FROM onboarding_token WHERE name COLLATE \"C\" > $1 ORDER BY name COLLATE \"C\" LIMIT $2",
            &[&after, &limit.max(0)],
        )
        .await?;
    rows.iter().map(from_row).collect()
}

/// Ends a token; one that has ended stays as it is.
pub(super) async fn revoke(client: &mut ClientWrapper, name: &str, who: &str) -> Result<bool, Fault> {
    let transaction = client.transaction().await?;
    let statement = "SELECT revoked_at IS NULL FROM onboarding_token WHERE name = $1 FOR UPDATE";
    let Some(row) = transaction.query_opt(statement, &[&name]).await? else { return Ok(false) };
    if row.try_get(0)? {
        transaction
            .execute("UPDATE onboarding_token SET revoked_at = now() WHERE name = $1", &[&name])
            .await?;
        audit(transaction.client(), who, "token revoke", &format!("token {name}")).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Whether `enter` would say yes now.
pub(super) async fn admits(client: &mut ClientWrapper, entry: &Entry) -> Result<bool, Fault> {
    let row = match entry {
        Entry::Configured => return Ok(true),
        Entry::Open => client.query_one("SELECT NOT EXISTS (SELECT 1 FROM onboarding_token)", &[]).await?,
        Entry::Token(hash) => {
            let statement = format!("SELECT EXISTS (SELECT 1 FROM onboarding_token WHERE {USABLE})");
            client.query_one(&statement, &[hash]).await?
        }
    };
    Ok(row.try_get(0)?)
}

/// Uses up one use: the token's name and rules. The row is locked until the transaction ends, so
/// whoever comes meanwhile sees what is left.
pub(super) async fn take(client: &Client, hash: &str) -> Result<Option<(String, Rules)>, Fault> {
    let statement = format!(
        "UPDATE onboarding_token SET uses_left = uses_left - 1 WHERE {USABLE}
         RETURNING name, allow_publish, allow_subscribe"
    );
    let Some(row) = client.query_opt(&statement, &[&hash]).await? else { return Ok(None) };
    let rules = Rules { publish: patterns(&row.try_get(1)?), subscribe: patterns(&row.try_get(2)?) };
    Ok(Some((row.try_get(0)?, rules)))
}

fn from_row(row: &Row) -> Result<Token, Fault> {
    let micros = |column| row.try_get(column).map(|time: Option<Timestamp>| time.map(|Timestamp(at)| at));
    let Timestamp(created_at) = row.try_get(5)?;
    Ok(Token {
        name: row.try_get(0)?,
        uses_left: row.try_get(1)?,
        expires_at: micros(2)?,
        rules: Rules { publish: patterns(&row.try_get(3)?), subscribe: patterns(&row.try_get(4)?) },
        created_at,
        revoked_at: micros(6)?,
    })
}

/// The texts of an array; what somebody else put there is no pattern.
fn patterns(array: &Value) -> Vec<String> {
    let items = array.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
