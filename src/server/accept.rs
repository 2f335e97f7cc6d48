//! The accept loop: the permit first, then the connection, the handshake in its own task.

use super::connection::{Door, House};
use crate::net::accept::{AcceptError, PAUSE};
use crate::net::socket::Socket;
use crate::ops::events;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// Accepts on one listener until the house stops. At the connection limit it waits, and
/// the kernel's queue is the waiting room. No accept error ends it.
///
/// A loop that waits for a peer holds no permit, or idle ports would take places from busy
/// ones; should the last place go while it accepts, its one peer waits for the next.
pub(super) async fn run(listener: TcpListener, door: Arc<Door>, house: Arc<House>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = house.stopping() => return,
            accepted = accept(&listener, &house) => accepted,
        };
        match accepted {
            Some(Ok((tcp, peer, permit))) => House::receive(&house, &door, Socket::Tcp(tcp), peer, permit),
            Some(Err(error)) => {
                let kind = AcceptError::of(&error);
                events::accept_failed(&house.metrics, door.port, kind, &error);
                if kind != AcceptError::PeerGone {
                    sleep(PAUSE).await;
                }
            }
            None => return,
        }
    }
}

type Accepted = (tokio::net::TcpStream, std::net::SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// `None` once the house is closed.
async fn accept(listener: &TcpListener, house: &House) -> Option<std::io::Result<Accepted>> {
    drop(house.permit().await?);
    match listener.accept().await {
        Ok((tcp, peer)) => Some(Ok((tcp, peer, house.permit().await?))),
        Err(error) => Some(Err(error)),
    }
}
