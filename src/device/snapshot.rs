//! The allow-list in memory: what is asked at every connection, and who is connected by what.
//!
//! Rows are read from the store by several tasks at once. Each takes a number *before* it asks, and
//! what was asked for later wins: so whoever changes the store and then asks is never overwritten
//! by an older answer that arrives late. What an earlier process wrote down was asked for before everything.
//!
//! The lock is held for a thousand entries at most: connections are admitted in between.

mod maps;
#[cfg(test)]
mod tests;

use super::judge::Anchors;
use super::{Fingerprint, Identity, Refused};
use crate::store::Micros;
use crate::store::devices::{Ca, Listed, Status};
use maps::{Entry, Maps};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

/// Entries changed under one hold of the lock.
const AT_ONCE: usize = 1000;

/// When the store was asked: higher is later. 0: an earlier process did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked(u64);

/// A certificate by its id, and what became of it; `None`: it is listed no more.
pub(super) type Became = (String, Option<Listed>);

/// See the file's doc.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    maps: RwLock<Maps>,
    asks: AtomicU64,
}

/// Certificates by status: (active, pending, revoked).
pub(super) type Counts = [u64; 3];

impl Snapshot {
    /// One that notes what changes, for whoever writes it down.
    pub(super) fn noting() -> Self {
        Self { maps: RwLock::new(Maps::noting()), asks: AtomicU64::default() }
    }

