//! The lease's row: who may order, until when, and how the last tries went.

use super::super::{fault::Fault, time::Timestamp};
use crate::{acme::Backoff, store::Micros};
use deadpool_postgres::ClientWrapper;

const SECOND: Micros = 1_000_000;

/// Takes the lease if it is free, has run out, or is this holder's from before it was killed:
/// a holder's name belongs to one running process. Answers the new fence.
pub(super) async fn take(client: &ClientWrapper, name: &str, holder: &str) -> Result<Option<i64>, Fault> {
    // The keeper prolongs it each minute; five cover a few lost connections.
    let row = client
        .query_opt(
            "INSERT INTO acme_lease AS lease (name, holder, fence, until)
             VALUES ($1, $2, 1, clock_timestamp() + interval '5 minutes')
             ON CONFLICT (name) DO UPDATE
                SET holder = excluded.holder, fence = lease.fence + 1, until = excluded.until
              WHERE lease.until < clock_timestamp() OR lease.holder = excluded.holder
             RETURNING fence",
            &[&name, &holder],
        )
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Prolongs it; `None` if somebody else took it meanwhile.
pub(super) async fn extend(client: &ClientWrapper, name: &str, fence: i64) -> Result<Option<()>, Fault> {
    let changed = client
        .execute(
            "UPDATE acme_lease SET until = clock_timestamp() + interval '5 minutes'
              WHERE name = $1 AND fence = $2",
            &[&name, &fence],
        )
        .await?;
    Ok((changed > 0).then_some(()))
}

/// Ends it, if it is still ours.
pub(super) async fn release(client: &ClientWrapper, name: &str, fence: i64) -> Result<(), Fault> {
    client
        .execute(
            "UPDATE acme_lease SET until = '-infinity', holder = NULL WHERE name = $1 AND fence = $2",
            &[&name, &fence],
        )
        .await?;
    Ok(())
}

/// How the tries since the last success went.
pub(super) async fn backoff(client: &ClientWrapper, name: &str) -> Result<Backoff, Fault> {
    let row = client
        .query_opt(
            "SELECT failures, not_before, failed_at, sentence, fingerprint FROM acme_lease WHERE name = $1",
            &[&name],
        )
        .await?;
    let Some(row) = row else { return Ok(Backoff::default()) };
    let (failures, Timestamp(not_before), Timestamp(failed_at)): (i64, _, _) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(Backoff {
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        not_before: not_before / SECOND,
        failed_at: failed_at / SECOND,
        sentence: row.try_get(3)?,
        fingerprint: row.try_get(4)?,
    })
}

/// Writes them down.
pub(super) async fn keep_backoff(
    client: &ClientWrapper,
    (name, fence): (&str, i64),
    backoff: &Backoff,
) -> Result<Option<()>, Fault> {
    let Backoff { failures, not_before, failed_at, sentence, fingerprint } = backoff;
    let changed = client
        .execute(
            "UPDATE acme_lease
                SET failures = $3, not_before = $4, failed_at = $5, sentence = $6, fingerprint = $7
              WHERE name = $1 AND fence = $2",
            &[
                &name,
                &fence,
                &i64::from(*failures),
                &time(*not_before),
                &time(*failed_at),
                // A CA's words may hold anything; PostgreSQL's text takes no NUL.
                &sentence.replace('\0', " "),
                fingerprint,
            ],
        )
        .await?;
    Ok((changed > 0).then_some(()))
}

pub(super) fn time(seconds: i64) -> Timestamp {
    Timestamp(seconds.saturating_mul(SECOND))
}

pub(super) fn seconds(time: Timestamp) -> i64 {
    time.0 / SECOND
}
