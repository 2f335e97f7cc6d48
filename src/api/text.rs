//! The text of a request's target: parts of a path and of a query string, decoded strictly.
//! Pure.

use std::borrow::Cow;

/// Undoes percent-encoding. `None` if a `%` is not followed by two hexadecimal digits, or if
/// the bytes meant are not UTF-8.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// As [`decode`], for a part of a form, where a plus sign means a space.
pub(super) fn decode_form(text: &str) -> Option<String> {
    decode(&text.replace('+', " ")).map(Cow::into_owned)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The members of a query string as written; one without `=` has an empty value.
pub(super) fn members(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let members = query.split('&').filter(|member| !member.is_empty());
    members.map(|member| member.split_once('=').unwrap_or((member, "")))
}

#[cfg(test)]
mod tests {
    use super::{decode, decode_form, members};

    #[test]
    fn decodes_strictly() {
        for (text, meant) in [
            ("", Some("")),
            ("Movprov", Some("Movprov")),
            ("a%20b+c", Some("a b+c")),
            ("%2F%2f", Some("//")),
            ("%F0%9F%94%8C", Some("🔌")),
            ("%00", Some("\0")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
            ("%C3", None),
            ("%F0%9F%94", None),
        ] {
            assert_eq!(decode(text).as_deref(), meant, "{text}");
        }
    }

    #[test]
    fn decodes_forms() {
        for (text, meant) in [("a+b%2B", Some("a b+")), ("%zz", None), ("", Some(""))] {
            assert_eq!(decode_form(text).as_deref(), meant, "{text}");
        }
    }

    #[test]
    fn splits_query_strings() {
        let all: Vec<_> = members("&token=1&wait&x=a=b&").collect();
        assert_eq!(all, [("token", "1"), ("wait", ""), ("x", "a=b")]);
    }
}
