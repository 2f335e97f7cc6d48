//! Where tunnels may lead: the `host:port` of `[tunnel] allow`, no other, no wildcard.
//!
//! A name is looked up once and keeps the addresses it had then until m0v ends: whoever controls
//! its DNS later cannot point a tunnel elsewhere. While it has none, each request asks again.

use super::denied::Denied;
use super::reserved;
use crate::net::authority::{Authority, Host};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// For the name servers; glibc asks a second time after five seconds.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);

/// Every target that is allowed.
#[derive(Debug)]
pub struct Allowed {
    entries: Vec<Entry>,
    /// The addresses that are listed themselves.
    listed: Vec<SocketAddr>,
}

/// One allowed target.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) target: Authority,
    pinned: OnceCell<Pinned>,
    /// Which of the addresses answered last.
    pub(super) good: AtomicUsize,
}

/// What a name was found to be.
#[derive(Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Where connections go, the resolver's choice first.
    pub addresses: Vec<SocketAddr>,
    /// Addresses that were left out, with their kinds.
    pub reserved: Vec<(SocketAddr, &'static str)>,
}

impl Allowed {
    /// Nothing is looked up yet.
    #[must_use]
    pub fn new(targets: Vec<Authority>) -> Self {
        let listed = targets.iter().filter_map(Authority::literal).collect();
        let entry = |target| Entry { target, pinned: OnceCell::new(), good: AtomicUsize::new(0) };
        Self { entries: targets.into_iter().map(entry).collect(), listed }
    }

    /// The entry that is exactly `target`.
    pub(super) fn find(&self, target: &Authority) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.target == *target)
    }

    /// The addresses of an entry, looked up if they are not known yet.
    pub(super) async fn addresses<'a>(&self, entry: &'a Entry) -> Result<&'a [SocketAddr], Denied> {
        let found = entry.pinned.get_or_try_init(|| self.look_up(&entry.target)).await;
        let pinned = found.map_err(|error| Denied::Unresolved(entry.target.clone(), error))?;
        match (&*pinned.addresses, pinned.reserved.first()) {
            ([], Some((_, kind))) => Err(Denied::Reserved(entry.target.clone(), kind)),
            (addresses, _) => Ok(addresses),
        }
    }

    /// Looks every target up, and says of each what was found.
    pub async fn look_up_all(&self, mut say: impl FnMut(&Authority, Result<&Pinned, io::Error>)) {
        for entry in &self.entries {
            let found = entry.pinned.get_or_try_init(|| self.look_up(&entry.target)).await;
            say(&entry.target, found);
        }
    }

    async fn look_up(&self, target: &Authority) -> io::Result<Pinned> {
        let name = match target.host() {
            Host::Name(name) => name,
            Host::Address(ip) => {
                let addresses = vec![SocketAddr::new(*ip, target.port())];
                return Ok(Pinned { addresses, reserved: Vec::new() });
            }
        };
        let found = timeout(LOOKUP_TIMEOUT, lookup_host((&**name, target.port()))).await;
        let found = found.map_err(|_| silent())??;
        let pinned = self.sort(found);
        if pinned.addresses.is_empty() && pinned.reserved.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(pinned)
    }

    /// Leaves out where no name may lead, unless exactly that is listed.
    fn sort(&self, found: impl Iterator<Item = SocketAddr>) -> Pinned {
        let mut pinned = Pinned { addresses: Vec::new(), reserved: Vec::new() };
        for address in found {
            match reserved::kind(address.ip()) {
                Some(kind) if !self.listed.contains(&address) => pinned.reserved.push((address, kind)),
                _ if !pinned.addresses.contains(&address) => pinned.addresses.push(address),
                _ => {}
            }
        }
        pinned
    }
}

/// No answer to a look-up in time.
pub(super) fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the name servers are silent")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(targets: &[&str]) -> Allowed {
        Allowed::new(targets.iter().map(|target| Authority::parse(target).unwrap()).collect())
    }

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    async fn addresses(allowed: &Allowed, target: &str) -> Result<Vec<SocketAddr>, String> {
        let entry = allowed.find(&Authority::parse(target).unwrap()).ok_or("not allowed")?;
        allowed.addresses(entry).await.map(<[_]>::to_vec).map_err(|denied| denied.to_string())
    }

    #[tokio::test]
    async fn finds_exactly_what_is_listed() {
        let allowed = allowed(&["Localhost:38981", "127.0.0.1:38981", "127.0.0.1:38979", "[::1]:38981"]);
        assert_eq!(addresses(&allowed, "127.0.0.1:38979").await, Ok(vec![socket("127.0.0.1:38979")]));
        assert_eq!(addresses(&allowed, "[0::1]:38981").await, Ok(vec![socket("[::1]:38981")]));
        let named = addresses(&allowed, "LOCALHOST:38981").await.unwrap();
        assert!(!named.is_empty() && named.iter().all(|address| address.ip().is_loopback()), "{named:?}");
        for other in [
            "127.0.0.1:38982",
            "127.0.0.2:38981",
            "localhost:38979",
            "[::ffff:127.0.0.1]:38981",
            "127.1:38981",
            "localhost.localdomain:38981",
        ] {
            assert_eq!(addresses(&allowed, other).await, Err("not allowed".to_owned()), "{other}");
        }
    }

    #[tokio::test]
    async fn a_name_for_this_machine_is_refused_unless_the_address_is_listed_with_that_port() {
        let allowed = allowed(&["localhost:38981", "127.0.0.1:38979", "[::1]:38979"]);
        let refusal = addresses(&allowed, "localhost:38981").await.unwrap_err();
        assert!(refusal.contains("leads to a loopback address"), "{refusal}");
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_asked_for_again() {
        let allowed = allowed(&["nobody.invalid:1"]);
        for _ in 0..2 {
            let refusal = addresses(&allowed, "nobody.invalid:1").await.unwrap_err();
            assert!(refusal.starts_with("nobody.invalid:1 has no address"), "{refusal}");
        }
    }

    #[test]
    fn leaves_out_where_no_name_may_lead_and_keeps_the_order() {
        let allowed = allowed(&["many.example:1", "169.254.7.7:1"]);
        let found =
            ["192.0.2.1:1", "127.0.0.1:1", "10.0.0.1:1", "169.254.169.254:1", "192.0.2.1:1", "169.254.7.7:1"];
        let pinned = allowed.sort(found.map(socket).into_iter());
        assert_eq!(pinned.addresses, ["192.0.2.1:1", "10.0.0.1:1", "169.254.7.7:1"].map(socket));
        assert_eq!(
            pinned.reserved,
            [(socket("127.0.0.1:1"), "loopback"), (socket("169.254.169.254:1"), "metadata")]
        );
    }
}
