//! Bytes both ways until both ways have ended, or something ends them.
//!
//! A side that ends well is passed on as an end of that way alone (half-close). A side that was cut
//! off is a cut for the other too: half a message must not look like a whole one.

use super::{End, pass};
use crate::net::write_deadline::WriteDeadline;
use crate::ops::tunnels::Open;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How long the target may still answer once the server stops, and the gateway read it.
const LINGER: Duration = Duration::from_secs(4);

/// The deadlines of `[limits]` that count here.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest time without a byte in either direction.
    pub idle_timeout: Duration,
    /// Longest time for what is sent to make no progress.
    pub write_timeout: Duration,
}

/// What the end of one way means in the gateway's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halves {
    /// The other way goes on.
    Apart,
    /// The end of both, as TLS had it before 1.3 (RFC 5246 §7.2.1), and s2n-tls has it still: it hears nothing
    /// once it has said goodbye, and says nothing once it has heard it.
    Together,
}

/// Carries bytes between the two until [`End`]; true if both heard it properly, and nothing that was
/// taken from one side was kept from the other.
pub(super) async fn run<G, T>(
    gateway: G,
    target: T,
    open: &Open,
    (bounds, halves): (Bounds, Halves),
    stop: &CancellationToken,
) -> (End, bool)
where
    G: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let tunnel = Tunnel::new(open, halves);
    let mut gateway = Tapped::new(gateway, Side::Gateway, &tunnel, bounds);
    let mut target = Tapped::new(target, Side::Target, &tunnel, bounds);
    let mut copy = pin!(pass::both(&mut gateway, &mut target));
    let why = tokio::select! {
        biased;
        copied = copy.as_mut() => return tunnel.verdict(copied),
        () = stop.cancelled() => End::Stopping,
        () = tunnel.idle(bounds.idle_timeout) => End::Idle,
    };
    // Nothing more is taken from the gateway; what was taken is delivered, and may be answered.
    tunnel.close(Side::Gateway);
    if matches!(why, End::Idle) {
        // Nobody has said anything for long: nobody is in the middle of it.
        tunnel.close(Side::Target);
    }
    let ended = timeout(LINGER, copy).await;
    (why, matches!(ended, Ok(Ok(_))))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Gateway,
    Target,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Gateway => Self::Target,
            Self::Target => Self::Gateway,
        }
    }
}

/// What both sides of one tunnel share. One task uses it; atomics, because that task moves.
struct Tunnel<'a> {
    open: &'a Open,
    halves: Halves,
    since: Instant,
    /// Milliseconds from `since` to the last byte.
    last: AtomicU64,
    /// From which sides no more is read.
    closed: [AtomicBool; 2],
    /// Which sides have ended well: they may be gone altogether.
    ended: [AtomicBool; 2],
    /// Which side failed first.
    lost: [AtomicBool; 2],
    /// The gateway's TLS ended without `close_notify`.
    cut: AtomicBool,
    /// The gateway had nothing to say when it was last asked, and all it said before is the target's.
    quiet: AtomicBool,
}

impl<'a> Tunnel<'a> {
    fn new(open: &'a Open, halves: Halves) -> Self {
        Self {
            open,
            halves,
            since: Instant::now(),
            last: AtomicU64::new(0),
            closed: Default::default(),
            ended: Default::default(),
            lost: Default::default(),
            cut: AtomicBool::new(false),
            quiet: AtomicBool::new(false),
        }
    }

    fn close(&self, side: Side) {
        self.closed[side as usize].store(true, Ordering::Relaxed);
    }

    fn is_closed(&self, side: Side) -> bool {
        self.closed[side as usize].load(Ordering::Relaxed)
    }

    fn end_well(&self, side: Side) {
        self.ended[side as usize].store(true, Ordering::Relaxed);
    }

    fn has_ended_well(&self, side: Side) -> bool {
        self.ended[side as usize].load(Ordering::Relaxed)
    }

    /// Notes what came of asking the gateway.
    fn heard(&self, read: &Poll<io::Result<()>>) {
        // The runtime makes a task with its budget spent wait, whatever there is to read; it is asked again.
        self.quiet.store(read.is_pending() && has_budget_remaining(), Ordering::Relaxed);
    }

    fn count(&self, from: Side, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        match from {
            Side::Gateway => self.open.add_to_target(bytes),
            Side::Target => self.open.add_to_gateway(bytes),
        }
        let last = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(last, Ordering::Relaxed);
    }

    fn lose(&self, side: Side) {
        if !self.lost.iter().any(|lost| lost.load(Ordering::Relaxed)) {
            self.lost[side as usize].store(true, Ordering::Relaxed);
        }
    }

    /// Resolves when neither side has sent a byte for `limit`.
    async fn idle(&self, limit: Duration) {
        loop {
            let last = self.last.load(Ordering::Relaxed);
            sleep_until(self.since + Duration::from_millis(last) + limit).await;
            if self.last.load(Ordering::Relaxed) == last {
                return;
            }
        }
    }

