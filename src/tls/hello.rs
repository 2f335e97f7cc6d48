//! What a client says first: a pure, incremental reading of a TLS ClientHello.
//!
//! Bytes in, values out: no I/O, no clock, no log, no panic. What is done about a hello is
//! [`super::verdict`]'s; whether its extensions make sense beyond their form is the stacks'.

use std::fmt;

/// The longest ClientHello message read; longer ones are refused. Post-quantum hellos are below 2 KiB.
pub const MAX_HELLO: usize = 16 * 1024;
/// The most bytes of records read for one hello: room for a hello cut into small records.
pub const MAX_RECORDS: usize = 32 * 1024;

const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
const MAX_RECORD: usize = 16 * 1024;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Feeds on a connection's first bytes until they are a ClientHello, or cannot be one.
/// The result does not depend on how the bytes were cut.
#[derive(Debug, Default)]
pub struct Reader {
    header: [u8; RECORD_HEADER],
    header_len: usize,
    record_left: usize,
    message: Vec<u8>,
    seen: usize,
}

impl Reader {
    /// A reader that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes. `Ok(None)`: incomplete. After any other answer the reader is done.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Option<ClientHello>, Unreadable> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.record_left == 0 {
                self.count(1)?;
                self.push_header(byte)?;
                bytes = rest;
            } else {
                let wanted = self.record_left.min(self.message_left());
                let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
                self.count(taken.len())?;
                self.message.extend_from_slice(taken);
                self.record_left -= taken.len();
                bytes = rest;
                self.check_message_header()?;
                if self.message_left() == 0 {
                    let body = self.message.get(MESSAGE_HEADER..).unwrap_or_default();
                    return ClientHello::parse(body).map(Some).map_err(Unreadable::Malformed);
                }
            }
        }
        Ok(None)
    }

    fn count(&mut self, bytes: usize) -> Result<(), Unreadable> {
        self.seen += bytes;
        if self.seen > MAX_RECORDS {
            return Err(Unreadable::Malformed(Malformed::TooManyBytes));
        }
        Ok(())
    }

    /// How many bytes the message still lacks, as far as is known.
    fn message_left(&self) -> usize {
        let total = match self.message.get(..MESSAGE_HEADER) {
            Some(&[_, a, b, c]) => {
                MESSAGE_HEADER + usize::from(a) * 65536 + usize::from(b) * 256 + usize::from(c)
            }
            _ => MESSAGE_HEADER,
        };
        total.saturating_sub(self.message.len())
    }

    fn push_header(&mut self, byte: u8) -> Result<(), Unreadable> {
        if let Some(slot) = self.header.get_mut(self.header_len) {
            *slot = byte;
        }
        self.header_len += 1;
        if self.header_len < RECORD_HEADER {
            return Ok(());
        }
        self.header_len = 0;
        let [kind, major, _minor, high, low] = self.header;
        let first = self.message.is_empty() && self.seen == RECORD_HEADER;
        if kind != HANDSHAKE || major != 3 {
            return Err(if first {
                Unreadable::NotTls(NotTls::classify(self.header))
            } else {
                Unreadable::Malformed(Malformed::OtherRecord(kind))
            });
        }
        self.record_left = usize::from(u16::from_be_bytes([high, low]));
        match self.record_left {
            0 => Err(Unreadable::Malformed(Malformed::EmptyRecord)),
            len if len > MAX_RECORD => Err(Unreadable::Malformed(Malformed::LongRecord(len))),
            _ => Ok(()),
        }
    }

    fn check_message_header(&self) -> Result<(), Unreadable> {
        match self.message.first() {
            Some(&kind) if kind != CLIENT_HELLO => {
                return Err(Unreadable::Malformed(Malformed::OtherMessage(kind)));
            }
            _ => {}
        }
        let total = self.message.len() + self.message_left();
        if total > MESSAGE_HEADER + MAX_HELLO {
            return Err(Unreadable::Malformed(Malformed::LongHello(total - MESSAGE_HEADER)));
        }
        Ok(())
    }
}

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
    fn classify(first: [u8; RECORD_HEADER]) -> Self {
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

/// What a client can do, as it says itself. Unknown code points (GREASE too) are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// `legacy_version`: the highest version of a client without `supported_versions`.
    pub version: u16,
    /// Length of the session id.
    pub session_id_len: usize,
    /// Cipher suites in the client's order.
    pub suites: Vec<u16>,
    /// Compression methods; 0 is none.
    pub compression: Vec<u8>,
    /// The types of all extensions in their order.
    pub extensions: Vec<u16>,
    /// `supported_versions`.
    pub versions: Option<Vec<u16>>,
    /// `supported_groups`; `None` when the client names none.
    pub groups: Option<Vec<u16>>,
    /// `ec_point_formats`.
    pub point_formats: Option<Vec<u8>>,
    /// `signature_algorithms`.
    pub signatures: Option<Vec<u16>>,
    /// `server_name`, lower case, if it is a plausible host name.
    pub server_name: Option<String>,
    /// `application_layer_protocol_negotiation`.
    pub alpn: Vec<Vec<u8>>,
    /// `max_fragment_length` in bytes (RFC 6066: 512, 1024, 2048 or 4096).
    pub max_fragment_length: Option<usize>,
    /// `record_size_limit` in bytes (RFC 8449).
    pub record_size_limit: Option<usize>,
    /// The length of a `session_ticket`; 0 asks for one.
    pub ticket: Option<usize>,
    /// `pre_shared_key` is there: the TLS 1.3 way to resume.
    pub pre_shared_key: bool,
    /// `extended_master_secret` is there.
    pub extended_master_secret: bool,
}

