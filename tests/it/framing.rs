//! Where a line begins and ends on the meter port (DESIGN §2.2).

use crate::harness::{Engine, Site};
use std::time::Duration;

on_both_stores![
    crlf_and_empty_lines_are_tolerated,
    the_line_feed_may_be_missing,
    a_line_feed_that_comes_late_is_an_empty_line,
    an_object_without_line_feed_follows_complete_lines,
    the_end_of_the_stream_ends_a_line,
    half_a_line_at_the_end_of_the_stream_is_not_stored,
    a_pause_within_a_line_does_not_end_it,
    bytes_may_come_one_at_a_time,
    two_hundred_lines_are_answered_in_order,
    a_line_of_max_line_is_taken,
    a_line_that_is_too_long_is_answered_and_the_connection_closed,
    lines_before_one_that_is_too_long_are_answered,
    four_megabytes_without_a_line_feed_are_cut_short,
];

const LINE: &str = r#"{"id":17,"status":true,"voltage":231.4}"#;

fn crlf_and_empty_lines_are_tolerated(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    meter.send_raw(format!("\n\r\n\n{LINE}\r\n\n\r\n{LINE}\n\n").as_bytes());
    assert_eq!([meter.reply(), meter.reply()], ["Thank you", "Thank you"]);
    meter.end_of_stream();
    meter.ends_properly();
    assert_eq!(site.packets().len(), 2);
}

fn the_line_feed_may_be_missing(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    for count in 1..=3 {
        meter.send_raw(LINE.as_bytes());
        assert_eq!(meter.reply(), "Thank you");
        assert_eq!(site.packets().len(), count);
    }
    meter.send_raw(br#"{"id":17}"#);
    assert!(meter.reply().contains("status"));
    meter.thanked(LINE);
}

fn a_line_feed_that_comes_late_is_an_empty_line(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    meter.send_raw(LINE.as_bytes());
    assert_eq!(meter.reply(), "Thank you");
    meter.send_raw(format!("\r\n{LINE}\n").as_bytes());
    assert_eq!(meter.reply(), "Thank you");
    meter.end_of_stream();
    meter.ends_properly();
    assert_eq!(site.packets().len(), 2);
}

fn an_object_without_line_feed_follows_complete_lines(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    meter.send_raw(format!("{LINE}\n{LINE}\n{LINE}").as_bytes());
    assert_eq!([meter.reply(), meter.reply(), meter.reply()], ["Thank you"; 3]);
    assert_eq!(site.packets().len(), 3);
}

fn the_end_of_the_stream_ends_a_line(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    meter.send_raw(format!("{LINE}\n{LINE}").as_bytes());
    meter.end_of_stream();
    assert_eq!([meter.reply(), meter.reply()], ["Thank you", "Thank you"]);
    meter.ends_properly();
    assert_eq!(site.packets().len(), 2);
}

fn half_a_line_at_the_end_of_the_stream_is_not_stored(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    meter.send_raw(br#"{"id":17,"status":true,"volt"#);
    meter.end_of_stream();
    match meter.next_reply() {
        Ok(None) => {}
        Ok(Some(reply)) => assert!(reply.starts_with("!OK "), "{reply}"),
        Err(e) => panic!("neither an answer nor an orderly end: {e}"),
    }
    server.meter().thanked(LINE);
    assert_eq!(site.packets().len(), 1);
}

fn a_pause_within_a_line_does_not_end_it(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    for part in [r#"{"id":17,"sta"#, r#"tus":true,"#, r#""x":{"y":1}"#] {
        meter.send_raw(part.as_bytes());
        meter.stays_silent(Duration::from_millis(600));
    }
    meter.send_raw(b"}\n");
    assert_eq!(meter.reply(), "Thank you");
    assert_eq!(site.packets().len(), 1);
}

fn bytes_may_come_one_at_a_time(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    for byte in format!("{LINE}\r\n{LINE}\n").bytes() {
        meter.send_raw(&[byte]);
    }
    assert_eq!([meter.reply(), meter.reply()], ["Thank you", "Thank you"]);
    meter.end_of_stream();
    meter.ends_properly();
    assert_eq!(site.packets().len(), 2);
}

fn two_hundred_lines_are_answered_in_order(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    let line = |number: i64| match number % 4 {
        0 => format!("{{\"id\":{},\"status\":true}}\n", 1000 + number),
        1 => format!("{{\"id\":17,\"status\":{number}}}\r\n"),
        _ => format!("{{\"id\":17,\"timestamp\":1732300000,\"seq\":{number},\"status\":true}}\n"),
    };
    meter.send_raw((0..200).map(line).collect::<String>().as_bytes());
    for number in 0..200 {
        let reply = meter.reply();
        match number % 4 {
            0 => assert_eq!(reply, format!("!OK unknown id {}", 1000 + number)),
            1 => assert!(reply.starts_with("!OK ") && reply.contains("status"), "{number}: {reply}"),
            _ => assert_eq!(reply, "Thank you", "{number}"),
        }
    }
    let stored: Vec<_> = site.packets().iter().filter_map(|row| row.seq).collect();
    assert_eq!(stored, (0..200).filter(|number| number % 4 > 1).collect::<Vec<_>>());
}

fn a_line_of_max_line_is_taken(engine: Engine) {
    let site = Site::with(engine, "[limits]\nmax_line = 2000");
    let server = site.start_with_device();
    let mut meter = server.meter();
    let frame = r#"{"id":17,"status":true,"note":""}"#.len();
    let line = format!(r#"{{"id":17,"status":true,"note":"{}"}}"#, "x".repeat(2000 - frame));
    meter.thanked(&line);
    meter.send_raw(format!("{line}\r\n").as_bytes());
    assert_eq!(meter.reply(), "Thank you");
    assert_eq!(meter.ask(line.replace("xx", "xxx")), "!OK line too long");
    meter.ends();
    assert_eq!(site.packets().len(), 2);
}

fn a_line_that_is_too_long_is_answered_and_the_connection_closed(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    for bytes in [8_200, 20_000, 100_000] {
        let mut meter = server.meter();
        let line = format!("{{\"id\":17,\"status\":true,\"note\":\"{}\"}}\n{LINE}\n", "x".repeat(bytes));
        // The server may have closed before all of it was written.
        meter.try_send_raw(line.as_bytes()).ok();
        assert_eq!(meter.reply(), "!OK line too long");
        meter.ends();
    }
    server.meter().thanked(LINE);
    assert_eq!(site.packets().len(), 1);
}

fn lines_before_one_that_is_too_long_are_answered(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    let lines = format!("{LINE}\n{{\"id\":17}}\n{LINE}\n{}", "x".repeat(9_000));
    meter.try_send_raw(lines.as_bytes()).ok();
    assert_eq!(meter.reply(), "Thank you");
    assert!(meter.reply().contains("status"));
    assert_eq!(meter.reply(), "Thank you");
    assert_eq!(meter.reply(), "!OK line too long");
    meter.ends();
    assert_eq!(site.packets().len(), 2);
}

fn four_megabytes_without_a_line_feed_are_cut_short(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    for byte in [b' ', b'x', b'{', b'[', b'\0'] {
        let mut meter = server.meter();
        let chunk = [byte; 16 * 1024];
        for _ in 0..256 {
            if meter.try_send_raw(&chunk).is_err() {
                break;
            }
        }
        assert_eq!(meter.reply(), "!OK line too long", "for {}", byte.escape_ascii());
        meter.ends();
    }
    server.meter().thanked(LINE);
}
