//! What is wrong with a configuration, and where: for the person who wrote it.

use std::{fmt, path::PathBuf};

/// Where a key was set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The file as a whole.
    File(PathBuf),
    /// A place in the file, both counted from 1; the column counts characters.
    At { path: PathBuf, line: usize, column: usize },
    /// An environment variable.
    Variable(String),
    /// Nowhere: the default.
    Default,
}

/// One key, as its section (empty at the top) and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) &'static str, pub(super) &'static str);

/// One mistake, shown as `m0v.toml:12:9: [limits] max_line: must be …` on one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub(super) place: Place,
    pub(super) subject: String,
    pub(super) message: String,
}

/// Every mistake of one configuration, in the order of the file; shown one a line. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub(super) Vec<Fault>);

impl Faults {
    /// The mistakes, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl Fault {
    pub(super) fn of(key: Key, place: Place, message: impl Into<String>) -> Self {
        Self { place, subject: key.to_string(), message: message.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str(self.1),
            section => write!(f, "[{section}] {}", self.1),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::At { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Default => f.write_str("defaults"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match self.subject.as_str() {
            "" => format!("{}: {}", self.place, self.message),
            subject => format!("{}: {subject}: {}", self.place, self.message),
        };
        // Names of keys and files are somebody's text: whatever they hold, a fault is one line.
        for c in line.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{fault}")?;
        }
        Ok(())
    }
}
