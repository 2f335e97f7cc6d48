//! From a presented certificate to an identity, or to the reason why not.

use super::{Fingerprint, Identity, Refused, Registry};
use crate::ops::events;
use crate::store::{StoreError, now};
use crate::tls::Peer;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a certificate that is not known here waits for its turn to be asked for.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);

impl Registry {
    /// Judges the certificate of a connection from `address`, as it is now: full or resumed. A known
    /// one is answered from memory; any other is looked up.
    ///
    /// # Errors
    /// [`Refused`] says why it is not accepted.
    pub async fn admit(&self, peer: &Peer, address: IpAddr) -> Result<Arc<Identity>, Refused> {
        let Some(fingerprint) = Fingerprint::parse(&peer.certificate_id) else {
            return Err(Refused::Unknown);
        };
        match self.snapshot.admit(&peer.certificate_id, fingerprint, now()) {
            Some(judged) => judged,
            None => self.look_up(peer, fingerprint, address).await,
        }
    }

    /// A miss always asks the store: the certificate may have been listed a moment ago.
    async fn look_up(
        &self,
        peer: &Peer,
        fingerprint: Fingerprint,
        address: IpAddr,
    ) -> Result<Arc<Identity>, Refused> {
        self.strangers.admit(address).map_err(|_| Refused::TooManyUnknown)?;
        if !self.health.store_is_up() {
            return Err(Refused::Unavailable);
        }
        let turn = timeout(TURN_TIMEOUT, self.asking.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(Refused::Busy) };
        let known = || self.snapshot.admit(&peer.certificate_id, fingerprint, now());
        if let Some(judged) = known() {
            return judged; // asked for by another connection meanwhile
        }
        let asked = self.snapshot.ask();
        let found = self.store.find_listed(&peer.certificate_id).await;
        let listed = found.map_err(|error| self.failed(&error))?.ok_or(Refused::Unknown)?;
        self.snapshot.put(&listed, asked);
        known().unwrap_or(Err(Refused::Busy))
    }

    fn failed(&self, error: &StoreError) -> Refused {
        events::store_failed(&self.health, &self.metrics, "look up a certificate", error);
        Refused::from(error)
    }
}
