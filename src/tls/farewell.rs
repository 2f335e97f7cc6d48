//! How a peer that is not served is left: with its alert, and without destroying it on its way.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::failure::Failure;
use super::hello::MAX_RECORDS;

/// How long a refused peer may take to read its alert before the socket is closed under it.
const LINGER: Duration = Duration::from_secs(1);

/// Tells a peer that neither stack has spoken to why it is not served.
pub(super) async fn send_alert<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO, version: u16, alert: u8) {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    let [major, minor] = version.clamp(0x0301, 0x0303).to_be_bytes();
    let record = [ALERT, major, minor, 0, 2, FATAL, alert];
    match timeout(LINGER, io.write_all(&record)).await {
        Ok(Ok(())) => linger(io).await,
        Ok(Err(error)) => log::debug!("the alert did not reach the peer: {error}"),
        Err(_) => {}
    }
}

/// Leaves a peer whose handshake failed in a stack that has said why.
pub(super) async fn part<IO: AsyncRead + AsyncWrite + Unpin>(io: IO, failure: &Failure) {
    if matches!(failure, Failure::Peer(_) | Failure::Handshake { .. }) {
        linger(io).await;
    }
}

/// Ends the sending side, then reads and drops what still comes, for a while: to close on unread bytes
/// would reset the connection, and a reset may overtake what was sent before it.
pub(super) async fn linger<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO) {
    let reading = async {
        io.shutdown().await?;
        let mut sink = [0; 512];
        let mut left = MAX_RECORDS;
        while left > 0 {
            match io.read(&mut sink).await? {
                0 => break,
                len => left = left.saturating_sub(len),
            }
        }
        io::Result::Ok(())
    };
    if let Ok(Err(error)) = timeout(LINGER, reading).await {
        log::debug!("the peer was lost before it had its alert: {error}");
    }
}
