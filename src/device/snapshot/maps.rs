//! What the snapshot holds, under its lock: no locks and no clock here.

use super::Asked;
use crate::device::judge::{Anchor, Anchors};
use crate::device::{Fingerprint, Identity, Refused};
use crate::store::Micros;
use crate::store::devices::{Ca, Listed, Role, Status};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::hash_map::Entry as Place;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

/// Identities remembered before those whose connections are gone are looked for.
const SWEEP_FROM: usize = 1024;

/// One certificate: what its row says. Some 250 bytes with its key and its device's name.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) device_id: Arc<str>,
    ca_id: Option<Arc<str>>,
    pub(super) pub_id: Option<i64>,
    pub(super) role: Role,
    status: Status,
    not_after: Micros,
    pub(super) asked: Asked,
}

#[derive(Debug, Default)]
pub(super) struct Maps {
    pub(super) listed: HashMap<Fingerprint, Entry>,
    /// Every CA's id, and whether it counts.
    cas: Vec<(Arc<str>, bool)>,
    cas_asked: Asked,
    /// The store has told them.
    cas_are_fresh: bool,
    /// The same, as the judge wants them.
    pub(super) anchors: Arc<Anchors>,
    /// Pubs of devices that have a certificate, revoked or not, and how many.
    pub(super) bound: HashMap<i64, u32>,
    /// Those connected now, and some who were.
    pub(super) live: HashMap<Fingerprint, Weak<Identity>>,
    sweep_at: usize,
    pub(super) news: Option<News>,
}

/// What is to be written down of what changed, since that was asked for the last time.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) listed: BTreeSet<Fingerprint>,
    pub(super) cas: Option<Vec<Ca>>,
}

impl Entry {
    fn says_the_same(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.pub_id, it.role, it.status, it.not_after);
        of(self) == of(other) && self.device_id == other.device_id && self.ca_id == other.ca_id
    }
}

impl Maps {
    /// Empty ones that note what changes.
    pub(super) fn noting() -> Self {
        Self { news: Some(News::default()), ..Self::default() }
    }

    /// The entry's own status, or its CA's if that is worse.
    pub(super) fn status(&self, entry: &Entry) -> Status {
        let is_revoked = |ca_id: &Arc<str>| self.cas.iter().any(|(id, is_active)| id == ca_id && !is_active);
        if entry.ca_id.as_ref().is_some_and(is_revoked) { Status::Revoked } else { entry.status }
    }

    pub(super) fn judge(&self, entry: &Entry, now: Micros) -> Result<(), Refused> {
        match self.status(entry) {
            Status::Revoked => Err(Refused::Revoked),
            _ if entry.not_after < now => Err(Refused::Expired),
            Status::Pending => Err(Refused::Pending),
            Status::Active => Ok(()),
        }
    }

    pub(super) fn put(&mut self, fingerprint: Fingerprint, listed: &Listed, asked: Asked) {
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

    pub(super) fn of(&self, fingerprint: Fingerprint) -> Option<Listed> {
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

    pub(super) fn remove(&mut self, fingerprint: Fingerprint) {
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

    pub(super) fn put_cas(&mut self, cas: &[Ca], asked: Asked) -> bool {
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

    pub(super) fn enter(&mut self, fingerprint: Fingerprint, identity: &Arc<Identity>) {
        if self.live.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.live.retain(|_, identity| identity.strong_count() > 0);
            self.sweep_at = self.live.len() * 2;
        }
        self.live.insert(fingerprint, Arc::downgrade(identity));
    }

    /// Tells those connected by a certificate what is true of it now.
    pub(super) fn settle(&mut self, fingerprint: Fingerprint, now: Micros) {
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
