//! What holds for both messages: every line gets a value or a legal reply.

use super::reply::{MAX_REPLY_BYTES, Refusal, render};
use super::{confo, line::Framed, line::LineBuffer, packet};
use proptest::prelude::*;
use std::{fs, path::Path};

/// The reply to a refused line, after checking that it may be sent at all.
pub(super) fn legal_reply(refusal: &Refusal) -> String {
    let reply = render(refusal);
    assert!(reply.starts_with("!OK ") && reply.len() <= MAX_REPLY_BYTES, "{reply}");
    assert!(reply.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{reply:?}");
    reply
}

/// A table test: each line must be refused with exactly this reason.
pub(super) fn assert_refusals<T: std::fmt::Debug>(
    parse: fn(&[u8]) -> Result<T, Refusal>,
    table: &[(&str, &str)],
) {
    for (line, reason) in table {
        let refusal = parse(line.as_bytes()).expect_err(line);
        assert_eq!(legal_reply(&refusal), format!("!OK {reason}"), "{line}");
    }
}

fn assert_legal_extra(extra: Option<&str>) {
    let Some(extra) = extra else { return };
    assert!(extra.len() <= super::extra::MAX_BYTES);
    let value: serde_json::Value = serde_json::from_str(extra).expect(extra);
    assert!(value.as_object().is_some_and(|object| !object.is_empty()));
    assert!(!value.to_string().contains("\\u0000"));
}

fn feed_packet(line: &[u8]) {
    match packet::parse(line) {
        Err(refusal) => drop(legal_reply(&refusal)),
        Ok(packet) => {
            assert!(packet.device.id.is_none_or(|id| id > 0));
            assert!(packet.device.hash != Some(0));
            assert!(packet.voltage.is_none_or(f64::is_finite) && packet.frequency.is_none_or(f64::is_finite));
            assert!(
                packet
                    .timestamp
                    .is_none_or(|at| (packet::CLOCK_IS_SET..=packet::LATEST_TIMESTAMP).contains(&at))
            );
            assert!(packet.seq.is_none() || packet.timestamp.is_some());
            assert_legal_extra(packet.extra.as_deref());
        }
    }
}

fn feed_confo(line: &[u8]) {
    match confo::parse(line) {
        Err(refusal) => drop(legal_reply(&refusal)),
        Ok(confo::Message::Query(query)) => assert!(query.wait <= confo::MAX_WAIT_SECONDS),
        Ok(confo::Message::Confirmation(confirmation)) => {
            assert!((1..=confo::MAX_NAME_BYTES).contains(&confirmation.device_name.len()));
            assert!((1..=confo::MAX_NAME_BYTES).contains(&confirmation.ssid.len()));
            assert_ne!(confirmation.hash, 0);
            assert_legal_extra(confirmation.extra.as_deref());
        }
    }
}

fn feed_line(bytes: &[u8]) {
    let mut lines = LineBuffer::new(64);
    for piece in bytes.chunks(7) {
        lines.extend(piece);
        while let Some(framed) = lines.next_line() {
            if let Framed::Line(line) = framed {
                assert!(!line.is_empty() && line.len() <= 64 && !line.contains(&b'\n'));
            }
        }
        if lines.holds_one_object() {
            assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&lines.take_rest()).is_ok());
        }
    }
}

/// Bytes that come further into a parser than random ones do.
fn near_json() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            " ",
            "\"",
            "\\",
            "\\u0000",
            "\\ud800",
            "\\udc00",
            "null",
            "true",
            "false",
            "0",
            "-",
            "-0",
            "17",
            "1e999",
            "1e-999",
            "0e-99999",
            "1.5",
            "\"id\"",
            "\"Id\"",
            "\"hash\"",
            "\"status\":true",
            "\"timestamp\":1732300000",
            "\"seq\":1",
            "\"voltage\":1",
            "\"deviceName\":\"a\"",
            "\"ssid\":\"b\"",
            "\"email\":\"a@b\"",
            "\"token\":",
            "\"wait\":",
            "\"x\":",
            "{\"x\":[{\"y\":1}]}",
            "\n",
            "\r",
        ])
        .prop_map(|token| token.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_bytes_get_a_value_or_a_legal_reply(bytes: Vec<u8>) {
        feed_packet(&bytes);
        feed_confo(&bytes);
        feed_line(&bytes);
    }

    #[test]
    fn almost_json_gets_a_value_or_a_legal_reply(bytes in near_json()) {
        feed_packet(&bytes);
        feed_confo(&bytes);
        feed_line(&bytes);
        let object = [b"{".as_slice(), &bytes, b"}"].concat();
        feed_packet(&object);
        feed_confo(&object);
        feed_line(&object);
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).expect("the corpus is committed");
    let inputs: Vec<_> =
        files.map(|file| fs::read(file.expect("readable").path()).expect("a readable file")).collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

#[test]
fn the_fuzzers_corpus_gets_values_or_legal_replies() {
    corpus("packet").iter().for_each(|input| feed_packet(input));
    corpus("confo").iter().for_each(|input| feed_confo(input));
    corpus("line").iter().for_each(|input| feed_line(input));
}
