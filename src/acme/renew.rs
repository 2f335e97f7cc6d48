//! When to renew and how long to wait after a failure: pure, the caller passes the time and
//! the dice.

use super::{
    Window,
    cache::{Backoff, UnixSeconds},
    certificate::Certificate,
    error::Class,
    options::Checked,
};
use std::{fmt, time::Duration};

const DAY: i64 = 24 * 3600;
/// Renewals are spread over this part of the lifetime, ahead of the due time: a day of 90.
const SPREAD: i64 = 90;
/// However early a renewal is asked for, this much of the lifetime passes first: a
/// `renew_before_days` longer than the lifetime must not order in a circle.
const LEAST_USE: i64 = 2;
/// Renewal information may not ask for the next renewal sooner than this after an issuance.
const ARI_LEAST_SECONDS: i64 = 6 * 3600;
/// What a server can ask to wait at most: one try a day harms nobody, a certificate that
/// runs out does.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(24 * 3600);
/// A failed try is never followed by the next sooner than this.
const RETRY_LEAST: Duration = Duration::from_secs(2);

/// When the next try is due, and why then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Not before this.
    pub at: UnixSeconds,
    /// The reason.
    pub why: Why,
}

/// Reasons for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is none.
    NoCertificate,
    /// `[acme] domains` differs from what is on the certificate.
    OtherNames,
    /// `[acme] directory` differs from where it came from.
    OtherDirectory,
    /// A third of its lifetime is left.
    Lifetime,
    /// `renew_before_days` is reached.
    DaysBefore(u32),
    /// The CA asked for it.
    RenewalInformation,
    /// The operator asked for it.
    Asked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("there is no certificate yet"),
            Self::OtherNames => f.write_str("[acme] domains names others than the certificate"),
            Self::OtherDirectory => f.write_str("the certificate comes from another directory"),
            Self::Lifetime => f.write_str("a third of its lifetime is left"),
            Self::DaysBefore(days) => write!(f, "{days} days before its end"),
            Self::RenewalInformation => f.write_str("the CA asks for it"),
            Self::Asked => f.write_str("asked for"),
        }
    }
}

/// Plans the next try. Back-off holds only for the options it was earned with.
#[must_use]
pub fn plan(
    current: Option<&Certificate>,
    checked: &Checked,
    window: Option<Window>,
    backoff: &Backoff,
) -> Plan {
    let Plan { at, why } = due(current, checked, window);
    let held = backoff.failures > 0 && backoff.fingerprint == checked.fingerprint();
    Plan { at: if held { at.max(backoff.not_before) } else { at }, why }
}

fn due(current: Option<&Certificate>, checked: &Checked, window: Option<Window>) -> Plan {
    let now = |why| Plan { at: 0, why };
    let Some(certificate) = current else { return now(Why::NoCertificate) };
    if certificate.directory != checked.directory() {
        return now(Why::OtherDirectory);
    }
    if certificate.domains != checked.domains() {
        return now(Why::OtherNames);
    }
    let lifetime = certificate.lifetime().max(1);
    let (before_end, why) = match checked.options.renew_before_days {
        Some(days) => (i64::from(days) * DAY, Why::DaysBefore(days)),
        None => (lifetime / 3, Why::Lifetime),
    };
    let spread = part(lifetime / SPREAD, certificate.fraction);
    let earliest = certificate.not_before + lifetime / LEAST_USE;
    let by_age = Plan { at: (certificate.not_after - before_end - spread).max(earliest), why };
    match window {
        Some(Window { start, end }) => {
            let wish = start + part(end - start, certificate.fraction);
            let wish = wish.max(certificate.obtained_at + ARI_LEAST_SECONDS);
            if wish < by_age.at { Plan { at: wish, why: Why::RenewalInformation } } else { by_age }
        }
        None => by_age,
    }
}

