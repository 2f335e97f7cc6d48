//! For which devices a connection may speak: its own, any, or those that have no certificate.

use crate::device::{Identity, Registry};
use crate::protocol::packet::PubRef;
use crate::protocol::reply::Refusal;
use crate::store::devices::Role;
use std::sync::Arc;

/// Who is at the other end of a connection.
pub(super) struct Speaker {
    identity: Option<Arc<Identity>>,
    /// Knows whose ids need a certificate; none where certificates are not asked for.
    registry: Option<Arc<Registry>>,
}

impl Speaker {
    pub(super) const fn new(identity: Option<Arc<Identity>>, registry: Option<Arc<Registry>>) -> Self {
        Self { identity, registry }
    }

    /// Whether it may speak for its own device only.
    pub(super) fn is_device(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.role() == Role::Device)
    }

    /// The pub of its own device.
    pub(super) fn own(&self) -> Option<i64> {
        self.identity.as_ref()?.pub_id()
    }

    /// Puts in the id that a certificate makes needless, and refuses one that is another's.
    pub(super) fn name(&self, device: &mut PubRef) -> Result<(), Refusal> {
        match *device {
            PubRef { id: None, hash: None } => {
                device.id = Some(self.own().ok_or(Refusal::MissingDevice)?);
                Ok(())
            }
            PubRef { id: Some(id), .. } if self.is_device() && Some(id) != self.own() => {
                Err(Refusal::NotThisDevice(id))
            }
            PubRef { .. } => Ok(()),
        }
    }

    /// What is in the way of a line that turned out to be of `pub_id`.
    pub(super) fn objection(&self, named: PubRef, pub_id: i64) -> Option<Refusal> {
        if self.is_device() {
            return (Some(pub_id) != self.own()).then(|| not_own(named));
        }
        let registry = self.registry.as_ref().filter(|_| self.identity.is_none())?;
        match registry.pub_is_bound(pub_id) {
            Some(false) => None,
            Some(true) => Some(match named {
                PubRef { id: Some(id), .. } => Refusal::NeedsCertificate(id),
                PubRef { id: None, hash } => Refusal::HashNeedsCertificate(hash.unwrap_or_default()),
            }),
            // Its device may have a certificate: better asked again than spoken for by a stranger.
            None => Some(Refusal::Unavailable),
        }
    }

    /// What is in the way of a device that cannot be looked for now, and is made later if it is not there.
    pub(super) fn objection_unseen(&self, named: PubRef) -> Option<Refusal> {
        match named.id {
            Some(id) => self.objection(named, id),
            // It may be the hash of a device that has a certificate: only the store can tell.
            None if self.identity.is_none() && self.registry.is_some() => Some(Refusal::Unavailable),
            None => None,
        }
    }
}

/// Another device's, or nobody's: a device is not told which.
pub(super) fn not_own(named: PubRef) -> Refusal {
    match named {
        PubRef { hash: Some(hash), .. } => Refusal::NotThisDevicesHash(hash),
        PubRef { id, hash: None } => Refusal::NotThisDevice(id.unwrap_or_default()),
    }
}
