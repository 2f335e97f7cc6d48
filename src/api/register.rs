//! `POST /register` and `POST /`: an account for a token, and its handshakes.

use super::Peer;
use super::body::JsonBody;
use super::error::ApiError;
use super::refusals::{Always, BadRequest, TooOften, Unavailable};
use crate::device::{NoVerdict, Onboarding, Trouble};
use crate::net::rate::PerIpRate;
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::reply::Refusal;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use governor::Quota;
use serde::Serialize;
use std::num::NonZeroU32;
use std::sync::Arc;
use utoipa::ToSchema;

/// Accounts one address may ask for, in the long run: a production line behind one address makes
/// one a second, a stranger who tries tokens has 2²³⁸ before him.
const REGISTRATIONS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1).expect("not zero");

/// The same, at once.
const REGISTRATIONS_AT_ONCE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");

/// Handshakes of one address, in the long run: a site whose devices all start anew.
const HANDSHAKES_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// The same, at once.
const HANDSHAKES_AT_ONCE: NonZeroU32 = NonZeroU32::new(200).expect("not zero");

/// What these routes stand on.
pub(super) struct Reception {
    onboarding: Arc<Onboarding>,
    registrations: PerIpRate,
    handshakes: PerIpRate,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

impl Reception {
    pub(super) fn new(onboarding: Arc<Onboarding>, health: Arc<Health>, metrics: Arc<Metrics>) -> Self {
        let quota = |long, at_once| PerIpRate::new(Quota::per_second(long).allow_burst(at_once));
        Self {
            onboarding,
            registrations: quota(REGISTRATIONS_PER_SECOND, REGISTRATIONS_AT_ONCE),
            handshakes: quota(HANDSHAKES_PER_SECOND, HANDSHAKES_AT_ONCE),
            health,
            metrics,
        }
    }
}

pub(super) fn routes(reception: Reception) -> Router {
    Router::new()
        .route("/register", post(register))
        .route("/", post(shake_hands))
        .with_state(Arc::new(reception))
}

/// What a device shows.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Registration {
    /// As flashed into it. Absent, null or empty where none is needed.
    #[schema(example = "ot-4VJ9s2n0aJb1kKq8YxZr6uLd3TtGhWcEoPmQfRiB")]
    onboarding_token: Option<String>,
}

/// An account, told this once; all null in a refusal.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registered {
    /// Whether there is an account.
    is_successful: bool,
    /// `id-` and 61 letters and digits, for the handshake.
    #[schema(required, min_length = 64, max_length = 64)]
    identity: Option<String>,
    /// `un-` and 29 letters and digits, for the broker.
    #[schema(required, min_length = 32, max_length = 32)]
    username: Option<String>,
    /// 32 letters and digits, for the broker.
    #[schema(required, min_length = 32, max_length = 32)]
    password: Option<String>,
}

/// What a device says when it starts.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Handshake {
    /// As told when it was registered.
    identity: Option<String>,
    /// Whether it wants another identity, in place of this one.
    rotate: Option<bool>,
}

/// The answer to a handshake.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Greeted {
    /// Whether the account is known, and not disabled.
    is_successful: bool,
    /// The new identity, if one was wanted; the old one is nobody's now.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
}

/// Registers a device
///
/// An account for whoever shows an onboarding token. What it may do on a broker comes from the
/// token. Without any token configured or made everybody is registered, with a corner of topics of
/// their own. The password is shown this once.
#[utoipa::path(
    post,
    path = "/register",
    tag = "accounts",
    request_body(content = Registration, content_type = "application/json"),
    responses(
        (status = 200, description = "Registered, or refused (`isSuccessful` is false, the rest null): the token is wrong, used up, expired or revoked", body = Registered, content_type = "application/json"),
        Always, BadRequest, TooOften, Unavailable,
    ),
)]
pub(super) async fn register(
    State(reception): State<Arc<Reception>>,
    Extension(peer): Extension<Peer>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body = body.object()?;
    let token = body.find("onboardingToken").map(|token| token.string()).transpose()?;
    let Reception { registrations, health, metrics, .. } = &*reception;
    registrations.admit(peer.ip).map_err(ApiError::too_often)?;
    let issued = reception.onboarding.register(token.as_deref(), peer.remote()).await;
    let issued = issued.map_err(|trouble| troubled(health, metrics, "register an account", &trouble))?;
    events::registered(metrics, issued.is_some());
    Ok(answer(&match &issued {
        Some(issued) => Registered {
            is_successful: true,
            identity: Some(issued.identity.to_string()),
            username: Some(issued.username.to_string()),
            password: Some(issued.password.to_string()),
        },
        None => Registered { is_successful: false, identity: None, username: None, password: None },
    }))
}

/// Notes a handshake
///
/// What a device says when it starts: its account's handshake is noted with time and address. With
/// `rotate` it is given another identity, and the old one is nobody's from then on.
#[utoipa::path(
    post,
    path = "/",
    tag = "accounts",
    request_body(content = Handshake, content_type = "application/json"),
    responses(
        (status = 200, description = "Noted, or nobody's identity, or a disabled account's (`isSuccessful` is false)", body = Greeted, content_type = "application/json"),
        Always, BadRequest, TooOften, Unavailable,
    ),
)]
pub(super) async fn shake_hands(
    State(reception): State<Arc<Reception>>,
    Extension(peer): Extension<Peer>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let body = body.object()?;
    let identity = body.find("identity").map(|identity| identity.string()).transpose()?;
    let rotate = body.find("rotate").map(|rotate| rotate.boolean()).transpose()?.unwrap_or(false);
    let Reception { handshakes, health, metrics, .. } = &*reception;
    handshakes.admit(peer.ip).map_err(ApiError::too_often)?;
    // An absent one is asked for like any other that nobody has.
    let identity = identity.as_deref().unwrap_or_default();
    let greeted = reception.onboarding.shake_hands(identity, rotate, peer.remote()).await;
    let greeted = greeted.map_err(|trouble| troubled(health, metrics, "note a handshake", &trouble))?;
    events::greeted(metrics, greeted.is_some());
    let is_successful = greeted.is_some();
    let identity = greeted.and_then(|greeted| greeted.identity).map(|identity| identity.to_string());
    Ok(answer(&Greeted { is_successful, identity }))
}

fn answer(body: &impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Says once what is in the way, and what the client is to do.
pub(super) fn troubled(health: &Health, metrics: &Metrics, what: &str, trouble: &Trouble) -> ApiError {
    match trouble {
        Trouble::Store(error) => {
            events::store_failed(health, metrics, what, error);
            ApiError::Refused(error.refusal())
        }
        Trouble::Password(NoVerdict::Overloaded) => {
            log::debug!("could not {what}: {trouble}");
            ApiError::Refused(Refusal::Busy)
        }
        Trouble::Password(NoVerdict::Failed) => {
            log::error!("could not {what}: {trouble}");
            ApiError::Refused(Refusal::Busy)
        }
    }
}
