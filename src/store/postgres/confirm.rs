//! The confirmation transaction: the rules are `confirm::rules`, the locks are here.
//!
//! Three things may be raced for, and each is settled by one lock, always in this order:
//! 1. the e-mail (moving between `sub` and `csub`): an advisory lock on its folded form, which
//!    whoever registers or deregisters takes too (`lock_email`);
//! 2. the device: `FOR NO KEY UPDATE` on its row, which does not disturb the `KEY SHARE` of
//!    packets being stored for it; or, if it is new, the unique index on `hash`: the second
//!    inserter waits for the first, gets nothing, and looks again, now at a row it can lock;
//! 3. ids: sequences.

use super::{
    super::{Confirmed, LATEST, Micros, StoreError, Window, bell::Announcement},
    fault::Fault,
    hear::CHANNEL,
    pubs::FREE_ID,
    subs::FREE_SUB_ID,
    time::Timestamp,
};
use crate::{
    confirm::rules::{Change, Device, Sender, Verdict, judge},
    protocol::confo::{Confirmation, Query},
};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Client, Row};

/// Meetings with a new row that was gone before we could lock it.
const ATTEMPTS: u32 = 5;

/// Namespace of the advisory locks on e-mails ("m0v").
const EMAIL_LOCKS: i32 = 0x6d_3076;

/// Stores a confirmation and announces it; other nodes hear of it with the commit.
pub(super) async fn confirm(
    client: &mut ClientWrapper,
    confirmation: &Confirmation,
    now: Micros,
    origin: u64,
) -> Result<(Confirmed, Announcement), Fault> {
    let transaction = client.transaction().await?;
    let (sender, sub_id) = match &confirmation.email {
        Some(email) => identify(transaction.client(), email, now).await?,
        None => (Sender::Unnamed, None),
    };
    let (pub_id, verdict) = settle_device(transaction.client(), sender, confirmation.hash, now).await?;
    let confirmed = Confirmed::judged(confirmation, pub_id, verdict, now);
    let table = if confirmed.conflict { "cconfo" } else { "confo" };
    let statement = format!(
        "INSERT INTO {table} (created_at, saved_at, devicename, ssid, hash, sub_id, pub_id, extra)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb) RETURNING id"
    );
    let row = transaction
        .query_one(
            &statement,
            &[
                &Timestamp(confirmed.created_at),
                &Timestamp(now),
                &confirmed.device_name,
                &confirmed.ssid,
                &confirmed.hash,
                &sub_id,
                &pub_id,
                &confirmation.extra,
            ],
        )
        .await?;
    let announced = Announcement::of(&confirmed, row.try_get(0)?, origin);
    // Commits that notify queue on one lock; confirmations are few.
    transaction.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &announced.to_string()]).await?;
    transaction.commit().await?;
    Ok((confirmed, announced))
}

/// The latest confirmation of what is asked.
pub(super) async fn find(client: &Client, query: &Query, window: Window) -> Result<Option<Confirmed>, Fault> {
    let row = client
        .query_opt(
            "SELECT devicename, created_at, ssid, hash, pub_id, conflict FROM (
                 SELECT id, saved_at, devicename, created_at, ssid, hash, pub_id, false AS conflict FROM confo
                  WHERE devicename = $1 AND ssid = $2 AND saved_at >= $3 AND id > $5
                    AND ($4::bigint IS NULL OR hash = $4)
                 UNION ALL
                 SELECT id, saved_at, devicename, created_at, ssid, hash, NULL, true FROM cconfo
                  WHERE devicename = $1 AND ssid = $2 AND saved_at >= $3 AND id > $5
                    AND ($4::bigint IS NULL OR hash = $4)
             ) AS either
             ORDER BY saved_at DESC, id DESC LIMIT 1",
            &[&query.device_name, &query.ssid, &Timestamp(window.since.max(0)), &query.token, &window.after],
        )
        .await?;
    row.as_ref().map(from_row).transpose()
}

