use super::*;
use crate::protocol::json::read_line;
use crate::protocol::tests::assert_refusals;

fn extra_of(line: &[u8]) -> Result<Option<String>, Refusal> {
    let mut extra = Extra::default();
    read_line(line, &[], |member| extra.add(&member))?;
    Ok(extra.into_text())
}

fn nested(levels: usize) -> String {
    format!("{{\"x\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
}

#[test]
fn values_stay_byte_for_byte_as_sent() {
    let table = [
        ("{}", None),
        ("{ \"Rssi\" : -71 }", Some(r#"{"Rssi":-71}"#)),
        (
            r#"{"a":1.10,"b":1E+2,"c":-0.0,"d":"\u0041\/"}"#,
            Some(r#"{"a":1.10,"b":1E+2,"c":-0.0,"d":"\u0041\/"}"#),
        ),
        (r#"{"a":{ "b" : [ 1 , null ] }}"#, Some(r#"{"a":{ "b" : [ 1 , null ] }}"#)),
        (r#"{"a":12345678901234567890123}"#, Some(r#"{"a":12345678901234567890123}"#)),
        (r#"{"\u0041\n\"":1}"#, Some(r#"{"A\n\"":1}"#)),
        ("{\"ä\u{7f}\":\"é\u{7f}\"}", Some("{\"ä\u{7f}\":\"é\u{7f}\"}")),
        (r#"{"":0}"#, Some(r#"{"":0}"#)),
    ];
    for (line, extra) in table {
        assert_eq!(extra_of(line.as_bytes()).expect(line).as_deref(), extra, "{line}");
    }
}

#[test]
fn what_jsonb_would_refuse_or_drop_is_refused() {
    assert_refusals(
        extra_of,
        &[
            (r#"{"x":1e999}"#, "extra value is a number outside double precision (column 6)"),
            (r#"{"x":1e-999}"#, "extra value is a number outside double precision (column 6)"),
            (r#"{"x":[0,{"y":-1e999}]}"#, "extra value is a number outside double precision (column 14)"),
            (r#"{"x":[0e-20000]}"#, "extra value is a number outside double precision (column 7)"),
            (r#"{"x":"a\u0000"}"#, "extra value has a NUL character (column 6)"),
            (r#"{"x":{"y":["\u0000"]}}"#, "extra value has a NUL character (column 12)"),
            (r#"{"\u0000":1}"#, "extra key has a NUL character (column 2)"),
            (r#"{"x":{"\u0000":1}}"#, "extra key has a NUL character (column 7)"),
            (r#"{"x":"\ud800"}"#, "extra value has half a surrogate pair (column 6)"),
            (r#"{"\udc00":1}"#, "extra key has half a surrogate pair (column 2)"),
            (r#"{"x":[{"\ud800":1}]}"#, "extra key has half a surrogate pair (column 8)"),
            (r#"{"x":1,"y":2,"X":3}"#, "extra key is given twice (column 14)"),
            ("{\"Ä\":1,\"ä\":2}", "extra key is given twice (column 9)"),
            (r#"{"x":1,"\u0078":2}"#, "extra key is given twice (column 8)"),
            (r#"{"x":{"y":1,"y":1}}"#, "extra key is given twice (column 13)"),
            (r#"{"x":[{"y":1,"\u0079":1}]}"#, "extra key is given twice (column 14)"),
        ],
    );
    assert!(extra_of(br#"{"x":{"y":1,"Y":1}}"#).is_ok(), "inside, keys differ by case");
}

#[test]
fn levels_are_counted_from_the_line_itself() {
    assert_eq!(extra_of(nested(MAX_LEVELS).as_bytes()), Ok(Some(nested(MAX_LEVELS))));
    let refusal = Refusal::Field { field: Field::ExtraValue, fault: Fault::TooDeep, column: 37 };
    assert_eq!(extra_of(nested(MAX_LEVELS + 1).as_bytes()), Err(refusal.clone()));
    assert_eq!(extra_of(nested(4000).as_bytes()), Err(refusal));
    let objects = format!("{}0{}", "{\"x\":".repeat(MAX_LEVELS), "}".repeat(MAX_LEVELS));
    assert!(extra_of(objects.as_bytes()).is_ok());
    let objects = format!("{{\"x\":{objects}}}");
    assert!(matches!(extra_of(objects.as_bytes()), Err(Refusal::Field { fault: Fault::TooDeep, .. })));
}

#[test]
fn bytes_are_counted_as_kept() {
    let of_size = |size: usize| format!("{{\"x\":\"{}\"}}", "a".repeat(size - r#"{"x":""}"#.len()));
    let spaced = |size| of_size(size).replace(':', " : ");
    assert_eq!(extra_of(spaced(MAX_BYTES).as_bytes()), Ok(Some(of_size(MAX_BYTES))));
    assert_refusals(
        extra_of,
        &[(&of_size(MAX_BYTES + 1), "extra value takes the extra keys over 8192 bytes (column 6)")],
    );
}
