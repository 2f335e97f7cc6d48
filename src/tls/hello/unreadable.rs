//! Why first bytes are no ClientHello, in words.

use std::fmt;

use super::reader::{HANDSHAKE, MAX_HELLO, MAX_RECORD, MAX_RECORDS, RECORD_HEADER};

const ALERT: u8 = 21;

/// Why the bytes are no ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// No TLS at all.
    NotTls(NotTls),
    /// TLS, but broken or out of bounds.
    Malformed(Malformed),
}

/// What a connection's first five bytes look like, when they are no TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTls {
    /// An HTTP request line.
    Http,
    /// A JSON line: the device or its tool forgot TLS.
    Json,
    /// A PROXY protocol header, v1 or v2.
    Proxy,
    /// An SSH banner.
    Ssh,
    /// An SSLv2 ClientHello.
    Sslv2,
    /// A TLS alert as the first record.
    Alert,
    /// Another TLS record.
    Record(u8),
    /// A handshake record of a version that is none.
    Version(u8, u8),
    /// Printable text.
    Text,
    /// Anything else.
    Bytes([u8; RECORD_HEADER]),
}

impl NotTls {
    pub(super) fn classify(first: [u8; RECORD_HEADER]) -> Self {
        const HTTP: [&[u8; RECORD_HEADER]; 9] =
            [b"GET /", b"POST ", b"HEAD ", b"PUT /", b"DELET", b"OPTIO", b"PATCH", b"CONNE", b"PRI *"];
        match first {
            _ if HTTP.contains(&&first) => Self::Http,
            [b'{', ..] => Self::Json,
            [b'P', b'R', b'O', b'X', b'Y'] | [b'\r', b'\n', b'\r', b'\n', 0] => Self::Proxy,
            [b'S', b'S', b'H', b'-', _] => Self::Ssh,
            [ALERT, 3, ..] => Self::Alert,
            [kind @ (20 | 23), 3, ..] => Self::Record(kind),
            [HANDSHAKE, major, minor, ..] => Self::Version(major, minor),
            [high, _, 1, 0, 2] | [high, _, 1, 3, _] if high & 0x80 != 0 => Self::Sslv2,
            _ if first.iter().all(|b| matches!(b, b' '..=b'~' | b'\t' | b'\r' | b'\n')) => Self::Text,
            _ => Self::Bytes(first),
        }
    }
}

impl fmt::Display for NotTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http => f.write_str("a plain HTTP request"),
            Self::Json => f.write_str("a JSON line without TLS"),
            Self::Proxy => f.write_str("a PROXY protocol header (this port does not expect one)"),
            Self::Ssh => f.write_str("an SSH banner"),
            Self::Sslv2 => f.write_str("an SSLv2 ClientHello"),
            Self::Alert => f.write_str("a TLS alert"),
            Self::Record(kind) => write!(f, "a TLS record of type {kind}"),
            Self::Version(major, minor) => write!(f, "a handshake record of version {major}.{minor}"),
            Self::Text => f.write_str("plain text"),
            Self::Bytes(bytes) => {
                f.write_str("bytes that are no TLS (")?;
                bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
                f.write_str("…)")
            }
        }
    }
}

/// How a hello that began as TLS is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A record of another type inside the hello.
    OtherRecord(u8),
    /// A handshake record without content.
    EmptyRecord,
    /// A record longer than TLS allows.
    LongRecord(usize),
    /// A handshake message that is not a ClientHello.
    OtherMessage(u8),
    /// A hello longer than [`MAX_HELLO`].
    LongHello(usize),
    /// More bytes of records than [`MAX_RECORDS`].
    TooManyBytes,
    /// A field runs over its end, or its length is impossible.
    Field(&'static str),
    /// An extension is there twice.
    Duplicate(u16),
    /// Bytes are left after the last field.
    Trailing,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherRecord(kind) => write!(f, "a record of type {kind} inside the ClientHello"),
            Self::EmptyRecord => f.write_str("an empty handshake record"),
            Self::LongRecord(len) => write!(f, "a record of {len} bytes (at most {MAX_RECORD} are allowed)"),
            Self::OtherMessage(kind) => {
                write!(f, "a handshake message of type {kind} instead of a ClientHello")
            }
            Self::LongHello(len) => write!(f, "a ClientHello of {len} bytes (at most {MAX_HELLO} are read)"),
            Self::TooManyBytes => write!(f, "a ClientHello in more than {MAX_RECORDS} bytes of records"),
            Self::Field(name) => write!(f, "its {name} is cut short or has an impossible length"),
            Self::Duplicate(id) => write!(f, "extension {id} is there twice"),
            Self::Trailing => f.write_str("bytes after its last field"),
        }
    }
}
