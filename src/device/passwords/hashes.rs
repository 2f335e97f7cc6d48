//! The hashes themselves: pure, but for the salts.

use super::{NoVerdict, memory::Memory};
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordVerifier, phc::PasswordHash},
};
use aws_lc_rs::{error::Unspecified, pbkdf2, rand};
use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};
use std::num::NonZeroU32;
use subtle::ConstantTimeEq;

/// Argon2id as OWASP advises: memory in KiB, passes, lanes.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What a hash in the table may ask for: KiB, and KiB times passes. One of ours takes 38,912; what
/// libraries make by themselves some 200,000. More would hold a thread up, or end the process.
const MOST_MEMORY: u32 = 256 * 1024;
const MOST_WORK: u64 = 1024 * 1024;

/// Bytes of a salt and of a hash, as RFC 9106 advises.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// mosquitto's own form of PBKDF2-SHA512: bytes of a salt and of a hash, and its rounds. mosquitto
/// checks in its only thread, and a password of ours is 190 random bits: rounds add nothing.
const MOSQUITTO_SALT_BYTES: usize = 12;
const MOSQUITTO_HASH_BYTES: usize = 64;
const MOSQUITTO_ROUNDS: NonZeroU32 = NonZeroU32::new(101).expect("not zero");

/// A password's hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Argon2id, as a PHC string.
    pub argon2: String,
    /// PBKDF2-SHA512, as mosquitto 2.0 writes it.
    pub mosquitto: String,
}

/// What hashes of ours work in.
pub(super) fn memory() -> Memory {
    Memory::new(MEMORY as usize)
}

/// Both hashes of a new password.
pub(super) fn hash(password: &[u8], memory: &Memory) -> Result<Hashed, NoVerdict> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|Unspecified| NoVerdict::Failed)?;
    let hash = derive(password, &salt, memory)?;
    Ok(Hashed { argon2: phc(&salt, &hash), mosquitto: mosquitto(password)? })
}

/// Whether this is the password of `stored`. A hash that is not of our making (somebody wrote into
/// the table) and cannot be worked with takes its time as well.
pub(super) fn verify(password: &[u8], stored: &str, decoy: &str, memory: &Memory) -> bool {
    let hash = PasswordHash::new(stored).ok().filter(is_bearable).or_else(|| PasswordHash::new(decoy).ok());
    let (Ok(argon2), Some(hash)) = (argon2(), hash) else { return false };
    match ours(&hash) {
        Some((salt, expected)) => {
            derive(password, salt, memory).is_ok_and(|found| found.as_slice().ct_eq(expected).into())
        }
        None => argon2.verify_password(password, &hash).is_ok(),
    }
}

/// A hash like any other, of a password that nobody knows.
pub(super) fn decoy() -> Result<String, Unspecified> {
    let (mut salt, mut hash) = ([0; SALT_BYTES], [0; HASH_BYTES]);
    rand::fill(&mut salt)?;
    rand::fill(&mut hash)?;
    Ok(phc(&salt, &hash))
}

fn phc(salt: &[u8], hash: &[u8]) -> String {
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${salt}${hash}")
}

fn derive(password: &[u8], salt: &[u8], memory: &Memory) -> Result<[u8; HASH_BYTES], NoVerdict> {
    let mut hash = [0; HASH_BYTES];
    argon2()?
        .hash_password_into_with_memory(password, salt, &mut hash, memory.lend().blocks())
        .map_err(|_| NoVerdict::Failed)?;
    Ok(hash)
}

/// Salt and hash, if they were made as we make them.
fn ours(hash: &PasswordHash) -> Option<(&[u8], &[u8])> {
    let params = Params::try_from(hash).ok()?;
    let is_ours = hash.algorithm.as_str() == "argon2id"
        && hash.version == Some(Version::V0x13.into())
        && (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY, PASSES, LANES);
    let (salt, expected) = (hash.salt.as_deref()?, hash.hash.as_ref()?.as_bytes());
    (is_ours && expected.len() == HASH_BYTES).then_some((salt, expected))
}

fn argon2() -> Result<Argon2<'static>, NoVerdict> {
    let params = Params::new(MEMORY, PASSES, LANES, Some(HASH_BYTES)).map_err(|_| NoVerdict::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn is_bearable(hash: &PasswordHash) -> bool {
    Params::try_from(hash).is_ok_and(|params| {
        params.m_cost() <= MOST_MEMORY && u64::from(params.m_cost()) * u64::from(params.t_cost()) <= MOST_WORK
    })
}

/// mosquitto's `$7$`: PBKDF2 with SHA-512, in base64.
fn mosquitto(password: &[u8]) -> Result<String, NoVerdict> {
    let (mut salt, mut hash) = ([0; MOSQUITTO_SALT_BYTES], [0; MOSQUITTO_HASH_BYTES]);
    rand::fill(&mut salt).map_err(|Unspecified| NoVerdict::Failed)?;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, MOSQUITTO_ROUNDS, &salt, password, &mut hash);
    Ok(format!("$7${MOSQUITTO_ROUNDS}${}${}", STANDARD.encode(salt), STANDARD.encode(hash)))
}

#[cfg(test)]
mod tests {
    use super::{PasswordHash, PasswordVerifier, argon2, decoy, hash, is_bearable, memory, ours, verify};

    #[test]
    fn hashes_are_what_the_library_makes_of_them() {
        let (memory, decoy) = (memory(), decoy().unwrap());
        let made = PasswordHash::new(&hash(b"right", &memory).unwrap().argon2).unwrap();
        assert!(ours(&made).is_some());
        assert!(argon2().unwrap().verify_password(b"right", &made).is_ok());
        // Of libargon2's own command: echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32 -e
        let others = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(ours(&PasswordHash::new(others).unwrap()).is_none());
        assert!(verify(b"password", others, &decoy, &memory));
        assert!(!verify(b"Password", others, &decoy, &memory));
    }

    #[test]
    fn a_decoy_is_a_hash_that_no_password_has() {
        let (one, other) = (decoy().unwrap(), decoy().unwrap());
        assert_ne!(one, other);
        assert!(is_bearable(&PasswordHash::new(&one).unwrap()));
        assert!(!verify(b"", &one, &other, &memory()));
    }

    #[test]
    fn hashes_that_would_take_all_memory_are_nobodys() {
        let decoy = decoy().unwrap();
        for (costs, expected) in [
            ("m=65536,t=3,p=4", true),
            ("m=1048576,t=1,p=1", false),
            ("m=8,t=4294967295,p=1", false),
            ("m=4294967295,t=4294967295,p=1", false),
        ] {
            let hash = decoy.replace("m=19456,t=2,p=1", costs);
            assert_eq!(is_bearable(&PasswordHash::new(&hash).unwrap()), expected, "{costs}");
            assert!(expected || !verify(b"x", &hash, &decoy, &memory()), "{costs}");
        }
    }
}
