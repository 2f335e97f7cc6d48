//! A client's chain is read from any bytes without a panic, and what is read is all there was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use m0v_fuzz::tls::message::read_chain;

fuzz_target!(|input: &[u8]| {
    let Some(chain) = read_chain(input) else { return };
    let mut again = Vec::new();
    for der in chain {
        let len = u32::try_from(der.len()).expect("three bytes hold it").to_be_bytes();
        again.extend_from_slice(&len[1..]);
        again.extend_from_slice(der);
    }
    assert_eq!(again, input);
});
