//! The allow-list in memory: what is asked at every connection, and who is connected by what.
//!
//! Rows are read from the store by several tasks at once. Each takes a number *before* it asks, and
//! what was asked for later wins: so whoever changes the store and then asks is never overwritten
//! by an older answer that arrives late. What an earlier process wrote down was asked for before everything.
//!
//! The lock is held for a thousand entries at most: connections are admitted in between.

use super::judge::{Anchor, Anchors};
use super::{Fingerprint, Identity, Refused};
use crate::store::Micros;
use crate::store::devices::{Ca, Listed, Role, Status};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

/// Identities remembered before those whose connections are gone are looked for.
const SWEEP_FROM: usize = 1024;

/// Entries changed under one hold of the lock.
const AT_ONCE: usize = 1000;

/// When the store was asked: higher is later. 0: an earlier process did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked(u64);

/// One certificate: what its row says. Some 250 bytes with its key and its device's name.
#[derive(Debug)]
struct Entry {
    device_id: Arc<str>,
    ca_id: Option<Arc<str>>,
    pub_id: Option<i64>,
    role: Role,
    status: Status,
    not_after: Micros,
    asked: Asked,
}

#[derive(Debug, Default)]
struct Maps {
    listed: HashMap<Fingerprint, Entry>,
    /// Every CA's id, and whether it counts.
    cas: Vec<(Arc<str>, bool)>,
    cas_asked: Asked,
    /// The store has told them.
    cas_are_fresh: bool,
    /// The same, as the judge wants them.
    anchors: Arc<Anchors>,
    /// Pubs of devices that have a certificate, revoked or not, and how many.
    bound: HashMap<i64, u32>,
    /// Those connected now, and some who were.
    live: HashMap<Fingerprint, Weak<Identity>>,
    sweep_at: usize,
    news: Option<News>,
}

/// What is to be written down of what changed, since that was asked for the last time.
#[derive(Debug, Default)]
struct News {
    listed: HashSet<Fingerprint>,
    cas: Option<Vec<Ca>>,
}

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
        let maps = Maps { news: Some(News::default()), ..Maps::default() };
        Self { maps: RwLock::new(maps), asks: AtomicU64::default() }
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
        let some: Vec<_> = news.listed.iter().take(AT_ONCE).copied().collect();
        for fingerprint in &some {
            news.listed.remove(fingerprint);
        }
        // What emptied is given back: the first time, everything is new.
        if news.listed.is_empty() {
            news.listed.shrink_to_fit();
        }
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

impl Entry {
    fn says_the_same(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.pub_id, it.role, it.status, it.not_after);
        of(self) == of(other) && self.device_id == other.device_id && self.ca_id == other.ca_id
    }
}

impl Maps {
    /// The entry's own status, or its CA's if that is worse.
    fn status(&self, entry: &Entry) -> Status {
        let is_revoked = |ca_id: &Arc<str>| self.cas.iter().any(|(id, is_active)| id == ca_id && !is_active);
        if entry.ca_id.as_ref().is_some_and(is_revoked) { Status::Revoked } else { entry.status }
    }

    fn judge(&self, entry: &Entry, now: Micros) -> Result<(), Refused> {
        match self.status(entry) {
            Status::Revoked => Err(Refused::Revoked),
            _ if entry.not_after < now => Err(Refused::Expired),
            Status::Pending => Err(Refused::Pending),
            Status::Active => Ok(()),
        }
    }

    fn put(&mut self, fingerprint: Fingerprint, listed: &Listed, asked: Asked) {
        let ca_id = listed.ca_id.as_deref().map(|ca_id| self.shared(ca_id));
        let (device_id, before) = match self.listed.entry(fingerprint) {
            Place::Occupied(place) if place.get().asked > asked => return,
            Place::Occupied(place) if *place.get().device_id == listed.device_id => {
                (Arc::clone(&place.get().device_id), place.get().pub_id)
            }
            Place::Occupied(place) => (listed.device_id.as_str().into(), place.get().pub_id),
            Place::Vacant(_) => (listed.device_id.as_str().into(), None),
        };
        self.unbind(before);
        if let Some(pub_id) = listed.pub_id {
            *self.bound.entry(pub_id).or_default() += 1;
        }
        let &Listed { pub_id, role, status, not_after, .. } = listed;
        let entry = Entry { device_id, ca_id, pub_id, role, status, not_after, asked };
        let is_news = asked != Asked::default()
            && self.listed.get(&fingerprint).is_none_or(|before| !before.says_the_same(&entry));
        self.listed.insert(fingerprint, entry);
        if is_news {
            self.note(fingerprint);
        }
    }

