//! Reading and judging hellos, without a socket.

use std::fs;
use std::path::PathBuf;

use m0v::tls::Compat;
use m0v::tls::hello::{ClientHello, MAX_HELLO, Malformed, NotTls, Reader, Unreadable};
use m0v::tls::verdict::{Verdict, verdict};
use proptest::prelude::*;

/// The bytes of `tests/hellos/NAME.hex`.
pub(crate) fn recorded(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/hellos/{name}.hex"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// A hello in one record of its own.
pub(crate) fn read(bytes: &[u8]) -> ClientHello {
    Reader::new().push(bytes).unwrap().expect("the hello is whole")
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 3, 1];
    record.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
    record.extend(content);
    record
}

/// The same hello in records of `size` bytes of content.
fn cut_into_records(bytes: &[u8], size: usize) -> Vec<u8> {
    bytes[5..].chunks(size).flat_map(|chunk| record(22, chunk)).collect()
}

fn short(verdict: Verdict) -> String {
    match verdict {
        Verdict::Modern => "rustls".into(),
        Verdict::Compat(level) => level.to_string(),
        Verdict::Refused(reason) => {
            format!("refused: {}, {}", reason.label(), reason.would_take().map_or("never", Compat::as_str))
        }
    }
}

#[test]
fn every_recorded_hello_finds_its_stack() {
    // What strict, cc3220, cbc and rsa-kx make of each.
    let table = [
        ("cc3220sf-1", ["refused: groups, cc3220", "cc3220", "cc3220", "cc3220"]),
        ("cc3220sf-2", ["rustls"; 4]),
        ("cc3220sf-3", ["refused: groups, cc3220", "cc3220", "cc3220", "cc3220"]),
        ("old-wolfssl-cbc", ["refused: suites, cbc", "refused: suites, cbc", "cbc", "cbc"]),
        (
            "rsa-kx-bare",
            ["refused: suites, rsa-kx", "refused: suites, rsa-kx", "refused: suites, rsa-kx", "rsa-kx"],
        ),
        ("rc4-only", ["refused: suites, never"; 4]),
        ("openssl-3.0-tls12", ["rustls"; 4]),
        ("openssl-3.0-tls13", ["rustls"; 4]),
        (
            "openssl-3.0-tls11",
            ["refused: version, rsa-kx", "refused: version, rsa-kx", "refused: version, rsa-kx", "rsa-kx"],
        ),
        (
            "openssl-3.0-x448-maxfraglen",
            ["refused: groups, rsa-kx", "refused: groups, rsa-kx", "refused: groups, rsa-kx", "rsa-kx"],
        ),
        ("curl-7.88", ["rustls"; 4]),
        ("python-3.11", ["rustls"; 4]),
        ("go-1.19", ["rustls"; 4]),
        ("mbedtls-2.28", ["rustls"; 4]),
        ("mbedtls-2.28-p256", ["rustls"; 4]),
        ("mbedtls-2.28-mfl512", ["rustls"; 4]),
        (
            "mbedtls-2.28-tls10-rsa",
            ["refused: version, rsa-kx", "refused: version, rsa-kx", "refused: version, rsa-kx", "rsa-kx"],
        ),
        ("wolfssl-5.5", ["rustls"; 4]),
        ("wolfssl-5.5-tls12", ["rustls"; 4]),
        ("wolfssl-5.5-tls12-mfl1024", ["rustls"; 4]),
        ("wolfssl-5.5-tls12-cbc", ["refused: suites, cbc", "refused: suites, cbc", "cbc", "cbc"]),
        ("3des-only", ["refused: suites, never"; 4]),
        (
            "tls10-bare",
            ["refused: version, rsa-kx", "refused: version, rsa-kx", "refused: version, rsa-kx", "rsa-kx"],
        ),
    ];
    let files = fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hellos")).unwrap();
    let hex = files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "hex"));
    assert_eq!(hex.count(), table.len(), "every recorded hello is in the table");
    for (name, expected) in table {
        let hello = read(&recorded(name));
        let verdicts = Compat::ALL.map(|level| short(verdict(&hello, level)));
        assert_eq!(verdicts, expected, "{name}");
    }
}

