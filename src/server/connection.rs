//! One connection's life: admitted, PROXY header, TLS, its room, its end.

use super::front::Front;
use super::handshakes::Handshakes;
use crate::api::{self, ApiService, Word};
use crate::config::Config;
use crate::confirm::{ConfirmRoom, ConfirmService};
use crate::device::{Identity, Refused, Registry};
use crate::meter::{MeterRoom, MeterService};
use crate::net::admission::{PerIp, Place};
use crate::net::proxied;
use crate::net::proxy::{ClientTls, Header, Source, Versions};
use crate::net::replay::Replay;
use crate::net::socket::Socket;
use crate::ops::connection::Connection;
use crate::ops::events;
use crate::ops::metrics::Metrics;
use crate::protocol::reply;
use crate::session::{self, Bounds, Ends, Room};
use crate::tls::{Acceptor, Peer, Session, Stack, Stream};
use crate::tunnel::{self, TunnelService};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{DuplexStream, duplex};
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
    pub(super) front: Front,
    pub(super) acceptor: Acceptor,
    /// For proxies that end TLS and begin it anew: it asks for no certificate, because the one that
    /// counts is their client's. None where it would be the same.
    pub(super) acceptor_of_proxies: Option<Acceptor>,
    /// Judges client certificates; none where none are asked for.
    pub(super) registry: Option<Arc<Registry>>,
    /// Who shows no certificate is not served.
    pub(super) needs_certificate: bool,
    pub(super) service: Service,
}

impl Door {
    /// Whether requests of a connection with this word bring their certificates in a header.
    fn is_introduced(&self, word: Word) -> bool {
        matches!(&self.service, Service::Api(service) if service.is_introduced(word))
    }
}

/// What came of the certificate that a connection showed, if it showed one.
type Shown = Option<Result<Arc<Identity>, Refused>>;

/// Who talks to the peer once TLS is up.
#[derive(Clone)]
pub(super) enum Service {
    Meter(Arc<MeterService>),
    Confirm(Arc<ConfirmService>),
    Api(Arc<ApiService>),
    Tunnel(Arc<TunnelService>),
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

/// Bytes under way each way between a tunnel and a port of ours. They are held while it is open, and
/// hold a burst of readings.
const PIPE: usize = 4 * 1024;

/// Gives back its connection's places in the limits when dropped.
struct Admitted {
    _permit: OwnedSemaphorePermit,
    /// With PROXY headers only the header tells whose place it is; a connection from within has that of its
    /// tunnel. A trusted proxy has as many as there are.
    _place: Option<Place>,
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
        let versions = door.front.header();
        if let Some(reason) = door.front.turns_away(peer.ip()) {
            return events::turned_away(&house.metrics, door.port, peer, reason);
        }
        let place = match versions {
            Some(_) => None,
            None if door.front.trusts(peer.ip()) => None,
            None => match house.per_ip.admit(peer.ip()) {
                None => return events::turned_away(&house.metrics, door.port, peer, TOO_MANY),
                place => place,
            },
        };
        Self::admit(house, door, (socket, versions), peer, Admitted { _permit: permit, _place: place });
    }

    /// The near end of a connection of `gateway`, which comes through its tunnel: nobody else's word
    /// counts in it, no PROXY header's and no address's. `None` at the limit.
    pub(super) fn receive_inside(
        house: &Arc<Self>,
        door: &Arc<Door>,
        gateway: SocketAddr,
    ) -> Option<DuplexStream> {
        let admitted = Admitted { _permit: house.free_permit()?, _place: None };
        let (near, far) = duplex(PIPE);
        Self::admit(house, door, (Socket::Inside(far), None), gateway, admitted);
        Some(near)
    }

