//! Where tunnels may lead, as a server that starts now would have it.

use super::Finding;
use crate::config::Config;
use crate::net::authority::Authority;
use crate::server::{self, Meets};
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
        Ok(Pinned { addresses, .. }) => reached(config, target, addresses),
    }
}

/// Says where an allowed target leads, and what of ours is there.
fn reached(config: &Config, target: &Authority, addresses: &[SocketAddr]) -> Finding {
    let met: Vec<_> =
        addresses.iter().map(|address| (address, server::tunnel_meets(config, *address))).collect();
    let closed = met.iter().find_map(|(address, meets)| match meets {
        Meets::Closed(why) => Some((address, why)),
        Meets::NoPortOfOurs | Meets::Port(_) => None,
    });
    let at = match target.literal() {
        Some(_) => String::new(),
        None => format!(", at {} as long as m0v runs", listed(addresses.iter().map(ToString::to_string))),
    };
    match (closed, met.first()) {
        (Some((address, why)), _) if target.literal() == Some(**address) => {
            Finding::warning("tunnel", format!("{target} {why}: gateways get 403"))
        }
        (Some((address, why)), _) => {
            Finding::warning("tunnel", format!("{target} leads to {address}, which {why}: gateways get 403"))
        }
        (None, Some((_, Meets::Port(section)))) => {
            Finding::ok("tunnel", format!("{target} may be reached: [{section}], within m0v{at}"))
        }
        (None, _) => Finding::ok("tunnel", format!("{target} may be reached{at}")),
    }
}

fn listed(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
