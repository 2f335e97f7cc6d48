//! Accounts as brokers and operators see them.

use super::super::{
    error::{Fault, is_foreign_key},
    subs::audit,
};
use crate::store::accounts::{
    Account, Credentials, Exported, NotTied, Portrait, Rule, Rules, SHOWN_HANDSHAKES,
};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

/// Enabled, and tied to no device or to one that counts.
pub(super) const ACTIVE: &str = "
    (account.status = 'active' AND NOT EXISTS
        (SELECT 1 FROM device WHERE device.device_id = account.device_id AND device.status <> 'active'))";

const ROW: &str = "account_id, username, device_id, status = 'active', created_at, last_handshake_at";

/// By its name.
pub(super) fn find(connection: &Connection, username: &str) -> Result<Option<Credentials>, Fault> {
    let statement = format!(
        "SELECT account_id, username, password_hash, device_id, {ACTIVE} FROM account WHERE username = ?1"
    );
    let found = connection
        .prepare_cached(&statement)?
        .query_row([username], |row| {
            Ok(Credentials {
                account_id: row.get(0)?,
                username: row.get(1)?,
                password_hash: row.get(2)?,
                device_id: row.get(3)?,
                is_active: row.get(4)?,
                rules: Rules::default(),
            })
        })
        .optional()?;
    let Some(found) = found else { return Ok(None) };
    Ok(Some(Credentials { rules: rules(connection, found.account_id)?, ..found }))
}

/// Whether a client id belongs to another account.
pub(super) fn is_anothers(connection: &Connection, client_id: &str, username: &str) -> Result<bool, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM account WHERE (username = ?1 OR device_id = ?1) AND username <> ?2)
            AND NOT EXISTS (SELECT 1 FROM account WHERE device_id = ?1 AND username = ?2)",
    )?;
    Ok(statement.query_row([client_id, username], |row| row.get(0))?)
}

