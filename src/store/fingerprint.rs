//! Recognises a batch that is written again, without keeping a copy of each.

use super::PacketRow;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// Keyed anew for each lane, so that no sender can aim at equal fingerprints.
#[derive(Default)]
pub(super) struct Fingerprints(RandomState);

impl Fingerprints {
    /// Of rows, in order, with every value.
    pub(super) fn of(&self, rows: &[PacketRow]) -> u64 {
        let mut hasher = self.0.build_hasher();
        rows.len().hash(&mut hasher);
        for row in rows {
            (row.pub_id, row.created_at, row.protected, row.seq).hash(&mut hasher);
            (row.voltage.map(f64::to_bits), row.frequency.map(f64::to_bits), &row.extra).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// A number that tells this lane object from any other.
    pub(super) fn own(&self) -> i64 {
        self.0.hash_one("writer").cast_signed()
    }
}
