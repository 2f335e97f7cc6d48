//! A peer's address, as far as it is known: a header of HTTP may tell it without a port.

use serde::{Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The address.
    pub ip: IpAddr,
    /// The port there, if somebody told.
    pub port: Option<u16>,
}

impl From<SocketAddr> for Remote {
    fn from(address: SocketAddr) -> Self {
        Self { ip: address.ip(), port: Some(address.port()) }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

impl Serialize for Remote {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Remote;
    use std::net::SocketAddr;

    #[test]
    fn a_port_is_shown_if_it_is_known() {
        for (address, bare) in [("203.0.113.9:5", "203.0.113.9"), ("[2001:db8::9]:5", "2001:db8::9")] {
            let known = Remote::from(address.parse::<SocketAddr>().unwrap());
            assert_eq!(known.to_string(), address);
            assert_eq!(serde_json::to_value(Remote { port: None, ..known }).unwrap(), bare);
        }
    }
}
