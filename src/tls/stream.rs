//! A connection after the handshake: one type over both stacks and none.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::compat::CompatStream;
use super::modern::ModernStream;
use super::peer::Peer;
use super::verdict::Compat;
use crate::net::plain::Plain;

/// Which library carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stack {
    /// No TLS: `tls = false`.
    Plain,
    /// rustls.
    Modern,
    /// s2n-tls.
    Compat,
}

impl Stack {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Modern => "rustls",
            Self::Compat => "s2n-tls",
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The library that carries it.
    pub stack: Stack,
    /// The `compat` level that s2n-tls served it at; `None` on rustls and without TLS.
    pub level: Option<Compat>,
    /// `TLSv1.0` to `TLSv1.3`, or empty without TLS.
    pub version: &'static str,
    /// The suite's IANA name, or empty without TLS.
    pub cipher: &'static str,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The name the client asked for, lower case.
    pub server_name: Option<Box<str>>,
    /// The client's certificate chain, if it presented one, now or when the resumed session began. It
    /// is the caller's to judge, each time, and to drop: it is kilobytes on an idle connection.
    pub peer: Option<Box<Peer>>,
}

impl Session {
    /// Whether it was negotiated at a level that is known to be weak.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.level.is_some_and(Compat::is_weak)
    }

    /// Of a connection without TLS.
    pub(super) const fn plain() -> Self {
        Self {
            stack: Stack::Plain,
            level: None,
            version: "",
            cipher: "",
            resumed: false,
            server_name: None,
            peer: None,
        }
    }
}

/// A connection that carries lines, whichever stack it is on. `shutdown` sends close_notify.
/// The TLS states are boxed, so that a plain or moved stream is small.
#[derive(Debug)]
pub enum Stream<IO: AsyncRead + AsyncWrite + Unpin> {
    /// No TLS.
    Plain(Plain<IO>),
    /// rustls.
    Modern(Box<ModernStream<IO>>),
    /// s2n-tls.
    Compat(Box<CompatStream<IO>>),
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Stream<IO> {
    /// The connection below TLS.
    pub fn get_ref(&self) -> &IO {
        match self {
            Self::Plain(plain) => plain.get_ref(),
            Self::Modern(stream) => stream.get_ref().0.get_ref(),
            Self::Compat(stream) => stream.get_ref(),
        }
    }
}

/// Calls the same method on whichever stream there is.
macro_rules! on_each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Self::Plain(plain) => {
                let $inner = Pin::new(plain);
                $call
            }
            Self::Modern(stream) => {
                let $inner = Pin::new(&mut **stream);
                $call
            }
            Self::Compat(stream) => {
                let $inner = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_each!(self, inner => inner.poll_read(cx, buf))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_each!(self, inner => inner.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_each!(self, inner => inner.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(plain) => plain.is_write_vectored(),
            Self::Modern(stream) => stream.is_write_vectored(),
            Self::Compat(_) => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, inner => inner.poll_shutdown(cx))
    }
}
