//! A PROXY header is read from any bytes without a panic, within its bounds, and with one result
//! however many of the bytes behind it are there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use m0v_fuzz::net::proxy::{MAX_V1, MAX_V2, Versions, read};

// The first byte says which versions are wanted, the second where the rest is cut.
fuzz_target!(|input: &[u8]| {
    let [wanted, cut, bytes @ ..] = input else { return };
    let versions = [Versions::V1, Versions::V2, Versions::Any][usize::from(*wanted) % 3];
    let whole = read(bytes, versions);
    let part = read(&bytes[..usize::from(*cut).min(bytes.len())], versions);
    assert!(part == Ok(None) || part == whole);
    match whole {
        Ok(Some((_, length))) => {
            let max = if bytes.starts_with(b"PROXY") { MAX_V1 } else { MAX_V2 };
            assert!(length <= max && length <= bytes.len());
            assert_eq!(read(&bytes[..length], versions), whole);
            assert_eq!(read(&bytes[..length - 1], versions), Ok(None));
        }
        Ok(None) => assert!(bytes.len() < MAX_V2),
        Err(fault) => assert!(!fault.to_string().contains(char::is_control)),
    }
});
