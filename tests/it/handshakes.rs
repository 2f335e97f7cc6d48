//! Failed handshakes in the operator's words (DESIGN §3): log, counter, `GET /handshakes`.

use crate::admin::get;
use crate::client::tcp;
use crate::harness::{Engine, PATIENCE, Server, Site, eventually};
use serde_json::Value;
use std::io::{Read as _, Write as _};

/// The body of `/handshakes`.
pub(crate) fn shown(server: &Server<'_>) -> Vec<Value> {
    let answer = get(server, "/handshakes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a body");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/json"), "{head}");
    serde_json::from_str(body).expect("the body is a list")
}

fn recorded(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/hellos/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("reads a recorded hello");
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
}

/// Says this and reads to the end.
fn say(server: &Server<'_>, bytes: &[u8]) {
    let mut socket = tcp(server.meter_addr(), PATIENCE).expect("connects");
    socket.write_all(bytes).expect("sends");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok();
}

#[test]
fn a_failed_handshake_is_shown_in_words_and_warned_of_once_a_minute() {
    let site = Site::new(Engine::Embedded);
    let server = site.start();
    drop(tcp(server.meter_addr(), PATIENCE).expect("connects"));
    for (at, name) in ["rc4-only", "rc4-only", "old-wolfssl-cbc", "rsa-kx-bare"].into_iter().enumerate() {
        say(&server, &recorded(name));
        // The peer may see its end before the server has noted it: the next one must not overtake.
        eventually("the failure to be noted", || (shown(&server).len() == at + 1).then_some(()));
    }
    say(&server, b"GET / HTTP/1.1\r\n\r\n");
    let last = eventually("five failures", || Some(shown(&server)).filter(|last| last.len() == 5));
    let newest = |field: &str| last.iter().map(|failed| failed[field].clone()).collect::<Vec<_>>();
    assert_eq!(newest("reason"), ["not-tls", "suites", "suites", "suites", "suites"], "newest first");
    assert_eq!(newest("compat")[..3], [Value::Null, "rsa-kx".into(), "cbc".into()]);
    assert_eq!(last[1]["offered"]["suites"][0], "TLS_RSA_WITH_AES_256_CBC_SHA");
    assert_eq!(last[1]["offered"]["groups"], Value::Null);
    assert_eq!((&last[1]["port"], &last[0]["offered"]), (&"meter".into(), &Value::Null));
    assert!(last[1]["time"].as_u64().expect("a time") > 1_700_000_000);
    let words = last[4]["words"].as_str().expect("words");
    assert!(words.contains("offered TLS 1.2 with TLS_RSA_WITH_RC4_128_SHA"), "{words}");

    let log = server.stderr();
    assert_eq!(
        log.lines().filter(|line| line.contains("WARN") && line.contains("no TLS")).count(),
        2,
        "{log}"
    );
    let metrics = get(&server, "/metrics");
    let counted = metrics.lines().find(|line| line.contains("outcome=\"suites\"")).expect("a counter");
    assert!(counted.ends_with(" 4"), "{counted}");
    assert!(metrics.lines().any(|line| line.contains("outcome=\"silent\"")), "a probe is counted, and quiet");
}

#[test]
fn only_the_last_fifty_are_kept() {
    let site = Site::new(Engine::Embedded);
    let server = site.start();
    for _ in 0..60 {
        say(&server, b"GET / HTTP/1.1\r\n\r\n");
    }
    eventually("fifty failures", || (shown(&server).len() == 50).then_some(()));
}

#[test]
fn a_device_that_does_not_trust_the_root_is_named_as_such() {
    let site = Site::new(Engine::Embedded);
    let server = site.start();
    let stranger = crate::certificates::Authority::new();
    assert!(crate::client::Client::try_connect(server.meter_addr(), stranger.pem.as_bytes()).is_err());
    let failed = eventually("the failure", || shown(&server).first().cloned());
    assert!(failed["words"].as_str().expect("words").starts_with("sent alert "), "{failed}");
    assert!(
        failed["words"].as_str().expect("words").contains("(unknown_ca): it does not trust our root"),
        "{failed}"
    );
    assert!(failed["offered"]["versions"][0] == "TLS 1.3", "{failed}");
}

#[test]
fn a_hello_that_never_ends_is_ended_by_the_handshake_timeout() {
    let site = Site::new(Engine::Embedded);
    site.configure("[limits]\nhandshake_timeout = 1");
    let server = site.start();
    let mut socket = tcp(server.meter_addr(), PATIENCE).expect("connects");
    socket.write_all(&recorded("cc3220sf-1")[..60]).expect("sends");
    assert_eq!(socket.read(&mut [0; 16]).unwrap_or_default(), 0, "the server closes");
    let failed = eventually("the failure", || shown(&server).first().cloned());
    assert_eq!(failed["words"], "did not send a whole ClientHello within 1 s");
}
