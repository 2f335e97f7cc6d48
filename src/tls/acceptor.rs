//! The front of a TLS port: reads the hello, picks the stack, completes the handshake.

use std::future::Future;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::client::{ClientAuth, PeerCheck, PeerFault};
use super::compat::CompatStack;
use super::failure::Failure;
use super::farewell::{linger, send_alert};
use super::hello::{ClientHello, Reader};
use super::keys::Keys;
use super::modern::Modern;
use super::stream::{Session, Stream};
use super::verdict::{Compat, Offer, Verdict, verdict};
use crate::net::plain::Plain;
use crate::net::replay::Replay;

/// The range of RFC 6066 and of a TLS record.
const MAX_FRAGMENT: std::ops::RangeInclusive<usize> = 512..=16384;
/// Most hellos fit; longer ones let the buffer grow to at most twice [`MAX_RECORDS`].
const FIRST_READ: usize = 1024;
const DECODE_ERROR: u8 = 50;

/// What one section's port offers.
#[derive(Debug, Clone)]
pub struct AcceptorOptions {
    /// False: no TLS, bytes pass as they are.
    pub tls: bool,
    /// How weak a hello may be.
    pub compat: Compat,
    /// Whether sessions may be resumed.
    pub resumption: bool,
    /// The most content we put into one record, in bytes: 512 to 16384. A client that asks for
    /// less is sent less (not below 512 with s2n-tls); the stacks cannot acknowledge it.
    pub max_fragment: Option<usize>,
    /// Protocols for ALPN; empty: the extension is ignored.
    pub alpn: Vec<Vec<u8>>,
    /// Whether clients are asked for a certificate. Whoever switches it on judges [`Session::peer`].
    pub client_auth: ClientAuth,
    /// May refuse a client certificate with an alert.
    pub peer_check: Option<Arc<dyn PeerCheck>>,
}

impl Default for AcceptorOptions {
    fn default() -> Self {
        Self {
            tls: true,
            compat: Compat::default(),
            resumption: true,
            max_fragment: None,
            alpn: Vec::new(),
            client_auth: ClientAuth::Off,
            peer_check: None,
        }
    }
}

impl AcceptorOptions {
    pub(super) fn max_fragment(&self) -> usize {
        self.max_fragment.unwrap_or(*MAX_FRAGMENT.end())
    }
}

/// The options do not make a server.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Out of range.
    #[error("max_fragment is {0}, but must be 512 to 16384 bytes")]
    MaxFragment(usize),
    /// rustls refuses its part.
    #[error("rustls cannot be set up: {0}")]
    Modern(#[from] rustls::Error),
    /// s2n-tls refuses its part.
    #[error("s2n-tls cannot be set up: {0}")]
    Compat(#[from] s2n_tls::error::Error),
}

/// Takes the connections of one section; share it behind an `Arc`.
pub struct Acceptor {
    stacks: Option<Stacks>,
}

/// Session stores and ticket keys live in each, so no section resumes another's sessions, nor one of
/// before a restart or under another `client_cert`.
struct Stacks {
    allowed: Compat,
    client_auth: ClientAuth,
    modern: Modern,
    /// One for each level up to `allowed`: a hello gets the strictest that takes it, and no more.
    compat: Vec<CompatStack>,
}

impl Acceptor {
    /// Builds both stacks over the shared keys.
    ///
    /// # Errors
    /// When `max_fragment` is out of range or a stack refuses its configuration.
    pub fn new(keys: Arc<Keys>, options: AcceptorOptions) -> Result<Self, SetupError> {
        if !options.tls {
            return Ok(Self::plain());
        }
        if let Some(bytes) = options.max_fragment.filter(|bytes| !MAX_FRAGMENT.contains(bytes)) {
            return Err(SetupError::MaxFragment(bytes));
        }
        let (allowed, client_auth) = (options.compat, options.client_auth);
        let modern = Modern::new(Arc::clone(&keys), &options)?;
        let levels = Compat::ALL.into_iter().skip(1).filter(|level| *level <= allowed);
        let compat = levels.map(move |level| CompatStack::new(level, Arc::clone(&keys), &options));
        let compat = compat.collect::<Result<_, _>>()?;
        Ok(Self { stacks: Some(Stacks { allowed, client_auth, modern, compat }) })
    }

    /// An acceptor without TLS, which needs no keys.
    #[must_use]
    pub const fn plain() -> Self {
        Self { stacks: None }
    }

    /// Forgets every session and makes new ticket keys, on both stacks: all that connect from now on
    /// shake hands in full. Open connections stay. For when the set of CAs changes.
    ///
    /// # Errors
    /// When a stack cannot make its keys; it then resumes nothing.
    pub fn forget_sessions(&self) -> Result<(), SetupError> {
        let Some(stacks) = &self.stacks else { return Ok(()) };
        stacks.compat.iter().for_each(CompatStack::forget_sessions);
        stacks.modern.forget_sessions()?;
        Ok(())
    }

    /// Completes the handshake. The deadline is the caller's: wrap this in a timeout. What it
    /// needs is on the heap and gone when it returns, so an idle connection's task stays small.
    ///
    /// # Errors
    /// [`Failure`] says what the peer did; a refused peer has been sent its alert.
    pub async fn accept<IO>(&self, io: IO) -> Result<(Stream<IO>, Session), Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.accept_noting(io, &mut None).await
    }

    /// As [`Self::accept`], and leaves in `seen` what the peer offered, once it is known: it is there
    /// too when the caller's deadline ends this.
    ///
    /// # Errors
    /// As for [`Self::accept`].
    pub async fn accept_noting<IO>(
        &self,
        io: IO,
        seen: &mut Option<Offer>,
    ) -> Result<(Stream<IO>, Session), Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        match &self.stacks {
            None => Ok((Stream::Plain(Plain::new(io)), Session::plain())),
            Some(stacks) => boxed(stacks.accept(io, seen)).await,
        }
    }
}

