//! What every certificate of a served chain must be: RSA, within its dates, in order.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::chain::ChainError;
use super::roots::{asn1, signed};

/// What CC3220-class devices and current browsers agree on.
pub(super) const MIN_RSA_BITS: usize = 2048;

/// More certificates than leaf, three intermediates and root are too many for a small device.
pub const MAX_CERTIFICATES: usize = 5;
/// The most bytes (DER) of a chain: what fits the memory of a small network processor beside its
/// records. A usual chain with its root has 4 to 6 KB; a leaf with a hundred names has more.
pub const MAX_CHAIN_BYTES: usize = 10 * 1024;

/// Whether a small device can take the chain, complete as it is sent.
pub(super) fn check_length(file: &Path, ders: &[CertificateDer<'static>]) -> Result<(), ChainError> {
    let bytes: usize = ders.iter().map(|der| der.len()).sum();
    let fault = if ders.len() > MAX_CERTIFICATES {
        format!("has {} certificates with its root; at most {MAX_CERTIFICATES} are served", ders.len())
    } else if bytes > MAX_CHAIN_BYTES {
        format!("has {bytes} bytes of certificates; small devices take {MAX_CHAIN_BYTES} at most")
    } else {
        return Ok(());
    };
    Err(ChainError::new(file, fault))
}

/// Parses one DER certificate of a file; `at` counts from 0.
pub(super) fn parse<'a>(file: &Path, der: &'a [u8], at: usize) -> Result<X509Certificate<'a>, ChainError> {
    let broken = |why: String| ChainError::new(file, format!("certificate {} is broken: {why}", at + 1));
    let (rest, cert) = X509Certificate::from_der(der).map_err(|error| broken(error.to_string()))?;
    if rest.is_empty() { Ok(cert) } else { Err(broken("bytes after its end".into())) }
}

pub(super) fn check_chain(
    file: &Path,
    ders: &[CertificateDer<'static>],
    now: SystemTime,
) -> Result<(), ChainError> {
    let certs: Vec<_> =
        ders.iter().enumerate().map(|(at, der)| parse(file, der, at)).collect::<Result<_, _>>()?;
    if let Some(leaf) = certs.first().filter(|leaf| leaf.is_ca()) {
        let fault =
            format!("its first certificate, {}, is a CA; the server's own must come first", leaf.subject());
        return Err(ChainError::new(file, fault));
    }
    for cert in &certs {
        check_certificate(file, cert, now)?;
    }
    for (cert, issuer) in certs.iter().zip(certs.iter().skip(1)) {
        if !signed(cert, issuer) {
            let fault = format!(
                "{} is not signed by the certificate after it, {} (order: leaf, intermediates, root)",
                cert.subject(),
                issuer.subject()
            );
            return Err(ChainError::new(file, fault));
        }
    }
    Ok(())
}

pub(super) fn check_certificate(
    file: &Path,
    cert: &X509Certificate<'_>,
    now: SystemTime,
) -> Result<(), ChainError> {
    let fault = |what: String| Err(ChainError::new(file, format!("{} {what}", cert.subject())));
    match cert.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if rsa_bits(key.modulus) >= MIN_RSA_BITS => {}
        Ok(PublicKey::RSA(key)) => {
            let bits = rsa_bits(key.modulus);
            return fault(format!("has an RSA key of {bits} bits; at least {MIN_RSA_BITS} are needed"));
        }
        _ => return fault("has no RSA key; devices need RSA in the whole chain".into()),
    }
    let Some(now) = asn1(now) else { return fault("cannot be judged: the clock is before 1970".into()) };
    let validity = cert.validity();
    if now < validity.not_before {
        return fault(format!("is not valid before {} (is the clock right?)", validity.not_before));
    }
    if now > validity.not_after {
        return fault(format!("expired on {}", validity.not_after));
    }
    Ok(())
}

/// The significant bits of a big-endian number.
pub(super) fn rsa_bits(modulus: &[u8]) -> usize {
    let significant =
        modulus.iter().position(|byte| *byte != 0).and_then(|at| modulus.get(at..)).unwrap_or_default();
    let unused = significant.first().map_or(0, |byte| byte.leading_zeros());
    (significant.len() * 8).saturating_sub(unused as usize)
}

/// Times before 1970 become 1970: long gone either way.
pub(super) fn system_time(timestamp: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(timestamp).unwrap_or_default())
}
