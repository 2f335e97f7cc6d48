//! What `/healthz` and `/readyz` answer.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether packets can be thanked now. Written by the one task that watches the store,
/// read by whoever must decide quickly.
#[derive(Debug, Default)]
pub struct Health {
    listening: AtomicBool,
    store: AtomicBool,
    spool: AtomicBool,
    certificate_missing: AtomicBool,
}

impl Health {
    /// Everything that was configured listens.
    pub fn set_listening(&self, listening: bool) {
        self.listening.store(listening, Ordering::Release);
    }

    /// A certificate was asked of a CA, and devices could not trust what is served instead.
    pub fn set_certificate_missing(&self, missing: bool) {
        self.certificate_missing.store(missing, Ordering::Release);
    }

    /// The store has its schema and answers. Returns what was said before.
    pub fn set_store(&self, up: bool) -> bool {
        self.store.swap(up, Ordering::AcqRel)
    }

    /// A call to the store failed: nobody else need wait for the same until it answers
    /// again. True if it counted as up until now.
    pub fn store_failed(&self) -> bool {
        self.store.swap(false, Ordering::AcqRel)
    }

    /// Whether the store can be asked.
    pub fn store_is_up(&self) -> bool {
        self.store.load(Ordering::Acquire)
    }

    /// There is a spool, and it has room.
    pub fn set_spool(&self, has_room: bool) {
        self.spool.store(has_room, Ordering::Release);
    }

    /// `None` when ready (packets can be thanked, if only into the spool), else the first reason why not.
    pub fn not_ready(&self) -> Option<&'static str> {
        if !self.listening.load(Ordering::Acquire) {
            Some("not listening")
        } else if !self.store_is_up() && !self.spool.load(Ordering::Acquire) {
            Some("database unavailable, and no room in a spool")
        } else if self.certificate_missing.load(Ordering::Acquire) {
            Some("no valid certificate from the CA yet")
        } else {
            None
        }
    }
}
