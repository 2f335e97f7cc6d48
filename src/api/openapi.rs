//! `GET /openapi.json`: the description of the port, made from the code that serves it.

use super::mqtt::{micro, mosquitto, rabbitmq};
use super::refusals::Always;
use super::{certificates, confo, confo::Found, error::ErrorBody, register, telemetry};
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa::openapi::Components;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "m0v",
        description = "Provisioning and telemetry of m0v. Every refusal has one shape: `code`, `error`, `message`.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        confo::show,
        confo::show_hash,
        certificates::issue,
        certificates::sync,
        certificates::register_ca,
        certificates::greet,
        telemetry::of_device,
        telemetry::of_caller,
        telemetry::forward,
        telemetry::forward_status,
        register::register,
        register::shake_hands,
        rabbitmq::user,
        rabbitmq::vhost,
        rabbitmq::resource,
        rabbitmq::topic,
        mosquitto::auth,
        mosquitto::acl,
        mosquitto::superuser,
        micro::authenticate,
        show
    ),
    components(schemas(
        ErrorBody,
        Found,
        certificates::CertificateWanted,
        certificates::IssuedCertificate,
        certificates::KeyPair,
        certificates::CertificateToList,
        certificates::Pem,
        certificates::CaWanted,
        certificates::CsrSubjects,
        certificates::RegisteredCa,
        certificates::Greeting,
        telemetry::Forwarded,
        telemetry::Success
    )),
    tags(
        (name = "confirmations", description = "Has a device confirmed that it was provisioned?"),
        (name = "certificates", description = "Who a device is"),
        (name = "telemetry", description = "Reports of devices, durable before they are answered"),
        (name = "accounts", description = "Accounts for devices that show a token"),
        (name = "brokers", description = "What MQTT brokers ask; only with a broker token configured"),
        (name = "description")
    )
)]
struct Description;

/// The description as one JSON document (OpenAPI 3.1); `key_name` is the header of the API key.
#[must_use]
pub fn description(key_name: &str) -> String {
    let mut description = Description::openapi();
    let components = description.components.get_or_insert_with(Components::new);
    let key = "The API key. If this header is there, only the key is judged";
    let key = ApiKey::Header(ApiKeyValue::with_description(key_name, key));
    components.add_security_scheme("apiKey", SecurityScheme::ApiKey(key));
    let certificate = "A client certificate that is listed, or signed by a registered CA";
    let certificate = SecurityScheme::MutualTls {
        description: Some(certificate.to_owned()),
        deprecated: None,
        extensions: None,
    };
    components.add_security_scheme("clientCertificate", certificate);
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    components.add_security_scheme("brokerToken", bearer);
    let query = SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new("token")));
    components.add_security_scheme("brokerTokenInQuery", query);
    description.to_pretty_json().expect("a description of strings is JSON")
}

pub(super) fn routes(key_name: &str) -> Router {
    Router::new().route("/openapi.json", get(show)).with_state(description(key_name).into())
}

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "description",
    responses(
        (status = 200, description = "OpenAPI 3.1", content_type = "application/json"),
        Always,
    ),
)]
pub(super) async fn show(State(text): State<Arc<str>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response()
}
