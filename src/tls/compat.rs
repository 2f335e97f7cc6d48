//! s2n-tls: devices whose hello rustls cannot serve, on the same aws-lc.
//!
//! Policies are named ones, which s2n-tls never changes, not its moving `default`. What each
//! takes was read in its source and is held by the tests at the socket.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use s2n_tls::config::{Builder as ConfigBuilder, Config};
use s2n_tls::connection::{Builder, Connection};
use s2n_tls::enums::{Mode, Version};
use s2n_tls::error::{Error, ErrorType};
use s2n_tls::security::Policy;
use s2n_tls_tokio::{TlsAcceptor, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

use super::acceptor::AcceptorOptions;
use super::chain::CertifiedChain;
use super::failure::{Alert, Failure};
use super::keys::Keys;
use super::names::Suite;
use super::peer::Peer;
use super::stream::{Session, Stack};
use super::verdict::Compat;
use crate::net::replay::Replay;

/// TLS 1.2, ECDHE with AES-GCM only, P-256 first and for clients that name no group;
/// rsa_pkcs1_sha256 first, never PSS, and SHA-1 for clients without `signature_algorithms` as
/// RFC 5246 has it. (`default` would sign PSS for those, which TLS 1.2 devices do not know.)
const POLICY_CC3220: &str = "ELBSecurityPolicy-FS-1-2-Res-2020-10";

/// A ticket key encrypts this long, then decrypts as long again: none lives a day.
const TICKET_KEY_LIFETIME: Duration = Duration::from_secs(6 * 3600);
/// Record sizes a client can ask for (RFC 6066); other limits are rounded down to one of them.
const ASKED_SIZES: [usize; 4] = [4096, 2048, 1024, 512];
/// What s2n-tls keeps free in a send buffer beside one record's content (TLS 1.2's expansion and
/// header). A send buffer this much larger than a limit makes it cut every record to that limit.
const SEND_OVERHEAD: u32 = 1024 + 5;
/// TLS's own bound on a record's content: nothing to cut.
const LONGEST_RECORD: u32 = 16384;
/// `Noted::alert` when there was none; 255 is no alert.
const NO_ALERT: u8 = u8::MAX;

/// The s2n-tls side of one section at one level.
pub(super) struct CompatStack {
    level: Compat,
    keys: Arc<Keys>,
    resumption: bool,
    max_fragment: usize,
    alpn: Vec<Vec<u8>>,
    ready: Mutex<Ready>,
}

/// Configurations, one per record size in use, and what they were made from.
struct Ready {
    configs: Vec<(usize, Config)>,
    chain: Arc<CertifiedChain>,
    tickets: Vec<TicketKey>,
}

#[derive(Clone)]
struct TicketKey {
    name: [u8; 16],
    secret: Zeroizing<[u8; 32]>,
    since: SystemTime,
}

impl CompatStack {
    pub(super) fn new(level: Compat, keys: Arc<Keys>, options: AcceptorOptions) -> Result<Self, Error> {
        let chain = keys.current();
        let stack = Self {
            level,
            keys,
            resumption: options.resumption,
            max_fragment: options.max_fragment(),
            alpn: options.alpn,
            ready: Mutex::new(Ready { configs: Vec::new(), chain, tickets: Vec::new() }),
        };
        stack.config(stack.max_fragment)?;
        Ok(stack)
    }

    /// Completes the handshake; `limit` is the most record content the client wants to be sent.
    pub(super) async fn accept<IO>(
        &self,
        io: Replay<IO>,
        limit: Option<usize>,
    ) -> Result<(Box<CompatStream<IO>>, Session), Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config(self.record_size(limit)).map_err(|error| failure(&error, NO_ALERT))?;
        let alert = Arc::new(AtomicU8::new(NO_ALERT));
        let builder = NotedBuilder { config, alert: Arc::clone(&alert) };
        match TlsAcceptor::new(builder).accept(io).await {
            Ok(mut inner) => {
                inner.as_mut().release_buffers().ok();
                let session = session(inner.as_ref());
                Ok((Box::new(CompatStream(inner)), session))
            }
            Err(error) => Err(failure(&error, alert.load(Ordering::Relaxed))),
        }
    }

    fn record_size(&self, limit: Option<usize>) -> usize {
        let asked = |limit: usize| ASKED_SIZES.into_iter().find(|size| *size <= limit).unwrap_or(512);
        limit.filter(|limit| *limit < self.max_fragment).map_or(self.max_fragment, asked)
    }

    /// The configuration for now: made anew after the keys were swapped and when the ticket key
    /// is due. The lock is held for a millisecond at most, and never across an await.
    fn config(&self, record_size: usize) -> Result<Config, Error> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = self.keys.current();
        if self.resumption && ready.tickets.first().is_none_or(|key| key.age() >= TICKET_KEY_LIFETIME) {
            ready.tickets.insert(0, TicketKey::new()?);
            ready.tickets.retain(|key| key.age() < TICKET_KEY_LIFETIME * 2);
            ready.configs.clear();
        }
        if !Arc::ptr_eq(&chain, &ready.chain) {
            ready.chain = chain;
            ready.configs.clear();
        }
        if let Some((_, config)) = ready.configs.iter().find(|(size, _)| *size == record_size) {
            return Ok(config.clone());
        }
        let config = self.build(&ready, record_size)?;
        ready.configs.push((record_size, config.clone()));
        Ok(config)
    }

    fn build(&self, ready: &Ready, record_size: usize) -> Result<Config, Error> {
        let policy = match self.level {
            Compat::Strict | Compat::Cc3220 | Compat::Cbc | Compat::RsaKx => POLICY_CC3220,
        };
        let mut builder = ConfigBuilder::new();
        builder.with_system_certs(false)?;
        builder.set_security_policy(&Policy::from_version(policy)?)?;
        builder.load_chain(ready.chain.compat())?;
        builder.set_application_protocol_preference(&self.alpn)?;
        // Blinding hides how CBC and static RSA fail; AEAD with ECDHE has nothing to hide, and a
        // delayed failure would reach the operator as a mere timeout.
        builder.set_max_blinding_delay(0)?;
        if let Some(size) = u32::try_from(record_size).ok().filter(|size| *size < LONGEST_RECORD) {
            builder.set_send_buffer_size(size + SEND_OVERHEAD)?;
        }
        if self.resumption {
            builder.set_ticket_key_encrypt_decrypt_lifetime(TICKET_KEY_LIFETIME)?;
            builder.set_ticket_key_decrypt_lifetime(TICKET_KEY_LIFETIME)?;
        }
        for key in &ready.tickets {
            builder.add_session_ticket_key(&key.name, key.secret.as_slice(), key.since)?;
        }
        builder.build()
    }
}

