//! How a handshake can fail, in the operator's words.

use std::fmt;
use std::io;

use super::client::PeerFault;
use super::hello::{Malformed, NotTls, Unreadable};
use super::stream::Stack;
use super::verdict::Reason;

/// A handshake that did not complete. A stranger can cause every one of these. Its text
/// continues "the peer …".
#[derive(Debug)]
pub enum Failure {
    /// The first bytes are no TLS.
    NotTls(NotTls),
    /// TLS, but a ClientHello that cannot be read.
    Malformed(Malformed),
    /// A hello neither stack may serve.
    Refused(Box<Reason>),
    /// A client certificate, or its absence, that is refused here.
    Peer(PeerFault),
    /// The peer sent a fatal alert.
    Alert(Alert),
    /// Closed without having sent a byte: a probe.
    Silent,
    /// Closed in the middle of the handshake.
    Closed,
    /// The socket failed.
    Io(io::Error),
    /// A stack gave up for a reason of its own.
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
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotTls(_) => "not-tls",
            Self::Malformed(_) => "malformed",
            Self::Refused(reason) => reason.label(),
            Self::Peer(fault) => fault.label(),
            Self::Alert(_) => "alert",
            Self::Silent => "silent",
            Self::Closed => "closed",
            Self::Io(_) => "io",
            Self::Handshake { .. } => "handshake",
        }
    }

    /// Sorts what the socket said: a peer that goes away is not a broken socket.
    pub(super) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl From<Unreadable> for Failure {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::NotTls(what) => Self::NotTls(what),
            Unreadable::Malformed(how) => Self::Malformed(how),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls(what) => write!(f, "sent {what} instead of a TLS ClientHello"),
            Self::Malformed(how) => write!(f, "sent a ClientHello that cannot be read: {how}"),
            Self::Refused(reason) => reason.fmt(f),
            Self::Peer(fault) => fault.fmt(f),
            Self::Alert(alert) => write!(f, "sent {alert}"),
            Self::Silent => f.write_str("closed the connection without sending anything"),
            Self::Closed => f.write_str("closed the connection during the handshake"),
            Self::Io(error) => write!(f, "was lost: {error}"),
            Self::Handshake { stack, message } => write!(f, "failed the handshake in {stack}: {message}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// A TLS alert by its number (RFC 8446 §6), shown with what it means on a server like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert(pub u8);

impl Alert {
    const fn words(self) -> (&'static str, &'static str) {
        match self.0 {
            0 => ("close_notify", "it gave up"),
            10 => ("unexpected_message", "it did not expect our message"),
            20 => ("bad_record_mac", "it could not decrypt our record"),
            22 => ("record_overflow", "our record is too long for it (lower max_fragment)"),
            40 => ("handshake_failure", "it accepts nothing of what we chose"),
            42 => ("bad_certificate", "it cannot verify a certificate of our chain"),
            43 => ("unsupported_certificate", "it does not support our kind of certificate"),
            44 => ("certificate_revoked", "it holds our certificate to be revoked"),
            45 => ("certificate_expired", "our certificate is not valid at the time its clock shows"),
            46 => ("certificate_unknown", "it rejects our certificate without a reason"),
            47 => ("illegal_parameter", "it rejects a value we chose, such as the curve"),
            48 => ("unknown_ca", "it does not trust our root"),
            49 => ("access_denied", "it denies access"),
            50 => ("decode_error", "it cannot read our message"),
            51 => ("decrypt_error", "a signature or key of ours does not verify for it"),
            70 => ("protocol_version", "it does not speak our TLS version"),
            71 => ("insufficient_security", "it wants stronger cipher suites"),
            80 => ("internal_error", "it failed by itself (often: out of memory)"),
            90 => ("user_canceled", "it gave up"),
            109 => ("missing_extension", "it misses an extension of ours"),
            110 => ("unsupported_extension", "it did not ask for an extension of ours"),
            112 => ("unrecognized_name", "it does not know the name"),
            _ => ("an unknown alert", "its meaning is not known"),
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, meaning) = self.words();
        write!(f, "alert {} ({name}): {meaning}", self.0)
    }
}
