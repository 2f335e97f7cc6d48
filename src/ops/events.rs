//! What happens, told once: the log line and the metric of each event side by side.
//!
//! What a stranger can cause is `debug` and a counter; `warn` has recovered; `error` means
//! that someone must act. Nothing a peer sent is logged but device ids.

use super::health::Health;
use super::metrics::{HandshakeLabel, Metrics, PortLabel, ReasonLabel};
use crate::net::accept::AcceptError;
use crate::protocol::reply::Refusal;
use crate::session::{End, Tally};
use crate::store::{Confirmed, StoreError};
use crate::tls::{Failure, Session};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One connection, from accept to its end; its `Drop` keeps the gauge honest on every path.
pub struct Connection {
    metrics: Arc<Metrics>,
    /// `meter`, `confirm`, …
    pub port: &'static str,
    /// Counts up from 1 in each process.
    pub number: u64,
    /// Who connected.
    pub peer: SocketAddr,
    since: Instant,
}

impl Connection {
    /// A connection was accepted.
    pub fn accepted(metrics: &Arc<Metrics>, port: &'static str, number: u64, peer: SocketAddr) -> Self {
        let label = PortLabel { port };
        metrics.accepted.get_or_create(&label).inc();
        metrics.open.get_or_create(&label).inc();
        Self { metrics: Arc::clone(metrics), port, number, peer, since: Instant::now() }
    }

    /// TLS is up.
    pub fn established(&self, session: &Session) {
        let outcome = if session.resumed { "resumed" } else { "full" };
        self.count_handshake(session.stack.as_str(), session.version, session.cipher, outcome);
    }

    /// TLS failed.
    pub fn refused(&self, failure: &Failure) {
        self.count_handshake("none", "", "", failure.label());
        log::debug!(target: room(self.port), "#{} {}: no TLS: {failure}", self.number, self.peer);
    }

    /// No TLS within the handshake timeout.
    pub fn handshake_timed_out(&self, after: Duration) {
        self.count_handshake("none", "", "", "timeout");
        let seconds = after.as_secs();
        log::debug!(target: room(self.port), "#{} {}: no TLS within {seconds} s", self.number, self.peer);
    }

    /// The session is over. A connection that said nothing (a balancer's probe) makes no noise.
    pub fn ended(&self, session: &Session, tally: Tally, end: &End) {
        let quiet = tally == Tally::default() && matches!(end, End::PeerClosed | End::PeerLost(_));
        log::log!(
            target: room(self.port),
            if quiet { log::Level::Debug } else { log::Level::Info },
            "#{} {}: {} {} {}{}, {} thanked, {} refused, {:.1} s, {end}",
            self.number,
            self.peer,
            session.stack.as_str(),
            session.version,
            session.cipher,
            if session.resumed { " resumed" } else { "" },
            tally.thanked,
            tally.refused,
            self.since.elapsed().as_secs_f64(),
        );
    }

    fn count_handshake(
        &self,
        stack: &'static str,
        version: &'static str,
        cipher: &'static str,
        outcome: &'static str,
    ) {
        let label = HandshakeLabel { port: self.port, stack, version, cipher, outcome };
        self.metrics.handshakes.get_or_create(&label).inc();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.open.get_or_create(&PortLabel { port: self.port }).dec();
    }
}

/// A connection was closed before TLS, or could not be accepted.
pub fn turned_away(metrics: &Metrics, port: &'static str, reason: &'static str) {
    metrics.turned_away.get_or_create(&ReasonLabel { port, reason }).inc();
    log::debug!(target: room(port), "turned away: {reason}");
}

/// A handshake panicked: a bug of ours or of a library; its connection is closed.
pub fn handshake_died(port: &'static str) {
    log::error!(target: room(port), "a handshake died of a bug: please report what was logged before");
}

/// Lines were answered with what the peer hoped for.
pub fn lines_thanked(metrics: &Metrics, port: &'static str, count: u64) {
    if count > 0 {
        metrics.thanked.get_or_create(&PortLabel { port }).inc_by(count);
    }
}

/// A line was answered `!OK`.
pub fn line_refused(metrics: &Metrics, port: &'static str, refusal: &Refusal) {
    metrics.refused.get_or_create(&ReasonLabel { port, reason: refusal.label() }).inc();
    log::debug!(target: room(port), "refused a line: {refusal}");
}

/// The database refused one row of a batch; its device was told.
pub fn row_rejected(pub_id: i64, reason: &str) {
    log::error!("the database rejected a packet of id {pub_id}: {reason}");
}

/// A call to the store failed, and whoever asked was told to try again. The store counts as
/// down from here on, until its watch has seen it commit; so the log says it once an outage.
pub fn store_failed(health: &Health, metrics: &Metrics, what: &str, error: &StoreError) {
    count_store_error(metrics, error);
    if health.store_failed() {
        metrics.store_up.set(0);
        if error.is_transient() {
            log::warn!("could not {what}: {error}");
        } else {
            log::error!("could not {what}: {error}");
        }
    } else {
        log::debug!("could not {what}: {error}");
    }
}

/// The store answers, or answers again.
pub fn store_is_up(metrics: &Metrics) {
    metrics.store_up.set(1);
    log::info!("the database answers");
}

/// The store stopped answering, or never did.
pub fn store_is_down(metrics: &Metrics, error: &StoreError) {
    metrics.store_up.set(0);
    count_store_error(metrics, error);
    if error.is_transient() {
        log::warn!("{error}; trying again every second");
    } else {
        log::error!("{error}; trying again every second");
    }
}

/// A confirmation is stored; a conflict is the operator's to resolve.
pub fn confirmed(_metrics: &Metrics, stored: &Confirmed) {
    if stored.conflict {
        log::warn!("two users configured hash {}: the confirmation is in cconfo", stored.hash);
    } else {
        log::debug!("hash {} confirmed", stored.hash);
    }
}

/// The log's name for what happens at a port.
fn room(port: &str) -> &'static str {
    match port {
        "meter" => "m0v::meter",
        "confirm" => "m0v::confirm",
        _ => "m0v::server",
    }
}

fn count_store_error(metrics: &Metrics, error: &StoreError) {
    let reason = if error.is_transient() { "unavailable" } else { "refused" };
    metrics.store_errors.get_or_create(&ReasonLabel { port: "store", reason }).inc();
}

/// An accept failed; the loop goes on. Out of descriptors is the operator's to mend, said once a minute.
pub fn accept_failed(metrics: &Metrics, port: &'static str, kind: AcceptError, error: &std::io::Error) {
    metrics.turned_away.get_or_create(&ReasonLabel { port, reason: kind.label() }).inc();
    match kind {
        AcceptError::PeerGone => log::debug!(target: room(port), "accept: {error}"),
        AcceptError::Exhausted(limit) if metrics.once_a_minute(port) => {
            log::error!(target: room(port), "cannot accept connections, out of {limit}: {error}");
        }
        AcceptError::Exhausted(_) => log::debug!(target: room(port), "accept: {error}"),
        AcceptError::Other => log::warn!(target: room(port), "accept: {error}"),
    }
}
