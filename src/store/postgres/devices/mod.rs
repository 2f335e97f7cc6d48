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
use tokio::sync::broadcast;
use tokio_postgres::Client;

/// Most bytes of a notification; PostgreSQL takes 7999.
const MAX_NOTE: usize = 4096;

/// A question on a connection of the pool.
macro_rules! ask {
    ($store:ident, |$client:ident| $question:expr) => {
        $store
            .within(CALL_DEADLINE, async {
                let $client = $store.client().await?;
                let answer = $question.await?;
                $client.give_back();
                Ok(answer)
            })
            .await
    };
}

/// A change: one transaction, again at once if it lost against another one.
macro_rules! commit {
    ($store:ident, |$client:ident| $change:expr) => {
        $store
            .within(CALL_DEADLINE, async {
                let mut attempt = 1;
                loop {
                    let mut checkout = $store.client().await?;
                    let transaction = checkout.transaction().await?;
                    let $client = transaction.client();
                    match $change.await {
                        Err(fault) if $store.tries_again(&fault, attempt) => attempt += 1,
                        Err(fault) => return Err(fault),
                        Ok(answer) => {
                            transaction.commit().await?;
                            checkout.give_back();
                            return Ok(answer);
                        }
                    }
                }
            })
            .await
    };
}

#[async_trait]
impl Devices for Postgres {
    async fn list_listed(&self, after: &str, limit: i64) -> Result<Vec<Listed>, StoreError> {
        ask!(self, |client| read::page_of_listed(&client, after, limit))
    }

    async fn find_listed(&self, certificate_id: &str) -> Result<Option<Listed>, StoreError> {
        ask!(self, |client| read::listed(&client, certificate_id))
    }

    async fn listed_of(&self, device_id: &str) -> Result<Vec<Listed>, StoreError> {
        ask!(self, |client| read::listed_of(&client, device_id))
    }

    async fn enrol(
        &self,
        enrolment: &Enrolment,
        who: &str,
    ) -> Result<Result<Listed, NotEnrolled>, StoreError> {
        commit!(self, |client| enrol::enrol(client, enrolment, who))
    }

    async fn revoke(&self, what: &Revocation, who: &str) -> Result<Option<u64>, StoreError> {
        commit!(self, |client| change::revoke(client, what, who))
    }

    async fn add_ca(&self, ca: &Ca, who: &str) -> Result<Result<Ca, Ca>, StoreError> {
        commit!(self, |client| change::add_ca(client, ca, who))
    }

    async fn list_cas(&self) -> Result<Vec<Ca>, StoreError> {
        ask!(self, |client| read::cas(&client))
    }

    async fn list_devices(&self, after: &str, limit: i64) -> Result<Vec<Device>, StoreError> {
        ask!(self, |client| read::page_of_devices(&client, after, limit))
    }

    async fn find_device(&self, device_id: &str) -> Result<Option<Device>, StoreError> {
        ask!(self, |client| read::device(&client, device_id))
    }

    async fn approve_device(&self, device_id: &str, who: &str) -> Result<Option<Status>, StoreError> {
        commit!(self, |client| change::approve(client, device_id, who))
    }

    async fn link_device(
        &self,
        device_id: &str,
        pub_id: i64,
        who: &str,
    ) -> Result<Result<Device, NotLinked>, StoreError> {
        commit!(self, |client| change::link(client, device_id, pub_id, who))
    }

    async fn list_certs(&self, after: &str, limit: i64) -> Result<Vec<DeviceCert>, StoreError> {
        ask!(self, |client| read::page_of_certs(&client, after, limit))
    }

    async fn find_cert(&self, certificate_id: &str) -> Result<Option<DeviceCert>, StoreError> {
        ask!(self, |client| read::cert(&client, certificate_id))
    }

    async fn list_audit(&self, before: Option<i64>, limit: i64) -> Result<Vec<Audited>, StoreError> {
        ask!(self, |client| read::page_of_audit(&client, before, limit))
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
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
