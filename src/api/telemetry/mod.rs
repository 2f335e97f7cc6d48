//! `POST /devicetelemetry`, `/forwardtelemetry`, `/forwardstatus`: reports, durable before the answer.
//!
//! What is stored is the JSON as sent; `writer` makes it durable.

mod writer;

pub use writer::{TelemetryOptions, TelemetrySink};

use super::body::JsonBody;
use super::error::ApiError;
use super::gate::{Caller, Gate};
use super::refusals::{Always, BadRequest, NotEntitled, Unavailable};
use super::{names, text};
use crate::protocol::body::{Object, Part};
use crate::store::{Micros, TelemetryKind, TelemetryRow, now};
use axum::extract::{FromRef, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What these routes stand on.
#[derive(Clone)]
pub(super) struct Telemetry {
    pub(super) gate: Arc<Gate>,
    pub(super) sink: TelemetrySink,
}

impl FromRef<Telemetry> for Arc<Gate> {
    fn from_ref(telemetry: &Telemetry) -> Self {
        Self::clone(&telemetry.gate)
    }
}

/// An empty deviceId is a parameter to complain about, not another path.
pub(super) fn routes(telemetry: Telemetry) -> Router {
    Router::new()
        .route("/devicetelemetry", post(of_caller))
        .route("/devicetelemetry/", post(of_device))
        .route("/devicetelemetry/{deviceId}", post(of_device))
        .route("/forwardtelemetry", post(forward))
        .route("/forwardstatus", post(forward_status))
        .with_state(telemetry)
}

/// It is done.
#[derive(Serialize, ToSchema)]
pub(super) struct Success {
    /// Always true; what failed has another status.
    #[schema(example = true)]
    success: bool,
}

/// `{"success":true}`
pub(super) fn success() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(Success { success: true })).into_response()
}

/// A report that is forwarded.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Forwarded {
    /// Which device reported: at most 128 bytes of UTF-8, nothing invisible in it.
    #[schema(min_length = 1, max_length = 128, example = "meter-17")]
    device_id: String,
    /// Unix seconds; absent, null, 0 or before 2006 (a clock that was never set) means now.
    #[schema(required = false, maximum = 253_402_300_799_i64, example = 1_732_300_000)]
    created_at: Option<i64>,
    /// What it reported: any JSON but null, nested at most 32 levels.
    #[schema(value_type = Value, example = json!({"voltage": 231.4}))]
    data: serde_json::Value,
}

/// A device's report
///
/// Answered once the object is durable: in the database, or in the spool while that is away. A
/// request without an answer may have been stored; sent again it is stored again.
#[utoipa::path(
    post,
    path = "/devicetelemetry/{deviceId}",
    tag = "telemetry",
    security(("apiKey" = []), ("clientCertificate" = [])),
    params(("deviceId" = String, Path, min_length = 1, max_length = 128, description = "Which device: at most 128 bytes of UTF-8, percent-encoded (a slash too). With a certificate, its own", example = "meter-17")),
    request_body(content = Object, description = "Any JSON object, at most 65536 bytes, nested at most 32 levels", content_type = "application/json", example = json!({"voltage": 231.4})),
    responses(
        (status = 200, description = "It is durable", body = Success, content_type = "application/json"),
        Always, BadRequest, NotEntitled, Unavailable,
    ),
)]
pub(super) async fn of_device(
    State(telemetry): State<Telemetry>,
    caller: Caller,
    uri: Uri,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let segment = uri.path().rsplit('/').next().unwrap_or_default();
    let device_id = text::decode(segment).ok_or(ApiError::Encoding("deviceId"))?;
    let device_id = names::device_id(&device_id)?;
    if let Caller::Certificate(identity) = &caller
        && identity.device_id() != device_id
    {
        return Err(ApiError::NotEntitled("this certificate is another device's"));
    }
    let object = body.object()?;
    keep(&telemetry, device_id, TelemetryKind::Device, None, storable(&object)?).await
}

