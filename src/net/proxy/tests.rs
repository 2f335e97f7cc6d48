//! Headers as tables and as properties.

use super::*;
use crc::{CRC_32_ISCSI, Crc};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::IpAddr;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const IPV4: &[u8] = &[203, 0, 113, 9, 192, 0, 2, 1, 0x9c, 0x40, 1, 187];

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &u16::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat()
}

/// A TCP4 header with `tlvs`, closed by its checksum.
fn with_checksum(tlvs: &[u8]) -> Vec<u8> {
    let mut header = v2(PROXY, TCP4, &[IPV4, tlvs, &tlv(0x03, &[0; 4])].concat());
    let sum = Crc::<u32>::new(&CRC_32_ISCSI).checksum(&header).to_be_bytes();
    let at = header.len() - 4;
    header[at..].copy_from_slice(&sum);
    header
}

fn client(address: &str) -> Source {
    Source::Client(address.parse().unwrap())
}

/// The source of a header and nothing behind it.
fn source(bytes: &[u8]) -> Result<Source, String> {
    match read(bytes, Versions::Any) {
        Ok(Some((header, length))) if length == bytes.len() => Ok(header.source),
        Ok(Some((_, length))) => Err(format!("ends after {length} of {} bytes", bytes.len())),
        Ok(None) => Err("incomplete".to_owned()),
        Err(fault) => Err(fault.to_string()),
    }
}

fn tls(tlvs: &[u8]) -> Result<Option<Box<ClientTls>>, String> {
    let read = read(&v2(PROXY, TCP4, &[IPV4, tlvs].concat()), Versions::Any);
    read.map(|read| read.expect("complete").0.tls).map_err(|fault| fault.to_string())
}

#[test]
fn text_headers_are_read() {
    let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
    let unknown = format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
    assert_eq!(unknown.len(), MAX_V1);
    for (line, expected) in [
        ("PROXY TCP4 203.0.113.9 192.0.2.1 40000 443\r\n", client("203.0.113.9:40000")),
        ("PROXY TCP4 255.255.255.255 0.0.0.0 0 65535\r\n", client("255.255.255.255:0")),
        ("PROXY TCP6 2001:db8::9 2001:db8::1 40000 443\r\n", client("[2001:db8::9]:40000")),
        ("PROXY TCP6 ::ffff:203.0.113.9 ::1 40000 443\r\n", client("203.0.113.9:40000")),
        (&longest, client("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")),
        ("PROXY UNKNOWN\r\n", Source::Unknown),
        ("PROXY UNKNOWN a b c d e f g h + \x01\r\n", Source::Unknown),
        (&unknown, Source::Unknown),
    ] {
        assert_eq!(source(line.as_bytes()), Ok(expected), "{line}");
    }
}

#[test]
fn broken_text_headers_are_refused_in_words() {
    for (line, words) in [
        ("PROXY TCP4 203.0.113.9 192.0.2.1 40000 443\n", "CR LF"),
        ("PROXY TCP4 203.0.113.9\r192.0.2.1 40000 443\r\n", "characters"),
        ("PROXY TCP4 203.0.113.9 192.0.2.1 +40000 443\r\n", "characters"),
        ("PROXY TCP4 203.0.113.9 192.0.2.1 40000 443 \r\n", "more in it"),
        ("PROXY TCP4 203.0.113.9  192.0.2.1 40000 443\r\n", "cannot be read"),
        ("PROXY TCP4 203.0.113.9 192.0.2.1 40000\r\n", "cannot be read"),
        ("PROXY TCP4 203.0.113.9 192.0.2.1 40000 65536\r\n", "cannot be read"),
        ("PROXY TCP4 203.0.113.9 192.0.2.1 040000 443\r\n", "cannot be read"),
        ("PROXY TCP4 203.0.113.256 192.0.2.1 40000 443\r\n", "cannot be read"),
        ("PROXY TCP4 2001:db8::9 2001:db8::1 40000 443\r\n", "cannot be read"),
        ("PROXY TCP6 203.0.113.9 192.0.2.1 40000 443\r\n", "cannot be read"),
        ("PROXY TCP6 fe80::1%eth0 ::1 40000 443\r\n", "characters"),
        ("PROXY UDP4 203.0.113.9 192.0.2.1 40000 443\r\n", "cannot be read"),
        ("PROXY UNKNOWNS\r\n", "cannot be read"),
        ("PROXY \r\n", "cannot be read"),
        ("PROXY  TCP4 203.0.113.9 192.0.2.1 40000 443\r\n", "cannot be read"),
        ("proxy TCP4 203.0.113.9 192.0.2.1 40000 443\r\n", "no PROXY header"),
        ("PROXYTCP4", "no PROXY header"),
        ("GET / HTTP/1.1\r\n", "no PROXY header"),
        ("\r\n\r\n\0\r\nQUIX", "no PROXY header"),
        ("\x16\x03\x01\x02\0", "TLS without a PROXY header"),
        (&format!("PROXY UNKNOWN {}", "x".repeat(MAX_V1)), "longer than 107"),
    ] {
        let fault = source(line.as_bytes()).expect_err(line);
        assert!(fault.contains(words) && !fault.contains(char::is_control), "{line:?}: {fault}");
    }
}

