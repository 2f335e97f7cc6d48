//! A refusal in words: offered what, lacking what, which level would take it.

use std::fmt;

use super::super::hello::ClientHello;
use super::super::names::{Extension, Group, Scheme, Suite, Version, is_grease};
use super::{Compat, Lack};

/// Why a hello is served by nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub(super) offer: Offer,
    pub(super) modern: Lack,
    pub(super) allowed: Compat,
    pub(super) compat: Option<Lack>,
    pub(super) would_take: Option<Compat>,
}

impl Reason {
    /// One word for counters and rate limits: what decided.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self.decisive() {
            Lack::Version(_) => "version",
            Lack::Suite(_) | Lack::SuiteOrRsa(..) => "suites",
            Lack::GroupsExtension | Lack::Group(_) => "groups",
            Lack::SignaturesExtension | Lack::Scheme(_) => "signatures",
            Lack::NullCompression => "compression",
            Lack::UncompressedPoints => "points",
        }
    }

    /// The strictest level that would serve this hello.
    #[must_use]
    pub const fn would_take(&self) -> Option<Compat> {
        self.would_take
    }

    /// The alert a refused client is sent (RFC 8446 §6.2).
    #[must_use]
    pub const fn alert(&self) -> u8 {
        match self.decisive() {
            Lack::Version(_) => 70,
            Lack::NullCompression | Lack::UncompressedPoints => 47,
            _ => 40,
        }
    }

    /// The compat level is the more generous one: where it is asked at all, its lack decides.
    const fn decisive(&self) -> Lack {
        match self.compat {
            Some(lack) => lack,
            None => self.modern,
        }
    }

    /// What is missing, without what was offered.
    #[must_use]
    pub fn lacking(&self) -> String {
        let mut words = format!("rustls needs {}", self.modern);
        if let Some(lack) = self.compat {
            words += &format!("; compat = \"{}\" needs {lack}", self.allowed);
        }
        words
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offered {}; {}", self.offer, self.lacking())?;
        match self.would_take {
            Some(level) => write!(f, "; compat = \"{level}\" would take it"),
            None => f.write_str("; no compat level takes it"),
        }
    }
}

/// What a hello offered, cut to what a log line can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    versions: Vec<u16>,
    suites: Vec<u16>,
    groups: Option<Vec<u16>>,
    signatures: Option<Vec<u16>>,
}

impl Offer {
    /// Longer lists are cut: a stranger writes them.
    const LONGEST: usize = 32;

    /// Of this hello.
    #[must_use]
    pub fn of(hello: &ClientHello) -> Self {
        let versions = hello.versions.as_deref().map_or_else(|| vec![hello.version], Self::cut);
        Self {
            versions,
            suites: Self::cut(&hello.suites),
            groups: hello.groups.as_deref().map(Self::cut),
            signatures: hello.signatures.as_deref().map(Self::cut),
        }
    }

    fn cut(values: &[u16]) -> Vec<u16> {
        values.iter().copied().filter(|value| !is_grease(*value)).take(Self::LONGEST).collect()
    }

    /// The versions, in words.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        self.versions.iter().map(|v| Version(*v).to_string()).collect()
    }

    /// The cipher suites by IANA name.
    #[must_use]
    pub fn suites(&self) -> Vec<String> {
        self.suites.iter().map(|v| Suite(*v).to_string()).collect()
    }

    /// The groups by IANA name; `None` when the extension is missing.
    #[must_use]
    pub fn groups(&self) -> Option<Vec<String>> {
        Some(self.groups.as_ref()?.iter().map(|v| Group(*v).to_string()).collect())
    }

    /// The signature schemes by IANA name; `None` when the extension is missing.
    #[must_use]
    pub fn signatures(&self) -> Option<Vec<String>> {
        Some(self.signatures.as_ref()?.iter().map(|v| Scheme(*v).to_string()).collect())
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, "", self.versions.iter().map(|v| Version(*v)))?;
        list(f, " with ", self.suites.iter().map(|v| Suite(*v)))?;
        match &self.groups {
            Some(groups) => list(f, ", groups ", groups.iter().map(|v| Group(*v)))?,
            None => write!(f, ", no {}", Extension(10))?,
        }
        match &self.signatures {
            Some(schemes) => list(f, ", signature schemes ", schemes.iter().map(|v| Scheme(*v))),
            None => write!(f, ", no {}", Extension(13)),
        }
    }
}

pub(super) fn list<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    lead: &str,
    values: impl Iterator<Item = T>,
) -> fmt::Result {
    f.write_str(lead)?;
    let mut separator = "";
    for value in values {
        write!(f, "{separator}{value}")?;
        separator = ", ";
    }
    if separator.is_empty() { f.write_str("none") } else { Ok(()) }
}
