//! The pure rooms, compiled alone: a room that begins to import what it must not does not build here.
//! The judge of certificates brings aws-lc along, whose first build takes minutes.
//!
//! `scripts/fuzz` runs every target on stable Rust; with nightly, `cargo fuzz run NAME` adds sanitizers.

#[path = "../../src/protocol/mod.rs"]
pub mod protocol;

/// The pure part of the tls room.
#[path = "../../src/tls"]
pub mod tls {
    pub mod hello;
    pub mod message;
    pub mod names;
    pub mod verdict;
}

/// The pure part of the device room.
#[path = "../../src/device"]
pub mod device {
    pub mod acl;
    pub mod judge;
    pub mod name;
}

/// The pure part of the net room.
#[path = "../../src/net"]
pub mod net {
    pub mod proxy;
}

use protocol::reply::{MAX_REPLY_BYTES, Refusal, render};

/// A refusal must be a line that may be sent.
pub fn assert_legal(refusal: &Refusal) {
    let reply = render(refusal);
    assert!(reply.len() <= MAX_REPLY_BYTES && reply.bytes().all(|byte| matches!(byte, b' '..=b'~')));
}

/// What goes to `jsonb` must be an object with something in it.
pub fn assert_object(extra: Option<&str>) {
    let Some(extra) = extra else { return };
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(extra).expect("an object");
    assert!(!object.is_empty() && extra.len() <= 8192);
}
