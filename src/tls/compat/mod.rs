//! s2n-tls: devices whose hello rustls cannot serve, on the same aws-lc.
//!
//! Policies are named ones, which s2n-tls never changes, not its moving `default`. What each
//! takes was read in its source and is held by the tests at the socket.

mod client;
mod noted;
mod stream;
mod tickets;

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use s2n_tls::config::{Builder as ConfigBuilder, Config};
use s2n_tls::connection::Connection;
use s2n_tls::enums::Version;
use s2n_tls::error::{Error, ErrorType};
use s2n_tls::security::Policy;
use s2n_tls_tokio::{TlsAcceptor, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite};

use noted::{NO_ALERT, NotedBuilder};
use tickets::TicketKeys;

pub use stream::CompatStream;

use super::acceptor::AcceptorOptions;
use super::chain::CertifiedChain;
use super::client::{ClientAuth, PeerFault};
use super::failure::{Alert, Failure};
use super::farewell::{linger, part};
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
/// The same with ECDHE and AES-CBC behind AES-GCM.
const POLICY_CBC: &str = "ELBSecurityPolicy-FS-1-2-2019-08";
/// The same from TLS 1.0 on, static RSA with AES behind everything with ECDHE. Of the policies with
/// static RSA it is one without 3DES and RC4: what a policy does not hold cannot be negotiated.
const POLICY_RSA_KX: &str = "ELBSecurityPolicy-2016-08";

/// The longest delay, in seconds, before a failure on a level with CBC or static RSA is answered
/// (at least a third of it). s2n-tls is written to take constant time over padding and premaster
/// secrets; should that ever leak, this hides it: a guess costs a second and drowns in noise.
/// Its own 10 to 30 s would outlast the handshake timeout and hold the place of a connection.
const MAX_BLINDING: u32 = 3;

/// Record sizes a client can ask for (RFC 6066); other limits are rounded down to one of them.
const ASKED_SIZES: [usize; 4] = [4096, 2048, 1024, 512];
/// What s2n-tls keeps free in a send buffer beside one record's content (TLS 1.2's expansion and
/// header). A send buffer this much larger than a limit makes it cut every record to that limit.
const SEND_OVERHEAD: u32 = 1024 + 5;
/// TLS's own bound on a record's content: nothing to cut.
const LONGEST_RECORD: u32 = 16384;

/// The s2n-tls side of one section at one level.
pub(super) struct CompatStack {
    level: Compat,
    keys: Arc<Keys>,
    resumption: bool,
    client_auth: ClientAuth,
    max_fragment: usize,
    alpn: Vec<Vec<u8>>,
    ready: Mutex<Ready>,
}

/// Configurations, one per record size in use, and what they were made from.
struct Ready {
    configs: Vec<(usize, Config)>,
    chain: Arc<CertifiedChain>,
    tickets: TicketKeys,
}

impl CompatStack {
    pub(super) fn new(level: Compat, keys: Arc<Keys>, options: &AcceptorOptions) -> Result<Self, Error> {
        let chain = keys.current();
        let stack = Self {
            level,
            keys,
            // s2n-tls resumes nothing where it asks for certificates; here it does not even try.
            resumption: options.resumption && !options.client_auth.asks(),
            client_auth: options.client_auth,
            max_fragment: options.max_fragment(),
            alpn: options.alpn.clone(),
            ready: Mutex::new(Ready { configs: Vec::new(), chain, tickets: TicketKeys::default() }),
        };
        stack.config(stack.max_fragment)?;
        Ok(stack)
    }

    pub(super) const fn level(&self) -> Compat {
        self.level
    }

