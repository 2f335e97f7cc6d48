//! Confirmations as the operator sees them, and the end of a conflict.

use super::{
    super::{Kept, Resolution, Resolved, Unresolved},
    confirm::lock_email,
    fault::Fault,
    subs,
    time::Timestamp,
};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Client, Row};

/// Each table is read as far as needed: this is asked page by page. An id of a person is in
/// `sub` or in `csub`.
const LIST: &str = "
    SELECT kept.id, saved_at, devicename, ssid, kept.hash, kept.pub_id,
           coalesce((SELECT email FROM sub WHERE sub.sub_id = kept.sub_id),
                    (SELECT email FROM csub WHERE csub.sub_id = kept.sub_id)),
           coalesce((SELECT email FROM sub WHERE sub.sub_id = pub.creator),
                    (SELECT email FROM csub WHERE csub.sub_id = pub.creator)),
           conflict
      FROM ((SELECT id, saved_at, devicename, ssid, hash, pub_id, sub_id, true AS conflict
               FROM cconfo WHERE id > $2 ORDER BY id LIMIT $3)
            UNION ALL
            (SELECT id, saved_at, devicename, ssid, hash, pub_id, sub_id, false
               FROM confo WHERE id > $2 AND NOT $1 ORDER BY id LIMIT $3)) AS kept
      JOIN pub ON pub.pub_id = kept.pub_id
     ORDER BY kept.id LIMIT $3";

/// Ascending from above `after`.
pub(super) async fn list(
    client: &Client,
    conflicts: bool,
    after: i64,
    limit: i64,
) -> Result<Vec<Kept>, Fault> {
    let rows = client.query(LIST, &[&conflicts, &after, &limit.max(0)]).await?;
    rows.iter().map(from_row).collect()
}

/// Gives the device of a hash to a registered user and settles its conflicts.
pub(super) async fn resolve(
    client: &mut ClientWrapper,
    resolution: &Resolution,
    who: &str,
) -> Result<Result<Resolved, Unresolved>, Fault> {
    let transaction = client.transaction().await?;
    let resolved = resolve_within(transaction.client(), resolution, who).await?;
    transaction.commit().await?;
    Ok(resolved)
}

/// Locks in the order of a confirmation: the e-mail, then the device.
async fn resolve_within(
    client: &Client,
    Resolution { hash, owner }: &Resolution,
    who: &str,
) -> Result<Result<Resolved, Unresolved>, Fault> {
    lock_email(client, owner).await?;
    let Some(owner) = subs::find(client, owner).await? else {
        return Ok(Err(Unresolved::UnknownOwner));
    };
    let device = client
        .query_opt("SELECT pub_id, creator FROM pub WHERE hash = $1 FOR NO KEY UPDATE", &[hash])
        .await?;
    let Some(device) = device else {
        return Ok(Err(Unresolved::UnknownHash));
    };
    let (pub_id, before): (i64, Option<i64>) = (device.try_get(0)?, device.try_get(1)?);
    client.execute("UPDATE pub SET creator = $2 WHERE pub_id = $1", &[&pub_id, &owner.sub_id]).await?;
    let settled = client
        .execute(
            "WITH settled AS (DELETE FROM cconfo WHERE hash = $1 RETURNING *)
             INSERT INTO confo (id, created_at, saved_at, devicename, ssid, hash, sub_id, pub_id, extra)
             SELECT id, created_at, saved_at, devicename, ssid, hash, sub_id, pub_id, extra FROM settled",
            &[hash],
        )
        .await?;
    let resolved = Resolved { pub_id, before, creator: owner.sub_id, settled };
    subs::audit(client, who, "confo resolve", &resolved.subject(*hash)).await?;
    Ok(Ok(resolved))
}

fn from_row(row: &Row) -> Result<Kept, Fault> {
    let Timestamp(saved_at) = row.try_get(1)?;
    Ok(Kept {
        id: row.try_get(0)?,
        saved_at,
        device_name: row.try_get(2)?,
        ssid: row.try_get(3)?,
        hash: row.try_get(4)?,
        pub_id: row.try_get(5)?,
        email: row.try_get(6)?,
        owner: row.try_get(7)?,
        conflict: row.try_get(8)?,
    })
}
