//! Text that must never reach a log: keys, the binding key, key authorizations.

use std::fmt;
use zeroize::Zeroizing;

/// A text wiped when dropped, whose `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself: for the wire, a file or a key parser; never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Takes key authorizations out of a text that a stranger wrote. Servers quote them in the
/// reason of a failed challenge: `token.thumbprint`, the second half always 43 characters.
pub(crate) fn without_key_authorizations(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut word = String::new();
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.') {
            word.push(letter);
        } else {
            flush(&mut word, &mut clean);
            clean.push(if letter.is_control() { ' ' } else { letter });
        }
    }
    flush(&mut word, &mut clean);
    clean
}

fn flush(word: &mut String, clean: &mut String) {
    const THUMBPRINT: usize = 43;
    let secret = word
        .trim_end_matches('.')
        .rsplit_once('.')
        .is_some_and(|(token, print)| !token.is_empty() && print.len() == THUMBPRINT);
    clean.push_str(if secret { "[key authorization]" } else { word });
    word.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_in_debug() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "[secret]");
    }

    #[test]
    fn takes_key_authorizations_out_of_a_quoted_reason() {
        let print = "x".repeat(43);
        let text = format!("Expected \"tok_en-1.{print}\" at http://a.example.org/x, got \"tok.{print}\".\n");
        assert_eq!(
            without_key_authorizations(&text),
            "Expected \"[key authorization]\" at http://a.example.org/x, got \"[key authorization]\". "
        );
    }
}
