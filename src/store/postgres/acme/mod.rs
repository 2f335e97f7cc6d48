//! What nodes share of ACME: one account, one order at a time, one certificate.
//!
//! The interface is the acme room's ([`Cache`]); its tables are here. Every write but that of
//! a challenge first locks the lease's row and compares the fence, in the same statement, so a
//! node that slept through the end of its lease changes nothing. The database's clock rules.
//!
//! `lease` says who may write, `rows` reads and writes; keys pass through the sealer there.

mod lease;
mod rows;

use super::{CALL_DEADLINE, checkout::Checkout, connect::Dialer, fault::Fault, within};
use crate::{
    acme::{
        Account, Backoff, Cache, CacheError, Certificate, ChallengeAnswer, ChallengeKind, Lease, Pending,
        Secret,
    },
    store::{Sealer, StoreError},
};
use async_trait::async_trait;
use deadpool_postgres::Pool;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, time::sleep};

/// How often a node asks for another's certificate: one row by its key. A renewal has weeks,
/// but the first certificate of a cluster is waited for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The cache of all nodes with this name's configuration.
pub(super) struct SharedCache {
    dialer: Arc<Dialer>,
    pool: Pool,
    name: String,
    sealer: Sealer,
    /// The version last handed out; what [`Cache::changed`] compares with.
    seen: AtomicI64,
    /// Strangers can ask for challenges; together they hold one connection at most, so that
    /// devices need not wait for them.
    lookups: Semaphore,
}

/// No version is smaller.
const NONE_SEEN: i64 = 0;

impl SharedCache {
    pub(super) fn new(dialer: Arc<Dialer>, pool: Pool, name: String, sealer: Sealer) -> Self {
        Self { dialer, pool, name, sealer, seen: AtomicI64::new(NONE_SEEN), lookups: Semaphore::new(1) }
    }

    /// Lends a connection to one piece of work, within the deadline of any question.
    async fn ask<T, F>(&self, work: impl FnOnce(Checkout) -> F + Send) -> Result<T, CacheError>
    where
        F: Future<Output = Result<(T, Checkout), Fault>> + Send,
    {
        let asked = within(&self.dialer, CALL_DEADLINE, async {
            let client = self.dialer.take(&self.pool).await?;
            let (answer, client) = work(client).await?;
            client.give_back();
            Ok(answer)
        });
        asked.await.map_err(|error| match error {
            StoreError::Unavailable(text) | StoreError::Busy(text) => CacheError::Unavailable(text),
            StoreError::Refused(_) | StoreError::Unsafe(_) | StoreError::SchemaTooNew { .. } => {
                CacheError::Refused(error.to_string())
            }
        })
    }

    async fn version(&self) -> Result<Option<i64>, CacheError> {
        self.ask(|client| async { Ok((rows::version(&client, &self.name).await?, client)) }).await
    }
}

/// `None` from a write under the fence means that it is no longer the newest.
fn fenced<T>(written: Option<T>) -> Result<T, CacheError> {
    written.ok_or(CacheError::LeaseLost)
}

#[async_trait]
impl Cache for SharedCache {
    async fn take_lease(&self, holder: &str) -> Result<Option<Lease>, CacheError> {
        let fence = self
            .ask(|client| async { Ok((lease::take(&client, &self.name, holder).await?, client)) })
            .await?;
        Ok(fence.map(Lease::new))
    }

    async fn extend_lease(&self, lease: &Lease) -> Result<(), CacheError> {
        let fence = lease.fence;
        fenced(
            self.ask(|client| async { Ok((lease::extend(&client, &self.name, fence).await?, client)) })
                .await?,
        )
    }

    async fn release_lease(&self, lease: Lease) -> Result<(), CacheError> {
        let fence = lease.fence;
        self.ask(|client| async { Ok((lease::release(&client, &self.name, fence).await?, client)) }).await
    }

    async fn account(&self, directory: &str) -> Result<Option<Account>, CacheError> {
        self.ask(|client| async { Ok((rows::account(&client, &self.sealer, directory).await?, client)) })
            .await
    }

    async fn keep_account(&self, lease: &Lease, account: &Account) -> Result<(), CacheError> {
        let mine = (self.name.as_str(), lease.fence);
        fenced(
            self.ask(|client| async {
                Ok((rows::keep_account(&client, &self.sealer, mine, account).await?, client))
            })
            .await?,
        )
    }

    async fn pending(&self) -> Result<Option<Pending>, CacheError> {
        self.ask(|client| async { Ok((rows::pending(&client, &self.sealer, &self.name).await?, client)) })
            .await
    }

    async fn keep_pending(&self, lease: &Lease, pending: Option<&Pending>) -> Result<(), CacheError> {
        let mine = (self.name.as_str(), lease.fence);
        fenced(
            self.ask(|client| async {
                Ok((rows::keep_pending(&client, &self.sealer, mine, pending).await?, client))
            })
            .await?,
        )
    }

    async fn certificate(&self) -> Result<Option<(i64, Certificate)>, CacheError> {
        // Asked first and apart: whatever becomes of the row, this version has been looked at.
        let version = self.version().await?;
        self.seen.store(version.unwrap_or(NONE_SEEN), Ordering::Relaxed);
        self.ask(|client| async { Ok((rows::certificate(&client, &self.sealer, &self.name).await?, client)) })
            .await
    }

    async fn certificate_version(&self) -> Result<Option<i64>, CacheError> {
        self.version().await
    }

    async fn keep_certificate(&self, lease: &Lease, certificate: &Certificate) -> Result<i64, CacheError> {
        let mine = (self.name.as_str(), lease.fence);
        fenced(
            self.ask(|client| async {
                Ok((rows::keep_certificate(&client, &self.sealer, mine, certificate).await?, client))
            })
            .await?,
        )
    }

    async fn backoff(&self) -> Result<Backoff, CacheError> {
        self.ask(|client| async { Ok((lease::backoff(&client, &self.name).await?, client)) }).await
    }

    async fn keep_backoff(&self, lease: &Lease, backoff: &Backoff) -> Result<(), CacheError> {
        let mine = (self.name.as_str(), lease.fence);
        fenced(
            self.ask(|client| async { Ok((lease::keep_backoff(&client, mine, backoff).await?, client)) })
                .await?,
        )
    }

    async fn publish_challenge(&self, answer: &ChallengeAnswer) -> Result<(), CacheError> {
        self.ask(|client| async { Ok((rows::publish(&client, answer).await?, client)) }).await
    }

    async fn challenge(&self, kind: ChallengeKind, ident: &str) -> Result<Option<Secret>, CacheError> {
        let closed = |_| CacheError::Unavailable("shutting down".to_owned());
        let _turn = self.lookups.acquire().await.map_err(closed)?;
        self.ask(|client| async { Ok((rows::challenge(&client, kind, ident).await?, client)) }).await
    }

    async fn withdraw_challenge(&self, kind: ChallengeKind, ident: &str) -> Result<(), CacheError> {
        self.ask(|client| async { Ok((rows::withdraw(&client, kind, ident).await?, client)) }).await
    }

    /// Polls: it asks for no connection of its own, as LISTEN would, and passes through poolers.
    async fn changed(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            let seen = self.seen.load(Ordering::Relaxed);
            if self.version().await.is_ok_and(|version| version.unwrap_or(NONE_SEEN) != seen) {
                return;
            }
        }
    }
}