/// The caller's own report
///
/// As with a deviceId in the path; the device is the certificate's. With an API key the object
/// must name it as `deviceId`.
#[utoipa::path(
    post,
    path = "/devicetelemetry",
    tag = "telemetry",
    security(("apiKey" = []), ("clientCertificate" = [])),
    request_body(content = Object, description = "As with a deviceId in the path. With an API key the member `deviceId` is required", content_type = "application/json", example = json!({"deviceId": "meter-17", "voltage": 231.4})),
    responses(
        (status = 200, description = "It is durable", body = Success, content_type = "application/json"),
        Always, BadRequest, NotEntitled, Unavailable,
    ),
)]
pub(super) async fn of_caller(
    State(telemetry): State<Telemetry>,
    caller: Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let object = body.object()?;
    let body = storable(&object)?;
    match &caller {
        Caller::Certificate(identity) => {
            keep(&telemetry, identity.device_id(), TelemetryKind::Device, None, body).await
        }
        Caller::Key { .. } => {
            let device_id = names::device_id_of(&object)?;
            keep(&telemetry, &device_id, TelemetryKind::Device, None, body).await
        }
    }
}

/// A report that a broker forwards
#[utoipa::path(
    post,
    path = "/forwardtelemetry",
    tag = "telemetry",
    security(("apiKey" = []), ("clientCertificate" = [])),
    request_body(content = Forwarded, description = "Other members are ignored", content_type = "application/json"),
    responses(
        (status = 200, description = "It is durable", body = Success, content_type = "application/json"),
        Always, BadRequest, NotEntitled, Unavailable,
    ),
)]
pub(super) async fn forward(
    State(telemetry): State<Telemetry>,
    caller: Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    forwarded(&telemetry, &caller, &body, TelemetryKind::Forwarded).await
}

/// A device's status that a broker forwards
#[utoipa::path(
    post,
    path = "/forwardstatus",
    tag = "telemetry",
    security(("apiKey" = []), ("clientCertificate" = [])),
    request_body(content = Forwarded, description = "Other members are ignored", content_type = "application/json"),
    responses(
        (status = 200, description = "It is durable", body = Success, content_type = "application/json"),
        Always, BadRequest, NotEntitled, Unavailable,
    ),
)]
pub(super) async fn forward_status(
    State(telemetry): State<Telemetry>,
    caller: Caller,
    body: JsonBody,
) -> Result<Response, ApiError> {
    forwarded(&telemetry, &caller, &body, TelemetryKind::Status).await
}

async fn forwarded(
    telemetry: &Telemetry,
    caller: &Caller,
    body: &JsonBody,
    kind: TelemetryKind,
) -> Result<Response, ApiError> {
    caller.is_service()?;
    let object = body.object()?;
    let device_id = names::device_id_of(&object)?;
    let created_at = object.find("createdAt").map(|part| part.seconds()).transpose()?.flatten();
    let data: Part<'_> = object.part("data")?;
    data.check_storable()?;
    let created_at = created_at.filter(crate::protocol::packet::clock_is_set);
    keep(telemetry, &device_id, kind, created_at.map(|seconds| seconds * 1_000_000), data.text()).await
}

fn storable<'a>(object: &Object<'a>) -> Result<&'a str, ApiError> {
    object.check_storable()?;
    Ok(object.text())
}

async fn keep(
    telemetry: &Telemetry,
    device_id: &str,
    kind: TelemetryKind,
    created_at: Option<Micros>,
    body: &str,
) -> Result<Response, ApiError> {
    let row = TelemetryRow {
        device_id: device_id.to_owned(),
        kind,
        created_at: created_at.unwrap_or_else(now),
        body: body.to_owned(),
    };
    telemetry.sink.store(row).await.map_err(ApiError::Refused)?;
    Ok(success())
}
