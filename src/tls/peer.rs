//! Who is at the other end: the client's certificate chain, the same from both stacks.
//! Whether it is accepted is not decided here.

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;

use super::client::{PeerFault, examine};

/// A client certificate chain as the peer presented it; that it holds the leaf's key is proven,
/// nothing else is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// DER certificates, leaf first; never empty.
    pub chain: Vec<CertificateDer<'static>>,
    /// [`certificate_id`] of the leaf.
    pub certificate_id: String,
}

impl Peer {
    /// The chain in the order the peer sent it; `None` if it sent none.
    #[must_use]
    pub fn from_chain(chain: Vec<CertificateDer<'static>>) -> Option<Self> {
        let certificate_id = certificate_id(chain.first()?);
        Some(Self { chain, certificate_id })
    }

    /// Bounds the chain as both stacks bound one presented in a handshake: its length, the form of
    /// its leaf, the kind and size of its key. For a chain that came another way.
    ///
    /// # Errors
    /// [`PeerFault`] says what is wrong with it.
    pub fn examine(&self) -> Result<(), PeerFault> {
        examine(&self.chain).map(|_key| ())
    }
}

/// The name of a certificate everywhere in m0v: lower-case hex SHA-256 of its DER.
#[must_use]
pub fn certificate_id(der: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, der).as_ref())
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_id_is_the_sha256_of_the_der() {
        assert_eq!(
            certificate_id(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Peer::from_chain(vec![]), None);
    }
}
