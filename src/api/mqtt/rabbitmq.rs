//! RabbitMQ's HTTP authentication backend (`rabbitmq_auth_backend_http`, method POST) for its MQTT
//! plugin: a form comes in, the word `allow` or `deny` goes out.
//!
//! RabbitMQ makes a routing key of a topic: `/` becomes a dot, `+` a star. So on it `a.b` and `a/b`
//! are one topic, and names with a dot or a star could reach into another level: they fill in no
//! pattern here.

use super::Mqtt;
use super::body::Question;
use super::caller::Broker;
use crate::api::body::FormBody;
use crate::api::error::ApiError;
use crate::api::refusals::{Always, BadRequest, NoBroker, Unavailable};
use crate::api::text;
use crate::device::acl::{Pattern, Subject, allows_filter, allows_topic};
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use utoipa::ToSchema;

/// The exchange of the MQTT plugin, and the beginnings of its queues' names.
const EXCHANGE: &str = "amq.topic";
const SUBSCRIPTION: &str = "mqtt-subscription-";
const WILL: &str = "mqtt-will-";

/// Who wants to log in. An absent member is an empty one, which names nobody.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct UserQuestion {
    username: Option<String>,
    password: Option<String>,
    /// As MQTT clients name themselves; the name or device of another account is refused.
    client_id: Option<String>,
}

/// Which virtual host is entered.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct VhostQuestion {
    username: Option<String>,
    vhost: Option<String>,
    /// As the MQTT plugin sends it; who comes by AMQP has none.
    client_id: Option<String>,
}

/// Which queue or exchange is used.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct ResourceQuestion {
    username: Option<String>,
    /// `queue` or `exchange`.
    resource: Option<String>,
    name: Option<String>,
    /// `configure`, `write` or `read`.
    permission: Option<String>,
}

/// Which topic is used.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(in crate::api) struct TopicQuestion {
    username: Option<String>,
    /// The exchange.
    name: Option<String>,
    /// `write` or `read`.
    permission: Option<String>,
    routing_key: Option<String>,
}

/// May this user log in to RabbitMQ?
#[utoipa::path(
    post, path = "/mqtt/user", tag = "brokers", security(("brokerToken" = []), ("brokerTokenInQuery" = [])),
    request_body(content = UserQuestion, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "`allow` or `deny`", body = String, content_type = "text/plain", example = "allow"),
        Always, BadRequest, NoBroker, Unavailable,
    ),
)]
pub(in crate::api) async fn user(
    State(mqtt): State<Arc<Mqtt>>,
    _broker: Broker,
    form: FormBody,
) -> Result<Response, ApiError> {
    let form = Question::Form(form);
    let (username, password) = (form.text("username")?, form.text("password")?);
    let client = mqtt.log_in(&username, &password, Some(&form.text("client_id")?)).await?;
    Ok(answer(&mqtt, "user", client.is_some()))
}

/// May this user enter this virtual host of RabbitMQ?
#[utoipa::path(
    post, path = "/mqtt/vhost", tag = "brokers", security(("brokerToken" = []), ("brokerTokenInQuery" = [])),
    params(
        ("vhost" = Option<String>, Query, description = "The only one that may be entered; any without it"),
        ("protocol" = Option<String>, Query, description = "`mqtt`: only clients of the MQTT plugin may, which have a client id"),
    ),
    request_body(content = VhostQuestion, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "`allow` or `deny`; what it finds there is asked for again", body = String, content_type = "text/plain", example = "allow"),
        Always, BadRequest, NoBroker, Unavailable,
    ),
)]
pub(in crate::api) async fn vhost(
    State(mqtt): State<Arc<Mqtt>>,
    _broker: Broker,
    uri: Uri,
    form: FormBody,
) -> Result<Response, ApiError> {
    let form = Question::Form(form);
    let (username, vhost) = (form.text("username")?, form.text("vhost")?);
    let is_mqtt = !form.text("client_id")?.is_empty();
    let may_enter = may_enter(uri.query().unwrap_or_default(), &vhost, is_mqtt);
    let client = mqtt.client(&username).await?;
    Ok(answer(&mqtt, "vhost", may_enter && client.is_some()))
}

/// May this user use this queue or exchange of RabbitMQ?
#[utoipa::path(
    post, path = "/mqtt/resource", tag = "brokers", security(("brokerToken" = []), ("brokerTokenInQuery" = [])),
    request_body(content = ResourceQuestion, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "`allow` for the queues and the exchange of the MQTT plugin, else `deny`", body = String, content_type = "text/plain", example = "allow"),
        Always, BadRequest, NoBroker, Unavailable,
    ),
)]
pub(in crate::api) async fn resource(
    State(mqtt): State<Arc<Mqtt>>,
    _broker: Broker,
    form: FormBody,
) -> Result<Response, ApiError> {
    let form = Question::Form(form);
    let (username, name) = (form.text("username")?, form.text("name")?);
    let (resource, permission) = (form.text("resource")?, form.text("permission")?);
    let is_known = mqtt.client(&username).await?.is_some();
    let is_allowed = is_known
        && match (resource.as_str(), permission.as_str()) {
            ("exchange", "read" | "write") => name == EXCHANGE,
            ("queue", "configure" | "read" | "write") => match client_id_of(&name) {
                // Over AMQP the name is the client's to choose, and no client id was asked for.
                Some(client_id) => {
                    let taken = mqtt.brokers.is_anothers(client_id, &username).await;
                    !mqtt.known(taken.map_err(Into::into))?
                }
                None => false,
            },
            _ => false,
        };
    Ok(answer(&mqtt, "resource", is_allowed))
}

