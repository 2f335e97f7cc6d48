//! One certificate of a chain, in the words of an operator.

use std::net::IpAddr;
use std::time::SystemTime;

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::check::system_time;
use super::peer::{certificate_id, hex};
use super::roots::is_root;

/// One certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its name, as X.509 tools print it.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// When it ends.
    pub not_after: SystemTime,
    /// The same as `YYYY-MM-DD`.
    pub ends: String,
    /// Lower-case hex SHA-1 of its DER: what some catalogs and tools of devices name it by.
    pub sha1: String,
    /// Lower-case hex SHA-256 of its DER.
    pub sha256: String,
    /// Whether it names and signs itself.
    pub is_root: bool,
}

impl Element {
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, cert) = X509Certificate::from_der(der).ok()?;
        let ends = cert.validity().not_after.to_datetime();
        Some(Self {
            subject: cert.subject().to_string(),
            issuer: cert.issuer().to_string(),
            not_after: system_time(cert.validity().not_after.timestamp()),
            ends: format!("{:04}-{:02}-{:02}", ends.year(), u8::from(ends.month()), ends.day()),
            sha1: hex(digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref()),
            sha256: certificate_id(der),
            is_root: is_root(&cert),
        })
    }
}

/// The DNS names and addresses of a certificate.
pub(super) fn names_of(cert: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = cert.subject_alternative_name() else { return Vec::new() };
    names.value.general_names.iter().filter_map(shown).collect()
}

fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok()?;
            Some(address.to_string())
        }
        _ => None,
    }
}