#[test]
fn binary_headers_are_read() {
    let unix = [0x2f; 216];
    let ipv6 = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]; 2].concat();
    for (command, family, rest, expected) in [
        (PROXY, TCP4, IPV4, client("203.0.113.9:40000")),
        (PROXY, 0x21, &[&ipv6, &[0x9c, 0x40, 1, 187][..]].concat(), client("[2001:db8::9]:40000")),
        (PROXY, 0x00, b"", Source::Unknown),
        (PROXY, 0x00, b"whatever", Source::Unknown),
        (PROXY, 0x01, b"", Source::Unknown),
        (PROXY, 0x12, IPV4, Source::Unknown),
        (PROXY, 0x10, IPV4, Source::Unknown),
        (PROXY, 0x31, &unix, Source::Unknown),
        (PROXY, 0x32, &unix, Source::Unknown),
        (0x20, 0x00, b"", Source::Proxy),
        (0x20, TCP4, IPV4, Source::Proxy),
        (0x20, TCP4, b"x", Source::Proxy),
        (0x20, 0xff, b"", Source::Proxy),
        (
            PROXY,
            TCP4,
            &[IPV4, &tlv(0xee, b"unknown"), &tlv(0x04, &[0; 9])].concat(),
            client("203.0.113.9:40000"),
        ),
    ] {
        assert_eq!(source(&v2(command, family, rest)), Ok(expected), "{command:#x} {family:#x} {rest:?}");
    }
}

#[test]
fn broken_binary_headers_are_refused_in_words() {
    let cut = &IPV4[..11];
    for (command, family, rest, words) in [
        (0x11, TCP4, IPV4, "version 10"),
        (0x31, TCP4, IPV4, "version 30"),
        (0x22, TCP4, IPV4, "command 2"),
        (PROXY, 0x41, IPV4, "Address Family 40"),
        (PROXY, 0x13, IPV4, "protocol 3"),
        (PROXY, TCP4, cut, "11 bytes cannot store the 12"),
        (PROXY, 0x21, IPV4, "12 bytes cannot store the 36"),
        (PROXY, 0x31, IPV4, "12 bytes cannot store the 216"),
        (PROXY, TCP4, &[IPV4, &[4, 0]].concat(), "leftover 2"),
        (PROXY, TCP4, &[IPV4, &[4, 0, 9, 1]].concat(), "TLV 4 with length 9"),
        (PROXY, TCP4, &[IPV4, &tlv(0x03, &[0; 3])].concat(), "invalid value of TLV type 0x03"),
        (PROXY, TCP4, &[IPV4, &tlv(0x03, &[0; 4])].concat(), "wrong checksum"),
        (PROXY, TCP4, &[IPV4, &tlv(0x20, &[1, 0, 0, 0])].concat(), "invalid value of TLV type 0x20"),
        (PROXY, TCP4, &[IPV4, &tlv(0x20, &[0; 5]), &tlv(0x20, &[0; 5])].concat(), "0x20 twice"),
        (PROXY, TCP4, &[IPV4, &tlv(0x20, &[1, 0, 0, 0, 0, 0x22])].concat(), "leftover"),
        (PROXY, TCP4, &[0; MAX_V2 - 15], "longer than 16384"),
        (PROXY, TCP4, &[0; 65535], "longer than 16384"),
    ] {
        let fault = source(&v2(command, family, rest)).expect_err(words);
        assert!(fault.contains(words), "{words}: {fault}");
    }
    // As soon as it can be known, not only when all of it is there.
    assert_eq!(
        source(&v2(PROXY, TCP4, &[0; 65535])[..16]).unwrap_err(),
        Fault::TooLong { max: MAX_V2 }.to_string()
    );
    assert!(source(&v2(PROXY, TCP4, &[IPV4, &tlv(0x04, &vec![0; MAX_V2 - 16 - 12 - 3])].concat())).is_ok());
}

