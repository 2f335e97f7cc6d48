//! Telemetry: one batch, one transaction, one fsync. The file's one writer answers in order, so
//! what became of a batch needs no number.

use super::{
    Embedded,
    error::{Fault, Remedy, remedy},
};
use crate::store::{StoreError, Telemetry, TelemetryBatch, TelemetryRow, Ticket, now, telemetry};
use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior, params};

#[async_trait]
impl Telemetry for Embedded {
    async fn reserve_telemetry(&self, _node: i64) -> Result<Ticket, StoreError> {
        Ok(Ticket { lane: telemetry::TELEMETRY_LANE, number: 1, writer: telemetry::NOBODY })
    }

    async fn add_telemetry(&self, batch: &TelemetryBatch) -> Result<Vec<Option<String>>, StoreError> {
        let rows = batch.rows.clone();
        self.write(move |connection| add(connection, &rows)).await
    }

    async fn settle_telemetry(&self, _node: i64, _ticket: Ticket) -> Result<bool, StoreError> {
        Ok(false)
    }
}

fn add(connection: &mut Connection, rows: &[TelemetryRow]) -> Result<Vec<Option<String>>, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let saved_at = now();
    let mut put = transaction.prepare_cached(
        "INSERT INTO telemetry (device_id, kind, created_at, saved_at, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let outcomes = rows.iter().map(|row| {
        let TelemetryRow { device_id, kind, created_at, body } = row;
        match put.execute(params![device_id, kind.as_str(), created_at, saved_at, body]) {
            Ok(_) => Ok(None),
            Err(error) if remedy(&error) == Remedy::RejectRow => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    });
    let outcomes = outcomes.collect::<Result<_, Fault>>()?;
    drop(put);
    transaction.commit()?;
    Ok(outcomes)
}
