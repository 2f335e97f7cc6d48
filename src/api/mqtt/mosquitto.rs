//! mosquitto-go-auth's HTTP backend: JSON or a form comes in, the status is the verdict (200 or 403,
//! by its own convention), and the body says the same for `http_response_mode json`.

use super::Mqtt;
use super::body::Question;
use super::caller::Broker;
use crate::api::error::ApiError;
use crate::api::refusals::{Always, BadRequest, NoBroker, Unavailable};
use crate::device::Client;
use crate::device::acl::{allows_filter, allows_topic};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What `acc` asks for.
const READ: u8 = 1;
const WRITE: u8 = 2;
const READ_AND_WRITE: u8 = 3;
const SUBSCRIBE: u8 = 4;

/// Who wants to connect.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct AuthQuestion {
    username: Option<String>,
    password: Option<String>,
    /// The name or device of another account is refused.
    clientid: Option<String>,
}

/// What a client wants to do.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct AclQuestion {
    username: Option<String>,
    topic: Option<String>,
    /// 1 read, 2 write, 3 both, 4 subscribe.
    acc: u8,
}

/// Who might be a superuser.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct SuperuserQuestion {
    username: Option<String>,
}

/// The verdict once more.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct Verdict {
    /// As the status says.
    ok: bool,
    /// Empty, or `refused`.
    error: &'static str,
}

/// May this client connect to mosquitto?
#[utoipa::path(
    post, path = "/mqtt/auth", tag = "brokers", security(("brokerToken" = []), ("brokerTokenInQuery" = [])),
    request_body(content(
        (AuthQuestion = "application/json"),
        (AuthQuestion = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 200, description = "Yes", body = Verdict),
        (status = 403, description = "No, whatever is wrong", body = Verdict),
        Always, BadRequest, NoBroker, Unavailable,
    ),
)]
pub(in crate::api) async fn auth(
    State(mqtt): State<Arc<Mqtt>>,
    _broker: Broker,
    question: Question,
) -> Result<Response, ApiError> {
    let (username, password) = (question.text("username")?, question.text("password")?);
    let client = mqtt.log_in(&username, &password, Some(&question.text("clientid")?)).await?;
    Ok(answer(mqtt.answered("auth", client.is_some())))
}

/// May this client use this topic of mosquitto?
#[utoipa::path(
    post, path = "/mqtt/acl", tag = "brokers", security(("brokerToken" = []), ("brokerTokenInQuery" = [])),
    request_body(content(
        (AclQuestion = "application/json"),
        (AclQuestion = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 200, description = "Yes", body = Verdict),
        (status = 403, description = "No, whatever is wrong", body = Verdict),
        Always, BadRequest, NoBroker, Unavailable,
    ),
)]
pub(in crate::api) async fn acl(
    State(mqtt): State<Arc<Mqtt>>,
    _broker: Broker,
    question: Question,
) -> Result<Response, ApiError> {
    let (username, topic) = (question.text("username")?, question.text("topic")?);
    let wanted = question.number("acc")?;
    let client = mqtt.client(&username).await?;
    let is_allowed = client.is_some_and(|client| allows(&client, wanted, &topic));
    Ok(answer(mqtt.answered("acl", is_allowed)))
}

/// Is this client a superuser of mosquitto? Nobody is
#[utoipa::path(
    post, path = "/mqtt/superuser", tag = "brokers", security(("brokerToken" = []), ("brokerTokenInQuery" = [])),
    request_body(content(
        (SuperuserQuestion = "application/json"),
        (SuperuserQuestion = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 403, description = "No", body = Verdict),
        Always, BadRequest, NoBroker,
    ),
)]
pub(in crate::api) async fn superuser(
    State(mqtt): State<Arc<Mqtt>>,
    _broker: Broker,
    question: Question,
) -> Result<Response, ApiError> {
    question.text("username")?;
    Ok(answer(mqtt.answered("superuser", false)))
}

fn allows(client: &Client, wanted: Option<u8>, topic: &str) -> bool {
    let subject = client.subject();
    let read = || allows_topic(client.subscribe(), subject, topic);
    let write = || allows_topic(client.publish(), subject, topic);
    match wanted {
        Some(READ) => read(),
        Some(WRITE) => write(),
        Some(READ_AND_WRITE) => read() && write(),
        Some(SUBSCRIBE) => allows_filter(client.subscribe(), subject, topic),
        _ => false,
    }
}

fn answer(is_allowed: bool) -> Response {
    let (status, error) = if is_allowed { (StatusCode::OK, "") } else { (StatusCode::FORBIDDEN, "refused") };
    let verdict = Json(Verdict { ok: is_allowed, error });
    (status, [(header::CACHE_CONTROL, "no-store")], verdict).into_response()
}
