//! The metrics of who devices are: certificates known, refused, registered just in time.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::metrics::ReasonLabel;

/// What a certificate counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    /// `active`, `pending`, `revoked`.
    status: &'static str,
}

/// What is counted of client certificates.
#[derive(Debug)]
pub struct Certificates {
    known: Family<StatusLabel, Gauge>,
    /// Certificates that were shown and not accepted.
    pub refused: Family<ReasonLabel, Counter>,
    /// Devices that were registered when they first connected here.
    pub registered: Counter,
}

impl Certificates {
    /// Every metric of this file, in `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this =
            Self { known: Family::default(), refused: Family::default(), registered: Counter::default() };
        registry.register(
            "certificates",
            "Client certificates on the allow-list, by the worst status of certificate, device and CA",
            this.known.clone(),
        );
        registry.register(
            "certificates_refused",
            "Client certificates that were shown and not accepted",
            this.refused.clone(),
        );
        registry.register(
            "devices_registered",
            "Devices registered just in time, at their first connection here",
            this.registered.clone(),
        );
        this
    }

    /// How many are known: active, pending, revoked.
    pub fn certificates(&self, counts: [u64; 3]) {
        for (status, count) in ["active", "pending", "revoked"].into_iter().zip(counts) {
            self.known.get_or_create(&StatusLabel { status }).set(count.cast_signed());
        }
    }
}
