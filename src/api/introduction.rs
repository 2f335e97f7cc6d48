//! Whose request it is, when a trusted proxy stands between: its headers replace what the connection shows.

use super::error::ApiError;
use super::forwarded::{self, CertificateHeader};
use super::{Peer, Word};
use crate::device::{Identity, Refused, Registry};
use axum::http::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Reads what proxies say of their clients; nobody else's word counts.
#[derive(Default)]
pub struct Introduction {
    /// How certificates come in a header, if they do.
    pub certificates: Option<Certificates>,
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

impl Introduction {
    /// Who asks, by headers and connection; takes off the header with the certificate, whether it
    /// counts or not.
    ///
    /// # Errors
    /// That header is broken.
    pub(super) async fn client(&self, headers: &mut HeaderMap, peer: Peer) -> Result<Peer, ApiError> {
        let Word { on_certificates, on_addresses } = peer.word;
        let forwarded = on_addresses.then(|| forwarded::client_address(headers)).flatten();
        let ip = forwarded.unwrap_or(peer.ip);
        let Some(certificates) = &self.certificates else { return Ok(Peer { ip, ..peer }) };
        let presented = on_certificates.then(|| certificates.header.read(headers));
        certificates.header.strip(headers);
        let Some(presented) = presented else { return Ok(Peer { ip, ..peer }) };
        let name = certificates.header.name();
        let presented = presented.map_err(|fault| ApiError::CertificateHeader(name.clone(), fault))?;
        Ok(Peer { ip, certificate: certificates.judge(presented, ip).await, ..peer })
    }
}

impl Certificates {
    async fn judge(
        &self,
        presented: Option<crate::tls::Peer>,
        ip: IpAddr,
    ) -> Option<Result<Arc<Identity>, Refused>> {
        let registry = self.registry.as_ref()?;
        match presented {
            Some(chain) if chain.examine().is_err() => Some(Err(Refused::BadForm)),
            Some(chain) => Some(registry.admit(&chain, ip).await),
            None => self.required.then_some(Err(Refused::Missing)),
        }
    }
}
