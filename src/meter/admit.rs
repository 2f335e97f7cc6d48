//! Which unknown devices may make themselves (`[meter] unknown_id = "create"`).

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::IpAddr;
use std::num::NonZeroU32;

/// New devices one address may create in an hour. A site that installs a rack of meters
/// behind one router stays below it; a stranger who counts upwards does not.
const CREATED_PER_PEER_AND_HOUR: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

/// Addresses remembered before those that have regained their full quota are forgotten.
const SWEEP_ABOVE: usize = 10_000;

/// What happens to a packet of a device that does not exist.
pub enum Creation {
    /// `!OK unknown id 17`.
    Reject,
    /// The device is made; how many one address may make in an hour is bounded.
    Create(Box<DefaultKeyedRateLimiter<IpAddr>>),
}

impl Creation {
    /// The policy `create`.
    #[must_use]
    pub fn create() -> Self {
        Self::Create(Box::new(RateLimiter::keyed(Quota::per_hour(CREATED_PER_PEER_AND_HOUR))))
    }

    /// Takes one from `peer`'s quota: `None` when unknown devices are rejected,
    /// `Some(false)` when the quota is used up.
    pub fn admit(&self, peer: IpAddr) -> Option<bool> {
        match self {
            Self::Reject => None,
            Self::Create(limiter) => {
                if limiter.len() > SWEEP_ABOVE {
                    limiter.retain_recent();
                }
                Some(limiter.check_key(&peer).is_ok())
            }
        }
    }
}
