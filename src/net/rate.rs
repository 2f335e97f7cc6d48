//! How often one address may ask.

use super::admission::block;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Addresses remembered before those that have regained their full quota are forgotten; a
/// flood from more addresses than that shares one quota.
const REMEMBERED: usize = 10_000;

/// Whose quota those share.
const THE_REST: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// A quota for each peer address; an IPv6 peer is its /64.
pub struct PerIpRate {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
}

impl PerIpRate {
    /// The same `quota` for every address.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self { limiter: RateLimiter::keyed(quota), clock: DefaultClock::default() }
    }

    /// Takes one from `peer`'s quota.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn admit(&self, peer: IpAddr) -> Result<(), Duration> {
        if self.limiter.len() >= REMEMBERED {
            self.limiter.retain_recent();
        }
        let key = if self.limiter.len() < REMEMBERED { block(peer) } else { THE_REST };
        self.limiter.check_key(&key).map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn counts_each_address_by_itself_and_remembers_a_bounded_number() {
        let rate = PerIpRate::new(Quota::per_hour(NonZeroU32::MIN));
        let ip = |number: u32| IpAddr::V4(number.into());
        assert!(rate.admit(ip(1)).is_ok());
        let wait = rate.admit(ip(1)).unwrap_err();
        assert!(wait > Duration::from_secs(3500) && wait <= Duration::from_secs(3600), "{wait:?}");
        let remembered = u32::try_from(REMEMBERED).unwrap();
        for number in 2..=remembered {
            assert!(rate.admit(ip(number)).is_ok());
        }
        assert!(rate.admit(ip(remembered + 1)).is_ok(), "the first of the rest");
        assert!(rate.admit(ip(remembered + 2)).is_err());
        assert!(rate.limiter.len() <= REMEMBERED + 1);
    }
}
