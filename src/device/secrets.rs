//! Random names, passwords and tokens, and the hash they are known by here.

use aws_lc_rs::{
    digest::{SHA256, digest},
    error::Unspecified,
    rand,
};
use std::fmt::Write;
use zeroize::Zeroizing;

/// What they are made of: 62 characters, almost 6 bits each.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The largest multiple of 62 in a byte: what is above would favour the first letters.
const FAIR: u8 = 248;

/// `prefix` and `length` random letters and digits.
///
/// # Errors
/// The system has no randomness.
pub fn random(prefix: &str, length: usize) -> Result<Zeroizing<String>, Unspecified> {
    // As large as it gets, so that no copy is left behind.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + length));
    text.push_str(prefix);
    let mut bytes = Zeroizing::new([0_u8; 64]);
    while text.len() < prefix.len() + length {
        rand::fill(&mut *bytes)?;
        let letters = bytes.iter().filter(|byte| **byte < FAIR);
        let letters = letters.filter_map(|byte| LETTERS.get(usize::from(byte % 62)));
        let wanted = prefix.len() + length - text.len();
        text.extend(letters.take(wanted).map(|letter| char::from(*letter)));
    }
    Ok(text)
}

/// How an identity or a token is kept: SHA-256, lower-case hex. They are random enough for that.
#[must_use]
pub fn hashed(secret: &str) -> String {
    let digest = digest(&SHA256, secret.as_bytes());
    digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes everything");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::{LETTERS, hashed, random};
    use std::collections::HashSet;

    #[test]
    fn random_texts_have_their_length_and_every_letter() {
        let text = random("id-", 61).unwrap();
        assert!(text.len() == 64 && text.starts_with("id-"));
        assert_ne!(random("", 32).unwrap(), random("", 32).unwrap());
        assert_eq!(random("x", 0).unwrap().as_str(), "x");
        let long = random("", 20_000).unwrap();
        let seen: HashSet<u8> = long.bytes().collect();
        assert_eq!(seen, LETTERS.iter().copied().collect(), "62 of 62");
    }

    #[test]
    fn hashes_are_what_sha256sum_says() {
        assert_eq!(hashed("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
