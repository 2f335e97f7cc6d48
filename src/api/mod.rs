//! Port 38980: HTTPS for the app and the back office, HTTP/1.1 and HTTP/2.
//!
//! `serve` carries one connection within its bounds, `router` names the routes, one file per
//! family answers them (`confo`), `body` drops what nobody asked for, `error` is every refusal's shape, `openapi` describes it all.
//! Whether a device confirmed is `confirm`'s to say: both ports ask one `confirm::Lookup`.

mod body;
mod confo;
mod error;
mod openapi;
mod serve;
#[cfg(test)]
mod tests;
mod text;

pub use openapi::description;
pub use serve::{Bounds, Peer, Tasks, serve};

use crate::confirm::Lookup;
use crate::ops::metrics::Metrics;
use axum::Router;
use axum::middleware;
use axum::routing::get;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What all connections of the port share.
pub struct ApiService {
    router: TowerToHyperService<Router>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl ApiService {
    /// Connections end, and held queries are answered, when `stop` is cancelled.
    #[must_use]
    pub fn new(lookup: Arc<Lookup>, metrics: Arc<Metrics>, stop: CancellationToken) -> Self {
        let router = router(confo::Confo { lookup, stop: stop.clone() });
        Self { router: TowerToHyperService::new(router), metrics, stop }
    }
}

/// Every route of the port. Each request must carry a [`Peer`] among its extensions.
fn router(confo: confo::Confo) -> Router {
    // An empty part is a parameter to complain about, not another path.
    let mut router = Router::new().route("/openapi.json", get(openapi::show));
    for parts in ["{deviceName}/{ssid}", "/{ssid}", "{deviceName}/", "/"] {
        router = router
            .route(&format!("/confo/{parts}"), get(confo::show))
            .route(&format!("/api/confo/{parts}"), get(confo::show_hash));
    }
    router
        .fallback(error::unknown_path)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(middleware::from_fn(body::discard))
        .with_state(confo)
}
