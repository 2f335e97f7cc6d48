//! The certificate's RSA key and the request for a certificate over it.

use super::{AcmeError, secret::Secret};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize};
use x509_parser::{prelude::FromDer, public_key::PublicKey, x509::SubjectPublicKeyInfo};

/// Makes a key, PKCS#8 PEM. Takes tenths of a second of one core: not on a runtime thread.
pub(crate) async fn generate(bits: u16) -> Result<Secret, AcmeError> {
    let size = match bits {
        4096 => RsaKeySize::_4096,
        3072 => RsaKeySize::_3072,
        _ => RsaKeySize::_2048,
    };
    let made = tokio::task::spawn_blocking(move || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size)).await;
    let key = made.ok().and_then(Result::ok).ok_or(AcmeError::Crypto("an RSA key"))?;
    Ok(Secret::new(key.serialize_pem()))
}

/// Whether this is an RSA key of that size.
pub(crate) fn is_rsa_of(key_pem: &Secret, bits: u16) -> bool {
    let Ok(key) = KeyPair::from_pem(key_pem.expose()) else { return false };
    let spki = key.subject_public_key_info();
    let Ok((_, spki)) = SubjectPublicKeyInfo::from_der(&spki) else { return false };
    matches!(spki.parsed(), Ok(PublicKey::RSA(key)) if key.key_size() == usize::from(bits))
}

/// The request: names only, no subject (CAs take it from the names or leave it out).
pub(crate) fn signing_request(key_pem: &Secret, domains: &[String]) -> Result<Vec<u8>, AcmeError> {
    let fault = |_| AcmeError::Crypto("a certificate request");
    let key = KeyPair::from_pem(key_pem.expose()).map_err(fault)?;
    let mut params = CertificateParams::new(domains).map_err(fault)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key).map_err(fault)?.der().to_vec())
}
