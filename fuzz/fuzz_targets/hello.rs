//! A ClientHello is read from any bytes, cut anywhere, without a panic and with one result; and
//! whatever is read can be judged and put into words at every level.

#![no_main]

use libfuzzer_sys::fuzz_target;
use m0v_fuzz::tls::hello::Reader;
use m0v_fuzz::tls::verdict::{Compat, Verdict, likely_suite, verdict};

// The first byte says where the rest is cut.
fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = Reader::new().push(bytes);
    let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let mut reader = Reader::new();
    let parts = match reader.push(first) {
        Ok(None) => reader.push(second),
        done => done,
    };
    assert_eq!(whole, parts);
    let Ok(Some(hello)) = whole else { return };
    for level in Compat::ALL {
        match verdict(&hello, level) {
            Verdict::Modern => assert!(likely_suite(&hello, None).is_some()),
            Verdict::Compat(at) => assert!(at <= level && likely_suite(&hello, Some(at)).is_some()),
            Verdict::Refused(reason) => {
                assert!(reason.would_take().is_none_or(|would| would > level));
                assert!(!reason.to_string().is_empty());
            }
        }
    }
});
