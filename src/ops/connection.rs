//! What happens to one connection, told once: the log line and the metric of each event side by side.
//! The events of everything else are in [`super::events`], by the same rules.

use super::events::room;
use super::handshakes::{Failed, Offered, unix_seconds};
use super::metrics::{HandshakeLabel, Metrics, PortLabel, ReasonLabel};
use super::party::Party;
use crate::device::Refused;
use crate::net::plain::UnexpectedHeader;
use crate::net::proxied::NoHeader;
use crate::net::proxy::{ClientTls, Header, Source};
use crate::session::{End, Tally};
use crate::tls::hello::NotTls;
use crate::tls::{Compat, Failure, Offer, PeerFault, Session};
use crate::tunnel::{self, Outcome};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// One connection, from accept to its end; its `Drop` keeps the gauge honest on every path.
pub struct Connection {
    metrics: Arc<Metrics>,
    /// `meter`, `confirm`, …
    pub port: &'static str,
    /// Counts up from 1 in each process.
    pub number: u64,
    /// Who connected; behind a balancer the client it named.
    pub peer: SocketAddr,
    /// The balancer in between, and what its PROXY header said.
    proxy: Option<(SocketAddr, Source)>,
    /// Version and suite of the client's TLS, if the balancer ended it and tells.
    ended_tls: Option<Box<str>>,
    since: Instant,
}

impl Connection {
    /// A connection was accepted.
    pub fn accepted(metrics: &Arc<Metrics>, port: &'static str, number: u64, peer: SocketAddr) -> Self {
        let label = PortLabel { port };
        metrics.accepted.get_or_create(&label).inc();
        metrics.open.get_or_create(&label).inc();
        Self {
            metrics: Arc::clone(metrics),
            port,
            number,
            peer,
            proxy: None,
            ended_tls: None,
            since: Instant::now(),
        }
    }

    /// TLS is up.
    pub fn established(&self, session: &Session) {
        self.count_handshake(&HandshakeLabel {
            port: self.port,
            stack: session.stack.as_str(),
            level: session.level.map_or("", Compat::as_str),
            version: session.version,
            cipher: session.cipher,
            outcome: if session.resumed { "resumed" } else { "full" },
        });
    }

    /// A trusted proxy said on whose behalf it connects: from here on the peer is that client.
    pub fn announced(&mut self, header: &Header) {
        let source = header.source;
        self.ended_tls = header.tls.as_deref().and_then(ended_tls);
        self.proxy = Some((self.peer, source));
        if let Source::Client(client) = source {
            self.peer = client;
        }
        log::debug!(target: room(self.port), "{}: PROXY header: {source:?}", self.who());
    }

    /// A trusted proxy sent no PROXY header where one is wanted.
    pub fn sent_no_header(&self, why: &NoHeader) {
        match why {
            NoHeader::Silent => self.probed(why),
            NoHeader::Closed | NoHeader::Fault(_) | NoHeader::Io(_) => {
                self.failed("no PROXY header", "proxy-header", why.to_string(), None, None);
            }
        }
    }

    /// No PROXY header within the handshake timeout.
    pub fn header_timed_out(&self, after: Duration) {
        let words = format!("did not send a whole PROXY header within {} s", after.as_secs());
        self.failed("no PROXY header", "timeout", words, None, None);
    }

    /// TLS failed.
    pub fn refused(&self, failure: &Failure, offer: Option<&Offer>) {
        if let Failure::Peer(PeerFault::Refused(refusal)) = failure {
            self.count_certificate(refusal.label);
        }
        let (words, compat) = match failure {
            Failure::Silent => return self.probed(failure),
            Failure::Refused(reason) => (failure.to_string(), reason.would_take()),
            Failure::NotTls(NotTls::Proxy) => (self.unexpected_header(), None),
            _ => (failure.to_string(), None),
        };
        self.failed("no TLS", failure.label(), words, offer, compat);
    }

    fn unexpected_header(&self) -> String {
        match self.proxy {
            None => format!("sent a PROXY protocol header, and [{}] proxy_protocol is off", self.port),
            Some(_) => "sent a second PROXY protocol header".to_owned(),
        }
    }

    /// A peer that never said anything is a probe: counted, and nothing more.
    fn probed(&self, why: &dyn std::fmt::Display) {
        self.count_failure("silent");
        log::debug!(target: room(self.port), "{}: no TLS: it {why}", self.who());
    }

    /// TLS is up, and the certificate it brought is not accepted: shown like a refused hello. What is
    /// ours to mend is said elsewhere.
    pub fn certificate_refused(&self, certificate_id: &str, refused: &Refused) {
        if self.is_health_check() {
            self.count_certificate(refused.label());
            log::debug!(target: room(self.port), "{}: health check: {refused}", self.who());
            return;
        }
        self.who().certificate_refused(&self.metrics, certificate_id, refused);
    }

    fn count_certificate(&self, reason: &'static str) {
        self.metrics.devices.refused.get_or_create(&ReasonLabel { port: self.port, reason }).inc();
    }

    /// No TLS within the handshake timeout.
    pub fn handshake_timed_out(&self, after: Duration, offer: Option<&Offer>) {
        let stage = if offer.is_some() { "complete the handshake" } else { "send a whole ClientHello" };
        let words = format!("did not {stage} within {} s", after.as_secs());
        self.failed("no TLS", "timeout", words, offer, None);
    }

