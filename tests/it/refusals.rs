//! The meter port's lines that are refused: each with a reason that helps, and the connection goes on.

use crate::{
    client::Client,
    harness::{Engine, Site},
};

on_both_stores![
    every_bad_line_gets_a_reason_and_the_connection_goes_on,
    bad_lines_do_not_disturb_the_good_ones_between_them,
    a_refusal_never_echoes_values,
    an_http_request_inside_tls_is_refused,
    every_line_of_noise_gets_one_answer,
];

/// A line, and the field its refusal must name (empty where DESIGN leaves that open).
const BAD_LINES: &[(&[u8], &str)] = &[
    // Not an object.
    (b"{", ""),
    (b"}", ""),
    (b"{}", ""),
    (b"[]", ""),
    (b"[{\"id\":17,\"status\":true}]", ""),
    (b"null", ""),
    (b"true", ""),
    (b"17", ""),
    (b"\"id\"", ""),
    (b"hello", ""),
    (b"Thank you", ""),
    (b"{\"id\":17,\"status\":true", ""),
    (b"{\"id\":17,\"status\":tru}", ""),
    (b"{\"id\":17 \"status\":true}", ""),
    (b"{\"id\":17,\"status\":true,}", ""),
    (b"{'id':17,'status':true}", ""),
    (b"{id:17,status:true}", ""),
    (b"{\"id\":17,\"status\":true} x", ""),
    (b"{\"id\":17,\"status\":true}}", ""),
    (b"{\"id\":17,\"status\":true}{\"id\":17,\"status\":true}", ""),
    (b"{\"id\":17,\"status\":true,\"a\":\"\xff\xfe\"}", ""),
    (b"{\"id\":17,\"status\":true,\"a\":\"\xc3\"}", ""),
    (b"{\"id\":17,\"status\":true,\"a\":\"\xed\xa0\x80\"}", ""),
    (b"\xef\xbb\xbf{\"id\":17,\"status\":true}", ""),
    (b"\xff", ""),
    (b"\x00", ""),
    (b"{\"id\":17,\"status\":true,\"a\":\"\x07\"}", ""),
    (b"{\"id\":17,\x00\"status\":true}", ""),
    // Keys that come twice.
    (b"{\"id\":17,\"id\":17,\"status\":true}", "id"),
    (b"{\"id\":17,\"ID\":17,\"status\":true}", "id"),
    (b"{\"id\":17,\"status\":true,\"Status\":true}", "status"),
    (b"{\"id\":17,\"status\":true,\"freq\":50,\"FREQ\":50}", "freq"),
    (b"{\"id\":17,\"status\":true,\"note\":1,\"Note\":2}", ""),
    (b"{\"id\":17,\"status\":true,\"note\":1,\"n\\u006fte\":2}", ""),
    // Who.
    (b"{\"status\":true}", "id"),
    (b"{\"id\":\"17\",\"status\":true}", "id"),
    (b"{\"id\":17.5,\"status\":true}", "id"),
    (b"{\"id\":true,\"status\":true}", "id"),
    (b"{\"id\":[17],\"status\":true}", "id"),
    (b"{\"id\":{},\"status\":true}", "id"),
    (b"{\"id\":-17,\"status\":true}", "id"),
    (b"{\"id\":9223372036854775808,\"status\":true}", "id"),
    (b"{\"id\":99999999999999999999999999,\"status\":true}", "id"),
    (b"{\"id\":1e999,\"status\":true}", "id"),
    (b"{\"id\":017,\"status\":true}", ""),
    (b"{\"id\":0x11,\"status\":true}", ""),
    (b"{\"id\":+17,\"status\":true}", ""),
    (b"{\"id\":,\"status\":true}", ""),
    (b"{\"hash\":\"13580\",\"status\":true}", "hash"),
    (b"{\"hash\":1.5,\"status\":true}", "hash"),
    (b"{\"hash\":9223372036854775808,\"status\":true}", "hash"),
    (b"{\"hash\":-9223372036854775809,\"status\":true}", "hash"),
    // When.
    (b"{\"id\":17,\"timestamp\":\"1732300000\",\"status\":true}", "timestamp"),
    (b"{\"id\":17,\"timestamp\":true,\"status\":true}", "timestamp"),
    (b"{\"id\":17,\"timestamp\":253402300800,\"status\":true}", "timestamp"),
    (b"{\"id\":17,\"timestamp\":99999999999999999999,\"status\":true}", "timestamp"),
    (b"{\"id\":17,\"timestamp\":1e999,\"status\":true}", "timestamp"),
    // What.
    (b"{\"id\":17}", "status"),
    (b"{\"id\":17,\"status\":1}", "status"),
    (b"{\"id\":17,\"status\":\"true\"}", "status"),
    (b"{\"id\":17,\"status\":null}", "status"),
    (b"{\"id\":17,\"status\":true,\"voltage\":\"231.4\"}", "voltage"),
    (b"{\"id\":17,\"status\":true,\"voltage\":true}", "voltage"),
    (b"{\"id\":17,\"status\":true,\"voltage\":[231.4]}", "voltage"),
    (b"{\"id\":17,\"status\":true,\"voltage\":1e999}", "voltage"),
    (b"{\"id\":17,\"status\":true,\"voltage\":-1e309}", "voltage"),
    (b"{\"id\":17,\"status\":true,\"voltage\":231,4}", ""),
    (b"{\"id\":17,\"status\":true,\"voltage\":NaN}", ""),
    (b"{\"id\":17,\"status\":true,\"voltage\":Infinity}", ""),
    (b"{\"id\":17,\"status\":true,\"voltage\":.5}", ""),
    (b"{\"id\":17,\"status\":true,\"freq\":\"50\"}", "freq"),
    (b"{\"id\":17,\"status\":true,\"freq\":1e999}", "freq"),
    (b"{\"id\":17,\"status\":true,\"freq\":{}}", "freq"),
    // Which.
    (b"{\"id\":17,\"status\":true,\"seq\":1}", "seq"),
    (b"{\"id\":17,\"timestamp\":0,\"status\":true,\"seq\":1}", "seq"),
    (b"{\"id\":17,\"timestamp\":1732300000,\"status\":true,\"seq\":\"1\"}", "seq"),
    (b"{\"id\":17,\"timestamp\":1732300000,\"status\":true,\"seq\":1.5}", "seq"),
    (b"{\"id\":17,\"timestamp\":1732300000,\"status\":true,\"seq\":9223372036854775808}", "seq"),
    // What PostgreSQL's jsonb would refuse.
    (b"{\"id\":17,\"status\":true,\"note\":\"a\\u0000b\"}", ""),
    (b"{\"id\":17,\"status\":true,\"no\\u0000te\":1}", ""),
    (b"{\"id\":17,\"status\":true,\"note\":{\"deep\":[\"\\u0000\"]}}", ""),
    (b"{\"id\":17,\"status\":true,\"note\":\"\\ud800\"}", ""),
    (b"{\"id\":17,\"status\":true,\"note\":\"\\udc00\\ud800\"}", ""),
    (b"{\"id\":17,\"status\":true,\"note\":\"\\x\"}", ""),
    (b"{\"id\":17,\"status\":true,\"note\":1e999}", ""),
    (b"{\"id\":17,\"status\":true,\"note\":[[-1e400]]}", ""),
];

