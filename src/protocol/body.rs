//! A JSON body of the HTTPS port: one object, read by the careful reader of the lines, so that
//! what is stored of it is what both engines can hold. Knows no route.
//!
//! Members are asked for by their exact names. One that comes twice is refused, one that nobody
//! asks for is ignored; `null` is an absent member.

use super::extra;
use super::json::{Member, Value, read_line};
use super::packet::timestamp;
use super::reply::{Fault, Field, Refusal, Syntax};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;

/// Longest name of a member that is repeated in a message.
const MAX_SHOWN_CHARS: usize = 64;

/// What is wrong with a body, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (line {line}, column {column})")]
pub struct BadBody {
    what: String,
    line: usize,
    /// In bytes, from 1.
    column: usize,
}

/// An object of the body: all of it, or a member that is one.
#[derive(Debug)]
pub struct Object<'a> {
    /// The whole body, to count lines in.
    source: &'a str,
    /// The names that lead here, each followed by a dot.
    path: String,
    value: Value<'a>,
    members: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// A member that is there.
#[derive(Debug)]
pub struct Part<'a> {
    source: &'a str,
    name: String,
    value: Value<'a>,
}

impl<'a> Object<'a> {
    /// Reads a whole body.
    ///
    /// # Errors
    /// It is no JSON object, or a name comes twice in it.
    pub fn read(body: &'a [u8]) -> Result<Self, BadBody> {
        // Only for the words: what is not UTF-8 is refused by the reader.
        let source = str::from_utf8(body).unwrap_or_else(|error| {
            str::from_utf8(body.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        });
        Self::within(source, String::new(), Value { text: source, column: 1 }, body)
    }

    fn within(source: &'a str, path: String, value: Value<'a>, bytes: &'a [u8]) -> Result<Self, BadBody> {
        let (mut members, mut seen) = (Vec::new(), HashSet::new());
        let at = value.column - 1;
        let read = read_line(bytes, &[], |Member { key, name, value, .. }: Member<'a>| {
            if !seen.insert(name.clone()) {
                return Err(key.refuse(Field::ExtraKey, Fault::Twice));
            }
            members.push((name, value));
            Ok(())
        });
        if let Err(refusal) = read {
            return Err(in_body(source, &path, &refusal, at));
        }
        let members = members
            .into_iter()
            .map(|(name, value)| (name, Value { column: value.column + at, ..value }))
            .filter(|(_, value)| value.text != "null")
            .collect();
        Ok(Self { source, path, value, members })
    }

    /// The object as it was sent.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.value.text.trim_ascii()
    }

    /// A member, unless it is absent.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Part<'a>> {
        let (_, value) = self.members.iter().find(|(found, _)| found == name)?;
        Some(Part { source: self.source, name: format!("{}{name}", self.path), value: *value })
    }

    /// A member that must be there.
    ///
    /// # Errors
    /// It is absent.
    pub fn part(&self, name: &str) -> Result<Part<'a>, BadBody> {
        self.find(name).ok_or_else(|| {
            BadBody::at(self.source, self.value.column, format!("{}{name} is missing", self.path))
        })
    }

    /// Judges that both engines can store the object: no NUL, no number outside double precision,
    /// no name twice, at most 32 levels.
    ///
    /// # Errors
    /// The first value that they cannot.
    pub fn check_storable(&self) -> Result<(), BadBody> {
        self.members.iter().try_for_each(|(name, value)| {
            Part { source: self.source, name: format!("{}{}", self.path, shown(name)), value: *value }
                .check_storable_inside(1)
        })
    }
}

impl<'a> Part<'a> {
    /// This member is not what it must be: `what` continues its name.
    pub fn refuse(&self, what: impl Display) -> BadBody {
        BadBody::at(self.source, self.value.column, format!("{} {what}", self.name))
    }

