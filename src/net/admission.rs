//! How many connections one address may hold.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Open connections by peer address. An IPv6 peer is its /64, the smallest block a
/// subscriber gets. Holds an entry only while a connection is open, so it is bounded by
/// the connection limit.
#[derive(Debug)]
pub struct PerIp {
    open: Mutex<HashMap<IpAddr, usize>>,
    max: usize,
}

/// One connection's place; dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    admission: Arc<PerIp>,
    peer: IpAddr,
}

impl PerIp {
    /// At most `max` connections per address.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), max })
    }

    /// `None` when `peer` holds as many as it may.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = block(peer);
        let mut open = self.lock();
        let count = open.entry(peer).or_insert(0);
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Place { admission: Arc::clone(self), peer })
    }

    // Counting cannot panic half-way, so a poisoned lock still counts right.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.admission.lock().entry(self.peer) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What counts as one peer: an IPv4 address, or the /64 of an IPv6 one.
pub fn block(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_places_back_and_counts_an_ipv6_subscriber_once() {
        let per_ip = PerIp::new(2);
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let first = per_ip.admit(ip("192.0.2.1")).unwrap();
        let _second = per_ip.admit(ip("::ffff:192.0.2.1")).unwrap();
        assert!(per_ip.admit(ip("192.0.2.1")).is_none());
        drop(first);
        assert!(per_ip.admit(ip("192.0.2.1")).is_some());
        let _a = per_ip.admit(ip("2001:db8::1")).unwrap();
        let _b = per_ip.admit(ip("2001:db8::2")).unwrap();
        assert!(per_ip.admit(ip("2001:db8::3")).is_none());
        assert!(per_ip.admit(ip("2001:db8:0:1::3")).is_some());
    }

    #[test]
    fn remembers_nobody_who_is_gone() {
        let per_ip = PerIp::new(2);
        drop(per_ip.admit("192.0.2.1".parse().unwrap()));
        assert!(per_ip.lock().is_empty());
    }
}
