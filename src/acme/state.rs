//! How the certificate stands, as a value and in words: for the log, `m0v check` and metrics.

use super::{
    cache::{Backoff, UnixSeconds},
    certificate::Certificate,
    options::Checked,
    renew::{self, Plan},
};
use std::fmt;

/// What is served, when the next try is, and why the last one failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The certificate in use; `None` until the first is.
    pub serving: Option<Serving>,
    /// The newest certificate was obtained but is not served, for this reason.
    pub held_back: Option<String>,
    /// The next try.
    pub next: Option<Plan>,
    /// The last failure, if the last try failed.
    pub failure: Option<Backoff>,
    /// An order is under way, here or on another node.
    pub ordering: bool,
}

/// What is known of the certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Its version in the cache.
    pub version: i64,
    /// The names on it.
    pub domains: Vec<String>,
    /// The root its chain leads to.
    pub root: String,
    /// When it began.
    pub not_before: UnixSeconds,
    /// When it ends: the metric counts down to this.
    pub not_after: UnixSeconds,
}

impl Serving {
    pub(crate) fn new(version: i64, certificate: &Certificate) -> Self {
        let Certificate { domains, root, not_before, not_after, .. } = certificate;
        let (not_before, not_after) = (*not_before, *not_after);
        Self { version, domains: domains.clone(), root: root.clone(), not_before, not_after }
    }

    /// The last tenth of the lifetime: nine days of ninety, fourteen hours of six days.
    pub(crate) fn nears_its_end(&self, now: UnixSeconds) -> bool {
        self.not_after - now < (self.not_after - self.not_before) / 10
    }
}

impl State {
    /// What a process beside the running server can tell from the cache alone. It takes the
    /// newest certificate for the one in use.
    #[must_use]
    pub fn of_cache(newest: Option<&(i64, Certificate)>, checked: &Checked, backoff: Backoff) -> Self {
        let current = newest.map(|(_, certificate)| certificate);
        Self {
            serving: newest.map(|(version, certificate)| Serving::new(*version, certificate)),
            next: Some(renew::plan(current, checked, None, &backoff)),
            failure: (backoff.failures > 0).then_some(backoff),
            ..Self::default()
        }
    }

    /// Whether devices can trust what is served: the condition of `/readyz`.
    #[must_use]
    pub fn is_serving(&self, now: UnixSeconds) -> bool {
        self.serving.as_ref().is_some_and(|serving| serving.not_after > now)
    }

    /// The state in sentences; times are relative to `now` and absolute.
    #[must_use]
    pub fn in_words(&self, now: UnixSeconds) -> String {
        let mut words = match &self.serving {
            None => "no ACME certificate yet".to_owned(),
            Some(Serving { domains, root, not_after, .. }) => {
                let end = if *not_after > now { "valid until" } else { "EXPIRED since" };
                format!(
                    "certificate for {} under `{root}`, {end} {}",
                    domains.join(", "),
                    When(*not_after, now)
                )
            }
        };
        if let Some(reason) = &self.held_back {
            words.push_str(&format!("; a newer one is kept but not served: {reason}"));
        }
        if let Some(Backoff { failures, failed_at, sentence, .. }) = &self.failure {
            let tries = if *failures == 1 { "the last try" } else { "the last of several tries" };
            words.push_str(&format!("; {tries} failed {}: {sentence}", When(*failed_at, now)));
        }
        match self.next {
            _ if self.ordering => words.push_str("; an order is under way"),
            Some(Plan { at, why }) if at <= now => words.push_str(&format!("; next try now: {why}")),
            Some(Plan { at, why }) => words.push_str(&format!("; next try {}: {why}", When(at, now))),
            None => {}
        }
        words
    }
}

/// A time seen from another: `2026-03-01 04:05 UTC (in 12 days)`.
struct When(UnixSeconds, UnixSeconds);

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time, now) = *self;
        match chrono::DateTime::from_timestamp(time, 0) {
            Some(date) => write!(f, "{} UTC ", date.naive_utc().to_string().get(..16).unwrap_or("?"))?,
            None => write!(f, "second {time} ")?,
        }
        let distance = time.abs_diff(now);
        let (count, unit) = match distance {
            0..120 => (distance, "seconds"),
            120..7200 => (distance / 60, "minutes"),
            7200..172_800 => (distance / 3600, "hours"),
            _ => (distance / 86_400, "days"),
        };
        if time < now { write!(f, "({count} {unit} ago)") } else { write!(f, "(in {count} {unit})") }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Why, *};

    const NOON: UnixSeconds = 1_772_366_400;

    #[test]
    fn says_when_the_next_try_is_and_why_the_last_one_failed() {
        let mut state = State::default();
        assert_eq!(state.in_words(NOON), "no ACME certificate yet");
        state.next = Some(Plan { at: NOON + 90, why: Why::NoCertificate });
        state.failure = Some(Backoff {
            failures: 1,
            failed_at: NOON - 600,
            sentence: "the CA could not reach a.example".to_owned(),
            ..Backoff::default()
        });
        assert_eq!(
            state.in_words(NOON),
            "no ACME certificate yet; the last try failed 2026-03-01 11:50 UTC (10 minutes ago): the CA could not \
             reach a.example; next try 2026-03-01 12:01 UTC (in 90 seconds): there is no certificate yet"
        );
        state.serving = Some(Serving {
            version: 1,
            domains: vec!["a.example".to_owned()],
            root: "Root".to_owned(),
            not_before: NOON - 1000,
            not_after: NOON - 1,
        });
        assert!(state.in_words(NOON).contains("EXPIRED since 2026-03-01 11:59 UTC (1 seconds ago)"));
        assert!(!state.is_serving(NOON));
        assert!(state.is_serving(NOON - 2));
    }
}
