//! The operator's port: plain HTTP, meant for 127.0.0.1.

use super::handshakes::Failed;
use super::health::Health;
use super::metrics::Metrics;
use super::tunnels::Count;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::net::IpAddr;
use std::sync::Arc;

/// What the admin port shows.
#[derive(Clone)]
pub struct Admin {
    /// Behind `/readyz`.
    pub health: Arc<Health>,
    /// Behind `/metrics`, `/handshakes` and `/tunnels`.
    pub metrics: Arc<Metrics>,
    /// Where the port listens.
    pub addresses: Arc<[IpAddr]>,
}

/// The routes of DESIGN §2.1.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/handshakes", get(handshakes))
        .route("/tunnels", get(tunnels))
        .layer(middleware::from_fn_with_state(Arc::clone(&admin.addresses), own_host_only))
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    match admin.health.not_ready() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.metrics.encode()).into_response()
}

/// The last failed handshakes, newest first.
async fn handshakes(State(admin): State<Admin>) -> Json<Vec<Failed>> {
    Json(admin.metrics.failed_handshakes.last())
}

/// The gateways that had a tunnel since the start, and how much went through.
async fn tunnels(State(admin): State<Admin>) -> Json<Vec<Count>> {
    Json(admin.metrics.tunnels.gateways())
}

/// Refuses a Host that is neither localhost nor an address we listen on: a web page on a name
/// that its owner points at 127.0.0.1 (DNS rebinding) must not read this port through a
/// visitor's browser. Any port goes, for who comes through a forwarded one.
async fn own_host_only(State(own): State<Arc<[IpAddr]>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(|host| is_own_host(host, &own)) {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "use the address or localhost as the host\n").into_response()
    }
}

fn is_own_host(host: &str, own: &[IpAddr]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || literal.parse::<IpAddr>().is_ok_and(|host| {
            own.iter().any(|own| *own == host || own.is_unspecified() && own.is_ipv4() == host.is_ipv4())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [IpAddr; 2] =
        [IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];

    #[test]
    fn takes_own_addresses_and_localhost_as_host_and_no_other_name() {
        for own in ["127.0.0.1:38982", "127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:38982", "[::1]"] {
            assert!(is_own_host(own, &OWN), "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:38982",
            "localhost.evil.example",
            "",
            ":1",
            "127.0.0.1.evil",
            "8.8.8.8:1",
        ] {
            assert!(!is_own_host(foreign, &OWN), "{foreign}");
        }
        assert!(is_own_host("192.0.2.7:1", &["0.0.0.0".parse().unwrap()]));
    }
}
