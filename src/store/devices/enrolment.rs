//! A certificate that is to be listed: why, or why not.

use super::Role;
use crate::store::Micros;

/// Why a certificate is to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// Somebody with the right to says so: `POST /syncdevicecert`, `m0v cert add`. A device made by
    /// this is known by fingerprints only.
    Listed,
    /// It was issued here for this device.
    Issued {
        /// The issuer.
        ca_id: String,
    },
    /// It was shown by a device, and a registered CA signed it.
    JustInTime {
        /// That CA.
        ca_id: String,
        /// The most devices that may be made so for one CA in an hour.
        max_per_hour: i64,
    },
}

impl Grounds {
    /// The CA, if it is one's word.
    pub(in crate::store) fn ca_id(&self) -> Option<&str> {
        match self {
            Self::Listed => None,
            Self::Issued { ca_id } | Self::JustInTime { ca_id, .. } => Some(ca_id),
        }
    }

    /// What is done, for the audit.
    pub(in crate::store) const fn deed(&self) -> &'static str {
        match self {
            Self::Listed => "cert add",
            Self::Issued { .. } => "cert issue",
            Self::JustInTime { .. } => "cert register",
        }
    }
}

/// A certificate to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// Whose it is; made, with a pub of its own, if there is no such device.
    pub device_id: String,
    /// For a device that is made.
    pub model_number: Option<String>,
    /// Lower-case hex SHA-256 of the DER.
    pub certificate_id: String,
    /// One PEM block.
    pub pem: String,
    /// The end of its validity.
    pub not_after: Micros,
    /// What it is to entitle to.
    pub role: Role,
    /// Why.
    pub grounds: Grounds,
}

impl Enrolment {
    /// For the audit.
    pub(in crate::store) fn subject(&self) -> String {
        format!("certificate {} of device {}", self.certificate_id, self.device_id)
    }
}

/// Why a certificate was not listed; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotEnrolled {
    /// The certificate is listed for another device.
    OtherDevice {
        /// That one.
        device_id: String,
    },
    /// The certificate or the device was revoked; that is for ever.
    Revoked,
    /// Just in time: the name belongs to another CA, or to a device known by fingerprints only.
    NameTaken {
        /// Its CA.
        ca_id: Option<String>,
    },
    /// Issued, or just in time: the CA is not registered, or revoked.
    UnknownCa,
    /// Just in time: the CA has made its share of devices this hour.
    TooManyNew,
}
