//! Accounts made, and their handshakes.

use super::{
    super::{error::Fault, subs::audit},
    rows::ACTIVE,
    tokens,
};
use crate::store::{
    Micros,
    accounts::{Entry, KEPT_HANDSHAKES, Kind, NewAccount},
    now,
};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

/// Makes an account, if the entry is good.
pub(super) fn register(
    connection: &mut Connection,
    account: &NewAccount,
    entry: &Entry,
) -> Result<bool, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let token = match entry {
        Entry::Token(hash) => match tokens::take(&transaction, hash)? {
            None => return Ok(false),
            taken => taken,
        },
        entry if !tokens::admits(&transaction, entry)? => return Ok(false),
        Entry::Open | Entry::Configured => None,
    };
    let (name, rules) =
        token.map_or_else(|| (None, account.rules.clone()), |(name, rules)| (Some(name), rules));
    let NewAccount { identity_hash, username, password_hash, mosquitto_hash, peer, .. } = account;
    let at = now();
    transaction
        .prepare_cached(
            "INSERT INTO account
                 (identity_hash, username, password_hash, mosquitto_hash, created_at, last_handshake_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        )?
        .execute(params![identity_hash, username, password_hash, mosquitto_hash, at])?;
    let account_id = transaction.last_insert_rowid();
    for kind in [Kind::Publish, Kind::Subscribe] {
        let mut statement = transaction.prepare_cached(
            "INSERT INTO acl (account_id, kind, topic_pattern) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?;
        for pattern in rules.of(kind) {
            statement.execute(params![account_id, kind.as_str(), pattern])?;
        }
    }
    note(&transaction, account_id, at, peer)?;
    let subject = format!("account {account_id} {username} from {peer}");
    audit(&transaction, &entry.who(name.as_deref()), "account register", &subject)?;
    transaction.commit()?;
    Ok(true)
}

/// Notes a handshake, and gives the account another identity if wanted.
pub(super) fn shake_hands(
    connection: &mut Connection,
    identity_hash: &str,
    rotated: Option<&str>,
    peer: &str,
) -> Result<bool, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let statement = format!("SELECT account_id, username FROM account WHERE identity_hash = ?1 AND {ACTIVE}");
    let found: Option<(i64, String)> = transaction
        .prepare_cached(&statement)?
        .query_row([identity_hash], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((account_id, username)) = found else { return Ok(false) };
    let at = now();
    transaction
        .prepare_cached(
            "UPDATE account SET last_handshake_at = ?2, identity_hash = coalesce(?3, identity_hash)
              WHERE account_id = ?1",
        )?
        .execute(params![account_id, at, rotated])?;
    note(&transaction, account_id, at, peer)?;
    if rotated.is_some() {
        let who = format!("account {username}");
        audit(&transaction, &who, "account rotate", &format!("account {account_id} {username} from {peer}"))?;
    }
    transaction.commit()?;
    Ok(true)
}

fn note(connection: &Connection, account_id: i64, at: Micros, peer: &str) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT INTO handshake (account_id, at, peer) VALUES (?1, ?2, ?3)")?
        .execute(params![account_id, at, peer])?;
    connection
        .prepare_cached(
            "DELETE FROM handshake WHERE account_id = ?1 AND at <
                (SELECT at FROM handshake WHERE account_id = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![account_id, KEPT_HANDSHAKES - 1])?;
    Ok(())
}
