//! A key's value: from TOML or a variable to its type, and back to TOML.

use super::{ipnet::IpNet, secret::Secret, words::Words};
use std::{
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};
use toml::{Spanned, de::DeValue};

/// A value as found, before its type is known.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    /// In the file.
    Toml(&'a Spanned<DeValue<'a>>),
    /// In a variable, where everything is text.
    Env(&'a str),
}

/// Why a [`Raw`] is not a value, and where in the file if that is narrower than the value.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) at: Option<Range<usize>>,
    pub(super) message: String,
}

/// A value as it is printed.
pub(super) enum Shown {
    /// In TOML.
    Toml(String),
    /// Set, and not to be seen.
    Secret,
    /// Not set, and without a default.
    Unset,
}

/// A type that a key can have.
pub(super) trait Value: Sized {
    /// Reads it.
    fn read(raw: Raw<'_>) -> Result<Self, Problem>;

    /// Makes a path relative to `base` usable from anywhere; nothing for all other types.
    fn resolve(&mut self, _base: &Path) {}

    /// Prints it such that it reads back.
    fn show(&self) -> Shown;
}

impl<'a> Raw<'a> {
    fn problem(self, message: impl Into<String>) -> Problem {
        let at = match self {
            Self::Toml(value) => Some(value.span()),
            Self::Env(_) => None,
        };
        Problem { at, message: message.into() }
    }

    fn mismatch(self, wanted: &str) -> Problem {
        let found = match self {
            Self::Toml(value) => value.get_ref().type_str(),
            Self::Env(_) => "other text",
        };
        let article = if found.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        match self {
            Self::Toml(_) => self.problem(format!("must be {wanted}, got {article} {found}")),
            Self::Env(_) => self.problem(format!("must be {wanted}, got {found}")),
        }
    }

    fn text(self) -> Result<&'a str, Problem> {
        let text = match self {
            Self::Toml(value) => value.get_ref().as_str().ok_or_else(|| self.mismatch("a string"))?,
            Self::Env(text) => text,
        };
        if text.is_empty() { Err(self.problem("must not be empty; leave the key out")) } else { Ok(text) }
    }

    fn integer(self) -> Result<i128, Problem> {
        let number = match self {
            Self::Toml(value) => value
                .get_ref()
                .as_integer()
                .and_then(|digits| i128::from_str_radix(digits.as_str(), digits.radix()).ok()),
            Self::Env(text) => text.trim().parse().ok(),
        };
        number.ok_or_else(|| self.mismatch("a whole number"))
    }

    fn boolean(self) -> Result<bool, Problem> {
        let answer = match self {
            Self::Toml(value) => value.get_ref().as_bool(),
            Self::Env(text) => text.trim().parse().ok(),
        };
        answer.ok_or_else(|| self.mismatch("true or false"))
    }

    fn list(self) -> Result<Vec<Self>, Problem> {
        match self {
            Self::Toml(value) => {
                let list = value.get_ref().as_array();
                let list = list.ok_or_else(|| self.mismatch("a list in [ ]"))?;
                Ok(list.iter().map(Raw::Toml).collect())
            }
            Self::Env(text) if text.trim().is_empty() => Ok(Vec::new()),
            Self::Env(text) => Ok(text.split(',').map(|part| Raw::Env(part.trim())).collect()),
        }
    }
}

/// Text in TOML's quotes, on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl<T: Words> Value for T {
    fn read(raw: Raw<'_>) -> Result<Self, Problem> {
        let text = raw.text()?;
        if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let words: Vec<String> = T::WORDS.iter().map(|(word, _)| quoted(word)).collect();
        Err(raw.problem(format!("must be one of {}, got {}", words.join(", "), quoted(text))))
    }

    fn show(&self) -> Shown {
        let word = T::WORDS.iter().find(|(_, value)| value == self);
        word.map_or(Shown::Unset, |(word, _)| Shown::Toml(quoted(word)))
    }
}

impl Value for bool {
    fn read(raw: Raw<'_>) -> Result<Self, Problem> {
        raw.boolean()
    }

    fn show(&self) -> Shown {
        Shown::Toml(self.to_string())
    }
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn read(raw: Raw<'_>) -> Result<Self, Problem> {
                let number = raw.integer()?;
                Self::try_from(number).map_err(|_| {
                    raw.problem(format!("must be between 0 and {}, got {number}", Self::MAX))
                })
            }

            fn show(&self) -> Shown {
                Shown::Toml(self.to_string())
            }
        }
    )*};
}
whole_numbers!(u16, u32, u64, usize);

impl Value for Duration {
    fn read(raw: Raw<'_>) -> Result<Self, Problem> {
        u32::read(raw).map(|seconds| Self::from_secs(seconds.into()))
    }

    fn show(&self) -> Shown {
        Shown::Toml(self.as_secs().to_string())
    }
}

impl Value for String {
    fn read(raw: Raw<'_>) -> Result<Self, Problem> {
        raw.text().map(str::to_owned)
    }

    fn show(&self) -> Shown {
        Shown::Toml(quoted(self))
    }
}

impl Value for Secret {
    fn read(raw: Raw<'_>) -> Result<Self, Problem> {
        String::read(raw).map(Self::from)
    }

    fn show(&self) -> Shown {
        Shown::Secret
    }
}

impl Value for PathBuf {
    fn read(raw: Raw<'_>) -> Result<Self, Problem> {
        raw.text().map(Self::from)
    }

    fn resolve(&mut self, base: &Path) {
        *self = base.join(&*self);
    }

    fn show(&self) -> Shown {
        Shown::Toml(quoted(&self.to_string_lossy()))
    }
}

impl Value for SocketAddr {
    fn read(raw: Raw<'_>) -> Result<Self, Problem> {
        let text = raw.text()?;
        text.parse().map_err(|_| {
            raw.problem(format!(
                "must be an IP address and port such as \"[::]:38981\", got {}",
                quoted(text)
            ))
        })
    }

    fn show(&self) -> Shown {
        Shown::Toml(quoted(&self.to_string()))
    }
}

impl Value for IpNet {
    fn read(raw: Raw<'_>) -> Result<Self, Problem> {
        let text = raw.text()?;
        text.parse().map_err(|error| raw.problem(format!("{error}, got {}", quoted(text))))
    }

    fn show(&self) -> Shown {
        Shown::Toml(quoted(&self.to_string()))
    }
}

impl<T: Value> Value for Option<T> {
    fn read(raw: Raw<'_>) -> Result<Self, Problem> {
        T::read(raw).map(Some)
    }

    fn resolve(&mut self, base: &Path) {
        if let Some(value) = self {
            value.resolve(base);
        }
    }

    fn show(&self) -> Shown {
        self.as_ref().map_or(Shown::Unset, Value::show)
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(raw: Raw<'_>) -> Result<Self, Problem> {
        raw.list()?.into_iter().map(T::read).collect()
    }

    fn show(&self) -> Shown {
        let mut items = Vec::with_capacity(self.len());
        for item in self {
            match item.show() {
                Shown::Toml(text) => items.push(text),
                Shown::Secret => return Shown::Secret,
                Shown::Unset => {}
            }
        }
        Shown::Toml(format!("[{}]", items.join(", ")))
    }
}
