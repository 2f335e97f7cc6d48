//! Who owns devices, and the conflicts between owners: what the operator asks of a store.

use super::{Micros, StoreError};
use async_trait::async_trait;

/// A registered user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sub {
    /// `sub.sub_id`, the `creator` of devices.
    pub sub_id: i64,
    /// As given; compared without regard to case.
    pub email: String,
    /// For the operator.
    pub name: Option<String>,
    /// For the operator.
    pub phone: Option<String>,
    /// When the user was registered.
    pub created_at: Micros,
}

/// A user to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The e-mail of their confirmations.
    pub email: String,
    /// For the operator.
    pub name: Option<String>,
    /// For the operator.
    pub phone: Option<String>,
}

/// A stored confirmation as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// One sequence for `confo` and `cconfo`.
    pub id: i64,
    /// By the server's clock.
    pub saved_at: Micros,
    /// As confirmed.
    pub device_name: String,
    /// As confirmed.
    pub ssid: String,
    /// The token.
    pub hash: i64,
    /// The device.
    pub pub_id: i64,
    /// Who confirmed, registered or not.
    pub email: Option<String>,
    /// Who owns the device now, registered or not.
    pub owner: Option<String>,
    /// It lies in `cconfo`.
    pub conflict: bool,
}

/// The end of a conflict: whose the device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The token that several users configured.
    pub hash: i64,
    /// E-mail of the registered user whose it is from now on.
    pub owner: String,
}

/// What a resolution did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The device.
    pub pub_id: i64,
    /// Its creator before.
    pub before: Option<i64>,
    /// Its creator now.
    pub creator: i64,
    /// Confirmations that moved from `cconfo` to `confo`.
    pub settled: u64,
}

/// Why nothing was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No device has this hash.
    UnknownHash,
    /// The e-mail is not registered.
    UnknownOwner,
}

/// The part of a store that the operator's commands ask. `who` did it goes to `audit`, in the
/// same transaction.
#[async_trait]
pub trait People: Send + Sync {
    /// Registers a user; one seen before keeps the id. Whoever has the e-mail already is the
    /// error's content.
    async fn add_sub(&self, registration: &Registration, who: &str) -> Result<Result<Sub, Sub>, StoreError>;

    /// Deregisters a user, who keeps the id and goes on being known by it. `None` if there is none.
    async fn remove_sub(&self, email: &str, who: &str) -> Result<Option<i64>, StoreError>;

    /// Users with `sub_id > after`, ascending, at most `limit`.
    async fn list_subs(&self, after: i64, limit: i64) -> Result<Vec<Sub>, StoreError>;

    /// Confirmations with `id > after`, ascending, at most `limit`; of `cconfo` alone if wanted.
    async fn list_confirmations(
        &self,
        conflicts: bool,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Kept>, StoreError>;

    /// Gives a device to one of its users and settles its conflicts: every confirmation of
    /// its hash moves from `cconfo` to `confo`, so that the app gets the id.
    async fn resolve(
        &self,
        resolution: &Resolution,
        who: &str,
    ) -> Result<Result<Resolved, Unresolved>, StoreError>;
}

impl Resolved {
    /// The line of `audit`.
    pub(super) fn subject(&self, hash: i64) -> String {
        let before = self.before.map_or_else(|| "nobody".to_owned(), |sub| format!("sub {sub}"));
        let Self { pub_id, creator, settled, .. } = self;
        format!("hash {hash}: pub {pub_id} from {before} to sub {creator}, {settled} conflicts settled")
    }
}