/// Ascending from above `after`.
pub(super) fn list(connection: &Connection, after: i64, limit: i64) -> Result<Vec<Account>, Fault> {
    let statement = format!("SELECT {ROW} FROM account WHERE account_id > ?1 ORDER BY account_id LIMIT ?2");
    let mut statement = connection.prepare_cached(&statement)?;
    let rows = statement.query_map([after, limit.max(0)], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// With its rules and its last handshakes.
pub(super) fn show(connection: &Connection, username: &str) -> Result<Option<Portrait>, Fault> {
    let statement = format!("SELECT {ROW} FROM account WHERE username = ?1");
    let found = connection.prepare_cached(&statement)?.query_row([username], from_row).optional()?;
    let Some(account) = found else { return Ok(None) };
    let mut statement = connection
        .prepare_cached("SELECT at, peer FROM handshake WHERE account_id = ?1 ORDER BY at DESC LIMIT ?2")?;
    let handshakes = statement
        .query_map([account.account_id, SHOWN_HANDSHAKES], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let rules = rules(connection, account.account_id)?;
    Ok(Some(Portrait { account, rules, handshakes }))
}

/// Those that may connect.
pub(super) fn export(connection: &Connection, after: i64, limit: i64) -> Result<Vec<Exported>, Fault> {
    let statement = format!(
        "SELECT account_id, username, mosquitto_hash, device_id FROM account
          WHERE account_id > ?1 AND {ACTIVE} ORDER BY account_id LIMIT ?2"
    );
    let mut exported = connection
        .prepare_cached(&statement)?
        .query_map([after, limit.max(0)], |row| {
            Ok(Exported {
                account_id: row.get(0)?,
                username: row.get(1)?,
                mosquitto_hash: row.get(2)?,
                device_id: row.get(3)?,
                rules: Rules::default(),
            })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    for account in &mut exported {
        account.rules = rules(connection, account.account_id)?;
    }
    Ok(exported)
}

/// Disables or enables.
pub(super) fn set_enabled(
    connection: &mut Connection,
    username: &str,
    is_enabled: bool,
    who: &str,
) -> Result<bool, Fault> {
    let (status, what) =
        if is_enabled { ("active", "account enable") } else { ("disabled", "account disable") };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(account_id) = id_of(&transaction, username)? else { return Ok(false) };
    let changed = transaction
        .prepare_cached("UPDATE account SET status = ?2 WHERE account_id = ?1 AND status <> ?2")?
        .execute(params![account_id, status])?;
    if changed > 0 {
        audit(&transaction, who, what, &format!("account {account_id} {username}"))?;
    }
    transaction.commit()?;
    Ok(true)
}

/// Ties to a device, or to none.
pub(super) fn tie(
    connection: &mut Connection,
    username: &str,
    device_id: Option<&str>,
    who: &str,
) -> Result<Result<(), NotTied>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(account_id) = id_of(&transaction, username)? else {
        return Ok(Err(NotTied::UnknownAccount));
    };
    let tied = transaction
        .prepare_cached("UPDATE account SET device_id = ?2 WHERE account_id = ?1")?
        .execute(params![account_id, device_id]);
    match tied {
        Err(error) if is_foreign_key(&error) => return Ok(Err(NotTied::UnknownDevice)),
        tied => tied?,
    };
    let subject = format!("account {account_id} {username} to {}", device_id.unwrap_or("no device"));
    audit(&transaction, who, "account tie", &subject)?;
    transaction.commit()?;
    Ok(Ok(()))
}

/// Adds a rule.
pub(super) fn allow(
    connection: &mut Connection,
    username: &str,
    rule: &Rule,
    who: &str,
) -> Result<Option<bool>, Fault> {
    let statement =
        "INSERT INTO acl (account_id, kind, topic_pattern) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    change(connection, username, (statement, "account allow"), rule, who)
}

/// Takes a rule away.
pub(super) fn deny(
    connection: &mut Connection,
    username: &str,
    rule: &Rule,
    who: &str,
) -> Result<Option<bool>, Fault> {
    let statement = "DELETE FROM acl WHERE account_id = ?1 AND kind = ?2 AND topic_pattern = ?3";
    change(connection, username, (statement, "account deny"), rule, who)
}

fn change(
    connection: &mut Connection,
    username: &str,
    (statement, what): (&str, &str),
    Rule { kind, pattern }: &Rule,
    who: &str,
) -> Result<Option<bool>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(account_id) = id_of(&transaction, username)? else { return Ok(None) };
    let changed =
        transaction.prepare_cached(statement)?.execute(params![account_id, kind.as_str(), pattern])? > 0;
    if changed {
        let subject = format!("account {account_id} {username} {}:{pattern}", kind.as_str());
        audit(&transaction, who, what, &subject)?;
    }
    transaction.commit()?;
    Ok(Some(changed))
}

fn id_of(connection: &Connection, username: &str) -> Result<Option<i64>, Fault> {
    let mut statement = connection.prepare_cached("SELECT account_id FROM account WHERE username = ?1")?;
    Ok(statement.query_row([username], |row| row.get(0)).optional()?)
}

fn rules(connection: &Connection, account_id: i64) -> Result<Rules, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT topic_pattern FROM acl WHERE account_id = ?1 AND kind = ?2 ORDER BY topic_pattern",
    )?;
    let mut of = |kind: &str| -> Result<Vec<String>, Fault> {
        let patterns = statement.query_map(params![account_id, kind], |row| row.get(0))?;
        Ok(patterns.collect::<Result<_, _>>()?)
    };
    Ok(Rules { publish: of("pub")?, subscribe: of("sub")? })
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        account_id: row.get(0)?,
        username: row.get(1)?,
        device_id: row.get(2)?,
        is_enabled: row.get(3)?,
        created_at: row.get(4)?,
        last_handshake_at: row.get(5)?,
    })
}
