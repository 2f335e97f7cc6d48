use super::*;
use crate::protocol::tests::assert_refusals;

fn members_of(line: &[u8]) -> Result<Vec<(String, usize, String, usize)>, Refusal> {
    let mut found = Vec::new();
    read_line(line, &[Field::Id, Field::DeviceName], |member| {
        let Member { key, name, value, .. } = member;
        found.push((name.into_owned(), key.column, value.text.to_owned(), value.column));
        Ok(())
    })?;
    Ok(found)
}

#[test]
fn members_come_in_order_with_their_columns() {
    let found = members_of(b" {\"id\" : 17,\t\"\\u00e4\":[1, 2] }\r").expect("an object");
    assert_eq!(found, [("id".into(), 3, "17".into(), 10), ("\u{e4}".into(), 14, "[1, 2]".into(), 23)]);
    assert_eq!(members_of(b"{}").expect("an object"), []);
}

#[test]
fn columns_count_bytes() {
    assert_refusals(members_of, &[("{\"ä\":1,\"id\":2,\"ID\":3}", "id is given twice (column 16)")]);
}

#[test]
fn known_keys_match_without_regard_to_case_in_any_script() {
    let known = |line: &str| {
        let mut known = Vec::new();
        read_line(line.as_bytes(), &[Field::Token, Field::DeviceName, Field::Id], |member| {
            known.push(member.known);
            Ok(())
        })
        .map(|()| known)
    };
    // U+212A, the Kelvin sign, is a K whose lower case is k.
    assert_eq!(known("{\"TO\u{212a}EN\":1}"), Ok(vec![Some(Field::Token)]));
    assert_eq!(known("{\"DEVICEname\":1}"), Ok(vec![Some(Field::DeviceName)]));
    assert_eq!(known("{\"\\u0049d\":1}"), Ok(vec![Some(Field::Id)]));
    // A dotted capital I is two characters in lower case, and so is no i.
    assert_eq!(known("{\"\u{130}d\":1}"), Ok(vec![None]));
    assert_eq!(known("{\"ids\":1,\"i\":2,\"\":3}"), Ok(vec![None; 3]));
}

#[test]
fn what_is_no_object_is_named() {
    assert_refusals(
        members_of,
        &[
            ("", "expected a JSON object in braces (column 1)"),
            ("  ", "expected a JSON object in braces (column 3)"),
            ("[1]", "expected a JSON object in braces (column 1)"),
            (" null", "expected a JSON object in braces (column 2)"),
            ("\"{}\"", "expected a JSON object in braces (column 1)"),
            ("17", "expected a JSON object in braces (column 1)"),
            ("hello", "expected a JSON object in braces (column 1)"),
            ("GET / HTTP/1.1", "this port takes lines of JSON, not HTTP"),
            ("POST /confo/a/b HTTP/1.0\r", "this port takes lines of JSON, not HTTP"),
            ("PRI * HTTP/2.0", "this port takes lines of JSON, not HTTP"),
            ("Host: m0v.example", "expected a JSON object in braces (column 1)"),
            ("\u{feff}{\"id\":1}", "a byte order mark is not JSON (column 1)"),
        ],
    );
}

#[test]
fn what_is_not_utf8_is_named() {
    for (line, column) in
        [(b"{\"x\":\"\xff\"}".as_slice(), 7), (b"\xff\xfe{", 1), (b"{\"\xc3\":1}", 3), (b"{}\x80", 3)]
    {
        assert_eq!(members_of(line), Err(Refusal::NotUtf8 { column }));
    }
}

