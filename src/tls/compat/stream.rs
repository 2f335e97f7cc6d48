//! An established s2n-tls connection as a stream.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use s2n_tls_tokio::TlsStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::noted::Noted;
use crate::net::replay::Replay;

/// An s2n-tls connection that gives its buffers back whenever it waits for its peer.
pub struct CompatStream<IO: AsyncRead + AsyncWrite + Unpin> {
    inner: TlsStream<Replay<IO>, Noted>,
    /// A read that failed, kept back until s2n-tls' blinding delay is over.
    failed: Option<io::Error>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> CompatStream<IO> {
    pub(super) const fn new(inner: TlsStream<Replay<IO>, Noted>) -> Self {
        Self { inner, failed: None }
    }

    pub(in super::super) fn get_ref(&self) -> &IO {
        self.inner.get_ref().get_ref()
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
        if this.failed.is_none() {
            match Pin::new(&mut this.inner).poll_read(cx, buf) {
                Poll::Ready(Err(error)) => this.failed = Some(error),
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    // Refused while a record is half read or half written; then the buffers are in use.
                    this.inner.as_mut().release_buffers().ok();
                    return Poll::Pending;
                }
            }
        }
        ready!(Pin::new(&mut this.inner).poll_blinding(cx)).ok();
        Poll::Ready(this.failed.take().map_or(Ok(()), Err))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CompatStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        // Whoever writes while a read waits (a tunnel) will not come by there again before the peer speaks.
        this.inner.as_mut().release_buffers().ok();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
