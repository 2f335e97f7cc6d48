#![no_main]

use libfuzzer_sys::fuzz_target;
use m0v_fuzz::{assert_legal, assert_object, protocol::confo};

fuzz_target!(|line: &[u8]| {
    match confo::parse(line) {
        Ok(confo::Message::Confirmation(confirmation)) => assert_object(confirmation.extra.as_deref()),
        Ok(confo::Message::Query(query)) => assert!(query.wait <= confo::MAX_WAIT_SECONDS),
        Err(refusal) => assert_legal(&refusal),
    }
});
