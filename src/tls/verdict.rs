//! Which stack serves a hello, and in words why none does. Pure, like [`super::hello`].
//!
//! The rule: rustls whenever rustls can; else s2n-tls, at the lowest level that takes the hello,
//! if the owner allows that level; else nobody. The lists below repeat what the stacks are
//! configured to take (`modern.rs`, `compat.rs`); tests at the socket hold them to it.

use std::fmt;

use super::hello::ClientHello;
use super::names::{Extension, Group, Scheme, Suite, Version, is_grease};

const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;
const SECP256R1: u16 = 23;

const MODERN_SUITES_13: &[u16] = &[0x1301, 0x1302, 0x1303];
const MODERN_GROUPS_13: &[u16] = &[4588, 29, 23, 24];
const MODERN_SCHEMES_13: &[u16] = &[0x0804, 0x0805, 0x0806];
const MODERN_SUITES_12: &[u16] = &[0xc030, 0xc02f, 0xcca8];
const MODERN_GROUPS_12: &[u16] = &[29, 23, 24];
const MODERN_SCHEMES_12: &[u16] = &[0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601];

const AEAD_SUITES: &[u16] = &[0xc02f, 0xc030];
const CBC_SUITES: &[u16] = &[0xc02f, 0xc030, 0xc013, 0xc014, 0xc027, 0xc028];
const RSA_SUITES: &[u16] = &[0x002f, 0x0035, 0x003c, 0x003d, 0x009c, 0x009d];
const COMPAT_SCHEMES: &[u16] = &[0x0401, 0x0501, 0x0601, 0x0301, 0x0201];

/// How much weakness the owner allows, `[tls] compat`; each level includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Compat {
    /// rustls alone.
    Strict,
    /// TLS 1.2 with ECDHE and AES-GCM on P-256, for devices that name no groups.
    #[default]
    Cc3220,
    /// Also ECDHE with CBC.
    Cbc,
    /// Also static RSA with AES, and TLS 1.0 and 1.1.
    RsaKx,
}

impl Compat {
    /// Every level, strictest first.
    pub const ALL: [Self; 4] = [Self::Strict, Self::Cc3220, Self::Cbc, Self::RsaKx];

    /// The level as the configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Cc3220 => "cc3220",
            Self::Cbc => "cbc",
            Self::RsaKx => "rsa-kx",
        }
    }

    /// Whether s2n-tls is set up for it in this version of m0v.
    #[must_use]
    pub const fn is_built(self) -> bool {
        matches!(self, Self::Strict | Self::Cc3220)
    }
}

impl fmt::Display for Compat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who serves a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// rustls.
    Modern,
    /// s2n-tls, at this level.
    Compat(Compat),
    /// Nobody.
    Refused(Box<Reason>),
}

/// Judges a hello under the level the owner allows. The server's key is RSA.
#[must_use]
pub fn verdict(hello: &ClientHello, allowed: Compat) -> Verdict {
    let Some(modern) = modern_lack(hello) else {
        return Verdict::Modern;
    };
    let levels = || Compat::ALL.into_iter().skip(1);
    if let Some(level) =
        levels().find(|level| *level <= allowed && level.is_built() && compat_lack(hello, *level).is_none())
    {
        return Verdict::Compat(level);
    }
    let compat = match allowed {
        Compat::Strict => None,
        level => compat_lack(hello, level),
    };
    let would_take = levels().find(|level| compat_lack(hello, *level).is_none());
    Verdict::Refused(Box::new(Reason { offer: Offer::of(hello), modern, allowed, compat, would_take }))
}

