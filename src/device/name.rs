//! What a device may be called: one rule for the API, the command line and the CN of a certificate.
//! Pure.

/// Longest device id in bytes of UTF-8.
pub const MAX_DEVICE_ID_BYTES: usize = 128;

/// Why a text is no device id. Continues "deviceId …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadName {
    /// Nothing in it.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_DEVICE_ID_BYTES`].
    #[error("has more than {MAX_DEVICE_ID_BYTES} bytes")]
    Long,
    /// It could not be told from another, or would break the line it is written in.
    #[error("has a control or invisible character")]
    Invisible,
    /// `"a "` and `"a"` look alike.
    #[error("begins or ends with white space")]
    Padded,
    /// A path segment that every HTTP client takes away.
    #[error("is only dots")]
    Dots,
}

/// Whether a device may have this id. Slashes are allowed: in a path they are written `%2F`.
///
/// # Errors
/// The first rule it breaks.
pub fn check_device_id(text: &str) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty);
    }
    if text.len() > MAX_DEVICE_ID_BYTES {
        return Err(BadName::Long);
    }
    if text.contains(is_invisible) {
        return Err(BadName::Invisible);
    }
    if text.trim() != text {
        return Err(BadName::Padded);
    }
    if text == "." || text == ".." {
        return Err(BadName::Dots);
    }
    Ok(())
}

/// Control characters, and those that change how others are shown.
pub(super) fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_is_what_can_be_read_and_told_apart() {
        let long = "x".repeat(MAX_DEVICE_ID_BYTES);
        for good in ["1", "meter-17", "a/b", "Zähler 7", "…", "a.b", &long] {
            assert_eq!(check_device_id(good), Ok(()), "{good:?}");
        }
        for (bad, why) in [
            ("", BadName::Empty),
            (&*(long + "x"), BadName::Long),
            ("a\0b", BadName::Invisible),
            ("a\nb", BadName::Invisible),
            ("a\u{7f}", BadName::Invisible),
            ("a\u{85}", BadName::Invisible),
            ("a\u{202e}b", BadName::Invisible),
            ("\u{feff}a", BadName::Invisible),
            (" a", BadName::Padded),
            ("a\u{3000}", BadName::Padded),
            ("..", BadName::Dots),
        ] {
            assert_eq!(check_device_id(bad), Err(why), "{bad:?}");
        }
    }
}
