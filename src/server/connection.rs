//! One connection's life: admitted, TLS, its room, its end.

use super::handshakes::Handshakes;
use crate::api::{self, ApiService};
use crate::config::{Config, IpNet};
use crate::confirm::{ConfirmRoom, ConfirmService};
use crate::meter::{MeterRoom, MeterService};
use crate::net::admission::{PerIp, Place};
use crate::net::socket::Socket;
use crate::ops::events::{self, Connection};
use crate::ops::metrics::Metrics;
use crate::session::{self, Bounds, Room};
use crate::tls::{Acceptor, Session, Stream};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a handshake may go on once the server stops: its peer may believe it complete
/// already, and shall be told goodbye like any other.
const HANDSHAKE_GRACE: Duration = Duration::from_millis(500);

/// What stands behind one listening section.
pub(super) struct Door {
    /// `meter`, `confirm`, …
    pub(super) port: &'static str,
    pub(super) acceptor: Acceptor,
    /// Without TLS: who may connect beside this machine itself.
    pub(super) plain_from: Option<Vec<IpNet>>,
    pub(super) service: Service,
}

/// Who talks to the peer once TLS is up.
#[derive(Clone)]
pub(super) enum Service {
    Meter(Arc<MeterService>),
    Confirm(Arc<ConfirmService>),
    Api(Arc<ApiService>),
}

/// What all connections of all ports share: the limits, and the end.
pub(super) struct House {
    pub(super) metrics: Arc<Metrics>,
    permits: Arc<Semaphore>,
    per_ip: Arc<PerIp>,
    bounds: Bounds,
    handshake_timeout: Duration,
    handshakes: Handshakes,
    numbers: AtomicU64,
    connections: TaskTracker,
    stop: CancellationToken,
    abort: CancellationToken,
}

/// Gives back its connection's places in the limits when dropped.
struct Admitted {
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

impl House {
    /// `fitting` connections have a descriptor each; `[limits] max_connections` may be lower.
    pub(super) fn new(
        config: &Config,
        fitting: usize,
        metrics: &Arc<Metrics>,
        stop: CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let limits = &config.limits;
        if fitting < limits.max_connections {
            log::warn!(
                "only {fitting} of [limits] max_connections = {} fit the limit of open files: raise LimitNOFILE \
                 (ulimit -Hn)",
                limits.max_connections
            );
        }
        Ok(Arc::new(Self {
            metrics: Arc::clone(metrics),
            permits: Arc::new(Semaphore::new(
                fitting.min(limits.max_connections).min(Semaphore::MAX_PERMITS),
            )),
            per_ip: PerIp::new(limits.max_connections_per_ip),
            bounds: Bounds {
                max_line: limits.max_line,
                idle_timeout: limits.idle_timeout,
                write_timeout: limits.write_timeout,
            },
            handshake_timeout: limits.handshake_timeout,
            handshakes: Handshakes::new()?,
            numbers: AtomicU64::new(1),
            connections: TaskTracker::new(),
            stop,
            abort: CancellationToken::new(),
        }))
    }

    pub(super) async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Resolves when the server stops and a handshake under way has had its chance.
    async fn too_late_for_a_handshake(&self) {
        self.stop.cancelled().await;
        sleep(HANDSHAKE_GRACE).await;
    }

    /// Waits for room for one more connection; `None` once the house is closed.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Admits a connection and serves it in a task of its own.
    pub(super) fn receive(
        house: &Arc<Self>,
        door: &Arc<Door>,
        socket: Socket,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        if !door.plain_from.as_ref().is_none_or(|trusted| is_trusted(trusted, peer.ip())) {
            events::turned_away(&house.metrics, door.port, "plain text from an untrusted address");
            return;
        }
        let Some(place) = house.per_ip.admit(peer.ip()) else {
            events::turned_away(&house.metrics, door.port, "too many from one address");
            return;
        };
        let admitted = Admitted { _permit: permit, _place: place };
        let number = house.numbers.fetch_add(1, Ordering::Relaxed);
        let connection = Connection::accepted(&house.metrics, door.port, number, peer);
        let (house, door) = (Arc::clone(house), Arc::clone(door));
        let tracker = house.connections.clone();
        tracker.spawn(async move {
            let abort = house.abort.clone();
            tokio::select! {
                () = serve(&house, &door, socket, &connection) => {}
                () = abort.cancelled() => connection.aborted(),
            }
            drop(admitted);
        });
    }

    /// Waits until every connection has answered what it read, `grace` at most, then ends the rest.
    pub(super) async fn drain(&self, grace: Duration) {
        self.permits.close();
        self.connections.close();
        if timeout(grace, self.connections.wait()).await.is_err() {
            log::warn!("{} connections did not end in {} s", self.connections.len(), grace.as_secs());
            self.abort.cancel();
            self.connections.wait().await;
        }
    }
}

fn is_trusted(trusted: &[IpNet], peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback() || trusted.iter().any(|net| net.contains(peer))
}

async fn serve(house: &House, door: &Arc<Door>, socket: Socket, connection: &Connection) {
    let deadline = Instant::now() + house.handshake_timeout;
    // Replies are small and awaited; Nagle against delayed ACK costs 40 ms each.
    if let Err(error) = socket.set_nodelay() {
        log::debug!("{} {}: TCP_NODELAY: {error}", connection.port, connection.peer);
    }
    let at = Arc::clone(door);
    let handshake = house.handshakes.run(async move {
        let mut offer = None;
        let shaken = timeout_at(deadline, at.acceptor.accept_noting(socket, &mut offer)).await;
        (shaken, offer)
    });
    let (shaken, offer) = tokio::select! {
        biased;
        shaken = handshake => match shaken {
            Some(shaken) => shaken,
            None => return events::handshake_died(connection.port),
        },
        () = house.too_late_for_a_handshake() => return,
    };
    let (stream, session) = match shaken {
        Ok(Ok(shaken)) => shaken,
        Ok(Err(failure)) => return connection.refused(&failure, offer.as_ref()),
        Err(_) => return connection.handshake_timed_out(house.handshake_timeout, offer.as_ref()),
    };
    drop(offer);
    connection.established(&session);
    match &door.service {
        Service::Meter(service) => {
            let room = MeterRoom::new(Arc::clone(service), connection.peer.ip());
            talk(house, stream, room, connection, &session).await;
        }
        Service::Confirm(service) => {
            let room = ConfirmRoom::new(Arc::clone(service), connection.peer.ip());
            talk(house, stream, room, connection, &session).await;
        }
        Service::Api(service) => {
            let peer = api::Peer { ip: connection.peer.ip(), certificate: None };
            let Bounds { idle_timeout, write_timeout, .. } = house.bounds;
            let bounds = api::Bounds { idle_timeout, write_timeout };
            let tasks = api::Tasks { tracker: house.connections.clone(), abort: house.abort.clone() };
            // On the heap: a device's connection must not be as large as this one.
            let (end, tally) = Box::pin(api::serve(stream, peer, service, bounds, tasks)).await;
            connection.ended(&session, tally, &end);
        }
    }
}

async fn talk<R: Room>(
    house: &House,
    mut stream: Stream<Socket>,
    mut room: R,
    connection: &Connection,
    session: &Session,
) {
    let end = session::run(&mut stream, &mut room, house.bounds, &house.stop).await;
    connection.ended(session, room.tally(), &end);
}
