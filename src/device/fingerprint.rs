//! The name of a certificate in 32 bytes: the snapshot holds a hundred thousand of them.

use crate::tls::hex;
use std::fmt;

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads a certificate id: 64 hex digits, lower case.
    #[must_use]
    pub fn parse(certificate_id: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let (pairs, rest) = certificate_id.as_bytes().as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }
}

/// The certificate id.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_certificate_ids_are() {
        let id = crate::tls::certificate_id(b"abc");
        let fingerprint = Fingerprint::parse(&id).unwrap();
        assert_eq!(fingerprint.to_string(), id);
        let Fingerprint(bytes) = fingerprint;
        assert_eq!((bytes[0], bytes[31]), (0xba, 0xad));
        for wrong in
            ["", "ba", &id.replace("ba", ""), &format!("{id}0"), &id.to_uppercase(), &id.replace('b', "g")]
        {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }
}
