//! Port 38983: an HTTP CONNECT proxy on TLS for gateways that show an accepted certificate.
//!
//! `head` reads the request, `allowed` says whether the target may be reached (`reserved`: where no
//! name may lead), `reach` connects, `relay` carries bytes both ways (`pass`), `denied` is every refusal. Who
//! the gateway is has been judged before a byte is read here (`server`), and TLS inside a tunnel
//! stays between the device and the target: this room sees neither lines nor keys.
//!
//! A target that is one of m0v's own ports is not connected to: `server` hands it one end of a pipe as
//! a connection of the gateway, at the gateway's own address ([`Surroundings::enter`]).

mod allowed;
#[cfg(test)]
mod broken;
mod denied;
mod head;
mod pass;
mod reach;
mod relay;
mod reserved;
mod serve;
#[cfg(test)]
mod tests;

pub use allowed::{Allowed, Pinned};
pub use denied::Denied;
pub use reach::{Entered, Surroundings};
pub use relay::{Bounds, Halves};
pub use serve::{Gateway, Outcome, refuse, serve};

use crate::ops::metrics::Metrics;
use std::io;
use std::sync::Arc;

/// What all connections of the port share.
pub struct TunnelService {
    /// Where tunnels may lead.
    pub allowed: Allowed,
    /// The process around.
    pub around: Box<dyn Surroundings>,
    /// Tunnels that one device may have open.
    pub max_per_device: usize,
    /// Their deadlines.
    pub bounds: Bounds,
    /// Where they are counted.
    pub metrics: Arc<Metrics>,
}

/// How a connection of the port ended.
#[derive(Debug)]
pub enum End {
    /// There was no tunnel.
    Denied(Denied),
    /// The gateway said nothing, or left in the middle of its request.
    NoRequest,
    /// Both sides have ended.
    Closed,
    /// The gateway closed without saying so within TLS: what it sent may lack its end.
    GatewayCut,
    /// The connection to the gateway broke.
    GatewayLost(io::Error),
    /// The connection to the target broke.
    TargetLost(io::Error),
    /// The gateway did not take what the target sent within `write_timeout`.
    GatewayNotReading,
    /// The target did not take what the gateway sent within `write_timeout`.
    TargetNotReading,
    /// No byte within `idle_timeout`.
    Idle,
    /// The gateway's certificate was revoked.
    Revoked,
    /// The server is stopping.
    Stopping,
}

impl End {
    /// The word of the metric.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Denied(denied) => denied.label(),
            Self::NoRequest => "no request",
            Self::Closed => "closed",
            Self::GatewayCut => "gateway cut",
            Self::GatewayLost(_) => "gateway lost",
            Self::TargetLost(_) => "target lost",
            Self::GatewayNotReading => "gateway not reading",
            Self::TargetNotReading => "target not reading",
            Self::Idle => "idle",
            Self::Revoked => "revoked",
            Self::Stopping => "stopping",
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Denied(denied) => write!(f, "denied: {denied}"),
            Self::NoRequest => f.write_str("no request"),
            Self::Closed => f.write_str("closed"),
            Self::GatewayCut => f.write_str("closed by the gateway without close_notify"),
            Self::GatewayLost(error) => write!(f, "lost the gateway: {error}"),
            Self::TargetLost(error) => write!(f, "lost the target: {error}"),
            Self::GatewayNotReading => f.write_str("write timeout: the gateway does not read"),
            Self::TargetNotReading => f.write_str("write timeout: the target does not read"),
            Self::Idle => f.write_str("idle timeout"),
            Self::Revoked => f.write_str("the certificate was revoked"),
            Self::Stopping => f.write_str("server stopping"),
        }
    }
}
