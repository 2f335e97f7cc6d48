//! Where a connection's bytes come from: the network, or a tunnel that ends in this process.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

/// A connection before TLS.
#[derive(Debug)]
pub enum Socket {
    /// Accepted by the kernel.
    Tcp(TcpStream),
    /// Handed over by the tunnel: whose it is is known, and no proxy's word counts in it.
    Inside(DuplexStream),
}

impl Socket {
    /// Whether the tunnel handed it over.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        matches!(self, Self::Inside(_))
    }

    /// Switches Nagle's algorithm off, where there is one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.set_nodelay(true),
            Self::Inside(_) => Ok(()),
        }
    }
}

/// Calls the same method on whichever stream there is.
macro_rules! on_each {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket.get_mut() {
            Self::Tcp(tcp) => {
                let $inner = Pin::new(tcp);
                $call
            }
            Self::Inside(pipe) => {
                let $inner = Pin::new(pipe);
                $call
            }
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_each!(self, inner => inner.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
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
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::Inside(pipe) => pipe.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, inner => inner.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::net::TcpListener;

    async fn both_kinds() -> [(Socket, Socket); 2] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let (left, right) = duplex(64);
        [(Socket::Tcp(near), Socket::Tcp(far)), (Socket::Inside(left), Socket::Inside(right))]
    }

    #[tokio::test]
    async fn each_half_ends_by_itself() {
        for (mut near, mut far) in both_kinds().await {
            near.set_nodelay().unwrap();
            near.write_all(b"question").await.unwrap();
            near.shutdown().await.unwrap();
            let mut text = String::new();
            far.read_to_string(&mut text).await.unwrap();
            assert!(far.write_vectored(&[IoSlice::new(b"answer")]).await.unwrap() > 0);
            far.shutdown().await.unwrap();
            near.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "questionanswer");
        }
    }

    #[test]
    fn is_no_larger_than_a_tcp_stream_and_its_tag() {
        assert!(size_of::<Socket>() <= size_of::<TcpStream>() + size_of::<usize>());
    }
}
