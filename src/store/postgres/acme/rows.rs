//! Account, order, certificate and challenges. A write that carries a name and a fence answers
//! `None` when that fence is no longer the newest.

use super::{
    super::{fault::Fault, time::Timestamp},
    lease::{seconds, time},
};
use crate::{
    acme::{Account, Certificate, ChallengeAnswer, ChallengeKind, Pending, Secret},
    store::{Place, SealError, Sealer, StoreError},
};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;

/// Locks the lease as long as it is ours: a statement that begins so writes nothing otherwise.
const MINE: &str = "WITH mine AS (SELECT 1 FROM acme_lease WHERE name = $1 AND fence = $2 FOR UPDATE)";

/// A certificate under this name, else the newest of any: after a change of domains or
/// directory the old one serves until the new one is there, and its key can be kept.
const NEWEST: &str = "FROM acme_cert ORDER BY (name = $1) DESC, obtained_at DESC, version DESC LIMIT 1";

const fn account_key(directory: &str) -> Place<'_> {
    Place { table: "acme_account", column: "key_pkcs8", row: directory }
}

const fn order_key(name: &str) -> Place<'_> {
    Place { table: "acme_order", column: "key_pem", row: name }
}

const fn certificate_key(name: &str) -> Place<'_> {
    Place { table: "acme_cert", column: "key_pem", row: name }
}

fn seal(sealer: &Sealer, place: Place<'_>, key: &Secret) -> Result<Vec<u8>, Fault> {
    sealer.seal(place, key.expose()).map_err(|error| refused(place, error))
}

fn open(sealer: &Sealer, place: Place<'_>, sealed: &[u8]) -> Result<Secret, Fault> {
    let clear = sealer.open(place, sealed).map_err(|error| refused(place, error))?;
    Ok(Secret::new(String::clone(&clear)))
}

fn refused(place: Place<'_>, error: SealError) -> Fault {
    let Place { table, column, row } = place;
    StoreError::Refused(format!("{column} of `{row}` in {table} {error}")).into()
}

pub(super) async fn account(
    client: &ClientWrapper,
    sealer: &Sealer,
    directory: &str,
) -> Result<Option<Account>, Fault> {
    let statement = "SELECT key_pkcs8, registered FROM acme_account WHERE directory = $1";
    let Some(row) = client.query_opt(statement, &[&directory]).await? else { return Ok(None) };
    let key = open(sealer, account_key(directory), row.try_get(0)?)?;
    Ok(Some(Account { directory: directory.to_owned(), key, registered: row.try_get(1)? }))
}

/// A new key never replaces one that is there: that one may be registered by now.
pub(super) async fn keep_account(
    client: &ClientWrapper,
    sealer: &Sealer,
    (name, fence): (&str, i64),
    account: &Account,
) -> Result<Option<()>, Fault> {
    let Account { directory, key, registered } = account;
    let key = seal(sealer, account_key(directory), key)?;
    let statement = format!(
        "{MINE} INSERT INTO acme_account (directory, key_pkcs8, registered) SELECT $3, $4, $5 FROM mine
         ON CONFLICT (directory) DO UPDATE SET key_pkcs8 = excluded.key_pkcs8, registered = true
          WHERE excluded.registered"
    );
    let changed = client.execute(&statement, &[&name, &fence, directory, &key, registered]).await?;
    Ok((changed > 0).then_some(()))
}

pub(super) async fn pending(
    client: &ClientWrapper,
    sealer: &Sealer,
    name: &str,
) -> Result<Option<Pending>, Fault> {
    let statement = "SELECT directory, domains, key_pem, order_url, begun_at FROM acme_order WHERE name = $1";
    let Some(row) = client.query_opt(statement, &[&name]).await? else { return Ok(None) };
    let domains: &str = row.try_get(1)?;
    Ok(Some(Pending {
        directory: row.try_get(0)?,
        domains: domains.split(',').map(str::to_owned).collect(),
        key_pem: open(sealer, order_key(name), row.try_get(2)?)?,
        order_url: row.try_get(3)?,
        begun_at: seconds(row.try_get(4)?),
    }))
}

