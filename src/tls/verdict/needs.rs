//! What each stack needs of a hello, level by level, and what a hello lacks of it.

use std::fmt;

use super::super::hello::ClientHello;
use super::super::names::{Extension, Group, Scheme, Suite, Version};
use super::Compat;
use super::reason::list;

const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;
const SECP256R1: u16 = 23;

const MODERN_SUITES_13: &[u16] = &[0x1301, 0x1302, 0x1303];
const MODERN_GROUPS_13: &[u16] = &[4588, 29, 23, 24];
const MODERN_SCHEMES_13: &[u16] = &[0x0804, 0x0805, 0x0806];
const MODERN_SUITES_12: &[u16] = &[0xc030, 0xc02f, 0xcca8];
const MODERN_GROUPS_12: &[u16] = &[29, 23, 24];
const MODERN_SCHEMES_12: &[u16] = &[0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601];

// The lists of s2n-tls' policies in their order, which is the server's preference; suites with
// static RSA come last, and there is no 3DES.
const AEAD: &[u16] = &[0xc02f, 0xc030];
const CBC: &[u16] = &[0xc02f, 0xc027, 0xc013, 0xc030, 0xc028, 0xc014];
const RSA: &[u16] = &[0x009c, 0x003c, 0x002f, 0x009d, 0x003d, 0x0035];
/// Of those, the ones that TLS 1.0 and 1.1 have.
const OLD_CBC: &[u16] = &[0xc013, 0xc014];
const OLD_RSA: &[u16] = &[0x002f, 0x0035];
const COMPAT_SCHEMES: &[u16] = &[0x0401, 0x0501, 0x0601, 0x0301, 0x0201];

/// What a hello lacks for one stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// None of these versions.
    Version(&'static [u16]),
    /// None of these suites.
    Suite(&'static [u16]),
    /// None of these suites, or of those with static RSA.
    SuiteOrRsa(&'static [u16], &'static [u16]),
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
            Self::SuiteOrRsa(ecdhe, rsa) => list(f, "one of ", ecdhe.iter().chain(*rsa).map(|v| Suite(*v))),
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
pub(super) fn modern_lack(hello: &ClientHello) -> Option<Lack> {
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
pub(super) fn compat_lack(hello: &ClientHello, level: Compat) -> Option<Lack> {
    let versions: &'static [u16] = match level {
        Compat::Strict => return Some(Lack::Version(&[])),
        Compat::Cc3220 | Compat::Cbc => &[TLS12],
        Compat::RsaKx => &[TLS12, 0x0302, 0x0301],
    };
    if !hello.compression.contains(&0) {
        return Some(Lack::NullCompression);
    }
    let Some(version) = compat_version(hello).filter(|version| versions.contains(version)) else {
        return Some(Lack::Version(versions));
    };
    let (ecdhe, rsa) = compat_suites(level, version);
    if any(&hello.suites, ecdhe) {
        ecdhe_lack(hello, version).filter(|_| !any(&hello.suites, rsa))
    } else if rsa.is_empty() {
        Some(Lack::Suite(ecdhe))
    } else if any(&hello.suites, rsa) {
        None
    } else {
        Some(Lack::SuiteOrRsa(ecdhe, rsa))
    }
}

/// Below TLS 1.3 s2n-tls goes by the old version field alone: this is the version it would take.
fn compat_version(hello: &ClientHello) -> Option<u16> {
    let version = hello.version.min(TLS12);
    hello.speaks(version).then_some(version)
}

/// What a level takes: with ECDHE, and with static RSA.
const fn compat_suites(level: Compat, version: u16) -> (&'static [u16], &'static [u16]) {
    match level {
        Compat::Strict => (&[], &[]),
        Compat::Cc3220 => (AEAD, &[]),
        Compat::Cbc => (CBC, &[]),
        Compat::RsaKx if version < TLS12 => (OLD_CBC, OLD_RSA),
        Compat::RsaKx => (CBC, RSA),
    }
}

/// What s2n-tls misses for a suite with ECDHE.
fn ecdhe_lack(hello: &ClientHello, version: u16) -> Option<Lack> {
    // A client that names no groups knows P-256 (RFC 8422 §4 leaves the choice to the server, and
    // it is what such devices have); one that names groups without it has said that it does not.
    if !hello.groups.as_ref().is_none_or(|named| named.contains(&SECP256R1)) {
        return Some(Lack::Group(&[SECP256R1]));
    }
    // Without the extension TLS 1.2 means SHA-1 (RFC 5246 §7.4.1.4.1), which s2n-tls can sign.
    let schemes = hello.signatures.as_ref().filter(|_| version == TLS12);
    if !schemes.is_none_or(|named| any(named, COMPAT_SCHEMES)) {
        return Some(Lack::Scheme(COMPAT_SCHEMES));
    }
    (!takes_uncompressed(hello)).then_some(Lack::UncompressedPoints)
}

/// The version and suite that will likely be negotiated: rustls (`None`) takes the client's first
/// that it knows, s2n-tls its own first that the client knows. `None` when nothing fits.
#[must_use]
pub fn likely_suite(hello: &ClientHello, level: Option<Compat>) -> Option<(u16, u16)> {
    let first = |preferred: &[u16], known: &[u16]| preferred.iter().copied().find(|s| known.contains(s));
    let Some(level) = level else {
        let thirteen = hello.speaks(TLS13);
        let (version, suites) = if thirteen { (TLS13, MODERN_SUITES_13) } else { (TLS12, MODERN_SUITES_12) };
        return first(&hello.suites, suites).map(|suite| (version, suite));
    };
    let version = compat_version(hello)?;
    let (ecdhe, rsa) = compat_suites(level, version);
    let ecdhe = if ecdhe_lack(hello, version).is_none() { ecdhe } else { &[] };
    first(ecdhe, &hello.suites).or_else(|| first(rsa, &hello.suites)).map(|suite| (version, suite))
}

fn any(offered: &[u16], wanted: &[u16]) -> bool {
    offered.iter().any(|value| wanted.contains(value))
}

fn takes_uncompressed(hello: &ClientHello) -> bool {
    hello.point_formats.as_ref().is_none_or(|formats| formats.contains(&0))
}

const fn one_of(wanted: &[u16]) -> &'static str {
    if wanted.len() == 1 { "" } else { "one of " }
}
