//! Handshakes that failed: the last ones kept for the operator, and which of them is worth a warning.

use crate::net::remote::Remote;
use crate::tls::Offer;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde::Serialize;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many failures `GET /handshakes` shows.
const KEPT: usize = 50;
/// Pairs of peer and reason that are remembered for a minute; beyond them nobody is warned of.
const MAX_PEERS: usize = 4096;

/// The last failures, newest first.
#[derive(Debug)]
pub struct Handshakes {
    last: Mutex<VecDeque<Failed>>,
    warned: DefaultKeyedRateLimiter<(IpAddr, &'static str)>,
}

/// One failed handshake, as `/handshakes` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Unix seconds.
    pub time: u64,
    /// The connection's number in the log.
    pub connection: u64,
    /// `meter`, `confirm`, …
    pub port: &'static str,
    /// Who connected; behind a balancer the client it named.
    pub peer: Remote,
    /// The balancer that named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<SocketAddr>,
    /// The reason's label, as in the counter.
    pub reason: &'static str,
    /// What happened: the peer …
    pub words: String,
    /// What the peer offered; absent when there was no ClientHello.
    pub offered: Option<Offered>,
    /// The strictest `compat` level that would serve a refused hello.
    pub compat: Option<&'static str>,
}

/// A hello in IANA names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offered {
    versions: Vec<String>,
    suites: Vec<String>,
    groups: Option<Vec<String>>,
    signatures: Option<Vec<String>>,
}

impl From<&Offer> for Offered {
    fn from(offer: &Offer) -> Self {
        Self {
            versions: offer.versions(),
            suites: offer.suites(),
            groups: offer.groups(),
            signatures: offer.signatures(),
        }
    }
}

impl Default for Handshakes {
    fn default() -> Self {
        Self {
            last: Mutex::new(VecDeque::with_capacity(KEPT)),
            warned: RateLimiter::keyed(Quota::per_minute(NonZeroU32::MIN)),
        }
    }
}

impl Handshakes {
    /// Keeps a failure, and forgets the oldest.
    pub fn keep(&self, failed: Failed) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.truncate(KEPT - 1);
        last.push_front(failed);
    }

    /// The failures kept, newest first.
    #[must_use]
    pub fn last(&self) -> Vec<Failed> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Whether this peer may be warned of for this reason now: once a minute each.
    #[must_use]
    pub fn may_warn(&self, peer: IpAddr, reason: &'static str) -> bool {
        if self.warned.len() >= MAX_PEERS {
            self.warned.retain_recent();
            if self.warned.len() >= MAX_PEERS {
                return false;
            }
        }
        self.warned.check_key(&(network(peer), reason)).is_ok()
    }
}

/// One subscriber: an IPv4 address, or the /64 that an IPv6 host has for itself.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Unix seconds; a clock before 1970 is 0.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn failed(connection: u64) -> Failed {
        Failed {
            time: 0,
            connection,
            port: "meter",
            peer: SocketAddr::from(([127, 0, 0, 1], 1)).into(),
            via: None,
            reason: "suites",
            words: String::new(),
            offered: None,
            compat: None,
        }
    }

    #[test]
    fn keeps_the_last_fifty_newest_first() {
        let handshakes = Handshakes::default();
        (0..120).for_each(|number| handshakes.keep(failed(number)));
        let kept: Vec<u64> = handshakes.last().iter().map(|failed| failed.connection).collect();
        assert_eq!(kept, (70..120).rev().collect::<Vec<_>>());
    }

    #[test]
    fn warns_once_a_minute_of_each_peer_and_reason() {
        let handshakes = Handshakes::default();
        let [a, b] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        assert!(handshakes.may_warn(a, "suites") && handshakes.may_warn(a, "groups"));
        assert!(handshakes.may_warn(b, "suites"));
        assert!(!handshakes.may_warn(a, "suites") && !handshakes.may_warn(b, "suites"));
        let v6 = |last| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        assert!(handshakes.may_warn(v6(1), "suites"));
        assert!(!handshakes.may_warn(v6(2), "suites"), "one /64 is one peer");
    }

    #[test]
    fn remembers_no_more_peers_than_its_bound() {
        let handshakes = Handshakes::default();
        let warned = (0..20_000).filter(|n| handshakes.may_warn(Ipv4Addr::from(*n).into(), "suites")).count();
        assert_eq!(warned, MAX_PEERS);
        assert!(handshakes.warned.len() <= MAX_PEERS);
    }
}
