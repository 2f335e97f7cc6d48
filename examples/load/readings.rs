//! The readings that are sent, each unlike any other, and how its answer is judged.

use std::{
    io::Write as _,
    ops::RangeInclusive,
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// A reading as the acknowledgement log names it.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) id: i64,
    pub(crate) timestamp: u64,
    pub(crate) seq: i64,
}

/// Counts through the devices; (id, timestamp, seq) never repeats while the clock goes on.
pub(crate) struct Readings {
    ids: RangeInclusive<i64>,
    timestamp: u64,
    next: AtomicI64,
}

impl Readings {
    pub(crate) fn new(ids: RangeInclusive<i64>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Two runs begun within one second still differ.
        let next = AtomicI64::new(i64::from(since.subsec_millis()) * 1_000_000_000);
        Self { ids, timestamp: since.as_secs(), next }
    }

    /// Appends the next reading's line to `out`.
    pub(crate) fn push(&self, out: &mut Vec<u8>) -> Reading {
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        let id = self.ids.start() + seq % (self.ids.end() - self.ids.start() + 1);
        let reading = Reading { id, timestamp: self.timestamp, seq };
        let volts = 220 + seq % 20;
        let written = writeln!(
            out,
            r#"{{"id":{id},"timestamp":{},"status":true,"voltage":{volts}.{:02},"freq":49.9{},"seq":{seq}}}"#,
            self.timestamp,
            seq % 100,
            seq % 10,
        );
        debug_assert!(written.is_ok(), "a Vec takes everything");
        reading
    }
}

/// What a reply line says.
pub(crate) fn is_thanks(line: &[u8]) -> bool {
    line.starts_with(b"Thank you")
}