    fn note(&mut self, fingerprint: Fingerprint) {
        if let Some(news) = &mut self.news {
            news.listed.insert(fingerprint);
        }
    }

    fn of(&self, fingerprint: Fingerprint) -> Option<Listed> {
        let entry = self.listed.get(&fingerprint)?;
        Some(Listed {
            certificate_id: fingerprint.to_string(),
            device_id: entry.device_id.as_ref().to_owned(),
            pub_id: entry.pub_id,
            ca_id: entry.ca_id.as_deref().map(str::to_owned),
            role: entry.role,
            status: entry.status,
            not_after: entry.not_after,
        })
    }

    /// The CA's name without a copy of its own for each certificate.
    fn shared(&self, ca_id: &str) -> Arc<str> {
        let known = self.cas.iter().find(|(id, _)| **id == *ca_id);
        known.map_or_else(|| ca_id.into(), |(id, _)| Arc::clone(id))
    }

    fn remove(&mut self, fingerprint: Fingerprint) {
        if let Some(entry) = self.listed.remove(&fingerprint) {
            self.unbind(entry.pub_id);
            self.note(fingerprint);
        }
    }

    fn unbind(&mut self, pub_id: Option<i64>) {
        if let Some(pub_id) = pub_id
            && let Place::Occupied(mut count) = self.bound.entry(pub_id)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn put_cas(&mut self, cas: &[Ca], asked: Asked) -> bool {
        if self.cas_asked > asked {
            return false;
        }
        self.cas_asked = asked;
        let known: Vec<_> =
            cas.iter().map(|ca| (self.shared(&ca.ca_id), ca.status == Status::Active)).collect();
        if let Some(news) = &mut self.news
            && asked != Asked::default()
            && (known != self.cas || !self.cas_are_fresh)
        {
            news.cas = Some(cas.to_vec());
        }
        self.cas_are_fresh |= asked != Asked::default();
        if known == self.cas {
            return false;
        }
        self.cas = known;
        let read = |is_active: bool| {
            let of_kind = cas.iter().filter(move |ca| (ca.status == Status::Active) == is_active);
            of_kind.filter_map(anchor).collect()
        };
        self.anchors = Arc::new(Anchors::new(read(true), read(false)));
        true
    }

    fn enter(&mut self, fingerprint: Fingerprint, identity: &Arc<Identity>) {
        if self.live.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.live.retain(|_, identity| identity.strong_count() > 0);
            self.sweep_at = self.live.len() * 2;
        }
        self.live.insert(fingerprint, Arc::downgrade(identity));
    }

    /// Tells those connected by a certificate what is true of it now.
    fn settle(&mut self, fingerprint: Fingerprint, now: Micros) {
        let Some(identity) = self.live.get(&fingerprint).and_then(Weak::upgrade) else { return };
        match self.listed.get(&fingerprint) {
            Some(entry) if self.judge(entry, now).is_ok() && *entry.device_id == *identity.device_id() => {
                identity.follow(entry.role, entry.pub_id);
            }
            Some(_) | None => {
                identity.revoke();
                self.live.remove(&fingerprint);
            }
        }
    }
}

/// What cannot be read vouches for nobody: rows made by hand, or by another version.
fn anchor(ca: &Ca) -> Option<Anchor> {
    let der = CertificateDer::from_pem_slice(ca.pem.as_bytes());
    let read = der
        .map_err(|error| error.to_string())
        .and_then(|der| Anchor::read(&ca.ca_id, &der).map_err(|unfit| format!("its certificate {unfit}")));
    read.inspect_err(|why| log::error!("ca {} vouches for nobody: {why}", ca.ca_id)).ok()
}
