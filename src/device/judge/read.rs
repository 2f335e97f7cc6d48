//! The parts that leaf and CA have in common: decoding, dates, usages.

use super::{Date, Unfit};
use x509_parser::{
    asn1_rs::Oid,
    certificate::{Validity, X509Certificate},
    extensions::{KeyUsage, ParsedExtension},
    oid_registry::{OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE},
    prelude::FromDer,
};

/// Longest certificate in bytes of DER: an RSA-8192 one with a hundred names has 6 KB.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// Decodes one certificate, all of it.
pub(super) fn certificate(der: &[u8]) -> Result<X509Certificate<'_>, Unfit> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(Unfit::TooLong(der.len()));
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(Unfit::TrailingBytes),
        Err(_) => Err(Unfit::Undecodable("it is no X.509 certificate")),
    }
}

/// First and last second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dates {
    from: i64,
    to: i64,
}

impl Dates {
    pub(super) fn of(validity: &Validity) -> Self {
        Self { from: validity.not_before.timestamp(), to: validity.not_after.timestamp() }
    }

    /// Whether `now` (Unix microseconds) is between them, both included.
    pub(super) fn judge(self, now: i64) -> Result<(), Unfit> {
        let now = now.div_euclid(1_000_000);
        if now < self.from {
            Err(Unfit::NotYetValid(Date(self.from)))
        } else if now > self.to {
            Err(Unfit::Expired(Date(self.to)))
        } else {
            Ok(())
        }
    }

    /// Unix microseconds.
    pub(super) const fn not_after(self) -> i64 {
        self.to.saturating_mul(1_000_000)
    }
}

/// Whether `basicConstraints` says CA, and its longest path below.
pub(super) fn constraints(certificate: &X509Certificate<'_>) -> Result<(bool, Option<u32>), Unfit> {
    let broken = Unfit::Undecodable("its basicConstraints are broken or there twice");
    match extension(certificate, &OID_X509_EXT_BASIC_CONSTRAINTS, broken.clone())? {
        Some(ParsedExtension::BasicConstraints(it)) => Ok((it.ca, it.path_len_constraint)),
        Some(_) => Err(broken),
        None => Ok((false, None)),
    }
}

/// `keyUsage`; without one, everything is allowed.
pub(super) fn usage<'a>(certificate: &'a X509Certificate<'_>) -> Result<Option<&'a KeyUsage>, Unfit> {
    let broken = Unfit::Undecodable("its keyUsage is broken or there twice");
    match extension(certificate, &OID_X509_EXT_KEY_USAGE, broken.clone())? {
        Some(ParsedExtension::KeyUsage(it)) => Ok(Some(it)),
        Some(_) => Err(broken),
        None => Ok(None),
    }
}

/// Whether `extendedKeyUsage`, if there, is for TLS clients.
pub(super) fn for_clients(certificate: &X509Certificate<'_>) -> Result<(), Unfit> {
    let broken = Unfit::Undecodable("its extendedKeyUsage is broken or there twice");
    match extension(certificate, &OID_X509_EXT_EXTENDED_KEY_USAGE, broken.clone())? {
        Some(ParsedExtension::ExtendedKeyUsage(it)) if it.client_auth || it.any => Ok(()),
        Some(ParsedExtension::ExtendedKeyUsage(_)) => Err(Unfit::NoClientAuth),
        Some(_) => Err(broken),
        None => Ok(()),
    }
}

/// The crate's own accessors take one that cannot be read for none at all.
fn extension<'a, 'c>(
    certificate: &'a X509Certificate<'c>,
    oid: &Oid<'_>,
    broken: Unfit,
) -> Result<Option<&'a ParsedExtension<'c>>, Unfit> {
    let found = certificate.get_extension_unique(oid).map_err(|_| broken)?;
    Ok(found.map(|extension| extension.parsed_extension()))
}

/// What is inside a DER sequence: webpki keeps names so.
pub(super) fn contents(sequence: &[u8]) -> &[u8] {
    let header = match sequence.get(1) {
        Some(length @ 0x80..) => 2 + usize::from(length & 0x7f),
        _ => 2,
    };
    sequence.get(header..).unwrap_or_default()
}
