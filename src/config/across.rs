//! Checks that look at more than one key.

use super::{
    ClientCert, Config, Port, ProxyProtocol,
    fault::{Fault, Key, Place},
    read::Findings,
};
use crate::net::authority::Authority;
use std::{iter, net::SocketAddr};

/// Says every contradiction between keys. One that involves a key that could not be read is not
/// said: it may vanish with that fault.
pub(super) fn check(config: &Config, findings: &Findings) -> Vec<Fault> {
    let mut contradictions = Vec::new();
    for port in config.ports() {
        contradictions.extend(check_port(port));
    }
    contradictions.extend(check_certificate(config));
    contradictions.extend(check_acme(config));
    contradictions.extend(check_secret(config));
    contradictions.extend(check_addresses(config));
    contradictions.extend(check_tunnel(config));
    let readable = |c: &Contradiction| !c.keys().any(|key| findings.bad.contains(&key));
    contradictions.into_iter().filter(readable).map(|c| c.into_fault(findings)).collect()
}

/// Keys that do not go together.
struct Contradiction {
    /// The one to change first.
    key: Key,
    others: Vec<Key>,
    message: String,
}

impl Contradiction {
    fn new(key: Key, others: &[Key], message: impl Into<String>) -> Self {
        Self { key, others: others.to_vec(), message: message.into() }
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        iter::once(self.key).chain(self.others.iter().copied())
    }

    /// Placed at the first of the keys that somebody set.
    fn into_fault(self, findings: &Findings) -> Fault {
        let set = self.keys().find_map(|key| Some((key, findings.places.get(&key)?.clone())));
        let (key, place) = set.unwrap_or((self.key, Place::Default));
        Fault::of(key, place, self.message)
    }
}

/// Two keys of which each is nothing without the other.
fn check_pair(first: (Key, bool), second: (Key, bool)) -> Option<Contradiction> {
    let (there, missing) = match (first.1, second.1) {
        (true, false) => (first.0, second.0),
        (false, true) => (second.0, first.0),
        (true, true) | (false, false) => return None,
    };
    Some(Contradiction::new(there, &[missing], format!("needs {missing} as well")))
}

fn check_port(port: Port<'_>) -> Vec<Contradiction> {
    let key = |name| Key(port.section, name);
    let untrusting = port.trusted_proxies.is_empty();
    let mut found = Vec::new();
    if port.proxy_protocol != ProxyProtocol::Off && untrusting {
        let message = "needs trusted_proxies: anyone else could claim any address";
        found.push(Contradiction::new(key("proxy_protocol"), &[key("trusted_proxies")], message));
    }
    let open = port.listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
    if let (false, true, Some(open)) = (port.tls, untrusting, open) {
        let message = format!("false needs trusted_proxies or loopback addresses, and listen has {open}");
        found.push(Contradiction::new(key("tls"), &[key("listen"), key("trusted_proxies")], message));
    }
    // Behind a proxy the API can take a certificate from a header; the other ports only from PROXY v2.
    let told = matches!(port.proxy_protocol, ProxyProtocol::V2 | ProxyProtocol::Any);
    if !port.tls && !told && port.client_cert != ClientCert::Off && port.section != "api" {
        let message =
            "needs tls = true, or proxy_protocol = \"v2\" from a balancer that hands the certificate on";
        found.push(Contradiction::new(key("client_cert"), &[key("tls"), key("proxy_protocol")], message));
    }
    found
}

fn check_certificate(config: &Config) -> Vec<Contradiction> {
    let (chain, key) = (Key("tls", "chain"), Key("tls", "key"));
    let tls = &config.tls;
    let mut found = Vec::new();
    found.extend(check_pair((chain, tls.chain.is_some()), (key, tls.key.is_some())));
    if tls.chain.is_some() && !config.acme.domains.is_empty() {
        let message = "excludes [acme] domains: a certificate comes from files or from a CA";
        found.push(Contradiction::new(chain, &[Key("acme", "domains")], message));
    }
    let header = Key("api", "client_cert_header");
    if config.api.client_cert_header.is_some() && config.api.trusted_proxies.is_empty() {
        let message = "needs trusted_proxies: anyone else could claim any certificate";
        found.push(Contradiction::new(header, &[Key("api", "trusted_proxies")], message));
    }
    found
}