/// What a hello lacks for one stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// None of these versions.
    Version(&'static [u16]),
    /// None of these suites.
    Suite(&'static [u16]),
    /// The extension that names groups.
    GroupsExtension,
    /// None of these groups among those it names.
    Group(&'static [u16]),
    /// The extension that names signature schemes.
    SignaturesExtension,
    /// None of these signature schemes.
    Scheme(&'static [u16]),
    /// The null compression method.
    NullCompression,
    /// Uncompressed elliptic-curve points.
    UncompressedPoints,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(wanted) => list(f, one_of(wanted), wanted.iter().map(|v| Version(*v))),
            Self::Suite(wanted) => list(f, one_of(wanted), wanted.iter().map(|v| Suite(*v))),
            Self::GroupsExtension => write!(f, "the extension {}", Extension(10)),
            Self::Group(wanted) => {
                list(f, one_of(wanted), wanted.iter().map(|v| Group(*v)))?;
                f.write_str(" among its groups")
            }
            Self::SignaturesExtension => write!(f, "the extension {}", Extension(13)),
            Self::Scheme(wanted) => {
                list(f, one_of(wanted), wanted.iter().map(|v| Scheme(*v)))?;
                f.write_str(" among its signature schemes")
            }
            Self::NullCompression => f.write_str("the null compression method"),
            Self::UncompressedPoints => f.write_str("the uncompressed point format"),
        }
    }
}

/// What rustls misses. It takes TLS 1.3 wherever a hello offers it and never falls back.
fn modern_lack(hello: &ClientHello) -> Option<Lack> {
    let (version, suites, groups, schemes) = if hello.speaks(TLS13) {
        (TLS13, MODERN_SUITES_13, MODERN_GROUPS_13, MODERN_SCHEMES_13)
    } else {
        (TLS12, MODERN_SUITES_12, MODERN_GROUPS_12, MODERN_SCHEMES_12)
    };
    let named_groups = hello.groups.as_deref();
    let signatures = hello.signatures.as_deref();
    if !hello.compression.contains(&0) {
        Some(Lack::NullCompression)
    } else if !hello.speaks(version) {
        Some(Lack::Version(&[TLS13, TLS12]))
    } else if !any(&hello.suites, suites) {
        Some(Lack::Suite(suites))
    } else if named_groups.is_none() {
        Some(Lack::GroupsExtension)
    } else if !named_groups.is_some_and(|named| any(named, groups)) {
        Some(Lack::Group(groups))
    } else if signatures.is_none() {
        Some(Lack::SignaturesExtension)
    } else if !signatures.is_some_and(|named| any(named, schemes)) {
        Some(Lack::Scheme(schemes))
    } else if version == TLS12 && !takes_uncompressed(hello) {
        Some(Lack::UncompressedPoints)
    } else {
        None
    }
}

/// What s2n-tls misses at one level.
fn compat_lack(hello: &ClientHello, level: Compat) -> Option<Lack> {
    let ecdhe = match level {
        Compat::Strict => return Some(Lack::Version(&[])),
        Compat::Cc3220 => AEAD_SUITES,
        Compat::Cbc | Compat::RsaKx => CBC_SUITES,
    };
    if !hello.compression.contains(&0) {
        return Some(Lack::NullCompression);
    }
    let versions: &'static [u16] = if level == Compat::RsaKx { &[TLS12, 0x0302, 0x0301] } else { &[TLS12] };
    // Below TLS 1.3 s2n-tls goes by the old version field alone.
    if !versions.iter().any(|version| hello.speaks(*version) && hello.version >= *version) {
        return Some(Lack::Version(versions));
    }
    if level == Compat::RsaKx && any(&hello.suites, RSA_SUITES) {
        return None;
    }
    if !any(&hello.suites, ecdhe) {
        return Some(Lack::Suite(ecdhe));
    }
    // A client that names no groups knows P-256 (RFC 8422 §4 leaves the choice to the server, and
    // it is what such devices have); one that names groups without it has said that it does not.
    if !hello.groups.as_ref().is_none_or(|named| named.contains(&SECP256R1)) {
        return Some(Lack::Group(&[SECP256R1]));
    }
    // Without the extension TLS 1.2 means SHA-1 (RFC 5246 §7.4.1.4.1), which s2n-tls can sign.
    if !hello.signatures.as_ref().is_none_or(|named| any(named, COMPAT_SCHEMES)) {
        return Some(Lack::Scheme(COMPAT_SCHEMES));
    }
    (!takes_uncompressed(hello)).then_some(Lack::UncompressedPoints)
}

fn any(offered: &[u16], wanted: &[u16]) -> bool {
    offered.iter().any(|value| wanted.contains(value))
}

fn takes_uncompressed(hello: &ClientHello) -> bool {
    hello.point_formats.as_ref().is_none_or(|formats| formats.contains(&0))
}

/// Why a hello is served by nobody: offered what, lacking what, which level would take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    offer: Offer,
    modern: Lack,
    allowed: Compat,
    compat: Option<Lack>,
    would_take: Option<Compat>,
}

impl Reason {
    /// One word for counters and rate limits: what decided.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self.decisive() {
            Lack::Version(_) => "version",
            Lack::Suite(_) => "suites",
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
    pub(super) const fn alert(&self) -> u8 {
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
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offered {}; rustls needs {}", self.offer, self.modern)?;
        if let Some(lack) = self.compat {
            write!(f, "; compat = \"{}\" needs {lack}", self.allowed)?;
        }
        match self.would_take {
            Some(level) if level.is_built() => write!(f, "; compat = \"{level}\" would take it"),
            Some(level) => write!(f, "; it needs compat = \"{level}\", which this version does not have"),
            None => f.write_str("; no compat level takes it"),
        }
    }
}

/// What a hello offered, cut to what a log line can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    versions: Vec<u16>,
    suites: Vec<u16>,
    groups: Option<Vec<u16>>,
    signatures: Option<Vec<u16>>,
}

impl Offer {
    /// Longer lists are cut: a stranger writes them.
    const LONGEST: usize = 32;

    fn of(hello: &ClientHello) -> Self {
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

const fn one_of(wanted: &[u16]) -> &'static str {
    if wanted.len() == 1 { "" } else { "one of " }
}

fn list<T: fmt::Display>(
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
