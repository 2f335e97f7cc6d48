//! The operator's calls, each on a connection of the pool and under its deadline.

use super::{CALL_DEADLINE, Postgres, conflicts, subs};
use crate::store::{Kept, People, Registration, Resolution, Resolved, StoreError, Sub, Unresolved};
use async_trait::async_trait;

#[async_trait]
impl People for Postgres {
    async fn add_sub(&self, registration: &Registration, who: &str) -> Result<Result<Sub, Sub>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let mut client = self.client().await?;
            let added = subs::add(&mut client, registration, who).await?;
            client.give_back();
            Ok(added)
        })
        .await
    }

    async fn remove_sub(&self, email: &str, who: &str) -> Result<Option<i64>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let mut client = self.client().await?;
            let removed = subs::remove(&mut client, email, who).await?;
            client.give_back();
            Ok(removed)
        })
        .await
    }

    async fn list_subs(&self, after: i64, limit: i64) -> Result<Vec<Sub>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let client = self.client().await?;
            let found = subs::list(&client, after, limit).await?;
            client.give_back();
            Ok(found)
        })
        .await
    }

    async fn list_confirmations(
        &self,
        conflicts: bool,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Kept>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let client = self.client().await?;
            let found = conflicts::list(&client, conflicts, after, limit).await?;
            client.give_back();
            Ok(found)
        })
        .await
    }

    async fn resolve(
        &self,
        resolution: &Resolution,
        who: &str,
    ) -> Result<Result<Resolved, Unresolved>, StoreError> {
        self.within(CALL_DEADLINE, async {
            let mut client = self.client().await?;
            let resolved = conflicts::resolve(&mut client, resolution, who).await?;
            client.give_back();
            Ok(resolved)
        })
        .await
    }
}
