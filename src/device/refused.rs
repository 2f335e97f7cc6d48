//! Why a certificate is not accepted, in words for the firmware engineer who sees this one line.

use crate::protocol::reply::MAX_REASON_BYTES;
use crate::store::StoreError;

/// Why a certificate is not accepted. Its words are printable ASCII, short enough for a reply, and
/// repeat nothing that the certificate says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// None was shown, and the port requires one.
    #[error("this port needs a client certificate")]
    Missing,
    /// It says of itself that it is over.
    #[error("the certificate has expired")]
    Expired,
    /// It says of itself that it has not begun.
    #[error("the certificate is not valid yet (is its clock right?)")]
    NotYetValid,
    /// It is none that anybody could be known by.
    #[error("the certificate cannot be accepted: {0}")]
    Unfit(&'static str),
    /// Neither listed nor signed by a registered CA.
    #[error("unknown certificate: it is not listed, and no registered CA has signed it")]
    Unknown,
    /// It, its device or its CA was.
    #[error("the certificate is revoked")]
    Revoked,
    /// Its device was registered just in time, and its CA's devices need an operator's word.
    #[error("this device waits for approval (m0v device approve)")]
    Pending,
    /// Signed by a registered CA for a device that this CA may not speak for.
    #[error("the name in the certificate is another CA's device, or a device known by fingerprint only")]
    NameTaken,
    /// The CA has had its share of new devices.
    #[error("too many new devices of this CA in an hour, try again later")]
    TooManyNew,
    /// The address has shown its share of certificates that nobody knows.
    #[error("too many unknown certificates from this address, try again later")]
    TooManyUnknown,
    /// Not known here, and the store cannot be asked.
    #[error("database unavailable, try again")]
    Unavailable,
    /// Not known here, and the store has no time.
    #[error("busy, try again")]
    Busy,
}

impl Refused {
    /// One fixed word for counters.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Unfit(_) => "unfit",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Pending => "pending",
            Self::NameTaken => "name_taken",
            Self::TooManyNew => "too_many_new",
            Self::TooManyUnknown => "too_many_unknown",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
        }
    }

    /// Whether the fault is neither the peer's nor its certificate's: the same one may be accepted
    /// in a moment.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Unavailable | Self::Busy)
    }
}

impl From<&StoreError> for Refused {
    fn from(error: &StoreError) -> Self {
        if matches!(error, StoreError::Busy(_)) { Self::Busy } else { Self::Unavailable }
    }
}

const _: () = assert!(MAX_REASON_BYTES >= 128, "the words above fit");
