//! rustls: every client that names its groups, TLS 1.2 and 1.3.

use std::io;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::acceptor::AcceptorOptions;
use super::failure::{Alert, Failure};
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
    config: Arc<ServerConfig>,
    max_fragment: usize,
}

impl Modern {
    pub(super) fn new(keys: Arc<Keys>, options: &AcceptorOptions) -> Result<Self, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Current(keys)));
        config.alpn_protocols.clone_from(&options.alpn);
        if options.resumption {
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
            config.ticketer = aws_lc_rs::Ticketer::new()?;
            config.send_tls13_tickets = TICKETS;
        } else {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        let max_fragment = options.max_fragment();
        config.max_fragment_size = Some(max_fragment + RECORD_HEADER);
        Ok(Self { config: Arc::new(config), max_fragment })
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
        let stream = TlsAcceptor::from(self.config_for(limit, tickets)).accept(io).await.map_err(failure)?;
        let session = session(stream.get_ref().1);
        Ok((Box::new(stream), session))
    }

    /// A copy of the configuration is some hundred bytes beside shared stores and keys.
    fn config_for(&self, limit: Option<usize>, tickets: bool) -> Arc<ServerConfig> {
        let limit = limit.filter(|limit| *limit < self.max_fragment);
        if limit.is_none() && tickets {
            return Arc::clone(&self.config);
        }
        let mut config = ServerConfig::clone(&self.config);
        if let Some(limit) = limit {
            config.max_fragment_size = Some(limit + RECORD_HEADER);
        }
        if !tickets {
            config.send_tls13_tickets = 0;
        }
        Arc::new(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
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
        peer: Peer::of_modern(connection).map(Box::new),
    }
}

fn failure(error: io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Failure::Alert(Alert((*alert).into())),
        Some(other) => Failure::Handshake { stack: Stack::Modern, message: other.to_string() },
        None => Failure::from_io(error),
    }
}
