//! A certificate request (PKCS#10): proof that somebody holds a key, and the key. What else it asks
//! for is its own business; names and extensions are the issuer's.

use super::{
    certificate::{BadPem, one_block},
    judge::{MAX_CERTIFICATE_BYTES, Unfit, check_key},
};
use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{certification_request::X509CertificationRequest, error::X509Error, prelude::FromDer};

/// Why no certificate is made for a request. Continues "csr: …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not even one.
    #[error("the text {0}")]
    Pem(#[from] BadPem),
    /// PEM with something else in it.
    #[error("it is no certificate request (PKCS#10)")]
    Undecodable,
    /// Whoever sent it does not hold the key.
    #[error("its signature is not made with its own key")]
    Signature,
    /// Signed in a way that cannot be checked here.
    #[error(
        "it is signed with an algorithm that is not taken; RSA with SHA-256 is, P-256 or P-384 with SHA-256 \
         or SHA-384, and Ed25519"
    )]
    Algorithm,
    /// A key that cannot be put into a certificate.
    #[error("its key is not written as RFC 3279 and 5480 say")]
    Form,
    /// A key that is worth nothing.
    #[error("it {0}")]
    Key(Unfit),
}

/// The public key of a request, whose holder has proven that he holds the private one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    spki: Vec<u8>,
}

impl Request {
    /// Reads and checks a request in PEM.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, BadRequest> {
        let labels = ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"];
        let block = one_block(text, "a certificate request", &labels)?;
        // Some tools of old say NEW, the reader does not.
        let block = block.replace(" NEW CERTIFICATE", " CERTIFICATE");
        let der =
            CertificateSigningRequestDer::from_pem_slice(block.as_bytes()).map_err(|_| BadPem::Broken)?;
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(BadRequest::Undecodable);
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(&der) else {
            return Err(BadRequest::Undecodable);
        };
        let key = &request.certification_request_info.subject_pki;
        // First the key's size, then its use: the signature of a huge one takes seconds to check.
        check_key(key).map_err(BadRequest::Key)?;
        // As the issuer will read it: RSA without its NULL, say, it would not put into a certificate.
        SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| BadRequest::Form)?;
        request.verify_signature().map_err(|error| match error {
            X509Error::SignatureUnsupportedAlgorithm => BadRequest::Algorithm,
            _ => BadRequest::Signature,
        })?;
        Ok(Self { spki: key.raw.to_vec() })
    }

    /// DER of its `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
}
