//! Whether a broker asks: by its token, as `Authorization: Bearer …`, or, for brokers that can send
//! no header, as `?token=…`. Neither is ever logged.

use super::Mqtt;
use crate::api::Peer;
use crate::api::error::ApiError;
use crate::api::text;
use crate::device::secrets;
use crate::net::rate::PerIpRate;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use governor::Quota;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Wrong tokens of one address that are answered 401, in the long run; those beyond get 429.
const WRONG_PER_SECOND: NonZeroU32 = NonZeroU32::new(1).expect("not zero");

/// The same, at once.
const WRONG_AT_ONCE: NonZeroU32 = NonZeroU32::new(30).expect("not zero");

/// The token of the configuration, as its hash: of one length, so that comparing tells nothing.
pub(super) struct BrokerToken {
    hash: String,
    wrong: PerIpRate,
}

impl BrokerToken {
    pub(super) fn new(token: &str) -> Self {
        let quota = Quota::per_second(WRONG_PER_SECOND).allow_burst(WRONG_AT_ONCE);
        Self { hash: secrets::hashed(token), wrong: PerIpRate::new(quota) }
    }

    /// Judges what was shown.
    ///
    /// # Errors
    /// Nothing, or another token.
    pub(super) fn judge(&self, shown: Option<&str>, peer: IpAddr) -> Result<(), ApiError> {
        let is_right = shown
            .is_some_and(|shown| bool::from(secrets::hashed(shown).as_bytes().ct_eq(self.hash.as_bytes())));
        if is_right {
            return Ok(());
        }
        match self.wrong.admit(peer) {
            Ok(()) => Err(ApiError::NoBroker),
            Err(wait) => Err(ApiError::too_often(wait)),
        }
    }
}

/// The token where it belongs; if the header is there, only the header is judged.
pub(super) fn shown(parts: &Parts) -> Option<String> {
    let mut headers = parts.headers.get_all(header::AUTHORIZATION).into_iter();
    match (headers.next(), headers.next()) {
        (Some(value), None) => {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        }
        (Some(_), Some(_)) => None,
        (None, _) => {
            let mut tokens =
                text::members(parts.uri.query().unwrap_or_default()).filter(|(name, _)| *name == "token");
            match (tokens.next(), tokens.next()) {
                (Some((_, token)), None) => text::decode_form(token),
                _ => None,
            }
        }
    }
}

/// Proof that a broker asks; to be taken before the body is read.
pub(in crate::api) struct Broker;

impl FromRequestParts<Arc<Mqtt>> for Broker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, mqtt: &Arc<Mqtt>) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<Peer>().expect("serve adds the peer to every request").ip;
        mqtt.token.judge(shown(parts).as_deref(), peer).map(|()| Self)
    }
}
