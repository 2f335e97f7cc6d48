//! Onboarding tokens. A row is never deleted: that a token was ever made keeps the door shut.

use super::super::{error::Fault, subs::audit};
use crate::store::{
    accounts::{Entry, NewToken, Rules, Token},
    now,
};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

/// A token that lets in now; `?1` is its hash, `?2` the time.
const USABLE: &str = "token_hash = ?1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)
    AND (uses_left IS NULL OR uses_left > 0)";

/// Keeps a token, unless its name is in use.
pub(super) fn add(connection: &mut Connection, token: &NewToken, who: &str) -> Result<bool, Fault> {
    let NewToken { name, token_hash, uses, expires_at, rules } = token;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let made = transaction
        .prepare_cached(
            "INSERT INTO onboarding_token
                 (name, token_hash, uses_left, expires_at, allow_publish, allow_subscribe, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![
            name,
            token_hash,
            uses,
            expires_at,
            array(&rules.publish),
            array(&rules.subscribe),
            now()
        ])?;
    if made > 0 {
        audit(&transaction, who, "token new", &format!("token {name}"))?;
    }
    transaction.commit()?;
    Ok(made > 0)
}

/// In the order of their names' bytes, from after `after`.
pub(super) fn list(connection: &Connection, after: &str, limit: i64) -> Result<Vec<Token>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT name, uses_left, expires_at, allow_publish, allow_subscribe, created_at, revoked_at
           FROM onboarding_token WHERE name > ?1 ORDER BY name LIMIT ?2",
    )?;
    let rows = statement.query_map(params![after, limit.max(0)], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Ends a token; one that has ended stays as it is.
pub(super) fn revoke(connection: &mut Connection, name: &str, who: &str) -> Result<bool, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_good: Option<bool> = transaction
        .prepare_cached("SELECT revoked_at IS NULL FROM onboarding_token WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    if is_good == Some(true) {
        transaction
            .prepare_cached("UPDATE onboarding_token SET revoked_at = ?2 WHERE name = ?1")?
            .execute(params![name, now()])?;
        audit(&transaction, who, "token revoke", &format!("token {name}"))?;
    }
    transaction.commit()?;
    Ok(is_good.is_some())
}

/// Whether `register` would say yes now.
pub(super) fn admits(connection: &Connection, entry: &Entry) -> Result<bool, Fault> {
    let admits = match entry {
        Entry::Configured => true,
        Entry::Open => connection
            .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM onboarding_token)")?
            .query_row([], |row| row.get(0))?,
        Entry::Token(hash) => connection
            .prepare_cached(&format!("SELECT EXISTS (SELECT 1 FROM onboarding_token WHERE {USABLE})"))?
            .query_row(params![hash, now()], |row| row.get(0))?,
    };
    Ok(admits)
}

/// Uses up one use: the token's name and rules. The caller's transaction has the file's write lock.
pub(super) fn take(connection: &Connection, hash: &str) -> Result<Option<(String, Rules)>, Fault> {
    let statement = format!(
        "UPDATE onboarding_token SET uses_left = uses_left - 1 WHERE {USABLE}
         RETURNING name, allow_publish, allow_subscribe"
    );
    let mut statement = connection.prepare_cached(&statement)?;
    let taken = statement.query_map(params![hash, now()], |row| {
        Ok((row.get(0)?, Rules { publish: patterns(row, 1)?, subscribe: patterns(row, 2)? }))
    })?;
    // To the end: what is left unread is not done.
    Ok(taken.collect::<Result<Vec<_>, _>>()?.pop())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        name: row.get(0)?,
        uses_left: row.get(1)?,
        expires_at: row.get(2)?,
        rules: Rules { publish: patterns(row, 3)?, subscribe: patterns(row, 4)? },
        created_at: row.get(5)?,
        revoked_at: row.get(6)?,
    })
}

fn array(patterns: &[String]) -> String {
    serde_json::Value::from(patterns).to_string()
}

/// The texts of an array; what somebody else put there is no pattern.
fn patterns(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<String>> {
    let text: String = row.get(column)?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}
