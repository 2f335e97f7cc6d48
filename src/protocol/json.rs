//! Careful reading of one JSON object, for both messages: serde_json finds the members
//! and judges the grammar, [`Value`] judges what a member holds. Knows no message.

use super::reply::{Fault, Field, Refusal, Syntax};
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Hands each member of the object that `line` is to `take`, in order.
///
/// Keys are matched with `known` without regard to case, and a known key may come once.
pub(super) fn read_line<'a>(
    line: &'a [u8],
    known: &[Field],
    take: impl FnMut(Member<'a>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let start = line.trim_ascii_start();
    if start.first() != Some(&b'{') {
        return Err(no_object(line, start));
    }
    let text = str::from_utf8(line).map_err(|error| Refusal::NotUtf8 { column: error.valid_up_to() + 1 })?;
    members(Value { text, column: 1 }, known, take)
}

/// As [`read_line`], for an object that is text already.
pub(super) fn members<'a>(
    object: Value<'a>,
    known: &[Field],
    take: impl FnMut(Member<'a>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut reader = Reader { object, known, seen: 0, near: None, refusal: None, take };
    let mut json = serde_json::Deserializer::from_str(object.text);
    match json.deserialize_map(&mut reader).and_then(|()| json.end()) {
        Ok(()) => Ok(()),
        Err(error) => Err(reader.refusal.unwrap_or_else(|| object.broken_at(&error, reader.near))),
    }
}

/// Without regard to case, and alike for every key: what two spellings of one key share.
pub(super) fn fold(key: &str) -> String {
    key.chars().flat_map(char::to_lowercase).collect()
}

/// A key and its value.
pub(super) struct Member<'a> {
    /// Which of the known keys it is.
    pub(super) known: Option<Field>,
    /// The key as written, quotes and escapes included.
    pub(super) key: Value<'a>,
    /// The key as meant.
    pub(super) name: Cow<'a, str>,
    pub(super) value: Value<'a>,
}

/// One JSON value as written, its grammar already judged by serde_json.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) text: &'a str,
    /// Where it begins in the line, counted in bytes from 1.
    pub(super) column: usize,
}

impl<'a> Value<'a> {
    pub(super) fn refuse(self, field: Field, fault: Fault) -> Refusal {
        Refusal::Field { field, fault, column: self.column }
    }

    /// A part of this value's text, as a value of its own.
    pub(super) fn part(self, part: &'a RawValue) -> Self {
        let text = part.get();
        Self { text, column: self.column + (text.as_ptr().addr() - self.text.as_ptr().addr()) }
    }

    /// The elements of an array.
    pub(super) fn elements(self) -> Result<impl Iterator<Item = Self>, Refusal> {
        let elements: Vec<&RawValue> =
            serde_json::from_str(self.text).map_err(|error| self.broken_at(&error, None))?;
        Ok(elements.into_iter().map(move |element| self.part(element)))
    }

    /// `0`, `""` and `null` mean absent.
    pub(super) fn optional_integer(self) -> Result<Option<i64>, Fault> {
        match self.text {
            "null" | "\"\"" => Ok(None),
            _ => Ok(Some(self.integer()?).filter(|integer| *integer != 0)),
        }
    }

    pub(super) fn integer(self) -> Result<i64, Fault> {
        if !self.is_number() || self.text.contains(['.', 'e', 'E']) {
            return Err(Fault::NotInteger);
        }
        self.text.parse().map_err(|_| Fault::NotI64)
    }

    /// The nearest double, if there is one worth the name.
    pub(super) fn number(self) -> Result<f64, Fault> {
        if !self.is_number() {
            return Err(Fault::NotNumber);
        }
        let number: f64 = self.text.parse().map_err(|_| Fault::NotNumber)?;
        if number.is_finite() && (number != 0.0 || self.is_plainly_zero()) {
            Ok(number)
        } else {
            Err(Fault::NotDouble)
        }
    }

