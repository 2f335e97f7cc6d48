//! The keys of client certificates that are computed with at all.

use rustls::pki_types::{AlgorithmIdentifier, SubjectPublicKeyInfoDer, alg_id};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::fault::PeerFault;
use crate::tls::check::{MIN_RSA_BITS, rsa_bits};

/// A signature of a larger key takes milliseconds to verify, and a stranger chooses it.
const MAX_RSA_BITS: usize = 8192;
/// Every exponent in use is 3, 17 or 65537; the work grows with its length.
const MAX_EXPONENT_BITS: usize = 32;

/// The public key of a leaf, of a kind and size that is taken.
pub(in crate::tls) struct LeafKey<'a> {
    info: &'a [u8],
    /// The key without its algorithm, as signature algorithms want it.
    pub(super) bytes: Vec<u8>,
    pub(super) algorithm: AlgorithmIdentifier,
}

impl<'a> LeafKey<'a> {
    pub(super) fn of(cert: X509Certificate<'a>) -> Result<Self, PeerFault> {
        let info = cert.tbs_certificate.subject_pki;
        let algorithm = algorithm(&info)?;
        if algorithm == alg_id::RSA_ENCRYPTION {
            check_rsa(&info)?;
        }
        Ok(Self { info: info.raw, bytes: info.subject_public_key.data.into_owned(), algorithm })
    }

    /// The SubjectPublicKeyInfo.
    pub(super) fn info(&self) -> SubjectPublicKeyInfoDer<'a> {
        SubjectPublicKeyInfoDer::from(self.info)
    }
}

fn algorithm(info: &SubjectPublicKeyInfo<'_>) -> Result<AlgorithmIdentifier, PeerFault> {
    let kind = &info.algorithm.algorithm;
    if *kind == OID_PKCS1_RSAENCRYPTION {
        return Ok(alg_id::RSA_ENCRYPTION);
    }
    if *kind == OID_SIG_ED25519 {
        return Ok(alg_id::ED25519);
    }
    if *kind != OID_KEY_TYPE_EC_PUBLIC_KEY {
        return Err(PeerFault::UnsupportedKey(format!("a key of the kind {kind}")));
    }
    let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let Some(curve) = curve else {
        return Err(PeerFault::UnsupportedKey("a key on a curve without a name".to_owned()));
    };
    let named = [
        (OID_EC_P256, alg_id::ECDSA_P256),
        (OID_NIST_EC_P384, alg_id::ECDSA_P384),
        (OID_NIST_EC_P521, alg_id::ECDSA_P521),
    ];
    let found = named.into_iter().find(|(oid, _)| *oid == curve).map(|(_, algorithm)| algorithm);
    found.ok_or_else(|| PeerFault::UnsupportedKey(format!("a key on the curve {curve}")))
}

fn check_rsa(info: &SubjectPublicKeyInfo<'_>) -> Result<(), PeerFault> {
    let Ok(PublicKey::RSA(key)) = info.parsed() else {
        return Err(PeerFault::Undecodable("its RSA key is broken".to_owned()));
    };
    let (bits, exponent) = (rsa_bits(key.modulus), rsa_bits(key.exponent));
    if bits < MIN_RSA_BITS {
        return Err(PeerFault::WeakKey { bits });
    }
    if bits > MAX_RSA_BITS {
        return Err(PeerFault::HugeKey { what: "key", bits });
    }
    if exponent > MAX_EXPONENT_BITS {
        return Err(PeerFault::HugeKey { what: "exponent", bits: exponent });
    }
    if exponent < 2 || key.exponent.last().is_none_or(|byte| byte & 1 == 0) {
        return Err(PeerFault::Undecodable("the exponent of its RSA key is even or 1".to_owned()));
    }
    Ok(())
}
