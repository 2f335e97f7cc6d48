//! Who devices are, as the store keeps it: devices, their certificates, the CAs that vouch for
//! them. What a certificate is worth is judged above (`device/`); here are rows and transactions.

pub(super) mod rules;

use super::{Micros, StoreError};
use async_trait::async_trait;
use std::fmt;
use tokio::sync::broadcast;

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
    pub(super) fn of_word(word: &str) -> Result<Self, StoreError> {
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
    pub(super) fn of_word(word: &str) -> Result<Self, StoreError> {
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
    pub(super) fn ca_id(&self) -> Option<&str> {
        match self {
            Self::Listed => None,
            Self::Issued { ca_id } | Self::JustInTime { ca_id, .. } => Some(ca_id),
        }
    }

    /// What is done, for the audit.
    pub(super) const fn deed(&self) -> &'static str {
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
    pub(super) fn subject(&self) -> String {
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

/// What is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// One certificate, by its id.
    Certificate(String),
    /// A device with all its certificates.
    Device(String),
    /// A CA with all certificates listed for it.
    Ca(String),
}

impl Revocation {
    /// What is done, for the audit.
    pub(super) const fn deed(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "cert revoke",
            Self::Device(_) => "device revoke",
            Self::Ca(_) => "ca revoke",
        }
    }

    /// To what, for the audit.
    pub(super) fn subject(&self) -> String {
        self.change().to_string()
    }

    /// What changes by it.
    pub(super) fn change(&self) -> Change {
        match self.clone() {
            Self::Certificate(id) => Change::Certificate(id),
            Self::Device(id) => Change::Device(id),
            Self::Ca(id) => Change::Ca(id),
        }
    }
}

impl Ca {
    /// For the audit.
    pub(super) fn audit_subject(&self) -> String {
        format!("ca {} ({})", self.ca_id, self.subject)
    }
}

impl Device {
    /// For the audit: what it is linked to, and was.
    pub(super) fn link_subject(&self, pub_id: i64) -> String {
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

/// Why a device was not linked to a pub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotLinked {
    /// No such device.
    UnknownDevice,
    /// No such pub.
    UnknownPub,
    /// The pub is another device's.
    Taken {
        /// That one.
        device_id: String,
    },
}

/// What of the allow-list changed. The word is all that nodes tell each other: what is true is in
/// the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One certificate, by its id.
    Certificate(String),
    /// A device, and with it all its certificates.
    Device(String),
    /// A CA, and with it all certificates listed for it.
    Ca(String),
    /// Nobody knows: something may have been missed.
    Everything,
}

impl Change {
    /// Reads what [`fmt::Display`] wrote, on this node or another; what it does not know may be
    /// anything.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once(' ') {
            Some(("certificate", id)) => Self::Certificate(id.to_owned()),
            Some(("device", id)) => Self::Device(id.to_owned()),
            Some(("ca", id)) => Self::Ca(id.to_owned()),
            _ => Self::Everything,
        }
    }
}

impl Change {
    /// What an entry of the audit tells of, if it is of devices: the embedded store's other
    /// processes leave no other word.
    pub(super) fn of_audit(what: &str, subject: &str) -> Option<Self> {
        match what.split_once(' ')?.0 {
            "cert" => Some(Self::parse(subject.split_once(" of ").map_or(subject, |(first, _)| first))),
            "ca" => Some(Self::parse(subject.split_once(" (").map_or(subject, |(first, _)| first))),
            "device" => Some(match subject.find("device ").and_then(|at| subject.get(at..)) {
                Some(device) => Self::parse(device),
                None => Self::Everything,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(id) => write!(f, "certificate {id}"),
            Self::Device(id) => write!(f, "device {id}"),
            Self::Ca(id) => write!(f, "ca {id}"),
            Self::Everything => f.write_str("everything"),
        }
    }
}

/// Changes that are kept for one who is slow to hear; whoever misses more reads everything anew.
const KEPT_CHANGES: usize = 1024;

/// Where a store tells of the changes it hears of.
#[derive(Clone, Debug)]
pub(super) struct Changes(broadcast::Sender<Change>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT_CHANGES))
    }
}

impl Changes {
    pub(super) fn tell(&self, change: Change) {
        if self.0.send(change).is_err() {
            log::trace!("nobody follows the changes of devices");
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }
}

/// The part of a store that knows devices. Every change notes `who` did it in `audit`, in the same
/// transaction, and is announced to all nodes.
#[async_trait]
pub trait Devices: Send + Sync {
    /// Entries with `certificate_id > after`, ascending, at most `limit`.
    async fn list_listed(&self, after: &str, limit: i64) -> Result<Vec<Listed>, StoreError>;

    /// The entry of one certificate.
    async fn find_listed(&self, certificate_id: &str) -> Result<Option<Listed>, StoreError>;

    /// The entries of one device.
    async fn listed_of(&self, device_id: &str) -> Result<Vec<Listed>, StoreError>;

    /// Lists a certificate, and makes its device with a pub if there is none. Listed before for the
    /// same device: its entry. `Grounds::Listed` raises the role of one to [`Role::Service`] if that
    /// is asked for; it and `Grounds::Issued` approve a device that waits for approval. Safe in a race.
    async fn enrol(
        &self,
        enrolment: &Enrolment,
        who: &str,
    ) -> Result<Result<Listed, NotEnrolled>, StoreError>;

    /// Revokes; how many entries of the allow-list that ended. `None`: no such thing.
    async fn revoke(&self, what: &Revocation, who: &str) -> Result<Option<u64>, StoreError>;

    /// Registers a CA; one that is there already is the error's content. `created_at` is the store's.
    async fn add_ca(&self, ca: &Ca, who: &str) -> Result<Result<Ca, Ca>, StoreError>;

    /// All CAs, revoked ones too, by age.
    async fn list_cas(&self) -> Result<Vec<Ca>, StoreError>;

    /// Devices with `device_id > after`, ascending, at most `limit`.
    async fn list_devices(&self, after: &str, limit: i64) -> Result<Vec<Device>, StoreError>;

    /// One device.
    async fn find_device(&self, device_id: &str) -> Result<Option<Device>, StoreError>;

    /// Makes a pending device active. `None`: no such device; else its status before.
    async fn approve_device(&self, device_id: &str, who: &str) -> Result<Option<Status>, StoreError>;

    /// Gives a device another pub; the pub it had stays.
    async fn link_device(
        &self,
        device_id: &str,
        pub_id: i64,
        who: &str,
    ) -> Result<Result<Device, NotLinked>, StoreError>;

    /// Certificates with `certificate_id > after`, ascending, at most `limit`.
    async fn list_certs(&self, after: &str, limit: i64) -> Result<Vec<DeviceCert>, StoreError>;

    /// One certificate.
    async fn find_cert(&self, certificate_id: &str) -> Result<Option<DeviceCert>, StoreError>;

    /// The latest entries of the audit with `id < before` (`None`: all), descending, at most `limit`.
    async fn list_audit(&self, before: Option<i64>, limit: i64) -> Result<Vec<Audited>, StoreError>;

    /// Changes by other processes, and perhaps by this one, from now on; told while
    /// [`Store::hear`](super::Store::hear) runs.
    fn changes(&self) -> broadcast::Receiver<Change>;
}
