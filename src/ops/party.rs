//! Who speaks, as log and `/handshakes` name him, and what is told of him wherever his word came in.

use super::events::room;
use super::handshakes::{Failed, unix_seconds};
use super::metrics::{Metrics, ReasonLabel};
use crate::device::Refused;
use crate::net::remote::Remote;
use axum::http::StatusCode;
use std::net::SocketAddr;
use std::time::SystemTime;

/// Who speaks on a connection: its peer, or whom a proxy's header of HTTP names. Shown as
/// `#7 203.0.113.9:5000 via 10.0.0.5:4444`, as log lines begin.
#[derive(Clone, Copy, Debug)]
pub struct Party {
    /// The connection's.
    pub number: u64,
    /// `meter`, `confirm`, …
    pub port: &'static str,
    /// Whose words they are.
    pub peer: Remote,
    /// The proxy that says so.
    pub via: Option<SocketAddr>,
}

impl Party {
    /// The certificate that was brought is not accepted: shown like a refused hello. What is ours to mend
    /// is said elsewhere.
    pub fn certificate_refused(&self, metrics: &Metrics, certificate_id: &str, refused: &Refused) {
        let Self { number, port, peer, via } = *self;
        let reason = refused.label();
        metrics.devices.refused.get_or_create(&ReasonLabel { port, reason }).inc();
        let loud = !refused.is_ours() && metrics.failed_handshakes.may_warn(peer.ip, reason);
        let level = if loud { log::Level::Warn } else { log::Level::Debug };
        let words = format!("showed the client certificate {certificate_id}: {refused}");
        log::log!(target: room(port), level, "{self}: not accepted: it {words}");
        let time = unix_seconds(SystemTime::now());
        let (offered, compat) = (None, None);
        let failed = Failed { time, connection: number, port, peer, via, reason, words, offered, compat };
        metrics.failed_handshakes.keep(failed);
    }

    /// A request was answered.
    pub fn answered(&self, status: StatusCode) {
        log::debug!(target: room(self.port), "{self}: answered {}", status.as_u16());
    }
}

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, peer, .. } = self;
        match self.via {
            None => write!(f, "#{number} {peer}"),
            Some(via) => write!(f, "#{number} {peer} via {via}"),
        }
    }
}
