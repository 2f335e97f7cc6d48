use super::*;
use crate::protocol::tests::assert_refusals;

fn confirmation() -> Confirmation {
    Confirmation {
        device_name: "Movprov".into(),
        ssid: "M0V".into(),
        hash: 13580,
        email: Some("a@b.c".into()),
        timestamp: Some(1_732_300_000),
        extra: None,
    }
}

fn query() -> Query {
    Query { device_name: "Movprov".into(), ssid: "M0V".into(), token: None, wait: 0 }
}

/// A line about Movprov and M0V with these members as well.
fn line(more: &str) -> String {
    format!(r#"{{"deviceName":"Movprov","ssid":"M0V",{more}}}"#)
}

fn confirmed(more: &str) -> Confirmation {
    match parse(line(more).as_bytes()) {
        Ok(Message::Confirmation(confirmation)) => confirmation,
        other => panic!("{more}: {other:?}"),
    }
}

#[test]
fn the_line_of_the_contract_is_read() {
    let line =
        br#"{"deviceName":"Movprov","timestamp":1732300000,"ssid":"M0V","hash":13580,"email":"a@b.c"}"#;
    assert_eq!(parse(line), Ok(Message::Confirmation(confirmation())));
    let line =
        br#"{"DEVICENAME":"Movprov","TimeStamp":1732300000,"SSID":"M0V","Hash":13580,"eMail":"a@b.c"}"#;
    assert_eq!(parse(line), Ok(Message::Confirmation(confirmation())));
    assert_eq!(parse(br#"{"deviceName":"Movprov","ssid":"M0V"}"#), Ok(Message::Query(query())));
}

#[test]
fn a_line_without_a_hash_asks() {
    for absent in ["0", "-0", "\"\"", "null"] {
        let line = line(&format!(
            r#""hash":{absent},"email":{absent},"timestamp":{absent},"token":{absent},"x":[]"#
        ));
        assert_eq!(parse(line.as_bytes()), Ok(Message::Query(query())), "{line}");
    }
    let line = line(r#""Wait":60,"TOKEN":-13580,"email":"a@b.c","timestamp":1732300000"#);
    assert_eq!(
        parse(line.as_bytes()),
        Ok(Message::Query(Query { token: Some(-13580), wait: 60, ..query() }))
    );
}

#[test]
fn a_confirmation_keeps_what_it_does_not_know() {
    let confirmation = confirmed(r#""hash":-1,"token":"x","Wait":-5,"rssi": -71"#);
    assert_eq!(confirmation.hash, -1);
    assert_eq!(confirmation.extra.as_deref(), Some(r#"{"token":"x","Wait":-5,"rssi":-71}"#));
}

#[test]
fn optional_members_may_be_absent() {
    for absent in ["0", "-0", "\"\"", "null"] {
        let confirmation = confirmed(&format!(r#""hash":1,"email":{absent},"timestamp":{absent}"#));
        assert_eq!((confirmation.email, confirmation.timestamp), (None, None), "{absent}");
    }
    assert_eq!(confirmed(r#""hash":1,"timestamp":1136239444"#).timestamp, None);
}

#[test]
fn names_are_1_to_32_bytes() {
    let of = |name: &str| parse(format!(r#"{{"deviceName":"{name}","ssid":"{name}"}}"#).as_bytes());
    assert!(of(&"a".repeat(32)).is_ok() && of(&"ä".repeat(16)).is_ok() && of(" ").is_ok());
    assert!(matches!(of(r#"\u00e4\"\\"#), Ok(Message::Query(query)) if query.ssid == "ä\"\\"));
    let long = format!(r#"{{"deviceName":"{}"}}"#, "ä".repeat(17));
    assert_refusals(
        parse,
        &[
            (long.as_str(), "deviceName must be 1 to 32 bytes (column 15)"),
            (r#"{"deviceName":"","ssid":"a"}"#, "deviceName must be 1 to 32 bytes (column 15)"),
            (r#"{"ssid":""}"#, "ssid must be 1 to 32 bytes (column 9)"),
            (r#"{"ssid":"a"}"#, "deviceName is missing"),
            (r#"{"deviceName":"a","hash":1}"#, "ssid is missing"),
            ("{}", "deviceName is missing"),
            (r#"{"deviceName":null}"#, "deviceName must be a string (column 15)"),
            (r#"{"deviceName":0}"#, "deviceName must be a string (column 15)"),
            (r#"{"ssid":17}"#, "ssid must be a string (column 9)"),
            (r#"{"ssid":"a\tb"}"#, "ssid has a control character (column 9)"),
            ("{\"ssid\":\"\u{7f}\"}", "ssid has a control character (column 9)"),
            (r#"{"ssid":"\u0085"}"#, "ssid has a control character (column 9)"),
            (r#"{"ssid":"\u0000"}"#, "ssid has a NUL character (column 9)"),
            (r#"{"ssid":"\ud800"}"#, "ssid has half a surrogate pair (column 9)"),
            (r#"{"ssid":"a","SSID":"a"}"#, "ssid is given twice (column 13)"),
        ],
    );
}

#[test]
fn emails_have_something_on_both_sides() {
    let of = |email: &str| confirmed(&format!(r#""hash":1,"email":"{email}""#)).email;
    let longest = format!("{}@b", "ä".repeat(62));
    for email in ["a@b", "A.B+c@example.org", "a@b@c", longest.as_str()] {
        assert_eq!(of(email).as_deref(), Some(email));
    }
    let long = format!(r#"{{"email":"{}@b"}}"#, "a".repeat(63));
    assert_refusals(
        parse,
        &[
            (long.as_str(), "email is over 64 characters (column 10)"),
            (r#"{"email":"a"}"#, "email is not an e-mail address (column 10)"),
            (r#"{"email":"@b"}"#, "email is not an e-mail address (column 10)"),
            (r#"{"email":"a@"}"#, "email is not an e-mail address (column 10)"),
            (r#"{"email":"@"}"#, "email is not an e-mail address (column 10)"),
            (r#"{"email":"a @b"}"#, "email is not an e-mail address (column 10)"),
            (r#"{"email":"a\u00a0@b"}"#, "email is not an e-mail address (column 10)"),
            (r#"{"email":"a\n@b"}"#, "email has a control character (column 10)"),
            (r#"{"email":"a\u0000@b"}"#, "email has a NUL character (column 10)"),
            (r#"{"email":1}"#, "email must be a string (column 10)"),
            (r#"{"email":false}"#, "email must be a string (column 10)"),
        ],
    );
}

#[test]
fn numbers_are_judged_as_in_packets() {
    assert_refusals(
        parse,
        &[
            (r#"{"hash":"13580"}"#, "hash must be an integer (column 9)"),
            (r#"{"hash":1.0}"#, "hash must be an integer (column 9)"),
            (r#"{"hash":9223372036854775808}"#, "hash is outside signed 64 bits (column 9)"),
            (
                r#"{"timestamp":1732300000000}"#,
                "timestamp must be Unix seconds, at most 253402300799 (column 14)",
            ),
            (&line(r#""token":"x""#), "token must be an integer (column 46)"),
            (&line(r#""token":1.5"#), "token must be an integer (column 46)"),
            (&line(r#""wait":61"#), "wait must be an integer from 0 to 60 (column 45)"),
            (&line(r#""wait":-1"#), "wait must be an integer from 0 to 60 (column 45)"),
            (&line(r#""wait":256"#), "wait must be an integer from 0 to 60 (column 45)"),
            (&line(r#""wait":1.0"#), "wait must be an integer from 0 to 60 (column 45)"),
            (&line(r#""wait":null"#), "wait must be an integer from 0 to 60 (column 45)"),
            (&line(r#""wait":1,"WAIT":1"#), "wait is given twice (column 47)"),
            (&line(r#""x":1e999"#), "extra value is a number outside double precision (column 42)"),
        ],
    );
}

#[test]
fn an_answer_is_the_line_of_the_contract() {
    let answer = Answer {
        device_name: "Mov\"prov",
        timestamp: 1_732_300_000,
        ssid: "M0V",
        hash: -13580,
        id: Some(17),
        conflict: false,
    };
    assert_eq!(
        answer.to_string(),
        r#"{"deviceName":"Mov\"prov","timestamp":1732300000,"ssid":"M0V","hash":-13580,"id":17,"conflict":false}"#
    );
    let answer = Answer { device_name: "M", id: None, conflict: true, ..answer };
    assert_eq!(
        answer.to_string(),
        r#"{"deviceName":"M","timestamp":1732300000,"ssid":"M0V","hash":-13580,"id":null,"conflict":true}"#
    );
}

#[test]
fn parts_of_text_are_judged_as_a_line_is() {
    let asked = Asked { device_name: "Movprov", ssid: "M0V", token: None, wait: None };
    let query = |token, wait| Query { device_name: "Movprov".into(), ssid: "M0V".into(), token, wait };
    assert_eq!(asked.judge(), Ok(query(None, 0)));
    for (token, meant) in
        [("", None), ("0", None), ("-9223372036854775808", Some(i64::MIN)), ("007", Some(7))]
    {
        assert_eq!(Asked { token: Some(token), ..asked }.judge(), Ok(query(meant, 0)), "{token}");
    }
    assert_eq!(Asked { wait: Some("60"), ..asked }.judge(), Ok(query(None, 60)));
    let long = "x".repeat(33);
    for (asked, words) in [
        (Asked { device_name: "", ..asked }, "deviceName must be 1 to 32 bytes"),
        (Asked { ssid: &long, ..asked }, "ssid must be 1 to 32 bytes"),
        (Asked { ssid: "a\u{7f}", ..asked }, "ssid has a control character"),
        (Asked { device_name: "\0", ..asked }, "deviceName has a control character"),
        (Asked { token: Some("1.0"), ..asked }, "token must be an integer"),
        (Asked { token: Some("+1"), ..asked }, "token must be an integer"),
        (Asked { token: Some("-"), ..asked }, "token must be an integer"),
        (Asked { token: Some("9223372036854775808"), ..asked }, "token is outside signed 64 bits"),
        (Asked { wait: Some(""), ..asked }, "wait must be an integer from 0 to 60"),
        (Asked { wait: Some("61"), ..asked }, "wait must be an integer from 0 to 60"),
        (Asked { wait: Some("-1"), ..asked }, "wait must be an integer from 0 to 60"),
    ] {
        assert_eq!(asked.judge().unwrap_err().to_string(), words, "{asked:?}");
    }
}
