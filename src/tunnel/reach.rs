//! From an allowed target to a connection: within this process if it is ours, else over TCP, every
//! address in turn.

use super::allowed::{self, Allowed, Entry};
use super::denied::Denied;
use crate::net::authority::Authority;
use crate::net::socket::Socket;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

/// For one address, so that one that is silent does not hide the next.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(4);

/// For all of them, and for their name's look-up: gateways wait a little longer than this.
const TARGET_TIMEOUT: Duration = Duration::from_secs(12);

/// What the process around the room knows and lends.
pub trait Surroundings: Send + Sync {
    /// Enters the listener of this process that a connection to `address` would reach, as a
    /// connection of `gateway`.
    fn enter(&self, address: SocketAddr, gateway: SocketAddr) -> Entered;

    /// One of the places of `[limits] max_connections`, for a connection that leaves the process.
    fn place(&self) -> Option<OwnedSemaphorePermit>;
}

/// What is found at an address.
#[derive(Debug)]
pub enum Entered {
    /// None of our listeners.
    NotOurs,
    /// One of ours, and this is a connection to it.
    Here(DuplexStream),
    /// One of ours that no tunnel leads to; the text continues "the target …".
    Closed(&'static str),
    /// One of ours, but there are as many connections as there may be.
    Full,
}

/// The far side of a tunnel.
#[derive(Debug)]
pub(super) struct Far {
    pub(super) socket: Socket,
    _place: Option<OwnedSemaphorePermit>,
}

impl Far {
    /// Until this is called, dropping a connection that left the process resets it: the target must
    /// not take a tunnel that was cut for one that ended.
    pub(super) fn ended_well(&self) {
        if let Socket::Tcp(tcp) = &self.socket {
            linger(tcp, None);
        }
    }
}

/// Connects to an allowed target for the gateway at `gateway`.
pub(super) async fn reach(
    allowed: &Allowed,
    entry: &Entry,
    around: &dyn Surroundings,
    gateway: SocketAddr,
) -> Result<Far, Denied> {
    let deadline = Instant::now() + TARGET_TIMEOUT;
    // One look-up at a time: behind name servers that are silent, others may wait for theirs in vain.
    let silent = |_| Denied::Unresolved(entry.target.clone(), allowed::silent());
    let addresses = timeout_at(deadline, allowed.addresses(entry)).await.map_err(silent)??;
    // The one that answered last goes first, and the rest keeps its order.
    let first = entry.good.load(Ordering::Relaxed).min(addresses.len());
    let order = std::iter::once(first).chain((0..addresses.len()).filter(|at| *at != first));
    let mut failed = None;
    for (at, address) in order.filter_map(|at| Some((at, *addresses.get(at)?))) {
        match attempt(&entry.target, address, around, gateway, deadline).await {
            Ok(far) => {
                entry.good.store(at, Ordering::Relaxed);
                return Ok(far);
            }
            Err(denied @ (Denied::Unreachable(..) | Denied::Silent(_))) => failed = Some(denied),
            Err(denied) => return Err(denied),
        }
    }
    let none = || Denied::Unreachable(entry.target.clone(), io::ErrorKind::NotFound.into());
    Err(failed.unwrap_or_else(none))
}

async fn attempt(
    target: &Authority,
    address: SocketAddr,
    around: &dyn Surroundings,
    gateway: SocketAddr,
    deadline: Instant,
) -> Result<Far, Denied> {
    match around.enter(address, gateway) {
        Entered::NotOurs => {}
        Entered::Here(pipe) => return Ok(Far { socket: Socket::Inside(pipe), _place: None }),
        Entered::Closed(why) => return Err(Denied::Closed(target.clone(), why)),
        Entered::Full => return Err(Denied::Full),
    }
    let place = around.place().ok_or(Denied::Full)?;
    let until = deadline.min(Instant::now() + ADDRESS_TIMEOUT);
    match timeout_at(until, TcpStream::connect(address)).await {
        Err(_) => Err(Denied::Silent(target.clone())),
        Ok(Err(error)) => Err(Denied::Unreachable(target.clone(), error)),
        Ok(Ok(tcp)) => {
            linger(&tcp, Some(Duration::ZERO));
            let socket = Socket::Tcp(tcp);
            if let Err(error) = socket.set_nodelay() {
                log::debug!("{target}: TCP_NODELAY: {error}");
            }
            Ok(Far { socket, _place: Some(place) })
        }
    }
}

fn linger(tcp: &TcpStream, time: Option<Duration>) {
    if let Err(error) = SockRef::from(tcp).set_linger(time) {
        log::debug!("SO_LINGER: {error}");
    }
}
