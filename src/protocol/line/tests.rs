use super::*;
use proptest::prelude::*;

const MAX_LINE: usize = 8;

/// All frames of these pieces; `None` stands for a line that is too long.
fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Option<Vec<u8>>>, Vec<u8>) {
    let mut lines = LineBuffer::new(MAX_LINE);
    let mut frames = Vec::new();
    for piece in pieces {
        lines.extend(piece);
        while let Some(framed) = lines.next_line() {
            frames.push(match framed {
                Framed::Line(line) => Some(line.to_vec()),
                Framed::TooLong => None,
            });
        }
    }
    (frames, lines.take_rest())
}

fn line(text: &str) -> Option<Vec<u8>> {
    Some(text.into())
}

#[test]
fn lines_end_with_lf_or_crlf_and_empty_ones_are_skipped() {
    let table: [(&str, &[_], &str); 9] = [
        ("a\nb\r\nc", &[line("a"), line("b")], "c"),
        ("\n\r\n\r\r\na\n\n", &[line("a")], ""),
        ("a\r\r\n", &[line("a\r")], ""),
        ("a\rb\n", &[line("a\rb")], ""),
        (" \n", &[line(" ")], ""),
        ("12345678\n12345678\r\n", &[line("12345678"), line("12345678")], ""),
        ("a\n12345678\r", &[line("a")], "12345678\r"),
        ("a\n123456789\nb\n", &[line("a"), None], ""),
        ("a\n123456789", &[line("a"), None], ""),
    ];
    for (bytes, expected, rest) in table {
        assert_eq!(frames([bytes.as_bytes()]), (expected.to_vec(), rest.into()), "{bytes:?}");
    }
}

#[test]
fn a_line_is_too_long_by_the_bytes_read() {
    let mut lines = LineBuffer::new(MAX_LINE);
    lines.extend(b"12345678\r");
    assert_eq!(lines.next_line(), None);
    lines.extend(b"x");
    assert_eq!(lines.next_line(), Some(Framed::TooLong));
    assert_eq!(lines.next_line(), None);
    lines.extend(b"\na\n");
    assert_eq!(lines.next_line(), None);
    assert!(lines.is_empty() && lines.bytes.capacity() == 0 && !lines.holds_one_object());
}

#[test]
fn an_idle_buffer_holds_no_memory() {
    let mut lines = LineBuffer::new(MAX_LINE);
    assert_eq!(lines.bytes.capacity(), 0);
    lines.extend(&b"a\n".repeat(1000));
    let mut count = 0;
    while lines.next_line().is_some() {
        count += 1;
    }
    assert_eq!((count, lines.bytes.capacity()), (1000, 0));
    lines.extend(&b"a\n".repeat(1000));
    lines.extend(b"b");
    while lines.next_line().is_some() {}
    assert!(lines.bytes.capacity() <= MAX_LINE, "only the beginning of a line is kept");
    assert_eq!(lines.take_rest(), b"b");
    assert_eq!((lines.is_empty(), lines.bytes.capacity()), (true, 0));
}

#[test]
fn one_complete_object_needs_no_line_end() {
    for (bytes, expected) in [
        ("{}", true),
        (" \t{\"a\":{\"b\":[1]}} \t\r", true),
        ("{\"a\":\"}\"}", true),
        ("{\"a\":\"\\\"}\\\\\"}", true),
        ("", false),
        ("  ", false),
        ("{", false),
        ("{\"a\":\"}", false),
        ("{\"a\":\"\\\"}", false),
        ("{\"a\":{}", false),
        ("{}{}", false),
        ("{} x", false),
        ("{}\n", false),
        ("\n{}", false),
        ("x{}", false),
        ("[{}]", false),
        ("17", false),
        ("{a}", false),
        ("{\"a\":1,}", false),
        ("}{", false),
        ("{[}", false),
    ] {
        let mut whole = LineBuffer::new(100);
        whole.extend(bytes.as_bytes());
        assert_eq!(whole.holds_one_object(), expected, "{bytes:?}");
        let mut bytewise = LineBuffer::new(100);
        for byte in bytes.bytes() {
            bytewise.extend(&[byte]);
            bytewise.holds_one_object();
        }
        assert_eq!(bytewise.holds_one_object(), expected, "{bytes:?} byte by byte");
    }
}

#[test]
fn an_object_is_looked_for_behind_the_lines_before_it() {
    let mut lines = LineBuffer::new(100);
    lines.extend(b"x\n{\"a\":");
    assert!(!lines.holds_one_object());
    assert_eq!(lines.next_line(), Some(Framed::Line(b"x")));
    assert!(!lines.holds_one_object());
    assert_eq!(lines.next_line(), None);
    assert!(!lines.holds_one_object());
    lines.extend(b"1}");
    assert_eq!(lines.next_line(), None);
    assert!(lines.holds_one_object());
    assert_eq!(lines.take_rest(), b"{\"a\":1}");
    assert!(!lines.holds_one_object());
    lines.extend(b"{}");
    assert!(lines.holds_one_object());
    lines.extend(b"\n{");
    assert_eq!(lines.next_line(), Some(Framed::Line(b"{}")));
    assert_eq!(lines.next_line(), None);
    assert!(!lines.holds_one_object());
}

proptest! {
    #[test]
    fn framing_does_not_depend_on_the_pieces(
        bytes in "[a\r\n]{0,80}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = bytes.as_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let pieces = starts.zip(ends).map(|(start, end)| &bytes[start..end]);
        prop_assert_eq!(frames(pieces), frames([bytes]));
    }

    #[test]
    fn every_byte_of_a_line_comes_out(texts in prop::collection::vec("[a-z{}\" ]{1,8}", 0..20)) {
        let sent = texts.iter().flat_map(|text| [text.as_bytes(), b"\n"]);
        let expected: Vec<_> = texts.iter().map(|text| line(text)).collect();
        prop_assert_eq!(frames(sent), (expected, Vec::new()));
    }

    #[test]
    fn an_object_is_found_exactly_when_serde_json_finds_it(text in "[ \t]?[{}\\[\\]a\"\\\\:,1 ]{0,12}[ \t]?") {
        let mut lines = LineBuffer::new(100);
        lines.extend(text.as_bytes());
        let is_object = text.trim_start().starts_with('{')
            && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(lines.holds_one_object(), is_object);
    }
}
