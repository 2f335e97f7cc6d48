//! This process as its tunnels see it: which addresses are its own listeners, and a way in that
//! needs no socket.
//!
//! Over TCP such a connection would come from this very machine, which may be a trusted proxy, and
//! nobody would see the gateway. So it is handed over as a connection of the gateway.

use super::connection::{Door, House};
use crate::tunnel::{Entered, Surroundings};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// What listens at one of our addresses.
pub(super) enum Behind {
    /// A port that takes anybody's TLS.
    Door(Arc<Door>),
    /// One that no tunnel leads to; the text continues "the target …".
    Closed(&'static str),
}

/// Every listener of the process, by its address as bound.
pub(super) struct Inside {
    pub(super) house: Arc<House>,
    pub(super) listeners: Vec<(SocketAddr, Behind)>,
}

impl Surroundings for Inside {
    fn enter(&self, address: SocketAddr, gateway: SocketAddr) -> Entered {
        match self.behind(address) {
            Ok(None) => Entered::NotOurs,
            Ok(Some(Behind::Closed(why))) => Entered::Closed(why),
            Ok(Some(Behind::Door(door))) => {
                House::receive_inside(&self.house, door, gateway).map_or(Entered::Full, Entered::Here)
            }
            Err(error) => {
                log::debug!("cannot tell whether {address} is ours: {error}");
                Entered::Full
            }
        }
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.house.free_permit()
    }
}

impl Inside {
    /// What a connection to `address` would reach, if it is ours.
    fn behind(&self, address: SocketAddr) -> io::Result<Option<&Behind>> {
        let bound: Vec<SocketAddr> = self.listeners.iter().map(|(bound, _)| *bound).collect();
        let at = find(&bound, address)?;
        Ok(at.and_then(|at| self.listeners.get(at)).map(|(_, behind)| behind))
    }
}

/// Which of the bound addresses takes connections to `address`: exactly that one, else the one that
/// takes all of its family, as in the kernel.
pub(super) fn find(bound: &[SocketAddr], address: SocketAddr) -> io::Result<Option<usize>> {
    let ip = reached(address.ip());
    let at = |test: &dyn Fn(IpAddr) -> bool| {
        bound.iter().position(|bound| bound.port() == address.port() && test(bound.ip()))
    };
    if let Some(exact) = at(&|bound| bound.to_canonical() == ip) {
        return Ok(Some(exact));
    }
    match at(&|bound| bound.is_unspecified() && bound.is_ipv4() == ip.is_ipv4()) {
        Some(everywhere) if is_of_this_machine(ip)? => Ok(Some(everywhere)),
        _ => Ok(None),
    }
}

/// Where the kernel goes when asked for `ip`: IPv4 for a mapped address, the loopback for none.
fn reached(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// Asked each time: interfaces come and go.
pub(super) fn is_of_this_machine(ip: IpAddr) -> io::Result<bool> {
    Ok(ip.is_loopback() || if_addrs::get_if_addrs()?.iter().any(|interface| interface.ip() == ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_listeners_however_they_are_addressed() {
        let bound =
            ["127.0.0.1:1", "0.0.0.0:2", "[::]:3", "127.0.0.1:2", "[::1]:4", "192.0.2.1:5"].map(socket);
        for (address, expected) in [
            ("127.0.0.1:1", Some(0)),
            ("[::ffff:127.0.0.1]:1", Some(0)),
            ("0.0.0.0:1", Some(0)),
            ("127.0.0.2:1", None),
            ("[::1]:1", None),
            ("127.0.0.2:2", Some(1)),
            ("127.0.0.1:2", Some(3)),
            ("[::1]:2", None),
            ("[::1]:3", Some(2)),
            ("[::]:4", Some(4)),
            ("127.0.0.1:3", None),
            ("192.0.2.1:5", Some(5)),
            // Another machine's, though our port of that number listens on all of our addresses.
            ("192.0.2.1:2", None),
            ("[2001:db8::1]:3", None),
            ("127.0.0.1:9", None),
        ] {
            assert_eq!(find(&bound, socket(address)).unwrap(), expected, "{address}");
        }
    }

    #[test]
    fn knows_the_addresses_of_its_interfaces() {
        for interface in if_addrs::get_if_addrs().unwrap() {
            let ip = interface.ip();
            let everywhere = if ip.is_ipv4() { "0.0.0.0:7" } else { "[::]:7" };
            assert_eq!(find(&[socket(everywhere)], SocketAddr::new(ip, 7)).unwrap(), Some(0), "{ip}");
        }
    }

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }
}
