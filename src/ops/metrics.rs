//! The counters behind `/metrics`, in the Prometheus text format.

use super::accounts::Accounts;
use super::devices::Certificates;
use super::handshakes::Handshakes;
use super::stored::Stored;
use super::tunnels::Tunnels;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::num::NonZeroU32;
use std::sync::Arc;

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

/// How an HTTP request was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    /// The status.
    pub code: u32,
}

/// What a confirmation was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConfirmationLabel {
    /// Two users configured one hash.
    pub conflict: bool,
}

/// How a handshake ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HandshakeLabel {
    /// `meter`, `confirm`, …
    pub port: &'static str,
    /// `rustls`, `s2n-tls`, `none`.
    pub stack: &'static str,
    /// The `compat` level of s2n-tls; empty on rustls and when it failed.
    pub level: &'static str,
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
    /// The failed ones in words, for `/handshakes`.
    pub failed_handshakes: Handshakes,
    /// Lines answered with what the peer hoped for.
    pub thanked: Family<PortLabel, Counter>,
    /// Lines answered `!OK`.
    pub refused: Family<ReasonLabel, Counter>,
    /// Requests on the API port.
    pub requests: Family<StatusLabel, Counter>,
    /// Requests with an API key that is none.
    pub wrong_api_keys: Counter,
    /// Accounts, and what brokers ask of them.
    pub accounts: Accounts,
    /// Confirmations stored.
    pub confirmations: Family<ConfirmationLabel, Counter>,
    /// Queries that wait for a confirmation now.
    pub held: Gauge,
    /// Who devices are.
    pub devices: Certificates,
    /// Queue, commits, spool.
    pub stored: Stored,
    /// The CONNECT proxy.
    pub tunnels: Arc<Tunnels>,
    /// Failed calls to the store.
    pub store_errors: Family<ReasonLabel, Counter>,
    /// 1 while the database answers.
    pub store_up: Gauge,
    /// Seconds until the first certificate of the served chain ends; below 0 afterwards.
    pub certificate_expiry: Gauge,
    /// Failed tries to get a certificate from the CA.
    pub acme_failures: Counter,
    /// Certificates from the CA that came into service.
    pub acme_certificates: Counter,
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
        let (requests, confirmations) = (Family::default(), Family::default());
        registry.register("api_requests", "HTTP requests answered, by status", Family::clone(&requests));
        registry.register(
            "confirmations",
            "Confirmations stored; a conflict waits for the operator",
            Family::clone(&confirmations),
        );
        let wrong_api_keys = Counter::default();
        registry.register(
            "api_wrong_keys",
            "Requests with an API key that is not accepted",
            wrong_api_keys.clone(),
        );
        let accounts = Accounts::register(&mut registry);
        let held = Gauge::default();
        registry.register("queries_held", "Queries that wait for a confirmation now", held.clone());
        let devices = Certificates::register(&mut registry);
        let stored = Stored::register(&mut registry);
        let tunnels = Tunnels::register(&mut registry);
        let store_errors = Family::default();
        registry.register("store_errors", "Failed calls to the database", Family::clone(&store_errors));
        let store_up = Gauge::default();
        registry.register("store_up", "1 while the database answers", store_up.clone());
        let certificate_expiry = Gauge::default();
        registry.register_with_unit(
            "certificate_expiry",
            "Until the served chain ends",
            Unit::Seconds,
            certificate_expiry.clone(),
        );
        let (acme_failures, acme_certificates) = (Counter::default(), Counter::default());
        registry.register("acme_failures", "Failed tries to get a certificate", acme_failures.clone());
        registry.register(
            "acme_certificates",
            "Certificates from the CA that came into service",
            acme_certificates.clone(),
        );
        Self {
            registry,
            quiet: RateLimiter::keyed(Quota::per_minute(NonZeroU32::MIN)),
            accepted,
            open,
            turned_away,
            handshakes,
            failed_handshakes: Handshakes::default(),
            thanked,
            refused,
            requests,
            wrong_api_keys,
            accounts,
            confirmations,
            held,
            devices,
            stored,
            tunnels,
            store_errors,
            store_up,
            certificate_expiry,
            acme_failures,
            acme_certificates,
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
