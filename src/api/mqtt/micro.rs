//! micro-mqtt-broker's authentication API: name and password come in, what they allow goes out, and
//! the broker matches topics itself. Its token is a member of the body.

use super::Mqtt;
use super::caller;
use crate::api::Peer;
use crate::api::body::JsonBody;
use crate::api::error::ApiError;
use crate::api::refusals::{Always, BadRequest, NoBroker, Unavailable};
use crate::device::acl::{Pattern, Subject};
use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Who wants to connect.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct Authentication {
    /// The broker token, unless it is in the header or the query.
    auth_token: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// What a client may do; both lists are null if it may not connect.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Authenticated {
    /// Whether it may connect.
    is_authenticated: bool,
    /// Topic patterns, names put in.
    #[schema(required)]
    publish_access: Option<Vec<String>>,
    /// Topic patterns, names put in.
    #[schema(required)]
    subscribe_access: Option<Vec<String>>,
}

/// May this client connect to micro-mqtt-broker, and what may it do there?
#[utoipa::path(
    post, path = "/mqtt/micro", tag = "brokers", security((), ("brokerToken" = []), ("brokerTokenInQuery" = [])),
    request_body(content = Authentication, content_type = "application/json"),
    responses(
        (status = 200, description = "It may, or not", body = Authenticated),
        Always, BadRequest, NoBroker, Unavailable,
    ),
)]
pub(in crate::api) async fn authenticate(
    State(mqtt): State<Arc<Mqtt>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().expect("serve adds the peer to every request").ip;
    let shown = caller::shown(&parts);
    let is_elsewhere = shown.is_some() || parts.headers.contains_key(header::AUTHORIZATION);
    if is_elsewhere {
        mqtt.token.judge(shown.as_deref(), peer)?;
    }
    let body = JsonBody::from_request(Request::from_parts(parts, body), &()).await?;
    let body = body.object()?;
    let text = |name| body.find(name).map(|part| part.string()).transpose().map(Option::unwrap_or_default);
    let token = body.find("authToken").map(|token| token.string()).transpose()?;
    if !is_elsewhere {
        mqtt.token.judge(token.as_deref(), peer)?;
    }
    let client = mqtt.log_in(&text("username")?, &text("password")?, None).await?;
    let lists = client.map(|client| {
        (access(client.publish(), client.subject()), access(client.subscribe(), client.subject()))
    });
    let is_authenticated = mqtt.answered("micro", lists.is_some());
    let (publish_access, subscribe_access) = lists.unzip();
    let answer = Authenticated { is_authenticated, publish_access, subscribe_access };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

fn access(patterns: &[Pattern], subject: Subject<'_>) -> Vec<String> {
    patterns.iter().filter_map(|pattern| pattern.filter(subject)).collect()
}
