//! Whether two JSON texts mean the same, as PostgreSQL's `jsonb` sees it: key order, white
//! space, escapes and the spelling of numbers do not matter; of equal keys the last one counts.
//! Here JSON is kept as it was sent, so the comparison has to be ours.

use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Compares two texts; a text that is no JSON is equal to itself only.
pub(super) fn same(a: &str, b: &str) -> bool {
    a == b || same_value(a.trim(), b.trim()).unwrap_or(false)
}

fn same_value(a: &str, b: &str) -> Option<bool> {
    match (a.as_bytes().first()?, b.as_bytes().first()?) {
        (b'{', b'{') => {
            let a: BTreeMap<String, &RawValue> = serde_json::from_str(a).ok()?;
            let b: BTreeMap<String, &RawValue> = serde_json::from_str(b).ok()?;
            Some(
                a.len() == b.len()
                    && a.iter().zip(&b).all(|((k, v), (l, w))| k == l && same(v.get(), w.get())),
            )
        }
        (b'[', b'[') => {
            let a: Vec<&RawValue> = serde_json::from_str(a).ok()?;
            let b: Vec<&RawValue> = serde_json::from_str(b).ok()?;
            Some(a.len() == b.len() && a.iter().zip(&b).all(|(v, w)| same(v.get(), w.get())))
        }
        (b'"', b'"') => {
            let a: String = serde_json::from_str(a).ok()?;
            let b: String = serde_json::from_str(b).ok()?;
            Some(a == b)
        }
        (b'-' | b'0'..=b'9', b'-' | b'0'..=b'9') => Some(decimal(a)? == decimal(b)?),
        _ => Some(a == b), // true, false, null
    }
}

/// A number exactly: sign, digits without zeros at either end, power of ten of the last digit.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_end_matches('0');
    if kept.trim_start_matches('0').is_empty() {
        return Some((false, String::new(), 0));
    }
    let exponent: i64 = exponent.parse().ok()?;
    let shift = i64::try_from(digits.len() - kept.len()).ok()? - i64::try_from(fraction.len()).ok()?;
    Some((is_negative, kept.trim_start_matches('0').to_owned(), exponent.checked_add(shift)?))
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn sees_through_the_spelling() {
        for (a, b) in [
            (r#"{"a":1,"b":[true,null]}"#, r#"{ "b" : [ true , null ], "a" : 1 }"#),
            (r#"{"a":1.0}"#, r#"{"a":1}"#),
            (r#"{"a":12e2}"#, r#"{"a":1200.00}"#),
            (r#"{"a":0.0012}"#, r#"{"a":1.2E-3}"#),
            (r#"{"a":-0}"#, r#"{"a":0.0e9}"#),
            (r#"{"a":123456789012345678901234567890}"#, r#"{"a":12345678901234567890123456789.0e1}"#),
            (r#"{"a":"é"}"#, r#"{"a":"\u00e9"}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("{}", " { } "),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn sees_every_difference() {
        for (a, b) in [
            (r#"{"a":1}"#, r#"{"a":-1}"#),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
            (r#"{"a":123456789012345678901}"#, r#"{"a":123456789012345678902}"#),
            (r#"{"a":true}"#, r#"{"a":false}"#),
            (r#"{"a":null}"#, "{}"),
            (r#"{"a":10}"#, r#"{"a":100}"#),
            (r#"{"a":0}"#, r#"{"a":[]}"#),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
