//! Port 38980: HTTPS for the app and the back office, HTTP/1.1 and HTTP/2.
//!
//! `serve` carries one connection within its bounds, `router` names the routes, one file per
//! family answers them (`confo`). `gate` says who asks, `body` reads what was sent or drops it, `error`
//! is every refusal's shape, `openapi` describes it all.
//! Whether a device confirmed is `confirm`'s to say: both ports ask one `confirm::Lookup`.

#[expect(dead_code, reason = "the routes with bodies come next")]
mod body;
mod confo;
mod error;
#[expect(dead_code, reason = "the routes with bodies come next")]
mod gate;
mod openapi;
mod serve;
#[cfg(test)]
mod tests;
mod text;

pub use gate::KeyHeader;
pub use openapi::description;
pub use serve::{Bounds, Peer, Tasks, serve};

use crate::confirm::Lookup;
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
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

/// What the routes stand on.
pub struct Ground {
    /// Answers whether a device has confirmed.
    pub lookup: Arc<Lookup>,
    /// Everything else that is kept.
    pub store: Arc<dyn Store>,
    /// The header of the API key.
    pub key: KeyHeader,
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
    pub fn new(ground: Ground) -> Self {
        let (metrics, stop) = (Arc::clone(&ground.metrics), ground.stop.clone());
        Self { router: TowerToHyperService::new(router(ground)), metrics, stop }
    }
}

/// Every route of the port, one line for each family. Each request must carry a [`Peer`] among its
/// extensions. A family whose requests have bodies lends them, so that what is left of one is
/// dropped; the others, and what no route is for, drop them before they look.
fn router(ground: Ground) -> Router {
    let Ground { lookup, store, key, health, metrics, stop } = ground;
    let _gate = Arc::new(gate::Gate::new(key, store, health, metrics));
    let discard = || middleware::from_fn(body::discard);
    Router::new()
        .merge(openapi::routes().layer(discard()))
        .merge(confo::routes(confo::Confo { lookup, stop }).layer(discard()))
        .fallback(error::unknown_path.layer(discard()))
        .method_not_allowed_fallback(error::wrong_method.layer(discard()))
        .layer(middleware::from_fn(gate::refuse_bad_certificate))
}
