//! Whose request it is, when a trusted proxy stands between: its headers replace what the connection shows.

use super::error::ApiError;
use super::forwarded::{self, CertificateHeader};
use super::{Peer, Word};
use crate::device::{Identity, Refused, Registry};
use crate::net::admission::{PerIp, Place};
use crate::net::remote::Remote;
use crate::ops::events;
use crate::ops::metrics::Metrics;
use axum::http::HeaderMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Reads what proxies say of their clients; nobody else's word counts.
pub struct Introduction {
    /// How certificates come in a header, if they do.
    pub(super) certificates: Option<Certificates>,
    /// Requests under way of the addresses that proxies name: a proxy's connections are many clients'.
    requests: Arc<PerIp>,
}

/// `[api] client_cert_header`, judged by the rules of a direct handshake.
pub struct Certificates {
    /// Where they are.
    pub header: CertificateHeader,
    /// Who judges; `None` where certificates do not count (`client_cert = "off"`).
    pub registry: Option<Arc<Registry>>,
    /// A request without one is refused.
    pub required: bool,
}

impl Default for Introduction {
    fn default() -> Self {
        Self::new(None, usize::MAX)
    }
}

impl Introduction {
    /// At most `max_requests` at once of one address that a proxy names.
    #[must_use]
    pub fn new(certificates: Option<Certificates>, max_requests: usize) -> Self {
        Self { certificates, requests: PerIp::new(max_requests) }
    }

    /// Who asks, by headers and connection, and his place; takes off the header with the certificate,
    /// whether it counts or not.
    ///
    /// # Errors
    /// That header is broken, or there is no place.
    pub(super) async fn client(
        &self,
        headers: &mut HeaderMap,
        peer: Peer,
        metrics: &Metrics,
    ) -> Result<(Peer, Option<Place>), ApiError> {
        let Word { on_certificates, on_addresses } = peer.word;
        let presented = match &self.certificates {
            Some(certificates) => {
                let presented = on_certificates.then(|| certificates.header.read(headers));
                certificates.header.strip(headers);
                presented.map(|presented| (certificates, presented))
            }
            None => None,
        };
        let forwarded = on_addresses.then(|| forwarded::client_address(headers)).flatten();
        let peer = forwarded.map_or_else(|| peer.clone(), |client| peer.named(client));
        let place = match forwarded {
            Some(_) => Some(self.admit(&peer, metrics)?),
            None => None,
        };
        let Some((certificates, presented)) = presented else { return Ok((peer, place)) };
        let name = certificates.header.name();
        let presented = presented.map_err(|fault| ApiError::CertificateHeader(name.clone(), fault))?;
        let certificate = certificates.judge(presented, &peer, metrics).await;
        Ok((Peer { certificate, ..peer }, place))
    }

    fn admit(&self, peer: &Peer, metrics: &Metrics) -> Result<Place, ApiError> {
        self.requests.admit(peer.ip).ok_or_else(|| {
            events::turned_away(metrics, "api", peer.party(), "too many from one address");
            ApiError::TooManyAtOnce
        })
    }
}

impl Peer {
    /// Whom the peer, a proxy, names.
    fn named(&self, client: Remote) -> Self {
        let proxy = self.port.map(|port| SocketAddr::new(self.ip, port));
        Self { ip: client.ip, port: client.port, via: proxy.or(self.via), ..self.clone() }
    }
}

impl Certificates {
    async fn judge(
        &self,
        presented: Option<crate::tls::Peer>,
        peer: &Peer,
        metrics: &Metrics,
    ) -> Option<Result<Arc<Identity>, Refused>> {
        let registry = self.registry.as_ref()?;
        let (certificate_id, judged) = match presented {
            Some(chain) if chain.examine().is_err() => (chain.certificate_id, Err(Refused::BadForm)),
            Some(chain) => {
                let judged = registry.admit(&chain, peer.ip).await;
                (chain.certificate_id, judged)
            }
            None if self.required => ("(none)".to_owned(), Err(Refused::Missing)),
            None => return None,
        };
        if let Err(refused) = &judged {
            peer.party().certificate_refused(metrics, &certificate_id, refused);
        }
        Some(judged)
    }
}
