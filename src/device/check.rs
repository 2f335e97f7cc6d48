//! What can be said inside a handshake, from memory and by an alert.

use super::{Refused, Registry, judge};
use crate::store::now;
use crate::tls::{Peer, PeerCheck, Refusal, RefusalAlert};

impl PeerCheck for Registry {
    /// Refuses what is unfit or known to be revoked. Everything else, what needs a word of explanation
    /// included, is judged after the handshake, where there is room for words.
    fn check(&self, peer: &Peer) -> Result<(), Refusal> {
        let Some(leaf) = peer.chain.first() else { return Ok(()) };
        if let Err(unfit) = judge::leaf(leaf, now()) {
            let alert = alert(&unfit);
            return Err(Refusal { alert, label: unfit.label(), words: unfit.to_string() });
        }
        match self.objection(&peer.certificate_id) {
            Some(revoked @ Refused::Revoked) => {
                let words = "is revoked".to_owned();
                Err(Refusal { alert: RefusalAlert::CertificateRevoked, label: revoked.label(), words })
            }
            _ => Ok(()),
        }
    }
}

fn alert(unfit: &judge::Unfit) -> RefusalAlert {
    match unfit {
        judge::Unfit::NotYetValid(_) | judge::Unfit::Expired(_) => RefusalAlert::CertificateExpired,
        judge::Unfit::Undecodable(_) | judge::Unfit::TrailingBytes | judge::Unfit::TooLong(_) => {
            RefusalAlert::BadCertificate
        }
        _ => RefusalAlert::UnsupportedCertificate,
    }
}