#[test]
fn the_cc3220sf_hello_is_read_whole() {
    let bytes = recorded("cc3220sf-1");
    assert_eq!(bytes[3..5], [0, 113], "the record length of the capture");
    let hello = read(&bytes);
    assert_eq!(hello.version, 0x0303);
    assert_eq!(hello.session_id_len, 0);
    assert_eq!(hello.suites.len(), 23);
    assert_eq!(hello.extensions, [13]);
    assert_eq!(hello.signatures.as_ref().map(Vec::len), Some(8));
    assert_eq!((&hello.groups, &hello.server_name, hello.ticket), (&None, &None, None));
    assert_eq!(read(&recorded("cc3220sf-2")).groups, Some(vec![23]));
    assert!(read(&recorded("cc3220sf-3")).extensions.is_empty());
}

#[test]
fn extensions_of_modern_clients_are_read() {
    let python = read(&recorded("python-3.11"));
    assert_eq!(python.server_name.as_deref(), Some("m0v.example"));
    assert_eq!(python.alpn, [b"http/1.1"]);
    assert_eq!(python.ticket, Some(0));
    assert!(python.speaks(0x0304) && python.speaks(0x0303) && !python.speaks(0x0302));
    let small = read(&recorded("openssl-3.0-x448-maxfraglen"));
    assert_eq!(small.fragment_limit(), Some(1024));
}

#[test]
fn wolfssl_is_known_by_its_empty_session_id() {
    for name in
        ["openssl-3.0-tls13", "python-3.11", "curl-7.88", "go-1.19", "wolfssl-5.5-tls12", "mbedtls-2.28"]
    {
        assert!(read(&recorded(name)).takes_long_ticket_nonces(), "{name}");
    }
    assert!(!read(&recorded("wolfssl-5.5")).takes_long_ticket_nonces());
}

#[test]
fn a_refusal_is_said_in_words() {
    let Verdict::Refused(reason) = verdict(&read(&recorded("rc4-only")), Compat::Cc3220) else {
        panic!("an RC4-only hello must be refused");
    };
    let words = reason.to_string();
    for part in [
        "offered TLS 1.2 with TLS_RSA_WITH_RC4_128_SHA, TLS_RSA_WITH_RC4_128_MD5",
        "no supported_groups",
        "rsa_pkcs1_sha256",
        "compat = \"cc3220\" needs one of TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "no compat level takes it",
    ] {
        assert!(words.contains(part), "{part:?} is missing in: {words}");
    }
    let Verdict::Refused(reason) = verdict(&read(&recorded("cc3220sf-1")), Compat::Strict) else {
        panic!("strict never serves the CC3220SF");
    };
    let words = reason.to_string();
    assert!(
        words.ends_with("rustls needs the extension supported_groups; compat = \"cc3220\" would take it"),
        "{words}"
    );
}

#[test]
fn what_is_no_tls_is_named() {
    let table: [(&[u8], NotTls); 9] = [
        (b"GET / HTTP/1.1\r\n", NotTls::Http),
        (b"POST /register HTTP/1.1\r\n", NotTls::Http),
        (b"{\"id\":17}\n", NotTls::Json),
        (b"PROXY TCP4 1.2.3.4 ", NotTls::Proxy),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NotTls::Ssh),
        (&[0x80, 0x2e, 1, 0, 2, 0, 0x15], NotTls::Sslv2),
        (&[21, 3, 1, 0, 2, 1, 0], NotTls::Alert),
        (b"hello world", NotTls::Text),
        (&[0xde, 0xad, 0xbe, 0xef, 0], NotTls::Bytes([0xde, 0xad, 0xbe, 0xef, 0])),
    ];
    for (bytes, expected) in table {
        assert_eq!(Reader::new().push(bytes), Err(Unreadable::NotTls(expected)), "{expected}");
    }
}

