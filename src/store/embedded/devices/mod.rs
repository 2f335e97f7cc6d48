//! Devices and their certificates: the calls, each a job for one of the two threads.
//!
//! `enrol` lists certificates, `change` revokes, approves and links, `read` tells, `heard` finds out
//! what other processes did. A change holds the file's write lock from its first statement, so
//! nothing can come between.

mod change;
mod enrol;
pub(super) mod heard;
mod read;

use super::{Embedded, error::Fault, subs::audit};
use crate::store::{
    StoreError,
    devices::{
        Audited, Ca, Change, Device, DeviceCert, Devices, Enrolment, Listed, NotEnrolled, NotLinked,
        Revocation, Status,
    },
    now,
};
use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::broadcast;

impl Embedded {
    /// One transaction, told of once it is committed, also to those who stay when the caller is gone.
    async fn change<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<(T, Option<Change>), Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let changes = self.changes.clone();
        let job = move |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (answer, change) = job(&transaction)?;
            transaction.commit()?;
            if let Some(change) = change {
                changes.tell(change);
            }
            Ok(answer)
        };
        self.write(job).await
    }
}

#[async_trait]
impl Devices for Embedded {
    async fn list_listed(&self, after: &str, limit: i64) -> Result<Vec<Listed>, StoreError> {
        let after = after.to_owned();
        self.read(move |connection| read::page_of_listed(connection, &after, limit)).await
    }

    async fn find_listed(&self, certificate_id: &str) -> Result<Option<Listed>, StoreError> {
        let id = certificate_id.to_owned();
        self.read(move |connection| read::listed(connection, &id)).await
    }

    async fn listed_of(&self, device_id: &str) -> Result<Vec<Listed>, StoreError> {
        let id = device_id.to_owned();
        self.read(move |connection| read::listed_of(connection, &id)).await
    }

    async fn enrol(
        &self,
        enrolment: &Enrolment,
        who: &str,
    ) -> Result<Result<Listed, NotEnrolled>, StoreError> {
        let (enrolment, who) = (enrolment.clone(), who.to_owned());
        self.change(move |connection| enrol::enrol(connection, &enrolment, &who, now())).await
    }

    async fn revoke(&self, what: &Revocation, who: &str) -> Result<Option<u64>, StoreError> {
        let (what, who) = (what.clone(), who.to_owned());
        self.change(move |connection| change::revoke(connection, &what, &who)).await
    }

    async fn add_ca(&self, ca: &Ca, who: &str) -> Result<Result<Ca, Ca>, StoreError> {
        let (ca, who) = (ca.clone(), who.to_owned());
        self.change(move |connection| change::add_ca(connection, &ca, &who)).await
    }

    async fn list_cas(&self) -> Result<Vec<Ca>, StoreError> {
        self.read(read::cas).await
    }

    async fn list_devices(&self, after: &str, limit: i64) -> Result<Vec<Device>, StoreError> {
        let after = after.to_owned();
        self.read(move |connection| read::page_of_devices(connection, &after, limit)).await
    }

    async fn find_device(&self, device_id: &str) -> Result<Option<Device>, StoreError> {
        let id = device_id.to_owned();
        self.read(move |connection| read::device(connection, &id)).await
    }

    async fn approve_device(&self, device_id: &str, who: &str) -> Result<Option<Status>, StoreError> {
        let (id, who) = (device_id.to_owned(), who.to_owned());
        self.change(move |connection| change::approve(connection, &id, &who)).await
    }

    async fn link_device(
        &self,
        device_id: &str,
        pub_id: i64,
        who: &str,
    ) -> Result<Result<Device, NotLinked>, StoreError> {
        let (id, who) = (device_id.to_owned(), who.to_owned());
        self.change(move |connection| change::link(connection, &id, pub_id, &who)).await
    }

    async fn list_certs(&self, after: &str, limit: i64) -> Result<Vec<DeviceCert>, StoreError> {
        let after = after.to_owned();
        self.read(move |connection| read::page_of_certs(connection, &after, limit)).await
    }

    async fn find_cert(&self, certificate_id: &str) -> Result<Option<DeviceCert>, StoreError> {
        let id = certificate_id.to_owned();
        self.read(move |connection| read::cert(connection, &id)).await
    }

    async fn list_audit(&self, before: Option<i64>, limit: i64) -> Result<Vec<Audited>, StoreError> {
        self.read(move |connection| read::page_of_audit(connection, before, limit)).await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }
}
