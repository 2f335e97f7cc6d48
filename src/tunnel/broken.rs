//! Gateways whose TLS fails in the middle, as s2n-tls does: nothing is heard of them then but that they are gone.

use super::End;
use super::relay::{Bounds, Halves, run};
use crate::ops::metrics::Metrics;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const BOUNDS: Bounds =
    Bounds { idle_timeout: Duration::from_secs(900), write_timeout: Duration::from_secs(30) };

#[derive(Clone, Copy, PartialEq)]
enum Fails {
    Writing,
    Flushing,
    ShuttingDown,
}

/// A gateway's TLS, which breaks on the first use of one kind.
struct Breaking {
    io: DuplexStream,
    fails: Fails,
    broken: bool,
    reader: Option<Waker>,
}

impl Breaking {
    fn breaks(&mut self, at: Fails) -> bool {
        self.broken |= self.fails == at;
        // A flush that fails says nothing to who reads.
        if let Some(reader) = self.reader.take_if(|_| self.broken && at != Fails::Flushing) {
            reader.wake();
        }
        self.fails == at
    }
}

fn broken<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
}

impl AsyncRead for Breaking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.broken && self.fails != Fails::Flushing {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.reader = Some(cx.waker().clone());
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.breaks(Fails::Writing) { broken() } else { Pin::new(&mut self.io).poll_write(cx, buf) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.breaks(Fails::Flushing) { broken() } else { Pin::new(&mut self.io).poll_flush(cx) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.breaks(Fails::ShuttingDown) { broken() } else { Pin::new(&mut self.io).poll_shutdown(cx) }
    }
}

/// The far ends of the gateway and the target, and the tunnel between.
fn open(fails: Fails, halves: Halves) -> (DuplexStream, DuplexStream, JoinHandle<(End, bool)>) {
    let ((gateway, near), (mut far, target)) = (duplex(1024), duplex(1024));
    let tunnel = tokio::spawn(async move {
        let metrics = std::sync::Arc::new(Metrics::default());
        let open = metrics.tunnels.open("gw", 1).unwrap();
        let near = Breaking { io: near, fails, broken: false, reader: None };
        run(near, &mut far, &open, (BOUNDS, halves), &CancellationToken::new()).await
    });
    (gateway, target, tunnel)
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_that_fails_is_no_good_end() {
    for fails in [Fails::ShuttingDown, Fails::Writing] {
        let begun = Instant::now();
        let (mut gateway, mut target, tunnel) = open(fails, Halves::Together);
        gateway.write_all(b"half").await.unwrap();
        target.read_exact(&mut [0; 4]).await.unwrap();
        target.write_all(b"answer").await.unwrap();
        target.shutdown().await.unwrap();
        let (end, well) = tunnel.await.unwrap();
        assert!(matches!(end, End::GatewayCut) && !well, "{end:?}");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_fails_ends_that_way_at_once() {
    let begun = Instant::now();
    let (mut gateway, mut target, tunnel) = open(Fails::Flushing, Halves::Apart);
    target.write_all(b"answer").await.unwrap();
    let mut heard = String::new();
    gateway.read_to_string(&mut heard).await.unwrap();
    assert_eq!((heard.as_str(), begun.elapsed()), ("answer", Duration::ZERO));
    gateway.shutdown().await.unwrap();
    assert!(matches!(tunnel.await.unwrap(), (End::Closed, true)));
}
