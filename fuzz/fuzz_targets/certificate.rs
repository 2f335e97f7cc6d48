//! A chain of any bytes is judged without a panic, and every refusal is a line that may be sent. The
//! first certificate that may be a CA's vouches for the rest. Two bytes in front of each certificate
//! say how long it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use m0v_fuzz::device::{
    judge::{Anchor, Anchors, leaf, vouching_ca},
    name::check_device_id,
};
use rustls_pki_types::CertificateDer;

/// 2026-11-22.
const NOW: i64 = 1_795_305_600_000_000;

fn assert_printable(words: &impl ToString) {
    let words = words.to_string();
    assert!(words.len() <= 112 && words.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{words}");
}

fn certificates(mut input: &[u8]) -> Vec<CertificateDer<'_>> {
    let mut found = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk::<2>() {
        let (der, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        found.push(CertificateDer::from(der));
        input = rest;
    }
    found
}

fuzz_target!(|input: &[u8]| {
    let chain = certificates(input);
    let Some(first) = chain.first() else { return };
    match leaf(first, NOW) {
        Ok(leaf) => match leaf.device_id() {
            Ok(Some(name)) => assert_eq!(check_device_id(name), Ok(())),
            Ok(None) => {}
            Err(bad) => assert_printable(&bad),
        },
        Err(unfit) => assert_printable(&unfit),
    }
    let mut active = Vec::new();
    for der in &chain {
        match Anchor::read("ca", der) {
            Ok(anchor) => active.push(anchor),
            Err(unfit) => assert_printable(&unfit),
        }
    }
    let anchors = Anchors::new(active, Vec::new());
    if let Err(unvouched) = vouching_ca(&chain, &anchors, None, NOW) {
        assert_printable(&unvouched);
    }
});
