//! Sessions taken up again: of another port, after a restart, on a long connection of HTTP/2.

use crate::{
    admin,
    harness::{Engine, Server, Site, eventually},
    pki::{OPTIONAL, READING, Talk, beside, refusal, self_signed},
};
use m0v::store::devices::{Revocation, Role};

on_both_stores![
    a_ticket_of_one_port_is_nothing_to_another,
    a_restart_forgets_sessions_and_no_revocation,
    a_revocation_ends_an_http2_connection,
];

/// Ways for openssl to come back: by ticket and, in TLS 1.2, by session id.
const WAYS: [&[&str]; 3] = [&["-tls1_3"], &["-tls1_2"], &["-tls1_2", "-no_ticket"]];

/// Sessions that were taken up again at a port.
fn resumed(server: &Server<'_>, port: &str) -> u64 {
    let metrics = admin::get(server, "/metrics");
    let of_port = format!(r#"port="{port}""#);
    let lines = metrics.lines().filter(|line| {
        line.starts_with("m0v_handshakes_total")
            && line.contains(&of_port)
            && line.contains(r#"outcome="resumed""#)
    });
    lines.map(|line| line.rsplit(' ').next().and_then(|it| it.parse::<u64>().ok()).expect("a count")).sum()
}

fn a_ticket_of_one_port_is_nothing_to_another(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let card = self_signed(site.folder(), "d1");
    card.list(&site, "d1", Role::Device);
    for (number, way) in WAYS.into_iter().enumerate() {
        let ticket = site.folder().join(format!("ticket-{number}"));
        let ticket = ticket.to_str().expect("a path of ours is text");
        let keeps = [way, &["-sess_out", ticket]].concat();
        let resumes = [way, &["-sess_in", ticket]].concat();
        let at = server.confirm_addr();
        let query = r#"{"deviceName":"Movprov","ssid":"M0V"}"#;
        let mut first = Talk::open(&server, at, Some(&card), &keeps);
        assert_eq!(first.ask(query).as_deref(), Some("Not found"));
        drop(first);
        Talk::to_meter(&server, Some(&card), &resumes).thanked(READING);
        assert_eq!(resumed(&server, "meter"), 0, "{way:?}");
        // Without a certificate of its own it is whoever it is without the ticket: nobody.
        let mut nobody = Talk::to_meter(&server, None, &resumes);
        assert_eq!(nobody.ask(READING).as_deref(), Some("!OK id or hash is missing"));
        assert_eq!(Talk::open(&server, at, Some(&card), &resumes).ask(query).as_deref(), Some("Not found"));
        assert_eq!(resumed(&server, "confirm"), number as u64 + 1, "{way:?}: the ticket itself is good");
    }
}

fn a_restart_forgets_sessions_and_no_revocation(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let mut server = site.start();
    let card = self_signed(site.folder(), "d1");
    card.list(&site, "d1", Role::Device);
    let mut tickets = Vec::new();
    for (number, way) in WAYS.into_iter().enumerate() {
        let ticket = site.folder().join(format!("ticket-{number}"));
        let ticket = ticket.to_str().expect("a path of ours is text").to_owned();
        Talk::to_meter(&server, Some(&card), &[way, &["-sess_out", &ticket]].concat()).thanked(READING);
        tickets.push((way, ticket));
    }
    server.restart();
    for (way, ticket) in &tickets {
        let resumes = [way, &["-sess_in", ticket][..]].concat();
        Talk::to_meter(&server, Some(&card), &resumes).thanked(READING);
        assert_eq!(resumed(&server, "meter"), 0, "{way:?}");
        let nobody = Talk::to_meter(&server, None, &resumes).ask(READING);
        assert_eq!(nobody.as_deref(), Some("!OK id or hash is missing"), "{way:?}");
    }
    server.stop();
    let what = Revocation::Certificate(card.id.clone());
    beside(&site, async |store| store.revoke(&what, "test").await.expect("a database"));
    server.start_again();
    for (way, ticket) in &tickets {
        let said = refusal(&server, Some(&card), &[way, &["-sess_in", ticket][..]].concat());
        assert_eq!(said, None, "{way:?}: an alert, because it is a full handshake");
    }
}

/// The type of the next HTTP/2 frame, read whole.
fn frame(talk: &mut Talk) -> u8 {
    let head = talk.read(9);
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    talk.read(length);
    head[3]
}

/// The frame of a GET, as stream `number`.
fn get(number: u8, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x04, u8::try_from(path.len()).expect("short")]; // GET, https, :path
    block.extend(path.as_bytes());
    block.extend([0x01, 9]); // :authority
    block.extend(b"localhost");
    let mut frame = vec![0, 0, u8::try_from(block.len()).expect("short"), HEADERS, 5, 0, 0, 0, number];
    frame.extend(block);
    frame
}

const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;

fn a_revocation_ends_an_http2_connection(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    for is_waiting in [false, true] {
        let card = self_signed(site.folder(), "d1");
        card.list(&site, "d1", Role::Device);
        let mut talk = Talk::open(&server, server.api_addr(), Some(&card), &["-alpn", "h2"]);
        talk.send_raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        talk.send_raw(&get(1, "/confo/a/b"));
        while frame(&mut talk) != HEADERS {}
        if is_waiting {
            talk.send_raw(&get(3, "/confo/a/b?wait=60"));
            let held = || admin::get(&server, "/metrics").contains("m0v_queries_held 1\n");
            eventually("the query", || held().then_some(()));
        }
        let what = Revocation::Certificate(card.id.clone());
        beside(&site, async |store| store.revoke(&what, "test").await.expect("a database"));
        while frame(&mut talk) != GOAWAY {}
        talk.rest();
        let mut again = Talk::open(&server, server.api_addr(), Some(&card), &["-alpn", "h2"]);
        assert_eq!(again.rest(), b"", "an alert");
    }
}
