//! Can every port be bound, or is it our own running server's?

use super::Finding;
use crate::config::Config;
use crate::net::listen;
use crate::server;
use std::net::SocketAddr;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let ours = server::running_listeners(&config.data_dir);
    let sections = [
        ("meter", "listen", &config.meter.listen),
        ("confirm", "listen", &config.confirm.listen),
        ("api", "listen", &config.api.listen),
        ("admin", "listen", &config.admin.listen),
        ("tunnel", "listen", &config.tunnel.listen),
        ("acme", "listen_http", &config.acme.listen_http),
        ("acme", "listen_tls_alpn", &config.acme.listen_tls_alpn),
    ];
    let mut findings = Vec::new();
    for (section, key, listen) in sections {
        for address in listen {
            findings.push(port((section, key), *address, listen, &ours));
        }
    }
    findings
}

fn port(
    (section, key): (&'static str, &'static str),
    address: SocketAddr,
    listen: &[SocketAddr],
    ours: &[SocketAddr],
) -> Finding {
    if ours.contains(&address) {
        return Finding::ok("ports", format!("[{section}] {address} is held by the running server"));
    }
    match listen::bind_for(section, key, address) {
        Ok(_) => Finding::ok("ports", format!("[{section}] {address} is free")),
        Err(error) if Config::is_default_listen(listen) && error.is_missing_family() => {
            Finding::ok("ports", format!("[{section}] {address}: this machine has no IPv6, served without"))
        }
        Err(error) => Finding::fault("ports", error.to_string()),
    }
}
