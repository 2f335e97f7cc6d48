//! Certificates for the tests, made on the spot. Keys are P-256, because they are made in no time.

use m0v::{device::judge::Anchor, tls::certificate_id};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SubjectPublicKeyInfo, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use std::{fs, path::Path, process::Command};

/// 2026-01-01T00:00:00Z in Unix microseconds: when everything is judged, unless said otherwise.
pub(crate) const NOW: i64 = 1_767_225_600_000_000;

pub(crate) type Der = CertificateDer<'static>;
pub(crate) type Edit<'a> = &'a dyn Fn(&mut CertificateParams);

/// No change.
pub(crate) fn plain(_: &mut CertificateParams) {}

fn params(cn: impl Into<DnValue>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

/// A CA with its key.
pub(crate) struct Ca {
    params: CertificateParams,
    key: KeyPair,
    pub(crate) der: Der,
}

impl Ca {
    fn params(name: &str, edit: Edit<'_>) -> CertificateParams {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        edit(&mut params);
        params
    }

    pub(crate) fn root(name: &str, edit: Edit<'_>) -> Self {
        Self::with_key(KeyPair::generate().unwrap(), name, edit)
    }

    fn with_key(key: KeyPair, name: &str, edit: Edit<'_>) -> Self {
        let params = Self::params(name, edit);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { params, key, der }
    }

    /// Another certificate for the same name and key.
    pub(crate) fn renewed(&self, name: &str, edit: Edit<'_>) -> Self {
        Self::with_key(KeyPair::from_pem(&self.key.serialize_pem()).unwrap(), name, edit)
    }

    pub(crate) fn sub(&self, name: &str, edit: Edit<'_>) -> Self {
        let (key, params) = (KeyPair::generate().unwrap(), Self::params(name, edit));
        let der = params.signed_by(&key, &self.issuer()).unwrap().der().clone();
        Self { params, key, der }
    }

    pub(crate) fn leaf(&self, cn: impl Into<DnValue>, edit: Edit<'_>) -> Der {
        let key = KeyPair::generate().unwrap();
        let mut params = params(cn);
        edit(&mut params);
        params.signed_by(&key, &self.issuer()).unwrap().der().clone()
    }

    /// A leaf for an RSA key that nobody holds.
    pub(crate) fn leaf_with_rsa(&self, modulus: &[u8], exponent: &[u8]) -> Der {
        let spki = SubjectPublicKeyInfo::from_der(&rsa_spki(modulus, exponent)).unwrap();
        params("rsa").signed_by(&spki, &self.issuer()).unwrap().der().clone()
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    pub(crate) fn anchor(&self) -> Anchor {
        Anchor::read(&certificate_id(&self.der), &self.der).unwrap()
    }

    pub(crate) fn id(&self) -> String {
        certificate_id(&self.der)
    }
}

/// A key written down without a prime in sight.
fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = tlv(0x30, &[tlv(2, modulus), tlv(2, exponent)].concat());
    let algorithm = tlv(0x30, &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0]);
    tlv(0x30, &[algorithm, tlv(3, &[vec![0], key].concat())].concat())
}

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).unwrap();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length.to_be_bytes()[1]),
        _ => out.extend([&[0x82][..], &length.to_be_bytes()].concat()),
    }
    out.extend(contents);
    out
}

/// An extension nobody knows.
pub(crate) fn unknown_extension(is_critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(is_critical);
    extension
}

/// Runs openssl in a folder; stdout, or stderr if it failed.
pub(crate) fn openssl(folder: &Path, arguments: &str) -> Result<String, String> {
    let mut command = Command::new("openssl");
    let done = command.args(arguments.split_whitespace()).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if done.status.success() { Ok(text(done.stdout)) } else { Err(text(done.stderr)) }
}

/// The first certificate of a PEM file.
pub(crate) fn read_pem(file: &Path) -> Der {
    use rustls::pki_types::pem::PemObject;
    Der::from_pem_file(file).unwrap()
}

pub(crate) fn write_pem(file: &Path, ders: &[Der]) {
    let blocks: Vec<_> = ders.iter().map(|der| pem::Pem::new("CERTIFICATE", der.to_vec())).collect();
    fs::write(file, pem::encode_many(&blocks)).unwrap();
}
