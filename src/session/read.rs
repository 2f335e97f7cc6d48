//! Reading without a buffer of the connection's own: an idle connection holds none.

use crate::protocol::line::LineBuffer;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::ready;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes taken from the stack at a time: a pipelined burst of some 90 packets.
const READ_BYTES: usize = 8 * 1024;

/// Appends what arrived to `lines`; 0 at end of stream. The bytes pass through a buffer on
/// the stack that lives only within one poll.
pub(super) async fn fill<S>(stream: &mut S, lines: &mut LineBuffer) -> io::Result<usize>
where
    S: AsyncRead + Unpin,
{
    poll_fn(|cx| {
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
        lines.extend(read.filled());
        Ok(read.filled().len()).into()
    })
    .await
}

/// Reads and drops; 0 at end of stream.
pub(super) async fn discard<S>(stream: &mut S) -> io::Result<usize>
where
    S: AsyncRead + Unpin,
{
    poll_fn(|cx| {
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
        Ok(read.filled().len()).into()
    })
    .await
}