/// The highest id among the latest confirmations of the names asked for.
pub(super) async fn last(client: &Client, query: &Query) -> Result<i64, Fault> {
    let row = client
        .query_one(
            "SELECT coalesce(max(id), 0) FROM (
                 (SELECT id FROM confo WHERE devicename = $1 AND ssid = $2
                   ORDER BY saved_at DESC, id DESC LIMIT $3)
                 UNION ALL
                 (SELECT id FROM cconfo WHERE devicename = $1 AND ssid = $2
                   ORDER BY saved_at DESC, id DESC LIMIT $3)
             ) AS latest",
            &[&query.device_name, &query.ssid, &LATEST],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Who the e-mail is, and its id; one never seen enters `csub`.
async fn identify(client: &Client, email: &str, now: Micros) -> Result<(Sender, Option<i64>), Fault> {
    lock_email(client, email).await?;
    let row = client
        .query_opt(
            "SELECT sub_id, true FROM sub WHERE lower(email COLLATE \"C\") = lower($1::text COLLATE \"C\")
             UNION ALL
             SELECT sub_id, false FROM csub WHERE lower(email COLLATE \"C\") = lower($1::text COLLATE \"C\")
             ORDER BY 2 DESC LIMIT 1",
            &[&email],
        )
        .await?;
    if let Some(row) = row {
        let (id, is_registered): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
        let sender = if is_registered { Sender::Registered(id) } else { Sender::Unregistered(Some(id)) };
        return Ok((sender, Some(id)));
    }
    let row = client
        .query_one(
            &format!(
                "INSERT INTO csub (sub_id, email, created_at)
                 SELECT id, $1::text, $2::timestamptz FROM {FREE_SUB_ID} RETURNING sub_id"
            ),
            &[&email, &Timestamp(now)],
        )
        .await?; // ids inserted by hand are passed over
    Ok((Sender::Unregistered(None), Some(row.try_get(0)?)))
}

/// Holds this e-mail until the transaction ends.
pub(super) async fn lock_email(client: &Client, email: &str) -> Result<(), Fault> {
    client
        .execute(
            "SELECT pg_advisory_xact_lock($1::int, hashtext(lower($2::text COLLATE \"C\")))",
            &[&EMAIL_LOCKS, &email],
        )
        .await?;
    Ok(())
}

/// Locks or makes the device, and does to it what the rules say.
async fn settle_device(
    client: &Client,
    sender: Sender,
    hash: i64,
    now: Micros,
) -> Result<(i64, Verdict), Fault> {
    for _ in 0..ATTEMPTS {
        let row = client
            .query_opt("SELECT pub_id, creator FROM pub WHERE hash = $1 FOR NO KEY UPDATE", &[&hash])
            .await?;
        if let Some(row) = row {
            let (pub_id, creator): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
            let verdict = judge(sender, Device::Known(creator));
            apply(client, pub_id, verdict.change).await?;
            return Ok((pub_id, verdict));
        }
        let verdict = judge(sender, Device::New);
        let Change::Create(creator) = verdict.change else { continue };
        let made = client
            .query_opt(
                &format!(
                    "INSERT INTO pub (pub_id, hash, creator, created_at)
                     SELECT id, $1::bigint, $2::bigint, $3::timestamptz FROM {FREE_ID}
                     ON CONFLICT (hash) DO NOTHING RETURNING pub_id"
                ),
                &[&hash, &creator, &Timestamp(now)],
            )
            .await?;
        if let Some(row) = made {
            return Ok((row.try_get(0)?, verdict));
        }
    }
    Err(StoreError::Unavailable("rows of pub come and go too quickly".into()).into())
}

async fn apply(client: &Client, pub_id: i64, change: Change) -> Result<(), Fault> {
    let creator = match change {
        Change::Create(_) | Change::Keep => return Ok(()),
        Change::Claim(sub_id) => Some(sub_id),
        Change::Disown => {
            log::warn!("pub {pub_id} has no creator any more: its creator is not registered");
            None
        }
    };
    client.execute("UPDATE pub SET creator = $2 WHERE pub_id = $1", &[&pub_id, &creator]).await?;
    Ok(())
}

fn from_row(row: &Row) -> Result<Confirmed, Fault> {
    let Timestamp(created_at) = row.try_get(1)?;
    Ok(Confirmed {
        device_name: row.try_get(0)?,
        created_at,
        ssid: row.try_get(2)?,
        hash: row.try_get(3)?,
        pub_id: row.try_get(4)?,
        conflict: row.try_get(5)?,
        is_anothers: false,
    })
}
