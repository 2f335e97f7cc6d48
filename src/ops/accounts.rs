//! What is counted of accounts: those asked for, their handshakes, what brokers ask.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family};
use prometheus_client::registry::Registry;

/// Whether somebody was let in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `made` or `known`, or `refused`.
    pub outcome: &'static str,
}

/// A broker's question, and the answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BrokerLabel {
    /// The last part of the path.
    pub route: &'static str,
    /// `allow` or `deny`.
    pub answer: &'static str,
}

/// The counters.
#[derive(Debug, Default)]
pub struct Accounts {
    /// Accounts asked for.
    pub registrations: Family<OutcomeLabel, Counter>,
    /// Handshakes of accounts.
    pub greetings: Family<OutcomeLabel, Counter>,
    /// Questions of brokers, answered.
    pub answers: Family<BrokerLabel, Counter>,
}

impl Accounts {
    /// Makes them known under their names.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        let Self { registrations, greetings, answers } = &this;
        registry.register("registrations", "Accounts asked for at /register", Family::clone(registrations));
        registry.register("account_handshakes", "Handshakes of accounts", Family::clone(greetings));
        registry.register("broker_answers", "Questions of MQTT brokers, answered", Family::clone(answers));
        this
    }
}
