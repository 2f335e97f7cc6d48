//! The task that keeps a certificate served: it follows the cache, orders when due, and
//! waits out failures with the old certificate in place.

use super::{
    AcmeError, Certificate, Window, account, ari,
    cache::{Backoff, CacheError, Lease, UnixSeconds},
    order::Issuer,
    renew::{self, Plan, Why},
    state::{Serving, State},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How often the cache is asked for another node's certificate, and the clock for its jumps.
const POLL: Duration = Duration::from_secs(60);
/// How often a lease is prolonged while an order runs; the shared cache gives five minutes.
const EXTEND: Duration = Duration::from_secs(60);

/// Keeps one certificate fresh. Run it as one task per process.
pub struct Keeper {
    issuer: Issuer,
    holder: String,
    state: watch::Sender<State>,
    wake: Arc<Wake>,
    window: Option<Window>,
    ask_window_at: UnixSeconds,
    /// The cache's last failure, told once.
    told: Option<String>,
}

#[derive(Default)]
struct Wake {
    look_again: Notify,
    order_now: Notify,
}

/// Watches and nudges a [`Keeper`] from elsewhere.
#[derive(Clone)]
pub struct Handle {
    state: watch::Receiver<State>,
    wake: Arc<Wake>,
}

impl Handle {
    /// How things stand, as a channel: `borrow()` for a look, `changed()` to wait.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Orders now, due or not; back-off is forgotten.
    pub fn renew_now(&self) {
        self.wake.order_now.notify_one();
    }

    /// Looks at the cache again and offers a certificate held back once more: the roots changed.
    pub fn look_again(&self) {
        self.wake.look_again.notify_one();
    }
}

impl Keeper {
    /// `holder` names this node in the lease.
    #[must_use]
    pub fn new(issuer: Issuer, holder: String) -> (Self, Handle) {
        let (state, watched) = watch::channel(State::default());
        let wake = Arc::<Wake>::default();
        let handle = Handle { state: watched, wake: wake.clone() };
        (Self { issuer, holder, state, wake, window: None, ask_window_at: 0, told: None }, handle)
    }

    /// Runs until `stop`. An order under way is dropped then and gone on with at the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        let wake = self.wake.clone();
        let mut asked = false;
        while !stop.is_cancelled() {
            let pause = tokio::select! {
                pause = Box::pin(self.turn(std::mem::take(&mut asked))) => pause,
                () = stop.cancelled() => return,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = wake.look_again.notified() => {}
                () = wake.order_now.notified() => asked = true,
                () = self.issuer.cache.changed() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One look at everything, with an order if one is due; answers how long to rest.
    async fn turn(&mut self, asked: bool) -> Duration {
        match self.look(asked).await {
            Ok(plan) => {
                self.told = None;
                self.rest(plan)
            }
            Err(error @ CacheError::LeaseLost) => {
                log::info!("{error}");
                POLL
            }
            Err(error) => {
                let sentence = error.to_string();
                if self.told.as_ref() != Some(&sentence) {
                    let away = matches!(error, CacheError::Unavailable(_));
                    let level = if away { log::Level::Warn } else { log::Level::Error };
                    log::log!(level, "no certificate can be looked up or ordered now: {sentence}");
                    self.told = Some(sentence);
                }
                POLL
            }
        }
    }

    fn rest(&self, plan: Plan) -> Duration {
        let seconds = u64::try_from(plan.at - self.issuer.ambient.now()).unwrap_or(0);
        Duration::from_secs(seconds).clamp(Duration::from_secs(1), POLL)
    }

    async fn look(&mut self, asked: bool) -> Result<Plan, CacheError> {
        let newest = self.follow().await?;
        let backoff = self.issuer.cache.backoff().await?;
        let current = newest.as_ref().map(|(_, certificate)| certificate);
        self.refresh_window(current).await;
        let plan = self.plan(current, &backoff, asked);
        self.publish(plan, backoff, false);
        if plan.at > self.issuer.ambient.now() {
            return Ok(plan);
        }
        let Some(lease) = self.issuer.cache.take_lease(&self.holder).await? else {
            self.state.send_modify(|state| state.ordering = true);
            return Ok(Plan { at: self.issuer.ambient.now() + POLL.as_secs().cast_signed(), ..plan });
        };
        let plan = self.order(&lease, plan, newest.map(|(version, _)| version)).await;
        self.issuer.cache.release_lease(lease).await?;
        plan
    }

    /// Reads the newest certificate and has it served if it is not yet.
    async fn follow(&self) -> Result<Option<(i64, Certificate)>, CacheError> {
        let newest = self.issuer.newest().await?;
        if let Some((version, certificate)) = &newest {
            self.serve(*version, certificate);
        }
        Ok(newest)
    }

    fn serve(&self, version: i64, certificate: &Certificate) {
        let served = self.state.borrow().serving.as_ref().map(|serving| serving.version);
        if served == Some(version) {
            return;
        }
        match self.issuer.install.install(certificate) {
            Ok(()) => {
                let serving = Serving::new(version, certificate);
                self.state.send_modify(|state| {
                    state.serving = Some(serving);
                    state.held_back = None;
                });
                log::info!("{}", self.state.borrow().in_words(self.issuer.ambient.now()));
            }
            Err(reason) => {
                let known = self.state.borrow().held_back.as_ref() == Some(&reason);
                if !known {
                    log::error!("the new ACME certificate is kept but not served: {reason}");
                }
                self.state.send_modify(|state| state.held_back = Some(reason));
            }
        }
    }

    fn plan(&self, current: Option<&Certificate>, backoff: &Backoff, asked: bool) -> Plan {
        match asked {
            true => Plan { at: 0, why: Why::Asked },
            false => renew::plan(current, &self.issuer.checked, self.window, backoff),
        }
    }

    fn publish(&self, plan: Plan, backoff: Backoff, ordering: bool) {
        self.state.send_modify(|state| {
            state.next = Some(plan);
            state.failure = (backoff.failures > 0).then_some(backoff);
            state.ordering = ordering;
        });
    }

    /// Asks the CA for its wish when it is time to; never fails.
    async fn refresh_window(&mut self, current: Option<&Certificate>) {
        let now = self.issuer.ambient.now();
        let Some(certificate) = current.filter(|_| now >= self.ask_window_at) else { return };
        if certificate.directory != self.issuer.checked.directory() {
            return;
        }
        let caller = &self.issuer.caller;
        let information = match account::discover(caller, &certificate.directory).await {
            Ok(directory) => ari::ask(caller, &directory, certificate).await,
            Err(error) => {
                log::debug!("no directory, so no renewal information: {error}");
                ari::Information::nothing()
            }
        };
        self.window = information.window;
        self.ask_window_at = now + information.again_in.as_secs().cast_signed();
    }

    /// Orders under the lease, and writes down how it went.
    async fn order(&mut self, lease: &Lease, plan: Plan, known: Option<i64>) -> Result<Plan, CacheError> {
        if self.issuer.newest().await?.map(|(version, _)| version) != known {
            return Ok(Plan { at: 0, ..plan });
        }
        log::info!("ordering a certificate for {}: {}", self.issuer.checked.domains().join(", "), plan.why);
        self.state.send_modify(|state| state.ordering = true);
        let result = self.issue(lease).await;
        let backoff = match result {
            Ok((version, certificate)) => {
                self.serve(version, &certificate);
                (self.window, self.ask_window_at) = (None, 0);
                let backoff = Backoff::default();
                let next = renew::plan(Some(&certificate), &self.issuer.checked, None, &backoff);
                self.publish(next, backoff.clone(), false);
                self.issuer.cache.keep_backoff(lease, &backoff).await?;
                return Ok(next);
            }
            Err(AcmeError::Cache(error @ CacheError::LeaseLost)) => return Err(error),
            Err(error) => self.failed(&error).await?,
        };
        self.issuer.cache.keep_backoff(lease, &backoff).await?;
        let plan = Plan { at: backoff.not_before, ..plan };
        self.publish(plan, backoff, false);
        self.report();
        Ok(plan)
    }

    /// Issues while the lease is prolonged beside it; a lost lease ends the attempt.
    async fn issue(&self, lease: &Lease) -> Result<(i64, Certificate), AcmeError> {
        let prolong = async {
            loop {
                tokio::time::sleep(EXTEND).await;
                if let Err(error) = self.issuer.cache.extend_lease(lease).await {
                    return error;
                }
            }
        };
        tokio::select! {
            result = self.issuer.issue(lease) => result,
            error = prolong => Err(error.into()),
        }
    }

    async fn failed(&self, error: &AcmeError) -> Result<Backoff, CacheError> {
        let Issuer { cache, ambient, checked, .. } = &self.issuer;
        let (before, fingerprint) = (cache.backoff().await?, checked.fingerprint());
        let failures = if before.fingerprint == fingerprint { before.failures.saturating_add(1) } else { 1 };
        let pause = renew::pause(error.class(), failures, error.retry_after(), ambient.dice());
        let now = ambient.now();
        Ok(Backoff {
            failures,
            not_before: now + pause.as_secs().cast_signed(),
            failed_at: now,
            sentence: error.to_string(),
            fingerprint,
        })
    }

    /// The one place where a failed renewal is told: louder as the end comes near.
    fn report(&self) {
        let now = self.issuer.ambient.now();
        let state = self.state.borrow();
        let near = state.serving.as_ref().is_none_or(|serving| serving.nears_its_end(now));
        let level = if near { log::Level::Error } else { log::Level::Warn };
        log::log!(level, "{}", state.in_words(now));
    }
}
