//! Where tunnels may lead, as a server that starts now would have it.

use super::Finding;
use crate::config::Config;
use crate::net::authority::Authority;
use crate::server;
use crate::tunnel::{Allowed, Pinned};
use std::io;
use std::net::SocketAddr;

/// Nothing while `[tunnel]` is off.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    if config.tunnel.listen.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let allowed = Allowed::new(server::tunnel_targets(config));
    allowed.look_up_all(|target, found| findings.push(judge(config, target, found))).await;
    findings
}

fn judge(config: &Config, target: &Authority, found: Result<&Pinned, io::Error>) -> Finding {
    match found {
        // It will be asked for again, and DNS is not ours to mend.
        Err(error) => Finding::warning("tunnel", format!("{target} has no address: {error}")),
        Ok(Pinned { addresses, reserved }) if addresses.is_empty() => {
            let kinds = listed(reserved.iter().map(|(address, kind)| format!("{address} ({kind})")));
            let text = format!("{target} leads to {kinds}: allow that address itself, or remove the name");
            Finding::fault("tunnel", text)
        }
        Ok(Pinned { addresses, .. }) => match target.literal() {
            Some(address) => literal(config, address),
            None => {
                let addresses = listed(addresses.iter().map(ToString::to_string));
                Finding::ok("tunnel", format!("{target} may be reached, at {addresses} as long as m0v runs"))
            }
        },
    }
}

/// Says of an address what of ours is behind it.
fn literal(config: &Config, target: SocketAddr) -> Finding {
    let here = |address: &SocketAddr| {
        let everywhere = address.ip().is_unspecified()
            && target.ip().is_loopback()
            && address.is_ipv4() == target.is_ipv4();
        address.port() == target.port() && (address.ip() == target.ip() || everywhere)
    };
    match config.ports().into_iter().find(|port| port.listen.iter().any(here)) {
        None => Finding::ok("tunnel", format!("{target} may be reached")),
        Some(port) if port.tls => {
            Finding::ok("tunnel", format!("{target} may be reached: [{}], within m0v", port.section))
        }
        Some(port) => {
            let text = format!(
                "{target} is [{}], which takes plain text from its proxies only: no tunnel leads there",
                port.section
            );
            Finding::warning("tunnel", text)
        }
    }
}

fn listed(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
