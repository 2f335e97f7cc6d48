//! One connection: a request, an answer, and then the tunnel.

use super::denied::{Denied, MAX_HEAD};
use super::head::{self, Connect};
use super::reach::{Far, reach};
use super::relay::{self, Halves};
use super::{End, TunnelService};
use crate::device::Refused;
use crate::net::authority::Authority;
use crate::net::replay::Replay;
use crate::ops::tunnels::Open;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// From TLS to a whole request: gateways send it at once.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a gateway that is denied may take to read why before the socket is closed under it.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes of a denied gateway that are read and dropped meanwhile, so that it comes to reading.
const MAX_FAREWELL: usize = 4 * 1024 * 1024;

const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Whose connection it is; judged already.
#[derive(Clone, Copy, Debug)]
pub struct Gateway<'a> {
    /// Its device id.
    pub device: &'a str,
    /// Where it comes from, as m0v's own ports are to see it.
    pub address: SocketAddr,
    /// Whether its TLS can end one way alone.
    pub halves: Halves,
}

/// What came of a connection.
#[derive(Debug)]
pub struct Outcome {
    /// What it asked for, as far as that was understood.
    pub target: Option<Authority>,
    /// The tunnel and its bytes; it counts as open until this is dropped.
    pub open: Option<Open>,
    /// Its end.
    pub end: End,
}

/// Serves a connection of `gateway` to its end, at the latest when `revoked` is cancelled.
pub async fn serve<S>(
    stream: S,
    gateway: Gateway<'_>,
    service: &TunnelService,
    stop: &CancellationToken,
    revoked: &CancellationToken,
) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut outcome = Outcome { target: None, open: None, end: End::Revoked };
    let end = tokio::select! {
        biased;
        () = revoked.cancelled() => return outcome,
        end = converse(stream, gateway, service, stop, &mut outcome) => end,
    };
    outcome.end = end;
    outcome
}

/// Tells a gateway whose certificate is not accepted why, once it has asked for anything.
pub async fn refuse<S>(
    mut stream: S,
    why: Refused,
    service: &TunnelService,
    stop: &CancellationToken,
) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = match ask(&mut stream, service, stop).await {
        Ok(_) | Err(End::Denied(_)) => deny(stream, Denied::Certificate(why), service).await,
        Err(end) => leave(stream, end).await,
    };
    Outcome { target: None, open: None, end }
}

async fn converse<S>(
    mut stream: S,
    gateway: Gateway<'_>,
    service: &TunnelService,
    stop: &CancellationToken,
    outcome: &mut Outcome,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // From here on it counts: a gateway that asks for nothing takes its device's places all the same.
    let Some(open) = service.metrics.tunnels.open(gateway.device, service.max_per_device) else {
        return deny(stream, Denied::TooMany(service.max_per_device), service).await;
    };
    let open = outcome.open.insert(open);
    let (target, early) = match ask(&mut stream, service, stop).await {
        Ok(asked) => asked,
        Err(End::Denied(denied)) => return deny(stream, denied, service).await,
        Err(end) => return leave(stream, end).await,
    };
    let target = outcome.target.insert(target);
    let far = tokio::select! {
        far = establish(target, gateway, service) => far,
        () = stop.cancelled() => Err(Denied::Stopping),
    };
    let mut far = match far {
        Ok(far) => far,
        Err(denied) => return deny(stream, denied, service).await,
    };
    if let Err(end) = answer(&mut stream, ESTABLISHED, service).await {
        return end;
    }
    let near = Replay::new(early, stream);
    let (end, well) = relay::run(near, &mut far.socket, open, (service.bounds, gateway.halves), stop).await;
    if well {
        far.ended_well();
    }
    end
}

/// Reads a request in time: its target, and what came behind it.
async fn ask<S>(
    stream: &mut S,
    service: &TunnelService,
    stop: &CancellationToken,
) -> Result<(Authority, Vec<u8>), End>
where
    S: AsyncRead + Unpin,
{
    let mut received = Vec::new();
    let patience = HEAD_TIMEOUT.min(service.bounds.idle_timeout);
    let asked = tokio::select! {
        asked = timeout(patience, read_head(stream, &mut received)) => asked,
        () = stop.cancelled() => return Err(End::Denied(Denied::Stopping)),
    };
    match asked {
        Ok(Ok(Some(Connect { target, length }))) => Ok((target, received.split_off(length))),
        Ok(Ok(None)) => Err(End::NoRequest),
        Ok(Err(denied)) => Err(End::Denied(denied)),
        Err(_) if received.is_empty() => Err(End::NoRequest),
        Err(_) => Err(End::Denied(Denied::Slow(patience))),
    }
}

/// `None` when the gateway ends before its request does.
async fn read_head<S>(stream: &mut S, received: &mut Vec<u8>) -> Result<Option<Connect>, Denied>
where
    S: AsyncRead + Unpin,
{
    loop {
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(length) => received.extend(chunk.iter().take(length)),
        }
        if let Some(connect) = head::parse(received)? {
            return Ok(Some(connect));
        }
        debug_assert!(received.len() < MAX_HEAD, "an endless head is refused");
    }
}

async fn establish(target: &Authority, gateway: Gateway<'_>, service: &TunnelService) -> Result<Far, Denied> {
    let TunnelService { allowed, around, .. } = service;
    let entry = allowed.find(target).ok_or_else(|| Denied::NotAllowed(target.clone()))?;
    reach(allowed, entry, &**around, gateway.address).await
}

async fn answer<S>(stream: &mut S, bytes: &[u8], service: &TunnelService) -> Result<(), End>
where
    S: AsyncWrite + Unpin,
{
    let sent = timeout(service.bounds.write_timeout, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    match sent.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(End::GatewayLost(error)),
        Err(_) => Err(End::GatewayNotReading),
    }
}

/// Says why and closes. Closing on unread bytes would reset the connection, and may destroy the
/// answer on its way, so some are read and dropped first.
async fn deny<S>(mut stream: S, denied: Denied, service: &TunnelService) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if answer(&mut stream, &denied.answer(), service).await.is_ok() {
        // However this ends, more cannot be done.
        let _ended = timeout(LINGER, farewell(&mut stream)).await;
    }
    End::Denied(denied)
}

/// Closes on a gateway that wants nothing.
async fn leave<S>(mut stream: S, end: End) -> End
where
    S: AsyncWrite + Unpin,
{
    // It may be gone.
    let _ended = timeout(LINGER, stream.shutdown()).await;
    end
}

async fn farewell<S>(stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.shutdown().await?;
    let mut left = MAX_FAREWELL;
    while left > 0 {
        match stream.read(&mut [0; 1024]).await? {
            0 => break,
            length => left = left.saturating_sub(length),
        }
    }
    Ok(())
}
