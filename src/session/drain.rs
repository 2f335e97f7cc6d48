//! The end of a connection: `close_notify`, and patience where a reset would eat the reply.

use super::{End, read};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long a peer that was told `line too long` may go on sending before the socket is
/// closed on it. Closing at once would answer its bytes with a reset, and a reset makes
/// its TCP throw the reason away unread.
const LINGER: Duration = Duration::from_secs(5);

/// The same for a peer in mid-burst when the server stops or its certificate is revoked: a reset
/// would eat its last thanks.
const STOP_LINGER: Duration = Duration::from_secs(1);

/// The first, in bytes.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// Closes the connection in the way `end` asks for. Failures are of no interest any more:
/// every reply that could be written has been.
pub(super) async fn close<S>(stream: &mut S, end: &End, write_timeout: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if matches!(end, End::PeerLost(_) | End::NotReading) {
        return;
    }
    let closed = timeout(write_timeout.min(LINGER), stream.shutdown()).await;
    let patience = match end {
        End::LineTooLong => LINGER,
        End::Stopping | End::Revoked => STOP_LINGER,
        End::PeerClosed | End::PeerLost(_) | End::Idle | End::NotReading => return,
    };
    if matches!(closed, Ok(Ok(()))) {
        let _elapsed = timeout(patience, linger(stream)).await;
    }
}

async fn linger<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut left = LINGER_BYTES;
    while let Ok(read @ 1..) = read::discard(stream).await {
        left = left.saturating_sub(read);
        if left == 0 {
            return;
        }
    }
}