    /// To be called before the store is asked for what will be put here.
    pub(super) fn ask(&self) -> Asked {
        Asked(self.asks.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The identity of a known certificate, shared by its connections. `None`: not known here.
    pub(super) fn admit(
        &self,
        certificate_id: &str,
        fingerprint: Fingerprint,
        now: Micros,
    ) -> Option<Result<Arc<Identity>, Refused>> {
        // Looked up and entered under one lock: a revocation comes before both or finds it.
        let mut maps = self.write();
        let entry = maps.listed.get(&fingerprint)?;
        if let Err(refused) = maps.judge(entry, now) {
            return Some(Err(refused));
        }
        if let Some(connected) = maps.live.get(&fingerprint).and_then(Weak::upgrade) {
            return Some(Ok(connected));
        }
        let device_id = Arc::clone(&entry.device_id);
        let identity = Arc::new(Identity::new(device_id, certificate_id, entry.role, entry.pub_id));
        maps.enter(fingerprint, &identity);
        Some(Ok(identity))
    }

    /// What is held against a certificate, as far as is known here.
    pub(super) fn objection(&self, fingerprint: Fingerprint, now: Micros) -> Option<Refused> {
        let maps = self.read();
        maps.judge(maps.listed.get(&fingerprint)?, now).err()
    }

    /// Whether the pub belongs to a device that has a certificate.
    pub(super) fn is_bound(&self, pub_id: i64) -> bool {
        self.read().bound.contains_key(&pub_id)
    }

    /// The CAs that may vouch for devices, and those that were revoked.
    pub(super) fn anchors(&self) -> Arc<Anchors> {
        Arc::clone(&self.read().anchors)
    }

    /// Takes in what the store says of one certificate.
    pub(super) fn put(&self, listed: &Listed, asked: Asked) {
        if let Some(fingerprint) = Fingerprint::parse(&listed.certificate_id) {
            let mut maps = self.write();
            maps.put(fingerprint, listed, asked);
            maps.settle(fingerprint, Micros::MIN);
        }
    }

    /// Takes in all CAs. Whether their set changed.
    pub(super) fn put_cas(&self, cas: &[Ca], asked: Asked) -> bool {
        let has_changed = self.write().put_cas(cas, asked);
        if has_changed {
            self.settle_all(Micros::MIN);
        }
        has_changed
    }

    /// Takes in a part of everything; see [`Self::forget_before`].
    pub(super) fn put_all(&self, listed: &[Listed], asked: Asked) {
        for listed in listed.chunks(AT_ONCE) {
            let mut maps = self.write();
            for listed in listed {
                if let Some(fingerprint) = Fingerprint::parse(&listed.certificate_id) {
                    maps.put(fingerprint, listed, asked);
                    maps.settle(fingerprint, Micros::MIN);
                }
            }
        }
    }

    /// Everything was asked for: what was not there is gone, but for those who are connected by it;
    /// they are returned, to be asked for by themselves.
    pub(super) fn forget_before(&self, asked: Asked) -> Vec<String> {
        let is_older = |entry: &Entry| entry.asked < asked;
        let gone: Vec<_> =
            self.read().listed.iter().filter(|(_, entry)| is_older(entry)).map(|(it, _)| *it).collect();
        let mut connected = Vec::new();
        for gone in gone.chunks(AT_ONCE) {
            let mut maps = self.write();
            for fingerprint in gone {
                if maps.live.get(fingerprint).is_some_and(|identity| identity.strong_count() > 0) {
                    connected.push(fingerprint.to_string());
                } else if maps.listed.get(fingerprint).is_some_and(is_older) {
                    maps.remove(*fingerprint);
                }
            }
        }
        connected
    }

    /// The store does not have it.
    pub(super) fn remove(&self, certificate_id: &str, asked: Asked) {
        if let Some(fingerprint) = Fingerprint::parse(certificate_id) {
            let mut maps = self.write();
            if maps.listed.get(&fingerprint).is_some_and(|entry| entry.asked < asked) {
                maps.remove(fingerprint);
                maps.settle(fingerprint, Micros::MIN);
            }
        }
    }

    /// Takes in what an earlier process wrote down: whatever was or will be asked for overrides it.
    pub(super) fn recall(&self, cas: &[Ca], listed: &[Listed]) {
        self.put_cas(cas, Asked::default());
        self.put_all(listed, Asked::default());
    }

    /// Whether there is something to write down.
    pub(super) fn has_news(&self) -> bool {
        self.read().news.as_ref().is_some_and(|news| news.cas.is_some() || !news.listed.is_empty())
    }

    /// What is to be written down: the CAs, if they changed, and some of the certificates that did.
    pub(super) fn take_news(&self) -> (Option<Vec<Ca>>, Vec<Became>) {
        let mut maps = self.write();
        let Some(news) = &mut maps.news else { return (None, Vec::new()) };
        let cas = news.cas.take();
        let some: Vec<_> = std::iter::from_fn(|| news.listed.pop_first()).take(AT_ONCE).collect();
        (cas, some.into_iter().map(|it| (it.to_string(), maps.of(it))).collect())
    }

    /// It could not be written down; newer news go before it.
    pub(super) fn put_back(&self, cas: Option<Vec<Ca>>, listed: &[Became]) {
        let mut maps = self.write();
        if let Some(news) = &mut maps.news {
            news.cas = news.cas.take().or(cas);
            news.listed.extend(listed.iter().filter_map(|(id, _)| Fingerprint::parse(id)));
        }
    }

    /// What is true of one certificate, as it would be written down.
    pub(super) fn find(&self, certificate_id: &str) -> Option<Listed> {
        self.read().of(Fingerprint::parse(certificate_id)?)
    }

    /// Ends those whose certificate has expired while they are connected.
    pub(super) fn expire(&self, now: Micros) {
        self.settle_all(now);
    }

    /// Tells everybody connected what is true of his certificate now.
    fn settle_all(&self, now: Micros) {
        let live: Vec<Fingerprint> = self.read().live.keys().copied().collect();
        for live in live.chunks(AT_ONCE) {
            let mut maps = self.write();
            live.iter().for_each(|fingerprint| maps.settle(*fingerprint, now));
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let maps = self.read();
        let mut counts = Counts::default();
        for entry in maps.listed.values() {
            let [active, pending, revoked] = &mut counts;
            *match maps.status(entry) {
                Status::Active => active,
                Status::Pending => pending,
                Status::Revoked => revoked,
            } += 1;
        }
        counts
    }

    // Nothing below panics half-way through a change, so poison is passed over.
    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }
}
