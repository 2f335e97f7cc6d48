//! Devices, certificates and CAs as the store has them: rows and the words of their columns.

use crate::store::{Micros, StoreError};

/// Whether something still counts; the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It does.
    Active,
    /// A device that waits for `m0v device approve`.
    Pending,
    /// It never will again.
    Revoked,
}

/// What a certificate entitles to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// To speak for its device.
    #[default]
    Device,
    /// To speak for any, as the API key does.
    Service,
}

impl Status {
    /// As the column has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the column.
    pub(in crate::store) fn of_word(word: &str) -> Result<Self, StoreError> {
        let known = [Self::Active, Self::Pending, Self::Revoked].into_iter().find(|it| it.word() == word);
        known.ok_or_else(|| StoreError::Refused(format!("a status {word:?} is not one of this m0v's")))
    }
}

impl Role {
    /// As the column has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Service => "service",
        }
    }

    /// Reads the column.
    pub(in crate::store) fn of_word(word: &str) -> Result<Self, StoreError> {
        let known = [Self::Device, Self::Service].into_iter().find(|it| it.word() == word);
        known.ok_or_else(|| StoreError::Refused(format!("a role {word:?} is not one of this m0v's")))
    }
}

/// A row of `device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What certificates name it by.
    pub device_id: String,
    /// As told when it was made.
    pub model_number: Option<String>,
    /// Its pub: the id of its readings.
    pub pub_id: Option<i64>,
    /// Whether its certificates count.
    pub status: Status,
    /// The CA whose certificates may speak for it unlisted; `None`: by fingerprint only.
    pub ca_id: Option<String>,
    /// When it was made.
    pub created_at: Micros,
}

/// A row of `device_cert`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCert {
    /// Lower-case hex SHA-256 of the DER.
    pub certificate_id: String,
    /// Whose it is.
    pub device_id: String,
    /// The registered CA that signed it, if that is why it is listed.
    pub ca_id: Option<String>,
    /// What it entitles to.
    pub role: Role,
    /// [`Status::Active`] or [`Status::Revoked`].
    pub status: Status,
    /// The end of its validity.
    pub not_after: Micros,
    /// One PEM block.
    pub pem: String,
    /// When it was listed.
    pub created_at: Micros,
    /// When it was revoked by itself.
    pub revoked_at: Option<Micros>,
}

/// A row of `ca`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca {
    /// Lower-case hex SHA-256 of the DER.
    pub ca_id: String,
    /// For people.
    pub subject: String,
    /// One PEM block.
    pub pem: String,
    /// [`Status::Active`] or [`Status::Revoked`].
    pub status: Status,
    /// Whether its new devices are active at once; else they wait for approval.
    pub auto_register: bool,
    /// When it was registered.
    pub created_at: Micros,
}

/// One entry of the allow-list: a certificate, and what its device and its CA add to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Lower-case hex SHA-256 of the DER.
    pub certificate_id: String,
    /// Whose it is.
    pub device_id: String,
    /// The device's pub.
    pub pub_id: Option<i64>,
    /// The CA it is listed for.
    pub ca_id: Option<String>,
    /// What it entitles to.
    pub role: Role,
    /// The worst of the certificate's, its device's and its CA's.
    pub status: Status,
    /// The end of its validity.
    pub not_after: Micros,
}

impl Ca {
    /// For the audit.
    pub(in crate::store) fn audit_subject(&self) -> String {
        format!("ca {} ({})", self.ca_id, self.subject)
    }
}

impl Device {
    /// For the audit: what it is linked to, and was.
    pub(in crate::store) fn link_subject(&self, pub_id: i64) -> String {
        let before = self.pub_id.map_or_else(String::new, |before| format!(" instead of {before}"));
        format!("pub {pub_id}{before} to device {}", self.device_id)
    }
}

/// What a page of the audit holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Ascending.
    pub id: i64,
    /// When.
    pub at: Micros,
    /// Who did it: `cli ann@host`, `api key backoffice`, `certificate 1f0e…`, `server`.
    pub who: String,
    /// What was done: `device approve`, `cert revoke`, …
    pub what: String,
    /// To what.
    pub subject: Option<String>,
}
