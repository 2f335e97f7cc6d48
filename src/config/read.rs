//! The reader: file and variables in, values and every fault out.

use super::{
    env::variable,
    fault::{Fault, Key, Place},
    keys::Keys,
    suggest,
    value::{Problem, Raw, Value},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    ops::Range,
    path::Path,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A config file's text with its path, so that a place in it can be named.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The place of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Place::At { path: self.path.to_owned(), line, column }
    }
}

/// Fills a [`Config`](super::Config) key by key. A key that cannot be read keeps its default and is
/// remembered as bad.
pub(super) struct Reader<'a> {
    source: Source<'a>,
    table: &'a DeTable<'a>,
    base: &'a Path,
    variables: BTreeMap<String, OsString>,
    section: &'static str,
    /// Every section with its keys, in the order of the visit.
    known: suggest::Known,
    /// Where each key that was set was set.
    places: BTreeMap<Key, Place>,
    bad: BTreeSet<Key>,
    faults: Vec<Fault>,
}

/// What a [`Reader`] knows at its end.
pub(super) struct Findings {
    pub(super) places: BTreeMap<Key, Place>,
    pub(super) bad: BTreeSet<Key>,
    pub(super) faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// A reader of `table`, parsed from `source`. `variables` override it; `base` is where relative
    /// paths begin.
    pub(super) fn new(
        source: Source<'a>,
        table: &'a DeTable<'a>,
        base: &'a Path,
        variables: BTreeMap<String, OsString>,
    ) -> Self {
        Self {
            source,
            table,
            base,
            variables,
            section: "",
            known: suggest::Known::default(),
            places: BTreeMap::new(),
            bad: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    /// Ends the visit: what nobody took is unknown.
    pub(super) fn finish(mut self) -> Findings {
        self.refuse_unknown_keys();
        self.refuse_unknown_variables();
        Findings { places: self.places, bad: self.bad, faults: self.faults }
    }

    fn refuse_unknown_keys(&mut self) {
        for (name, value) in self.table {
            if let Some(section) = self.known.section(name.get_ref()) {
                match value.get_ref().as_table() {
                    Some(table) => self.refuse_unknown_in(section, table),
                    None => self.refuse_non_section(name, value),
                }
            } else if !self.known.has("", name.get_ref()) {
                let (subject, message) = match value.get_ref() {
                    DeValue::Table(_) => {
                        (format!("[{}]", name.get_ref()), self.known.unknown_section(name.get_ref()))
                    }
                    _ => (name.get_ref().to_string(), self.known.unknown_key("", name.get_ref())),
                };
                self.faults.push(Fault { place: self.place(name.span()), subject, message });
            }
        }
    }

    fn refuse_unknown_in(&mut self, section: &'static str, table: &DeTable<'_>) {
        for name in table.keys().filter(|name| !self.known.has(section, name.get_ref())) {
            let message = self.known.unknown_key(section, name.get_ref());
            let subject = format!("[{section}] {}", name.get_ref());
            self.faults.push(Fault { place: self.place(name.span()), subject, message });
        }
    }

    fn refuse_non_section(&mut self, name: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let name_text = name.get_ref();
        let message = match value.get_ref() {
            DeValue::Array(_) => format!("is one section, not a list: write [{name_text}] once"),
            _ => format!("must be a section: write [{name_text}] on a line of its own"),
        };
        let place = self.place(name.span());
        self.faults.push(Fault { place, subject: format!("[{name_text}]"), message });
    }

    fn refuse_unknown_variables(&mut self) {
        for name in self.variables.keys() {
            let message = self.known.unknown_variable(name);
            self.faults.push(Fault { place: Place::Variable(name.clone()), subject: String::new(), message });
        }
    }

    fn place(&self, span: Range<usize>) -> Place {
        self.source.place(span.start)
    }

    /// The key's value in the file.
    fn in_file(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let table = match self.section {
            "" => Some(self.table),
            section => self.table.get(section).and_then(|value| value.get_ref().as_table()),
        };
        table.and_then(|table| table.get(name))
    }

    fn read<T: Value>(
        &mut self,
        key: Key,
        raw: Raw<'_>,
        place: Place,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> Option<T> {
        self.places.insert(key, place.clone());
        let checked = T::read(raw).and_then(|value| match check(&value) {
            Ok(()) => Ok(value),
            Err(message) => Err(Problem { at: None, message }),
        });
        match checked {
            Ok(value) => Some(value),
            Err(Problem { at, message }) => {
                let place = at.map_or(place, |span| self.place(span));
                self.bad.insert(key);
                self.faults.push(Fault::of(key, place, message));
                None
            }
        }
    }
}

impl Keys for Reader<'_> {
    fn section(&mut self, name: &'static str) {
        self.section = name;
        self.known.add_section(name);
    }

    fn checked<T: Value>(
        &mut self,
        name: &'static str,
        field: &mut T,
        check: impl Fn(&T) -> Result<(), String>,
    ) {
        let key = Key(self.section, name);
        self.known.add_key(key);
        // Both are read: a fault in the file is a fault, also where a variable overrides it.
        let from_file = self.in_file(name).and_then(|value| {
            let place = self.place(value.span());
            self.read(key, Raw::Toml(value), place, &check)
        });
        let variable = variable(self.section, name);
        let from_env = self.variables.remove(&variable).and_then(|value| {
            let place = Place::Variable(variable);
            if let Some(text) = value.to_str() {
                return self.read(key, Raw::Env(text), place, &check);
            }
            self.bad.insert(key);
            self.faults.push(Fault::of(key, place, "must be UTF-8"));
            None
        });
        if let Some(value) = from_env.or(from_file) {
            *field = value;
        }
        field.resolve(self.base);
    }
}
