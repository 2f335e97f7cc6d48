//! Keys we do not know: kept as one JSON object text, values byte for byte as sent, and
//! judged as strictly as PostgreSQL's `jsonb` would, so that nothing is refused later.

use super::json::{Member, Value, fold, members};
use super::reply::{Fault, Field, Refusal};
use std::{borrow::Cow, collections::HashSet};

/// Most bytes of the object text, braces included (DESIGN §2.2; [`Fault::TooBig`] says it too).
pub(super) const MAX_BYTES: usize = 8192;

/// Deepest nesting, the line's own object being the first level ([`Fault::TooDeep`] says it too).
pub(super) const MAX_LEVELS: usize = 32;

/// The unknown members of one line.
#[derive(Default)]
pub(super) struct Extra {
    /// The object without its closing brace; empty when it has no members.
    text: String,
    /// Folded keys.
    seen: HashSet<String>,
}

impl Extra {
    pub(super) fn add(&mut self, member: &Member<'_>) -> Result<(), Refusal> {
        let Member { key, value, name, .. } = member;
        if !self.seen.insert(fold(name)) {
            return Err(key.refuse(Field::ExtraKey, Fault::Twice));
        }
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        match name {
            // Without escapes, what was written is what serde_json would write.
            Cow::Borrowed(_) => self.text.push_str(key.text),
            Cow::Owned(name) => self.text.push_str(&serde_json::Value::from(name.as_str()).to_string()),
        }
        self.text.push(':');
        self.text.push_str(value.text);
        if self.text.len() + "}".len() > MAX_BYTES {
            return Err(value.refuse(Field::ExtraValue, Fault::TooBig));
        }
        check(*value, 1)
    }

    /// The object text; `None` when there was nothing to keep.
    pub(super) fn into_text(mut self) -> Option<String> {
        if self.text.is_empty() {
            return None;
        }
        self.text.push('}');
        Some(self.text)
    }
}

/// Judges a value inside `levels` levels. Each level reads its text again: at most [`MAX_LEVELS`]
/// times its length, and readings are flat.
pub(super) fn check(value: Value<'_>, levels: usize) -> Result<(), Refusal> {
    let refuse = |fault| value.refuse(Field::ExtraValue, fault);
    match value.text.as_bytes().first() {
        Some(b'{' | b'[') if levels == MAX_LEVELS => Err(refuse(Fault::TooDeep)),
        Some(b'{') => check_object(value, levels + 1),
        Some(b'[') => check_array(value, levels + 1),
        Some(b'"') => value.string().map(drop).map_err(refuse),
        Some(b't' | b'f' | b'n') | None => Ok(()),
        Some(_) => value.number().map(drop).map_err(refuse),
    }
}

/// Here keys differ by case, as they do in `jsonb`, which would silently drop a twin.
fn check_object(object: Value<'_>, levels: usize) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    members(object, &[], |member| {
        if !seen.insert(member.name) {
            return Err(member.key.refuse(Field::ExtraKey, Fault::Twice));
        }
        check(member.value, levels)
    })
}

fn check_array(array: Value<'_>, levels: usize) -> Result<(), Refusal> {
    array.elements()?.try_for_each(|element| check(element, levels))
}

#[cfg(test)]
mod tests;
