//! What a presented certificate is worth. Pure: DER and the time go in, a judgement comes out; the
//! allow-list and the store are asked by others.
//!
//! [`leaf`] judges the certificate itself, whoever signed it; [`vouching_ca`] asks which registered
//! CA signed it, directly or through others. Both are called before a byte of a stranger is read,
//! so the work of each is bounded. Times are Unix microseconds, as the store counts them.

mod anchor;
mod key;
mod leaf;
mod path;
mod read;

pub use anchor::{Anchor, Anchors, is_renewed_by, is_signed_by};
pub use key::{MAX_RSA_BITS, MIN_RSA_BITS, check_key};
pub use leaf::{BadCn, Leaf, leaf};
pub use path::{MAX_PRESENTED, Unvouched, vouching_ca};
pub use read::MAX_CERTIFICATE_BYTES;

use std::fmt;

/// Why a certificate is refused for what it is itself. Its text continues "the certificate …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No X.509.
    #[error("cannot be read: {0}")]
    Undecodable(&'static str),
    /// Something follows the certificate.
    #[error("is followed by other bytes")]
    TrailingBytes,
    /// More than anybody needs.
    #[error("has {0} bytes; at most {MAX_CERTIFICATE_BYTES} are taken")]
    TooLong(usize),
    /// Its time has not come.
    #[error("is not valid before {0} (are the clocks right?)")]
    NotYetValid(Date),
    /// Its time is over.
    #[error("expired on {0}; it must be renewed")]
    Expired(Date),
    /// An RSA key too small to be worth anything.
    #[error("has an RSA key of {0} bits; at least {MIN_RSA_BITS} are needed")]
    WeakKey(usize),
    /// An RSA key that costs more to check than it is worth.
    #[error("has an RSA key of {0} bits; at most {MAX_RSA_BITS} are taken")]
    HugeKey(usize),
    /// An RSA key with an exponent that no tool makes.
    #[error("has an RSA key with an exponent that is even, below 3 or above 2^33")]
    StrangeExponent,
    /// Neither RSA nor an elliptic curve of TLS.
    #[error("has a key that is neither RSA, P-256, P-384, P-521 nor Ed25519")]
    OtherKey,
    /// A CA where a device belongs.
    #[error("is a CA's (basicConstraints CA:TRUE); a device's own says CA:FALSE")]
    IsCa,
    /// A device's where a CA belongs.
    #[error("is no CA's (basicConstraints CA:TRUE is missing)")]
    IsNoCa,
    /// Version 1 or 2, where a CA belongs.
    #[error("is of X.509 version {0}, which cannot say that it is a CA's; version 3 is needed")]
    OldVersion(u32),
    /// A device's key that may not sign a handshake.
    #[error("has a keyUsage without digitalSignature, which a TLS client needs")]
    NoDigitalSignature,
    /// A CA's key that may not sign certificates.
    #[error("has a keyUsage without keyCertSign, which a CA needs")]
    NoCertSign,
    /// Made for something else.
    #[error("has an extendedKeyUsage without clientAuth, which a TLS client needs")]
    NoClientAuth,
    /// It says that it signed itself, and did not.
    #[error("names itself as its issuer, but its signature is not its own key's")]
    ForgedSelf,
}

impl Unfit {
    /// One word for counters and rate limits.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Undecodable(_) | Self::TrailingBytes => "undecodable",
            Self::TooLong(_) => "too-long",
            Self::NotYetValid(_) => "not-yet-valid",
            Self::Expired(_) => "expired",
            Self::WeakKey(_) => "weak-key",
            Self::HugeKey(_) | Self::StrangeExponent | Self::OtherKey => "unsupported-key",
            Self::IsCa => "is-ca",
            Self::IsNoCa => "is-no-ca",
            Self::OldVersion(_) => "old-version",
            Self::NoDigitalSignature | Self::NoCertSign | Self::NoClientAuth => "wrong-usage",
            Self::ForgedSelf => "bad-signature",
        }
    }
}

/// A moment, in Unix seconds, shown as an operator reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date(i64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match time::OffsetDateTime::from_unix_timestamp(self.0) {
            Ok(it) => {
                let (date, at) = (it.date(), it.time());
                let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
                write!(
                    f,
                    "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
                    at.hour(),
                    at.minute(),
                    at.second()
                )
            }
            Err(_) => write!(f, "Unix second {}", self.0),
        }
    }
}