/// How long to wait after the `failures`-th failure in a row: full jitter (`dice` in 0..1)
/// below a ceiling that doubles, at least what the server asked for.
#[must_use]
pub fn pause(class: Class, failures: u32, retry_after: Option<Duration>, dice: f64) -> Duration {
    let (first, most) = match class {
        Class::Network => (5, 10 * 60),
        // Let's Encrypt counts five failed validations per name and hour.
        Class::Refused => (2 * 60, 3600),
        Class::RateLimited => (30 * 60, 6 * 3600),
        Class::Setup => (10 * 60, 6 * 3600),
    };
    let doublings = failures.saturating_sub(1).min(16);
    let ceiling = Duration::from_secs((first << doublings).min(most));
    let jittered = ceiling.mul_f64(dice.clamp(0.0, 1.0)).max(RETRY_LEAST);
    retry_after.map_or(jittered, |asked| asked.min(RETRY_AFTER_MOST) + jittered.min(Duration::from_secs(60)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "seconds of a few years")]
fn part(span: i64, fraction: f64) -> i64 {
    (span.max(0) as f64 * fraction) as i64
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Options, Secret},
        *,
    };

    const END: UnixSeconds = 90 * DAY;

    /// Valid from 0 to `days`; obtained at 0.
    fn certificate(days: i64, fraction: f64) -> Certificate {
        Certificate {
            directory: super::super::LETS_ENCRYPT.to_owned(),
            domains: vec!["a.example".to_owned(), "b.example".to_owned()],
            key_pem: Secret::new(String::new()),
            chain_pem: String::new(),
            not_before: 0,
            not_after: days * DAY,
            obtained_at: 0,
            root: String::new(),
            ari_id: None,
            fraction,
        }
    }

    fn wanted(renew_before_days: Option<u32>) -> Checked {
        let domains = vec!["B.example.".to_owned(), "a.example".to_owned()];
        Options { domains, renew_before_days, http_01: true, ..Options::default() }.check().unwrap()
    }

    #[test]
    fn renews_at_a_third_or_the_days_given_and_never_in_the_first_half() {
        for (days, before, fraction, at, why) in [
            (90, None, 0.0, 60 * DAY, Why::Lifetime),
            (90, None, 0.5, 60 * DAY - DAY / 2, Why::Lifetime),
            (6, None, 0.0, 4 * DAY, Why::Lifetime),
            (45, Some(10), 0.0, 35 * DAY, Why::DaysBefore(10)),
            (6, Some(30), 0.0, 3 * DAY, Why::DaysBefore(30)),
            (6, Some(30), 0.9, 3 * DAY, Why::DaysBefore(30)),
        ] {
            let plan = plan(Some(&certificate(days, fraction)), &wanted(before), None, &Backoff::default());
            assert_eq!(plan, Plan { at, why }, "{days} days, {before:?}, {fraction}");
        }
    }

    #[test]
    fn renewal_information_pulls_forward_never_back_and_not_in_a_circle() {
        let window = |start, end| Some(Window { start, end });
        for (window, at, why) in [
            (window(10 * DAY, 12 * DAY), 11 * DAY, Why::RenewalInformation),
            (window(-5 * DAY, -4 * DAY), ARI_LEAST_SECONDS, Why::RenewalInformation),
            (window(END, END + DAY), 60 * DAY - DAY / 2, Why::Lifetime),
            (window(i64::MAX / 4, i64::MAX / 2), 60 * DAY - DAY / 2, Why::Lifetime),
        ] {
            let plan = plan(Some(&certificate(90, 0.5)), &wanted(None), window, &Backoff::default());
            assert_eq!(plan, Plan { at, why }, "{window:?}");
        }
    }

    #[test]
    fn orders_at_once_when_something_else_is_wanted() {
        let none = Backoff::default();
        assert_eq!(plan(None, &wanted(None), None, &none), Plan { at: 0, why: Why::NoCertificate });
        let mut other = certificate(90, 0.0);
        other.domains.pop();
        assert_eq!(plan(Some(&other), &wanted(None), None, &none), Plan { at: 0, why: Why::OtherNames });
        other.directory = "https://elsewhere/".to_owned();
        assert_eq!(plan(Some(&other), &wanted(None), None, &none), Plan { at: 0, why: Why::OtherDirectory });
    }

    #[test]
    fn back_off_holds_for_the_options_it_was_earned_with() {
        let checked = wanted(None);
        let backoff =
            |fingerprint| Backoff { failures: 2, not_before: 500, fingerprint, ..Backoff::default() };
        assert_eq!(plan(None, &checked, None, &backoff(checked.fingerprint())).at, 500);
        assert_eq!(plan(None, &checked, None, &backoff(String::new())).at, 0);
    }

    #[test]
    fn pauses_with_full_jitter_below_a_doubling_ceiling() {
        use Class::{Network, RateLimited, Refused, Setup};
        let day = 24 * 3600;
        for (class, failures, retry_after, dice, seconds) in [
            (Network, 1, None, 1.0, 5),
            (Network, 1, None, 0.0, 2),
            (Network, 3, None, 0.5, 10),
            (Network, 99, None, 1.0, 600),
            (Refused, 1, None, 1.0, 120),
            (Refused, 4, None, 0.5, 480),
            (Refused, u32::MAX, None, 1.0, 3600),
            (Setup, 1, None, 1.0, 600),
            (RateLimited, 1, None, 1.0, 1800),
            (RateLimited, 1, Some(7200), 0.0, 7202),
            (RateLimited, 1, Some(7200), 1.0, 7260),
            (RateLimited, 9, Some(365 * day), 1.0, day + 60),
        ] {
            let pause = pause(class, failures, retry_after.map(Duration::from_secs), dice);
            assert_eq!(pause, Duration::from_secs(seconds), "{class:?} {failures} {retry_after:?} {dice}");
        }
    }
}
