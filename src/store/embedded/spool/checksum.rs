//! A checksum of a packet's values: SQLite notices a damaged page's structure, not its content.

use crate::store::{PacketRow, TelemetryRow};

/// FNV-1a, 64 bit: stable from release to release, and enough against accidents.
struct Fnv(u64);

impl Fnv {
    fn eat(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn eat_optional(&mut self, bytes: Option<[u8; 8]>) {
        self.eat(&[u8::from(bytes.is_some())]);
        self.eat(&bytes.unwrap_or_default());
    }
}

/// Of everything that will be stored.
pub(super) fn of_telemetry(row: &TelemetryRow) -> i64 {
    let mut sum = Fnv(0xcbf2_9ce4_8422_2325);
    let TelemetryRow { device_id, kind, created_at, body } = row;
    for text in [device_id, kind.as_str(), body] {
        sum.eat(text.as_bytes());
        sum.eat(&[0xff]); // in no UTF-8 text, so where one ends is part of the sum
    }
    sum.eat(&created_at.to_le_bytes());
    sum.0.cast_signed()
}

/// Of everything that will be stored, and of the device's columns `id` and `hash`.
pub(super) fn of((id, hash): (i64, i64), row: &PacketRow) -> i64 {
    let mut sum = Fnv(0xcbf2_9ce4_8422_2325);
    sum.eat(&id.to_le_bytes());
    sum.eat(&hash.to_le_bytes());
    sum.eat(&row.created_at.to_le_bytes());
    sum.eat_optional(row.voltage.map(f64::to_le_bytes));
    sum.eat_optional(row.frequency.map(f64::to_le_bytes));
    sum.eat(&[u8::from(row.protected)]);
    sum.eat_optional(row.seq.map(i64::to_le_bytes));
    sum.eat(row.extra.as_deref().unwrap_or_default().as_bytes());
    sum.0.cast_signed()
}
