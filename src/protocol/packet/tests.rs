use super::*;
use crate::protocol::tests::assert_refusals;
use proptest::prelude::*;

fn reading() -> Packet {
    Packet {
        device: PubRef { id: Some(17), hash: None },
        timestamp: Some(1_732_300_000),
        voltage: Some(231.4),
        frequency: Some(49.98),
        protected: true,
        seq: None,
        extra: None,
    }
}

#[test]
fn the_line_of_the_contract_is_read() {
    let line = br#"{"id":17,"timestamp":1732300000,"status":true,"voltage":231.4,"freq":49.98}"#;
    assert_eq!(parse(line), Ok(reading()));
    let line =
        b"\t{ \"FREQ\":4.998E1 , \"Voltage\":231.4,\"STATUS\":true,\"TimeStamp\":1732300000,\"iD\":17 }\r";
    assert_eq!(parse(line), Ok(reading()));
}

#[test]
fn only_status_is_required() {
    let empty = Packet {
        device: PubRef::default(),
        timestamp: None,
        voltage: None,
        frequency: None,
        protected: false,
        ..reading()
    };
    assert_eq!(parse(br#"{"status":false}"#), Ok(empty));
    assert_refusals(
        parse,
        &[
            ("{}", "status is missing"),
            (r#"{"id":17}"#, "status is missing"),
            (r#"{"status":null}"#, "status must be true or false (column 11)"),
            (r#"{"status":1}"#, "status must be true or false (column 11)"),
            (r#"{"status":"true"}"#, "status must be true or false (column 11)"),
        ],
    );
}

#[test]
fn zero_empty_and_null_mean_absent() {
    for absent in ["0", "-0", "\"\"", "null"] {
        let line = format!(r#"{{"id":{absent},"hash":{absent},"timestamp":{absent},"status":true}}"#);
        let packet = parse(line.as_bytes()).expect(&line);
        assert_eq!((packet.device, packet.timestamp), (PubRef::default(), None), "{line}");
    }
}

#[test]
fn ids_and_hashes_are_integers() {
    let device = |line: &[u8]| parse(line).map(|packet| packet.device);
    assert_eq!(
        device(br#"{"id":9223372036854775807,"hash":-9223372036854775808,"status":true}"#),
        Ok(PubRef { id: Some(i64::MAX), hash: Some(i64::MIN) })
    );
    assert_refusals(
        parse,
        &[
            (r#"{"id":-1,"status":true}"#, "id must be positive (column 7)"),
            (r#"{"id":"17","status":true}"#, "id must be an integer (column 7)"),
            (r#"{"id":17.0,"status":true}"#, "id must be an integer (column 7)"),
            (r#"{"id":1e3,"status":true}"#, "id must be an integer (column 7)"),
            (r#"{"id":0.0,"status":true}"#, "id must be an integer (column 7)"),
            (r#"{"id":" ","status":true}"#, "id must be an integer (column 7)"),
            (r#"{"id":false,"status":true}"#, "id must be an integer (column 7)"),
            (r#"{"id":[17],"status":true}"#, "id must be an integer (column 7)"),
            (r#"{"id":9223372036854775808,"status":true}"#, "id is outside signed 64 bits (column 7)"),
            (r#"{"hash":-9223372036854775809,"status":true}"#, "hash is outside signed 64 bits (column 9)"),
            (r#"{"hash":1.5,"status":true}"#, "hash must be an integer (column 9)"),
            (r#"{"hash":"1358","status":true}"#, "hash must be an integer (column 9)"),
            (r#"{"id":17,"ID":17,"status":true}"#, "id is given twice (column 10)"),
            (r#"{"id":0,"Id":17,"status":true}"#, "id is given twice (column 9)"),
            (r#"{"status":true,"Status":true}"#, "status is given twice (column 16)"),
        ],
    );
}

#[test]
fn timestamps_of_an_unset_clock_mean_now() {
    let timestamp = |text: &str| {
        parse(format!(r#"{{"timestamp":{text},"status":true}}"#).as_bytes()).map(|packet| packet.timestamp)
    };
    for (text, expected) in [
        ("1136239444", None),
        ("1136239445", Some(1_136_239_445)),
        ("1", None),
        ("-1", None),
        ("-9223372036854775808", None),
        ("253402300799", Some(253_402_300_799)),
    ] {
        assert_eq!(timestamp(text), Ok(expected), "{text}");
    }
    let seconds = "timestamp must be Unix seconds, at most 253402300799 (column 14)";
    assert_refusals(
        parse,
        &[
            (r#"{"timestamp":253402300800,"status":true}"#, seconds),
            (r#"{"timestamp":1732300000000,"status":true}"#, seconds),
            (r#"{"timestamp":99999999999999999999}"#, "timestamp is outside signed 64 bits (column 14)"),
            (r#"{"timestamp":1732300000.5}"#, "timestamp must be an integer (column 14)"),
            (r#"{"timestamp":"2024-11-22"}"#, "timestamp must be an integer (column 14)"),
        ],
    );
}

#[test]
fn measured_values_are_numbers() {
    assert_refusals(
        parse,
        &[
            (r#"{"voltage":null,"status":true}"#, "voltage must be a number (column 12)"),
            (r#"{"voltage":"231.4","status":true}"#, "voltage must be a number (column 12)"),
            (r#"{"voltage":"","status":true}"#, "voltage must be a number (column 12)"),
            (r#"{"freq":true,"status":true}"#, "freq must be a number (column 9)"),
            (r#"{"freq":1e999,"status":true}"#, "freq is a number outside double precision (column 9)"),
            (r#"{"freq":1e-999,"status":true}"#, "freq is a number outside double precision (column 9)"),
            (r#"{"freq":49,98}"#, "expected a key in double quotes (column 12, near freq)"),
        ],
    );
    let packet = parse(br#"{"voltage":-0,"freq":0,"status":true}"#).expect("numbers");
    assert_eq!(packet.voltage.map(f64::to_bits), Some((-0.0_f64).to_bits()));
    assert_eq!(packet.frequency, Some(0.0));
}

#[test]
fn seq_needs_a_timestamp() {
    let seq = |line: &[u8]| parse(line).map(|packet| packet.seq);
    assert_eq!(seq(br#"{"seq":0,"timestamp":1732300000,"status":true}"#), Ok(Some(0)));
    assert_eq!(seq(br#"{"timestamp":1732300000,"status":true,"SEQ":-5}"#), Ok(Some(-5)));
    let unset = "seq needs a timestamp, and this one is before 2006: its clock was never set (column 8)";
    assert_refusals(
        parse,
        &[
            (r#"{"seq":1,"status":true}"#, "seq needs a timestamp (column 8)"),
            (r#"{"seq":1,"timestamp":0,"status":true}"#, "seq needs a timestamp (column 8)"),
            (r#"{"seq":1,"timestamp":null,"status":true}"#, "seq needs a timestamp (column 8)"),
            (r#"{"seq":1,"timestamp":1136239444,"status":true}"#, unset),
            (r#"{"seq":1,"timestamp":-1,"status":true}"#, unset),
            (r#"{"seq":null,"status":true}"#, "seq must be an integer (column 8)"),
            (r#"{"seq":"","status":true}"#, "seq must be an integer (column 8)"),
            (r#"{"seq":1.0,"status":true}"#, "seq must be an integer (column 8)"),
            (r#"{"seq":9223372036854775808,"status":true}"#, "seq is outside signed 64 bits (column 8)"),
        ],
    );
}

#[test]
fn keys_of_the_other_message_are_extra() {
    let line = br#"{"id":17,"email":0,"Token":null,"status":true,"wait":{ },"deviceName":""}"#;
    let extra = parse(line).expect("a packet").extra;
    assert_eq!(extra.as_deref(), Some(r#"{"email":0,"Token":null,"wait":{ },"deviceName":""}"#));
}

#[test]
fn the_first_fault_of_a_line_is_told() {
    assert_refusals(
        parse,
        &[
            (r#"{"x":1e999,"id":"a"}"#, "extra value is a number outside double precision (column 6)"),
            (r#"{"id":"a","x":1e999"#, "id must be an integer (column 7)"),
        ],
    );
}

/// A number's value and a way to write it.
fn doubles() -> impl Strategy<Value = (f64, String)> {
    let finite =
        prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO | prop::num::f64::NEGATIVE;
    prop_oneof![
        finite.prop_map(|number| (number, format!("{number:e}"))),
        (-1e6..1e6_f64).prop_map(|number| (number, format!("{number}"))),
        any::<i32>().prop_map(|number| (f64::from(number), number.to_string())),
    ]
}

fn json_texts() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        prop::sample::select(vec!["null", "true", "0", "-0.0", "1E+2", "[]", "{ }"]).prop_map(str::to_owned),
        doubles().prop_map(|(_, text)| text),
        "[^\u{0}]{0,8}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    scalar.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|elements| format!("[ {} ]", elements.join(" ,"))),
            prop::collection::btree_map("[a-zA-Z]{0,4}", inner, 0..4).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// What a device could send: members (key, value text), and what must come of them.
fn packets() -> impl Strategy<Value = (Packet, Vec<(String, String)>)> {
    let device = (prop::option::of(1..=i64::MAX), prop::option::of(any::<i64>()));
    let when = prop::option::of((
        prop_oneof![any::<i64>(), CLOCK_IS_SET..=LATEST_TIMESTAMP],
        prop::option::of(any::<i64>()),
    ));
    let values = (prop::option::of(doubles()), prop::option::of(doubles()), any::<bool>());
    let extra = prop::collection::btree_map("[xyzäß\"\\\\ ]{1,6}", json_texts(), 0..4);
    (device, when, values, extra).prop_map(|((id, hash), when, (voltage, frequency, protected), extra)| {
        let (sent, seq) = when.map_or((None, None), |(at, seq)| (Some(at.min(LATEST_TIMESTAMP)), seq));
        let timestamp = sent.filter(|at| *at >= CLOCK_IS_SET);
        let seq = seq.filter(|_| timestamp.is_some());
        let integers = [("id", id), ("hash", hash), ("timestamp", sent), ("seq", seq)];
        let doubles = [("voltage", &voltage), ("freq", &frequency)];
        let integers = integers.into_iter().filter_map(|(key, value)| Some((key.into(), value?.to_string())));
        let doubles = doubles.into_iter().filter_map(|(key, value)| Some((key.into(), value.clone()?.1)));
        let mut members: Vec<(String, String)> = integers.chain(doubles).collect();
        members.push(("status".into(), protected.to_string()));
        members.extend(extra);
        let value = |double: Option<(f64, String)>| double.map(|(value, _)| value);
        let (voltage, frequency) = (value(voltage), value(frequency));
        let device = PubRef { id, hash: hash.filter(|hash| *hash != 0) };
        (Packet { device, timestamp, voltage, frequency, protected, seq, extra: None }, members)
    })
}

/// The members in any order, their keys in any case, with blanks between.
fn lines() -> impl Strategy<Value = (Packet, String)> {
    let shuffled = packets().prop_flat_map(|(packet, members)| (Just(packet), Just(members).prop_shuffle()));
    (shuffled, prop::collection::vec(any::<bool>(), 16), "[ \t]{0,2}").prop_map(
        |((mut packet, members), case, blank)| {
            let mut case = case.iter().cycle();
            let (mut line, mut extra) = (Vec::new(), Vec::new());
            for (key, value) in &members {
                if KNOWN.iter().any(|field| field.name() == key) {
                    let any_case = |letter: char| {
                        if case.next() == Some(&true) { letter.to_ascii_uppercase() } else { letter }
                    };
                    let key: String = key.chars().map(any_case).collect();
                    line.push(format!("{blank}\"{key}\"{blank}:{blank}{value}{blank}"));
                } else {
                    let key = serde_json::Value::from(key.as_str());
                    line.push(format!("{key}:{blank}{value}{blank}"));
                    extra.push(format!("{key}:{value}"));
                }
            }
            packet.extra = (!extra.is_empty()).then(|| format!("{{{}}}", extra.join(",")));
            (packet, format!("{blank}{{{}}}{blank}", line.join(",")))
        },
    )
}

proptest! {
    #[test]
    fn a_valid_packet_is_read_exactly_as_sent((packet, line) in lines()) {
        prop_assert_eq!(parse(line.as_bytes()), Ok(packet), "{}", line);
    }

    #[test]
    fn a_packet_cut_short_is_refused((_, line) in lines(), cut in any::<prop::sample::Index>()) {
        let line = line.trim_end().as_bytes();
        prop_assert!(parse(&line[..cut.index(line.len())]).is_err());
    }
}
