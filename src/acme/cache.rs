//! What must survive a restart, and what nodes share: one interface for a folder
//! ([`FileCache`](super::FileCache)) and for tables.
//!
//! A cache belongs to one certificate. Whoever writes holds its lease; a lease carries a
//! fence, and a store refuses a writer whose fence is no longer the newest, so a node that
//! slept through the end of its lease cannot overwrite its successor's work. The lease saves
//! the CA's quota; that the right certificate is served does not hang on it.

use super::{Certificate, secret::Secret};
use async_trait::async_trait;
use std::{any::Any, fmt, path::PathBuf};

/// Unix time in seconds, this room's unit of time.
pub type UnixSeconds = i64;

/// How long an answer stays published if nobody takes it back: a day, for CAs that look late.
pub(crate) const ANSWER_LIFETIME_SECONDS: i64 = 24 * 3600;

/// Where this room keeps what it knows.
#[async_trait]
pub trait Cache: Send + Sync {
    /// Takes the lease for `holder`, or answers `None` while another holds it.
    async fn take_lease(&self, holder: &str) -> Result<Option<Lease>, CacheError>;

    /// Prolongs the lease; called a few times per minute while an order runs.
    async fn extend_lease(&self, lease: &Lease) -> Result<(), CacheError>;

    /// Gives the lease back before its time. Dropping it must do too, if later.
    async fn release_lease(&self, lease: Lease) -> Result<(), CacheError>;

    /// The account for a directory.
    async fn account(&self, directory: &str) -> Result<Option<Account>, CacheError>;

    /// Keeps an account under its directory.
    async fn keep_account(&self, lease: &Lease, account: &Account) -> Result<(), CacheError>;

    /// The order that was begun and not ended.
    async fn pending(&self) -> Result<Option<Pending>, CacheError>;

    /// Replaces the begun order; `None` ends it.
    async fn keep_pending(&self, lease: &Lease, pending: Option<&Pending>) -> Result<(), CacheError>;

    /// The newest certificate with its version.
    async fn certificate(&self) -> Result<Option<(i64, Certificate)>, CacheError>;

    /// The version alone: a cheap question, asked every minute.
    async fn certificate_version(&self) -> Result<Option<i64>, CacheError>;

    /// Keeps a certificate under the next version and answers that.
    async fn keep_certificate(&self, lease: &Lease, certificate: &Certificate) -> Result<i64, CacheError>;

    /// How the last tries went; nothing yet is the default.
    async fn backoff(&self) -> Result<Backoff, CacheError>;

    /// Replaces what is known of the last tries.
    async fn keep_backoff(&self, lease: &Lease, backoff: &Backoff) -> Result<(), CacheError>;

    /// Lets every node answer a challenge. Visible to all of them once this returns.
    async fn publish_challenge(&self, answer: &ChallengeAnswer) -> Result<(), CacheError>;

    /// The key authorization for a token (http-01) or a name (tls-alpn-01).
    async fn challenge(&self, kind: ChallengeKind, ident: &str) -> Result<Option<Secret>, CacheError>;

    /// Forgets a challenge whose authorization is final.
    async fn withdraw_challenge(&self, kind: ChallengeKind, ident: &str) -> Result<(), CacheError>;

    /// Returns when another node may have changed something; by default never, then the poll finds it.
    async fn changed(&self) {
        std::future::pending::<()>().await;
    }
}

/// The right to write, until dropped or out of time.
pub struct Lease {
    /// Grows with every taking; a store compares it before it writes.
    pub fence: i64,
    _hold: Option<Box<dyn Any + Send + Sync>>,
}

impl Lease {
    /// A lease that ends by time alone.
    #[must_use]
    pub fn new(fence: i64) -> Self {
        Self { fence, _hold: None }
    }

    /// A lease that ends when `hold` is dropped.
    #[must_use]
    pub fn holding(fence: i64, hold: impl Any + Send + Sync) -> Self {
        Self { fence, _hold: Some(Box::new(hold)) }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("fence", &self.fence).finish_non_exhaustive()
    }
}

/// An account at a CA. Its key is kept before the CA hears of it: the same key always
/// leads to the same account, so a crash in between makes no second one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The directory's address.
    pub directory: String,
    /// P-256, PKCS#8, base64.
    pub key: Secret,
    /// The CA has confirmed it.
    pub registered: bool,
}

/// An order between intent and certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The directory's address.
    pub directory: String,
    /// The names ordered.
    pub domains: Vec<String>,
    /// The certificate's key, PEM.
    pub key_pem: Secret,
    /// The order's address; `None` from just before the CA is asked until its answer is kept.
    pub order_url: Option<String>,
    /// When it was begun.
    pub begun_at: UnixSeconds,
}

/// How the tries since the last success went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// Failures in a row.
    pub failures: u32,
    /// No try before this.
    pub not_before: UnixSeconds,
    /// When the last one failed.
    pub failed_at: UnixSeconds,
    /// Why, for the operator.
    pub sentence: String,
    /// Of the options it failed with; others get a try at once.
    pub fingerprint: String,
}

/// The two challenges m0v answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChallengeKind {
    /// Over HTTP on port 80.
    Http01,
    /// Over TLS on port 443.
    TlsAlpn01,
}

impl ChallengeKind {
    /// The name in RFC 8555 and RFC 8737, and in the tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// What to answer when the CA asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeAnswer {
    /// How it will ask.
    pub kind: ChallengeKind,
    /// What it will ask for: the token (http-01) or the name (tls-alpn-01).
    pub ident: String,
    /// The answer.
    pub key_authorization: Secret,
    /// From when on it may be forgotten.
    pub expires: UnixSeconds,
}

/// A failure of the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The folder cannot be used.
    #[error("cannot {verb} {}: {source}: m0v keeps its ACME account and certificate there", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file is there but not ours to read.
    #[error("{} is damaged ({cause}): {advice}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        cause: String,
        /// What to do, and what that costs.
        advice: &'static str,
    },
    /// Another node took over.
    #[error("the renewal lease went to another node; this one leaves the order to it")]
    LeaseLost,
    /// The shared store did not answer.
    #[error("the shared ACME store is unavailable: {0}")]
    Unavailable(String),
    /// The shared store answers, and what it holds is not for this node: someone must act.
    /// Never taken for "nothing there", or nodes that disagree would order in turns.
    #[error("the shared ACME store cannot be used: {0}")]
    Refused(String),
}
