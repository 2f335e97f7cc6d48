//! Every key of `m0v.toml`, its default and its check (DESIGN §2.7).
//!
//! [`Config`] has one field per section and a section one field per key, by the same names.
//! [`Config::load`] is `keys` (the list of keys) visited by `read`, then `across`; every value is
//! read by `value` and judged by `single`. All faults of one run are reported together.

mod acme;
mod across;
mod defaults;
mod env;
mod fault;
mod ipnet;
mod keys;
mod load;
mod ports;
mod print;
mod read;
mod rooms;
mod secret;
mod single;
mod suggest;
mod syntax;
#[cfg(test)]
mod tests;
mod value;
mod warnings;
mod words;

pub use acme::Acme;
pub use env::Environment;
pub use fault::{Fault, Faults};
pub use ipnet::{IpNet, IpNetError};
pub use load::Loaded;
pub use ports::{Admin, Api, Confirm, Meter, Port, Tunnel};
pub use rooms::{Database, Limits, Log, Spool, Tls};
pub use secret::Secret;
pub use words::{ClientCert, Compat, LogFormat, ProxyProtocol, UnknownId};

use std::{net::SocketAddr, path::PathBuf};

/// The whole configuration, checked. Paths are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where m0v keeps what it makes itself.
    pub data_dir: PathBuf,
    /// Where devices send readings.
    pub meter: Meter,
    /// Where devices confirm, and apps ask.
    pub confirm: Confirm,
    /// HTTPS for the app, the back office and brokers.
    pub api: Api,
    /// Health and metrics.
    pub admin: Admin,
    /// The CONNECT proxy for site gateways.
    pub tunnel: Tunnel,
    /// The server's certificate, and how old a client may be.
    pub tls: Tls,
    /// Certificates from an ACME directory.
    pub acme: Acme,
    /// Where readings are kept.
    pub database: Database,
    /// Where packets wait while PostgreSQL is away.
    pub spool: Spool,
    /// What one peer, and all peers, may use.
    pub limits: Limits,
    /// How much is said, and where.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(defaults::DATA_DIR),
            meter: Meter::default(),
            confirm: Confirm::default(),
            api: Api::default(),
            admin: Admin::default(),
            tunnel: Tunnel::default(),
            tls: Tls::default(),
            acme: Acme::default(),
            database: Database::default(),
            spool: Spool::default(),
            limits: Limits::default(),
            log: Log::default(),
        }
    }
}

impl Config {
    /// Shortest `[database] secret`, in bytes: as long as the key that is derived from it.
    pub const SECRET_MIN_BYTES: usize = 32;

    /// The spool's folder: `[spool] dir`, else `<data_dir>/spool`.
    #[must_use]
    pub fn spool_dir(&self) -> PathBuf {
        self.spool.dir.clone().unwrap_or_else(|| self.data_dir.join("spool"))
    }

    /// What the three ports that devices and apps reach have in common.
    #[must_use]
    pub fn ports(&self) -> [Port<'_>; 3] {
        macro_rules! port {
            ($section:ident) => {
                Port {
                    section: stringify!($section),
                    listen: &self.$section.listen,
                    client_cert: self.$section.client_cert,
                    tls: self.$section.tls,
                    proxy_protocol: self.$section.proxy_protocol,
                    trusted_proxies: &self.$section.trusted_proxies,
                }
            };
        }
        [port!(meter), port!(confirm), port!(api)]
    }

    /// Whether `listen` (of a section of this config) is the default: then an address of a family
    /// this machine does not have is no fault, since nobody asked for it.
    #[must_use]
    pub fn is_default_listen(listen: &[SocketAddr]) -> bool {
        [defaults::METER_PORT, defaults::CONFIRM_PORT, defaults::API_PORT]
            .iter()
            .any(|port| listen == defaults::everywhere(*port))
    }
}
