//! Why a client certificate ends the handshake, in words, and the alert that says so.

use std::fmt;

/// A client certificate, or its absence, that ends the handshake. Its text continues "the peer …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerFault {
    /// None was presented where one is required.
    Missing,
    /// More certificates than any device's chain has.
    TooMany {
        /// So many were presented.
        certificates: usize,
        /// So many are read.
        most: usize,
    },
    /// A chain of too many bytes.
    TooLong {
        /// So many were presented.
        bytes: usize,
        /// So many are read.
        most: usize,
    },
    /// Its own certificate is no X.509, or no whole one.
    Undecodable(String),
    /// An RSA key too short to be worth anything.
    WeakKey {
        /// Its size.
        bits: usize,
    },
    /// An RSA key that only costs time.
    HugeKey {
        /// What of it is too large: the key or its exponent.
        what: &'static str,
        /// Its size.
        bits: usize,
    },
    /// A kind of key that is not taken here.
    UnsupportedKey(String),
    /// What it signed does not verify with its certificate's key: it does not hold the private one.
    BadSignature,
    /// A [`super::PeerCheck`] refused it.
    Refused(Refusal),
}

/// The verdict of a [`super::PeerCheck`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the client is told.
    pub alert: RefusalAlert,
    /// One word for counters and rate limits.
    pub label: &'static str,
    /// Why; continues "presented a client certificate that …".
    pub words: String,
}

/// The alerts that tell a client what is wrong with its certificate (RFC 8446 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalAlert {
    /// It is broken or contradicts itself.
    BadCertificate,
    /// It is of a kind, or for a purpose, that is not taken.
    UnsupportedCertificate,
    /// It was revoked.
    CertificateRevoked,
    /// It is not valid at this time: past or not yet.
    CertificateExpired,
    /// It is not acceptable for another reason.
    CertificateUnknown,
    /// Nobody known here vouches for it.
    UnknownCa,
    /// It is valid and has no business here.
    AccessDenied,
}

impl PeerFault {
    /// One word for counters and rate limits.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Missing => "no-certificate",
            Self::TooMany { .. } | Self::TooLong { .. } => "certificate-chain",
            Self::Undecodable(_) => "bad-certificate",
            Self::WeakKey { .. } | Self::HugeKey { .. } | Self::UnsupportedKey(_) => "certificate-key",
            Self::BadSignature => "certificate-verify",
            Self::Refused(refusal) => refusal.label,
        }
    }

    /// The alert for it; the two that only a stack itself sends are not among these.
    pub(super) const fn alert(&self) -> RefusalAlert {
        match self {
            Self::TooMany { .. } | Self::TooLong { .. } | Self::Undecodable(_) => {
                RefusalAlert::BadCertificate
            }
            Self::WeakKey { .. } | Self::HugeKey { .. } | Self::UnsupportedKey(_) => {
                RefusalAlert::UnsupportedCertificate
            }
            Self::Missing | Self::BadSignature => RefusalAlert::CertificateUnknown,
            Self::Refused(refusal) => refusal.alert,
        }
    }
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                f.write_str("presented no client certificate, and this port has client_cert = \"required\"")
            }
            Self::TooMany { certificates, most } => {
                write!(f, "presented a chain of {certificates} certificates; at most {most} are read")
            }
            Self::TooLong { bytes, most } => {
                write!(f, "presented a chain of {bytes} bytes; at most {most} are read")
            }
            Self::Undecodable(why) => write!(f, "presented a client certificate that cannot be read: {why}"),
            Self::WeakKey { bits } => {
                write!(f, "presented a client certificate with an RSA key of {bits} bits; 2048 are the least")
            }
            Self::HugeKey { what, bits } => {
                write!(
                    f,
                    "presented a client certificate with an RSA {what} of {bits} bits, which is too large"
                )
            }
            Self::UnsupportedKey(what) => write!(
                f,
                "presented a client certificate with {what}; RSA, P-256, P-384, P-521 and, on rustls, Ed25519 \
                 are taken"
            ),
            Self::BadSignature => f.write_str(
                "does not hold the private key of its certificate: what it signed does not verify",
            ),
            Self::Refused(refusal) => write!(f, "presented a client certificate that {}", refusal.words),
        }
    }
}
