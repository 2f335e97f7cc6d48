//! `GET /openapi.json`: the description of the port, made from the code that serves it.

use super::{confo, confo::Found, error::ErrorBody};
use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::LazyLock;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "m0v",
        description = "Provisioning lookups of m0v. Every refusal has one shape: `code`, `error`, `message`.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(confo::show, confo::show_hash, show),
    components(schemas(ErrorBody, Found)),
    tags((name = "confirmations", description = "Has a device confirmed that it was provisioned?"), (name = "description"))
)]
struct Description;

pub(super) fn routes() -> Router {
    Router::new().route("/openapi.json", get(show))
}

/// The description as one JSON document (OpenAPI 3.1).
#[must_use]
pub fn description() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| Description::openapi().to_pretty_json().expect("a description of strings is JSON"));
    &TEXT
}

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "description",
    responses(
        (status = 200, description = "OpenAPI 3.1", content_type = "application/json"),
        (status = 405, description = "Neither GET nor HEAD", body = ErrorBody, headers(("Allow" = String, description = "The methods"))),
        (status = 413, description = "A body over 65536 bytes", body = ErrorBody),
    ),
)]
pub(super) async fn show() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], description()).into_response()
}
