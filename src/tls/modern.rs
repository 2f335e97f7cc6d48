//! rustls: every client that names its groups, TLS 1.2 and 1.3.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
    StoresServerSessions,
};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::acceptor::AcceptorOptions;
use super::client::{ClientAuth, Kept, PeerFault, Verifier, noting_fault};
use super::failure::{Alert, Failure};
use super::farewell::part;
use super::keys::Keys;
use super::names::Suite;
use super::peer::Peer;
use super::stream::{Session, Stack};
use crate::net::replay::Replay;

/// Sessions kept for clients that resume by session id (TLS 1.2 without tickets).
const SESSIONS: usize = 1024;
/// One ticket per TLS 1.3 handshake: a device has one connection at a time.
const TICKETS: usize = 1;
/// rustls counts the record header into its fragment size.
const RECORD_HEADER: usize = 5;

/// A rustls connection.
pub type ModernStream<IO> = tokio_rustls::server::TlsStream<Replay<IO>>;

/// The rustls side of one section.
pub(super) struct Modern {
    config: ArcSwap<ServerConfig>,
    max_fragment: usize,
    resumption: bool,
}

impl Modern {
    pub(super) fn new(keys: Arc<Keys>, options: &AcceptorOptions) -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let builder = if options.client_auth.asks() {
            let mandatory = options.client_auth == ClientAuth::Required;
            let verifier = Verifier::new(algorithms, mandatory, options.peer_check.clone());
            builder.with_client_cert_verifier(Arc::new(verifier))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::new(Current(keys)));
        config.alpn_protocols.clone_from(&options.alpn);
        let max_fragment = options.max_fragment();
        config.max_fragment_size = Some(max_fragment + RECORD_HEADER);
        resume_nothing(&mut config);
        let modern =
            Self { config: ArcSwap::from_pointee(config), max_fragment, resumption: options.resumption };
        modern.forget_sessions()?;
        Ok(modern)
    }

    /// Begins with an empty session store and new ticket keys; without, if they cannot be made.
    pub(super) fn forget_sessions(&self) -> Result<(), rustls::Error> {
        let mut config = ServerConfig::clone(&self.config.load());
        resume_nothing(&mut config);
        let made = if self.resumption { resume(&mut config) } else { Ok(()) };
        self.config.store(Arc::new(config));
        made
    }

    /// Completes the handshake; `limit` is the most record content the client wants to be sent,
    /// `tickets` whether it may be sent TLS 1.3 tickets.
    pub(super) async fn accept<IO>(
        &self,
        io: Replay<IO>,
        limit: Option<usize>,
        tickets: bool,
    ) -> Result<(Box<ModernStream<IO>>, Session), Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(self.config_for(limit, tickets)).accept(io).into_fallible();
        match noting_fault(handshake).await {
            (Ok(stream), _) => {
                let session = session(stream.get_ref().1);
                Ok((Box::new(stream), session))
            }
            (Err((error, io)), fault) => {
                let failure = failure(error, fault);
                part(io, &failure).await;
                Err(failure)
            }
        }
    }

    /// A copy of the configuration is some hundred bytes beside shared stores and keys.
    fn config_for(&self, limit: Option<usize>, tickets: bool) -> Arc<ServerConfig> {
        let limit = limit.filter(|limit| *limit < self.max_fragment);
        if limit.is_none() && tickets {
            return self.config.load_full();
        }
        let mut config = ServerConfig::clone(&self.config.load());
        if let Some(limit) = limit {
            config.max_fragment_size = Some(limit + RECORD_HEADER);
        }
        if !tickets {
            config.send_tls13_tickets = 0;
        }
        Arc::new(config)
    }
}

fn resume_nothing(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(NoTickets);
    config.send_tls13_tickets = 0;
}

fn resume(config: &mut ServerConfig) -> Result<(), rustls::Error> {
    config.ticketer = Arc::new(Kept(aws_lc_rs::Ticketer::new()?));
    let sessions: Arc<dyn StoresServerSessions> = ServerSessionMemoryCache::new(SESSIONS);
    config.session_storage = Arc::new(Kept(sessions));
    config.send_tls13_tickets = TICKETS;
    Ok(())
}

/// rustls has such a one and keeps it to itself.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Reads the shared keys at every handshake, so that a swap needs no new configuration.
#[derive(Debug)]
struct Current(Arc<Keys>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().modern())
    }
}

fn session(connection: &ServerConnection) -> Session {
    let suite = connection.negotiated_cipher_suite();
    Session {
        stack: Stack::Modern,
        level: None,
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        },
        cipher: suite.and_then(|suite| Suite(suite.suite().into()).name()).unwrap_or_default(),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        server_name: connection.server_name().map(|name| name.to_ascii_lowercase().into()),
        peer: connection.peer_certificates().and_then(|chain| Peer::from_chain(chain.to_vec())).map(Box::new),
    }
}

fn failure(error: io::Error, fault: Option<PeerFault>) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Failure::Alert(Alert((*alert).into())),
        Some(rustls::Error::NoCertificatesPresented) => Failure::Peer(PeerFault::Missing),
        Some(rustls::Error::InvalidCertificate(_)) if let Some(fault) = fault => Failure::Peer(fault),
        Some(other) => Failure::Handshake { stack: Stack::Modern, message: other.to_string() },
        None => Failure::from_io(error),
    }
}
