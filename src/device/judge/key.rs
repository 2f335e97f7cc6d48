//! Which public keys are worth something.

use super::Unfit;
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_SIG_ED25519},
    public_key::{PublicKey, RSAPublicKey},
    x509::SubjectPublicKeyInfo,
};

/// Smallest RSA modulus.
pub const MIN_RSA_BITS: usize = 2048;
/// Largest RSA modulus: what the TLS stacks verify. Each check costs the square of it.
pub const MAX_RSA_BITS: usize = 8192;
/// Largest RSA exponent, for the same reason.
const MAX_EXPONENT: u64 = (1 << 33) - 1;

/// Whether a certificate may be made or accepted for a key.
///
/// # Errors
/// What is wrong with it.
pub fn check_key(spki: &SubjectPublicKeyInfo<'_>) -> Result<(), Unfit> {
    match spki.parsed() {
        Ok(PublicKey::RSA(key)) => check_rsa(&key),
        Ok(PublicKey::EC(_)) if is_known_curve(spki) => Ok(()),
        Ok(_) if spki.algorithm.algorithm == OID_SIG_ED25519 => Ok(()),
        Ok(_) => Err(Unfit::OtherKey),
        Err(_) => Err(Unfit::Undecodable("its public key is broken")),
    }
}

fn check_rsa(key: &RSAPublicKey<'_>) -> Result<(), Unfit> {
    let bits = bits(key.modulus);
    if bits < MIN_RSA_BITS {
        return Err(Unfit::WeakKey(bits));
    }
    if bits > MAX_RSA_BITS {
        return Err(Unfit::HugeKey(bits));
    }
    match key.try_exponent() {
        Ok(exponent) if exponent % 2 == 1 && (3..=MAX_EXPONENT).contains(&exponent) => Ok(()),
        _ => Err(Unfit::StrangeExponent),
    }
}

/// The length of a positive number; 0 for a negative one.
fn bits(number: &[u8]) -> usize {
    if number.first().is_some_and(|first| first & 0x80 != 0) {
        return 0;
    }
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let unused = number.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    number.len().saturating_sub(zeros).saturating_mul(8).saturating_sub(unused)
}

fn is_known_curve(spki: &SubjectPublicKeyInfo<'_>) -> bool {
    let curve = spki.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    curve.is_some_and(|curve| [OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521].contains(&curve))
}

#[cfg(test)]
mod tests {
    use super::bits;

    #[test]
    fn bits_are_counted_from_the_first_that_is_set() {
        for (number, expected) in
            [(&[][..], 0), (&[0, 0], 0), (&[0x80], 0), (&[0, 0x80], 8), (&[1, 0], 9), (&[0, 0, 0x7f], 7)]
        {
            assert_eq!(bits(number), expected, "{number:?}");
        }
    }
}
