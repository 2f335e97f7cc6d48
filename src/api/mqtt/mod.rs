//! `POST /mqtt/…`: what MQTT brokers ask, each in its own words. Mounted only with a broker token.
//!
//! `caller` says whether a broker asks, `body` reads the two forms they ask in; the rest is one file
//! for each broker.

mod body;
mod caller;
pub(super) mod micro;
pub(super) mod mosquitto;
pub(super) mod rabbitmq;

use super::error::ApiError;
use super::register::troubled;
use crate::device::{Brokers, Client, Trouble};
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use axum::Router;
use axum::routing::post;
use caller::BrokerToken;
use std::sync::Arc;

/// What these routes stand on.
pub(super) struct Mqtt {
    brokers: Arc<Brokers>,
    token: BrokerToken,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

impl Mqtt {
    pub(super) fn new(
        brokers: Arc<Brokers>,
        token: &str,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { brokers, token: BrokerToken::new(token), health, metrics }
    }

    /// The account of this name and password, if no other account owns the client id.
    async fn log_in(
        &self,
        username: &str,
        password: &str,
        client_id: Option<&str>,
    ) -> Result<Option<Arc<Client>>, ApiError> {
        let found = self.brokers.log_in(username, password.as_bytes(), client_id).await;
        self.known(found)
    }

    /// The account of this name, if it may use a broker.
    async fn client(&self, username: &str) -> Result<Option<Arc<Client>>, ApiError> {
        self.known(self.brokers.client(username).await.map_err(Trouble::from))
    }

    fn known<T>(&self, found: Result<T, Trouble>) -> Result<T, ApiError> {
        found.map_err(|trouble| troubled(&self.health, &self.metrics, "answer a broker", &trouble))
    }

    fn answered(&self, route: &'static str, is_allowed: bool) -> bool {
        events::broker_answered(&self.metrics, route, is_allowed);
        is_allowed
    }
}

pub(super) fn routes(mqtt: Mqtt) -> Router {
    Router::new()
        .route("/mqtt/user", post(rabbitmq::user))
        .route("/mqtt/vhost", post(rabbitmq::vhost))
        .route("/mqtt/resource", post(rabbitmq::resource))
        .route("/mqtt/topic", post(rabbitmq::topic))
        .route("/mqtt/auth", post(mosquitto::auth))
        .route("/mqtt/acl", post(mosquitto::acl))
        .route("/mqtt/superuser", post(mosquitto::superuser))
        .route("/mqtt/micro", post(micro::authenticate))
        .with_state(Arc::new(mqtt))
}
