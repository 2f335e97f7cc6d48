//! What changes of the allow-list, and how it is told.

use std::fmt;
use tokio::sync::broadcast;

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
    pub(in crate::store) const fn deed(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "cert revoke",
            Self::Device(_) => "device revoke",
            Self::Ca(_) => "ca revoke",
        }
    }

    /// To what, for the audit.
    pub(in crate::store) fn subject(&self) -> String {
        self.change().to_string()
    }

    /// What changes by it.
    pub(in crate::store) fn change(&self) -> Change {
        match self.clone() {
            Self::Certificate(id) => Change::Certificate(id),
            Self::Device(id) => Change::Device(id),
            Self::Ca(id) => Change::Ca(id),
        }
    }
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
    pub(in crate::store) fn of_audit(what: &str, subject: &str) -> Option<Self> {
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
pub(in crate::store) struct Changes(broadcast::Sender<Change>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT_CHANGES))
    }
}

impl Changes {
    pub(in crate::store) fn tell(&self, change: Change) {
        if self.0.send(change).is_err() {
            log::trace!("nobody follows the changes of devices");
        }
    }

    pub(in crate::store) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }
}
