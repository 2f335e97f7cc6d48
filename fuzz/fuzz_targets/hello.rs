//! A ClientHello is read from any bytes, cut anywhere, without a panic and with one result; and
//! whatever is read can be judged and put into words at every level.

#![no_main]

use libfuzzer_sys::fuzz_target;
use m0v::tls::Compat;
use m0v::tls::hello::Reader;
use m0v::tls::verdict::{Verdict, verdict};

fuzz_target!(|input: (usize, &[u8])| {
    let (cut, bytes) = input;
    let whole = Reader::new().push(bytes);
    let (first, second) = bytes.split_at(cut % (bytes.len() + 1));
    let mut reader = Reader::new();
    let parts = match reader.push(first) {
        Ok(None) => reader.push(second),
        done => done,
    };
    assert_eq!(whole, parts);
    if let Ok(Some(hello)) = whole {
        for level in Compat::ALL {
            if let Verdict::Refused(reason) = verdict(&hello, level) {
                assert!(!reason.to_string().is_empty());
            }
        }
    }
});
