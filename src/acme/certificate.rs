//! A certificate with its key: read from PEM once, so that nothing below asks the bytes again.

use super::{AcmeError, cache::UnixSeconds, jws, secret::Secret};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate, X509Name};

/// A leaf, its intermediates and its key, as the CA gave them.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// The directory it was ordered from.
    pub directory: String,
    /// The names on it, lower case, sorted.
    pub domains: Vec<String>,
    /// The key, PKCS#8 PEM.
    pub key_pem: Secret,
    /// Leaf first, without root.
    pub chain_pem: String,
    /// When it begins.
    pub not_before: UnixSeconds,
    /// When it ends.
    pub not_after: UnixSeconds,
    /// When it was downloaded.
    pub obtained_at: UnixSeconds,
    /// Common name of the root the chain leads to, by its last certificate's issuer.
    pub root: String,
    /// Its name in renewal information (RFC 9773 §4.1), if it can have one.
    pub(crate) ari_id: Option<String>,
    /// A stable fraction of one, different for each certificate: spreads renewals.
    pub(crate) fraction: f64,
}

impl Certificate {
    /// Reads key and chain and makes sure that they belong together.
    ///
    /// # Errors
    /// [`AcmeError::WrongCertificate`] with what does not fit.
    pub fn new(
        directory: String,
        key_pem: Secret,
        chain_pem: String,
        obtained_at: UnixSeconds,
    ) -> Result<Self, AcmeError> {
        let wrong = |what: &str| AcmeError::WrongCertificate(what.to_owned());
        let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("the chain is no PEM"))?;
        let (Some(leaf_der), Some(top)) = (chain.first(), chain.last()) else {
            return Err(wrong("the chain is empty"));
        };
        let (_, leaf) = X509Certificate::from_der(leaf_der).map_err(|_| wrong("the leaf cannot be read"))?;
        let (_, top) =
            X509Certificate::from_der(top).map_err(|_| wrong("the last certificate cannot be read"))?;
        let key = KeyPair::from_pem(key_pem.expose()).map_err(|_| wrong("its key cannot be read"))?;
        if key.subject_public_key_info() != leaf.public_key().raw {
            return Err(wrong("it is for another key"));
        }
        let validity = leaf.validity();
        Ok(Self {
            domains: names(&leaf),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            obtained_at,
            root: common_name(top.issuer()),
            ari_id: ari_id(&leaf),
            fraction: fraction(leaf_der),
            directory,
            key_pem,
            chain_pem,
        })
    }

    /// How long it is valid in all, in seconds.
    #[must_use]
    pub fn lifetime(&self) -> i64 {
        self.not_after - self.not_before
    }
}

fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let extension = leaf.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = extension
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn common_name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|attribute| attribute.as_str().ok());
    common.map_or_else(|| name.to_string(), str::to_owned)
}

fn ari_id(leaf: &X509Certificate<'_>) -> Option<String> {
    let issuer_key = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => identifier.key_identifier.as_ref(),
        _ => None,
    })?;
    Some(format!("{}.{}", BASE64URL.encode(issuer_key.0), BASE64URL.encode(leaf.raw_serial())))
}

fn fraction(leaf: &[u8]) -> f64 {
    let digits = jws::sha256_hex(leaf);
    let number = digits.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0);
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}