#[test]
fn broken_json_says_what_was_expected_and_where() {
    assert_refusals(
        members_of,
        &[
            ("{", "JSON ends too early (column 1)"),
            ("{\"id", "JSON ends too early (column 4)"),
            ("{\"id\"", "JSON ends too early (column 5, near id)"),
            ("{\"id\":", "JSON ends too early (column 6, near id)"),
            ("{\"id\":17", "JSON ends too early (column 8, near id)"),
            ("{\"id\":tr", "JSON ends too early (column 8, near id)"),
            ("{\"x\":[1,", "JSON ends too early (column 8)"),
            ("{\"x\":{", "JSON ends too early (column 6)"),
            ("{\"x\":\"\\u00", "JSON ends too early (column 10)"),
            ("{}}", "something follows the JSON object (column 3)"),
            ("{\"id\":1} {\"id\":2}", "something follows the JSON object (column 10)"),
            ("{}\0", "something follows the JSON object (column 3)"),
            ("{id:17}", "expected a key in double quotes (column 2)"),
            ("{'id':17}", "expected a key in double quotes (column 2)"),
            ("{,}", "expected a key in double quotes (column 2)"),
            ("{\"id\":231,4}", "expected a key in double quotes (column 11, near id)"),
            ("{\0\"\0", "expected a key in double quotes (column 2)"),
            ("{\"id\"=17}", "expected a colon (column 6, near id)"),
            ("{\"x\":{\"y\"}}", "expected a colon (column 10)"),
            ("{\"id\":17;\"x\":1}", "expected , or } (column 9, near id)"),
            ("{\"id\":17 \"x\":1}", "expected , or } (column 10, near id)"),
            ("{\"id\":1_000}", "expected , or } (column 8, near id)"),
            ("{\"id\":0x11}", "expected , or } (column 8, near id)"),
            ("{\"x\":[1 2]}", "expected , or ] (column 9)"),
            ("{\"id\":17,}", "comma before the closing brace (column 10, near id)"),
            ("{\"id\":}", "expected a value (column 7, near id)"),
            ("{\"id\":NaN}", "expected a value (column 7, near id)"),
            ("{\"id\":+1}", "expected a value (column 7, near id)"),
            ("{\"id\":.5}", "expected a value (column 7, near id)"),
            ("{\"id\":'a'}", "expected a value (column 7, near id)"),
            ("{\"id\":True}", "expected a value (column 7, near id)"),
            ("{\"x\":[1,]}", "expected a value (column 9)"),
            ("{\"id\":nul}", "expected true, false or null (column 10, near id)"),
            ("{\"id\":01}", "not a JSON number (column 8, near id)"),
            ("{\"id\":1.}", "not a JSON number (column 9, near id)"),
            ("{\"id\":-}", "not a JSON number (column 8, near id)"),
            ("{\"id\":1e}", "not a JSON number (column 9, near id)"),
            ("{\"id\":\"\\x\"}", "not a JSON escape (column 9, near id)"),
            ("{\"id\":\"\\u00g0\"}", "not a JSON escape (column 13, near id)"),
            ("{\"id\":\"a\tb\"}", "control character in a string (column 9, near id)"),
            ("{\"a\0\":1}", "control character in a string (column 4)"),
            ("{\"id\":1,\n \"x\":tru}", "expected true, false or null (column 18)"),
        ],
    );
}

#[test]
fn numbers_are_the_nearest_double_or_refused() {
    let number = |text| Value { text, column: 1 }.number();
    for (text, expected) in [
        ("231.4", 231.4),
        ("-0.0", -0.0),
        ("1E3", 1000.0),
        ("0.1000000000000000055511151231257827021181583404541015625", 0.1),
        ("9007199254740993", 9_007_199_254_740_992.0),
        ("1.7976931348623157e308", f64::MAX),
        ("4.9e-324", f64::from_bits(1)),
        ("2.5e-324", f64::from_bits(1)),
        ("0e5", 0.0),
        ("0.00E-999", 0.0),
    ] {
        assert_eq!(number(text).map(f64::to_bits), Ok(expected.to_bits()), "{text}");
    }
    for text in [
        "1e999",
        "-1e999",
        "1.7976931348623159e308",
        "1e-999",
        "-0.1e-400",
        "2.4e-324",
        "0e-1000",
        "0e99999999999",
    ] {
        assert_eq!(number(text), Err(Fault::NotDouble), "{text}");
    }
    for text in ["null", "\"1\"", "true", "[]", "{}"] {
        assert_eq!(number(text), Err(Fault::NotNumber), "{text}");
    }
}

#[test]
fn integers_are_written_as_integers() {
    let integer = |text| Value { text, column: 1 }.integer();
    assert_eq!(integer("-0"), Ok(0));
    assert_eq!(integer("9223372036854775807"), Ok(i64::MAX));
    assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
    for text in ["9223372036854775808", "-9223372036854775809", "100000000000000000000000"] {
        assert_eq!(integer(text), Err(Fault::NotI64), "{text}");
    }
    for text in ["17.0", "1e3", "1E3", "\"17\"", "null", "true", "[17]", "{}"] {
        assert_eq!(integer(text), Err(Fault::NotInteger), "{text}");
    }
}

#[test]
fn strings_are_unescaped_and_never_hold_a_nul() {
    let string = |text| Value { text, column: 1 }.string();
    assert_eq!(string(r#""a\"\\\/\u00e4\ud83d\ude00""#).as_deref(), Ok("a\"\\/\u{e4}\u{1f600}"));
    assert_eq!(string(r#""\\u0000""#).as_deref(), Ok("\\u0000"));
    assert_eq!(string(r#""\u0000""#), Err(Fault::Nul));
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\ud800x""#, r#""\ud800\n""#] {
        assert_eq!(string(text), Err(Fault::Surrogate), "{text}");
    }
    for text in ["17", "null", "[\"a\"]"] {
        assert_eq!(string(text), Err(Fault::NotString), "{text}");
    }
}