const GOOD_LINE: &str = r#"{"id":17,"timestamp":1732300000,"seq":1,"status":true,"voltage":231.4}"#;

fn every_bad_line_gets_a_reason_and_the_connection_goes_on(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    for (line, field) in BAD_LINES {
        let reason = meter.refused(line);
        assert!(reason.contains(field), "{reason:?} names no {field}: {}", line.escape_ascii());
        meter.thanked(GOOD_LINE);
    }
    assert_eq!(site.packets().len(), 1);
    assert_eq!(site.pubs(), [(17, None)]);
}

fn bad_lines_do_not_disturb_the_good_ones_between_them(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    for chunk in BAD_LINES.chunks(20) {
        let lines = chunk.iter().map(|(line, _)| [*line, b"\n", GOOD_LINE.as_bytes(), b"\n"].concat());
        meter.send_raw(&lines.collect::<Vec<_>>().concat());
        for (line, _) in chunk {
            let reply = meter.reply();
            assert!(reply.starts_with("!OK "), "{reply:?} for {}", line.escape_ascii());
            assert_eq!(meter.reply(), "Thank you", "after {}", line.escape_ascii());
        }
    }
    assert_eq!(site.packets().len(), 1);
}

fn a_refusal_never_echoes_values(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    for line in [
        r#"xyzzy"#,
        r#""xyzzy""#,
        r#"{"id":"xyzzy","status":true}"#,
        r#"{"hash":"xyzzy","status":true}"#,
        r#"{"id":17,"timestamp":"xyzzy","status":true}"#,
        r#"{"id":17,"status":"xyzzy"}"#,
        r#"{"id":17,"status":true,"voltage":"xyzzy"}"#,
        r#"{"id":17,"status":true,"freq":xyzzy}"#,
        r#"{"id":17,"status":true,"note":"xyzzy\u0000"}"#,
        r#"{"id":17,"status":true,"note":"xyzzy"} xyzzy"#,
        r#"{"id":17,"status":true,"seq":"xyzzy"}"#,
        r#"{"id":17,"status":true,"note":"xyzzy"#,
    ] {
        let reason = meter.refused(line);
        assert!(!reason.contains("xyzzy"), "{reason:?} for {line}");
    }
}

