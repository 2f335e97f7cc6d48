//! Registered users: added, removed, listed. Whoever moves an e-mail between `sub` and `csub`
//! holds its lock, as a confirmation does (`confirm::lock_email`).

use super::{
    super::{Registration, StoreError, Sub},
    confirm::lock_email,
    fault::Fault,
    time::Timestamp,
};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Client, Row};

const COLUMNS: &str = "sub_id, email, name, phone, created_at";

/// The next id of the sequence that nobody inserted by hand, as [`super::pubs::FREE_ID`].
pub(super) const FREE_SUB_ID: &str = "
    (SELECT id FROM (SELECT nextval('sub_id_seq') AS id FROM generate_series(1, 1000)) AS next
      WHERE (SELECT count(*) FROM sub WHERE sub.sub_id = next.id) = 0
        AND (SELECT count(*) FROM csub WHERE csub.sub_id = next.id) = 0 LIMIT 1) AS free";

/// Registers a user; one seen before keeps the id.
pub(super) async fn add(
    client: &mut ClientWrapper,
    registration: &Registration,
    who: &str,
) -> Result<Result<Sub, Sub>, Fault> {
    let transaction = client.transaction().await?;
    let added = add_within(transaction.client(), registration, who).await?;
    transaction.commit().await?;
    Ok(added)
}

async fn add_within(
    client: &Client,
    registration: &Registration,
    who: &str,
) -> Result<Result<Sub, Sub>, Fault> {
    let Registration { email, name, phone } = registration;
    lock_email(client, email).await?;
    if let Some(taken) = find(client, email).await? {
        return Ok(Err(taken));
    }
    let statement = format!(
        "WITH seen AS (DELETE FROM csub WHERE lower(email COLLATE \"C\") = lower($1::text COLLATE \"C\") RETURNING sub_id)
         INSERT INTO sub (sub_id, email, name, phone)
         SELECT sub_id, $1, $2, $3 FROM seen RETURNING {COLUMNS}"
    );
    let mut row = client.query_opt(&statement, &[email, name, phone]).await?;
    if row.is_none() {
        let statement = format!(
            "INSERT INTO sub (sub_id, email, name, phone)
             SELECT id, $1::text, $2::text, $3::text FROM {FREE_SUB_ID} RETURNING {COLUMNS}"
        );
        row = client.query_opt(&statement, &[email, name, phone]).await?;
    }
    let Some(row) = row else {
        return Err(StoreError::Unavailable("1000 ids of sub in a row were inserted by hand".into()).into());
    };
    let added = from_row(&row)?;
    audit(client, who, "sub add", &format!("sub {}", added.sub_id)).await?;
    Ok(Ok(added))
}

/// Deregisters a user, who keeps the id.
pub(super) async fn remove(client: &mut ClientWrapper, email: &str, who: &str) -> Result<Option<i64>, Fault> {
    let transaction = client.transaction().await?;
    lock_email(transaction.client(), email).await?;
    let row = transaction
        .query_opt(
            "WITH gone AS (DELETE FROM sub WHERE lower(email COLLATE \"C\") = lower($1::text COLLATE \"C\")
                           RETURNING sub_id, email)
             INSERT INTO csub (sub_id, email) SELECT sub_id, email FROM gone RETURNING sub_id",
            &[&email],
        )
        .await?;
    let sub_id: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
    if let Some(sub_id) = sub_id {
        audit(transaction.client(), who, "sub remove", &format!("sub {sub_id}")).await?;
    }
    transaction.commit().await?;
    Ok(sub_id)
}

/// Ascending from above `after`.
pub(super) async fn list(client: &Client, after: i64, limit: i64) -> Result<Vec<Sub>, Fault> {
    let statement = format!("SELECT {COLUMNS} FROM sub WHERE sub_id > $1 ORDER BY sub_id LIMIT $2");
    let rows = client.query(&statement, &[&after, &limit.max(0)]).await?;
    rows.iter().map(from_row).collect()
}

/// By e-mail, without regard to case.
pub(super) async fn find(client: &Client, email: &str) -> Result<Option<Sub>, Fault> {
    let statement =
        format!("SELECT {COLUMNS} FROM sub WHERE lower(email COLLATE \"C\") = lower($1::text COLLATE \"C\")");
    let row = client.query_opt(&statement, &[&email]).await?;
    row.as_ref().map(from_row).transpose()
}

/// Notes what an operator did, in the transaction that does it.
pub(super) async fn audit(client: &Client, who: &str, what: &str, subject: &str) -> Result<(), Fault> {
    let statement = "INSERT INTO audit (who, what, subject) VALUES ($1, $2, $3)";
    client.execute(statement, &[&who, &what, &subject]).await?;
    Ok(())
}

fn from_row(row: &Row) -> Result<Sub, Fault> {
    let Timestamp(created_at) = row.try_get(4)?;
    Ok(Sub {
        sub_id: row.try_get(0)?,
        email: row.try_get(1)?,
        name: row.try_get(2)?,
        phone: row.try_get(3)?,
        created_at,
    })
}
