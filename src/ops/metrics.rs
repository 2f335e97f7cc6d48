//! The counters behind `/metrics`, in the Prometheus text format.

use super::stored::Stored;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::num::NonZeroU32;

/// Which of our ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PortLabel {
    /// `meter`, `confirm`, …
    pub port: &'static str,
}

/// One kind of something, named in the metric's help.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// `meter`, `confirm`, …
    pub port: &'static str,
    /// A fixed word, never anything a peer sent.
    pub reason: &'static str,
}

/// How a handshake ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HandshakeLabel {
    /// `meter`, `confirm`, …
    pub port: &'static str,
    /// `rustls`, `s2n-tls`, `none`.
    pub stack: &'static str,
    /// `TLSv1.2`, …; empty when it failed.
    pub version: &'static str,
    /// The IANA name; empty when it failed.
    pub cipher: &'static str,
    /// `full`, `resumed`, or why it failed.
    pub outcome: &'static str,
}

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    quiet: DefaultKeyedRateLimiter<&'static str>,
    /// TCP connections accepted.
    pub accepted: Family<PortLabel, Counter>,
    /// Connections open now.
    pub open: Family<PortLabel, Gauge>,
    /// Accepts that failed, and connections turned away before TLS.
    pub turned_away: Family<ReasonLabel, Counter>,
    /// Handshakes by result.
    pub handshakes: Family<HandshakeLabel, Counter>,
    /// Lines answered with what the peer hoped for.
    pub thanked: Family<PortLabel, Counter>,
    /// Lines answered `!OK`.
    pub refused: Family<ReasonLabel, Counter>,
    /// Queue, commits, spool.
    pub stored: Stored,
    /// Failed calls to the store.
    pub store_errors: Family<ReasonLabel, Counter>,
    /// 1 while the database answers.
    pub store_up: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("m0v");
        let (accepted, open, turned_away) = (Family::default(), Family::default(), Family::default());
        registry.register("connections", "TCP connections accepted", Family::clone(&accepted));
        registry.register("connections_open", "Connections open now", Family::clone(&open));
        registry.register(
            "connections_turned_away",
            "Accepts that failed, and connections closed before TLS",
            Family::clone(&turned_away),
        );
        let handshakes = Family::default();
        registry.register("handshakes", "TLS handshakes by result", Family::clone(&handshakes));
        let (thanked, refused) = (Family::default(), Family::default());
        registry.register("lines_thanked", "Lines answered as hoped", Family::clone(&thanked));
        registry.register("lines_refused", "Lines answered !OK", Family::clone(&refused));
        let stored = Stored::register(&mut registry);
        let store_errors = Family::default();
        registry.register("store_errors", "Failed calls to the database", Family::clone(&store_errors));
        let store_up = Gauge::default();
        registry.register("store_up", "1 while the database answers", store_up.clone());
        Self {
            registry,
            quiet: RateLimiter::keyed(Quota::per_minute(NonZeroU32::MIN)),
            accepted,
            open,
            turned_away,
            handshakes,
            thanked,
            refused,
            stored,
            store_errors,
            store_up,
        }
    }
}

impl Metrics {
    /// Whether a line about `what` may be logged now: at most one a minute each.
    #[must_use]
    pub fn once_a_minute(&self, what: &'static str) -> bool {
        self.quiet.check_key(&what).is_ok()
    }

    /// The text a Prometheus scrape gets.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _infallible = text::encode(&mut out, &self.registry);
        out
    }
}
