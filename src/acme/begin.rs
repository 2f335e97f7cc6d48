//! How an order begins: found again where a killed run left it, or placed.

use super::{
    AcmeError, Kind, Step,
    account::Session,
    ari,
    cache::{CacheError, Lease, Pending},
    call::not_acme,
    certificate::Certificate,
    key,
    order::{Issuer, Running},
};
use rustls_acme::acme::{Order, OrderStatus};
use serde::Deserialize;
use serde_json::{Value, json};

/// A begun order older than this is left alone: CAs keep them for a week.
const PENDING_MAX_AGE_SECONDS: i64 = 6 * 24 * 3600;
/// How many of the account's newest orders are looked at for one whose address was lost.
const ORDERS_LOOKED_AT: usize = 10;

/// An account's list of orders (RFC 8555 §7.1.2.1).
#[derive(Deserialize)]
struct Listed {
    orders: Vec<String>,
}

/// As much of a listed order as tells whether it is ours.
#[derive(Deserialize)]
struct Outline {
    status: String,
    identifiers: Vec<Name>,
}

#[derive(Deserialize)]
struct Name {
    value: String,
}

impl Issuer {
    /// The order in the cache, if it is still the one wanted and the CA knows it.
    pub(crate) async fn resume(
        &self,
        session: &Session,
        lease: &Lease,
    ) -> Result<Option<Running>, AcmeError> {
        let Some(mut pending) = self.cache.pending().await? else { return Ok(None) };
        let age = self.ambient.now() - pending.begun_at;
        let wanted = pending.directory == self.checked.directory()
            && pending.domains == self.checked.domains()
            && key::is_rsa_of(&pending.key_pem, self.checked.options.key_bits)
            && (0..PENDING_MAX_AGE_SECONDS).contains(&age);
        if !wanted {
            return Ok(None);
        }
        if pending.order_url.is_none() {
            pending.order_url = self.find_lost(session).await?;
        }
        let Some(url) = pending.order_url.clone() else { return Ok(None) };
        match self.look_at(session, &url).await {
            Ok(Order { status: OrderStatus::Invalid, .. }) => Ok(None),
            Ok(order) => {
                self.cache.keep_pending(lease, Some(&pending)).await?;
                Ok(Some(Running { url, order, key: pending.key_pem }))
            }
            Err(error) if error.ends_the_order() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks through the account's orders for an open one over our names: the one whose
    /// address was on its way when m0v was killed. CAs without that list reuse such an order.
    async fn find_lost(&self, session: &Session) -> Result<Option<String>, AcmeError> {
        let Some(list) = &session.orders else { return Ok(None) };
        let Ok(answer) = self.post(session, "orders", list, None).await else { return Ok(None) };
        let listed: Listed = answer.json("orders")?;
        for url in listed.orders.iter().rev().take(ORDERS_LOOKED_AT) {
            let outline: Outline = self.post(session, "order", url, None).await?.json("order")?;
            let mut names: Vec<_> = outline.identifiers.into_iter().map(|name| name.value).collect();
            names.sort();
            if matches!(outline.status.as_str(), "pending" | "ready") && names == self.checked.domains() {
                return Ok(Some(url.clone()));
            }
        }
        Ok(None)
    }

    /// Keeps a key, then orders; the order's address is kept before it is used.
    pub(crate) async fn place(&self, session: &Session, lease: &Lease) -> Result<Running, AcmeError> {
        let current = self.newest().await?.map(|(_, certificate)| certificate);
        let mut pending = self.intent(current.as_ref()).await?;
        self.cache.keep_pending(lease, Some(&pending)).await?;
        self.step(Step::KeyKept);
        let (url, order) = self.new_order(session, current.as_ref()).await?;
        self.step(Step::OrderPlaced);
        pending.order_url = Some(url.clone());
        self.cache.keep_pending(lease, Some(&pending)).await?;
        self.step(Step::OrderKept);
        Ok(Running { url, order, key: pending.key_pem })
    }

    /// The newest certificate; a damaged one counts as none and is replaced.
    pub(crate) async fn newest(&self) -> Result<Option<(i64, Certificate)>, CacheError> {
        match self.cache.certificate().await {
            Err(error @ CacheError::Damaged { .. }) => {
                log::error!("{error}");
                Ok(None)
            }
            other => other,
        }
    }

    async fn intent(&self, current: Option<&Certificate>) -> Result<Pending, AcmeError> {
        let options = &self.checked.options;
        let reusable = current.filter(|certificate| {
            options.reuse_key && key::is_rsa_of(&certificate.key_pem, options.key_bits)
        });
        let key_pem = match reusable {
            Some(certificate) => certificate.key_pem.clone(),
            None => key::generate(options.key_bits).await?,
        };
        Ok(Pending {
            directory: options.directory.clone(),
            domains: options.domains.clone(),
            key_pem,
            order_url: None,
            begun_at: self.ambient.now(),
        })
    }

    /// Orders; with `replaces` where the server offers renewal information, and at once
    /// without it if it minds: that hint must never stand in the way of a renewal.
    async fn new_order(
        &self,
        session: &Session,
        current: Option<&Certificate>,
    ) -> Result<(String, Order), AcmeError> {
        let domains = self.checked.domains();
        let identifiers: Vec<_> =
            domains.iter().map(|name| json!({ "type": "dns", "value": name })).collect();
        let mut payload = json!({ "identifiers": identifiers });
        if let Some(profile) = &self.checked.options.profile {
            let offered = &session.directory.meta.profiles;
            if offered.contains_key(profile) {
                payload["profile"] = profile.as_str().into();
            } else {
                let offered: Vec<_> = offered.keys().map(String::as_str).collect();
                log::warn!(
                    "[acme] profile `{profile}` is not offered by this CA (it has: {}); ordering without",
                    offered.join(", ")
                );
            }
        }
        if let Some(id) = ari::replaceable(&session.directory, &self.checked, current) {
            let mut with_hint = payload.clone();
            with_hint["replaces"] = id.into();
            match self.post_order(session, &with_hint).await {
                Err(AcmeError::Problem(problem)) if problem.kind != Kind::RateLimited => {
                    log::info!("the CA minds the `replaces` hint ({problem}); ordering without it");
                }
                other => return other,
            }
        }
        self.post_order(session, &payload).await
    }

    async fn post_order(&self, session: &Session, payload: &Value) -> Result<(String, Order), AcmeError> {
        let answer = self.post(session, "newOrder", &session.directory.base.new_order, Some(payload)).await?;
        let url = answer.header("location").ok_or_else(|| not_acme("newOrder", "no Location in it"))?;
        Ok((url, answer.json("newOrder")?))
    }
}
