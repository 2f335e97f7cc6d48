//! `host:port` as configurations and requests write it. Pure: no name is looked up here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A host and a port. Two are the same target only if they are written with the same host
/// (a name's case aside) and port: an address is never the same as a name for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Host,
    port: u16,
}

/// What stands before the colon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, in lower case.
    Name(Box<str>),
    /// An address; an IPv6 one in brackets.
    Address(IpAddr),
}

impl Authority {
    /// Reads `name:port`, `IPv4:port` or `[IPv6]:port`; nothing else is understood, no user, no
    /// zone, no port 0.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        // One way to write a port: no sign, no leading zero.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
        let port = port.parse().ok().filter(|_| digits)?;
        Some(Self { host: Host::parse(host)?, port })
    }

    /// What stands before the colon.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address, if it is written as one.
    #[must_use]
    pub fn literal(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Address(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl Host {
    /// Reads a name, an IPv4 address, or an IPv6 one in brackets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            let address: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(address.into()));
        }
        match text.parse() {
            Ok(address @ IpAddr::V4(_)) => Some(Self::Address(address)),
            Ok(IpAddr::V6(_)) => None,
            Err(_) => is_host_name(text).then(|| Self::Name(text.to_ascii_lowercase().into())),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(ip) => SocketAddr::new(*ip, self.port).fmt(f),
        }
    }
}

/// Whether it can be the name of a host (RFC 1123; `_` is out there too).
#[must_use]
pub fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_addresses_with_their_ports() {
        for (text, shown, literal) in [
            ("meter.example.org:38981", "meter.example.org:38981", None),
            ("METER.Example.ORG:1", "meter.example.org:1", None),
            ("127.0.0.1:65535", "127.0.0.1:65535", Some("127.0.0.1:65535")),
            ("[2001:DB8::0:1]:443", "[2001:db8::1]:443", Some("[2001:db8::1]:443")),
            ("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", Some("[::ffff:127.0.0.1]:1")),
            // Names to a resolver, which may take them for addresses: what it says is judged.
            ("127.1:80", "127.1:80", None),
            ("0x7f000001:80", "0x7f000001:80", None),
        ] {
            let authority = Authority::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(authority.to_string(), shown);
            assert_eq!(authority.literal(), literal.map(|literal| literal.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn reads_nothing_else() {
        for text in [
            "",
            ":",
            ":80",
            "a",
            "a:",
            "a:0",
            "a:080",
            "a:65536",
            "a:+80",
            "a: 80",
            "a:80:80",
            "a b:80",
            "*:80",
            "*.example.org:80",
            "user@a:80",
            "user:word@a:80",
            "http://a:80",
            "a:80/",
            "/a:80",
            "a?:80",
            "a.:80",
            ".a:80",
            "a..b:80",
            "-a:80",
            "\u{e4}:80",
            "a\0:80",
            "::1:80",
            "[::1:80",
            "::1]:80",
            "[::1]80",
            "[127.0.0.1]:80",
            "[fe80::1%eth0]:80",
            "[a]:80",
        ] {
            assert_eq!(Authority::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_not_the_same_as_another_way_to_write_it() {
        let same = |a: &str, b: &str| Authority::parse(a).unwrap() == Authority::parse(b).unwrap();
        assert!(same("A.b:1", "a.B:1") && same("[::1]:1", "[0:0::1]:1"));
        assert!(!same("a.b:1", "a.b:2") && !same("localhost:1", "127.0.0.1:1"));
        assert!(!same("127.0.0.1:1", "[::ffff:127.0.0.1]:1") && !same("127.0.0.1:1", "127.1:1"));
    }
}
