//! The meter port's lines that are stored, and how (DESIGN §2.2).

use crate::{
    harness::{Engine, Site},
    story::now,
};
use serde_json::json;

on_both_stores![
    keys_match_without_regard_to_case,
    zero_values_mean_absent,
    a_hash_is_as_good_as_an_id,
    id_and_hash_must_agree,
    a_clock_that_was_never_set_means_now,
    the_year_9999_is_the_last,
    voltage_and_freq_are_optional,
    numbers_keep_every_bit,
    a_resend_with_seq_is_thanked_and_stored_once,
    a_resend_with_other_values_is_refused,
    one_batch_may_hold_a_packet_and_its_resends,
    without_seq_every_line_is_a_row,
    unknown_keys_go_to_extra,
    extra_ends_at_8_kb_and_32_levels,
    an_unknown_id_is_refused,
    an_unknown_id_is_created_when_configured,
    an_unknown_id_beside_a_known_hash_is_no_new_device,
    creating_ids_is_capped,
    the_reply_can_be_changed,
    a_device_added_beside_the_server_is_known_at_once,
];

fn keys_match_without_regard_to_case(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    server.meter().thanked(
        r#"{"ID":17,"TimeStamp":1732300000,"STATUS":false,"Voltage":1.5,"FREQ":2.5,"Seq":3,"Rssi":-70}"#,
    );
    let row = site.only_packet();
    assert_eq!((row.pub_id, row.created_at, row.seq), (17, 1_732_300_000_000_000, Some(3)));
    assert_eq!((row.voltage, row.frequency, row.protected), (Some(1.5), Some(2.5), false));
    assert_eq!(row.extra(), Some(json!({"Rssi": -70})), "unknown keys keep their case");
}

