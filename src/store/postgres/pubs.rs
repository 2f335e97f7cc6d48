//! Devices: find, add, list.

use super::{
    super::{Pub, StoreError},
    fault::Fault,
    time::Timestamp,
};
use crate::protocol::packet::PubRef;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Client, Row};

/// Explicit ids above do not move the sequence: it would have no room left to count, and will
/// never get there (2³² ids below the end of bigint).
const LAST_COUNTED_ID: i64 = i64::MAX - (1 << 32);

/// Rows that vanish between an insert that met them and the look at them.
const ATTEMPTS: u32 = 5;

/// The next id of the sequence that nobody inserted by hand, as a table of one row; of none
/// if 1000 in a row are taken. The count is written so that the planner cannot make a join of
/// it that would use up all 1000.
pub(super) const FREE_ID: &str = "
    (SELECT id FROM (SELECT nextval('pub_id_seq') AS id FROM generate_series(1, 1000)) AS next
      WHERE (SELECT count(*) FROM pub WHERE pub.pub_id = next.id) = 0 LIMIT 1) AS free";

const COLUMNS: &str = "pub_id, hash, creator, created_at";

/// By id; without one, by hash.
pub(super) async fn find(client: &Client, device: PubRef) -> Result<Option<Pub>, Fault> {
    let (column, value) = match device {
        PubRef { id: Some(id), .. } => ("pub_id", id),
        PubRef { id: None, hash: Some(hash) } => ("hash", hash),
        PubRef { id: None, hash: None } => return Ok(None),
    };
    let statement = format!("SELECT {COLUMNS} FROM pub WHERE {column} = $1");
    let row = client.query_opt(&statement, &[&value]).await?;
    row.as_ref().map(from_row).transpose()
}

/// Ascending from above `after`.
pub(super) async fn list(client: &Client, after: i64, limit: i64) -> Result<Vec<Pub>, Fault> {
    let statement = format!("SELECT {COLUMNS} FROM pub WHERE pub_id > $1 ORDER BY pub_id LIMIT $2");
    let rows = client.query(&statement, &[&after, &limit.max(0)]).await?;
    rows.iter().map(from_row).collect()
}

/// Adds a device, or tells which row is in its way.
pub(super) async fn add(client: &mut ClientWrapper, device: PubRef) -> Result<Result<Pub, Pub>, Fault> {
    for _ in 0..ATTEMPTS {
        // Asked first: an INSERT that meets a conflict uses up an id all the same.
        if let Some(taken) = in_the_way(client, device).await? {
            return Ok(Err(taken));
        }
        let added = match device.id {
            Some(id) => insert_with_id(client, id, device.hash).await?,
            None => insert(client, device.hash).await?,
        };
        if let Some(added) = added {
            return Ok(Ok(added));
        }
        // Somebody was quicker, or many ids in a row were inserted by hand: go on counting.
    }
    Err(StoreError::Unavailable("rows of pub come and go too quickly".into()).into())
}

async fn insert(client: &Client, hash: Option<i64>) -> Result<Option<Pub>, Fault> {
    let statement = format!(
        "INSERT INTO pub (pub_id, hash) SELECT id, $1::bigint FROM {FREE_ID} ON CONFLICT DO NOTHING RETURNING {COLUMNS}"
    );
    let row = client.query_opt(&statement, &[&hash]).await?;
    row.as_ref().map(from_row).transpose()
}

/// Makes the row and moves the sequence past it.
///
/// `setval` obeys no transaction, so reading and moving the sequence must not overlap with
/// anyone counting on: the lock waits for every open INSERT into pub and holds off new ones
/// (not the foreign-key checks of packets).
async fn insert_with_id(
    client: &mut ClientWrapper,
    id: i64,
    hash: Option<i64>,
) -> Result<Option<Pub>, Fault> {
    let transaction = client.transaction().await?;
    transaction.batch_execute("LOCK TABLE pub IN SHARE ROW EXCLUSIVE MODE").await?;
    let statement =
        format!("INSERT INTO pub (pub_id, hash) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING {COLUMNS}");
    let row = transaction.query_opt(&statement, &[&id, &hash]).await?;
    if row.is_some() && (1..=LAST_COUNTED_ID).contains(&id) {
        transaction
            .execute("SELECT setval('pub_id_seq', $1) WHERE $1 > (SELECT last_value FROM pub_id_seq)", &[&id])
            .await?;
    }
    transaction.commit().await?;
    row.as_ref().map(from_row).transpose()
}

async fn in_the_way(client: &Client, device: PubRef) -> Result<Option<Pub>, Fault> {
    for part in [PubRef { id: device.id, hash: None }, PubRef { id: None, hash: device.hash }] {
        if let Some(taken) = find(client, part).await? {
            return Ok(Some(taken));
        }
    }
    Ok(None)
}

fn from_row(row: &Row) -> Result<Pub, Fault> {
    let Timestamp(created_at) = row.try_get(3)?;
    Ok(Pub { pub_id: row.try_get(0)?, hash: row.try_get(1)?, creator: row.try_get(2)?, created_at })
}
