//! One whole order: from a directory's address to a certificate in the cache.
//!
//! Before each thing the CA would count, what is needed to go on from there is kept: the
//! account's key before the account, the certificate's key before the order, the order's
//! address before anything is done with it. So whatever is killed, the next run goes on with
//! the same account and the same order. [`Step`] names the places where it can be cut.

use super::{
    AcmeError, Ambient, Install, Pace, account,
    account::Session,
    answer::Answer,
    authorize,
    cache::{Cache, Lease},
    call::Caller,
    certificate::Certificate,
    collect, key,
    options::Checked,
    secret::Secret,
};
use rustls_acme::acme::{Order, OrderStatus};
use serde_json::Value;
use std::sync::Arc;
use tokio::time::Instant;

/// A place on the way where everything needed to go on is kept or at the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "in the order of events; each name says what has just happened")]
pub enum Step {
    AccountKeyKept,
    AccountOpened,
    KeyKept,
    OrderPlaced,
    OrderKept,
    ChallengePublished,
    ChallengeAccepted,
    Authorized,
    Finalized,
    Issued,
    Downloaded,
    CertificateKept,
}

/// Orders certificates. One per process and cache.
pub struct Issuer {
    pub(crate) checked: Checked,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) install: Arc<dyn Install>,
    pub(crate) ambient: Ambient,
    pub(crate) caller: Caller,
    on_step: Box<dyn Fn(Step) + Send + Sync>,
}

/// An order at the CA and the key it is for.
pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) order: Order,
    pub(crate) key: Secret,
}

impl Issuer {
    /// Takes the parts; reads `ca_file`.
    ///
    /// # Errors
    /// `ca_file` is of no use.
    pub fn new(
        checked: Checked,
        cache: Arc<dyn Cache>,
        install: Arc<dyn Install>,
        ambient: Ambient,
        pace: Pace,
    ) -> Result<Self, AcmeError> {
        let caller = Caller::new(&checked, pace)?;
        Ok(Self {
            checked,
            cache,
            install,
            ambient,
            caller,
            on_step: Box::new(|step| log::debug!("acme: {step:?}")),
        })
    }

    /// Is told each step just after it happened.
    #[must_use]
    pub fn on_step(mut self, on_step: impl Fn(Step) + Send + Sync + 'static) -> Self {
        self.on_step = Box::new(on_step);
        self
    }

    /// Goes through a whole order, or goes on with the one that was cut, and keeps the
    /// certificate. May be dropped at any point.
    ///
    /// # Errors
    /// Nothing is changed but what is needed to go on; [`AcmeError::class`] tells how long to wait.
    pub async fn issue(&self, lease: &Lease) -> Result<(i64, Certificate), AcmeError> {
        let session = account::open(&self.caller, &self.checked, &*self.cache, lease, &*self.on_step).await?;
        if let Some(running) = self.resume(&session, lease).await? {
            log::info!("going on with the order begun earlier");
            match self.complete(&session, lease, running).await {
                Err(error) if error.ends_the_order() => {
                    log::info!("that order leads nowhere ({error}); ordering anew");
                    self.cache.keep_pending(lease, None).await?;
                }
                other => return other,
            }
        }
        let running = self.place(&session, lease).await?;
        let result = self.complete(&session, lease, running).await;
        if result.as_ref().is_err_and(AcmeError::ends_the_order) {
            self.cache.keep_pending(lease, None).await?;
        }
        result
    }

    pub(crate) fn step(&self, step: Step) {
        (self.on_step)(step);
    }

    /// From an order at the CA to a certificate in the cache.
    async fn complete(
        &self,
        session: &Session,
        lease: &Lease,
        mut running: Running,
    ) -> Result<(i64, Certificate), AcmeError> {
        if running.order.status == OrderStatus::Pending {
            authorize::all(self, session, &running.order).await?;
            running.order =
                self.wait(session, &running.url, |status| *status != OrderStatus::Pending).await?;
        }
        self.step(Step::Authorized);
        if running.order.status == OrderStatus::Ready {
            let request = key::signing_request(&running.key, self.checked.domains())?;
            let (account, tls) = (&session.account, &self.caller.tls);
            let finalize = &running.order.finalize;
            running.order = self.caller.run("finalize", || account.finalize(tls, finalize, &request)).await?;
        }
        self.step(Step::Finalized);
        running.order =
            self.wait(session, &running.url, |status| matches!(status, OrderStatus::Valid { .. })).await?;
        self.step(Step::Issued);
        let certificate = collect::best_chain(self, session, &running).await?;
        self.step(Step::Downloaded);
        let version = self.cache.keep_certificate(lease, &certificate).await?;
        self.step(Step::CertificateKept);
        self.cache.keep_pending(lease, None).await?;
        Ok((version, certificate))
    }

    /// Looks at the order until it is as wanted.
    async fn wait(
        &self,
        session: &Session,
        url: &str,
        wanted: impl Fn(&OrderStatus) -> bool,
    ) -> Result<Order, AcmeError> {
        let pace = &self.caller.pace;
        let begun = Instant::now();
        let mut pauses = pace.pauses();
        loop {
            let order = self.look_at(session, url).await?;
            if order.status == OrderStatus::Invalid {
                let reason = order.error.and_then(|problem| problem.detail);
                let reason = reason.unwrap_or_else(|| "no reason given".to_owned());
                return Err(AcmeError::OrderClosed(super::secret::without_key_authorizations(&reason)));
            }
            if wanted(&order.status) {
                return Ok(order);
            }
            if begun.elapsed() > pace.settle {
                return Err(AcmeError::Unfinished { what: "the order".to_owned(), waited: pace.settle });
            }
            tokio::time::sleep(pauses.next().unwrap_or(pace.poll_most)).await;
        }
    }

    pub(crate) async fn look_at(&self, session: &Session, url: &str) -> Result<Order, AcmeError> {
        let (account, tls) = (&session.account, &self.caller.tls);
        self.caller.run("order", || account.order(tls, url)).await
    }

    pub(crate) async fn post(
        &self,
        session: &Session,
        call: &'static str,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Answer, AcmeError> {
        session.signer().post(&self.caller, session.new_nonce(), call, url, payload).await
    }
}