#[test]
fn bounds_hold_by_bytes_read() {
    let malformed = |bytes: &[u8]| match Reader::new().push(bytes) {
        Err(Unreadable::Malformed(how)) => how,
        other => panic!("{other:?}"),
    };
    let long = [1, 0, 0x40, 1];
    assert_eq!(malformed(&record(22, &long)), Malformed::LongHello(MAX_HELLO + 1));
    assert_eq!(malformed(&record(22, &[2, 0, 0, 4])), Malformed::OtherMessage(2));
    assert_eq!(malformed(&record(22, &[])), Malformed::EmptyRecord);
    assert_eq!(malformed(&[22, 3, 1, 0x40, 1]), Malformed::LongRecord(16385));
    let halves = [record(22, &[1, 0, 0x30, 0]), record(23, &[0])].concat();
    assert_eq!(malformed(&halves), Malformed::OtherRecord(23));
    let message = [&[1, 0, 0x40, 0][..], &[0; MAX_HELLO]].concat();
    let crumbs: Vec<u8> = message.chunks(1).flat_map(|chunk| record(22, chunk)).collect();
    assert_eq!(malformed(&crumbs), Malformed::TooManyBytes);
}

#[test]
fn broken_hellos_name_the_field() {
    let mut twice = recorded("cc3220sf-1");
    let extension = twice[twice.len() - 22..].to_vec();
    twice.extend(&extension);
    for at in [4, 8, 5 + 4 + 2 + 32 + 1 + 2 + 46 + 2 + 1] {
        twice[at] += 22;
    }
    assert_eq!(Reader::new().push(&twice), Err(Unreadable::Malformed(Malformed::Duplicate(13))));
    let mut cut = recorded("cc3220sf-3");
    cut[5 + 4 + 2 + 32 + 2] = 0x60;
    assert_eq!(Reader::new().push(&cut), Err(Unreadable::Malformed(Malformed::Field("cipher suites"))));
}

#[test]
fn a_hello_in_many_records_is_the_same_hello() {
    for name in ["cc3220sf-1", "openssl-3.0-tls13", "go-1.19"] {
        let bytes = recorded(name);
        for size in [1, 2, 3, 7, 50, 10_000] {
            assert_eq!(read(&cut_into_records(&bytes, size)), read(&bytes), "{name} by {size}");
        }
    }
}

/// Feeds `bytes` in pieces that end at `cuts`.
fn in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Option<ClientHello>, Unreadable> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut reader = Reader::new();
    let mut start = 0;
    for end in ends {
        match reader.push(&bytes[start..end]) {
            Ok(None) => start = end,
            done => return done,
        }
    }
    Ok(None)
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let names =
        ["cc3220sf-1", "cc3220sf-2", "openssl-3.0-tls12", "openssl-3.0-tls13", "python-3.11", "go-1.19"];
    let edits = prop::collection::vec((any::<usize>(), any::<u8>()), 0..6);
    (prop::sample::select(names.to_vec()), edits, any::<bool>()).prop_map(|(name, edits, cut)| {
        let mut bytes = recorded(name);
        for (at, value) in edits {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if cut { cut_into_records(&bytes, 17) } else { bytes }
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic_and_alike_however_cut(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), mutated()],
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let whole = Reader::new().push(&bytes);
        prop_assert_eq!(&whole, &in_pieces(&bytes, &cuts));
        prop_assert_eq!(&whole, &in_pieces(&bytes, &(0..bytes.len()).collect::<Vec<_>>()));
        if let Ok(Some(hello)) = whole {
            for level in Compat::ALL {
                if let Verdict::Refused(reason) = verdict(&hello, level) {
                    prop_assert!(reason.to_string().len() < 8192);
                }
            }
        }
    }
}
