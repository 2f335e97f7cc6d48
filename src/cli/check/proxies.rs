//! What is asked of the balancers in front.

use super::Finding;
use crate::config::{Config, Port, ProxyProtocol};

pub(super) fn check(config: &Config) -> Vec<Finding> {
    config.ports().iter().filter(|port| !port.listen.is_empty()).filter_map(port).collect()
}

/// Nothing of a port that everybody reaches directly.
fn port(port: &Port<'_>) -> Option<Finding> {
    let Port { section, trusted_proxies, .. } = port;
    let trusted: Vec<String> = trusted_proxies.iter().map(ToString::to_string).collect();
    let trusted = trusted.join(", ");
    let header = match port.proxy_protocol {
        ProxyProtocol::Off => None,
        ProxyProtocol::V1 => Some("header v1"),
        ProxyProtocol::V2 => Some("header v2"),
        ProxyProtocol::Any => Some("header (v1 or v2)"),
    };
    let text = match (header, port.tls) {
        (Some(header), _) => {
            format!("[{section}] every connection must bring a PROXY {header}, and come from {trusted}")
        }
        (None, false) if trusted.is_empty() => {
            format!("[{section}] plain connections are taken from this machine alone")
        }
        (None, false) => format!("[{section}] plain connections are taken from this machine and {trusted}"),
        (None, true) => return None,
    };
    Some(Finding::ok("proxies", text))
}
