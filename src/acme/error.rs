//! What can go wrong on the way to a certificate, by whose turn it is to act.
//!
//! Every text is one sentence or two for the operator: what, which object, what to do.

use super::{cache::CacheError, options::Fault, problem::Problem};
use std::{path::PathBuf, time::Duration};

/// A failure of ordering or keeping a certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The `[acme]` section cannot work as it stands; every fault is listed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Options(Vec<Fault>),
    /// The file in `[acme] ca_file` is of no use.
    #[error("[acme] ca_file {}: {cause}", path.display())]
    CaFile {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it and what it should hold.
        cause: String,
    },
    /// No connection: name, route, refusal.
    #[error(
        "cannot reach the ACME server at {url} ({cause}): check [acme] directory, DNS, and that outgoing HTTPS is open"
    )]
    Unreachable {
        /// The address called.
        url: String,
        /// The transport's own words.
        cause: String,
    },
    /// The ACME server's own HTTPS certificate is not trusted.
    #[error("the HTTPS certificate of the ACME server at {url} is not trusted ({cause}): {advice}")]
    Untrusted {
        /// The address called.
        url: String,
        /// The verifier's own words.
        cause: String,
        /// What to put into `ca_file`.
        advice: String,
    },
    /// A call did not end in time.
    #[error("the ACME server did not answer `{call}` within {} s", limit.as_secs_f32())]
    Silent {
        /// Which call.
        call: &'static str,
        /// The deadline that passed.
        limit: Duration,
    },
    /// The server answered with a problem document or a bare error status.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The CA tried to validate a name and failed.
    #[error("the CA could not validate {domain} by {challenge}: {problem}")]
    Validation {
        /// The name.
        domain: String,
        /// `http-01` or `tls-alpn-01`.
        challenge: String,
        /// The CA's reason.
        problem: Box<Problem>,
    },
    /// The CA offers no challenge that is switched on here.
    #[error("the CA offers {offered} for {domain}, but m0v has {enabled}: switch another challenge on")]
    NoChallenge {
        /// The name.
        domain: String,
        /// What the CA offers.
        offered: String,
        /// What is configured here.
        enabled: String,
    },
    /// The order was given up by the CA.
    #[error("the CA closed the order without a certificate: {0}")]
    OrderClosed(String),
    /// An order or a validation stayed unfinished for longer than m0v waits at a time.
    #[error("the CA is still working on {what} after {} s; the order is kept and looked at again", waited.as_secs())]
    Unfinished {
        /// The order, or the name being validated.
        what: String,
        /// How long was waited.
        waited: Duration,
    },
    /// An answer that is no ACME: a proxy's page, a wrong address.
    #[error(
        "the answer to `{call}` is not what an ACME server says ({cause}): check that [acme] directory is a directory address"
    )]
    NotAcme {
        /// Which call.
        call: &'static str,
        /// What does not fit.
        cause: String,
    },
    /// The issued certificate is not the one ordered.
    #[error("the CA issued a certificate m0v cannot use: {0}")]
    WrongCertificate(String),
    /// The cache failed, or the lease went to another node.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A key or signature could not be made.
    #[error("cannot make {0}")]
    Crypto(&'static str),
}

/// How a failure is waited out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Network or server trouble that costs the CA nothing: try again within seconds to minutes.
    Network,
    /// A failed validation or a refused order: CAs count these per hour.
    Refused,
    /// The CA asked to slow down.
    RateLimited,
    /// Someone must change something first; retried seldom.
    Setup,
}

impl AcmeError {
    /// How this failure is waited out.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Options(_) | Self::CaFile { .. } | Self::Untrusted { .. } | Self::NoChallenge { .. } => {
                Class::Setup
            }
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Unfinished { .. } | Self::Cache(_) => {
                Class::Network
            }
            Self::Problem(problem) => problem.class(),
            Self::Validation { problem, .. } => match problem.class() {
                Class::Network | Class::Setup => Class::Refused,
                class @ (Class::Refused | Class::RateLimited) => class,
            },
            Self::OrderClosed(_) | Self::NotAcme { .. } | Self::WrongCertificate(_) | Self::Crypto(_) => {
                Class::Refused
            }
        }
    }

    /// What the server said to wait at least, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem(problem) | Self::Validation { problem, .. } => problem.retry_after,
            _ => None,
        }
    }

    /// Whether the running order can only be thrown away.
    pub(crate) fn ends_the_order(&self) -> bool {
        match self {
            Self::Validation { .. }
            | Self::OrderClosed(_)
            | Self::NoChallenge { .. }
            | Self::WrongCertificate(_) => true,
            Self::Problem(problem) => !matches!(problem.class(), Class::Network | Class::RateLimited),
            _ => false,
        }
    }
}
