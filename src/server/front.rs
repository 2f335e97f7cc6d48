//! The front of one section's sockets: who may connect, and whether a PROXY header comes first.

use crate::config::{IpNet, Port, ProxyProtocol};
use crate::net::proxy::Versions;
use std::net::IpAddr;

/// What `tls`, `proxy_protocol` and `trusted_proxies` of a section make of an address.
#[derive(Debug)]
pub(super) struct Front {
    header: Option<Versions>,
    tls: bool,
    trusted: Vec<IpNet>,
}

impl Front {
    pub(super) fn of(port: Port<'_>) -> Self {
        let header = match port.proxy_protocol {
            ProxyProtocol::Off => None,
            ProxyProtocol::V1 => Some(Versions::V1),
            ProxyProtocol::V2 => Some(Versions::V2),
            ProxyProtocol::Any => Some(Versions::Any),
        };
        Self { header, tls: port.tls, trusted: port.trusted_proxies.to_vec() }
    }

    /// Which header every connection must begin with.
    pub(super) const fn header(&self) -> Option<Versions> {
        self.header
    }

    /// Why `peer` may not connect, for [`crate::ops::events::turned_away`].
    pub(super) fn turns_away(&self, peer: IpAddr) -> Option<&'static str> {
        if self.trusts(peer) {
            return None;
        }
        match self.header {
            Some(_) => Some("not a trusted proxy"),
            None if !self.tls && !peer.to_canonical().is_loopback() => {
                Some("plain text from an untrusted address")
            }
            None => None,
        }
    }

    /// Whether `peer` is in `trusted_proxies`. This machine itself is not, unless it is named.
    fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Option<Versions> = Some(Versions::Any);

    #[test]
    fn only_trusted_proxies_bring_headers_and_only_they_and_this_machine_plain_text() {
        let (away, plain) = (Some("not a trusted proxy"), Some("plain text from an untrusted address"));
        for (header, tls, peer, expected) in [
            (None, true, "203.0.113.9", None),
            (None, true, "10.0.0.1", None),
            (None, false, "10.0.0.1", None),
            (None, false, "127.0.0.1", None),
            (None, false, "::ffff:127.0.0.1", None),
            (None, false, "203.0.113.9", plain),
            (HEADER, true, "::ffff:10.0.0.1", None),
            (HEADER, true, "203.0.113.9", away),
            (HEADER, true, "127.0.0.1", away),
            (HEADER, false, "10.0.0.1", None),
            (HEADER, false, "127.0.0.1", away),
            (HEADER, false, "::1", away),
        ] {
            let front = Front { header, tls, trusted: vec!["10.0.0.0/8".parse().unwrap()] };
            assert_eq!(front.turns_away(peer.parse().unwrap()), expected, "{header:?} {tls} {peer}");
        }
    }
}
