//! The form of the file: TOML or not. Keys are no matter here.

use super::{
    fault::{Fault, Place},
    read::Source,
    value::quoted,
};
use toml::de::{DeTable, Error};

/// How the TOML reader calls a key or section that is there a second time. It keeps the first and
/// reads on, so the other keys are still as their author wrote them.
const DUPLICATE: &str = "duplicate key";

/// A text as far as it could be read.
pub(super) struct Parsed<'a> {
    /// None if the text is not TOML: then what was recovered is guesswork.
    pub(super) table: Option<DeTable<'a>>,
    /// What is wrong with its form: at most one fault a line, since one missing quote or bracket makes
    /// the rest of its line wrong too.
    pub(super) faults: Vec<Fault>,
}

/// Reads the form of a text.
pub(super) fn parse(source: Source<'_>) -> Parsed<'_> {
    let (table, errors) = DeTable::parse_recoverable(source.text);
    let whole = errors.iter().all(|error| error.message() == DUPLICATE);
    let mut faults: Vec<Fault> = errors.iter().map(|error| fault(source, error)).collect();
    faults.sort();
    faults.dedup_by_key(|fault| match &fault.place {
        Place::At { line, .. } => Some(*line),
        Place::File(_) | Place::Variable(_) | Place::Default => None,
    });
    Parsed { table: whole.then(|| table.into_inner()), faults }
}

fn fault(source: Source<'_>, error: &Error) -> Fault {
    let span = error.span().unwrap_or_default();
    let place = source.place(span.start);
    let message = if error.message() == DUPLICATE {
        let name = source.text.get(span).unwrap_or_default();
        format!("{} is there twice", quoted(name))
    } else {
        format!("not TOML: {}", error.message())
    };
    Fault { place, subject: String::new(), message }
}
