//! What one peer, and all peers together, may use (DESIGN §2.7 `[limits]`): silence, floods, and clients
//! that never read.

use crate::{
    client::{Client, ends, tcp},
    harness::{Engine, PATIENCE, Server, Site, eventually, rounds},
};
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, TcpStream},
    thread,
    time::Duration,
};

on_both_stores![
    silent_connections_do_not_disturb_the_others,
    a_connection_without_a_line_is_closed,
    bytes_that_never_become_a_line_do_not_keep_a_connection,
    a_handshake_that_never_ends_is_closed,
    plain_text_and_http_to_the_tls_ports_are_closed,
    a_client_that_never_reads_is_closed,
    a_reset_within_a_line_disturbs_nobody,
    connections_beyond_the_limit_wait_until_one_ends,
    connections_of_one_address_are_limited,
    a_crowd_that_confirms_one_hash_does_not_stop_the_meters,
];

const LINE: &str = r#"{"id":17,"status":true,"voltage":231.4}"#;

/// They wait for each other in the database; that is no reason to refuse anybody else.
fn a_crowd_that_confirms_one_hash_does_not_stop_the_meters(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let mut meter = server.meter();
    let burst = "{\"deviceName\":\"a\",\"ssid\":\"b\",\"hash\":5}\n".repeat(20);
    let crowd: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = server.confirm();
            client.send_raw(burst.as_bytes());
            client
        })
        .collect();
    for _ in 0..200 {
        meter.thanked(LINE);
    }
    drop(crowd);
}