fn boxed<T>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    Box::pin(future)
}

impl Stacks {
    async fn accept<IO>(&self, mut io: IO, seen: &mut Option<Offer>) -> Result<(Stream<IO>, Session), Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut prefix = Vec::with_capacity(FIRST_READ);
        let hello = match read_hello(&mut io, &mut prefix).await {
            Ok(hello) => hello,
            Err(failure) => {
                if matches!(failure, Failure::Malformed(_)) {
                    send_alert(io, 0x0303, DECODE_ERROR).await;
                }
                return Err(failure);
            }
        };
        *seen = Some(Offer::of(&hello));
        let limit = hello.fragment_limit();
        let tickets = hello.takes_long_ticket_nonces();
        let verdict = verdict(&hello, self.allowed);
        let at = |level: Compat| self.compat.iter().find(|stack| stack.level() == level);
        match verdict {
            Verdict::Refused(reason) => {
                send_alert(io, hello.version, reason.alert()).await;
                Err(Failure::Refused(reason))
            }
            Verdict::Compat(level) if let Some(stack) = at(level) => {
                let (stream, session) = stack.accept(Replay::new(prefix, io), limit).await?;
                self.complete(Stream::Compat(stream), session).await
            }
            Verdict::Modern | Verdict::Compat(_) => {
                let (stream, session) = self.modern.accept(Replay::new(prefix, io), limit, tickets).await?;
                self.complete(Stream::Modern(stream), session).await
            }
        }
    }

    /// Holds what both stacks promise already: where a certificate is required there is one, on
    /// resumed sessions too.
    async fn complete<IO>(
        &self,
        stream: Stream<IO>,
        session: Session,
    ) -> Result<(Stream<IO>, Session), Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        if self.client_auth == ClientAuth::Required && session.peer.is_none() {
            linger(stream).await;
            return Err(Failure::Peer(PeerFault::Missing));
        }
        Ok((stream, session))
    }
}

/// Reads until `prefix` holds a whole hello, and perhaps more that will be replayed.
async fn read_hello<IO: AsyncRead + Unpin>(
    io: &mut IO,
    prefix: &mut Vec<u8>,
) -> Result<ClientHello, Failure> {
    let mut reader = Reader::new();
    loop {
        let start = prefix.len();
        let len = match io.read_buf(prefix).await {
            Ok(len) => len,
            // How balancers end a health check.
            Err(error) if start == 0 && error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(Failure::from_io(error)),
        };
        if len == 0 {
            return Err(if start == 0 { Failure::Silent } else { Failure::Closed });
        }
        if let Some(hello) = reader.push(prefix.get(start..).unwrap_or_default())? {
            return Ok(hello);
        }
    }
}
