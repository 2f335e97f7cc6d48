//! The RSA certificate that renews itself.
//!
//! [`Options`] say what is wanted and are checked in one run. An [`Issuer`] goes through one
//! whole order on `rustls_acme`'s low-level module, with the parts that lacks beside it: a
//! signed request of our own where headers count (account, order, chain), deadlines, nonces,
//! trust. A [`Cache`] keeps what a crash must not lose and what nodes share. A [`Keeper`] is
//! the task that follows the cache, orders when [`plan`] says so and waits out failures, the
//! old certificate in place. [`serve_http_01`] and [`serve_tls_alpn_01`] answer the CA.
//!
//! The way of an order is the list of files: `options` → `account` → `begin` → `authorize`
//! (answered by `challenge`, `alpn`) → `order` → `collect` → `certificate`.
//!
//! This room imports nothing of ours. What a chain must be for the devices, and how it gets
//! into the TLS stacks, comes in through [`Install`]; time and dice through [`Ambient`].

mod account;
mod alpn;
mod answer;
mod ari;
mod authorize;
mod begin;
mod cache;
mod call;
mod certificate;
mod challenge;
mod collect;
mod disk;
mod error;
mod file;
mod jws;
mod keeper;
mod key;
mod options;
mod order;
mod problem;
mod renew;
mod secret;
mod state;
mod trust;

pub use account::reach;
pub use alpn::{challenge_config, serve_tls_alpn_01};
pub use ari::Window;
pub use cache::{
    Account, Backoff, Cache, CacheError, ChallengeAnswer, ChallengeKind, Lease, Pending, UnixSeconds,
};
pub use certificate::Certificate;
pub use challenge::serve_http_01;
pub use error::{AcmeError, Class};
pub use file::FileCache;
pub use keeper::{Handle, Keeper};
pub use options::{Checked, Fault, LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Options, name_fault};
pub use order::{Issuer, Step};
pub use problem::{Kind, Problem};
pub use renew::{Plan, Why, pause, plan};
pub use secret::Secret;
pub use state::{Serving, State};

use std::{fmt, sync::Arc, time::Duration};

/// The other side of a new certificate: the devices' demands and the TLS stacks.
pub trait Install: Send + Sync {
    /// Judges a chain as the devices will (RSA, order, dates, a root that is known) without
    /// touching what is served. Also picks among a CA's alternate chains.
    ///
    /// # Errors
    /// One sentence: what is wrong with it.
    fn check(&self, certificate: &Certificate) -> Result<(), String>;

    /// Serves it from now on. If it refuses, the certificate stays in the cache, and this is
    /// asked again every minute and after [`Handle::look_again`].
    ///
    /// # Errors
    /// One sentence: why the old one stays.
    fn install(&self, certificate: &Certificate) -> Result<(), String>;
}

/// How patient the calls are.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// One request, from connecting to the last byte. CAs answer in well under a second,
    /// now and then in ten.
    pub call: Duration,
    /// First pause before looking at an order or authorization again; doubles each time.
    pub poll_first: Duration,
    /// Longest such pause.
    pub poll_most: Duration,
    /// How long one order or one validation is looked at before the next try takes it up.
    pub settle: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(20),
            poll_first: Duration::from_millis(250),
            poll_most: Duration::from_secs(5),
            settle: Duration::from_secs(180),
        }
    }
}

impl Pace {
    fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        let Self { poll_first, poll_most, .. } = *self;
        std::iter::successors(Some(poll_first), move |pause| Some((*pause * 2).min(poll_most)))
    }
}

/// Where time and chance come from.
#[derive(Clone)]
pub struct Ambient {
    now: Arc<dyn Fn() -> UnixSeconds + Send + Sync>,
    dice: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Ambient {
    /// The system's clock and generator.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).timestamp(), roll)
    }

    /// Others; `dice` answers in 0..1.
    #[must_use]
    pub fn new(
        now: impl Fn() -> UnixSeconds + Send + Sync + 'static,
        dice: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), dice: Arc::new(dice) }
    }

    pub(crate) fn now(&self) -> UnixSeconds {
        (self.now)()
    }

    pub(crate) fn dice(&self) -> f64 {
        (self.dice)()
    }
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ambient")
    }
}

fn roll() -> f64 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        // No jitter is a worse wait, not a failure.
        Err(_) => 1.0,
    }
}
