//! What was probably meant by a name that is not known.

use super::{env::variable, fault::Key};

/// How alike (Jaro-Winkler, 0 to 1) two names must be for one to be suggested for the other:
/// `max_lines` and `lisen` are, `port` and `proxy_protocol` are not.
const ALIKE: f64 = 0.85;

/// Every section with its keys.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<(&'static str, Vec<&'static str>)>);

impl Known {
    pub(super) fn add_section(&mut self, name: &'static str) {
        self.0.push((name, Vec::new()));
    }

    /// Adds a key to the section added last.
    pub(super) fn add_key(&mut self, key: Key) {
        if let Some((_, keys)) = self.0.last_mut() {
            keys.push(key.1);
        }
    }

    /// The section of this name, the top excepted.
    pub(super) fn section(&self, name: &str) -> Option<&'static str> {
        self.0.iter().map(|(section, _)| *section).find(|section| *section == name && !section.is_empty())
    }

    pub(super) fn has(&self, section: &str, key: &str) -> bool {
        self.keys_of(section).any(|known| known == key)
    }

    pub(super) fn unknown_section(&self, name: &str) -> String {
        let sections = self.0.iter().map(|(section, _)| *section).filter(|section| !section.is_empty());
        match most_alike(name, sections.map(str::to_owned)) {
            Some(meant) => format!("unknown section, did you mean [{meant}]?"),
            None => "unknown section".to_owned(),
        }
    }

    /// What to say of a key; the place it belongs to if another section has it.
    pub(super) fn unknown_key(&self, section: &str, name: &str) -> String {
        if let Some(meant) = most_alike(name, self.keys_of(section).map(str::to_owned)) {
            return format!("unknown key, did you mean {meant}?");
        }
        let elsewhere: Vec<String> =
            self.all().filter(|key| key.1 == name).map(|key| key.to_string()).collect();
        match elsewhere.as_slice() {
            [] => "unknown key".to_owned(),
            keys => format!("unknown key here, there is {}", keys.join(", ")),
        }
    }

    pub(super) fn unknown_variable(&self, name: &str) -> String {
        match most_alike(name, self.all().map(|key| variable(key.0, key.1))) {
            Some(meant) => format!("sets no key, did you mean {meant}?"),
            None => "sets no key".to_owned(),
        }
    }

    fn keys_of(&self, section: &str) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter(move |(name, _)| *name == section).flat_map(|(_, keys)| keys.iter().copied())
    }

    fn all(&self) -> impl Iterator<Item = Key> {
        self.0.iter().flat_map(|(section, keys)| keys.iter().map(|key| Key(section, key)))
    }
}

fn most_alike(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let alike = known.map(|known| (strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase()), known));
    let best = alike.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score >= ALIKE).map(|(_, known)| known)
}