fn check_acme(config: &Config) -> Vec<Contradiction> {
    let acme = &config.acme;
    let (kid, key) = (Key("acme", "eab_kid"), Key("acme", "eab_key"));
    let mut found = Vec::new();
    found.extend(check_pair((kid, acme.eab_kid.is_some()), (key, acme.eab_key.is_some())));
    let listens = [("listen_tls_alpn", &acme.listen_tls_alpn), ("listen_http", &acme.listen_http)];
    for (name, listen) in listens {
        if acme.domains.is_empty() && !listen.is_empty() {
            let message = "needs domains: without them there is nothing to prove";
            found.push(Contradiction::new(Key("acme", name), &[Key("acme", "domains")], message));
        }
    }
    if !acme.domains.is_empty() && listens.iter().all(|(_, listen)| listen.is_empty()) {
        let message = "needs listen_http (port 80) or listen_tls_alpn (port 443): the CA asks there whether the \
                       names are ours";
        let listens = [Key("acme", "listen_http"), Key("acme", "listen_tls_alpn")];
        found.push(Contradiction::new(Key("acme", "domains"), &listens, message));
    }
    found
}

/// One secret, from one place.
fn check_secret(config: &Config) -> Option<Contradiction> {
    let (secret, file) = (Key("database", "secret"), Key("database", "secret_file"));
    let both = config.database.secret.is_some() && config.database.secret_file.is_some();
    both.then(|| Contradiction::new(secret, &[file], "excludes secret_file: give the secret in one place"))
}

/// One address cannot be listened on twice; port 0 is another one each time.
fn check_addresses(config: &Config) -> Vec<Contradiction> {
    let listens: [(Key, &[SocketAddr]); 7] = [
        (Key("meter", "listen"), &config.meter.listen),
        (Key("confirm", "listen"), &config.confirm.listen),
        (Key("api", "listen"), &config.api.listen),
        (Key("admin", "listen"), &config.admin.listen),
        (Key("tunnel", "listen"), &config.tunnel.listen),
        (Key("acme", "listen_tls_alpn"), &config.acme.listen_tls_alpn),
        (Key("acme", "listen_http"), &config.acme.listen_http),
    ];
    let mut seen: Vec<(Key, SocketAddr)> = Vec::new();
    let mut found = Vec::new();
    for (key, listen) in listens {
        for address in listen.iter().filter(|address| address.port() != 0) {
            if let Some((other, _)) = seen.iter().find(|(_, taken)| taken == address) {
                let message = format!("{address} is listened on twice, by {other} and {key}");
                found.push(Contradiction::new(key, &[*other], message));
            }
            seen.push((key, *address));
        }
    }
    found
}

/// A gateway has no business at the port that asks nobody who they are, nor in a tunnel in a tunnel.
fn check_tunnel(config: &Config) -> Vec<Contradiction> {
    let tunnel = &config.tunnel;
    if tunnel.listen.is_empty() {
        return Vec::new();
    }
    let allowed = tunnel.allow.iter().filter_map(|target| Authority::parse(target)?.literal());
    let own: [(Key, &[SocketAddr], &str); 2] = [
        (Key("admin", "listen"), &config.admin.listen, "the admin port, which has no password"),
        (Key("tunnel", "listen"), &tunnel.listen, "the tunnel itself"),
    ];
    let mut found = Vec::new();
    for target in allowed {
        for (key, listen, what) in own {
            if listen.iter().any(|address| takes(*address, target)) {
                let message = format!("{target} is {what}: no tunnel leads there");
                found.push(Contradiction::new(Key("tunnel", "allow"), &[key], message));
            }
        }
    }
    found
}

/// Whether listening on `address` surely takes connections to `target`.
fn takes(address: SocketAddr, target: SocketAddr) -> bool {
    let (own, ip) = (address.ip().to_canonical(), target.ip().to_canonical());
    let here = own.is_unspecified() && own.is_ipv4() == ip.is_ipv4() && ip.is_loopback();
    address.port() == target.port() && (own == ip || here)
}
