//! Passes bytes on between two streams, each way to its own end. Holds no memory for a tunnel in which
//! nothing is under way: most are idle most of the time.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes taken from one side at a time, and the most that is held for the other while it does not read.
const CHUNK: usize = 8 * 1024;

/// Passes everything on, and the end of each way by itself; returns when both have ended, or with the
/// first error of either side.
pub(super) async fn both<A, B>(a: &mut A, b: &mut B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut there, mut back) = (Way::default(), Way::default());
    poll_fn(|cx| {
        let there = there.poll(cx, a, b)?;
        let back = back.poll(cx, b, a)?;
        ready!(there);
        ready!(back);
        Poll::Ready(Ok(()))
    })
    .await
}

/// One direction.
#[derive(Default)]
struct Way {
    /// Read and not yet taken by the other side, from `taken` on; never more than `CHUNK`.
    held: Vec<u8>,
    taken: usize,
    /// Something was written, and may wait in the other side's own buffer.
    unflushed: bool,
    progress: Progress,
}

#[derive(Clone, Copy, Default)]
enum Progress {
    #[default]
    Open,
    /// One side has ended; the other has yet to be told.
    Ending,
    Ended,
}

impl Way {
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.deliver(cx, to))?;
            match self.progress {
                Progress::Open => {}
                Progress::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.progress = Progress::Ended;
                }
                Progress::Ended => return Poll::Ready(Ok(())),
            }
            if matches!(self.progress, Progress::Open) {
                ready!(self.take(cx, from, to))?;
            }
        }
    }

    /// Writes what is held.
    fn deliver<W>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while let Some(left) = self.held.get(self.taken..).filter(|left| !left.is_empty()) {
            self.taken += ready!(write(cx, to, left))?;
            self.unflushed = true;
        }
        self.held = Vec::new();
        self.taken = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads a chunk through the stack, and holds what the other side does not take at once.
    fn take<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut chunk = [MaybeUninit::uninit(); CHUNK];
        let mut read = ReadBuf::uninit(&mut chunk);
        let Poll::Ready(taken) = Pin::new(from).poll_read(cx, &mut read) else {
            if !self.unflushed {
                return Poll::Pending;
            }
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
            // Read again: the flush may have found that nobody takes any more, and nobody would wake us for that.
            return Poll::Ready(Ok(()));
        };
        taken?;
        let bytes = read.filled();
        if bytes.is_empty() {
            self.progress = Progress::Ending;
            return Poll::Ready(Ok(()));
        }
        let written = match write(cx, to, bytes)? {
            Poll::Ready(written) => written,
            Poll::Pending => 0,
        };
        self.unflushed |= written > 0;
        self.held.extend(bytes.iter().skip(written));
        Poll::Ready(Ok(()))
    }
}

/// Writes some of `bytes`, which are not empty.
fn write<W>(cx: &mut Context<'_>, to: &mut W, bytes: &[u8]) -> Poll<io::Result<usize>>
where
    W: AsyncWrite + Unpin,
{
    match ready!(Pin::new(to).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => Poll::Ready(Ok(written)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    const PIPE: usize = 1000;

    /// Both far ends of a tunnel, and the tunnel.
    fn open() -> (DuplexStream, DuplexStream, JoinHandle<io::Result<()>>) {
        let ((near, mut a), (mut b, far)) = (duplex(PIPE), duplex(PIPE));
        (near, far, tokio::spawn(async move { both(&mut a, &mut b).await }))
    }

    #[tokio::test]
    async fn brings_every_byte_both_ways_at_once_and_both_ends() {
        let (near, far, tunnel) = open();
        let talk = |end: DuplexStream, seed: u32| {
            let (mut read, mut write) = tokio::io::split(end);
            let said: Vec<u8> = (0..300_000_u32).flat_map(|at| (at * seed).to_le_bytes()).collect();
            let sent = said.clone();
            let speaker = tokio::spawn(async move {
                write.write_all(&sent).await.unwrap();
                write.shutdown().await.unwrap();
            });
            let listener = tokio::spawn(async move {
                let mut heard = Vec::new();
                read.read_to_end(&mut heard).await.unwrap();
                heard
            });
            (said, speaker, listener)
        };
        let (a_said, a_spoke, a_heard) = talk(near, 3);
        let (b_said, b_spoke, b_heard) = talk(far, 7);
        a_spoke.await.unwrap();
        b_spoke.await.unwrap();
        assert!(a_heard.await.unwrap() == b_said && b_heard.await.unwrap() == a_said);
        tunnel.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn takes_no_more_from_one_side_than_a_chunk_beyond_what_the_other_reads() {
        let (mut near, mut far, _tunnel) = open();
        let mut taken = 0;
        while let Ok(written) = timeout(Duration::from_secs(1), near.write(&[1; 100])).await {
            taken += written.unwrap();
        }
        assert!((2 * PIPE..=2 * PIPE + CHUNK).contains(&taken), "{taken}");
        // Stalled one way, it goes on the other, and what was taken is not lost.
        far.write_all(b"back").await.unwrap();
        near.read_exact(&mut [0; 4]).await.unwrap();
        near.shutdown().await.unwrap();
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard.len(), taken);
    }

    #[tokio::test]
    async fn holds_nothing_once_it_is_delivered() {
        let ((mut near, mut a), (mut b, mut far)) = (duplex(PIPE), duplex(4 * CHUNK));
        let mut way = Way::default();
        near.write_all(&[1; PIPE]).await.unwrap();
        let passed = poll_fn(|cx| Poll::Ready(way.poll(cx, &mut a, &mut b))).await;
        assert!(passed.is_pending() && way.held.capacity() == 0);
        far.read_exact(&mut [0; PIPE]).await.unwrap();
    }
}
