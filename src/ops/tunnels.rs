//! What goes through tunnels: in all for `/metrics`, by gateway for `/tunnels`, and how many each has open.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Gateways whose counts are kept while they have no tunnel; more than one server is meant for.
const KEPT: usize = 10_000;

/// How a request for a tunnel ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    /// A fixed word.
    outcome: &'static str,
}

/// Which way bytes go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    /// `to target`, `to gateway`.
    direction: &'static str,
}

/// Counts of all tunnels since the start.
#[derive(Debug)]
pub struct Tunnels {
    ended: Family<OutcomeLabel, Counter>,
    to_target: Counter,
    to_gateway: Counter,
    gateways: Mutex<HashMap<String, Gateway>>,
}

#[derive(Debug, Default)]
struct Gateway {
    open: usize,
    tunnels: u64,
    bytes: Arc<Bytes>,
}

/// Bytes that were read on one side to be written on the other.
#[derive(Debug, Default)]
pub struct Bytes {
    to_target: AtomicU64,
    to_gateway: AtomicU64,
}

/// One gateway, as `/tunnels` shows it; counts since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    device: String,
    open: usize,
    tunnels: u64,
    bytes_to_target: u64,
    bytes_to_gateway: u64,
}

/// One open tunnel; its `Drop` keeps the count honest.
#[derive(Debug)]
pub struct Open {
    tunnels: Arc<Tunnels>,
    device: String,
    gateway: Arc<Bytes>,
    own: Bytes,
}

impl Tunnels {
    /// Every metric of this file, in `registry`.
    pub(super) fn register(registry: &mut Registry) -> Arc<Self> {
        let (ended, bytes) = (Family::default(), Family::<DirectionLabel, Counter>::default());
        registry.register("tunnels", "Requests for a tunnel by how they ended", Family::clone(&ended));
        registry.register_with_unit("tunnel", "Read to be passed on", Unit::Bytes, Family::clone(&bytes));
        let direction = |direction| bytes.get_or_create(&DirectionLabel { direction }).clone();
        let (to_target, to_gateway) = (direction("to target"), direction("to gateway"));
        Arc::new(Self { ended, to_target, to_gateway, gateways: Mutex::default() })
    }

    /// Counts a tunnel of `device`; `None` when it has `max` open already.
    pub fn open(self: &Arc<Self>, device: &str, max: usize) -> Option<Open> {
        let mut gateways = self.lock();
        if gateways.len() >= KEPT && !gateways.contains_key(device) {
            gateways.retain(|_, gateway| gateway.open > 0);
        }
        let gateway = gateways.entry(device.to_owned()).or_default();
        if gateway.open >= max {
            return None;
        }
        gateway.open += 1;
        gateway.tunnels += 1;
        let gateway = Arc::clone(&gateway.bytes);
        Some(Open { tunnels: Arc::clone(self), device: device.to_owned(), gateway, own: Bytes::default() })
    }

    /// Counts a request for a tunnel that is over.
    pub(super) fn ended(&self, outcome: &'static str) {
        self.ended.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Every gateway that had a tunnel, by name.
    #[must_use]
    pub fn gateways(&self) -> Vec<Count> {
        let mut counts: Vec<Count> =
            self.lock().iter().map(|(device, gateway)| gateway.count(device)).collect();
        counts.sort_by(|a, b| a.device.cmp(&b.device));
        counts
    }

    // Counting cannot panic half-way, so a poisoned lock still counts right.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Gateway>> {
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    fn count(&self, device: &str) -> Count {
        Count {
            device: device.to_owned(),
            open: self.open,
            tunnels: self.tunnels,
            bytes_to_target: self.bytes.to_target(),
            bytes_to_gateway: self.bytes.to_gateway(),
        }
    }
}

impl Bytes {
    /// What the gateway sent.
    pub fn to_target(&self) -> u64 {
        self.to_target.load(Ordering::Relaxed)
    }

    /// What the target sent.
    pub fn to_gateway(&self) -> u64 {
        self.to_gateway.load(Ordering::Relaxed)
    }
}

impl Open {
    /// Of this tunnel alone.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.own
    }

    /// Counts bytes from the gateway: for the tunnel, its device and all.
    pub fn add_to_target(&self, bytes: u64) {
        self.own.to_target.fetch_add(bytes, Ordering::Relaxed);
        self.gateway.to_target.fetch_add(bytes, Ordering::Relaxed);
        self.tunnels.to_target.inc_by(bytes);
    }

    /// The same for bytes from the target.
    pub fn add_to_gateway(&self, bytes: u64) {
        self.own.to_gateway.fetch_add(bytes, Ordering::Relaxed);
        self.gateway.to_gateway.fetch_add(bytes, Ordering::Relaxed);
        self.tunnels.to_gateway.inc_by(bytes);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(gateway) = self.tunnels.lock().get_mut(&self.device) {
            gateway.open -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_for_the_tunnel_its_gateway_and_all() {
        let tunnels = Tunnels::register(&mut Registry::default());
        let first = tunnels.open("a", 2).unwrap();
        let second = tunnels.open("a", 2).unwrap();
        assert!(tunnels.open("a", 2).is_none(), "as many as one may have");
        let other = tunnels.open("b", 2).unwrap();
        first.add_to_target(1);
        second.add_to_target(10);
        second.add_to_gateway(100);
        other.add_to_gateway(1000);
        assert_eq!((second.bytes().to_target(), second.bytes().to_gateway()), (10, 100));
        assert_eq!((tunnels.to_target.get(), tunnels.to_gateway.get()), (11, 1100));
        drop(first);
        let shown = serde_json::to_value(tunnels.gateways()).unwrap();
        assert_eq!(
            shown,
            serde_json::json!([
                {"device": "a", "open": 1, "tunnels": 2, "bytes_to_target": 11, "bytes_to_gateway": 100},
                {"device": "b", "open": 1, "tunnels": 1, "bytes_to_target": 0, "bytes_to_gateway": 1000},
            ])
        );
        assert!(tunnels.open("a", 2).is_some(), "a place was given back");
    }

    #[test]
    fn remembers_a_bounded_number_of_gateways() {
        let tunnels = Tunnels::register(&mut Registry::default());
        let stays = tunnels.open("stays", 1).unwrap();
        stays.add_to_target(5);
        (0..KEPT * 2).for_each(|number| drop(tunnels.open(&number.to_string(), 1)));
        assert!(tunnels.lock().len() <= KEPT);
        assert!(tunnels.gateways().iter().any(|count| count.device == "stays" && count.bytes_to_target == 5));
    }
}