/// May this user use this topic of RabbitMQ?
#[utoipa::path(
    post, path = "/mqtt/topic", tag = "brokers", security(("brokerToken" = []), ("brokerTokenInQuery" = [])),
    request_body(content = TopicQuestion, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "`allow` or `deny`", body = String, content_type = "text/plain", example = "allow"),
        Always, BadRequest, NoBroker, Unavailable,
    ),
)]
pub(in crate::api) async fn topic(
    State(mqtt): State<Arc<Mqtt>>,
    _broker: Broker,
    form: FormBody,
) -> Result<Response, ApiError> {
    let form = Question::Form(form);
    let (username, permission) = (form.text("username")?, form.text("permission")?);
    let (exchange, key) = (form.text("name")?, form.text("routing_key")?);
    let client = mqtt.client(&username).await?.filter(|_| exchange == EXCHANGE);
    let is_allowed = client.is_some_and(|client| {
        let subject = as_routed(client.subject());
        let topic = key.replace('.', "/").replace('*', "+");
        match permission.as_str() {
            "write" => allows_topic(&routed(client.publish()), subject, &topic),
            "read" => allows_filter(&routed(client.subscribe()), subject, &topic),
            _ => false,
        }
    });
    Ok(answer(&mqtt, "topic", is_allowed))
}

/// What whoever set the broker up wrote into the URL: into which virtual host, and by which protocol.
fn may_enter(query: &str, vhost: &str, is_mqtt: bool) -> bool {
    text::members(query).all(|(name, value)| match name {
        "vhost" => text::decode_form(value).is_some_and(|only| only == vhost),
        "protocol" => value == "mqtt" && is_mqtt,
        _ => true,
    })
}

/// The client a queue of the plugin belongs to: `mqtt-subscription-CLIENTqos1`, `mqtt-will-CLIENT`.
fn client_id_of(queue: &str) -> Option<&str> {
    if let Some(client) = queue.strip_prefix(SUBSCRIPTION) {
        return client.strip_suffix("qos0").or_else(|| client.strip_suffix("qos1"));
    }
    queue.strip_prefix(WILL)
}

/// Patterns as routing keys see them: a dot parts levels too.
fn routed(patterns: &[Pattern]) -> Vec<Pattern> {
    patterns.iter().filter_map(|pattern| Pattern::parse(&pattern.as_str().replace('.', "/")).ok()).collect()
}

/// Names that are more than a level of a routing key are left out.
fn as_routed(subject: Subject<'_>) -> Subject<'_> {
    let is_plain = |name: &&str| !name.contains(['.', '*']);
    Subject {
        username: Some(subject.username).filter(is_plain).unwrap_or_default(),
        device: subject.device.filter(is_plain),
    }
}

fn answer(mqtt: &Mqtt, route: &'static str, is_allowed: bool) -> Response {
    let word = if mqtt.answered(route, is_allowed) { "allow" } else { "deny" };
    ([(header::CACHE_CONTROL, "no-store")], word).into_response()
}

#[cfg(test)]
mod tests {
    use super::{as_routed, client_id_of, may_enter};
    use crate::device::acl::Subject;

    #[test]
    fn knows_whose_queue_it_is() {
        for (queue, client) in [
            ("mqtt-subscription-annqos0", Some("ann")),
            ("mqtt-subscription-annqos1", Some("ann")),
            ("mqtt-subscription-qos1qos1", Some("qos1")),
            ("mqtt-subscription-ann", None),
            ("mqtt-will-ann", Some("ann")),
            ("orders", None),
            ("", None),
        ] {
            assert_eq!(client_id_of(queue), client, "{queue}");
        }
    }

    #[test]
    fn the_url_says_who_may_enter_what() {
        for (query, vhost, is_mqtt, expected) in [
            ("token=x", "any", false, true),
            ("token=x&vhost=/", "/", false, true),
            ("token=x&vhost=%2F", "/", false, true),
            ("token=x&vhost=/", "other", true, false),
            ("vhost=/&vhost=other", "/", true, false),
            ("vhost=%", "%", true, false),
            ("vhost=", "/", true, false),
            ("protocol=mqtt", "/", true, true),
            ("protocol=mqtt", "/", false, false),
            ("protocol=amqp", "/", true, false),
            ("protocol=mqtt&vhost=/", "/", true, true),
        ] {
            assert_eq!(may_enter(query, vhost, is_mqtt), expected, "{query} {vhost} {is_mqtt}");
        }
    }

    #[test]
    fn names_with_dots_fill_in_nothing() {
        let subject = as_routed(Subject { username: "a.b", device: Some("d*") });
        assert_eq!(subject, Subject { username: "", device: None });
        let plain = Subject { username: "un-1", device: Some("meter-7") };
        assert_eq!(as_routed(plain), plain);
    }
}
