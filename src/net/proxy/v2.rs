//! The binary form: command, family, addresses, then TLVs.

use super::fault::Fault;
use super::tlv;
use super::{Header, Source};
use ppp::v2::{self, Addresses, Protocol};

const VERSION_AND_COMMAND: usize = 12;
/// Version 2, command `LOCAL`.
const LOCAL: u8 = 0x20;

/// Reads one whole header.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, Fault> {
    // Everything that follows is to be skipped unread, even what would be invalid elsewhere.
    if bytes.get(VERSION_AND_COMMAND) == Some(&LOCAL) {
        return Ok(Header { source: Source::Proxy, tls: None });
    }
    let header = v2::Header::try_from(bytes).map_err(Fault::V2)?;
    let source = match (header.addresses, header.protocol) {
        (Addresses::IPv4(ip), Protocol::Stream) => Source::client(ip.source_address, ip.source_port),
        (Addresses::IPv6(ip), Protocol::Stream) => Source::client(ip.source_address, ip.source_port),
        // Valid, and not what comes over TCP: falls back to AF_UNSPEC, as the specification has it.
        (
            Addresses::IPv4(_) | Addresses::IPv6(_) | Addresses::Unix(_) | Addresses::Unspecified,
            Protocol::Stream | Protocol::Datagram | Protocol::Unspecified,
        ) => Source::Unknown,
    };
    let tls = tlv::read(&header)?;
    Ok(Header { source, tls: tls.map(Box::new) })
}
