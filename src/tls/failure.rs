//! How a handshake can fail, in the operator's words.

use std::io;

use super::{Reason, Stack};

/// A handshake that did not complete. A stranger can cause every one of these.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The first bytes are no TLS; in words ("an HTTP request").
    #[error("sent {0} instead of a TLS ClientHello")]
    NotTls(String),
    /// TLS, but the ClientHello cannot be read.
    #[error("sent a ClientHello that cannot be read: {0}")]
    Malformed(String),
    /// A hello neither stack may serve.
    #[error("{0}")]
    Refused(Box<Reason>),
    /// The peer sent a fatal alert.
    #[error("sent alert {code}: {}", words(*code))]
    Alert {
        /// The alert's number.
        code: u8,
    },
    /// Closed without having sent a byte: a probe.
    #[error("closed the connection without sending anything")]
    Silent,
    /// Closed in the middle of the handshake.
    #[error("closed the connection during the handshake")]
    Closed,
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// A stack gave up for a reason of its own.
    #[error("the handshake failed in {stack}: {message}")]
    Handshake {
        /// The stack that gave up.
        stack: Stack,
        /// Its own words.
        message: String,
    },
}

impl Failure {
    /// One word for counters and rate limits.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotTls(_) => "not-tls",
            Self::Malformed(_) => "malformed",
            Self::Refused(reason) => reason.label(),
            Self::Alert { .. } => "alert",
            Self::Silent => "silent",
            Self::Closed => "closed",
            Self::Io(_) => "io",
            Self::Handshake { .. } => "handshake",
        }
    }
}

fn words(_code: u8) -> &'static str {
    "an alert"
}
