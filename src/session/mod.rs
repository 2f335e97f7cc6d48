//! A connection after TLS: lines in, replies out, in order, until an [`End`].
//!
//! Owns framing over time (the 250 ms rule, idle and write deadlines, the close after a
//! line that is too long). Knows nothing of what the lines say: that is the [`Room`]'s.

mod drain;
mod hold;
mod read;

use crate::protocol::line::{Framed, LineBuffer};
use crate::protocol::reply::{self, Refusal};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// Silence after which one complete object without a line end counts as a line (DESIGN §2.2).
pub const OBJECT_SILENCE: Duration = Duration::from_millis(250);

/// What a port does with its lines. Lines are taken as they are read and settled
/// together, so that a pipelined burst shares one commit.
pub trait Room: Send {
    /// Takes one line, without its line end. Must not block.
    fn take(&mut self, line: &[u8]);

    /// Answers every line taken since the last call: one reply line each, in order,
    /// appended to `out` with LF. Ends early, before a line whose answer is held.
    fn settle(&mut self, out: &mut Vec<u8>) -> impl Future<Output = ()> + Send;

    /// Whether the next answer is held: it may be long in coming (a query with `wait`).
    fn is_held(&self) -> bool {
        false
    }

    /// Answers the held line, as [`Room::settle`] does; at once when `hurry` is cancelled,
    /// because the peer is gone or the server stops.
    fn settle_held(
        &mut self,
        _out: &mut Vec<u8>,
        _hurry: &CancellationToken,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// What was answered so far.
    fn tally(&self) -> Tally;
}

/// Lines answered on one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// With what the peer hoped for.
    pub thanked: u64,
    /// With `!OK`.
    pub refused: u64,
}

/// The deadlines and bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest line in bytes, its end not counted.
    pub max_line: usize,
    /// Longest time without a complete line.
    pub idle_timeout: Duration,
    /// Longest time for a reply to leave.
    pub write_timeout: Duration,
}

/// Why a session ended.
#[derive(Debug)]
pub enum End {
    /// The peer closed its side.
    PeerClosed,
    /// The connection broke.
    PeerLost(io::Error),
    /// No complete line within `idle_timeout`.
    Idle,
    /// The peer did not read its replies within `write_timeout`.
    NotReading,
    /// A line over `max_line`.
    LineTooLong,
    /// The server is stopping.
    Stopping,
    /// What the peer was accepted by was revoked.
    Revoked,
}

/// What ends a session from outside.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// The server stops: what was read is answered.
    pub stop: &'a CancellationToken,
    /// What the peer was accepted by, if by anything, is revoked: nothing more is taken.
    pub revoked: Option<&'a CancellationToken>,
}

impl Ends<'_> {
    async fn revoked(&self) {
        match self.revoked {
            Some(revoked) => revoked.cancelled().await,
            None => std::future::pending().await,
        }
    }

    fn is_revoked(&self) -> bool {
        self.revoked.is_some_and(CancellationToken::is_cancelled)
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PeerClosed => f.write_str("closed by peer"),
            Self::PeerLost(error) => write!(f, "lost: {error}"),
            Self::Idle => f.write_str("idle timeout"),
            Self::NotReading => f.write_str("write timeout: the peer does not read"),
            Self::LineTooLong => f.write_str("line too long"),
            Self::Stopping => f.write_str("server stopping"),
            Self::Revoked => f.write_str("certificate revoked"),
        }
    }
}

/// Tells a peer that is not served why, in one line, and closes.
pub async fn turn_away<S>(stream: &mut S, line: &str, bounds: Bounds)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut out = Vec::new();
    reply::push_line(&mut out, line);
    if write(stream, &out, bounds.write_timeout).await.is_ok() {
        drain::close(stream, &End::Stopping, bounds.write_timeout).await;
    }
}

