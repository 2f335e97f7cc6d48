//! A stream whose first bytes were read before and are read again.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Yields `prefix`, then what `io` yields; writes go straight to `io`. The prefix's memory is
/// freed with its last byte.
#[derive(Debug)]
pub struct Replay<IO> {
    prefix: Vec<u8>,
    done: usize,
    io: IO,
}

impl<IO> Replay<IO> {
    /// Puts `prefix` back in front of `io`.
    pub const fn new(prefix: Vec<u8>, io: IO) -> Self {
        Self { prefix, done: 0, io }
    }

    /// The stream below.
    pub const fn get_ref(&self) -> &IO {
        &self.io
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Replay<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = this.prefix.get(this.done..).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let len = left.len().min(buf.remaining());
        buf.put_slice(left.get(..len).unwrap_or_default());
        this.done += len;
        if this.done == this.prefix.len() {
            this.prefix = Vec::new();
            this.done = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Replay<IO> {
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn yields_the_prefix_then_the_stream() {
        let (mut far, near) = tokio::io::duplex(64);
        far.write_all(b" world").await.unwrap();
        far.shutdown().await.unwrap();
        let mut replay = Replay::new(b"hello".to_vec(), near);
        let mut first = [0; 2];
        replay.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"he");
        let mut rest = String::new();
        replay.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "llo world");
        assert_eq!(replay.prefix.capacity(), 0, "the prefix is freed");
    }

    #[tokio::test]
    async fn writes_go_past_the_prefix() {
        let (mut far, near) = tokio::io::duplex(64);
        let mut replay = Replay::new(b"unread".to_vec(), near);
        let bufs = [IoSlice::new(b"a"), IoSlice::new(b"b")];
        assert!(replay.write_vectored(&bufs).await.unwrap() > 0);
        replay.shutdown().await.unwrap();
        let mut out = String::new();
        far.read_to_string(&mut out).await.unwrap();
        assert!("ab".starts_with(&out) && !out.is_empty());
    }
}
