//! The operator's calls, each a job for one of the two threads.

use super::{Embedded, conflicts, subs};
use crate::store::{Kept, People, Registration, Resolution, Resolved, StoreError, Sub, Unresolved};
use async_trait::async_trait;

#[async_trait]
impl People for Embedded {
    async fn add_sub(&self, registration: &Registration, who: &str) -> Result<Result<Sub, Sub>, StoreError> {
        let (registration, who) = (registration.clone(), who.to_owned());
        self.write(move |connection| subs::add(connection, &registration, &who)).await
    }

    async fn remove_sub(&self, email: &str, who: &str) -> Result<Option<i64>, StoreError> {
        let (email, who) = (email.to_owned(), who.to_owned());
        self.write(move |connection| subs::remove(connection, &email, &who)).await
    }

    async fn list_subs(&self, after: i64, limit: i64) -> Result<Vec<Sub>, StoreError> {
        self.read(move |connection| subs::list(connection, after, limit)).await
    }

    async fn list_confirmations(
        &self,
        conflicts: bool,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Kept>, StoreError> {
        self.read(move |connection| conflicts::list(connection, conflicts, after, limit)).await
    }

    async fn resolve(
        &self,
        resolution: &Resolution,
        who: &str,
    ) -> Result<Result<Resolved, Unresolved>, StoreError> {
        let (resolution, who) = (resolution.clone(), who.to_owned());
        self.write(move |connection| conflicts::resolve(connection, &resolution, &who)).await
    }
}
