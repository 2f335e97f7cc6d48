//! Client certificates: whether a port asks for one, what is taken inside the handshake, and how
//! both stacks prove that the client holds its key. Who the client is, and whether its chain is
//! accepted, is judged after the handshake, on full and resumed sessions alike (`device/`).

mod fault;
mod kept;
mod key;
mod verifier;

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::peer::Peer;
use key::LeafKey;

pub use fault::{PeerFault, Refusal, RefusalAlert};
pub(super) use kept::Kept;
pub(super) use verifier::{Verifier, noting_fault};

/// Leaf, three intermediates and root: more is no device's chain.
const MAX_CERTIFICATES: usize = 5;
/// The most bytes (DER) of a presented chain; four RSA-4096 certificates with long names fit.
const MAX_BYTES: usize = 16 * 1024;

/// Whether a port asks its clients for a certificate; `client_cert` of its section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    Off,
    /// One is asked for; a client without one is served.
    Optional,
    /// A client without one is refused in the handshake.
    Required,
}

impl ClientAuth {
    pub(super) fn asks(self) -> bool {
        self != Self::Off
    }
}

/// Refuses a chain inside the handshake, where the client is told why by an alert.
///
/// It is asked by rustls alone, on full handshakes alone, and before the client has proven that it
/// holds the key: it spares a refused client the rest, and replaces no judgement after the handshake.
/// It runs on the connection's task, so it must answer from memory; whom it does not know it lets
/// through.
pub trait PeerCheck: fmt::Debug + Send + Sync {
    /// Refuses the chain, or lets it through.
    ///
    /// # Errors
    /// [`Refusal`]: which alert, and why in words.
    fn check(&self, peer: &Peer) -> Result<(), Refusal>;
}

/// Bounds a chain before anything is computed with it: its length, its leaf's form and key. What
/// the other certificates hold is for the judge of chains.
pub(super) fn examine<'a>(chain: &'a [CertificateDer<'_>]) -> Result<LeafKey<'a>, PeerFault> {
    let leaf = chain.first().ok_or(PeerFault::Missing)?;
    if chain.len() > MAX_CERTIFICATES {
        return Err(PeerFault::TooMany { certificates: chain.len(), most: MAX_CERTIFICATES });
    }
    let bytes = chain.iter().map(|der| der.len()).sum();
    if bytes > MAX_BYTES {
        return Err(PeerFault::TooLong { bytes, most: MAX_BYTES });
    }
    match X509Certificate::from_der(leaf) {
        Ok(([], cert)) => LeafKey::of(cert),
        Ok(_) => Err(PeerFault::Undecodable("bytes after its end".to_owned())),
        Err(error) => Err(PeerFault::Undecodable(error.to_string())),
    }
}
