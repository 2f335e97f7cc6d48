//! Who asks: by an API key in a header, or by the certificate of the connection.
//!
//! A key that is there is judged alone. The configured one needs no database; the named ones are
//! read at most once in [`STALE`], and while the database is away those it had last count on.

use super::error::ApiError;
use super::{Peer, body};
use crate::device::{Identity, Refused};
use crate::net::rate::PerIpRate;
use crate::ops::events;
use crate::ops::health::Health;
use crate::ops::metrics::Metrics;
use crate::protocol::reply::Refusal;
use crate::store::devices::Role;
use crate::store::{Store, StoreError};
use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use axum::extract::{FromRef, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::Quota;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// How old the list of named keys may be: one that is retired counts no longer than this and the
/// time of one question.
const STALE: Duration = Duration::from_millis(800);

/// For the list of named keys; meanwhile, and if it does not come, those it had last count on.
const PATIENCE: Duration = Duration::from_secs(2);

/// Wrong keys of one address that are answered 401, in the long run; those beyond get 429. That
/// keeps the noise down. What keeps a key from being guessed is its length: a right key is
/// accepted from that address too, because a whole office, or a proxy, may stand behind it.
const WRONG_PER_SECOND: NonZeroU32 = NonZeroU32::new(1).expect("not zero");

/// The same, at once.
const WRONG_AT_ONCE: NonZeroU32 = NonZeroU32::new(30).expect("not zero");

/// What the audit calls the configured key.
const CONFIGURED: &str = "(configured)";

/// SHA-256 of a key: of one length, so that comparing tells nothing of the key's.
#[derive(Clone, Copy)]
struct KeyDigest([u8; SHA256_OUTPUT_LEN]);

impl KeyDigest {
    fn of(key: &[u8]) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, key).as_ref());
        Self(bytes)
    }

    /// `None` for what is no digest in hex.
    fn parse(hex: &str) -> Option<Self> {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        if hex.len() != 2 * SHA256_OUTPUT_LEN || !hex.is_ascii() {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    fn is(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// The header that carries the API key, and the configured key.
pub struct KeyHeader {
    name: HeaderName,
    configured: Option<KeyDigest>,
}

impl KeyHeader {
    /// `[api] key_name` and `key_value`. `None` if the name is none that a header can have.
    #[must_use]
    pub fn new(name: &str, value: Option<&str>) -> Option<Self> {
        let configured = value.map(|value| KeyDigest::of(value.as_bytes()));
        Some(Self { name: HeaderName::try_from(name).ok()?, configured })
    }
}

/// The named keys as they were.
struct Named {
    keys: Vec<(Arc<str>, KeyDigest)>,
    asked: Instant,
}

/// Judges who asks, for all routes.
pub(super) struct Gate {
    header: KeyHeader,
    store: Arc<dyn Store>,
    named: ArcSwapOption<Named>,
    /// Held by whoever reads the named keys anew.
    turn: Semaphore,
    wrong: PerIpRate,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

/// Who asks, proved.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// By an API key.
    Key {
        /// What the audit calls it.
        name: Arc<str>,
    },
    /// By the certificate of the connection.
    Certificate(Arc<Identity>),
}

impl Gate {
    pub(super) fn new(
        header: KeyHeader,
        store: Arc<dyn Store>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let quota = Quota::per_second(WRONG_PER_SECOND).allow_burst(WRONG_AT_ONCE);
        Self {
            header,
            store,
            named: ArcSwapOption::empty(),
            turn: Semaphore::new(1),
            wrong: PerIpRate::new(quota),
            health,
            metrics,
        }
    }

    /// The name of the header that carries the API key.
    pub(super) fn header(&self) -> &str {
        self.header.name.as_str()
    }

    /// Who sends these headers.
    ///
    /// # Errors
    /// Nobody who may.
    async fn judge(&self, headers: &HeaderMap, peer: &Peer) -> Result<Caller, ApiError> {
        let mut keys = headers.get_all(&self.header.name).into_iter();
        match (keys.next(), keys.next()) {
            (None, _) => match &peer.certificate {
                Some(Ok(identity)) if identity.is_revoked() => Err(ApiError::Certificate(Refused::Revoked)),
                Some(Ok(identity)) => Ok(Caller::Certificate(Arc::clone(identity))),
                Some(Err(refused)) => Err(ApiError::Certificate(refused.clone())),
                None => Err(ApiError::NoCredentials(self.header.name.clone())),
            },
            (Some(key), None) => self.judge_key(KeyDigest::of(key.as_bytes()), peer).await,
            (Some(_), Some(_)) => Err(self.wrong_key(peer)),
        }
    }

    async fn judge_key(&self, key: KeyDigest, peer: &Peer) -> Result<Caller, ApiError> {
        if self.header.configured.is_some_and(|configured| configured.is(&key).into()) {
            return Ok(Caller::Key { name: CONFIGURED.into() });
        }
        let Some(named) = self.named().await else { return Err(ApiError::Refused(Refusal::Unavailable)) };
        let mut found = None;
        for (name, digest) in &named.keys {
            if digest.is(&key).into() {
                found = Some(name);
            }
        }
        match found {
            Some(name) => Ok(Caller::Key { name: Arc::clone(name) }),
            None => Err(self.wrong_key(peer)),
        }
    }

    fn wrong_key(&self, peer: &Peer) -> ApiError {
        events::wrong_api_key(&self.metrics);
        match self.wrong.admit(peer.ip) {
            Ok(()) => ApiError::WrongKey,
            Err(wait) => ApiError::TooManyKeys { seconds: wait.as_secs() + 1 },
        }
    }

    /// The named keys, fresh if the database is there. `None`: never read.
    async fn named(&self) -> Option<Arc<Named>> {
        let is_fresh = |named: &Arc<Named>| named.asked.elapsed() < STALE;
        let known = self.named.load_full();
        if !self.health.store_is_up() || known.as_ref().is_some_and(is_fresh) {
            return known;
        }
        let _turn = self.turn.acquire().await.ok()?;
        let known = self.named.load_full();
        // Whoever held the turn may have found the database away.
        if !self.health.store_is_up() || known.as_ref().is_some_and(is_fresh) {
            return known;
        }
        let asked = Instant::now();
        let keys = timeout(PATIENCE, self.store.list_keys()).await;
        let keys =
            keys.unwrap_or_else(|_| Err(StoreError::Busy("the API keys took too long to read".into())));
        match keys {
            Ok(keys) => {
                let current = keys.into_iter().filter(|key| key.retired_at.is_none());
                let keys =
                    current.filter_map(|key| Some((key.name.into(), KeyDigest::parse(&key.key_hash)?)));
                self.named.store(Some(Arc::new(Named { keys: keys.collect(), asked })));
                self.named.load_full()
            }
            Err(error) => {
                events::store_failed(&self.health, &self.metrics, "read the API keys", &error);
                // Those who wait for the turn need not ask as well.
                let keys = known.map(|known| known.keys.clone());
                let again = keys.map(|keys| Arc::new(Named { keys, asked: Instant::now() }));
                self.named.store(again.clone());
                again
            }
        }
    }
}

impl Caller {
    /// What the audit says of who did something.
    pub(super) fn who(&self) -> String {
        match self {
            Self::Key { name } => format!("api key {name}"),
            Self::Certificate(identity) => format!("certificate {}", identity.certificate_id()),
        }
    }

    /// Insists on somebody who may speak for any device: a key, or a certificate of that role.
    ///
    /// # Errors
    /// A certificate of the role `device`.
    pub(super) fn is_service(&self) -> Result<(), ApiError> {
        match self {
            Self::Key { .. } => Ok(()),
            Self::Certificate(identity) if identity.role() == Role::Service => Ok(()),
            Self::Certificate(_) => {
                Err(ApiError::NotEntitled("this needs an API key, or a certificate of the role service"))
            }
        }
    }
}

/// Refuses every request of a connection whose certificate is not accepted, with the reason.
pub(super) async fn refuse_bad_certificate(request: Request, next: Next) -> Response {
    match request.extensions().get::<Peer>().map(|peer| &peer.certificate) {
        Some(Some(Err(refused))) => {
            let refusal = ApiError::Certificate(refused.clone());
            body::drop_unread(request).await;
            refusal.into_response()
        }
        Some(Some(Ok(identity))) if identity.is_revoked() => {
            body::drop_unread(request).await;
            ApiError::Certificate(Refused::Revoked).into_response()
        }
        _ => next.run(request).await,
    }
}

impl<S: Sync> FromRequestParts<S> for Caller
where
    Arc<Gate>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let gate = Arc::<Gate>::from_ref(state);
        let peer = parts.extensions.get::<Peer>().expect("serve adds the peer to every request");
        gate.judge(&parts.headers, peer).await
    }
}

#[cfg(test)]
mod tests {
    use super::KeyDigest;

    #[test]
    fn reads_digests_in_hex() {
        let digest = KeyDigest::of(b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(bool::from(KeyDigest::parse(hex).unwrap().is(&digest)));
        assert!(!bool::from(KeyDigest::of(b"abd").is(&digest)));
        for bad in ["", "ba78", &hex.replace('b', "g"), &hex.replace("ba", "é")] {
            assert!(KeyDigest::parse(bad).is_none(), "{bad}");
        }
    }
}
