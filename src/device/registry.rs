//! The registry: one for all ports, asked at every connection that shows a certificate.

use super::snapshot::Snapshot;
use super::{Fingerprint, Refused};
use crate::net::rate::PerIpRate;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::store::devices::Change;
use crate::store::spool::SpoolFile;
use crate::store::{Store, StoreError, now};
use governor::Quota;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, watch};

/// Rows of the allow-list read at a time.
const PAGE: i64 = 1_000;

/// Certificates that are not known here which one address may show in a second, in the long run.
/// Each costs the database a question. A site that is switched on for the first time needs one for
/// each device; a stranger could make a million.
const UNKNOWN_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// The same, at once.
const UNKNOWN_AT_ONCE: NonZeroU32 = NonZeroU32::new(200).expect("not zero");

/// Such questions under way at a time: the pool's other connections are for those who are known.
const ASKING: usize = 2;

/// Who may speak, as far as this server knows; see the room's doc.
pub struct Registry {
    pub(super) store: Arc<dyn Store>,
    pub(super) snapshot: Snapshot,
    pub(super) asking: Semaphore,
    pub(super) strangers: PerIpRate,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    /// Where the snapshot is written down, for a start without the database.
    pub(super) file: Option<Arc<SpoolFile>>,
    /// All of the allow-list is here, of whatever age.
    is_loaded: AtomicBool,
    /// Counts the changes of the set of CAs.
    cas: watch::Sender<u64>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

impl Registry {
    /// An empty one; see [`Registry::reload`]. What it learns is kept in `file`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        file: Option<Arc<SpoolFile>>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let quota = Quota::per_second(UNKNOWN_PER_SECOND).allow_burst(UNKNOWN_AT_ONCE);
        Self {
            store,
            snapshot: if file.is_some() { Snapshot::noting() } else { Snapshot::default() },
            asking: Semaphore::new(ASKING),
            strangers: PerIpRate::new(quota),
            health,
            metrics,
            file,
            is_loaded: AtomicBool::new(false),
            cas: watch::Sender::default(),
        }
    }

    /// Whether the pub belongs to a device that has a certificate. One that is revoked counts too:
    /// whoever lost it must not go on by leaving it off. `None`: nobody can tell yet.
    #[must_use]
    pub fn pub_is_bound(&self, pub_id: i64) -> Option<bool> {
        self.is_loaded().then(|| self.snapshot.is_bound(pub_id))
    }

    /// Whether all of the allow-list is known here, of now or of an earlier time.
    pub(super) fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    pub(super) fn set_loaded(&self) {
        self.is_loaded.store(true, Ordering::Release);
    }

    /// What is held against the certificate as far as is known here, without asking anybody: for
    /// a handshake that cannot wait. `None` is no acceptance.
    #[must_use]
    pub fn objection(&self, certificate_id: &str) -> Option<Refused> {
        self.snapshot.objection(Fingerprint::parse(certificate_id)?, now())
    }

    /// Changes whenever the set of CAs does: sessions begun before are to be forgotten.
    #[must_use]
    pub fn cas_changed(&self) -> watch::Receiver<u64> {
        self.cas.subscribe()
    }

    /// Brings a change of the store into force: when this returns, new connections are judged by
    /// it, and open ones that it ended have been told. Whoever changes the store through this
    /// process calls it before he answers.
    ///
    /// # Errors
    /// The store does not tell; [`follow`](super::follow) asks again until it does.
    pub async fn changed(&self, change: &Change) -> Result<(), StoreError> {
        let asked = self.snapshot.ask();
        match change {
            Change::Certificate(id) => return self.ask_for(id).await,
            Change::Device(device_id) => {
                let listed = self.store.listed_of(device_id).await?;
                self.snapshot.put_all(&listed, asked);
            }
            Change::Ca(_) => {
                let cas = self.store.list_cas().await?;
                self.tell_cas(self.snapshot.put_cas(&cas, asked));
            }
            Change::Everything => return self.reload().await,
        }
        Ok(())
    }

    /// Brings into force what the store says of one certificate.
    async fn ask_for(&self, certificate_id: &str) -> Result<(), StoreError> {
        let asked = self.snapshot.ask();
        match self.store.find_listed(certificate_id).await? {
            Some(listed) => self.snapshot.put(&listed, asked),
            None => self.snapshot.remove(certificate_id, asked),
        }
        Ok(())
    }

    /// Reads everything anew, page by page; what was not there at the end is gone.
    ///
    /// # Errors
    /// The store does not tell; what is not read anew stays in force as it was.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let asked = self.snapshot.ask();
        let cas = self.store.list_cas().await?;
        self.tell_cas(self.snapshot.put_cas(&cas, asked));
        let mut after = String::new();
        loop {
            let page = self.store.list_listed(&after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.certificate_id);
            self.snapshot.put_all(&page, asked);
        }
        // One that was registered after its page was read is not gone: nobody is cut off unasked.
        for connected in self.snapshot.forget_before(asked) {
            self.ask_for(&connected).await?;
        }
        self.set_loaded();
        Ok(())
    }

    /// Shows how many certificates there are.
    pub(super) fn count(&self) {
        self.metrics.devices.certificates(self.snapshot.counts());
    }

    pub(super) fn tell_cas(&self, has_changed: bool) {
        if has_changed {
            self.cas.send_modify(|count| *count += 1);
        }
    }
}