    pub(super) fn boolean(self) -> Result<bool, Fault> {
        match self.text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Fault::NotBool),
        }
    }

    /// What the string means; borrowed unless it has escapes. Never with a NUL in it.
    pub(super) fn string(self) -> Result<Cow<'a, str>, Fault> {
        let inner = self.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let inner = inner.ok_or(Fault::NotString)?;
        if !inner.contains('\\') {
            return Ok(Cow::Borrowed(inner));
        }
        // The grammar was judged: all that can still be wrong is half a pair.
        let meant: String = serde_json::from_str(self.text).map_err(|_| Fault::Surrogate)?;
        if meant.contains('\0') { Err(Fault::Nul) } else { Ok(Cow::Owned(meant)) }
    }

    fn is_number(self) -> bool {
        self.text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
    }

    /// Whether a number that is zero as a double is also zero as written. PostgreSQL's
    /// numeric keeps the exponent of a zero as its scale and refuses it from 16384 on.
    fn is_plainly_zero(self) -> bool {
        const MAX_EXPONENT: u32 = 999;
        let mut parts = self.text.split(['e', 'E']);
        let digits = parts.next().unwrap_or_default();
        let exponent = parts.next().unwrap_or_default().trim_start_matches(['+', '-']);
        !digits.contains(|digit: char| matches!(digit, '1'..='9'))
            && (exponent.is_empty() || exponent.parse().is_ok_and(|exponent: u32| exponent <= MAX_EXPONENT))
    }

    /// serde_json's complaint in our words. Its kinds of error are not public, its words
    /// are: the tests of this room notice if they ever change.
    #[cold]
    fn broken_at(self, error: &serde_json::Error, near: Option<Field>) -> Refusal {
        let words = error.to_string();
        let fault = match words.split(" at line ").next().unwrap_or_default() {
            "expected value" => Syntax::ExpectedValue,
            "expected ident" => Syntax::ExpectedLiteral,
            "expected `:`" => Syntax::ExpectedColon,
            "expected `,` or `}`" => Syntax::ExpectedCommaOrBrace,
            "expected `,` or `]`" => Syntax::ExpectedCommaOrBracket,
            "key must be a string" => Syntax::ExpectedKey,
            "trailing comma" => Syntax::TrailingComma,
            "trailing characters" => Syntax::Trailing,
            "invalid number" => Syntax::Number,
            "invalid escape" => Syntax::Escape,
            words if words.starts_with("control character") => Syntax::Control,
            _ if error.is_eof() => Syntax::EndsEarly,
            _ => Syntax::Other,
        };
        // It counts from the last LF, and stops before a control character, not on it.
        let before: usize =
            self.text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let column = before + error.column() + usize::from(matches!(fault, Syntax::Control));
        Refusal::Json { fault, near, column: self.column - 1 + column.max(1) }
    }
}

/// What a line that does not begin with a brace is instead.
#[cold]
fn no_object(line: &[u8], start: &[u8]) -> Refusal {
    if line.starts_with("\u{feff}".as_bytes()) {
        return Refusal::ByteOrderMark;
    }
    if start.first().is_some_and(u8::is_ascii_uppercase) && start.windows(6).any(|bytes| bytes == b" HTTP/") {
        return Refusal::Http;
    }
    let column = line.len() - start.len() + 1;
    match str::from_utf8(line) {
        Err(error) if error.valid_up_to() < column => Refusal::NotUtf8 { column },
        _ => Refusal::NotAnObject { column },
    }
}

/// The visitor behind [`members`]; a refusal is kept aside, as serde's errors are text.
struct Reader<'a, 'k, F> {
    object: Value<'a>,
    known: &'k [Field],
    /// One bit for each of `known`.
    seen: u32,
    near: Option<Field>,
    refusal: Option<Refusal>,
    take: F,
}

impl<'a, F: FnMut(Member<'a>) -> Result<(), Refusal>> Reader<'a, '_, F> {
    fn key(&mut self, key: Value<'a>) -> Result<(Option<Field>, Cow<'a, str>), Refusal> {
        let name = key.string().map_err(|fault| key.refuse(Field::ExtraKey, fault))?;
        let mut known = self.known.iter().enumerate();
        let Some((place, &field)) = known.find(|(_, field)| is_same_key(field.name(), &name)) else {
            return Ok((None, name));
        };
        if self.seen & (1 << place) != 0 {
            return Err(key.refuse(field, Fault::Twice));
        }
        self.seen |= 1 << place;
        Ok((Some(field), name))
    }

    /// serde's kind of error for a refusal, which is kept for the caller.
    fn keep<T, E: serde::de::Error>(&mut self, read: Result<T, Refusal>) -> Result<T, E> {
        read.map_err(|refusal| {
            self.refusal = Some(refusal);
            E::custom("refused")
        })
    }
}

impl<'a, F: FnMut(Member<'a>) -> Result<(), Refusal>> Visitor<'a> for &mut Reader<'a, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&RawValue>()? {
            let key = self.object.part(key);
            let read = self.key(key);
            let (known, name) = self.keep(read)?;
            self.near = known;
            let value = self.object.part(map.next_value()?);
            let taken = (self.take)(Member { known, key, name, value });
            self.keep(taken)?;
        }
        self.near = None;
        Ok(())
    }
}

fn is_same_key(known: &str, name: &str) -> bool {
    if name.is_ascii() { known.eq_ignore_ascii_case(name) } else { fold(known) == fold(name) }
}

#[cfg(test)]
mod tests;
