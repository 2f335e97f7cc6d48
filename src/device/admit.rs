//! From a presented certificate to an identity, or to the reason why not.

use super::{Fingerprint, Identity, Refused, Registry, judge};
use crate::ops::events;
use crate::store::devices::{Enrolment, Grounds, Listed, NotEnrolled, Role};
use crate::store::{StoreError, now};
use crate::tls::Peer;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Devices that one CA may bring along in an hour, on all nodes together. A CA whose key was stolen
/// makes no more before somebody looks; a site or a day's production stays below.
pub const NEW_PER_CA_AND_HOUR: i64 = 1000;

/// How long a certificate that is not known here waits for its turn to be asked for.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);

/// Who registers a device just in time, in the audit.
const SERVER: &str = "server";

impl Registry {
    /// Judges the certificate of a connection from `address`, as it is now: full or resumed. A known
    /// one is answered from memory; any other is looked up, and registered if a CA vouches for it.
    ///
    /// # Errors
    /// [`Refused`] says why it is not accepted.
    pub async fn admit(&self, peer: &Peer, address: IpAddr) -> Result<Arc<Identity>, Refused> {
        let leaf = peer.chain.first().ok_or(Refused::Missing)?;
        let leaf = judge::leaf(leaf, now())?;
        let fingerprint = Fingerprint::parse(&peer.certificate_id);
        let fingerprint = fingerprint.expect("tls::certificate_id writes what Fingerprint reads");
        match self.snapshot.admit(&peer.certificate_id, fingerprint, now()) {
            Some(judged) => judged,
            None => self.look_up(peer, &leaf, fingerprint, address).await,
        }
    }

    /// A miss always asks the store: the certificate may have been listed a moment ago.
    async fn look_up(
        &self,
        peer: &Peer,
        leaf: &judge::Leaf,
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
        let listed = match found.map_err(|error| self.failed(&error))? {
            Some(listed) => listed,
            None => self.register(peer, leaf).await?,
        };
        self.snapshot.put(&listed, asked);
        known().unwrap_or(Err(Refused::Busy))
    }

    /// Registers a device that nobody has heard of, if one of the CAs vouches for it.
    async fn register(&self, peer: &Peer, leaf: &judge::Leaf) -> Result<Listed, Refused> {
        let ca_id = match self.vouching(peer) {
            // The CA may have been registered a moment ago.
            Err(judge::Unvouched::UnknownCa) => {
                let asked = self.snapshot.ask();
                let cas = self.store.list_cas().await.map_err(|error| self.failed(&error))?;
                self.tell_cas(self.snapshot.put_cas(&cas, asked));
                self.vouching(peer)?
            }
            vouched => vouched?,
        };
        let device_id = leaf.device_id()?.unwrap_or(&peer.certificate_id).to_owned();
        let enrolment = Enrolment {
            device_id,
            model_number: None,
            certificate_id: peer.certificate_id.clone(),
            pem: pem::encode(&pem::Pem::new("CERTIFICATE", peer.chain.first().map_or(&[][..], |leaf| leaf))),
            not_after: leaf.not_after(),
            role: Role::Device,
            grounds: Grounds::JustInTime { ca_id, max_per_hour: NEW_PER_CA_AND_HOUR },
        };
        let enrolled = self.store.enrol(&enrolment, SERVER).await.map_err(|error| self.failed(&error))?;
        let listed = enrolled.map_err(|why| match why {
            NotEnrolled::NameTaken { .. } => Refused::NameTaken,
            NotEnrolled::TooManyNew => Refused::TooManyNew,
            NotEnrolled::Revoked | NotEnrolled::UnknownCa => Refused::Revoked, // a moment ago
            NotEnrolled::OtherDevice { .. } => Refused::Busy, // listed a moment ago: to be found next time
        })?;
        events::device_registered(&self.metrics, &listed);
        Ok(listed)
    }

    fn vouching(&self, peer: &Peer) -> Result<String, judge::Unvouched> {
        let anchors = self.snapshot.anchors();
        Ok(judge::vouching_ca(&peer.chain, &anchors, None, now())?.ca_id().to_owned())
    }

    fn failed(&self, error: &StoreError) -> Refused {
        events::store_failed(&self.health, &self.metrics, "look up a certificate", error);
        Refused::from(error)
    }
}
