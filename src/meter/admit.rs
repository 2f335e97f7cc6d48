//! Which unknown devices may make themselves (`[meter] unknown_id = "create"`).

use crate::net::admission::block;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

/// New devices one address may create in an hour. A site that installs a rack of meters
/// behind one router stays below it; a stranger who counts upwards does not.
const CREATED_PER_PEER_AND_HOUR: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

/// Addresses remembered at most; a stranger beyond them must wait until some have regained
/// their full quota.
const MOST_ADDRESSES: usize = 100_000;

/// Those are looked for once in so many admissions: a look walks over all of them.
const SWEEP_EVERY: u64 = 10_000;

/// What happens to a packet of a device that does not exist.
pub enum Creation {
    /// `!OK unknown id 17`.
    Reject,
    /// The device is made; how many one address may make in an hour is bounded.
    Create(Box<Quotas>),
}

impl Creation {
    /// The policy `create`.
    #[must_use]
    pub fn create() -> Self {
        let limiter = RateLimiter::keyed(Quota::per_hour(CREATED_PER_PEER_AND_HOUR));
        Self::Create(Box::new(Quotas { limiter, admissions: AtomicU64::new(1) }))
    }

    /// Takes one from `peer`'s quota: `None` when unknown devices are rejected,
    /// `Some(false)` when the quota is used up.
    pub fn admit(&self, peer: IpAddr) -> Option<bool> {
        match self {
            Self::Reject => None,
            Self::Create(quotas) => Some(quotas.take(block(peer))),
        }
    }
}

/// What each address has left; an IPv6 subscriber is one address.
pub struct Quotas {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    admissions: AtomicU64,
}

impl Quotas {
    fn take(&self, peer: IpAddr) -> bool {
        if self.admissions.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            self.limiter.retain_recent();
        }
        self.limiter.len() < MOST_ADDRESSES && self.limiter.check_key(&peer).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_subscriber_has_one_quota() {
        let creation = Creation::create();
        let peer = |last: u16| format!("2001:db8::{last:x}").parse().unwrap();
        for last in 0..100 {
            assert_eq!(creation.admit(peer(last)), Some(true));
        }
        assert_eq!(creation.admit(peer(100)), Some(false));
        assert_eq!(creation.admit("2001:db8:0:1::1".parse().unwrap()), Some(true));
        assert_eq!(Creation::Reject.admit(peer(1)), None);
    }
}