pub(super) async fn keep_pending(
    client: &ClientWrapper,
    sealer: &Sealer,
    (name, fence): (&str, i64),
    pending: Option<&Pending>,
) -> Result<Option<()>, Fault> {
    let Some(Pending { directory, domains, key_pem, order_url, begun_at }) = pending else {
        let statement = format!(
            "{MINE}, gone AS (DELETE FROM acme_order WHERE name = $1 AND EXISTS (SELECT FROM mine))
             SELECT FROM mine"
        );
        return Ok(client.query_opt(&statement, &[&name, &fence]).await?.map(drop));
    };
    let key = seal(sealer, order_key(name), key_pem)?;
    let statement = format!(
        "{MINE} INSERT INTO acme_order (name, directory, domains, key_pem, order_url, begun_at)
         SELECT $1, $3, $4, $5, $6, $7 FROM mine
         ON CONFLICT (name) DO UPDATE SET directory = excluded.directory, domains = excluded.domains,
             key_pem = excluded.key_pem, order_url = excluded.order_url, begun_at = excluded.begun_at"
    );
    let changed = client
        .execute(
            &statement,
            &[&name, &fence, directory, &domains.join(","), &key, order_url, &time(*begun_at)],
        )
        .await?;
    Ok((changed > 0).then_some(()))
}

pub(super) async fn version(client: &ClientWrapper, name: &str) -> Result<Option<i64>, Fault> {
    let row = client.query_opt(&format!("SELECT version {NEWEST}"), &[&name]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

pub(super) async fn certificate(
    client: &ClientWrapper,
    sealer: &Sealer,
    name: &str,
) -> Result<Option<(i64, Certificate)>, Fault> {
    let statement = format!("SELECT version, name, directory, chain_pem, key_pem, obtained_at {NEWEST}");
    let row = client.query_opt(&statement, &[&name]).await?;
    row.map(|row| certificate_of(&row, sealer)).transpose()
}

fn certificate_of(row: &Row, sealer: &Sealer) -> Result<(i64, Certificate), Fault> {
    let name: &str = row.try_get(1)?;
    let key = open(sealer, certificate_key(name), row.try_get(4)?)?;
    let obtained_at: Timestamp = row.try_get(5)?;
    let certificate = Certificate::new(row.try_get(2)?, key, row.try_get(3)?, seconds(obtained_at))
        .map_err(|error| StoreError::Refused(format!("the row `{name}` of acme_cert: {error}")))?;
    Ok((row.try_get(0)?, certificate))
}

pub(super) async fn keep_certificate(
    client: &ClientWrapper,
    sealer: &Sealer,
    (name, fence): (&str, i64),
    certificate: &Certificate,
) -> Result<Option<i64>, Fault> {
    let Certificate { directory, key_pem, chain_pem, not_after, obtained_at, .. } = certificate;
    let key = seal(sealer, certificate_key(name), key_pem)?;
    let statement = format!(
        "{MINE} INSERT INTO acme_cert (name, version, directory, chain_pem, key_pem, not_after, obtained_at)
         SELECT $1, (SELECT coalesce(max(version), 0) + 1 FROM acme_cert), $3, $4, $5, $6, $7 FROM mine
         ON CONFLICT (name) DO UPDATE SET version = excluded.version, directory = excluded.directory,
             chain_pem = excluded.chain_pem, key_pem = excluded.key_pem, not_after = excluded.not_after,
             obtained_at = excluded.obtained_at
         RETURNING version"
    );
    let row = client
        .query_opt(
            &statement,
            &[&name, &fence, directory, chain_pem, &key, &time(*not_after), &time(*obtained_at)],
        )
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Visible to all nodes once this returns. Sweeps out what nobody took back.
pub(super) async fn publish(client: &ClientWrapper, answer: &ChallengeAnswer) -> Result<(), Fault> {
    let ChallengeAnswer { kind, ident, key_authorization, expires } = answer;
    client.execute("DELETE FROM acme_challenge WHERE expires < clock_timestamp()", &[]).await?;
    client
        .execute(
            "INSERT INTO acme_challenge (kind, ident, key_auth, expires) VALUES ($1, $2, $3, $4)
             ON CONFLICT (kind, ident) DO UPDATE SET key_auth = excluded.key_auth, expires = excluded.expires",
            &[&kind.as_str(), ident, &key_authorization.expose(), &time(*expires)],
        )
        .await?;
    Ok(())
}

pub(super) async fn challenge(
    client: &ClientWrapper,
    kind: ChallengeKind,
    ident: &str,
) -> Result<Option<Secret>, Fault> {
    let statement = "SELECT key_auth FROM acme_challenge WHERE kind = $1 AND ident = $2";
    let row = client.query_opt(statement, &[&kind.as_str(), &ident]).await?;
    Ok(row.map(|row| row.try_get(0).map(Secret::new)).transpose()?)
}

pub(super) async fn withdraw(client: &ClientWrapper, kind: ChallengeKind, ident: &str) -> Result<(), Fault> {
    let statement = "DELETE FROM acme_challenge WHERE kind = $1 AND ident = $2";
    client.execute(statement, &[&kind.as_str(), &ident]).await?;
    Ok(())
}