#[test]
fn only_the_wanted_version_is_read() {
    let text: &[u8] = b"PROXY UNKNOWN\r\n";
    let binary = v2(0x20, 0, b"");
    assert!(read(text, Versions::V1).is_ok() && read(&binary, Versions::V2).is_ok());
    assert_eq!(read(text, Versions::V2), Err(Fault::Version { sent: "v1", wanted: "v2" }));
    assert_eq!(read(&binary, Versions::V1), Err(Fault::Version { sent: "v2", wanted: "v1" }));
}

#[test]
fn what_the_proxy_knows_of_the_clients_tls_is_read() {
    // What HAProxy 2.6 sends with `proxy-v2-options ssl,cert-cn,ssl-cipher` for a client with a certificate.
    let details = [tlv(0x21, b"TLSv1.2"), tlv(0x22, b"meter-1"), tlv(0x23, b"ECDHE-RSA-AES128-GCM-SHA256")];
    let ssl = |flags, verify: u32, more: &[u8]| {
        tlv(0x20, &[&[flags], &verify.to_be_bytes()[..], &details.concat(), more].concat())
    };
    let client = ClientTls {
        ended: true,
        presented: true,
        verified: true,
        version: Some("TLSv1.2".into()),
        cipher: Some("ECDHE-RSA-AES128-GCM-SHA256".into()),
        common_name: Some("meter-1".into()),
        certificate: None,
    };
    let expect = |client: &ClientTls| Ok(Some(Box::new(client.clone())));
    assert_eq!(tls(&ssl(0x07, 0, b"")), expect(&client));
    assert_eq!(tls(&ssl(0x05, 0, b"")), expect(&client), "from a resumed session");
    assert_eq!(tls(&ssl(0x07, 20, b"")), expect(&ClientTls { verified: false, ..client.clone() }));
    let none = ClientTls { presented: false, verified: false, ..client.clone() };
    assert_eq!(tls(&ssl(0x01, 0, b"")), expect(&none), "no error, because there is no certificate");

    let der: Box<[u8]> = b"\x30\x03\x02\x01\x01"[..].into();
    let shown = ClientTls { certificate: Some(der.clone()), ..client };
    assert_eq!(tls(&ssl(0x07, 0, &tlv(0x28, &der))), expect(&shown));
    for value in [&der[..], b"MAMCAQE="] {
        let agreed = [ssl(0x07, 0, b""), tlv(CERTIFICATE_TLV, value)].concat();
        assert_eq!(tls(&agreed), expect(&shown));
    }
    assert!(tls(&tlv(CERTIFICATE_TLV, b"MAMCAQE")).unwrap_err().contains("0xe5"));
    let both = [tlv(CERTIFICATE_TLV, b"MAMCAQI="), ssl(0x07, 0, &tlv(0x28, &der))].concat();
    assert_eq!(tls(&both), expect(&shown), "the registered type is preferred");
    assert_eq!(tls(&[ssl(0x01, 0, b""), tlv(CERTIFICATE_TLV, b"")].concat()), expect(&none));
    let alone = ClientTls { presented: true, certificate: Some(der.clone()), ..ClientTls::default() };
    assert_eq!(tls(&tlv(CERTIFICATE_TLV, &der)), expect(&alone));

    assert_eq!(tls(b""), Ok(None));
    let not_text = tls(&tlv(0x20, &[&[1, 0, 0, 0, 0][..], &tlv(0x22, b"\xff")].concat()));
    assert!(not_text.unwrap_err().contains("0x22"));
    let twice = tls(&ssl(0x07, 0, &tlv(0x22, b"meter-2")));
    assert!(twice.unwrap_err().contains("0x22 twice"));
}

