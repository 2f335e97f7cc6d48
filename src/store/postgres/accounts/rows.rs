//! Accounts as brokers and operators see them.

use super::super::{fault::Fault, subs::audit, time::Timestamp};
use crate::store::accounts::{
    Account, Credentials, Exported, NotTied, Portrait, Rule, Rules, SHOWN_HANDSHAKES,
};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Client, Row, error::SqlState};

/// Both lists of an account; text in its own order, not the database's.
const RULES: &str = "
    ARRAY(SELECT topic_pattern FROM acl WHERE acl.account_id = account.account_id AND kind = 'pub'
           ORDER BY topic_pattern COLLATE \"C\"),
    ARRAY(SELECT topic_pattern FROM acl WHERE acl.account_id = account.account_id AND kind = 'sub'
           ORDER BY topic_pattern COLLATE \"C\")";

/// Enabled, and tied to no device or to one that counts.
pub(super) const ACTIVE: &str = "
    (account.status = 'active' AND NOT EXISTS
        (SELECT 1 FROM device WHERE device.device_id = account.device_id AND device.status <> 'active'))";

const ROW: &str = "account_id, username, device_id, status = 'active', created_at, last_handshake_at";

/// By its name.
pub(super) async fn find(client: &mut ClientWrapper, username: &str) -> Result<Option<Credentials>, Fault> {
    let statement = format!(
        "SELECT {RULES}, account_id, username, password_hash, device_id, {ACTIVE} FROM account WHERE username = $1"
    );
    let Some(row) = client.query_opt(&statement, &[&username]).await? else { return Ok(None) };
    Ok(Some(Credentials {
        rules: rules(&row)?,
        account_id: row.try_get(2)?,
        username: row.try_get(3)?,
        password_hash: row.try_get(4)?,
        device_id: row.try_get(5)?,
        is_active: row.try_get(6)?,
    }))
}

/// Whether a client id belongs to another account.
pub(super) async fn is_anothers(
    client: &mut ClientWrapper,
    client_id: &str,
    username: &str,
) -> Result<bool, Fault> {
    let statement =
        "SELECT EXISTS (SELECT 1 FROM account WHERE (username = $1 OR device_id = $1) AND username <> $2)
                        AND NOT EXISTS (SELECT 1 FROM account WHERE device_id = $1 AND username = $2)";
    Ok(client.query_one(statement, &[&client_id, &username]).await?.try_get(0)?)
}

/// Ascending from above `after`.
pub(super) async fn list(client: &mut ClientWrapper, after: i64, limit: i64) -> Result<Vec<Account>, Fault> {
    let statement = format!("SELECT {ROW} FROM account WHERE account_id > $1 ORDER BY account_id LIMIT $2");
    let rows = client.query(&statement, &[&after, &limit.max(0)]).await?;
    rows.iter().map(|row| from_row(row, 0)).collect()
}

/// With its rules and its last handshakes.
pub(super) async fn show(client: &mut ClientWrapper, username: &str) -> Result<Option<Portrait>, Fault> {
    let statement = format!("SELECT {RULES}, {ROW} FROM account WHERE username = $1");
    let Some(row) = client.query_opt(&statement, &[&username]).await? else { return Ok(None) };
    let account = from_row(&row, 2)?;
    let statement = "SELECT at, peer FROM handshake WHERE account_id = $1 ORDER BY at DESC LIMIT $2";
    let handshakes = client.query(statement, &[&account.account_id, &SHOWN_HANDSHAKES]).await?;
    let handshakes = handshakes.iter().map(|row| {
        let Timestamp(at) = row.try_get(0)?;
        Ok::<_, Fault>((at, row.try_get(1)?))
    });
    Ok(Some(Portrait { account, rules: rules(&row)?, handshakes: handshakes.collect::<Result<_, _>>()? }))
}

/// Those that may connect.
pub(super) async fn export(
    client: &mut ClientWrapper,
    after: i64,
    limit: i64,
) -> Result<Vec<Exported>, Fault> {
    let statement = format!(
        "SELECT {RULES}, account_id, username, mosquitto_hash, device_id FROM account
          WHERE account_id > $1 AND {ACTIVE} ORDER BY account_id LIMIT $2"
    );
    let rows = client.query(&statement, &[&after, &limit.max(0)]).await?;
    let exported = rows.iter().map(|row| {
        Ok(Exported {
            rules: rules(row)?,
            account_id: row.try_get(2)?,
            username: row.try_get(3)?,
            mosquitto_hash: row.try_get(4)?,
            device_id: row.try_get(5)?,
        })
    });
    exported.collect()
}

/// Disables or enables.
pub(super) async fn set_enabled(
    client: &mut ClientWrapper,
    username: &str,
    is_enabled: bool,
    who: &str,
) -> Result<bool, Fault> {
    let (status, what) =
        if is_enabled { ("active", "account enable") } else { ("disabled", "account disable") };
    let transaction = client.transaction().await?;
    let Some(account_id) = lock(transaction.client(), username).await? else { return Ok(false) };
    let statement = "UPDATE account SET status = $2 WHERE account_id = $1 AND status <> $2";
    if transaction.execute(statement, &[&account_id, &status]).await? > 0 {
        audit(transaction.client(), who, what, &format!("account {account_id} {username}")).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Ties to a device, or to none.
pub(super) async fn tie(
    client: &mut ClientWrapper,
    username: &str,
    device_id: Option<&str>,
    who: &str,
) -> Result<Result<(), NotTied>, Fault> {
    let transaction = client.transaction().await?;
    let Some(account_id) = lock(transaction.client(), username).await? else {
        return Ok(Err(NotTied::UnknownAccount));
    };
    let statement = "UPDATE account SET device_id = $2 WHERE account_id = $1";
    match transaction.execute(statement, &[&account_id, &device_id]).await {
        Err(error) if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => {
            transaction.rollback().await?;
            return Ok(Err(NotTied::UnknownDevice));
        }
        tied => tied?,
    };
    let subject = format!("account {account_id} {username} to {}", device_id.unwrap_or("no device"));
    audit(transaction.client(), who, "account tie", &subject).await?;
    transaction.commit().await?;
    Ok(Ok(()))
}

/// Adds a rule.
pub(super) async fn allow(
    client: &mut ClientWrapper,
    username: &str,
    rule: &Rule,
    who: &str,
) -> Result<Option<bool>, Fault> {
    let statement =
        "INSERT INTO acl (account_id, kind, topic_pattern) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    change(client, username, (statement, "account allow"), rule, who).await
}

/// Takes a rule away.
pub(super) async fn deny(
    client: &mut ClientWrapper,
    username: &str,
    rule: &Rule,
    who: &str,
) -> Result<Option<bool>, Fault> {
    let statement = "DELETE FROM acl WHERE account_id = $1 AND kind = $2 AND topic_pattern = $3";
    change(client, username, (statement, "account deny"), rule, who).await
}

async fn change(
    client: &mut ClientWrapper,
    username: &str,
    (statement, what): (&str, &str),
    Rule { kind, pattern }: &Rule,
    who: &str,
) -> Result<Option<bool>, Fault> {
    let transaction = client.transaction().await?;
    let Some(account_id) = lock(transaction.client(), username).await? else { return Ok(None) };
    let changed = transaction.execute(statement, &[&account_id, &kind.as_str(), pattern]).await? > 0;
    if changed {
        let subject = format!("account {account_id} {username} {}:{pattern}", kind.as_str());
        audit(transaction.client(), who, what, &subject).await?;
    }
    transaction.commit().await?;
    Ok(Some(changed))
}

async fn lock(client: &Client, username: &str) -> Result<Option<i64>, Fault> {
    let statement = "SELECT account_id FROM account WHERE username = $1 FOR UPDATE";
    let row = client.query_opt(statement, &[&username]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

fn rules(row: &Row) -> Result<Rules, Fault> {
    Ok(Rules { publish: row.try_get(0)?, subscribe: row.try_get(1)? })
}

/// An account whose columns begin at `first`.
fn from_row(row: &Row, first: usize) -> Result<Account, Fault> {
    let Timestamp(created_at) = row.try_get(first + 4)?;
    let last: Option<Timestamp> = row.try_get(first + 5)?;
    Ok(Account {
        account_id: row.try_get(first)?,
        username: row.try_get(first + 1)?,
        device_id: row.try_get(first + 2)?,
        is_enabled: row.try_get(first + 3)?,
        created_at,
        last_handshake_at: last.map(|Timestamp(at)| at),
    })
}
