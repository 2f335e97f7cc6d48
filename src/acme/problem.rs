//! A server's own words for what is wrong, and what m0v advises on hearing them.

use super::{Class, secret::without_key_authorizations};
use std::{fmt, time::Duration};

/// What the server says is wrong (RFC 7807, RFC 8555 §6.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// During which call.
    pub call: &'static str,
    /// The HTTP status; 0 inside a challenge.
    pub status: u16,
    /// The class of problem.
    pub kind: Kind,
    /// The server's words, cleaned and shortened; never a key authorization.
    pub detail: String,
    /// `Retry-After`, if sent.
    pub retry_after: Option<Duration>,
}

/// The problems m0v tells apart (`urn:ietf:params:acme:error:…`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 8555 §6.7 and RFC 9773")]
pub enum Kind {
    AccountDoesNotExist,
    AlreadyReplaced,
    BadCsr,
    BadNonce,
    BadPublicKey,
    Caa,
    Connection,
    Dns,
    ExternalAccountRequired,
    IncorrectResponse,
    InvalidContact,
    InvalidProfile,
    Malformed,
    OrderNotReady,
    RateLimited,
    RejectedIdentifier,
    ServerInternal,
    Tls,
    Unauthorized,
    UnsupportedIdentifier,
    UserActionRequired,
    /// Any other type, or none.
    Other(String),
}

/// A problem's detail is cut at this many characters: it goes into a log line and a table.
const DETAIL_MAX: usize = 400;

impl Problem {
    pub(crate) fn new(call: &'static str, status: u16, typ: &str, detail: &str) -> Self {
        let detail = without_key_authorizations(&detail.chars().take(DETAIL_MAX).collect::<String>());
        Self { call, status, kind: Kind::new(typ, status), detail, retry_after: None }
    }

    pub(crate) fn class(&self) -> Class {
        match &self.kind {
            Kind::RateLimited => Class::RateLimited,
            Kind::ServerInternal | Kind::BadNonce => Class::Network,
            Kind::ExternalAccountRequired
            | Kind::InvalidContact
            | Kind::RejectedIdentifier
            | Kind::UnsupportedIdentifier
            | Kind::UserActionRequired => Class::Setup,
            Kind::Unauthorized if self.call == "newAccount" => Class::Setup,
            Kind::Other(_) if self.status >= 500 => Class::Network,
            _ => Class::Refused,
        }
    }

    fn advice(&self) -> &'static str {
        match &self.kind {
            Kind::AccountDoesNotExist => "the account is made again at the next try",
            Kind::BadPublicKey => "the CA refuses this key; with reuse_key switch it off once",
            Kind::Caa => "allow this CA in the name's CAA records",
            Kind::Connection => {
                "the CA must reach this host from the Internet, on port 80 for http-01, 443 for tls-alpn-01"
            }
            Kind::Dns => "the name must have an A or AAAA record that leads here",
            Kind::ExternalAccountRequired => {
                "get a key id and key from the CA, set [acme] eab_kid and eab_key"
            }
            Kind::InvalidContact => "correct [acme] contact",
            Kind::RateLimited => "m0v waits as told; test against letsencrypt-staging",
            Kind::RejectedIdentifier | Kind::UnsupportedIdentifier => {
                "take the name out of [acme] domains or use another CA"
            }
            Kind::ServerInternal => "the CA has a fault of its own; m0v tries again",
            Kind::Tls => "what answers on port 443 of this name is not this m0v",
            Kind::Unauthorized | Kind::Malformed if self.call == "newAccount" => {
                "check [acme] eab_kid and eab_key; an account closed at the CA needs a new key: move its file \
                 out of <data_dir>/acme"
            }
            Kind::IncorrectResponse | Kind::Unauthorized if self.status == 0 => {
                "what answers at this name is not this m0v: check DNS and what else listens on port 80 and 443"
            }
            Kind::UserActionRequired => "visit the address named and agree there",
            _ => "m0v tries again",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, status, kind, detail, .. } = self;
        match status {
            0 => write!(f, "{kind}: {detail}: {}", self.advice()),
            _ => write!(f, "the CA answered `{call}` with {status} {kind}: {detail}: {}", self.advice()),
        }
    }
}

impl Kind {
    /// Reads the type; a bare status says something too.
    fn new(typ: &str, status: u16) -> Self {
        const URN: &str = "urn:ietf:params:acme:error:";
        let name = typ.strip_prefix(URN).unwrap_or(typ);
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, kind)) => kind.clone(),
            None if status == 429 => Self::RateLimited,
            None if status == 503 => Self::ServerInternal,
            None => Self::Other(name.chars().filter(|c| !c.is_control()).take(60).collect()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, kind)| kind == self) {
            Some((name, _)) => f.write_str(name),
            None => match self {
                Self::Other(name) if !name.is_empty() => f.write_str(name),
                _ => f.write_str("(no type)"),
            },
        }
    }
}

const NAMES: &[(&str, Kind)] = &[
    ("accountDoesNotExist", Kind::AccountDoesNotExist),
    ("alreadyReplaced", Kind::AlreadyReplaced),
    ("badCSR", Kind::BadCsr),
    ("badNonce", Kind::BadNonce),
    ("badPublicKey", Kind::BadPublicKey),
    ("caa", Kind::Caa),
    ("connection", Kind::Connection),
    ("dns", Kind::Dns),
    ("externalAccountRequired", Kind::ExternalAccountRequired),
    ("incorrectResponse", Kind::IncorrectResponse),
    ("invalidContact", Kind::InvalidContact),
    ("invalidProfile", Kind::InvalidProfile),
    ("malformed", Kind::Malformed),
    ("orderNotReady", Kind::OrderNotReady),
    ("rateLimited", Kind::RateLimited),
    ("rejectedIdentifier", Kind::RejectedIdentifier),
    ("serverInternal", Kind::ServerInternal),
    ("tls", Kind::Tls),
    ("unauthorized", Kind::Unauthorized),
    ("unsupportedContact", Kind::InvalidContact),
    ("unsupportedIdentifier", Kind::UnsupportedIdentifier),
    ("userActionRequired", Kind::UserActionRequired),
];
