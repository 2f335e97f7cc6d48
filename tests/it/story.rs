//! The whole user story, as DESIGN §1 tells it.

use crate::harness::{Engine, Site};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

on_both_stores![
    a_device_confirms_the_app_learns_its_id_and_packets_are_thanked,
    what_was_thanked_is_still_there_after_a_restart,
];

/// Microseconds since 1970, now.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    i64::try_from(now.as_micros()).expect("the clock is set")
}

fn a_device_confirms_the_app_learns_its_id_and_packets_are_thanked(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();

    let mut device = server.confirm();
    let confirmation = json!({"deviceName": "Movprov", "timestamp": 1_732_300_000, "ssid": "M0V",
        "hash": 13580, "email": "a@b.c"});
    assert_eq!(device.ask(confirmation.to_string()), "OK");

    let mut app = server.confirm();
    let answer = app.ask(r#"{"deviceName":"Movprov","timestamp":1732300009,"ssid":"M0V"}"#);
    let answer: Value = serde_json::from_str(&answer).expect("the answer is JSON");
    let id = answer["id"].as_i64().expect("the answer has an id");
    assert_eq!(
        answer,
        json!({"deviceName": "Movprov", "timestamp": 1_732_300_000, "ssid": "M0V", "hash": 13580,
            "id": id, "conflict": false})
    );

    let mut meter = server.meter();
    let before = now();
    meter.thanked(
        json!({"id": id, "timestamp": 1_732_300_100, "status": true, "voltage": 231.4, "freq": 49.98,
            "firmware": "1.0.3"})
        .to_string(),
    );
    let after = now();

    let row = site.only_packet();
    assert_eq!(row.pub_id, id);
    assert_eq!(row.created_at, 1_732_300_100_000_000);
    assert!((before..=after).contains(&row.saved_at), "{before} ≤ {} ≤ {after}", row.saved_at);
    assert_eq!((row.voltage, row.frequency, row.protected), (Some(231.4), Some(49.98), true));
    assert_eq!(row.seq, None);
    assert_eq!(row.extra(), Some(json!({"firmware": "1.0.3"})));
    assert_eq!(site.pubs(), [(id, Some(13580))]);
}

fn what_was_thanked_is_still_there_after_a_restart(engine: Engine) {
    let site = Site::new(engine);
    let mut server = site.start_with_device();
    server.meter().thanked(r#"{"id":17,"timestamp":1732300000,"seq":1,"status":true,"voltage":230.5}"#);
    server.restart();
    let mut meter = server.meter();
    meter.thanked(r#"{"id":17,"timestamp":1732300000,"seq":1,"status":true,"voltage":230.5}"#);
    meter.thanked(r#"{"id":17,"timestamp":1732300000,"seq":2,"status":false,"voltage":230.5}"#);
    let stored: Vec<_> = site.packets().into_iter().map(|row| (row.seq, row.protected)).collect();
    assert_eq!(stored, [(Some(1), true), (Some(2), false)]);
}

#[test]
fn two_servers_share_one_database() {
    let site = Site::new(Engine::Postgres);
    let database = site.database().expect("a site on PostgreSQL has a database");
    let first = site.start_with_device();
    let second_site = Site::with(Engine::Postgres, &format!("[database]\nurl = \"{}\"", database.url()));
    let second = second_site.start();
    let line = r#"{"id":17,"timestamp":1732300000,"seq":1,"status":true,"freq":50}"#;
    first.meter().thanked(line);
    second.meter().thanked(line);
    let other = line.replace("50}", "51}");
    assert_eq!(second.meter().ask(other), "!OK seq 1 was stored with other values");
    assert_eq!(site.packets().len(), 1);
}
