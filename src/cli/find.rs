//! Ids by their beginning: nobody types 64 digits.

/// What a beginning leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    One(String),
    None,
    Several,
}

/// Fewer letters than this are a slip.
const SHORTEST: usize = 4;

/// Looks among all ids.
pub(super) fn by_prefix(ids: &[String], wanted: &str) -> Found {
    if let Some(exact) = ids.iter().find(|id| *id == wanted) {
        return Found::One(exact.clone());
    }
    if wanted.len() < SHORTEST {
        return Found::None;
    }
    let mut found = ids.iter().filter(|id| id.starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(id), None) => Found::One(id.clone()),
        (None, _) => Found::None,
        (Some(_), Some(_)) => Found::Several,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_must_be_long_enough_and_unique() {
        let ids = ["abcd1".to_owned(), "abcd2".to_owned(), "abcd".to_owned(), "beef00".to_owned()];
        for (wanted, expected) in [
            ("beef", Found::One("beef00".into())),
            ("beef00", Found::One("beef00".into())),
            ("abcd", Found::One("abcd".into())),
            ("bee", Found::None),
            ("", Found::None),
            ("dead", Found::None),
        ] {
            assert_eq!(by_prefix(&ids, wanted), expected, "{wanted}");
        }
        assert_eq!(by_prefix(&ids[..2], "abcd"), Found::Several);
    }
}
