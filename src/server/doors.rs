//! From configuration to open doors: sockets, certificates, the rooms behind them.

use super::ServeError;
use super::connection::{Door, Service};
use super::front::Front;
use super::tunnel;
use crate::api::{
    ApiService, CertificateHeader, Certificates, Ground, Introduction, KeyHeader, TelemetrySink,
};
use crate::config::{self, ClientCert, Config, Port, Secret, UnknownId};
use crate::confirm::{ConfirmService, Lookup, TURNS};
use crate::device::issue::Issuing;
use crate::device::{Brokers, Onboarding, Passwords, Registry};
use crate::meter::{Batcher, Creation, Known, Lanes, MeterService, Spool};
use crate::net::listen::{self, BindError};
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::store::{Devices, Store, Ticket};
use crate::tls::{self, Acceptor, AcceptorOptions, ClientAuth, Keys, PeerCheck};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Writer lanes: on PostgreSQL one commits while the other gathers; the embedded file has one writer.
const POSTGRES_LANES: u16 = 2;
const EMBEDDED_LANES: u16 = 1;

/// What the API port takes in ALPN, the best first. The last is said by tools that were told to speak
/// it (`curl --http1.0`); old devices speak it without a word.
const HTTP: &[&[u8]] = &[b"h2", b"http/1.1", b"http/1.0"];

/// The writer lanes of the configured store.
pub(super) fn lanes(
    config: &Config,
    node: i64,
    spool: Option<(Arc<Spool>, Vec<Ticket>)>,
    health: &Arc<Health>,
    metrics: &Arc<Metrics>,
) -> Lanes {
    Lanes {
        count: if config.database.url.is_some() { POSTGRES_LANES } else { EMBEDDED_LANES },
        node,
        max_rows: config.database.batch_max_rows,
        spool,
        health: Arc::clone(health),
        metrics: Arc::clone(metrics),
    }
}

