//! Answers that are held: a query waits for a confirmation, and the peer is listened to
//! meanwhile, so that one who goes away leaves nobody waiting.

use super::{Arrived, Bounds, End, Ends, Room, read, write};
use crate::protocol::line::LineBuffer;
use std::future::pending;
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// Answers held lines, and those that can be settled behind them, until none is held. What
/// was answered before is sent first; the last answers are left in `out`. Returns what
/// arrived from the peer meanwhile.
pub(super) async fn settle<S, R>(
    stream: &mut S,
    room: &mut R,
    lines: &mut LineBuffer,
    out: &mut Vec<u8>,
    bounds: Bounds,
    ends: Ends<'_>,
) -> Result<Option<Arrived>, End>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    R: Room,
{
    let hurry = ends.stop.child_token();
    let before = lines.len();
    let mut end = None;
    while room.is_held() {
        if !out.is_empty() {
            write(stream, out, bounds.write_timeout).await?;
            out.clear();
        }
        {
            let mut held = pin!(room.settle_held(out, &hurry));
            tokio::select! {
                biased;
                () = &mut held => {}
                arrived = watch(stream, lines, bounds.max_line), if end.is_none() && !hurry.is_cancelled() => {
                    // Who closes its side waits for nothing more: what is there now is the answer.
                    end = Some(arrived);
                    hurry.cancel();
                    held.await;
                }
                // What there is now is the answer; then the session ends.
                () = ends.revoked(), if !hurry.is_cancelled() => {
                    hurry.cancel();
                    held.await;
                }
            }
        }
        room.settle(out).await;
    }
    let more = lines.len() > before;
    Ok(end.or_else(|| more.then_some(Arrived::Bytes)))
}

/// Reads ahead, one line's worth at most, until the peer goes away. A peer that sends more
/// meanwhile is not read further, and its end is noticed when its answer is written.
async fn watch<S>(stream: &mut S, lines: &mut LineBuffer, most: usize) -> Arrived
where
    S: AsyncRead + Unpin,
{
    while lines.len() <= most {
        match Arrived::of(read::fill(stream, lines).await) {
            Arrived::Bytes => {}
            end => return end,
        }
    }
    pending().await
}
