//! Ends in time on the command line, in UTC.

use crate::store::Micros;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta};

/// The latest there may be: the end of the year 9999, as PostgreSQL and people write it.
const LAST: Micros = 253_402_300_799_000_000;

/// An end that lies ahead: a span from `now` on, a time, or a day, whose end is meant.
pub(super) fn parse_end(text: &str, now: Micros) -> Result<Micros, String> {
    let end = span(text).map(|span| now.saturating_add(span)).or_else(|| time(text)).ok_or(
        "it must be a span like 90m, 12h, 30d or 8w, a time like 2027-01-31T12:00:00Z, or a day like 2027-01-31",
    )?;
    if end <= now {
        return Err("it lies in the past".to_owned());
    }
    if end > LAST {
        return Err("it lies behind the year 9999".to_owned());
    }
    Ok(end)
}

fn span(text: &str) -> Option<Micros> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // Too many digits are a span as well, one that ends too late.
    let number: i64 = digits.parse().unwrap_or(i64::MAX);
    Some(number.saturating_mul(seconds).saturating_mul(1_000_000))
}

fn time(text: &str) -> Option<Micros> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    let day: NaiveDate = text.parse().ok()?;
    let end = day.and_time(NaiveTime::MIN).checked_add_signed(TimeDelta::days(1))?;
    Some(end.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::parse_end;
    use crate::cli::rfc3339;

    const NOW: i64 = 1_732_300_000_000_000; // 2024-11-22T18:26:40Z

    #[test]
    fn reads_spans_times_and_days() {
        for (text, end) in [
            ("1s", "2024-11-22T18:26:41Z"),
            ("90m", "2024-11-22T19:56:40Z"),
            ("12h", "2024-11-23T06:26:40Z"),
            ("30d", "2024-12-22T18:26:40Z"),
            ("8w", "2025-01-17T18:26:40Z"),
            ("2027-01-31", "2027-02-01T00:00:00Z"),
            ("2024-11-22", "2024-11-23T00:00:00Z"),
            ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
            ("2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z"),
        ] {
            assert_eq!(parse_end(text, NOW).map(rfc3339).as_deref(), Ok(end), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_end() {
        for (text, word) in [
            ("", "must be"),
            ("30", "must be"),
            ("d", "must be"),
            ("-1d", "must be"),
            ("1.5d", "must be"),
            ("ten", "must be"),
            ("2027-02-30", "must be"),
            ("30 d", "must be"),
            ("0d", "past"),
            ("2024-11-21", "past"),
            ("2020-01-01T00:00:00Z", "past"),
            ("99999999999999999999d", "9999"),
            ("999999w", "9999"),
        ] {
            let refusal = parse_end(text, NOW).unwrap_err();
            assert!(refusal.contains(word), "{text}: {refusal}");
        }
    }
}