    /// Room for one more connection, if there is some now.
    pub(super) fn free_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    fn admit(
        house: &Arc<Self>,
        door: &Arc<Door>,
        (socket, versions): (Socket, Option<Versions>),
        peer: SocketAddr,
        admitted: Admitted,
    ) {
        let number = house.numbers.fetch_add(1, Ordering::Relaxed);
        let mut connection = Connection::accepted(&house.metrics, door.port, number, peer);
        let (house, door) = (Arc::clone(house), Arc::clone(door));
        let tracker = house.connections.clone();
        tracker.spawn(async move {
            let abort = house.abort.clone();
            tokio::select! {
                () = attend(&house, &door, socket, versions, &mut connection) => {}
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

/// The reason of [`events::turned_away`] at `max_connections_per_ip`.
const TOO_MANY: &str = "too many from one address";

/// What every connection goes through: the header, if one is wanted, then TLS and the room.
async fn attend(
    house: &House,
    door: &Arc<Door>,
    socket: Socket,
    versions: Option<Versions>,
    connection: &mut Connection,
) {
    let deadline = Instant::now() + house.handshake_timeout;
    // Replies are small and awaited; Nagle against delayed ACK costs 40 ms each.
    if let Err(error) = socket.set_nodelay() {
        log::debug!("{} {}: TCP_NODELAY: {error}", connection.port, connection.peer);
    }
    let (arrival, _place) = match versions {
        None => {
            let inside = socket.is_inside();
            let word = if inside { Word::default() } else { door.front.word_of(connection.peer.ip()) };
            (Arrival { io: Replay::new(Vec::new(), socket), word, client: None }, None)
        }
        Some(versions) => {
            let read = read_header(house, socket, versions, deadline, connection).await;
            let Some((header, io)) = read else { return };
            connection.announced(&header);
            let Ok(place) = place_of(house, door, header.source) else { return };
            let word = door.front.word_behind(&header);
            (Arrival { io, word, client: door.front.client_behind(header) }, place)
        }
    };
    serve(house, door, arrival, deadline, connection).await;
}

/// A connection, and what is known of it before TLS.
struct Arrival {
    io: Replay<Socket>,
    word: Word,
    /// The client's TLS, if the proxy ended it and tells.
    client: Option<Box<ClientTls>>,
}

/// The place of whom a header names. A proxy has as many as there are: its clients without an address
/// share them.
fn place_of(house: &House, door: &Door, source: Source) -> Result<Option<Place>, TurnedAway> {
    let Source::Client(client) = source else { return Ok(None) };
    if door.front.trusts_named(client.ip()) {
        return Ok(None);
    }
    let place = house.per_ip.admit(client.ip());
    if place.is_none() {
        events::turned_away(&house.metrics, door.port, client, TOO_MANY);
        return Err(TurnedAway);
    }
    Ok(place)
}

/// It has been told.
struct TurnedAway;

/// `None` once the connection's end has been told.
async fn read_header(
    house: &House,
    socket: Socket,
    versions: Versions,
    deadline: Instant,
    connection: &Connection,
) -> Option<(Header, Replay<Socket>)> {
    let read = tokio::select! {
        biased;
        read = timeout_at(deadline, proxied::read_header(socket, versions)) => read,
        () = house.too_late_for_a_handshake() => return None,
    };
    match read {
        Ok(Ok(read)) => return Some(read),
        Ok(Err(why)) => connection.sent_no_header(&why),
        Err(_) => connection.header_timed_out(house.handshake_timeout),
    }
    None
}

async fn serve(
    house: &House,
    door: &Arc<Door>,
    Arrival { io, word, client }: Arrival,
    deadline: Instant,
    connection: &Connection,
) {
    let is_of_proxy = client.is_some() || door.is_introduced(word);
    let shaken = shake_hands(house, door, io, is_of_proxy, deadline, connection).await;
    let Some((mut stream, mut session)) = shaken else { return };
    connection.established(&session);
    // On the heap and dropped: a presented chain is kilobytes.
    let presented = match client {
        // What the proxy itself showed is not its client's.
        Some(client) => presented_to_the_proxy(*client),
        None => Ok(session.peer.take()),
    };
    let shown = match door.is_introduced(word) {
        true => None,
        false => Box::pin(judge(door, presented, deadline, connection)).await,
    };
    let identity = match (&door.service, &shown) {
        (Service::Meter(_) | Service::Confirm(_), Some(Err(refused))) => {
            let line = reply::refuse(refused);
            return Box::pin(session::turn_away(&mut stream, &line, house.bounds)).await;
        }
        (_, Some(Ok(identity))) => Some(Arc::clone(identity)),
        (Service::Api(_) | Service::Tunnel(_), Some(Err(_))) | (_, None) => None,
    };
    match &door.service {
        Service::Meter(service) => {
            let room = MeterRoom::new(Arc::clone(service), connection.peer.ip(), identity.clone());
            talk(house, stream, room, identity.as_deref(), connection, &session).await;
        }
        Service::Confirm(service) => {
            let room = ConfirmRoom::new(Arc::clone(service), connection.peer.ip(), identity.clone());
            talk(house, stream, room, identity.as_deref(), connection, &session).await;
        }
        Service::Api(service) => {
            let (ip, port) = (connection.peer.ip(), Some(connection.peer.port()));
            let (connection_number, via) = (connection.number, connection.via());
            let peer = api::Peer { ip, port, via, connection: connection_number, certificate: shown, word };
            let Bounds { idle_timeout, write_timeout, .. } = house.bounds;
            let bounds = api::Bounds { idle_timeout, write_timeout };
            let tasks = api::Tasks { tracker: house.connections.clone(), abort: house.abort.clone() };
            // On the heap: a device's connection must not be as large as this one.
            let (end, tally) = Box::pin(api::serve(stream, peer, service, bounds, tasks)).await;
            connection.ended(&session, tally, &end);
        }
        Service::Tunnel(service) => {
            let outcome = match shown.unwrap_or(Err(Refused::Missing)) {
                Ok(identity) => {
                    let (device, address) = (identity.device_id(), connection.peer);
                    let gateway = tunnel::Gateway { device, address, halves: halves(&session) };
                    let revoked = identity.revocation();
                    Box::pin(tunnel::serve(stream, gateway, service, &house.stop, revoked)).await
                }
                Err(refused) => Box::pin(tunnel::refuse(stream, refused, service, &house.stop)).await,
            };
            connection.tunnelled(&session, identity.as_deref().map(Identity::device_id), &outcome);
        }
    }
}

/// `None` once the connection's end has been told. A proxy that ended its client's TLS shows no
/// certificate for it.
async fn shake_hands(
    house: &House,
    door: &Arc<Door>,
    io: Replay<Socket>,
    is_of_proxy: bool,
    deadline: Instant,
    connection: &Connection,
) -> Option<(Stream<Replay<Socket>>, Session)> {
    let at = Arc::clone(door);
    let handshake = house.handshakes.run(async move {
        let mut offer = None;
        let of_proxies = at.acceptor_of_proxies.as_ref().filter(|_| is_of_proxy);
        let acceptor = of_proxies.unwrap_or(&at.acceptor);
        let shaken = timeout_at(deadline, acceptor.accept_noting(io, &mut offer)).await;
        (shaken, offer)
    });
    let (shaken, offer) = tokio::select! {
        biased;
        shaken = handshake => match shaken {
            Some(shaken) => shaken,
            None => {
                events::handshake_died(connection.port);
                return None;
            }
        },
        () = house.too_late_for_a_handshake() => return None,
    };
    match shaken {
        Ok(Ok(shaken)) => return Some(shaken),
        Ok(Err(failure)) => connection.refused(&failure, offer.as_ref()),
        Err(_) => connection.handshake_timed_out(house.handshake_timeout, offer.as_ref()),
    }
    None
}

/// What came of a certificate before anybody judged whose it is: none, one, or what is called so here and
/// why it is none.
type Presented = Result<Option<Box<Peer>>, (String, Refused)>;

/// Characters of a common name (RFC 5280).
const MAX_CN: usize = 64;

/// s2n-tls ends both ways at once, as TLS 1.2 has it; rustls does more.
fn halves(session: &Session) -> tunnel::Halves {
    match session.stack {
        Stack::Compat => tunnel::Halves::Together,
        Stack::Modern | Stack::Plain => tunnel::Halves::Apart,
    }
}

/// The certificate that a proxy which ended TLS hands on in its PROXY header.
fn presented_to_the_proxy(client: ClientTls) -> Presented {
    match client.certificate {
        Some(der) => {
            let peer = Peer::from_chain(vec![der.into_vec().into()]).expect("one certificate is a chain");
            match peer.examine() {
                Ok(()) => Ok(Some(Box::new(peer))),
                Err(_) => Err((peer.certificate_id, Refused::BadForm)),
            }
        }
        // A name is no certificate: neither its dates nor who signed it can be judged.
        None if client.presented => {
            let name: String = client.common_name.iter().flat_map(|name| name.chars()).take(MAX_CN).collect();
            let found = if client.verified { "good" } else { "not good" };
            Err((format!("of CN {name:?}, which the balancer found {found}"), Refused::NotHandedOn))
        }
        None => Ok(None),
    }
}

/// Judges what a connection showed before a byte of it is read; here alone, whatever brought it.
async fn judge(door: &Door, presented: Presented, deadline: Instant, connection: &Connection) -> Shown {
    let registry = door.registry.as_ref()?;
    let (certificate_id, judged) = match presented {
        Err((called, refused)) => (called, Err(refused)),
        Ok(Some(peer)) => {
            let admitted = timeout_at(deadline, registry.admit(&peer, connection.peer.ip())).await;
            (peer.certificate_id, admitted.unwrap_or(Err(Refused::Busy)))
        }
        Ok(None) if door.needs_certificate => ("(none)".to_owned(), Err(Refused::Missing)),
        Ok(None) => return None,
    };
    if let Err(refused) = &judged {
        connection.certificate_refused(&certificate_id, refused);
    }
    Some(judged)
}

async fn talk<R: Room>(
    house: &House,
    mut stream: Stream<Replay<Socket>>,
    mut room: R,
    identity: Option<&Identity>,
    connection: &Connection,
    session: &Session,
) {
    let ends = Ends { stop: &house.stop, revoked: identity.map(Identity::revocation) };
    let end = session::run(&mut stream, &mut room, house.bounds, ends).await;
    connection.ended(session, room.tally(), &end);
}
