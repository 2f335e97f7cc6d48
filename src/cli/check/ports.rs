//! Can every port be bound, or is it our own running server's?

use super::Finding;
use crate::config::Config;
use crate::net::listen;
use crate::server;
use std::net::SocketAddr;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let ours = server::running_listeners(&config.data_dir);
    let sections = [
        ("meter", &config.meter.listen),
        ("confirm", &config.confirm.listen),
        ("api", &config.api.listen),
        ("admin", &config.admin.listen),
    ];
    let mut findings = Vec::new();
    for (section, listen) in sections {
        for address in listen {
            findings.push(port(section, *address, listen, &ours));
        }
    }
    findings
}

fn port(section: &'static str, address: SocketAddr, listen: &[SocketAddr], ours: &[SocketAddr]) -> Finding {
    if ours.contains(&address) {
        return Finding::ok("ports", format!("[{section}] {address} is held by the running server"));
    }
    match listen::bind(section, address) {
        Ok(_) => Finding::ok("ports", format!("[{section}] {address} is free")),
        Err(error) if Config::is_default_listen(listen) && error.is_missing_family() => {
            Finding::ok("ports", format!("[{section}] {address}: this machine has no IPv6, served without"))
        }
        Err(error) => Finding::fault("ports", error.to_string()),
    }
}