impl ClientHello {
    /// Reads the body of a ClientHello message.
    fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut body = Cursor(body);
        let mut hello = Self { version: body.u16("version")?, ..Self::default() };
        body.take(32, "random")?;
        hello.session_id_len = body.vector8("session id")?.0.len();
        if hello.session_id_len > 32 {
            return Err(Malformed::Field("session id"));
        }
        hello.suites = body.vector16("cipher suites")?.u16s("cipher suites")?;
        hello.compression = body.vector8("compression methods")?.0.to_vec();
        if hello.suites.is_empty() || hello.compression.is_empty() {
            return Err(Malformed::Field("list of suites or compression methods"));
        }
        if body.0.is_empty() {
            return Ok(hello);
        }
        let mut extensions = body.vector16("extensions")?;
        if !body.0.is_empty() {
            return Err(Malformed::Trailing);
        }
        while !extensions.0.is_empty() {
            let id = extensions.u16("extensions")?;
            let content = extensions.vector16("extensions")?;
            if hello.extensions.contains(&id) {
                return Err(Malformed::Duplicate(id));
            }
            hello.extensions.push(id);
            hello.read_extension(id, content)?;
        }
        Ok(hello)
    }

    fn read_extension(&mut self, id: u16, mut content: Cursor<'_>) -> Result<(), Malformed> {
        match id {
            0 => self.server_name = server_name(content)?,
            1 => self.max_fragment_length = fragment_length(content.u8("max_fragment_length")?),
            10 => self.groups = Some(content.vector16("supported_groups")?.u16s("supported_groups")?),
            11 => self.point_formats = Some(content.vector8("ec_point_formats")?.0.to_vec()),
            13 => {
                self.signatures =
                    Some(content.vector16("signature_algorithms")?.u16s("signature_algorithms")?);
            }
            16 => {
                let mut protocols = content.vector16("ALPN")?;
                while !protocols.0.is_empty() {
                    self.alpn.push(protocols.vector8("ALPN")?.0.to_vec());
                }
            }
            23 => self.extended_master_secret = true,
            28 => self.record_size_limit = Some(usize::from(content.u16("record_size_limit")?)),
            35 => self.ticket = Some(content.0.len()),
            41 => self.pre_shared_key = true,
            43 => self.versions = Some(content.vector8("supported_versions")?.u16s("supported_versions")?),
            _ => {}
        }
        Ok(())
    }

    /// Whether the client can speak `version` (0x0303 is TLS 1.2).
    #[must_use]
    pub fn speaks(&self, version: u16) -> bool {
        match &self.versions {
            Some(versions) => versions.contains(&version),
            // TLS 1.3 is only ever offered by the extension.
            None => version <= 0x0303 && self.version >= version && self.version >> 8 == 3,
        }
    }

    /// The largest record content the client wants to be sent, if it says so.
    #[must_use]
    pub fn fragment_limit(&self) -> Option<usize> {
        // RFC 8449 counts TLS 1.3's content type byte; 64 is its floor.
        let limit = self.record_size_limit.map(|limit| limit.max(64) - 1);
        match (limit, self.max_fragment_length) {
            // RFC 8449 §5: max_fragment_length is ignored beside record_size_limit.
            (Some(limit), _) => Some(limit),
            (None, length) => length,
        }
    }
}

/// The code points of RFC 6066 §4; others are ignored here and refused by the stacks.
fn fragment_length(code: u8) -> Option<usize> {
    matches!(code, 1..=4).then(|| 256 << code)
}

fn server_name(mut content: Cursor<'_>) -> Result<Option<String>, Malformed> {
    let mut names = content.vector16("server_name")?;
    while !names.0.is_empty() {
        let kind = names.u8("server_name")?;
        let name = names.vector16("server_name")?.0;
        let plausible = !name.is_empty()
            && name.len() <= 253
            && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        if kind == 0 && plausible {
            return Ok(String::from_utf8(name.to_ascii_lowercase()).ok());
        }
    }
    Ok(None)
}

/// The rest of a field. Every read says which field it belongs to.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::Field(field))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.take(1, field)?.first().copied().ok_or(Malformed::Field(field))
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes([self.u8(field)?, self.u8(field)?]))
    }

    fn vector8(&mut self, field: &'static str) -> Result<Self, Malformed> {
        let len = self.u8(field)?;
        self.take(usize::from(len), field).map(Cursor)
    }

    fn vector16(&mut self, field: &'static str) -> Result<Self, Malformed> {
        let len = self.u16(field)?;
        self.take(usize::from(len), field).map(Cursor)
    }

    fn u16s(&mut self, field: &'static str) -> Result<Vec<u16>, Malformed> {
        let mut values = Vec::with_capacity(self.0.len() / 2);
        while !self.0.is_empty() {
            values.push(self.u16(field)?);
        }
        Ok(values)
    }
}
