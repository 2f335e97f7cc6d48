//! Monthly partitions of `packet` and `telemetry` (UTC): last month's, this one's and the next three.

use super::fault::Fault;
use deadpool_postgres::ClientWrapper;

/// Nodes that keep up together queue on this advisory lock ("m0v", 2).
const LOCK: i64 = 0x6d_3076_0002;

/// What is divided by month, and by which of its columns.
const DIVIDED: [(&str, &str); 2] = [("packet", "created_at"), ("telemetry", "saved_at")];

/// What of a table ($1) is missing, in order (from `pg_class`, not `to_regclass`: that may answer from a cache
/// that is older than the lock we waited for). The bounds are written with their offset, so that no session's
/// time zone comes into it.
const MISSING: &str = "
    SELECT name, lower, upper
      FROM (SELECT $1::text || '_y' || to_char(month, 'YYYY') || 'm' || to_char(month, 'MM') AS name,
                   to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00' AS lower,
                   to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00' AS upper
              FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month',
                                   date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months',
                                   interval '1 month') AS month) AS months
     WHERE NOT EXISTS (SELECT FROM pg_class WHERE relname = name AND pg_table_is_visible(oid))
     ORDER BY lower";

/// Makes the partitions that are missing, one transaction each.
pub(super) async fn keep_up(client: &mut ClientWrapper) -> Result<(), Fault> {
    for (table, column) in DIVIDED {
        while make_next(client, table, column).await? {}
    }
    Ok(())
}

/// Makes the first missing one; `false` if there is none.
///
/// The rows of that month that lie in the default partition move with it: the table is made
/// beside its parent, filled and attached. SHARE ROW EXCLUSIVE keeps writers (not readers) out
/// from before the move until the attachment, else a row could come into the default in
/// between and the attachment fail. Attaching locks the default wholly for a moment; behind a
/// long reader that would hold up every writer, so it gives up soon: tomorrow will do.
async fn make_next(client: &mut ClientWrapper, table: &str, column: &str) -> Result<bool, Fault> {
    if client.query_opt(&format!("{MISSING} LIMIT 1"), &[&table]).await?.is_none() {
        return Ok(false);
    }
    let transaction = client.transaction().await?;
    transaction
        .batch_execute(&format!(
            "SELECT pg_advisory_xact_lock({LOCK});
             SET LOCAL statement_timeout = 0;
             SET LOCAL lock_timeout = '2s'"
        ))
        .await?;
    let Some(row) = transaction.query_opt(&format!("{MISSING} LIMIT 1"), &[&table]).await? else {
        return Ok(false); // another node was quicker
    };
    let (name, lower, upper): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    transaction
        .batch_execute(&format!(
            "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;
             CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
             WITH moved AS (DELETE FROM {table}_default
                             WHERE {column} >= '{lower}' AND {column} < '{upper}' RETURNING *)
             INSERT INTO {name} SELECT * FROM moved;
             ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{lower}') TO ('{upper}')"
        ))
        .await?;
    transaction.commit().await?;
    log::info!("made partition {name}");
    Ok(true)
}
