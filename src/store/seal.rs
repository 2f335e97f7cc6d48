//! Encrypts what must not be legible to everyone who can read the database.
//!
//! AES-256-GCM under a key derived (HKDF-SHA-256) from the nodes' common secret. What is sealed
//! is bound to its place: a text copied into another column or row does not open.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use std::fmt;
use zeroize::Zeroizing;

/// First byte of everything sealed, so that another scheme can follow.
const VERSION: u8 = 1;
/// Says what the derived key is for: the same secret may serve other purposes.
const PURPOSE: &[u8] = b"m0v database keys v1";

/// Where a sealed value lies.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its table.
    pub table: &'static str,
    /// Its column.
    pub column: &'static str,
    /// Its row's primary key.
    pub row: &'a str,
}

/// Why something cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The crypto library refuses to work.
    #[error("the crypto library cannot encrypt")]
    Crypto,
    /// Sealed with another secret, for another place, or damaged.
    #[error("cannot be decrypted: the nodes' [database] secret differs, or it was changed")]
    Foreign,
}

/// The nodes' common secret, made into a key.
pub struct Sealer(RandomizedNonceKey);

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        AES_256_GCM.key_len()
    }
}

impl Sealer {
    /// Derives the key. How long a secret must be is the caller's to judge.
    ///
    /// # Errors
    /// The crypto library refuses.
    pub fn new(secret: &[u8]) -> Result<Self, SealError> {
        let mut key = Zeroizing::new(vec![0; AES_256_GCM.key_len()]);
        Salt::new(HKDF_SHA256, &[])
            .extract(secret)
            .expand(&[PURPOSE], KeyLength)
            .and_then(|output| output.fill(&mut key))
            .map_err(|_| SealError::Crypto)?;
        Ok(Self(RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| SealError::Crypto)?))
    }

    /// Encrypts under a fresh nonce: version, nonce, ciphertext with its tag.
    ///
    /// # Errors
    /// The crypto library refuses.
    pub fn seal(&self, place: Place<'_>, clear: &str) -> Result<Vec<u8>, SealError> {
        // Encrypted in place: wiped if that fails half-way.
        let mut text = Zeroizing::new(clear.as_bytes().to_vec());
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(place.name()), &mut *text)
            .map_err(|_| SealError::Crypto)?;
        Ok([&[VERSION][..], nonce.as_ref(), &text].concat())
    }

    /// Decrypts what [`Sealer::seal`] made for the same place.
    ///
    /// # Errors
    /// [`SealError::Foreign`].
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<String>, SealError> {
        let (nonce, text) = sealed
            .strip_prefix(&[VERSION])
            .and_then(|rest| rest.split_first_chunk::<NONCE_LEN>())
            .ok_or(SealError::Foreign)?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let clear = self
            .0
            .open_in_place(nonce, Aad::from(place.name()), &mut text)
            .map_err(|_| SealError::Foreign)?;
        let clear = std::str::from_utf8(clear).map_err(|_| SealError::Foreign)?;
        Ok(Zeroizing::new(clear.to_owned()))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Place<'_> {
    /// Neither table nor column holds a NUL, so no two places have one name.
    fn name(&self) -> Vec<u8> {
        [self.table, self.column, self.row].join("\0").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place { table: "acme_cert", column: "key_pem", row: "a.example" };

    fn sealer(secret: &str) -> Sealer {
        Sealer::new(secret.as_bytes()).unwrap()
    }

    #[test]
    fn opens_what_it_sealed_and_never_seals_twice_alike() {
        let sealer = sealer("one secret of the nodes");
        let sealed = sealer.seal(PLACE, "hunter2").unwrap();
        assert_eq!(*sealer.open(PLACE, &sealed).unwrap(), "hunter2");
        assert_ne!(sealed, sealer.seal(PLACE, "hunter2").unwrap());
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
        assert_eq!(sealed.len(), 1 + NONCE_LEN + 7 + AES_256_GCM.tag_len());
    }

    #[test]
    fn opens_nothing_from_another_place_secret_or_hand() {
        let sealer = sealer("one secret of the nodes");
        let sealed = sealer.seal(PLACE, "hunter2").unwrap();
        for place in [
            Place { table: "acme_order", ..PLACE },
            Place { column: "chain_pem", ..PLACE },
            Place { row: "b.example", ..PLACE },
        ] {
            assert_eq!(sealer.open(place, &sealed), Err(SealError::Foreign), "{place:?}");
        }
        assert_eq!(self::sealer("another secret").open(PLACE, &sealed), Err(SealError::Foreign));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(sealer.open(PLACE, &damaged), Err(SealError::Foreign), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert_eq!(sealer.open(PLACE, &sealed[..length]), Err(SealError::Foreign), "{length} bytes");
        }
    }
}
