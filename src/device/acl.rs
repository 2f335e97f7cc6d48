//! Which topics an account may use: MQTT's topic filters, and names put into them. Pure.
//!
//! A [`Pattern`] allows; what no pattern allows is refused. What a client *subscribes* to is a filter
//! itself, so the question is whether a pattern covers all that the filter could match.

use std::fmt;

/// Longest pattern in bytes: a hundred of them for each account are still little.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// Longest topic there is in MQTT.
const MAX_TOPIC_BYTES: usize = 65_535;

/// What begins a shared subscription; no message is ever sent to such a topic.
const SHARED: &str = "$share/";

/// What a pattern can name.
const PLACEHOLDERS: [&str; 2] = ["{device}", "{username}"];

/// Whose patterns they are: what `{username}` and `{device}` stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The account's name.
    pub username: &'a str,
    /// The device it is tied to. Without one, a pattern with `{device}` allows nothing.
    pub device: Option<&'a str>,
}

/// A topic filter with `+` for a level, `#` for all the rest, `{username}` and `{device}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(String);

/// Why a text is no pattern, with the column (in characters, from 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPattern {
    /// Nothing at all.
    Empty,
    /// More than [`MAX_PATTERN_BYTES`].
    TooLong,
    /// A control character.
    Control(usize),
    /// A `+` beside something else in its level.
    Plus(usize),
    /// A `#` that is not the whole last level.
    Hash(usize),
    /// A brace that is not of `{device}` or `{username}`.
    Brace(usize),
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a topic pattern cannot be empty"),
            Self::TooLong => write!(f, "a topic pattern has at most {MAX_PATTERN_BYTES} bytes"),
            Self::Control(column) => write!(f, "there is a control character (column {column})"),
            Self::Plus(column) => write!(f, "+ must be a level of its own, as in a/+/b (column {column})"),
            Self::Hash(column) => write!(f, "# must be the last level, as in a/# (column {column})"),
            Self::Brace(column) => {
                write!(f, "braces are for {{device}} and {{username}} only (column {column})")
            }
        }
    }
}

impl std::error::Error for BadPattern {}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(BadPattern::TooLong);
        }
        let column = |byte: usize| text.char_indices().take_while(|(at, _)| *at < byte).count() + 1;
        if let Some(at) = text.find(char::is_control) {
            return Err(BadPattern::Control(column(at)));
        }
        if let Some(at) = stray_wildcard(text) {
            let found = text.as_bytes().get(at);
            return Err(if found == Some(&b'+') {
                BadPattern::Plus(column(at))
            } else {
                BadPattern::Hash(column(at))
            });
        }
        if let Some(at) = stray_brace(text) {
            return Err(BadPattern::Brace(column(at)));
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The filter this pattern is for `subject`. `None` if a name would be more than letters in a
    /// level (it has a wildcard, a slash or a control character, or is empty), or would begin a
    /// topic with `$`: a name never makes a pattern wider.
    #[must_use]
    pub fn filter(&self, subject: Subject<'_>) -> Option<String> {
        let mut filter = String::with_capacity(self.0.len());
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            filter.push_str(before);
            let (name, after) = after.split_once('}')?;
            let value = if name == "device" { subject.device? } else { subject.username };
            let is_plain =
                !value.is_empty() && !value.contains(['+', '#', '/']) && !value.contains(char::is_control);
            if !is_plain || (filter.is_empty() && value.starts_with('$')) {
                return None;
            }
            filter.push_str(value);
            rest = after;
        }
        filter.push_str(rest);
        Some(filter)
    }
}

/// Whether `subject` may send to, or be sent, messages of this topic.
#[must_use]
pub fn allows_topic(patterns: &[Pattern], subject: Subject<'_>, topic: &str) -> bool {
    !topic.contains(['+', '#']) && !topic.starts_with(SHARED) && allows(patterns, subject, topic)
}

/// Whether `subject` may subscribe to this filter: whether one pattern covers all it could match.
/// Of a shared subscription (`$share/GROUP/FILTER`) the filter counts.
#[must_use]
pub fn allows_filter(patterns: &[Pattern], subject: Subject<'_>, filter: &str) -> bool {
    let Some(shared) = filter.strip_prefix(SHARED) else { return allows(patterns, subject, filter) };
    shared.split_once('/').is_some_and(|(group, filter)| {
        !group.is_empty() && !group.contains(['+', '#']) && allows(patterns, subject, filter)
    })
}

fn allows(patterns: &[Pattern], subject: Subject<'_>, filter: &str) -> bool {
    let is_legal = !filter.is_empty()
        && filter.len() <= MAX_TOPIC_BYTES
        && !filter.contains('\0')
        && stray_wildcard(filter).is_none();
    is_legal
        && patterns
            .iter()
            .any(|pattern| pattern.filter(subject).is_some_and(|allowed| covers(&allowed, filter)))
}

/// Whether every topic that `filter` matches is matched by `allowed` too. Both are legal.
fn covers(allowed: &str, filter: &str) -> bool {
    // The one case in which two levels of an allowance are one of a filter: every topic has a level.
    let allowed = if allowed == "+/#" { "#" } else { allowed };
    // A wildcard in front is not for the broker's own topics.
    if filter.starts_with('$') && allowed.starts_with(['+', '#']) {
        return false;
    }
    let mut wanted = filter.split('/');
    for level in allowed.split('/') {
        match (level, wanted.next()) {
            ("#", _) => return true, // also what is above it: a/# matches a
            (_, None | Some("#")) => return false,
            ("+", Some(_)) => {}
            (level, Some(wanted)) if level == wanted => {}
            _ => return false,
        }
    }
    wanted.next().is_none()
}

/// Where a wildcard stands that is not a level of its own, or a `#` that is not the last.
fn stray_wildcard(text: &str) -> Option<usize> {
    let mut start = 0;
    for level in text.split('/') {
        let end = start + level.len();
        let is_stray = match level {
            "+" => false,
            "#" => end != text.len(),
            _ => true,
        };
        if is_stray && let Some(at) = level.find(['+', '#']) {
            return Some(start + at);
        }
        start = end + 1;
    }
    None
}

/// Where a brace stands that belongs to no placeholder.
fn stray_brace(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        at += rest.find(['{', '}'])?;
        let rest = text.get(at..)?;
        match PLACEHOLDERS.iter().find(|name| rest.starts_with(**name)) {
            Some(name) => at += name.len(),
            None => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests;