/// What HAProxy 3.0.11 sent with `send-proxy-v2-ssl set-proxy-v2-tlv-fmt(0xE5)` and these formats.
#[test]
fn a_certificate_of_haproxys_is_read_whole_or_not_at_all() {
    let hex = |text: &str| -> Vec<u8> {
        let digits = text.trim().as_bytes().chunks(2);
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    };
    // %[ssl_c_der,base64]
    let whole =
        hex(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/headers/haproxy-3.0-base64.hex")));
    let (header, length) = read(&whole, Versions::V2).unwrap().unwrap();
    let told = header.tls.unwrap();
    assert_eq!((length, told.ended, told.presented, told.verified), (whole.len(), true, true, false));
    let der = told.certificate.unwrap();
    assert_eq!(der.len(), 382);
    assert!(x509_parser::parse_x509_certificate(&der).is_ok_and(|(rest, _)| rest.is_empty()));
    // %[ssl_c_der]: ended at the first NUL.
    let cut = hex(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/headers/haproxy-3.0-der.hex")));
    assert_eq!(read(&cut, Versions::V2), Err(Fault::CutShort));
}

/// What HAProxy 2.6 sent with `proxy-v2-options crc32c`.
#[test]
fn a_checksum_of_haproxys_is_right() {
    let header = *b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x16\x7f\0\0\x01\x7f\0\0\x01\xd0\xba\x9b\xdd\
                    \x03\0\x04\x36\xfd\x47\x90\x05\0\0";
    assert_eq!(source(&header), Ok(client("127.0.0.1:53434")));
    let mut changed = header;
    changed[16] ^= 1;
    assert_eq!(source(&changed), Err(Fault::Checksum.to_string()));
}

fn any_source() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

/// A header of either version that names this client.
fn header_of(address: SocketAddr, binary: bool, tlvs: &[u8]) -> Vec<u8> {
    match (binary, address.ip()) {
        (false, IpAddr::V4(ip)) => format!("PROXY TCP4 {ip} 192.0.2.1 {} 443\r\n", address.port()).into(),
        (false, IpAddr::V6(ip)) => format!("PROXY TCP6 {ip} 2001:db8::1 {} 443\r\n", address.port()).into(),
        (true, IpAddr::V4(ip)) => {
            let ports = [address.port().to_be_bytes(), [1, 187]].concat();
            v2(PROXY, TCP4, &[&ip.octets(), &[192, 0, 2, 1], &ports[..], tlvs].concat())
        }
        (true, IpAddr::V6(ip)) => {
            let ports = [address.port().to_be_bytes(), [1, 187]].concat();
            v2(PROXY, 0x21, &[&ip.octets(), &[0; 16], &ports[..], tlvs].concat())
        }
    }
}

proptest! {
    #[test]
    fn a_header_is_read_however_it_is_cut_and_whatever_follows(
        address in any_source(),
        binary: bool,
        noop in vec(any::<u8>(), 0..40),
        after in vec(any::<u8>(), 0..40),
    ) {
        let header = header_of(address, binary, &tlv(0x04, &noop));
        for end in 0..header.len() {
            prop_assert_eq!(read(&header[..end], Versions::Any), Ok(None), "{} bytes", end);
        }
        let (read, length) = read(&[&header[..], &after].concat(), Versions::Any).unwrap().unwrap();
        let expected = SocketAddr::new(address.ip().to_canonical(), address.port());
        prop_assert_eq!((read.source, length), (Source::Client(expected), header.len()));
    }

    #[test]
    fn what_is_once_judged_is_judged_the_same_with_more_bytes(
        start in select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE]),
        noise in vec(any::<u8>(), 0..300),
    ) {
        let bytes = [start, &noise].concat();
        let mut earlier = Ok(None);
        for end in 0..=bytes.len() {
            let now = read(&bytes[..end], Versions::Any);
            if earlier != Ok(None) {
                prop_assert_eq!(&now, &earlier);
            }
            earlier = now;
        }
    }

    #[test]
    fn a_checksum_notices_every_changed_bit(at in 16_usize..200, bit in 0_u8..8, noop in vec(any::<u8>(), 0..64)) {
        // Not the type or length of a TLV: those decide whether there is a checksum.
        let header = with_checksum(&tlv(0x04, &noop));
        prop_assert!(source(&header).is_ok());
        let content = (16..28).chain(31..31 + noop.len()).chain(header.len() - 4..header.len());
        let content: Vec<usize> = content.collect();
        let mut changed = header;
        changed[content[at % content.len()]] ^= 1 << bit;
        prop_assert_eq!(source(&changed), Err(Fault::Checksum.to_string()));
    }
}
