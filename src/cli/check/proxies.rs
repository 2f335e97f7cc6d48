//! What is asked of the balancers in front.

use super::Finding;
use crate::config::{Config, IpNet, Port, ProxyProtocol};

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let ports = config.ports();
    let ports = ports.iter().filter(|port| !port.listen.is_empty()).filter_map(port);
    ports.chain(words(config)).collect()
}

/// Headers of HTTP that are believed: a balancer that leaves one alone hands on what its clients made up.
fn words(config: &Config) -> Option<Finding> {
    let api = &config.api;
    let addresses = (api.proxy_protocol == ProxyProtocol::Off).then_some("X-Forwarded-For");
    let headers: Vec<&str> = addresses.into_iter().chain(api.client_cert_header.as_deref()).collect();
    if api.trusted_proxies.is_empty() || api.listen.is_empty() || headers.is_empty() {
        return None;
    }
    let (headers, trusted) = (headers.join(" and "), list(&api.trusted_proxies));
    let add = if addresses.is_some() { " (to X-Forwarded-For it may add)" } else { "" };
    let text =
        format!("[api] believes {headers} of {trusted}, which must overwrite what clients send there{add}");
    Some(Finding::ok("proxies", text))
}

fn list(trusted: &[IpNet]) -> String {
    trusted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Nothing of a port that everybody reaches directly.
fn port(port: &Port<'_>) -> Option<Finding> {
    let Port { section, trusted_proxies, .. } = port;
    let trusted = list(trusted_proxies);
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
