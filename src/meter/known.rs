//! The devices this process has met, so that a known one costs no look-up.

use crate::protocol::packet::PubRef;
use crate::store::Pub;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// `pub_id` ↔ `hash` of devices that exist. Only hits are kept: a miss, and a line whose id
/// and hash seem to disagree, always ask the store, and the store's own join refuses ids that
/// are gone. A hash never moves to another id: no command does that; someone who does it by
/// SQL restarts m0v. Grows with the number of devices (some 50 bytes each), never with strangers.
#[derive(Debug, Default)]
pub struct Known {
    maps: RwLock<Maps>,
}

#[derive(Debug, Default)]
struct Maps {
    hash_of: HashMap<i64, Option<i64>>,
    id_of: HashMap<i64, i64>,
    /// What came (with its hash) and went since it was last written down; kept only if someone
    /// writes it down.
    changes: Option<HashMap<i64, Option<Option<i64>>>>,
}

impl Known {
    /// The device's `(pub_id, hash)` if it is known by what is given first: id, else hash.
    pub fn find(&self, device: PubRef) -> Option<(i64, Option<i64>)> {
        let maps = self.read();
        let id = match device {
            PubRef { id: Some(id), .. } => id,
            PubRef { hash: Some(hash), .. } => *maps.id_of.get(&hash)?,
            PubRef { id: None, hash: None } => return None,
        };
        maps.hash_of.get(&id).map(|hash| (id, *hash))
    }

    /// Remembers a device the store has shown.
    pub fn insert(&self, found: &Pub) {
        let mut maps = self.write();
        let before = maps.hash_of.insert(found.pub_id, found.hash);
        if before != Some(found.hash)
            && let Some(changes) = &mut maps.changes
        {
            changes.insert(found.pub_id, Some(found.hash));
        }
        if let Some(hash) = found.hash {
            maps.id_of.insert(hash, found.pub_id);
        }
    }

    /// Forgets a device the store no longer has.
    pub fn remove(&self, pub_id: i64) {
        let mut maps = self.write();
        if let Some(Some(hash)) = maps.hash_of.remove(&pub_id) {
            maps.id_of.remove(&hash);
        }
        if let Some(changes) = &mut maps.changes {
            changes.insert(pub_id, None);
        }
    }

    /// Takes in what an earlier process wrote down, and notes changes from now on.
    pub fn recall(&self, devices: Vec<(i64, Option<i64>)>) {
        let mut maps = self.write();
        maps.id_of.extend(devices.iter().filter_map(|(id, hash)| Some(((*hash)?, *id))));
        maps.hash_of.extend(devices);
        maps.changes.get_or_insert_default();
    }

    /// What changed since the last call: (`pub_id`, hash of one that exists).
    pub fn changes(&self) -> Vec<(i64, Option<Option<i64>>)> {
        if self.read().changes.as_ref().is_none_or(HashMap::is_empty) {
            return Vec::new();
        }
        self.write().changes.as_mut().map_or_else(Vec::new, |changes| changes.drain().collect())
    }

    /// These changes could not be written down; later ones go before them.
    pub fn not_kept(&self, lost: Vec<(i64, Option<Option<i64>>)>) {
        if let Some(changes) = &mut self.write().changes {
            for (pub_id, change) in lost {
                changes.entry(pub_id).or_insert(change);
            }
        }
    }

    // A panic while holding the lock cannot leave the maps half changed in a way that
    // matters (see the type's doc), so poison is passed over.
    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_id_then_by_hash_and_forgets_both() {
        let known = Known::default();
        known.insert(&Pub { pub_id: 7, hash: Some(13580), creator: None, created_at: 0 });
        let by = |id, hash| known.find(PubRef { id, hash });
        assert_eq!(by(Some(7), None), Some((7, Some(13580))));
        assert_eq!(by(None, Some(13580)), Some((7, Some(13580))));
        assert_eq!(by(Some(8), Some(13580)), None);
        assert_eq!(by(None, None), None);
        known.remove(7);
        assert_eq!(by(None, Some(13580)), None);
        assert_eq!(by(Some(7), None), None);
    }
}
