//! The sections that listen: `[meter]`, `[confirm]`, `[api]`, `[admin]`, `[tunnel]`.

use super::{
    defaults,
    ipnet::IpNet,
    keys::Keys,
    secret::Secret,
    single::{each, header_name, header_value, host_port, optional, reply, seconds},
    words::{ClientCert, ProxyProtocol, UnknownId},
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// `[meter]`: where devices send readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Addresses to listen on; none turns the port off.
    pub listen: Vec<SocketAddr>,
    /// What is said once a packet is stored: printable ASCII, at most 100 bytes, never starts with `!OK`.
    pub reply: String,
    /// What to do with an id nobody knows.
    pub unknown_id: UnknownId,
    /// Whether devices show a certificate.
    pub client_cert: ClientCert,
    /// Off only behind something else that ends TLS.
    pub tls: bool,
    /// Whether a header in front names the true peer.
    pub proxy_protocol: ProxyProtocol,
    /// Who may send that header.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[confirm]`: where devices confirm that they were provisioned, and apps ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// Addresses to listen on; none turns the port off.
    pub listen: Vec<SocketAddr>,
    /// What is said once a confirmation is stored; limits as [`Meter::reply`].
    pub reply: String,
    /// How long a confirmation can be asked for, in whole seconds; zero means always.
    pub visible: Duration,
    /// Whether devices show a certificate.
    pub client_cert: ClientCert,
    /// Off only behind something else that ends TLS.
    pub tls: bool,
    /// Whether a header in front names the true peer.
    pub proxy_protocol: ProxyProtocol,
    /// Who may send that header.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[api]`: HTTPS for the app, the back office and brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Addresses to listen on; none turns the port off.
    pub listen: Vec<SocketAddr>,
    /// Name of the header that carries the API key.
    pub key_name: String,
    /// The API key; unset, no key is accepted.
    pub key_value: Option<Secret>,
    /// Asked for by `POST /register`; unset there (and no token made), registration is open.
    pub onboarding_token: Option<Secret>,
    /// Asked for by `/mqtt/*`; unset, those routes are not there.
    pub broker_token: Option<Secret>,
    /// Folder of the CA that issues device certificates; unset, one is made at first use.
    pub issuer_ca: Option<PathBuf>,
    /// Whether clients show a certificate.
    pub client_cert: ClientCert,
    /// Off only behind something else that ends TLS.
    pub tls: bool,
    /// Whether a header in front names the true peer.
    pub proxy_protocol: ProxyProtocol,
    /// Who may send that header, and `client_cert_header`.
    pub trusted_proxies: Vec<IpNet>,
    /// Name of the HTTP header in which a trusted proxy hands on the client's certificate.
    pub client_cert_header: Option<String>,
}

/// `[admin]`: health and metrics in plain HTTP for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Addresses to listen on; none turns the port off.
    pub listen: Vec<SocketAddr>,
}

/// `[tunnel]`: the mutual-TLS CONNECT proxy for site gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Addresses to listen on; none (the default) turns it off.
    pub listen: Vec<SocketAddr>,
    /// The `host:port` a gateway may be connected to.
    pub allow: Vec<String>,
}

/// What the ports that devices and apps reach have in common, borrowed from their sections.
#[derive(Clone, Copy, Debug)]
pub struct Port<'a> {
    /// Name of the section.
    pub section: &'static str,
    /// Addresses to listen on.
    pub listen: &'a [SocketAddr],
    /// Whether clients show a certificate.
    pub client_cert: ClientCert,
    /// Whether m0v ends TLS itself.
    pub tls: bool,
    /// Whether a header in front names the true peer.
    pub proxy_protocol: ProxyProtocol,
    /// Who may send that header.
    pub trusted_proxies: &'a [IpNet],
}

/// Seconds: a century, far from where sums of times overflow.
const LONGEST_VISIBLE: u64 = 100 * 366 * 24 * 60 * 60;

impl Meter {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self { listen, reply: words, unknown_id, client_cert, tls, proxy_protocol, trusted_proxies } =
            self;
        keys.key("listen", listen);
        keys.checked("reply", words, reply);
        keys.key("unknown_id", unknown_id);
        keys.key("client_cert", client_cert);
        keys.key("tls", tls);
        keys.key("proxy_protocol", proxy_protocol);
        keys.key("trusted_proxies", trusted_proxies);
    }
}

impl Confirm {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self { listen, reply: words, visible, client_cert, tls, proxy_protocol, trusted_proxies } = self;
        keys.key("listen", listen);
        keys.checked("reply", words, reply);
        keys.checked("visible", visible, seconds(0..=LONGEST_VISIBLE));
        keys.key("client_cert", client_cert);
        keys.key("tls", tls);
        keys.key("proxy_protocol", proxy_protocol);
        keys.key("trusted_proxies", trusted_proxies);
    }
}

impl Api {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self {
            listen,
            key_name,
            key_value,
            onboarding_token,
            broker_token,
            issuer_ca,
            client_cert,
            tls,
            proxy_protocol,
            trusted_proxies,
            client_cert_header,
        } = self;
        keys.key("listen", listen);
        keys.checked("key_name", key_name, header_name);
        keys.checked("key_value", key_value, optional(header_value));
        keys.key("onboarding_token", onboarding_token);
        keys.checked("broker_token", broker_token, optional(header_value));
        keys.key("issuer_ca", issuer_ca);
        keys.key("client_cert", client_cert);
        keys.key("tls", tls);
        keys.key("proxy_protocol", proxy_protocol);
        keys.key("trusted_proxies", trusted_proxies);
        keys.checked("client_cert_header", client_cert_header, optional(header_name));
    }
}

impl Admin {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self { listen } = self;
        keys.key("listen", listen);
    }
}

impl Tunnel {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self { listen, allow } = self;
        keys.key("listen", listen);
        keys.checked("allow", allow, each(host_port));
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            listen: defaults::everywhere(defaults::METER_PORT),
            reply: defaults::METER_REPLY.to_owned(),
            unknown_id: UnknownId::Reject,
            client_cert: ClientCert::Off,
            tls: true,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for Confirm {
    fn default() -> Self {
        Self {
            listen: defaults::everywhere(defaults::CONFIRM_PORT),
            reply: defaults::CONFIRM_REPLY.to_owned(),
            visible: defaults::CONFIRM_VISIBLE,
            client_cert: ClientCert::Off,
            tls: true,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: defaults::everywhere(defaults::API_PORT),
            key_name: defaults::API_KEY_NAME.to_owned(),
            key_value: None,
            onboarding_token: None,
            broker_token: None,
            issuer_ca: None,
            client_cert: ClientCert::Optional,
            tls: true,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: Vec::new(),
            client_cert_header: None,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: defaults::loopback(defaults::ADMIN_PORT) }
    }
}

impl Default for Tunnel {
    fn default() -> Self {
        Self { listen: Vec::new(), allow: defaults::TUNNEL_ALLOW.map(str::to_owned).to_vec() }
    }
}