/// Everything that listens, and its addresses as bound.
pub(super) struct Bound {
    /// Sockets with TLS, by section.
    pub(super) sections: Vec<(&'static str, TcpListener)>,
    pub(super) admin: Vec<TcpListener>,
    pub(super) tunnel: tunnel::Sockets,
    /// What may stand in the Host header of the admin port.
    pub(super) admin_addresses: Vec<IpAddr>,
    /// Where the CA asks.
    pub(super) acme_http: Vec<TcpListener>,
    pub(super) acme_tls_alpn: Vec<TcpListener>,
    addresses: Addresses,
}

/// `listeners.json`.
#[derive(Default, Serialize)]
struct Addresses {
    meter: Vec<SocketAddr>,
    confirm: Vec<SocketAddr>,
    api: Vec<SocketAddr>,
    admin: Vec<SocketAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tunnel: Vec<SocketAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    acme_http: Vec<SocketAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    acme_tls_alpn: Vec<SocketAddr>,
}

/// Binds every section that has its room.
pub(super) fn bind(config: &Config) -> Result<Bound, BindError> {
    let mut addresses = Addresses::default();
    let mut sections = Vec::new();
    for (section, listen, into) in [
        ("meter", &config.meter.listen, &mut addresses.meter),
        ("confirm", &config.confirm.listen, &mut addresses.confirm),
        ("api", &config.api.listen, &mut addresses.api),
    ] {
        sections.extend(
            bind_section((section, "listen"), listen, into)?.into_iter().map(|socket| (section, socket)),
        );
    }
    let admin = bind_section(("admin", "listen"), &config.admin.listen, &mut addresses.admin)?;
    let gateways = bind_section(("tunnel", "listen"), &config.tunnel.listen, &mut addresses.tunnel)?;
    let acme = &config.acme;
    let acme_http = bind_section(("acme", "listen_http"), &acme.listen_http, &mut addresses.acme_http)?;
    let acme_tls_alpn =
        bind_section(("acme", "listen_tls_alpn"), &acme.listen_tls_alpn, &mut addresses.acme_tls_alpn)?;
    let admin_addresses = addresses.admin.iter().map(SocketAddr::ip).collect();
    let tunnel = tunnel::Sockets { listeners: gateways, closed: addresses.closed_to_tunnels() };
    Ok(Bound { sections, admin, tunnel, admin_addresses, acme_http, acme_tls_alpn, addresses })
}

fn bind_section(
    (section, key): (&'static str, &'static str),
    listen: &[SocketAddr],
    bound: &mut Vec<SocketAddr>,
) -> Result<Vec<TcpListener>, BindError> {
    let mut sockets = Vec::new();
    for address in listen {
        match listen::bind_for(section, key, *address) {
            Ok((socket, address)) => {
                log::info!("{section} listens on {address}");
                bound.push(address);
                sockets.push(socket);
            }
            // Nobody asked for IPv6; a machine without it is no fault.
            Err(error) if Config::is_default_listen(listen) && error.is_missing_family() => {
                log::info!("{error}: serving without it");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(sockets)
}

impl Addresses {
    /// The listeners that no tunnel leads to, and why.
    fn closed_to_tunnels(&self) -> Vec<(SocketAddr, &'static str)> {
        let closed = [
            (&self.admin, "is the admin port: no tunnel leads there"),
            (&self.tunnel, "is the tunnel itself"),
            (&self.acme_http, "is for the CA alone"),
            (&self.acme_tls_alpn, "is for the CA alone"),
        ];
        let each = |(addresses, why): (&Vec<SocketAddr>, _)| {
            addresses.iter().map(|address| (*address, why)).collect::<Vec<_>>()
        };
        closed.into_iter().flat_map(each).collect()
    }
}

/// Writes the bound addresses; whoever finds the file can connect.
pub(super) fn write_listeners(path: &Path, bound: &Bound) -> Result<(), ServeError> {
    let failed = |source| ServeError::Write { path: path.to_owned(), source };
    let text = serde_json::to_vec(&bound.addresses).map_err(|error| failed(error.into()))?;
    let unfinished = path.with_extension("json.new");
    std::fs::write(&unfinished, text).map_err(failed)?;
    std::fs::rename(&unfinished, path).map_err(failed)
}

/// Puts an acceptor and a room behind every listening socket.
pub(super) fn open(
    config: &Config,
    rooms: &Rooms,
    keys: &Arc<Keys>,
    listeners: Vec<(&'static str, TcpListener)>,
) -> Result<Vec<(Arc<Door>, TcpListener)>, ServeError> {
    let registry = &rooms.registry;
    let [meter, confirm, api] = config.ports();
    let door = |port: Port<'_>, alpn: &[&[u8]], service| -> Result<Arc<Door>, ServeError> {
        let options = AcceptorOptions {
            tls: port.tls,
            compat: compat(config.tls.compat),
            resumption: config.tls.resumption,
            max_fragment: config.tls.max_fragment.map(usize::from),
            alpn: alpn.iter().map(|protocol| protocol.to_vec()).collect(),
            client_auth: client_auth(port.client_cert),
            peer_check: Some(Arc::clone(registry) as Arc<dyn PeerCheck>),
        };
        // Whose word on certificates counts shows none of his own.
        let has_proxies = port.tls && port.client_cert != ClientCert::Off && !port.trusted_proxies.is_empty();
        let of_proxies =
            AcceptorOptions { client_auth: ClientAuth::Off, peer_check: None, ..options.clone() };
        let of_proxies = has_proxies.then(|| Acceptor::new(Arc::clone(keys), of_proxies)).transpose()?;
        let acceptor = Acceptor::new(Arc::clone(keys), options)?;
        Ok(Arc::new(Door {
            port: port.section,
            front: Front::of(port),
            acceptor,
            acceptor_of_proxies: of_proxies,
            registry: (port.client_cert != ClientCert::Off).then(|| Arc::clone(registry)),
            needs_certificate: port.client_cert == ClientCert::Required,
            service,
        }))
    };
    let meter = door(meter, &[], Service::Meter(Arc::clone(&rooms.meter)))?;
    let confirm = door(confirm, &[], Service::Confirm(Arc::clone(&rooms.confirm)))?;
    let api = door(api, HTTP, Service::Api(Arc::clone(&rooms.api)))?;
    let doors = listeners.into_iter().map(|(section, listener)| {
        let door = match section {
            "meter" => &meter,
            "confirm" => &confirm,
            _ => &api,
        };
        (Arc::clone(door), listener)
    });
    Ok(doors.collect())
}

pub(super) fn compat(compat: config::Compat) -> tls::Compat {
    match compat {
        config::Compat::Strict => tls::Compat::Strict,
        config::Compat::Cc3220 => tls::Compat::Cc3220,
        config::Compat::Cbc => tls::Compat::Cbc,
        config::Compat::RsaKx => tls::Compat::RsaKx,
    }
}

fn client_auth(client_cert: ClientCert) -> ClientAuth {
    match client_cert {
        ClientCert::Off => ClientAuth::Off,
        ClientCert::Optional => ClientAuth::Optional,
        ClientCert::Required => ClientAuth::Required,
    }
}

/// What the API port believes of its proxies' headers.
fn introduction(config: &Config, registry: &Arc<Registry>) -> Introduction {
    let client_cert = config.api.client_cert;
    let certificates = config.api.client_cert_header.as_ref().map(|name| Certificates {
        header: CertificateHeader::new(name).expect("the configuration checks that it is a header's name"),
        registry: (client_cert != ClientCert::Off).then(|| Arc::clone(registry)),
        required: client_cert == ClientCert::Required,
    });
    Introduction::new(certificates, config.limits.max_connections_per_ip)
}

/// Has every door forget its sessions when the set of CAs changes, until `stop`.
pub(super) async fn forget_sessions(doors: Vec<Arc<Door>>, registry: Arc<Registry>, stop: CancellationToken) {
    let mut changed = registry.cas_changed();
    drop(registry);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changed.changed() => if changed.is_err() { return },
        }
        for door in &doors {
            // Those of proxies bring no certificates.
            if let Err(error) = door.acceptor.forget_sessions() {
                events::sessions_stay(door.port, &error);
            }
        }
    }
}

/// What serves each port.
pub(super) struct Rooms {
    registry: Arc<Registry>,
    meter: Arc<MeterService>,
    confirm: Arc<ConfirmService>,
    api: Arc<ApiService>,
}

/// What the rooms have in common.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) known: &'a Arc<Known>,
    pub(super) registry: &'a Arc<Registry>,
    pub(super) lanes: &'a Lanes,
}

impl Rooms {
    pub(super) fn build(
        config: &Config,
        shared: Shared<'_>,
        telemetry: TelemetrySink,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<Self, ServeError> {
        let Shared { store, known, registry, lanes } = shared;
        let Lanes { health, metrics, .. } = lanes;
        let meter = MeterService {
            store: Arc::clone(store),
            batcher: Batcher::start(&**store, lanes, tasks),
            known: Arc::clone(known),
            spool: lanes.spool.as_ref().map(|(spool, _)| Arc::clone(spool)),
            registry: (config.meter.client_cert != ClientCert::Off).then(|| Arc::clone(registry)),
            creation: match config.meter.unknown_id {
                UnknownId::Reject => Creation::Reject,
                UnknownId::Create => Creation::create(),
            },
            thanks: config.meter.reply.clone(),
            health: Arc::clone(health),
            metrics: Arc::clone(metrics),
        };
        let lookup = Arc::new(Lookup::new(
            Arc::clone(store),
            config.confirm.visible,
            Arc::clone(health),
            Arc::clone(metrics),
        ));
        let confirm = ConfirmService {
            store: Arc::clone(store),
            registry: Arc::clone(registry),
            lookup: Arc::clone(&lookup),
            reply: config.confirm.reply.clone(),
            turns: Semaphore::new(TURNS),
            health: Arc::clone(health),
            metrics: Arc::clone(metrics),
        };
        let key_value = config.api.key_value.as_ref().map(Secret::expose_secret);
        let passwords = Arc::new(Passwords::start().map_err(ServeError::Passwords)?);
        let token = config.api.onboarding_token.as_ref().map(Secret::expose_secret);
        let brokers = config.api.broker_token.as_ref().map(|token| {
            let brokers = Brokers::new(Arc::clone(store), Arc::clone(&passwords));
            (Arc::new(brokers), token.expose_secret().to_owned())
        });
        let api = ApiService::new(Ground {
            lookup,
            onboarding: Arc::new(Onboarding::new(Arc::clone(store), passwords, token)),
            brokers,
            store: Arc::clone(store),
            registry: Arc::clone(registry),
            issuing: Arc::new(Issuing::new(
                Arc::clone(store) as Arc<dyn Devices>,
                &config.data_dir,
                config.api.issuer_ca.clone(),
            )),
            telemetry,
            key: KeyHeader::new(&config.api.key_name, key_value)
                .expect("the configuration checks that key_name is a header's name"),
            introduction: introduction(config, registry),
            health: Arc::clone(health),
            metrics: Arc::clone(metrics),
            stop: stop.clone(),
        });
        Ok(Self {
            registry: Arc::clone(registry),
            meter: Arc::new(meter),
            confirm: Arc::new(confirm),
            api: Arc::new(api),
        })
    }
}