impl TicketKey {
    fn new() -> Result<Self, Error> {
        let mut name = [0; 16];
        let mut secret = Zeroizing::new([0; 32]);
        let filled = rand::fill(&mut name).and_then(|()| rand::fill(secret.as_mut_slice()));
        filled.map_err(|error| Error::application(Box::new(error)))?;
        Ok(Self { name, secret, since: SystemTime::now() })
    }

    /// A clock set back makes the key new, not immortal: its tickets carry dates of their own.
    fn age(&self) -> Duration {
        self.since.elapsed().unwrap_or_default()
    }
}

/// A connection that leaves the alert it received behind: a failed handshake drops it unseen.
struct Noted {
    connection: Connection,
    alert: Arc<AtomicU8>,
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.alert.store(self.connection.alert().unwrap_or(NO_ALERT), Ordering::Relaxed);
    }
}

impl AsRef<Connection> for Noted {
    fn as_ref(&self) -> &Connection {
        &self.connection
    }
}

impl AsMut<Connection> for Noted {
    fn as_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

#[derive(Clone)]
struct NotedBuilder {
    config: Config,
    alert: Arc<AtomicU8>,
}

impl Builder for NotedBuilder {
    type Output = Noted;

    fn build_connection(&self, mode: Mode) -> Result<Noted, Error> {
        let connection = self.config.build_connection(mode)?;
        Ok(Noted { connection, alert: Arc::clone(&self.alert) })
    }
}

fn session(connection: &Connection) -> Session {
    Session {
        stack: Stack::Compat,
        version: match connection.actual_protocol_version() {
            Ok(Version::TLS10) => "TLSv1.0",
            Ok(Version::TLS11) => "TLSv1.1",
            Ok(Version::TLS12) => "TLSv1.2",
            _ => "",
        },
        cipher: connection.cipher_suite().ok().and_then(iana_name).unwrap_or_default(),
        resumed: connection.resumed(),
        server_name: connection.server_name().map(|name| name.to_ascii_lowercase().into()),
        peer: Peer::of_compat(connection).map(Box::new),
    }
}

/// s2n-tls says OpenSSL's names.
fn iana_name(openssl: &str) -> Option<&'static str> {
    let suite = match openssl {
        "ECDHE-RSA-AES128-GCM-SHA256" => 0xc02f,
        "ECDHE-RSA-AES256-GCM-SHA384" => 0xc030,
        _ => return None,
    };
    Suite(suite).name()
}

fn failure(error: &Error, alert: u8) -> Failure {
    match error.kind() {
        ErrorType::Alert if alert != NO_ALERT => Failure::Alert(Alert(alert)),
        ErrorType::ConnectionClosed => Failure::Closed,
        ErrorType::IOError => Failure::Io(io::Error::other(error.to_string())),
        _ => Failure::Handshake { stack: Stack::Compat, message: error.to_string() },
    }
}

/// An s2n-tls connection that gives its buffers back whenever it waits for its peer.
pub struct CompatStream<IO: AsyncRead + AsyncWrite + Unpin>(TlsStream<Replay<IO>, Noted>);

impl<IO: AsyncRead + AsyncWrite + Unpin> CompatStream<IO> {
    pub(super) fn get_ref(&self) -> &IO {
        self.0.get_ref().get_ref()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> fmt::Debug for CompatStream<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompatStream").finish_non_exhaustive()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for CompatStream<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.0).poll_read(cx, buf);
        if polled.is_pending() {
            // Refused while a record is half read or half written; then the buffers are in use.
            this.0.as_mut().release_buffers().ok();
        }
        polled
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CompatStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
