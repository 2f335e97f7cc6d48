//! Port 38980: HTTPS for the app and the back office, HTTP/1.1 and HTTP/2.
//!
//! `serve` carries one connection within its bounds, `router` names the routes, one file per
//! family answers them (`confo`). `gate` says who asks, `body` reads what was sent or drops it, `error`
//! is every refusal's shape, `openapi` describes it all. `introduction` learns from a trusted proxy's headers, read by
//! `forwarded`, whose request it is.
//! Whether a device confirmed is `confirm`'s to say: both ports ask one `confirm::Lookup`.

mod body;
mod certificates;
mod confo;
mod error;
mod forwarded;
mod gate;
mod introduction;
mod mqtt;
mod names;
mod openapi;
mod refusals;
mod register;
mod serve;
mod telemetry;
#[cfg(test)]
mod tests;
mod text;

pub use forwarded::{CertificateHeader, Word};
pub use gate::KeyHeader;
pub use introduction::{Certificates, Introduction};
pub use openapi::description;
pub use serve::{Bounds, Peer, Tasks, serve};
pub use telemetry::{TelemetryOptions, TelemetrySink};

use crate::confirm::Lookup;
use crate::device::issue::Issuing;
use crate::device::{Brokers, Onboarding, Registry};
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::store::Store;
use axum::Router;
use axum::handler::Handler;
use axum::middleware;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What all connections of the port share.
pub struct ApiService {
    router: TowerToHyperService<Router>,
    introduction: Introduction,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

/// What the routes stand on.
pub struct Ground {
    /// Answers whether a device has confirmed.
    pub lookup: Arc<Lookup>,
    /// Everything else that is kept.
    pub store: Arc<dyn Store>,
    /// Who devices are.
    pub registry: Arc<Registry>,
    /// Makes certificates.
    pub issuing: Arc<Issuing>,
    /// Makes telemetry durable.
    pub telemetry: TelemetrySink,
    /// The header of the API key.
    pub key: KeyHeader,
    /// Makes accounts.
    pub onboarding: Arc<Onboarding>,
    /// Answers brokers that show the token.
    pub brokers: Option<(Arc<Brokers>, String)>,
    /// Reads what proxies say of their clients.
    pub introduction: Introduction,
    /// Whether the store is there.
    pub health: Arc<Health>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Connections end, and held queries are answered, when it is cancelled.
    pub stop: CancellationToken,
}

impl ApiService {
    /// The port's service, for all of its connections.
    #[must_use]
    pub fn new(mut ground: Ground) -> Self {
        let (metrics, stop) = (Arc::clone(&ground.metrics), ground.stop.clone());
        let introduction = std::mem::take(&mut ground.introduction);
        Self { router: TowerToHyperService::new(router(ground)), introduction, metrics, stop }
    }

    /// Whether requests of a connection with this word bring their certificates in a header: then none
    /// that the connection showed counts.
    #[must_use]
    pub const fn is_introduced(&self, word: Word) -> bool {
        word.on_certificates && self.introduction.certificates.is_some()
    }
}

/// Every route of the port, one line for each family. Each request must carry a [`Peer`] among its
/// extensions. A family whose requests have bodies lends them, so that what is left of one is
/// dropped; the others, and what no route is for, drop them before they look.
fn router(ground: Ground) -> Router {
    let Ground {
        lookup,
        store,
        registry,
        issuing,
        telemetry,
        key,
        onboarding,
        brokers,
        health,
        metrics,
        stop,
        introduction: _,
    } = ground;
    let gate = Arc::new(gate::Gate::new(key, Arc::clone(&store), Arc::clone(&health), Arc::clone(&metrics)));
    let reception = register::Reception::new(onboarding, Arc::clone(&health), Arc::clone(&metrics));
    let mqtt = brokers.map(|(brokers, token)| {
        mqtt::routes(mqtt::Mqtt::new(brokers, &token, Arc::clone(&health), Arc::clone(&metrics)))
    });
    let certificates =
        certificates::Certificates { gate: Arc::clone(&gate), store, registry, issuing, health, metrics };
    let discard = || middleware::from_fn(body::discard);
    let lend = || middleware::from_fn(body::lend);
    let telemetry = telemetry::Telemetry { gate: Arc::clone(&gate), sink: telemetry };
    Router::new()
        .merge(openapi::routes(gate.header()).layer(discard()))
        .merge(confo::routes(confo::Confo { lookup, stop }).layer(discard()))
        .merge(certificates::routes(certificates.clone()).layer(lend()))
        .merge(certificates::greeting(certificates).layer(discard()))
        .merge(register::routes(reception).layer(lend()))
        .merge(mqtt.unwrap_or_default().layer(lend()))
        .merge(telemetry::routes(telemetry).layer(lend()))
        .fallback(error::unknown_path.layer(discard()))
        .method_not_allowed_fallback(error::wrong_method.layer(discard()))
        .layer(middleware::from_fn(gate::refuse_bad_certificate))
}
