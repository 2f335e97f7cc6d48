//! Who devices are, as the store keeps it: devices, their certificates, the CAs that vouch for
//! them. What a certificate is worth is judged above (`device/`); here are rows and transactions.
//!
//! `rows` is what the tables hold, `enrolment` a certificate on its way into them, `rules` (pure) what may be
//! listed, `change` what nodes tell each other.

mod change;
mod enrolment;
mod rows;
pub(super) mod rules;

pub(super) use change::Changes;
pub use change::{Change, Revocation};
pub use enrolment::{Enrolment, Grounds, NotEnrolled};
pub use rows::{Audited, Ca, Device, DeviceCert, Listed, Role, Status};

use super::StoreError;
use async_trait::async_trait;
use tokio::sync::broadcast;

/// Why a device was not linked to a pub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotLinked {
    /// No such device.
    UnknownDevice,
    /// No such pub.
    UnknownPub,
    /// The pub is another device's.
    Taken {
        /// That one.
        device_id: String,
    },
}

/// The part of a store that knows devices. Every change notes `who` did it in `audit`, in the same
/// transaction, and is announced to all nodes.
#[async_trait]
pub trait Devices: Send + Sync {
    /// Entries with `certificate_id > after`, ascending, at most `limit`.
    async fn list_listed(&self, after: &str, limit: i64) -> Result<Vec<Listed>, StoreError>;

    /// The entry of one certificate.
    async fn find_listed(&self, certificate_id: &str) -> Result<Option<Listed>, StoreError>;

    /// The entries of one device.
    async fn listed_of(&self, device_id: &str) -> Result<Vec<Listed>, StoreError>;

    /// Lists a certificate, and makes its device with a pub if there is none. Listed before for the
    /// same device: its entry. `Grounds::Listed` raises the role of one to [`Role::Service`] if that
    /// is asked for; it and `Grounds::Issued` approve a device that waits for approval. Safe in a race.
    async fn enrol(
        &self,
        enrolment: &Enrolment,
        who: &str,
    ) -> Result<Result<Listed, NotEnrolled>, StoreError>;

    /// Revokes; how many entries of the allow-list that ended. `None`: no such thing.
    async fn revoke(&self, what: &Revocation, who: &str) -> Result<Option<u64>, StoreError>;

    /// Registers a CA; one that is there already is the error's content. `created_at` is the store's.
    async fn add_ca(&self, ca: &Ca, who: &str) -> Result<Result<Ca, Ca>, StoreError>;

    /// All CAs, revoked ones too, by age.
    async fn list_cas(&self) -> Result<Vec<Ca>, StoreError>;

    /// Devices with `device_id > after`, ascending, at most `limit`.
    async fn list_devices(&self, after: &str, limit: i64) -> Result<Vec<Device>, StoreError>;

    /// One device.
    async fn find_device(&self, device_id: &str) -> Result<Option<Device>, StoreError>;

    /// Makes a pending device active. `None`: no such device; else its status before.
    async fn approve_device(&self, device_id: &str, who: &str) -> Result<Option<Status>, StoreError>;

    /// Gives a device another pub; the pub it had stays.
    async fn link_device(
        &self,
        device_id: &str,
        pub_id: i64,
        who: &str,
    ) -> Result<Result<Device, NotLinked>, StoreError>;

    /// Certificates with `certificate_id > after`, ascending, at most `limit`.
    async fn list_certs(&self, after: &str, limit: i64) -> Result<Vec<DeviceCert>, StoreError>;

    /// One certificate.
    async fn find_cert(&self, certificate_id: &str) -> Result<Option<DeviceCert>, StoreError>;

    /// The latest entries of the audit with `id < before` (`None`: all), descending, at most `limit`.
    async fn list_audit(&self, before: Option<i64>, limit: i64) -> Result<Vec<Audited>, StoreError>;

    /// Changes by other processes, and perhaps by this one, from now on; told while
    /// [`Store::hear`](super::Store::hear) runs.
    fn changes(&self) -> broadcast::Receiver<Change>;
}