fn silent_connections_do_not_disturb_the_others(engine: Engine) {
    let site = Site::with(engine, "[limits]\nmax_connections_per_ip = 5000\nhandshake_timeout = 300");
    let server = site.start_with_device();
    rlimit::increase_nofile_limit(u64::MAX).expect("raises the open-file limit");
    let ca_pem = server.ca_pem();
    let count = rounds(300, 1000);
    let silent: Vec<TcpStream> = (0..count / 3).map(|_| open(&server)).collect();
    let half_a_hello: Vec<TcpStream> = (0..count / 3)
        .map(|_| {
            let mut socket = open(&server);
            socket.write_all(b"\x16\x03\x01\x02\x00\x01").expect("sends half a hello");
            socket
        })
        .collect();
    let idle: Vec<Client> = (0..count / 3).map(|_| Client::connect(server.meter_addr(), &ca_pem)).collect();
    for _ in 0..5 {
        server.meter().thanked(LINE);
    }
    assert_eq!(server.confirm().ask(r#"{"deviceName":"a","ssid":"b"}"#), "Not found");
    // Those that kept silent are served when they speak.
    for mut client in idle {
        client.thanked(LINE);
    }
    drop((silent, half_a_hello));
    assert_eq!(site.packets().len(), 5 + count / 3);
}

fn a_connection_without_a_line_is_closed(engine: Engine) {
    let site = Site::with(engine, "[limits]\nidle_timeout = 1");
    let server = site.start_with_device();
    server.meter().ends();
    server.confirm().ends();
    let mut meter = server.meter();
    meter.thanked(LINE);
    meter.ends();
    server.meter().thanked(LINE);
}

fn bytes_that_never_become_a_line_do_not_keep_a_connection(engine: Engine) {
    let site = Site::with(engine, "[limits]\nidle_timeout = 1\nmax_line = 100000");
    let server = site.start_with_device();
    let mut meter = server.meter();
    eventually("the connection to be closed", || {
        thread::sleep(Duration::from_millis(100));
        meter.try_send_raw(b"x").is_err().then_some(())
    });
    server.meter().thanked(LINE);
}

fn a_handshake_that_never_ends_is_closed(engine: Engine) {
    let site = Site::with(engine, "[limits]\nhandshake_timeout = 1");
    let server = site.start_with_device();
    for addr in [server.meter_addr(), server.confirm_addr()] {
        assert_eq!(ends(tcp(addr, PATIENCE).expect("connects")), b"", "nothing is said to the silent");
        let mut trickle = tcp(addr, PATIENCE).expect("connects");
        trickle.set_nodelay(true).expect("sets TCP_NODELAY");
        let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".iter().chain(std::iter::repeat(&0));
        eventually("the connection to be closed", || {
            thread::sleep(Duration::from_millis(100));
            trickle.write_all(&[*hello.next().expect("endless")]).is_err().then_some(())
        });
    }
    server.meter().thanked(LINE);
}

fn plain_text_and_http_to_the_tls_ports_are_closed(engine: Engine) {
    let site = Site::with(engine, "[limits]\nhandshake_timeout = 2");
    let server = site.start_with_device();
    for addr in [server.meter_addr(), server.confirm_addr()] {
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
            b"{\"id\":17,\"status\":true}\n",
            b"\n",
            b"\x00\x00\x00\x00\x00\x00\x00\x00",
            b"\x16\x03\x01\xff\xff",
            b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80",
            b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            &[b'x'; 100_000],
        ] {
            let mut socket = tcp(addr, PATIENCE).expect("connects");
            // The server may close before all of it is written.
            socket.write_all(bytes).ok();
            let said = ends(socket);
            let text = String::from_utf8_lossy(&said);
            assert!(!text.contains("Thank you"), "plain text was thanked: {text}");
        }
    }
    server.meter().thanked(LINE);
    assert_eq!(site.packets().len(), 1);
}

fn a_client_that_never_reads_is_closed(engine: Engine) {
    let site = Site::with(engine, "[limits]\nwrite_timeout = 1");
    let server = site.start_with_device();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("makes a socket");
    socket.set_recv_buffer_size(4096).expect("makes the receive buffer small");
    socket.connect(&server.meter_addr().into()).expect("connects");
    socket.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
    socket.set_write_timeout(Some(PATIENCE)).expect("sets a deadline");
    let mut deaf = Client::over(socket.into(), &server.ca_pem()).expect("shakes hands");
    let lines = "{\"id\":17}\n".repeat(1600);
    let error =
        eventually("the connection to be closed", || deaf.push_without_reading(lines.as_bytes()).err());
    assert!(!crate::client::is_timeout(&error), "a client that never reads is not closed");
    server.meter().thanked(LINE);
}

fn a_reset_within_a_line_disturbs_nobody(engine: Engine) {
    let site = Site::new(engine);
    let mut server = site.start_with_device();
    for part in ["", "{", r#"{"id":17,"status":true"#, LINE, "{}\n{}\n{"] {
        let mut meter = server.meter();
        meter.send_raw(part.as_bytes());
        meter.reset();
    }
    for _ in 0..5 {
        let socket = tcp(server.meter_addr(), PATIENCE).expect("connects");
        SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("sets SO_LINGER");
    }
    server.meter().thanked(LINE);
    assert!(server.is_running());
    let stored = site.packets().len();
    assert!((1..=2).contains(&stored), "{stored} rows: only a whole line may be one");
}

fn connections_beyond_the_limit_wait_until_one_ends(engine: Engine) {
    let site = Site::with(engine, "[limits]\nmax_connections = 4");
    let server = site.start_with_device();
    let mut first: Vec<Client> = (0..4).map(|_| server.meter()).collect();
    first.iter_mut().for_each(|client| client.thanked(LINE));
    // Whether the fifth waits or is turned away: it is not served. (A wrong server may pass, a right one
    // never fails.)
    let mut fifth = tcp(server.meter_addr(), Duration::from_millis(300)).expect("the kernel takes it");
    fifth.write_all(&CLIENT_HELLO_HEAD).ok();
    let mut byte = [0];
    assert!(!matches!(fifth.read(&mut byte), Ok(1)), "a fifth connection is served");
    drop((fifth, first.pop()));
    eventually("a place to be free", || try_line(&server));
    first.iter_mut().for_each(|client| client.thanked(LINE));
}

fn connections_of_one_address_are_limited(engine: Engine) {
    let site = Site::with(engine, "[limits]\nmax_connections_per_ip = 3");
    let server = site.start_with_device();
    let ca_pem = server.ca_pem();
    let mut first: Vec<Client> = (0..3).map(|_| server.meter()).collect();
    first.iter_mut().for_each(|client| client.thanked(LINE));
    assert!(Client::try_connect(server.meter_addr(), &ca_pem).is_err(), "a fourth connection is served");
    let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let other = Client::try_connect_from(elsewhere, server.meter_addr(), &ca_pem);
    other.expect("another address is served").thanked(LINE);
    first.iter_mut().for_each(|client| client.thanked(LINE));
    drop(first.pop());
    eventually("a place to be free", || try_line(&server));
}

/// Enough of a record for a server to say something, if only an alert.
const CLIENT_HELLO_HEAD: [u8; 9] = *b"\x16\x03\x01\x00\x04\x01\x00\x00\x00";

fn open(server: &Server<'_>) -> TcpStream {
    tcp(server.meter_addr(), PATIENCE).expect("the kernel takes a connection")
}

/// Sends a packet over a new connection; `None` unless it was thanked.
fn try_line(server: &Server<'_>) -> Option<()> {
    let mut client = Client::try_connect(server.meter_addr(), &server.ca_pem()).ok()?;
    client.try_send_raw(format!("{LINE}\n").as_bytes()).ok()?;
    let reply = client.next_reply().ok()??;
    assert_eq!(reply, "Thank you");
    Some(())
}
