#![no_main]

use libfuzzer_sys::fuzz_target;
use m0v_fuzz::{assert_legal, assert_object, protocol::packet};

fuzz_target!(|line: &[u8]| {
    match packet::parse(line) {
        Ok(packet) => {
            assert!(packet.device.id.is_none_or(|id| id > 0) && packet.device.hash != Some(0));
            assert!(packet.voltage.is_none_or(f64::is_finite) && packet.frequency.is_none_or(f64::is_finite));
            assert!(packet.seq.is_none() || packet.timestamp.is_some());
            assert_object(packet.extra.as_deref());
        }
        Err(refusal) => assert_legal(&refusal),
    }
});
