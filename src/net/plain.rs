//! A connection without TLS, on which a PROXY header is refused where lines or requests should come.
//!
//! A balancer's header was read already, if one is wanted: this one is a second, or one that nobody
//! asked for, and what it says would be taken for what the client says. With TLS the hello's reader
//! notices the same.

use super::proxy::BEGINNINGS;
use std::error::Error;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Yields what `io` yields, unless that begins as a PROXY header does: then reads fail with
/// [`UnexpectedHeader`].
#[derive(Debug)]
pub struct Plain<IO> {
    io: IO,
    watch: Watch,
}

/// A PROXY header came where none is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a PROXY protocol header came where none is wanted")]
pub struct UnexpectedHeader;

impl UnexpectedHeader {
    /// Whether it is why a connection was lost.
    #[must_use]
    pub fn is_cause_of(error: &io::Error) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if error.is::<Self>() {
                return true;
            }
            // What an io::Error wraps is no source of it.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            cause = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped));
        }
        false
    }
}

/// How the first bytes compare.
#[derive(Clone, Copy, Debug)]
enum Watch {
    /// The first so many are those of this beginning.
    Within(&'static [u8], usize),
    /// Nothing was read yet.
    Before,
    /// No header.
    Over,
    Found,
}

impl Watch {
    fn see(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let (begun, at) = match *self {
                Self::Before => match BEGINNINGS.into_iter().find(|begun| begun.first() == Some(&byte)) {
                    Some(begun) => (begun, 0),
                    None => return *self = Self::Over,
                },
                Self::Within(begun, at) => (begun, at),
                Self::Over | Self::Found => return,
            };
            *self = match begun.get(at) {
                Some(wanted) if *wanted != byte => Self::Over,
                _ if at + 1 == begun.len() => Self::Found,
                _ => Self::Within(begun, at + 1),
            };
        }
    }
}

impl<IO> Plain<IO> {
    /// A connection of which nothing was read that is the client's.
    pub const fn new(io: IO) -> Self {
        Self { io, watch: Watch::Before }
    }

    /// The stream below.
    pub const fn get_ref(&self) -> &IO {
        &self.io
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Plain<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        this.watch.see(buf.filled().get(before..).unwrap_or_default());
        if matches!(this.watch, Watch::Found) {
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, UnexpectedHeader)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Plain<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// Reads `bytes` in pieces of this size.
    async fn read(bytes: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let mut plain = Plain::new(bytes);
        let mut all = Vec::new();
        let mut buffer = vec![0; piece];
        loop {
            match plain.read(&mut buffer).await? {
                0 => return Ok(all),
                length => all.extend_from_slice(&buffer[..length]),
            }
        }
    }

    #[tokio::test]
    async fn a_header_is_refused_however_it_is_cut_and_nothing_else_is() {
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
        for piece in [1, 2, 7, 64] {
            for header in [&b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n"[..], b"PROXY ", v2, &v2[..5]] {
                let error = read(header, piece).await.unwrap_err();
                assert!(UnexpectedHeader::is_cause_of(&error));
                assert!(UnexpectedHeader::is_cause_of(&io::Error::other(error)), "deep within");
            }
            for other in
                [&b""[..], b"{\"id\":17}\n", b"\r\n\r\n{}\n", b"PRI * HTTP/2.0", b"PROXYING", &v2[..4]]
            {
                assert_eq!(read(other, piece).await.unwrap(), other);
            }
            let later = b"{}\nPROXY TCP4 203.0.113.9 192.0.2.1 1 2\r\n";
            assert_eq!(read(later, piece).await.unwrap(), later, "a line like any other");
        }
        assert!(!UnexpectedHeader::is_cause_of(&io::ErrorKind::ConnectionReset.into()));
    }
}