    /// Completes the handshake; `limit` is the most record content the client wants to be sent.
    pub(super) async fn accept<IO>(
        &self,
        mut io: Replay<IO>,
        limit: Option<usize>,
    ) -> Result<(Box<CompatStream<IO>>, Session), Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config(self.record_size(limit)).map_err(|error| failure(&error, NO_ALERT))?;
        let alert = Arc::new(AtomicU8::new(NO_ALERT));
        let builder = NotedBuilder { config, alert: Arc::clone(&alert) };
        let shaken = TlsAcceptor::new(builder).accept(&mut io).await.map(TlsStream::into_parts);
        let mut inner = match shaken {
            Ok((connection, _)) => TlsStream::from_parts(connection, io),
            Err(error) => {
                let failure = failure(&error, alert.load(Ordering::Relaxed));
                part(io, &failure).await;
                return Err(failure);
            }
        };
        inner.as_mut().release_buffers().ok();
        match client::presented(inner.as_ref()) {
            Ok(peer) => {
                let session = session(self.level, inner.as_ref(), peer);
                Ok((Box::new(CompatStream::new(inner)), session))
            }
            Err(fault) => {
                linger(inner).await;
                Err(Failure::Peer(fault))
            }
        }
    }

    /// Begins with new ticket keys.
    pub(super) fn forget_sessions(&self) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.tickets = TicketKeys::default();
        ready.configs.clear();
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
        if self.resumption && ready.tickets.rotate(SystemTime::now())? {
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
        let (policy, blinding) = match self.level {
            // AEAD with ECDHE has nothing to hide, and a delayed failure only holds a place.
            Compat::Strict | Compat::Cc3220 => (POLICY_CC3220, 0),
            Compat::Cbc => (POLICY_CBC, MAX_BLINDING),
            Compat::RsaKx => (POLICY_RSA_KX, MAX_BLINDING),
        };
        let mut builder = ConfigBuilder::new();
        builder.with_system_certs(false)?;
        builder.set_security_policy(&Policy::from_version(policy)?)?;
        builder.load_chain(ready.chain.compat())?;
        builder.set_application_protocol_preference(&self.alpn)?;
        builder.set_max_blinding_delay(blinding)?;
        if let Some(size) = u32::try_from(record_size).ok().filter(|size| *size < LONGEST_RECORD) {
            builder.set_send_buffer_size(size + SEND_OVERHEAD)?;
        }
        client::ask(&mut builder, self.client_auth)?;
        if self.resumption {
            ready.tickets.add_to(&mut builder)?;
        }
        builder.build()
    }
}

fn session(level: Compat, connection: &Connection, peer: Option<Peer>) -> Session {
    Session {
        stack: Stack::Compat,
        level: Some(level),
        version: match connection.actual_protocol_version() {
            Ok(Version::TLS10) => "TLSv1.0",
            Ok(Version::TLS11) => "TLSv1.1",
            Ok(Version::TLS12) => "TLSv1.2",
            _ => "",
        },
        cipher: connection.cipher_suite().ok().and_then(iana_name).unwrap_or_default(),
        resumed: connection.resumed(),
        server_name: connection.server_name().map(|name| name.to_ascii_lowercase().into()),
        peer: peer.map(Box::new),
    }
}

/// s2n-tls says OpenSSL's names.
fn iana_name(openssl: &str) -> Option<&'static str> {
    let suite = match openssl {
        "ECDHE-RSA-AES128-GCM-SHA256" => 0xc02f,
        "ECDHE-RSA-AES256-GCM-SHA384" => 0xc030,
        "ECDHE-RSA-AES128-SHA256" => 0xc027,
        "ECDHE-RSA-AES256-SHA384" => 0xc028,
        "ECDHE-RSA-AES128-SHA" => 0xc013,
        "ECDHE-RSA-AES256-SHA" => 0xc014,
        "AES128-GCM-SHA256" => 0x009c,
        "AES256-GCM-SHA384" => 0x009d,
        "AES128-SHA256" => 0x003c,
        "AES256-SHA256" => 0x003d,
        "AES128-SHA" => 0x002f,
        "AES256-SHA" => 0x0035,
        _ => return None,
    };
    Suite(suite).name()
}

fn failure(error: &Error, alert: u8) -> Failure {
    if let Some(fault) = fault(error) {
        return Failure::Peer(fault);
    }
    match error.kind() {
        ErrorType::Alert if alert != NO_ALERT => Failure::Alert(Alert(alert)),
        ErrorType::ConnectionClosed => Failure::Closed,
        ErrorType::IOError => Failure::Io(io::Error::other(error.to_string())),
        _ => Failure::Handshake { stack: Stack::Compat, message: error.to_string() },
    }
}

/// What s2n-tls has against a client certificate; it alone has these names for it.
fn fault(error: &Error) -> Option<PeerFault> {
    match error.name() {
        "S2N_ERR_MISSING_CLIENT_CERT" => Some(PeerFault::Missing),
        "S2N_ERR_VERIFY_SIGNATURE" => Some(PeerFault::BadSignature),
        "S2N_ERR_DECODE_CERTIFICATE" | "S2N_ERR_CERT_INVALID" => {
            Some(PeerFault::Undecodable(error.message().to_owned()))
        }
        "S2N_ERR_CERT_TYPE_UNSUPPORTED" => {
            Some(PeerFault::UnsupportedKey("a kind of key that s2n-tls does not know".to_owned()))
        }
        _ => None,
    }
}