    /// The value as it was sent.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.value.text
    }

    /// Whether it begins like an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.value.text.starts_with('{')
    }

    /// # Errors
    /// It is no string, or none that can be stored.
    pub fn string(&self) -> Result<Cow<'a, str>, BadBody> {
        self.value.string().map_err(|fault| self.refuse(fault))
    }

    /// # Errors
    /// Anything but `true` and `false`.
    pub fn boolean(&self) -> Result<bool, BadBody> {
        self.value.boolean().map_err(|fault| self.refuse(fault))
    }

    /// A time in whole Unix seconds; `None` for 0, which clients without a clock send.
    ///
    /// # Errors
    /// No integer, or beyond the year 9999.
    pub fn seconds(&self) -> Result<Option<i64>, BadBody> {
        timestamp(self.value).map_err(|fault| self.refuse(fault))
    }

    /// # Errors
    /// It is no object.
    pub fn object(&self) -> Result<Object<'a>, BadBody> {
        if !self.is_object() {
            return Err(self.refuse("must be an object"));
        }
        Object::within(self.source, format!("{}.", self.name), self.value, self.value.text.as_bytes())
    }

    /// An array of bytes.
    ///
    /// # Errors
    /// It is none, or longer than `max`.
    pub fn bytes(&self, max: usize) -> Result<Vec<u8>, BadBody> {
        let bytes = || self.refuse("must be an array of integers from 0 to 255");
        if !self.value.text.starts_with('[') {
            return Err(bytes());
        }
        let mut elements = self.value.elements().map_err(|_| bytes())?;
        let read: Option<Vec<u8>> =
            elements.by_ref().take(max).map(|element| element.text.parse().ok()).collect();
        match (read, elements.next()) {
            (Some(read), None) => Ok(read),
            (Some(_), Some(_)) => Err(self.refuse(format_args!("has more than {max} bytes"))),
            (None, _) => Err(bytes()),
        }
    }

    /// As [`Object::check_storable`].
    ///
    /// # Errors
    /// The first value that cannot be stored.
    pub fn check_storable(&self) -> Result<(), BadBody> {
        self.check_storable_inside(0)
    }

    fn check_storable_inside(&self, levels: usize) -> Result<(), BadBody> {
        extra::check(self.value, levels).map_err(|refusal| match refusal {
            Refusal::Field { fault, column, .. } if column == self.value.column => self.refuse(fault),
            Refusal::Field { field, fault, column } => {
                let what = if field == Field::ExtraKey { "a key" } else { "a value" };
                BadBody::at(self.source, column, format!("in {}: {what} {fault}", self.name))
            }
            other => in_body(self.source, &self.name, &other, 0),
        })
    }
}

impl BadBody {
    fn at(source: &str, column: usize, what: String) -> Self {
        let before = source.as_bytes().get(..column.saturating_sub(1)).unwrap_or(source.as_bytes());
        let lines = before.split(|byte| *byte == b'\n');
        let (line, last) = lines.enumerate().last().unwrap_or_default();
        // Beyond the end of what could be read as text the column counts on.
        let beyond = column.saturating_sub(1).saturating_sub(before.len());
        Self { what, line: line + 1, column: last.len() + beyond + 1 }
    }
}

/// A refusal of the reader, whose columns begin `offset` bytes into the body, in a body's words.
fn in_body(source: &str, path: &str, refusal: &Refusal, offset: usize) -> BadBody {
    let path = path.trim_end_matches('.');
    let within = if path.is_empty() { "the body".to_owned() } else { path.to_owned() };
    let (what, column) = match refusal {
        Refusal::ByteOrderMark => ("a byte order mark is not JSON".to_owned(), 1),
        Refusal::NotUtf8 { column } => (format!("{within} is not UTF-8"), *column),
        Refusal::Json { fault, column, .. } => (syntax(*fault), *column),
        Refusal::Field { fault, column, .. } => (format!("a key in {within} {fault}"), *column),
        Refusal::NotAnObject { column } => (format!("{within} must be a JSON object"), *column),
        _ => (format!("{within} must be a JSON object"), 1),
    };
    BadBody::at(source, column + offset, what)
}

fn syntax(fault: Syntax) -> String {
    fault.to_string()
}

/// What of a stranger's name for a member a message repeats.
fn shown(name: &str) -> &str {
    let is_plain = !name.is_empty()
        && name.chars().count() <= MAX_SHOWN_CHARS
        && !name.contains(|letter: char| letter.is_control() || letter.is_whitespace());
    if is_plain { name } else { "a member" }
}

#[cfg(test)]
mod tests;
