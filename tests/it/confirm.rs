//! The confirm port (DESIGN §2.3); `wait` is in `waiting`, conflicts are in `owners`.

use crate::{
    client::Client,
    harness::{Engine, Site, eventually},
    story::now,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

on_both_stores![
    a_confirmation_is_stored_as_sent,
    every_signed_64_bit_token_is_taken,
    the_same_token_is_the_same_device,
    names_hold_1_to_32_bytes,
    zero_values_mean_absent,
    the_latest_confirmation_answers,
    a_token_asks_for_its_own_confirmation,
    what_nobody_confirmed_is_not_found,
    a_confirmation_is_visible_for_so_long,
    the_email_is_never_sent,
    every_bad_line_gets_a_reason_and_the_connection_goes_on,
    lines_are_framed_as_on_the_meter_port,
    many_devices_confirm_one_token_at_once,
];

const QUERY: &str = r#"{"deviceName":"Movprov","ssid":"M0V"}"#;

fn confirmation(hash: i64) -> String {
    json!({"deviceName": "Movprov", "timestamp": 1_732_300_000, "ssid": "M0V", "hash": hash}).to_string()
}

fn found(client: &mut Client, query: &str) -> Value {
    parsed(&client.ask(query))
}

fn parsed(answer: &str) -> Value {
    serde_json::from_str(answer).unwrap_or_else(|_| panic!("{answer:?} is no confirmation"))
}

fn a_confirmation_is_stored_as_sent(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut device = server.confirm();
    let before = now();
    assert_eq!(
        device.ask(
            r#"{"DEVICENAME":"Movprov é","TimeStamp":1732300000,"SSID":"M0V","Hash":13580,"fw":{"v":[1]}}"#
        ),
        "OK"
    );
    let after = now();
    let rows = site.confirmations();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((row.devicename.as_str(), row.ssid.as_str(), row.hash), ("Movprov é", "M0V", 13580));
    assert_eq!(row.created_at, 1_732_300_000_000_000);
    assert!((before..=after).contains(&row.saved_at), "{row:?}");
    assert_eq!(row.extra(), Some(json!({"fw": {"v": [1]}})));
    let id = row.pub_id.expect("the device was made");
    assert_eq!(site.pubs(), [(id, Some(13580))]);
}

fn every_signed_64_bit_token_is_taken(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut client = server.confirm();
    for hash in [i64::MIN, -1, 1, 9_007_199_254_740_993, i64::MAX] {
        assert_eq!(client.ask(confirmation(hash)), "OK");
        let answer = found(&mut client, QUERY);
        assert_eq!(answer["hash"], json!(hash));
        let id = &answer["id"];
        server.meter().thanked(format!(r#"{{"id":{id},"hash":{hash},"status":true}}"#));
    }
    assert_eq!(site.packets().len(), 5);
}

fn the_same_token_is_the_same_device(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut client = server.confirm();
    assert_eq!(client.ask(confirmation(13580)), "OK");
    let first = found(&mut client, QUERY);
    assert_eq!(client.ask(confirmation(13580)), "OK");
    assert_eq!(client.ask(r#"{"deviceName":"Other","ssid":"Other","hash":13580}"#), "OK");
    let other = found(&mut client, r#"{"deviceName":"Other","ssid":"Other"}"#);
    assert_eq!(first["id"], other["id"]);
    assert_eq!(site.pubs().len(), 1);
    assert_eq!(site.confirmations().len(), 3);
}

fn names_hold_1_to_32_bytes(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut client = server.confirm();
    let line = |name: &str, ssid: &str| json!({"deviceName": name, "ssid": ssid, "hash": 1}).to_string();
    let (longest, too_long) = ("é".repeat(16), "é".repeat(17));
    for name in ["a", "with space", &"x".repeat(32), &longest, "\"\\/"] {
        assert_eq!(client.ask(line(name, name)), "OK", "{name}");
        let query = json!({"deviceName": name, "ssid": name}).to_string();
        let answer = found(&mut client, &query);
        assert_eq!((answer["deviceName"].as_str(), answer["ssid"].as_str()), (Some(name), Some(name)));
    }
    for name in ["", &"x".repeat(33), &too_long, "a\0b"] {
        let reason = client.refused(line(name, "M0V"));
        assert!(reason.contains("deviceName"), "{reason}");
        let reason = client.refused(line("Movprov", name));
        assert!(reason.contains("ssid"), "{reason}");
    }
    assert_eq!(site.confirmations().len(), 5);
}

fn zero_values_mean_absent(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut client = server.confirm();
    for absent in ["0", "\"\"", "null"] {
        let line = format!(
            r#"{{"deviceName":"Movprov","ssid":"M0V","hash":{absent},"email":{absent},"timestamp":{absent}}}"#
        );
        assert_eq!(client.ask(line), "Not found", "without a hash the line is a query");
    }
    let before = now();
    let line = r#"{"deviceName":"Movprov","ssid":"M0V","hash":5,"email":"","timestamp":0,"id":0}"#;
    assert_eq!(client.ask(line), "OK");
    let row = site.confirmations().remove(0);
    assert!((before - 1_000_000..=now()).contains(&row.created_at), "{row:?}");
}

fn the_latest_confirmation_answers(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut client = server.confirm();
    let line = |hash: i64, timestamp: i64| {
        json!({"deviceName": "Movprov", "ssid": "M0V", "hash": hash, "timestamp": timestamp}).to_string()
    };
    assert_eq!(client.ask(line(1, 1_900_000_000)), "OK");
    assert_eq!(client.ask(line(2, 1_700_000_000)), "OK");
    let answer = found(&mut client, QUERY);
    assert_eq!(answer["hash"], 2, "saved last, whatever the device's clock says");
    assert_eq!(answer["timestamp"], 1_700_000_000);
    assert_eq!(answer["conflict"], false);
    assert_eq!(client.ask(line(1, 1_700_000_000)), "OK");
    assert_eq!(found(&mut client, QUERY)["hash"], 1);
}

fn a_token_asks_for_its_own_confirmation(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut client = server.confirm();
    assert_eq!(client.ask(confirmation(1)), "OK");
    assert_eq!(client.ask(confirmation(2)), "OK");
    for token in [1, 2] {
        let query = format!(r#"{{"deviceName":"Movprov","ssid":"M0V","token":{token}}}"#);
        assert_eq!(found(&mut client, &query)["hash"], token);
    }
    assert_eq!(client.ask(r#"{"deviceName":"Movprov","ssid":"M0V","token":3}"#), "Not found");
    assert_eq!(client.ask(r#"{"deviceName":"Movprov","ssid":"Other","token":1}"#), "Not found");
}

fn what_nobody_confirmed_is_not_found(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut client = server.confirm();
    assert_eq!(client.ask(QUERY), "Not found");
    assert_eq!(client.ask(confirmation(1)), "OK");
    assert_eq!(client.ask(r#"{"deviceName":"Movprov","ssid":"M0"}"#), "Not found");
    assert_eq!(client.ask(r#"{"deviceName":"Movpro","ssid":"M0V"}"#), "Not found");
    assert_eq!(site.confirmations().len(), 1, "a query stores nothing");
}

fn a_confirmation_is_visible_for_so_long(engine: Engine) {
    let site = Site::with(engine, "[confirm]\nvisible = 1");
    let mut server = site.start();
    assert_eq!(server.confirm().ask(confirmation(1)), "OK");
    let mut app = server.confirm();
    eventually("the confirmation to grow old", || (app.ask(QUERY) == "Not found").then_some(()));
    site.configure("[confirm]\nvisible = 0");
    server.restart();
    assert_eq!(found(&mut server.confirm(), QUERY)["hash"], 1);
}

fn the_email_is_never_sent(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut client = server.confirm();
    let line = r#"{"deviceName":"Movprov","ssid":"M0V","hash":1,"email":"xyzzy@example.org"}"#;
    assert_eq!(client.ask(line), "OK");
    let answer = client.ask(QUERY);
    assert!(!answer.contains("xyzzy") && !answer.contains("email"), "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let keys: BTreeSet<_> = answer.as_object().expect("an object").keys().map(String::as_str).collect();
    let agreed = BTreeSet::from(["deviceName", "timestamp", "ssid", "hash", "id", "conflict"]);
    assert_eq!(keys, agreed);
}

fn every_bad_line_gets_a_reason_and_the_connection_goes_on(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut client = server.confirm();
    for (line, field) in [
        ("{", ""),
        ("[]", ""),
        ("null", ""),
        ("{}", "deviceName"),
        (r#"{"ssid":"M0V","hash":1}"#, "deviceName"),
        (r#"{"deviceName":"Movprov","hash":1}"#, "ssid"),
        (r#"{"deviceName":7,"ssid":"M0V","hash":1}"#, "deviceName"),
        (r#"{"deviceName":"Movprov","ssid":null,"hash":1}"#, "ssid"),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":"1"}"#, "hash"),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":1.5}"#, "hash"),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":9223372036854775808}"#, "hash"),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":1e999}"#, "hash"),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":1,"HASH":1}"#, "hash"),
        (r#"{"deviceName":"Movprov","devicename":"Movprov","ssid":"M0V","hash":1}"#, ""),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":1,"email":7}"#, "email"),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":1,"timestamp":253402300800}"#, "timestamp"),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":1,"timestamp":"now"}"#, "timestamp"),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":1,"x":"\u0000"}"#, ""),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":1,"x":1e999}"#, ""),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":1,"email":"a\u0000@b.c"}"#, ""),
        (r#"{"deviceName":"Movprov","ssid":"M0V","token":"1"}"#, "token"),
        (r#"{"deviceName":"Movprov","ssid":"M0V","hash":1} x"#, ""),
    ] {
        let reason = client.refused(line);
        assert!(reason.contains(field), "{reason:?} names no {field}: {line}");
        assert_eq!(client.ask(QUERY), "Not found");
    }
    assert_eq!(site.confirmations(), []);
    assert_eq!(site.pubs(), []);
}

fn lines_are_framed_as_on_the_meter_port(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut client = server.confirm();
    let line = confirmation(1);
    client.send_raw(format!("{QUERY}\n\r\n{line}\r\n{QUERY}\n{{\"ssid\":1}}\n{line}").as_bytes());
    assert_eq!(client.reply(), "Not found");
    assert_eq!(client.reply(), "OK");
    assert_eq!(parsed(&client.reply())["hash"], 1);
    assert!(client.reply().starts_with("!OK "));
    assert_eq!(client.reply(), "OK", "an object without LF");
    client.send_raw(QUERY.as_bytes());
    client.end_of_stream();
    assert_eq!(parsed(&client.reply())["hash"], 1);
    client.ends_properly();

    let mut client = server.confirm();
    client.try_send_raw(&[b'x'; 20_000]).ok();
    assert_eq!(client.reply(), "!OK line too long");
    client.ends();
}

fn many_devices_confirm_one_token_at_once(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let (addr, ca_pem) = (server.confirm_addr(), server.ca_pem());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(addr, &ca_pem);
                for hash in 1..=5 {
                    assert_eq!(client.ask(confirmation(hash)), "OK");
                }
            });
        }
    });
    assert_eq!(site.confirmations().len(), 40);
    let mut hashes: Vec<_> = site.pubs().into_iter().filter_map(|(_, hash)| hash).collect();
    hashes.sort_unstable();
    assert_eq!(hashes, [1, 2, 3, 4, 5]);
}
