//! Devices and their certificates: the calls, each on a connection of the pool and under its
//! deadline.
//!
//! `enrol` lists certificates, `change` revokes, approves and links, `read` tells. Locks are taken in
//! this order: certificate, device (both advisory), row of `ca`, row of `device`, row of `pub`.

mod change;
mod enrol;
mod read;

use super::{CALL_DEADLINE, Postgres, fault::Fault, hear::DEVICES, subs::audit};
use crate::store::{
    StoreError,
    devices::{
        Audited, Ca, Change, Device, DeviceCert, Devices, Enrolment, Listed, NotEnrolled, NotLinked,
        Revocation, Status,
    },
};
use async_trait::async_trait;
use deadpool_postgres::{Transaction};
use tokio::sync::broadcast;
use tokio_postgres::Client;

/// Most bytes of a notification; PostgreSQL takes 7999.
const MAX_NOTE: usize = 4096;

impl Postgres {
    /// Runs what reads only.
    async fn ask<T>(&self, ask: impl AsyncFnOnce(&Client) -> Result<T, Fault> + Send) -> Result<T, StoreError> {
        self.within(CALL_DEADLINE, async {
            let client = self.client().await?;
            let answer = ask(&client).await?;
            client.give_back();
            Ok(answer)
        })
        .await
    }
}

/// Notes what was done and by whom, and tells all nodes with the commit.
async fn note(client: &Client, who: &str, what: &str, subject: &str, change: &Change) -> Result<(), Fault> {
    audit(client, who, what, subject).await?;
    let mut note = change.to_string();
    if note.len() > MAX_NOTE {
        note = Change::Everything.to_string();
    }
    client.execute("SELECT pg_notify($1, $2)", &[&DEVICES, &note]).await?;
    Ok(())
}