    fn verdict(&self, copied: io::Result<()>) -> (End, bool) {
        let Err(error) = copied else { return (End::Closed, true) };
        let target = self.lost[Side::Target as usize].load(Ordering::Relaxed);
        let end = match error.kind() {
            _ if self.cut.load(Ordering::Relaxed) => End::GatewayCut,
            io::ErrorKind::TimedOut if target => End::TargetNotReading,
            io::ErrorKind::TimedOut => End::GatewayNotReading,
            _ if target => End::TargetLost(error),
            _ => End::GatewayLost(error),
        };
        (end, false)
    }
}

/// What a gateway whose halves end together was told of the end.
#[derive(Clone, Copy)]
enum Goodbye {
    Unsaid,
    /// Begun: it is neither heard nor gone until that is done.
    OnItsWay,
    Said,
    /// It failed: how the gateway ended is told by reading.
    Unheard,
}

/// One side of a tunnel: what is read from it is counted, what is written to it has a deadline.
struct Tapped<'a, IO> {
    io: WriteDeadline<IO>,
    side: Side,
    /// It takes no more: whoever closes a socket ends both ways.
    gone: bool,
    goodbye: Goodbye,
    tunnel: &'a Tunnel<'a>,
}

impl<'a, IO> Tapped<'a, IO> {
    fn new(io: IO, side: Side, tunnel: &'a Tunnel<'a>, bounds: Bounds) -> Self {
        Self {
            io: WriteDeadline::new(io, bounds.write_timeout),
            side,
            gone: false,
            goodbye: Goodbye::Unsaid,
            tunnel,
        }
    }

    /// Keeps in mind whose fault an error is. What is for a side that has left is dropped, as `dropped`
    /// bytes, and no more is asked for; what that side said itself is delivered all the same.
    fn noting<T>(&mut self, done: Poll<io::Result<T>>, dropped: T) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(Err(error)) if self.may_have_left(&error) => {
                self.gone = true;
                self.tunnel.close(self.side.other());
                Poll::Ready(Ok(dropped))
            }
            Poll::Ready(Err(error)) => {
                self.tunnel.lose(self.side);
                Poll::Ready(Err(error))
            }
            other => other,
        }
    }

    /// Whether it may have ended well before it left. A gateway's `close_notify` may still wait to be
    /// read, and tells it from a broken connection; a target's FIN does not.
    fn may_have_left(&self, error: &io::Error) -> bool {
        let is_told_by_reading = self.side == Side::Gateway || self.tunnel.has_ended_well(self.side);
        self.gone || is_told_by_reading && error.kind() != io::ErrorKind::TimedOut
    }
}

/// A gateway whose halves end together: nothing it says is heard once it has been told the end.
impl<IO: AsyncWrite + Unpin> Tapped<'_, IO> {
    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.goodbye, Goodbye::Unsaid) {
            // First, because it may take long, and the gateway is heard meanwhile.
            ready!(Pin::new(&mut *self).poll_flush(cx))?;
            if self.is_to_be_heard_first() {
                return Poll::Pending;
            }
        }
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.goodbye = match &shut {
            Poll::Pending => Goodbye::OnItsWay,
            Poll::Ready(Ok(())) if !self.gone => Goodbye::Said,
            Poll::Ready(_) => Goodbye::Unheard,
        };
        if shut.is_ready() {
            // The gateway was read before this, and no socket tells that it is to be read again.
            cx.waker().wake_by_ref();
        }
        self.noting(shut, ())
    }

    /// Whether to wait until it has nothing to say, or, if it takes no more, until it tells how it ended.
    /// Whatever ends the wait wakes the task: its own bytes, or the target that takes them.
    fn is_to_be_heard_first(&self) -> bool {
        if self.tunnel.is_closed(self.side) || self.tunnel.has_ended_well(self.side) {
            return false;
        }
        self.gone || !self.tunnel.quiet.load(Ordering::Relaxed)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Tapped<'_, IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.tunnel.is_closed(this.side) {
            return Poll::Ready(Ok(()));
        }
        match this.goodbye {
            Goodbye::Unsaid | Goodbye::Unheard => {}
            Goodbye::OnItsWay => return Poll::Pending,
            Goodbye::Said => {
                this.tunnel.end_well(this.side);
                return Poll::Ready(Ok(()));
            }
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        if this.side == Side::Gateway {
            this.tunnel.heard(&read);
        }
        match ready!(read) {
            // What came before is delivered first; the other side's shutdown then tells.
            Err(error) if this.side == Side::Gateway && error.kind() == io::ErrorKind::UnexpectedEof => {
                this.tunnel.cut.store(true, Ordering::Relaxed);
                this.tunnel.close(this.side);
            }
            Err(error) => {
                this.tunnel.lose(this.side);
                return Poll::Ready(Err(error));
            }
            Ok(()) if buf.filled().len() > before => {
                this.tunnel.count(this.side, buf.filled().len() - before);
            }
            Ok(()) => this.tunnel.end_well(this.side),
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Tapped<'_, IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.noting(written, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.noting(written, bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.noting(flushed, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.side == Side::Target && self.tunnel.cut.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.side == Side::Gateway && self.tunnel.halves == Halves::Together {
            return self.poll_goodbye(cx);
        }
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.noting(shut, ())
    }
}
