//! A connection from a balancer: its PROXY header is read off, what follows it is kept.

use super::proxy::{self, Fault, Header, Versions};
use super::replay::Replay;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A v1 header and most v2 headers fit, often with a ClientHello behind them; a longer one lets the
/// buffer grow to at most twice [`proxy::MAX_V2`].
const FIRST_READ: usize = 1024;

/// Why there is no header; the text continues "the proxy …".
#[derive(Debug, thiserror::Error)]
pub enum NoHeader {
    /// Closed or reset without having sent a byte: a health check.
    #[error("closed the connection without sending anything")]
    Silent,
    /// Closed within the header.
    #[error("closed the connection within its PROXY header")]
    Closed,
    /// What came is no header that is wanted.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The socket failed.
    #[error("was lost: {0}")]
    Io(#[source] io::Error),
}

/// Reads the header that `io` must begin with; the stream returned yields what follows it. The
/// deadline is the caller's: wrap this in a timeout.
///
/// # Errors
/// [`NoHeader`] says what came instead.
pub async fn read_header<IO>(mut io: IO, versions: Versions) -> Result<(Header, Replay<IO>), NoHeader>
where
    IO: AsyncRead + Unpin,
{
    let mut bytes = Vec::with_capacity(FIRST_READ);
    loop {
        match io.read_buf(&mut bytes).await {
            Ok(0) if bytes.is_empty() => return Err(NoHeader::Silent),
            Ok(0) => return Err(NoHeader::Closed),
            Ok(_) => {}
            Err(error) if bytes.is_empty() && error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(NoHeader::Silent);
            }
            Err(error) => return Err(NoHeader::Io(error)),
        }
        if let Some((header, length)) = proxy::read(&bytes, versions)? {
            bytes.drain(..length);
            return Ok((header, Replay::new(bytes, io)));
        }
    }
}
