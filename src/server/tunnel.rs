//! The tunnel's door: whom it takes, what it may lead to, and what of ours it leads to.

use super::ServeError;
use super::connection::{Door, House, Service};
use super::doors::compat;
use super::front::Front;
use super::inside::{Behind, Inside};
use crate::config::Config;
use crate::device::Registry;
use crate::net::authority::Authority;
use crate::ops::events;
use crate::tls::{Acceptor, AcceptorOptions, ClientAuth, Keys, PeerCheck};
use crate::tunnel::{Allowed, Bounds, TunnelService};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the tunnel's port offers in ALPN.
const HTTP: &[u8] = b"http/1.1";

/// What `[tunnel] allow` names.
#[must_use]
pub fn tunnel_targets(config: &Config) -> Vec<Authority> {
    // The configuration was checked by the same reader.
    config.tunnel.allow.iter().filter_map(|target| Authority::parse(target)).collect()
}

/// The sockets of the section.
pub(super) struct Sockets {
    pub(super) listeners: Vec<TcpListener>,
    /// The other listeners of the process that no tunnel leads to, and why.
    pub(super) closed: Vec<(SocketAddr, &'static str)>,
}

/// What the door is made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) keys: &'a Arc<Keys>,
    pub(super) registry: &'a Arc<Registry>,
    pub(super) house: &'a Arc<House>,
}

impl Parts<'_> {
    /// Adds the tunnel's door to `doors`, which are the ports that tunnels may lead to. `None` when it
    /// is off.
    pub(super) fn open(
        self,
        sockets: Sockets,
        doors: &mut Vec<(Arc<Door>, TcpListener)>,
    ) -> Result<Option<Arc<TunnelService>>, ServeError> {
        if sockets.listeners.is_empty() {
            return Ok(None);
        }
        let service = Arc::new(self.service(sockets.closed, doors));
        let door = self.door(Arc::clone(&service))?;
        doors.extend(sockets.listeners.into_iter().map(|listener| (Arc::clone(&door), listener)));
        Ok(Some(service))
    }

    fn service(
        &self,
        closed: Vec<(SocketAddr, &'static str)>,
        doors: &[(Arc<Door>, TcpListener)],
    ) -> TunnelService {
        let open = doors.iter().filter_map(|(door, socket)| Some((socket.local_addr().ok()?, behind(door))));
        let closed = closed.into_iter().map(|(address, why)| (address, Behind::Closed(why)));
        let limits = &self.config.limits;
        TunnelService {
            allowed: Allowed::new(tunnel_targets(self.config)),
            around: Box::new(Inside {
                house: Arc::clone(self.house),
                listeners: open.chain(closed).collect(),
            }),
            max_per_device: limits.max_connections_per_ip,
            bounds: Bounds { idle_timeout: limits.idle_timeout, write_timeout: limits.write_timeout },
            metrics: Arc::clone(&self.house.metrics),
        }
    }

    /// A client certificate is required always, whatever `client_cert` says of the other ports.
    fn door(&self, service: Arc<TunnelService>) -> Result<Arc<Door>, ServeError> {
        let tls = &self.config.tls;
        let options = AcceptorOptions {
            tls: true,
            compat: compat(tls.compat),
            resumption: tls.resumption,
            max_fragment: tls.max_fragment.map(usize::from),
            alpn: vec![HTTP.to_vec()],
            client_auth: ClientAuth::Required,
            peer_check: Some(Arc::clone(self.registry) as Arc<dyn PeerCheck>),
        };
        Ok(Arc::new(Door {
            acceptor_of_proxies: None,
            port: "tunnel",
            front: Front::of_tunnel(),
            acceptor: Acceptor::new(Arc::clone(self.keys), options)?,
            registry: Some(Arc::clone(self.registry)),
            needs_certificate: true,
            service: Service::Tunnel(service),
        }))
    }
}

/// A port without TLS believes its proxies, and the tunnel is none.
fn behind(door: &Arc<Door>) -> Behind {
    match door.front.has_tls() {
        true => Behind::Door(Arc::clone(door)),
        false => Behind::Closed("takes plain text from its proxies alone"),
    }
}

/// Looks the names among the targets up, once and before anybody asks.
pub(super) async fn look_up(service: Arc<TunnelService>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = service.allowed.look_up_all(events::target_looked_up) => {}
    }
}
