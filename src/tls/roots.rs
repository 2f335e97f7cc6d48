//! The roots a served chain can end in: those in `chains/`, compiled in, and the owner's folder.
//! They complete the chain we send; nobody is trusted because of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::peer::certificate_id;

/// The PEM files of `chains/`, by their path in the sources.
const SHIPPED: &[(&str, &[u8])] = &[
    ("chains/amazon-root-ca-1.pem", include_bytes!("../../chains/amazon-root-ca-1.pem")),
    ("chains/certum-trusted-network-ca.pem", include_bytes!("../../chains/certum-trusted-network-ca.pem")),
    ("chains/digicert-global-root-ca.pem", include_bytes!("../../chains/digicert-global-root-ca.pem")),
    ("chains/digicert-global-root-g2.pem", include_bytes!("../../chains/digicert-global-root-g2.pem")),
    ("chains/globalsign-root-ca.pem", include_bytes!("../../chains/globalsign-root-ca.pem")),
    ("chains/globalsign-root-r3.pem", include_bytes!("../../chains/globalsign-root-r3.pem")),
    ("chains/gts-root-r1.pem", include_bytes!("../../chains/gts-root-r1.pem")),
    ("chains/isrg-root-x1.pem", include_bytes!("../../chains/isrg-root-x1.pem")),
    ("chains/sectigo-root-r46.pem", include_bytes!("../../chains/sectigo-root-r46.pem")),
    ("chains/ssl-com-root-rsa.pem", include_bytes!("../../chains/ssl-com-root-rsa.pem")),
    ("chains/usertrust-rsa.pem", include_bytes!("../../chains/usertrust-rsa.pem")),
];
/// Larger files are no certificates.
const MAX_PEM: u64 = 4 * 1024 * 1024;

/// A list of candidates.
#[derive(Debug, Clone, Default)]
pub struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    /// The roots compiled in.
    #[must_use]
    pub fn shipped() -> Self {
        let mut roots = Self::default();
        SHIPPED.iter().for_each(|(_, pem)| roots.add_pem(pem));
        roots
    }

    /// How many candidates there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds every certificate in the folder's files; whatever else lies there is passed over.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read.
    pub fn add_folder(&mut self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let meta = fs::metadata(&path)?;
            if meta.is_file() && meta.len() <= MAX_PEM {
                self.add_pem(&fs::read(&path)?);
            }
        }
        Ok(())
    }

    /// Adds the certificates of one PEM text.
    pub fn add_pem(&mut self, pem: &[u8]) {
        self.0.extend(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
    }

    /// The root that signed `top`: by name, key id, dates and signature, and of several the one
    /// that lasts longest.
    pub(super) fn issuer_of(
        &self,
        top: &X509Certificate<'_>,
        now: SystemTime,
    ) -> Option<CertificateDer<'static>> {
        let now = asn1(now)?;
        let mut best: Option<(ASN1Time, &CertificateDer<'static>)> = None;
        for der in &self.0 {
            let Ok((_, root)) = X509Certificate::from_der(der) else { continue };
            let until = root.validity().not_after;
            let longer = best.is_none_or(|(known, _)| known < until);
            if longer && is_root(&root) && root.validity().is_valid_at(now) && signed(top, &root) {
                best = Some((until, der));
            }
        }
        best.map(|(_, der)| der.clone())
    }
}

/// The file that holds the certificate of this fingerprint (SHA-256): one of `folder`, else one of
/// `chains/` in the sources.
#[must_use]
pub fn root_file(fingerprint: &str, folder: Option<&Path>) -> Option<PathBuf> {
    let holds = |pem: &[u8]| {
        let mut ders = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        ders.any(|der| certificate_id(&der) == fingerprint)
    };
    let mut own = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let small = |path: &Path| fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_PEM);
    let own = own.find(|entry| small(&entry.path()) && fs::read(entry.path()).is_ok_and(|pem| holds(&pem)));
    own.map(|entry| entry.path())
        .or_else(|| SHIPPED.iter().find(|(_, pem)| holds(pem)).map(|(name, _)| PathBuf::from(name)))
}

/// Whether a certificate names and signs itself, and may sign others.
pub(super) fn is_root(cert: &X509Certificate<'_>) -> bool {
    cert.is_ca() && cert.subject().as_raw() == cert.issuer().as_raw() && cert.verify_signature(None).is_ok()
}

/// Whether `issuer` signed `cert`: names, key ids where both are there, and the signature.
pub(super) fn signed(cert: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let ids_differ = matches!((authority_key_id(cert), subject_key_id(issuer)), (Some(a), Some(b)) if a != b);
    cert.issuer().as_raw() == issuer.subject().as_raw()
        && !ids_differ
        && cert.verify_signature(Some(issuer.public_key())).is_ok()
}

pub(super) fn subject_key_id<'a>(cert: &'a X509Certificate<'a>) -> Option<&'a [u8]> {
    cert.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    })
}

fn authority_key_id<'a>(cert: &'a X509Certificate<'a>) -> Option<&'a [u8]> {
    cert.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    })
}

/// `None` for times X.509 cannot say.
pub(super) fn asn1(time: SystemTime) -> Option<ASN1Time> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    ASN1Time::from_timestamp(i64::try_from(since.as_secs()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_root_signs_itself() {
        for der in &Roots::shipped().0 {
            let (_, root) = X509Certificate::from_der(der).unwrap();
            assert!(is_root(&root), "{}", root.subject());
        }
    }
}
