use super::Object;
use proptest::prelude::*;

fn refused(body: &[u8]) -> String {
    Object::read(body).unwrap_err().to_string()
}

fn unstorable(body: &str) -> String {
    Object::read(body.as_bytes()).unwrap().check_storable().unwrap_err().to_string()
}

#[test]
fn tells_what_is_no_object_and_where() {
    for (body, words) in [
        (&b""[..], "the body must be a JSON object (line 1, column 1)"),
        (b"\n \n", "the body must be a JSON object (line 3, column 1)"),
        (b"[1]", "the body must be a JSON object (line 1, column 1)"),
        (b"GET / HTTP/1.1", "the body must be a JSON object (line 1, column 1)"),
        (b"\xef\xbb\xbf{}", "a byte order mark is not JSON (line 1, column 1)"),
        (b"{\"a\":\n\"\xff\"}", "the body is not UTF-8 (line 2, column 2)"),
        (b"{\"a\":1", "JSON ends too early (line 1, column 6)"),
        (b"{\n\"a\":1,\n\"b\":}", "expected a value (line 3, column 5)"),
        (b"{\"a\":1}\n{}", "something follows the JSON object (line 2, column 1)"),
        (b"{\"a\":1,\n \"a\":2}", "a key in the body is given twice (line 2, column 2)"),
        (b"{\"a\\u0000\":1}", "a key in the body has a NUL character (line 1, column 2)"),
    ] {
        assert_eq!(refused(body), words, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn finds_members_by_their_exact_names() {
    let body =
        Object::read(br#" {"deviceId": "a\/b", "DeviceID": 1, "none": null, "at": 5, "zero": 0} "#).unwrap();
    assert_eq!(body.part("deviceId").unwrap().string().unwrap(), "a/b");
    assert_eq!(
        body.part("DeviceID").unwrap().string().unwrap_err().to_string(),
        "DeviceID must be a string (line 1, column 35)"
    );
    assert!(body.find("none").is_none() && body.find("deviceid").is_none());
    assert_eq!(body.part("none").unwrap_err().to_string(), "none is missing (line 1, column 1)");
    assert_eq!(body.part("at").unwrap().seconds().unwrap(), Some(5));
    assert_eq!(body.part("zero").unwrap().seconds().unwrap(), None);
}

#[test]
fn reads_objects_inside_and_bytes() {
    let text = "{\"a\":\n {\"b\": {\"c\": 7}, \"data\": [45, 0, 255]}}";
    let body = Object::read(text.as_bytes()).unwrap();
    let a = body.part("a").unwrap().object().unwrap();
    let b = a.part("b").unwrap().object().unwrap();
    assert_eq!(b.text(), "{\"c\": 7}");
    let c = b.part("c").unwrap();
    assert_eq!(c.string().unwrap_err().to_string(), "a.b.c must be a string (line 2, column 14)");
    assert_eq!(b.part("d").unwrap_err().to_string(), "a.b.d is missing (line 2, column 8)");
    assert_eq!(c.object().unwrap_err().to_string(), "a.b.c must be an object (line 2, column 14)");
    let data = a.part("data").unwrap();
    assert_eq!(data.bytes(3).unwrap(), [45, 0, 255]);
    assert_eq!(data.bytes(2).unwrap_err().to_string(), "a.data has more than 2 bytes (line 2, column 26)");
    for wrong in ["[256]", "[-1]", "[1.0]", "[\"a\"]", "{}", "\"[1]\"", "[null]"] {
        let body = format!("{{\"data\":{wrong}}}");
        let body = Object::read(body.as_bytes()).unwrap();
        let words = body.part("data").unwrap().bytes(9).unwrap_err().to_string();
        assert_eq!(words, "data must be an array of integers from 0 to 255 (line 1, column 9)", "{wrong}");
    }
}

#[test]
fn judges_what_can_be_stored() {
    let deep = |levels: usize| format!("{}{}", "{\"a\":".repeat(levels - 1), "{}") + &"}".repeat(levels - 1);
    for good in ["{}", r#"{"a":[1,"x",{"b":null,"B":1e308}]}"#, &deep(32)] {
        Object::read(good.as_bytes()).unwrap().check_storable().unwrap();
    }
    for (body, words) in [
        ("{\"t\":\n1e999}", "t is a number outside double precision (line 2, column 1)"),
        ("{\"t\":[1e-999]}", "in t: a value is a number outside double precision (line 1, column 7)"),
        ("{\"t\":{\"b\":1,\n\"b\":2}}", "in t: a key is given twice (line 2, column 1)"),
        ("{\"t\":\"\\u0000\"}", "t has a NUL character (line 1, column 6)"),
        ("{\"t\":\"\\ud800\"}", "t has half a surrogate pair (line 1, column 6)"),
        ("{\"a b\":1e999}", "a member is a number outside double precision (line 1, column 8)"),
    ] {
        assert_eq!(unstorable(body), words, "{body}");
    }
    assert!(unstorable(&deep(33)).contains("nested over 32 levels"), "{}", unstorable(&deep(33)));
    let part = format!("{{\"data\":{}}}", deep(32));
    Object::read(part.as_bytes()).unwrap().part("data").unwrap().check_storable().unwrap();
}

proptest! {
    #[test]
    fn never_panics_and_points_into_the_body(body in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Err(bad) = Object::read(&body) {
            prop_assert!(bad.line >= 1 && bad.column >= 1 && bad.column <= body.len() + 1);
        }
    }

    #[test]
    fn agrees_with_serde_json(body in r#"\{("[ab]":(1|"x"|\{\}|\[1,\[\]\]|null),?){0,3}\}?"#) {
        let read = Object::read(body.as_bytes());
        let serde: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&body);
        match (&read, &serde) {
            (Ok(object), Ok(map)) => {
                for (name, value) in map {
                    prop_assert_eq!(object.find(name).is_some(), !value.is_null());
                }
            }
            (Ok(_), Err(_)) => prop_assert!(false, "{}", body),
            (Err(bad), Ok(_)) => prop_assert!(bad.to_string().contains("twice"), "{} {}", body, bad),
            (Err(_), Err(_)) => {}
        }
    }
}
