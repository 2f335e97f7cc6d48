//! Accounts made, and their handshakes.

use super::{
    super::{fault::Fault, subs::audit},
    rows::ACTIVE,
    tokens,
};
use crate::store::accounts::{Entry, KEPT_HANDSHAKES, Kind, NewAccount};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Client;

/// Makes an account, if the entry is good.
pub(super) async fn register(
    client: &mut ClientWrapper,
    account: &NewAccount,
    entry: &Entry,
) -> Result<bool, Fault> {
    if *entry == Entry::Open && !tokens::admits(client, entry).await? {
        return Ok(false);
    }
    let transaction = client.transaction().await?;
    let token = match entry {
        Entry::Token(hash) => match tokens::take(transaction.client(), hash).await? {
            None => return Ok(false),
            taken => taken,
        },
        Entry::Open | Entry::Configured => None,
    };
    let (name, rules) =
        token.map_or_else(|| (None, account.rules.clone()), |(name, rules)| (Some(name), rules));
    let row = transaction
        .query_one(
            "INSERT INTO account (identity_hash, username, password_hash, mosquitto_hash, last_handshake_at)
             VALUES ($1, $2, $3, $4, now()) RETURNING account_id",
            &[&account.identity_hash, &account.username, &account.password_hash, &account.mosquitto_hash],
        )
        .await?;
    let account_id: i64 = row.try_get(0)?;
    for kind in [Kind::Publish, Kind::Subscribe] {
        let statement = "INSERT INTO acl (account_id, kind, topic_pattern)
                         SELECT DISTINCT $1::bigint, $2, unnest($3::text[])";
        transaction.execute(statement, &[&account_id, &kind.as_str(), &rules.of(kind)]).await?;
    }
    note(transaction.client(), account_id, &account.peer).await?;
    let subject = format!("account {account_id} {} from {}", account.username, account.peer);
    audit(transaction.client(), &entry.who(name.as_deref()), "account register", &subject).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Notes a handshake, and gives the account another identity if wanted.
pub(super) async fn shake_hands(
    client: &mut ClientWrapper,
    identity_hash: &str,
    rotated: Option<&str>,
    peer: &str,
) -> Result<bool, Fault> {
    let transaction = client.transaction().await?;
    let statement = format!(
        "UPDATE account SET last_handshake_at = now(), identity_hash = coalesce($2, identity_hash)
          WHERE identity_hash = $1 AND {ACTIVE} RETURNING account_id, username"
    );
    let row = transaction.query_opt(&statement, &[&identity_hash, &rotated]).await?;
    let Some(row) = row else { return Ok(false) };
    let (account_id, username): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
    note(transaction.client(), account_id, peer).await?;
    if rotated.is_some() {
        let who = format!("account {username}");
        let subject = format!("account {account_id} {username} from {peer}");
        audit(transaction.client(), &who, "account rotate", &subject).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

async fn note(client: &Client, account_id: i64, peer: &str) -> Result<(), Fault> {
    client.execute("INSERT INTO handshake (account_id, peer) VALUES ($1, $2)", &[&account_id, &peer]).await?;
    client
        .execute(
            "DELETE FROM handshake WHERE account_id = $1 AND at <
                (SELECT at FROM handshake WHERE account_id = $1 ORDER BY at DESC OFFSET $2 LIMIT 1)",
            &[&account_id, &(KEPT_HANDSHAKES - 1)],
        )
        .await?;
    Ok(())
}
