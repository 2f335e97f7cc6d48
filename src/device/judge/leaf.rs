//! The certificate that a device shows: fit for it, and whose it says it is.

use super::{
    Unfit,
    key::check_key,
    read::{self, Dates},
};
use crate::device::name::{BadName, check_device_id};
use x509_parser::{
    asn1_rs::Tag,
    certificate::X509Certificate,
    x509::{AttributeTypeAndValue, X509Version},
};

/// A certificate that may be a device's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    name: Result<Option<String>, BadCn>,
    not_after: i64,
    version: u32,
}

impl Leaf {
    /// Its end, in Unix microseconds.
    #[must_use]
    pub const fn not_after(&self) -> i64 {
        self.not_after
    }

    /// 1 to 3. Below 3 no CA can vouch for it: such a certificate counts by its fingerprint only.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Whose it says it is: its CN, or `None`, and then the certificate's id is the device's.
    ///
    /// # Errors
    /// A CN that names no device. It matters only where the certificate itself says whose it is:
    /// a listed one is the device's that it was listed for.
    pub fn device_id(&self) -> Result<Option<&str>, BadCn> {
        match &self.name {
            Ok(name) => Ok(name.as_deref()),
            Err(bad) => Err(*bad),
        }
    }
}

/// Why the subject of a certificate names no device. Continues "the certificate …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCn {
    /// Which of them?
    #[error("has several CNs in its subject")]
    Several,
    /// Encoded as nothing that is text.
    #[error("has a CN that is no text")]
    NoText,
    /// Text, but no device's.
    #[error("has a CN that {0}")]
    Bad(#[from] BadName),
}

/// Judges a certificate by itself, as it is shown at `now` (Unix microseconds).
///
/// # Errors
/// The first fault found; also for certificates that are listed.
pub fn leaf(der: &[u8], now: i64) -> Result<Leaf, Unfit> {
    let certificate = read::certificate(der)?;
    let dates = Dates::of(certificate.validity());
    dates.judge(now)?;
    check_key(certificate.public_key())?;
    if read::constraints(&certificate)?.0 {
        return Err(Unfit::IsCa);
    }
    if read::usage(&certificate)?.is_some_and(|usage| !usage.digital_signature()) {
        return Err(Unfit::NoDigitalSignature);
    }
    read::for_clients(&certificate)?;
    Ok(Leaf { name: name(&certificate), not_after: dates.not_after(), version: version(&certificate) })
}

/// As people count.
pub(super) fn version(certificate: &X509Certificate<'_>) -> u32 {
    let X509Version(encoded) = certificate.version();
    encoded.saturating_add(1)
}

fn name(certificate: &X509Certificate<'_>) -> Result<Option<String>, BadCn> {
    let mut names = certificate.subject().iter_common_name();
    let Some(first) = names.next() else { return Ok(None) };
    if names.next().is_some() {
        return Err(BadCn::Several);
    }
    let name = text(first).ok_or(BadCn::NoText)?;
    // A subject template whose CN was left empty names nobody, as one without.
    if name.is_empty() {
        return Ok(None);
    }
    check_device_id(&name)?;
    Ok(Some(name))
}

/// All string types that a CN may have. `TeletexString` is taken as ASCII: beyond it no two tools
/// agree what it means.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String => std::str::from_utf8(bytes).ok().map(str::to_owned),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString | Tag::T61String => {
            bytes.is_ascii().then(|| String::from_utf8_lossy(bytes).into_owned())
        }
        Tag::BmpString => {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok())?
        }
        Tag::UniversalString => {
            let (quads, rest) = bytes.as_chunks::<4>();
            let letters = quads.iter().map(|quad| char::from_u32(u32::from_be_bytes(*quad)));
            rest.is_empty().then(|| letters.collect())?
        }
        _ => None,
    }
}
