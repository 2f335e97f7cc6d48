//! `GET /confo/…` and `GET /api/confo/…`: has the device confirmed?

use super::error::ApiError;
use super::refusals::{Always, BadRequest, TooOften, Unavailable};
use super::{Peer, text};
use crate::confirm::{Lookup, NOT_FOUND, answer};
use crate::protocol::confo::{Asked, Query};
use crate::store::Confirmed;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// What these routes stand on.
#[derive(Clone)]
pub(super) struct Confo {
    pub(super) lookup: Arc<Lookup>,
    /// Ends the holding of answers.
    pub(super) stop: CancellationToken,
}

/// An empty part is a parameter to complain about, not another path.
pub(super) fn routes(confo: Confo) -> Router {
    let mut router = Router::new();
    for parts in ["{deviceName}/{ssid}", "/{ssid}", "{deviceName}/", "/"] {
        router = router
            .route(&format!("/confo/{parts}"), get(show))
            .route(&format!("/api/confo/{parts}"), get(show_hash));
    }
    router.with_state(confo)
}

/// The answer is true now, and may be another one in a second.
const NO_STORE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// A confirmation.
// As `protocol::confo::Answer` is written; a test compares the two.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Found {
    /// As confirmed.
    #[schema(min_length = 1, max_length = 32, example = "Movprov")]
    device_name: String,
    /// Unix seconds, by the device's own clock.
    #[schema(example = 1_732_300_000)]
    timestamp: i64,
    /// As confirmed.
    #[schema(min_length = 1, max_length = 32, example = "M0V")]
    ssid: String,
    /// The token the device was given.
    #[schema(example = 13580)]
    hash: i64,
    /// The id of the device; null in a conflict.
    #[schema(required, example = 17)]
    id: Option<i64>,
    /// Two users configured one token: change the name of the device and configure it anew.
    conflict: bool,
}

/// The latest confirmation of a device
///
/// Whether a device was provisioned: the latest confirmation of a device name and SSID, or of
/// exactly one token. The same as a query on the confirm port. Nobody's e-mail is ever told,
/// and what never existed is answered like what has not happened yet.
#[utoipa::path(
    get,
    path = "/confo/{deviceName}/{ssid}",
    tag = "confirmations",
    params(
        ("deviceName" = String, Path, description = "As the device was named: 1 to 32 bytes of UTF-8 without control characters, percent-encoded (a slash too)", example = "Movprov"),
        ("ssid" = String, Path, description = "As the device was told: as deviceName", example = "M0V"),
        ("token" = Option<i64>, Query, description = "Only the confirmation of exactly this token (`hash`); empty or 0 means any"),
        ("wait" = Option<u8>, Query, minimum = 0, maximum = 60, description = "Seconds to hold the answer until there is a confirmation; without a token, one saved after this request"),
    ),
    responses(
        (status = 200, description = "It confirmed. In a conflict `id` is null", body = Found, content_type = "application/json"),
        (status = 404, description = "It did not (yet): the text `Not found`", body = String, content_type = "text/plain", example = "Not found"),
        Always, BadRequest, TooOften, Unavailable,
    ),
)]
pub(super) async fn show(
    State(confo): State<Confo>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Ok(match find(&confo, peer, &uri).await? {
        Some(found) => (NO_STORE, Json(answer(&found))).into_response(),
        None => (StatusCode::NOT_FOUND, NO_STORE, NOT_FOUND).into_response(),
    })
}

/// The token of the latest confirmation, as text
///
/// What the first Android app reads: the token in decimal, or the text `Not found` with status
/// 200. New programs use `/confo`.
#[utoipa::path(
    get,
    path = "/api/confo/{deviceName}/{ssid}",
    tag = "confirmations",
    params(
        ("deviceName" = String, Path, description = "As for /confo", example = "Movprov"),
        ("ssid" = String, Path, description = "As for /confo", example = "M0V"),
        ("token" = Option<i64>, Query, description = "As for /confo"),
        ("wait" = Option<u8>, Query, minimum = 0, maximum = 60, description = "As for /confo"),
    ),
    responses(
        (status = 200, description = "The token in decimal, or `Not found`", body = String, content_type = "text/plain", example = "13580"),
        Always, BadRequest, TooOften, Unavailable,
    ),
)]
pub(super) async fn show_hash(
    State(confo): State<Confo>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let found = find(&confo, peer, &uri).await?;
    let text = found.map_or_else(|| NOT_FOUND.to_owned(), |found| found.hash.to_string());
    Ok((NO_STORE, text).into_response())
}

async fn find(confo: &Confo, peer: Peer, uri: &Uri) -> Result<Option<Confirmed>, ApiError> {
    let query = query(uri)?;
    let hurry = confo.stop.cancelled();
    confo.lookup.ask(&query, peer.ip, Instant::now(), hurry).await.map_err(ApiError::Refused)
}

/// The query that the last two segments and the query string ask. Unknown members are of no
/// interest, as unknown keys are on the line port.
fn query(uri: &Uri) -> Result<Query, ApiError> {
    let mut segments = uri.path().rsplit('/');
    let ssid = decoded("ssid", segments.next().unwrap_or_default())?;
    let device_name = decoded("deviceName", segments.next().unwrap_or_default())?;
    let (mut token, mut wait) = (None, None);
    for (name, value) in text::members(uri.query().unwrap_or_default()) {
        let (known, member) = match text::decode(name).ok_or(ApiError::Encoding("a name in the query"))? {
            name if name.eq_ignore_ascii_case("token") => ("token", &mut token),
            name if name.eq_ignore_ascii_case("wait") => ("wait", &mut wait),
            _ => continue,
        };
        if member.replace(decoded(known, value)?).is_some() {
            return Err(ApiError::Twice(known));
        }
    }
    let asked =
        Asked { device_name: &device_name, ssid: &ssid, token: token.as_deref(), wait: wait.as_deref() };
    Ok(asked.judge()?)
}

fn decoded<'a>(name: &'static str, text: &'a str) -> Result<Cow<'a, str>, ApiError> {
    text::decode(text).ok_or(ApiError::Encoding(name))
}
