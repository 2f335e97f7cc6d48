//! The PROXY protocol header that a balancer puts in front of a connection: bytes in, a [`Header`] out.
//!
//! Pure: no I/O, no clock, no log. `frame` says where the header ends, within bounds; `v1` and `v2`
//! let the crate `ppp` read it and judge what that leaves open; `tlv` takes what v2 tells of the
//! client's TLS. Who may send a header is not decided here. [`crate::net::proxied`] reads sockets.

mod fault;
mod frame;
#[cfg(test)]
mod tests;
mod tlv;
mod v1;
mod v2;

pub use fault::Fault;
pub use frame::{BEGINNINGS, MAX_V1, MAX_V2, Versions};
pub use tlv::{CERTIFICATE_TLV, ClientTls};

use frame::Frame;
use std::net::SocketAddr;

/// What one header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// On whose behalf the connection was made.
    pub source: Source,
    /// What a v2 header tells of the client's TLS connection to the proxy.
    pub tls: Option<Box<ClientTls>>,
}

/// On whose behalf a proxy connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its own: a health check (v2 `LOCAL`).
    Proxy,
    /// Somebody's whose address it does not tell or that is none: `UNKNOWN`, `AF_UNSPEC`, `AF_UNIX`, a datagram.
    Unknown,
    /// This client's.
    Client(SocketAddr),
}

/// Reads the header that `bytes` begin with, and its length. `None`: more bytes are needed. The result
/// does not depend on what follows the header, and no more than [`MAX_V2`] bytes are ever needed.
///
/// # Errors
/// [`Fault`]: no number of further bytes makes this a header that is wanted.
pub fn read(bytes: &[u8], versions: Versions) -> Result<Option<(Header, usize)>, Fault> {
    let (header, length) = match frame::find(bytes, versions)? {
        Frame::Incomplete => return Ok(None),
        Frame::V1(header) => (v1::parse(header)?, header.len()),
        Frame::V2(header) => (v2::parse(header)?, header.len()),
    };
    Ok(Some((header, length)))
}