fn zero_values_mean_absent(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    site.run(&["pub", "add", "--id", "17", "--hash", "13580"]).succeeded();
    let mut meter = server.meter();
    for absent in ["0", "\"\"", "null"] {
        meter.thanked(format!(r#"{{"id":{absent},"hash":13580,"status":true}}"#));
        meter.thanked(format!(r#"{{"id":17,"hash":{absent},"email":{absent},"status":true}}"#));
        let before = now();
        meter.thanked(format!(r#"{{"id":17,"timestamp":{absent},"status":true}}"#));
        let row = site.packets().pop().expect("the packet is stored");
        assert!((before - 1_000_000..=now()).contains(&row.created_at), "{absent} means now: {row:?}");
        let reason = meter.refused(format!(r#"{{"id":{absent},"hash":{absent},"status":true}}"#));
        assert!(reason.contains("id"), "{reason}");
    }
    assert_eq!(site.packets().len(), 9);
    assert!(site.packets().iter().all(|row| row.pub_id == 17));
}

fn a_hash_is_as_good_as_an_id(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    for (id, hash) in [("17", i64::MIN), ("18", -1), ("19", i64::MAX)] {
        site.run(&["pub", "add", "--id", id, &format!("--hash={hash}")]).succeeded();
        server.meter().thanked(format!(r#"{{"hash":{hash},"status":true}}"#));
    }
    let ids: Vec<_> = site.packets().iter().map(|row| row.pub_id).collect();
    assert_eq!(ids, [17, 18, 19]);
}

fn id_and_hash_must_agree(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    site.run(&["pub", "add", "--id", "17", "--hash", "100"]).succeeded();
    site.run(&["pub", "add", "--id", "18", "--hash", "200"]).succeeded();
    let mut meter = server.meter();
    meter.thanked(r#"{"id":17,"hash":100,"status":true}"#);
    for line in [
        r#"{"id":17,"hash":200,"status":true}"#,
        r#"{"id":17,"hash":300,"status":true}"#,
        r#"{"id":19,"hash":100,"status":true}"#,
    ] {
        let reason = meter.refused(line);
        assert!(reason.contains("id") || reason.contains("hash"), "{reason}");
    }
    meter.thanked(r#"{"hash":200,"id":18,"status":true}"#);
    let ids: Vec<_> = site.packets().iter().map(|row| row.pub_id).collect();
    assert_eq!(ids, [17, 18]);
}

fn a_clock_that_was_never_set_means_now(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    let before = now();
    for timestamp in [r#""timestamp":1136239444,"#, r#""timestamp":-5,"#, r#""timestamp":1,"#, ""] {
        meter.thanked(format!(r#"{{"id":17,{timestamp}"status":true}}"#));
    }
    let after = now();
    for row in site.packets() {
        // Whole seconds are as good as microseconds here.
        assert!((before - 1_000_000..=after).contains(&row.created_at), "{row:?}");
        assert!((before..=after).contains(&row.saved_at), "{row:?}");
    }
    meter.thanked(r#"{"id":17,"timestamp":1136239445,"status":true}"#);
    assert_eq!(site.packets().last().map(|row| row.created_at), Some(1_136_239_445_000_000));
}

fn the_year_9999_is_the_last(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    meter.thanked(r#"{"id":17,"timestamp":253402300799,"status":true}"#);
    for timestamp in ["253402300800", "1732300000000", "9223372036854775807", "1e30"] {
        let reason = meter.refused(format!(r#"{{"id":17,"timestamp":{timestamp},"status":true}}"#));
        assert!(reason.contains("timestamp"), "{reason}");
    }
    assert_eq!(site.only_packet().created_at, 253_402_300_799_000_000);
}

fn voltage_and_freq_are_optional(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    meter.thanked(r#"{"id":17,"status":true}"#);
    meter.thanked(r#"{"id":17,"status":true,"voltage":0}"#);
    meter.thanked(r#"{"id":17,"status":true,"freq":0.0}"#);
    let stored: Vec<_> = site.packets().iter().map(|row| (row.voltage, row.frequency)).collect();
    assert_eq!(stored, [(None, None), (Some(0.0), None), (None, Some(0.0))]);
}

fn numbers_keep_every_bit(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    let numbers = [
        "231.4",
        "49.980000000000004",
        "0.1",
        "1e308",
        "1.7976931348623157e308",
        "5e-324",
        "-2.2250738585072014E-308",
        "9007199254740993",
        "-400",
        "3.141592653589793238462643383279",
        "1E+2",
    ];
    for number in numbers {
        meter.thanked(format!(r#"{{"id":17,"status":true,"voltage":{number},"freq":{number}}}"#));
    }
    for (row, number) in site.packets().iter().zip(numbers) {
        let sent: f64 = number.parse().expect("a number");
        assert_eq!(row.voltage.map(f64::to_bits), Some(sent.to_bits()), "{number} in {row:?}");
        assert_eq!(row.frequency.map(f64::to_bits), Some(sent.to_bits()), "{number} in {row:?}");
    }
    assert_eq!(site.packets().len(), numbers.len());
}

fn a_resend_with_seq_is_thanked_and_stored_once(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    for seq in ["0", "17", "-1", "9223372036854775807"] {
        let line = format!(
            r#"{{"id":17,"timestamp":1732300000,"seq":{seq},"status":true,"voltage":231.4,"x":{{"a":1,"b":[2]}}}}"#
        );
        let mut meter = server.meter();
        meter.thanked(&line);
        meter.thanked(&line);
        server.meter().thanked(&line);
    }
    let stored: Vec<_> = site.packets().iter().map(|row| row.seq).collect();
    assert_eq!(stored, [Some(0), Some(17), Some(-1), Some(i64::MAX)]);
}

fn a_resend_with_other_values_is_refused(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    let line = r#"{"id":17,"timestamp":1732300000,"seq":17,"status":true,"voltage":231.4,"freq":50,"x":1}"#;
    meter.thanked(line);
    for (sent, resent) in [
        ("231.4", "231.5"),
        (r#""voltage":231.4,"#, ""),
        (r#""freq":50"#, r#""freq":50.01"#),
        ("true", "false"),
        (r#""x":1"#, r#""x":2"#),
        (r#","x":1"#, ""),
    ] {
        let other = line.replace(sent, resent);
        assert_eq!(meter.ask(&other), "!OK seq 17 was stored with other values", "for {other}");
    }
    meter.thanked(line);
    assert_eq!(site.only_packet().voltage, Some(231.4));
    meter.thanked(line.replace(r#""seq":17"#, r#""seq":18"#));
    meter.thanked(line.replace("1732300000", "1732300001"));
    assert_eq!(site.packets().len(), 3);
}

fn one_batch_may_hold_a_packet_and_its_resends(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    let line = r#"{"id":17,"timestamp":1732300000,"seq":1,"status":true,"voltage":1}"#;
    let other = line.replace(":1}", ":2}");
    meter.send_raw(format!("{line}\n{line}\n{other}\n{line}\n").as_bytes());
    let replies: Vec<_> = (0..4).map(|_| meter.reply()).collect();
    let conflict = "!OK seq 1 was stored with other values";
    assert_eq!(replies, ["Thank you", "Thank you", conflict, "Thank you"]);
    assert_eq!(site.only_packet().voltage, Some(1.0));
}

fn without_seq_every_line_is_a_row(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    for _ in 0..3 {
        meter.thanked(r#"{"id":17,"timestamp":1732300000,"status":true,"voltage":231.4}"#);
    }
    assert_eq!(site.packets().len(), 3);
}

fn unknown_keys_go_to_extra(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let extra = json!({"Firmware": "1.0 \"beta\" \\ µ 電圧 \u{1}", "rssi": -70, "nested": {"a": [1, 2.5, null, {}]},
        "empty": "", "none": null, "big": 123_456_789_012_345_678_i64, "": "a key may be empty"});
    let mut line = extra.clone();
    line["id"] = json!(17);
    line["status"] = json!(true);
    let mut meter = server.meter();
    meter.thanked(line.to_string());
    meter.thanked(r#"{"id":17,"status":true}"#);
    meter.thanked(r#"{"id":17,"status":true,"emoji":"\ud83d\ude00"}"#);
    let stored: Vec<_> = site.packets().iter().map(|row| row.extra()).collect();
    let without = stored[1].clone();
    assert!(without.is_none() || without == Some(json!({})), "{without:?}");
    assert_eq!(stored[0], Some(extra));
    assert_eq!(stored[2], Some(json!({"emoji": "😀"})));
}

fn extra_ends_at_8_kb_and_32_levels(engine: Engine) {
    let site = Site::with(engine, "[limits]\nmax_line = 100000");
    let server = site.start_with_device();
    let mut meter = server.meter();
    let long = |bytes| format!(r#"{{"id":17,"status":true,"note":"{}"}}"#, "x".repeat(bytes));
    let deep =
        |levels| format!(r#"{{"id":17,"status":true,"note":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    meter.thanked(long(8000));
    let reason = meter.refused(long(9 * 1024));
    assert!(!reason.contains("xxx"), "{reason}");
    meter.refused(long(50_000));
    meter.thanked(deep(30));
    meter.refused(deep(33));
    meter.refused(deep(100));
    meter.refused(deep(40_000));
    meter.refused(format!(r#"{{"id":17,"status":true,"note":{}"#, "[{\"a\":".repeat(9_000)));
    meter.thanked(r#"{"id":17,"status":true}"#);
    assert_eq!(site.packets().len(), 3);
}

fn an_unknown_id_is_refused(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut meter = server.meter();
    assert_eq!(meter.ask(r#"{"id":17,"status":true}"#), "!OK unknown id 17");
    assert_eq!(meter.ask(r#"{"hash":13580,"status":true}"#), "!OK unknown hash 13580");
    assert_eq!(
        meter.ask(r#"{"id":9223372036854775807,"status":true}"#),
        "!OK unknown id 9223372036854775807"
    );
    assert_eq!(site.packets(), []);
    assert_eq!(site.pubs(), []);
}

fn an_unknown_id_beside_a_known_hash_is_no_new_device(engine: Engine) {
    let site = Site::with(engine, "[meter]\nunknown_id = \"create\"");
    let server = site.start();
    site.run(&["pub", "add", "--id", "1", "--hash", "5"]).succeeded();
    let mut meter = server.meter();
    for _ in 0..2 {
        let reason = meter.refused(r#"{"id":17,"hash":5,"status":true}"#);
        assert!(reason.contains("id 17 and hash 5 are not the same device"), "{reason}");
    }
    assert!(site.packets().is_empty(), "nothing is stored under the hash's device");
    meter.thanked(r#"{"id":1,"hash":5,"status":true}"#);
}

fn an_unknown_id_is_created_when_configured(engine: Engine) {
    let site = Site::with(engine, "[meter]\nunknown_id = \"create\"");
    let server = site.start();
    let mut meter = server.meter();
    meter.thanked(r#"{"id":41,"status":true,"voltage":231.4}"#);
    meter.thanked(r#"{"id":41,"status":true,"voltage":231.5}"#);
    assert_eq!(site.pubs(), [(41, None)]);
    assert_eq!(site.packets().len(), 2);
    // The sequence was moved past it.
    let confirmation = r#"{"deviceName":"Movprov","ssid":"M0V","hash":13580}"#;
    assert_eq!(server.confirm().ask(confirmation), "OK");
    let (id, hash) = site.pubs()[1];
    assert!(id > 41, "{id}");
    assert_eq!(hash, Some(13580));
}

fn creating_ids_is_capped(engine: Engine) {
    let site = Site::with(engine, "[meter]\nunknown_id = \"create\"");
    let server = site.start();
    let mut meter = server.meter();
    meter.thanked(r#"{"id":1,"status":true}"#);
    let (mut created, mut refused) = (1, 0);
    for batch in 0..100 {
        let ids = (2 + batch * 200)..(2 + (batch + 1) * 200);
        let lines: String = ids.clone().map(|id| format!("{{\"id\":{id},\"status\":true}}\n")).collect();
        meter.send_raw(lines.as_bytes());
        for _ in ids {
            if meter.reply() == "Thank you" { created += 1 } else { refused += 1 }
        }
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "{created} ids were created for one peer within an hour");
    assert_eq!(site.pubs().len(), created);
    meter.thanked(r#"{"id":1,"status":true}"#);
}

fn the_reply_can_be_changed(engine: Engine) {
    let site = Site::with(engine, "[meter]\nreply = \"Thank you.\"\n[confirm]\nreply = \"Confirmed\"");
    let server = site.start_with_device();
    assert_eq!(server.meter().ask(r#"{"id":17,"status":true}"#), "Thank you.");
    assert_eq!(server.confirm().ask(r#"{"deviceName":"a","ssid":"b","hash":1}"#), "Confirmed");
}

fn a_device_added_beside_the_server_is_known_at_once(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut meter = server.meter();
    let line = r#"{"id":17,"status":true}"#;
    assert_eq!(meter.ask(line), "!OK unknown id 17");
    site.add_pub(17);
    meter.thanked(line);
    assert_eq!(site.only_packet().pub_id, 17);
}