/// Serves one connection to its end and closes it: every line already read is answered first.
pub async fn run<S, R>(stream: &mut S, room: &mut R, bounds: Bounds, ends: Ends<'_>) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    R: Room,
{
    let mut lines = LineBuffer::new(bounds.max_line);
    let end = match exchange(stream, room, &mut lines, bounds, ends).await {
        Ok(end) | Err(end) => end,
    };
    drop(lines);
    drain::close(stream, &end, bounds.write_timeout).await;
    end
}

/// `Err` and `Ok` both end the session; `Err` lets deadlines and I/O leave by `?`.
async fn exchange<S, R>(
    stream: &mut S,
    room: &mut R,
    lines: &mut LineBuffer,
    bounds: Bounds,
    ends: Ends<'_>,
) -> Result<End, End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    R: Room,
{
    let mut idle_since = Instant::now();
    let mut read_ahead = None;
    loop {
        if ends.is_revoked() {
            return Ok(End::Revoked);
        }
        let arrived = match read_ahead.take() {
            Some(arrived) => arrived,
            None => tokio::select! {
                biased;
                () = ends.revoked() => return Ok(End::Revoked),
                arrived = next(stream, lines, idle_since + bounds.idle_timeout) => arrived?,
                () = ends.stop.cancelled() => Arrived::Stop,
            },
        };
        let mut out = Vec::new();
        let too_long = take_lines(room, lines);
        if !matches!(arrived, Arrived::Bytes) && !too_long && !lines.is_empty() {
            take_rest(room, lines, &arrived);
        }
        room.settle(&mut out).await;
        if room.is_held() {
            // On the heap: only who holds answers pays for it.
            read_ahead = Box::pin(hold::settle(stream, room, lines, &mut out, bounds, ends)).await?;
            idle_since = Instant::now();
        }
        if too_long {
            reply::push_line(&mut out, &reply::render(&Refusal::LineTooLong));
        }
        if !out.is_empty() {
            write(stream, &out, bounds.write_timeout).await?;
            idle_since = Instant::now();
        }
        match arrived {
            _ if too_long => return Ok(End::LineTooLong),
            // A peer that never pauses must not outlast the stop.
            Arrived::Bytes | Arrived::Silence if ends.stop.is_cancelled() && read_ahead.is_none() => {
                return Ok(End::Stopping);
            }
            Arrived::Bytes | Arrived::Silence => {}
            Arrived::EndOfStream => return Ok(End::PeerClosed),
            Arrived::Lost(error) => return Ok(End::PeerLost(error)),
            Arrived::Stop => return Ok(End::Stopping),
        }
    }
}

enum Arrived {
    Bytes,
    /// One complete object lies in the buffer and nothing followed for [`OBJECT_SILENCE`].
    Silence,
    EndOfStream,
    Lost(io::Error),
    Stop,
}

impl Arrived {
    fn of(read: io::Result<usize>) -> Self {
        match read {
            Ok(0) => Self::EndOfStream,
            Ok(_) => Self::Bytes,
            // Small devices close the socket and spare themselves the close_notify.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::EndOfStream,
            Err(error) => Self::Lost(error),
        }
    }
}

async fn next<S>(stream: &mut S, lines: &mut LineBuffer, idle_end: Instant) -> Result<Arrived, End>
where
    S: AsyncRead + Unpin,
{
    let one_object = lines.holds_one_object();
    let until = if one_object { idle_end.min(Instant::now() + OBJECT_SILENCE) } else { idle_end };
    match timeout_at(until, read::fill(stream, lines)).await {
        Ok(read) => Ok(Arrived::of(read)),
        Err(_) if one_object => Ok(Arrived::Silence),
        Err(_) => Err(End::Idle),
    }
}

/// Takes every complete line; true when one was too long (nothing after it counts).
fn take_lines<R: Room>(room: &mut R, lines: &mut LineBuffer) -> bool {
    while let Some(framed) = lines.next_line() {
        match framed {
            Framed::Line(line) => room.take(line),
            Framed::TooLong => return true,
        }
    }
    false
}

/// Takes what has no line end: at end of stream whatever it is, so that half an object
/// gets its reason; else only a complete object, because the rest may still be under way.
fn take_rest<R: Room>(room: &mut R, lines: &mut LineBuffer, arrived: &Arrived) {
    if matches!(arrived, Arrived::EndOfStream) || lines.holds_one_object() {
        let rest = lines.take_rest();
        if !rest.is_empty() {
            room.take(&rest);
        }
    }
}

async fn write<S>(stream: &mut S, out: &[u8], deadline: Duration) -> Result<(), End>
where
    S: AsyncWrite + Unpin,
{
    let sent = timeout(deadline, async {
        stream.write_all(out).await?;
        stream.flush().await
    });
    match sent.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(End::PeerLost(error)),
        Err(_) => Err(End::NotReading),
    }
}

#[cfg(test)]
mod tests;