fn an_http_request_inside_tls_is_refused(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    meter.send_raw(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n{\"id\":17,\"status\":true}\r\n");
    assert!(meter.reply().starts_with("!OK "));
    // It may go on line by line, or end what will never speak our language. It must not hang.
    let rest: Vec<_> = std::iter::from_fn(|| meter.next_reply().expect("an orderly end")).take(2).collect();
    assert!(matches!(rest.len(), 0 | 2), "{rest:?}");
    assert!(rest.first().is_none_or(|reply| reply.starts_with("!OK ")), "{rest:?}");
    assert!(rest.get(1).is_none_or(|reply| reply == "Thank you"), "{rest:?}");
    server.meter().thanked(GOOD_LINE);
}

fn every_line_of_noise_gets_one_answer(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut noise = Noise(0x6d30_7631);
    let mut meter: Client = server.meter();
    for _ in 0..400 {
        let line = noise.line();
        let reply = meter.ask(&line);
        assert!(reply == "Thank you" || reply.starts_with("!OK "), "{reply:?}: {}", line.escape_ascii());
    }
    meter.thanked(GOOD_LINE);
}

/// Repeatable pseudo-random lines: a good packet with some bytes changed, or bytes alone (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below).expect("small")).expect("small")
    }

    fn byte(&mut self) -> u8 {
        const FAVOURITES: &[u8] = b"{}[]\",:\\0123456789eE.-+tfnu \t\x00\x7f\x80\xff\xc3\xed";
        match self.next(3) {
            0 => u8::try_from(self.next(256)).expect("a byte"),
            _ => FAVOURITES[self.next(FAVOURITES.len())],
        }
    }

    /// Not empty, and without LF and CR, which frame lines.
    fn line(&mut self) -> Vec<u8> {
        let mut line = GOOD_LINE.as_bytes().to_vec();
        if self.next(4) == 0 {
            line = (0..=self.next(200)).map(|_| self.byte()).collect();
        }
        for _ in 0..self.next(4) {
            let position = self.next(line.len());
            line[position] = self.byte();
        }
        line.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b'?' } else { *byte }).collect()
    }
}
