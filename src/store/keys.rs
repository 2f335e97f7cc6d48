//! Keys of the HTTPS API beside the configured one: named, so that one can be retired while the
//! others go on.

use super::{Micros, StoreError};
use async_trait::async_trait;

/// A row of `api_key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// What the audit calls it.
    pub name: String,
    /// Lower-case hex SHA-256 of the key, which itself is kept nowhere.
    pub key_hash: String,
    /// When it was made.
    pub created_at: Micros,
    /// When it stopped being accepted.
    pub retired_at: Option<Micros>,
}

/// The part of a store that knows API keys. `who` did it goes to `audit`, in the same transaction.
#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// Adds a key. The one that has this name or hash already, retired or not, is the error's content.
    async fn add_key(
        &self,
        name: &str,
        key_hash: &str,
        who: &str,
    ) -> Result<Result<ApiKey, ApiKey>, StoreError>;

    /// Retires a key, for ever; one that is retired stays so. `None`: no such key.
    async fn retire_key(&self, name: &str, who: &str) -> Result<Option<ApiKey>, StoreError>;

    /// All keys, retired ones too, by name: an operator makes a handful.
    async fn list_keys(&self) -> Result<Vec<ApiKey>, StoreError>;
}
