//! Why a certificate is not accepted, in words for the firmware engineer who sees this one line.

use super::judge::{BadCn, Unfit, Unvouched};
use crate::store::StoreError;

/// Why a certificate is not accepted. Its words are printable ASCII, short enough for a reply, and
/// repeat nothing that the certificate says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// None was shown, and the port requires one.
    #[error("this port needs a client certificate")]
    Missing,
    /// A balancer ended TLS and tells that one was shown, but not which: a name alone proves nothing.
    #[error("the balancer saw a certificate, but does not hand it on")]
    NotHandedOn,
    /// A balancer hands on more than a handshake may bring.
    #[error("the certificate or its chain is longer than is read, or of a form that is not")]
    BadForm,
    /// It is none that anybody could be known by, or its time is over or has not come.
    #[error("the certificate {0}")]
    Unfit(#[from] Unfit),
    /// It expired while its connection was open.
    #[error("the certificate has expired")]
    Expired,
    /// It is not listed, and no registered CA vouches for it.
    #[error("the certificate {0}")]
    Unvouched(#[from] Unvouched),
    /// A registered CA vouches for it, but whose it says it is names no device.
    #[error("the certificate {0}")]
    BadName(#[from] BadCn),
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
            Self::Missing => "no-certificate",
            Self::NotHandedOn => "not-handed-on",
            Self::BadForm => "bad-form",
            Self::Unfit(unfit) => unfit.label(),
            Self::Expired => "expired",
            Self::Unvouched(unvouched) => unvouched.label(),
            Self::BadName(_) => "bad-name",
            Self::Revoked => "revoked",
            Self::Pending => "pending",
            Self::NameTaken => "name-taken",
            Self::TooManyNew => "too-many-new",
            Self::TooManyUnknown => "too-many-unknown",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::reply::MAX_REASON_BYTES;

    #[test]
    fn the_words_fit_a_reply() {
        let deep = Unvouched::BadCa(Unfit::NoClientAuth);
        for refused in [
            Refused::Missing,
            Refused::NotHandedOn,
            Refused::BadForm,
            Refused::Unfit(Unfit::OtherKey),
            Refused::Unfit(Unfit::OldVersion(1)),
            Refused::Expired,
            Refused::Unvouched(deep),
            Refused::Unvouched(Unvouched::WeakSignature),
            Refused::BadName(BadCn::Several),
            Refused::Revoked,
            Refused::Pending,
            Refused::NameTaken,
            Refused::TooManyNew,
            Refused::TooManyUnknown,
            Refused::Unavailable,
            Refused::Busy,
        ] {
            let words = refused.to_string();
            assert!(
                words.len() <= MAX_REASON_BYTES && words.bytes().all(|it| (b' '..=b'~').contains(&it)),
                "{words}"
            );
        }
    }
}
