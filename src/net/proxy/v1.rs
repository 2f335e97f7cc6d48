//! The text form: `PROXY TCP4 203.0.113.9 192.0.2.1 40000 443`.

use super::fault::Fault;
use super::{Header, Source};
use ppp::v1::{self, Addresses, BinaryParseError, ParseError};
use std::net::{IpAddr, SocketAddr};

const UNKNOWN: &[u8] = b"PROXY UNKNOWN";

/// Reads one line, LF included.
pub(super) fn parse(line: &[u8]) -> Result<Header, Fault> {
    let Some(content) = line.strip_suffix(b"\r\n") else { return Err(Fault::LineEnd) };
    // What follows UNKNOWN is to be ignored, whatever it is; the crate wants at most five words.
    let rest = content.strip_prefix(UNKNOWN);
    if rest.is_some_and(|rest| matches!(rest.first(), None | Some(b' '))) {
        return Ok(Header { source: Source::Unknown, tls: None });
    }
    // The crate takes "+443" for a port and a CR for a space.
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'.' | b':');
    if !content.iter().all(is_plain) {
        return Err(Fault::Characters);
    }
    let header = v1::Header::try_from(line).map_err(|error| match error {
        // Its own text has the line end in it.
        BinaryParseError::Parse(ParseError::InvalidSuffix) => Fault::Trailing,
        error => Fault::V1(error),
    });
    let source = match header?.addresses {
        Addresses::Unknown => Source::Unknown,
        Addresses::Tcp4(ip) => Source::client(ip.source_address, ip.source_port),
        Addresses::Tcp6(ip) => Source::client(ip.source_address, ip.source_port),
    };
    Ok(Header { source, tls: None })
}

impl Source {
    /// A proxy that listens on a dual-stack socket tells IPv4 clients as mapped IPv6 ones.
    pub(super) fn client(ip: impl Into<IpAddr>, port: u16) -> Self {
        Self::Client(SocketAddr::new(ip.into().to_canonical(), port))
    }
}
