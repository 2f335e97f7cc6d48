//! From a file and the environment to a [`Config`], or to all that is wrong with them.

use super::{
    Config, Environment, across,
    fault::{Fault, Faults, Place},
    read::{Reader, Source},
    syntax,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Bytes: a config file has a few thousand; more than this is not one.
const LARGEST_FILE: u64 = 1024 * 1024;

/// A configuration and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What counts.
    pub config: Config,
    /// The file that was read; none means defaults and environment alone.
    pub file: Option<PathBuf>,
}

impl Config {
    /// Reads the file that `--config` names, else `$M0V_CONFIG`, else `./m0v.toml` if it exists, else
    /// none; then the variables over it.
    ///
    /// # Errors
    /// Every fault of file and variables. A text that is not TOML is not judged key by key.
    pub fn load(flag: Option<&Path>, environment: Environment) -> Result<Loaded, Faults> {
        let file = environment.config_file(flag);
        let text = match &file {
            Some(path) => read_file(path).map_err(|error| {
                let message = format!("cannot be read: {error}");
                Faults(vec![Fault { place: Place::File(path.clone()), subject: String::new(), message }])
            })?,
            None => String::new(),
        };
        let config = Self::parse(file.as_deref().unwrap_or_else(|| Path::new("")), &text, environment)?;
        Ok(Loaded { config, file })
    }

    /// Reads a text as [`load`](Self::load) reads a file. `path` is where it is from: relative paths in
    /// it begin in the folder of `path`, and faults name it.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path: &Path, text: &str, environment: Environment) -> Result<Self, Faults> {
        let source = Source { path, text };
        let syntax::Parsed { table, mut faults } = syntax::parse(source);
        let whole = table.is_some();
        let table = table.unwrap_or_default();
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let mut config = Self::default();
        let mut reader = Reader::new(source, &table, base, environment.into_keys());
        config.visit(&mut reader);
        let mut findings = reader.finish();
        if whole {
            let contradictions = across::check(&config, &findings);
            findings.faults.extend(contradictions);
        }
        faults.append(&mut findings.faults);
        faults.sort();
        if faults.is_empty() { Ok(config) } else { Err(Faults(faults)) }
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    if metadata.len() > LARGEST_FILE {
        return Err(io::Error::other(format!("it is larger than {LARGEST_FILE} bytes")));
    }
    let bytes = fs::read(path)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        io::Error::other(format!("line {line} is not UTF-8"))
    })
}
