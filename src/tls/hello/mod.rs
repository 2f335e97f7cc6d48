//! What a client says first: a pure, incremental reading of a TLS ClientHello.
//!
//! Bytes in, values out: no I/O, no clock, no log, no panic. What is done about a hello is
//! [`super::verdict`]'s; whether its extensions make sense beyond their form is the stacks'.

mod reader;
mod unreadable;

pub use reader::{MAX_HELLO, MAX_RECORDS, Reader};
pub use unreadable::{Malformed, NotTls, Unreadable};

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

    /// Whether the client can read a TLS 1.3 ticket of rustls, whose nonce has 32 bytes: wolfSSL keeps 8
    /// unless built otherwise, and ends the connection over it. Of the stacks that offer TLS 1.3, it is
    /// the one that leaves the session id empty (no middlebox mode, RFC 8446 §D.4); one that could have
    /// read the ticket merely does not resume.
    #[must_use]
    pub fn takes_long_ticket_nonces(&self) -> bool {
        !self.speaks(0x0304) || self.session_id_len > 0
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