    /// Counts, keeps and says a failed handshake; loudly once a minute for each peer and reason.
    fn failed(
        &self,
        what: &str,
        reason: &'static str,
        words: String,
        offer: Option<&Offer>,
        compat: Option<Compat>,
    ) {
        self.count_failure(reason);
        if self.is_health_check() {
            log::debug!(target: room(self.port), "{}: health check: {what}: it {words}", self.who());
            return;
        }
        let handshakes = &self.metrics.failed_handshakes;
        let loud = handshakes.may_warn(self.peer.ip(), reason);
        let level = if loud { log::Level::Warn } else { log::Level::Debug };
        log::log!(target: room(self.port), level, "{}: {what}: it {words}", self.who());
        self.keep(reason, words, offer, compat);
    }

    /// Keeps a failure for `/handshakes`.
    fn keep(&self, reason: &'static str, words: String, offer: Option<&Offer>, compat: Option<Compat>) {
        self.metrics.failed_handshakes.keep(Failed {
            time: unix_seconds(SystemTime::now()),
            connection: self.number,
            port: self.port,
            peer: self.peer.into(),
            via: self.via(),
            reason,
            words,
            offered: offer.map(Offered::from),
            compat: compat.map(Compat::as_str),
        });
    }

    /// The session is over. A connection that said nothing (a balancer's probe) makes no noise.
    pub fn ended(&self, session: &Session, tally: Tally, end: &End) {
        if let End::PeerLost(error) = end
            && UnexpectedHeader::is_cause_of(error)
        {
            self.failed("refused", "proxy-header", self.unexpected_header(), None, None);
        }
        let quiet = tally == Tally::default() && matches!(end, End::PeerClosed | End::PeerLost(_));
        log::log!(
            target: room(self.port),
            if quiet || self.is_health_check() { log::Level::Debug } else { log::Level::Info },
            "{}: {}, {} thanked, {} refused, {:.1} s, {end}",
            self.who(),
            self.carried_by(session),
            tally.thanked,
            tally.refused,
            self.since.elapsed().as_secs_f64(),
        );
    }

    /// A connection of a gateway is over.
    pub fn tunnelled(&self, session: &Session, device: Option<&str>, outcome: &Outcome) {
        let device = device.unwrap_or("nobody");
        let Outcome { target, open, end } = outcome;
        self.metrics.tunnels.ended(end.label());
        let (there, back) =
            open.as_ref().map_or((0, 0), |it| (it.bytes().to_target(), it.bytes().to_gateway()));
        let target = target.as_ref().map_or_else(|| "no target".to_owned(), ToString::to_string);
        log::log!(
            target: room(self.port),
            if matches!(end, tunnel::End::NoRequest) { log::Level::Debug } else { log::Level::Info },
            "{}: {} {} {}, {device} to {target}, {there} bytes there, {back} back, {:.1} s, {end}",
            self.who(),
            session.stack.as_str(),
            session.version,
            session.cipher,
            self.since.elapsed().as_secs_f64(),
        );
    }

    /// The server stopped before this connection had ended by itself.
    pub fn aborted(&self) {
        log::warn!(target: room(self.port), "{}: cut off, the server stops", self.who());
    }

    /// `rustls TLSv1.3 TLS_AES_256_GCM_SHA384 resumed`, or what the balancer says of the TLS that it ended.
    fn carried_by(&self, session: &Session) -> impl std::fmt::Display {
        std::fmt::from_fn(move |f| {
            f.write_str(session.stack.as_str())?;
            for word in [session.version, session.cipher].into_iter().filter(|word| !word.is_empty()) {
                write!(f, " {word}")?;
            }
            f.write_str(if session.is_weak() { " (weak)" } else { "" })?;
            f.write_str(if session.resumed { " resumed" } else { "" })?;
            self.ended_tls.iter().try_for_each(|told| write!(f, " ({told} at the balancer)"))
        })
    }

    /// The balancer that named the peer.
    pub fn via(&self) -> Option<SocketAddr> {
        match self.proxy {
            Some((proxy, Source::Client(_))) => Some(proxy),
            Some((_, Source::Proxy | Source::Unknown)) | None => None,
        }
    }

    /// A balancer connected for itself; of that nothing is said.
    const fn is_health_check(&self) -> bool {
        matches!(self.proxy, Some((_, Source::Proxy)))
    }

    /// As log lines begin.
    fn who(&self) -> Party {
        let Self { number, port, peer, .. } = *self;
        Party { number, port, peer: peer.into(), via: self.via() }
    }

    fn count_failure(&self, outcome: &'static str) {
        let port = self.port;
        self.count_handshake(&HandshakeLabel {
            port,
            stack: "none",
            level: "",
            version: "",
            cipher: "",
            outcome,
        });
    }

    fn count_handshake(&self, label: &HandshakeLabel) {
        self.metrics.handshakes.get_or_create(label).inc();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.open.get_or_create(&PortLabel { port: self.port }).dec();
    }
}

/// Version and suite as a proxy tells them, if they are nothing but names.
fn ended_tls(client: &ClientTls) -> Option<Box<str>> {
    const LONGEST: usize = 64;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name = |name: &&str| name.len() <= LONGEST && name.bytes().all(is_plain);
    let told = [client.version.as_deref(), client.cipher.as_deref()];
    let names: Vec<&str> = told.into_iter().flatten().filter(is_name).collect();
    (client.ended && !names.is_empty()).then(|| names.join(" ").into())
}
