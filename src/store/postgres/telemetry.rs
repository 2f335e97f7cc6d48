//! Telemetry: batches under a number of their own lane, each in one transaction.
//!
//! The number is taken first, by compare-and-set, and its row stays locked until the commit. So
//! whoever asks what became of a batch waits for a transaction that is still open, and takes the
//! number himself if nobody has: what comes late then fails its own compare-and-set.

use super::{
    CALL_DEADLINE, Postgres,
    fault::Fault,
    sqlstate::{Remedy, describe, remedy_of},
    time::Timestamp,
};
use crate::store::{
    StoreError, Telemetry, TelemetryBatch, TelemetryRow, Ticket,
    telemetry::{NOBODY, TELEMETRY_LANE, json},
};
use async_trait::async_trait;
use deadpool_postgres::{ClientWrapper, Transaction};

const TURN: &str = "
    UPDATE ingest SET batch = $3::bigint, writer = $4::bigint
     WHERE node = $1::bigint AND lane = $2::int AND batch = $3::bigint - 1";

/// Takes the number for nobody, if it is still to be had.
const BURN: &str = "
    UPDATE ingest SET batch = $3::bigint, writer = $4::bigint
     WHERE node = $1::bigint AND lane = $2::int AND batch < $3::bigint";

/// A first batch has a row to lock, too.
const BEGIN: &str =
    "INSERT INTO ingest (node, lane, batch, writer) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING";

/// Waits for a transaction that is still at it.
const LAST: &str = "SELECT batch, writer FROM ingest WHERE node = $1 AND lane = $2 FOR UPDATE";

const PUT: &str = "
    INSERT INTO telemetry (device_id, kind, created_at, body)
    SELECT r.device_id, r.kind, r.created_at, r.body::jsonb
      FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[])
           AS r (device_id, kind, created_at, body)";

const REJECT: &str = "INSERT INTO rejected (node, packet, reason) VALUES ($1, $2, $3)";

#[async_trait]
impl Telemetry for Postgres {
    async fn reserve_telemetry(&self, node: i64) -> Result<Ticket, StoreError> {
        self.within(CALL_DEADLINE, async {
            let client = self.client().await?;
            client.execute(BEGIN, &[&node, &TELEMETRY_LANE, &NOBODY]).await?;
            let row = client.query_one(LAST, &[&node, &TELEMETRY_LANE]).await?;
            let last: i64 = row.try_get(0)?;
            client.give_back();
            Ok(Ticket { lane: TELEMETRY_LANE, number: last + 1, writer: self.writer })
        })
        .await
    }

    async fn add_telemetry(&self, batch: &TelemetryBatch) -> Result<Vec<Option<String>>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let mut client = self.client().await?;
            let added = match add_at_once(&mut client, batch).await {
                Err(Fault::Sql(error)) if remedy_of(&error) == Remedy::RejectRow => {
                    add_one_by_one(&mut client, batch).await?
                }
                added => added?,
            };
            client.give_back();
            Ok(added)
        })
        .await
    }

    async fn settle_telemetry(&self, node: i64, ticket: Ticket) -> Result<bool, StoreError> {
        self.within(CALL_DEADLINE, async {
            let mut client = self.client().await?;
            let transaction = client.transaction().await?;
            transaction.execute(BEGIN, &[&node, &ticket.lane, &NOBODY]).await?;
            transaction.execute(BURN, &[&node, &ticket.lane, &ticket.number, &NOBODY]).await?;
            let row = transaction.query_one(LAST, &[&node, &ticket.lane]).await?;
            let last: (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            transaction.commit().await?;
            client.give_back();
            Ok(last == (ticket.number, ticket.writer))
        })
        .await
    }
}

/// All rows in one statement.
async fn add_at_once(
    client: &mut ClientWrapper,
    batch: &TelemetryBatch,
) -> Result<Vec<Option<String>>, Fault> {
    let transaction = client.transaction().await?;
    take_turn(&transaction, batch).await?;
    put(&transaction, &batch.rows).await?;
    reject(&transaction, batch.node, &batch.refused).await?;
    transaction.commit().await?;
    Ok(vec![None; batch.rows.len()])
}

/// One row is refused: each gets its own savepoint, so that the others are stored.
async fn add_one_by_one(
    client: &mut ClientWrapper,
    batch: &TelemetryBatch,
) -> Result<Vec<Option<String>>, Fault> {
    let mut transaction = client.transaction().await?;
    take_turn(&transaction, batch).await?;
    let mut outcomes = Vec::with_capacity(batch.rows.len());
    for row in &batch.rows {
        let savepoint = transaction.savepoint("one").await?;
        let put = put(&savepoint, std::slice::from_ref(row)).await;
        outcomes.push(match put {
            Ok(()) => {
                savepoint.commit().await?;
                None
            }
            Err(Fault::Sql(error)) if remedy_of(&error) == Remedy::RejectRow => {
                savepoint.rollback().await?;
                Some(describe(&error))
            }
            Err(fault) => return Err(fault),
        });
    }
    let mut refused = batch.refused.clone();
    if batch.is_promised {
        let bad = batch.rows.iter().zip(&outcomes);
        refused.extend(bad.filter_map(|(row, outcome)| Some((row.clone(), outcome.clone()?))));
    }
    reject(&transaction, batch.node, &refused).await?;
    transaction.commit().await?;
    Ok(outcomes)
}

async fn take_turn(transaction: &Transaction<'_>, batch: &TelemetryBatch) -> Result<(), Fault> {
    let Ticket { lane, number, writer } = batch.ticket;
    let turn = transaction.prepare_cached(TURN).await?;
    if transaction.execute(&turn, &[&batch.node, &lane, &number, &writer]).await? == 0 {
        return Err(StoreError::Busy("another writer took the number of a batch of telemetry".into()).into());
    }
    Ok(())
}

async fn put(transaction: &Transaction<'_>, rows: &[TelemetryRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let device_ids: Vec<&str> = rows.iter().map(|row| row.device_id.as_str()).collect();
    let kinds: Vec<&str> = rows.iter().map(|row| row.kind.as_str()).collect();
    let times: Vec<Timestamp> = rows.iter().map(|row| Timestamp(row.created_at)).collect();
    let bodies: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
    let put = transaction.prepare_cached(PUT).await?;
    transaction.execute(&put, &[&device_ids, &kinds, &times, &bodies]).await?;
    Ok(())
}

async fn reject(
    transaction: &Transaction<'_>,
    node: i64,
    refused: &[(TelemetryRow, String)],
) -> Result<(), Fault> {
    for (row, reason) in refused {
        transaction.execute(REJECT, &[&node, &json(row), &reason]).await?;
    }
    Ok(())
}
