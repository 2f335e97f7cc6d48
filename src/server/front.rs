//! The front of one section's sockets: who may connect, whether a PROXY header comes first, whose word counts.

use super::inside::is_of_this_machine;
use crate::api::Word;
use crate::config::{IpNet, Port, ProxyProtocol};
use crate::net::proxy::{ClientTls, Header, Source, Versions};
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

    /// In front of the tunnel: whoever shows a certificate may knock.
    pub(super) const fn of_tunnel() -> Self {
        Self { header: None, tls: true, trusted: Vec::new() }
    }

    /// Whether connections bring TLS, so that none needs to be trusted.
    pub(super) const fn has_tls(&self) -> bool {
        self.tls
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

    /// Which headers of HTTP count from `peer`, who connects without a PROXY header.
    pub(super) fn word_of(&self, peer: IpAddr) -> Word {
        let trusted = self.trusts(peer);
        Word { on_certificates: trusted, on_addresses: trusted }
    }

    /// Which headers of HTTP count behind a trusted proxy's `header`. If TLS went through that proxy,
    /// the client itself speaks HTTP with us, and whoever it says it is, it is not the proxy.
    pub(super) fn word_behind(&self, header: &Header) -> Word {
        let client_is_trusted = match header.source {
            Source::Client(client) => self.trusts_named(client.ip()),
            Source::Proxy => true,
            Source::Unknown => false,
        };
        let ended = !self.tls || header.tls.as_ref().is_some_and(|client| client.ended);
        let named = matches!(header.source, Source::Client(_));
        Word {
            on_certificates: ended || client_is_trusted,
            // An address that the PROXY header told is better than what HTTP tells.
            on_addresses: client_is_trusted || (ended && !named),
        }
    }

    /// The client's TLS, if the proxy ended it: whatever TLS there is from the proxy to us is its own.
    pub(super) fn client_behind(&self, header: Header) -> Option<Box<ClientTls>> {
        header.tls.filter(|client| client.ended || !self.tls)
    }

    /// Whether `peer` is in `trusted_proxies`. This machine itself is not, unless it is named.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(peer))
    }

    /// Whether `client`, whom a PROXY header names, is a trusted proxy too. This machine never is: m0v's own
    /// tunnels connect from it, each for a gateway that no header names, and may lead to the balancer's port.
    pub(super) fn trusts_named(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        // Who cannot tell does not trust.
        self.trusts(client) && !is_of_this_machine(client).unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_http_is_believed_only_if_he_is_a_trusted_proxy() {
        let client = |ip: &str| Source::Client(format!("{ip}:1").parse().unwrap());
        let (outside, proxy) = (client("203.0.113.9"), client("198.51.100.2"));
        // This machine, from which a tunnel may come that leads to the balancer's own port.
        let (this, mapped) = (client("127.0.0.1"), Source::Client("[::ffff:127.0.0.1]:1".parse().unwrap()));
        for (tls, source, ended, expected) in [
            // TLS goes through the proxy: the client speaks.
            (true, outside, false, (false, false)),
            (true, Source::Unknown, false, (false, false)),
            (true, proxy, false, (true, true)),
            (true, Source::Proxy, false, (true, true)),
            // The proxy ended it, with or without TLS from there to here.
            (true, outside, true, (true, false)),
            (false, outside, false, (true, false)),
            (false, Source::Unknown, false, (true, true)),
            (false, proxy, true, (true, true)),
            (true, this, false, (false, false)),
            (true, mapped, false, (false, false)),
            (true, this, true, (true, false)),
            (false, this, false, (true, false)),
        ] {
            let trusted = ["198.51.100.0/24", "127.0.0.0/8"].map(|net| net.parse().unwrap()).into();
            let front = Front { header: HEADER, tls, trusted };
            let details = ClientTls { ended, ..ClientTls::default() };
            let word = front.word_behind(&Header { source, tls: Some(Box::new(details)) });
            assert_eq!((word.on_certificates, word.on_addresses), expected, "{tls} {source:?} {ended}");
        }
        let front = Front { header: None, tls: true, trusted: vec!["10.0.0.0/8".parse().unwrap()] };
        assert!(front.word_of("10.0.0.1".parse().unwrap()).on_certificates);
        assert_eq!(front.word_of("127.0.0.1".parse().unwrap()), Word::default());
    }

    #[test]
    fn no_header_makes_this_machine_a_trusted_proxy() {
        let all = ["0.0.0.0/0", "::/0"].map(|net| net.parse().unwrap());
        let front = Front { header: HEADER, tls: true, trusted: all.into() };
        for interface in if_addrs::get_if_addrs().unwrap() {
            let ip = interface.ip();
            assert!(front.trusts(ip) && !front.trusts_named(ip), "{ip}");
        }
        assert!(!front.trusts_named("127.9.9.9".parse().unwrap()));
        assert!(front.trusts_named("198.51.100.2".parse().unwrap()));
    }

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
