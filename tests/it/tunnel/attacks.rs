//! What a hostile gateway or target may try: other ways to write what is closed, places that are taken
//! and not used, memory, sessions that outlive their certificate.

use super::{Gateway, LINE, Places, Tunnel, admin, bytes::outside, connect, eventually};
use crate::{
    client::{is_timeout, tcp},
    gateway::Device,
    harness::{Engine, PATIENCE, Server, rounds, run_tool},
    pki::TestCa,
};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

on_both_stores![
    a_gateway_of_a_registered_ca_needs_no_listing_and_ends_with_its_ca,
    a_session_does_not_outlive_its_certificate,
];

fn a_gateway_of_a_registered_ca_needs_no_listing_and_ends_with_its_ca(engine: Engine) {
    let places = Places::new();
    let site = places.site(engine, &[], "");
    let server = site.start_with_device();
    let ca = TestCa::new("gateways of a test");
    ca.register(&site, true);
    let gateway = Gateway::of(ca.issue(site.folder(), "gateway-7"));
    let mut device = Device::over(gateway.open(&server, &places.meter), &server).expect("TLS");
    device.thanked(LINE);
    site.run(&["ca", "revoke", &ca.id]).succeeded();
    device.reply().expect_err("the tunnel is closed");
    assert!(gateway.try_open(&server, &places.meter).is_none());
    eventually("the reason", || server.stderr().contains("the certificate was revoked").then_some(()));
}

/// rustls asks nobody about a certificate when a session is resumed; m0v does.
fn a_session_does_not_outlive_its_certificate(engine: Engine) {
    let places = Places::new();
    let site = places.site(engine, &[], "");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    let tls = gateway.tls(&server);
    let open = || tcp(server.tunnel_addr(), PATIENCE).and_then(|tcp| Tunnel::with(tcp, &tls));
    // A refusal is read to its end, and the ticket with it.
    let refused = open().and_then(|mut tunnel| tunnel.ask(&connect("a.example:1"))).expect("an answer");
    assert_eq!(refused.status, 403, "{refused:?}");
    let mut again = open().expect("resumes");
    assert!(again.is_resumed());
    again.opens(&places.meter);
    gateway.revoke(&site);
    again.rest().expect_err("cut off");
    if let Ok(refusal) = open().and_then(|mut tunnel| tunnel.ask(&connect(&places.meter.to_string()))) {
        assert_eq!(refusal.status, 403, "{refusal:?}");
        assert!(refusal.message.contains("revoked"), "{refusal:?}");
    }
}

#[test]
fn no_other_spelling_leads_where_no_tunnel_does() {
    let places = Places::new();
    let (meter, port) = (places.meter, places.admin.port());
    let everywhere = format!("[admin]\nlisten = [\"0.0.0.0:{port}\"]");
    // To a resolver these are addresses. The operator listed them, and they lead to the loopback.
    let numbers =
        ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0"].map(|host| format!("{host}:{port}"));
    let listed: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let site = places.site(Engine::Embedded, &listed, &everywhere);
    let server = site.start_with_device();
    let gateway = Gateway::listed(&site, "gateway-1");
    for target in &numbers {
        let refusal = gateway.refused(&server, target);
        assert_eq!(refusal.status, 403, "{target}: {refusal:?}");
        assert!(refusal.message.contains(" leads to a"), "{target}: {refusal:?}");
    }
    let std::net::IpAddr::V4(ip) = meter.ip() else { panic!("{meter}") };
    let port = meter.port();
    for target in [
        format!("{}:{port}", ip.to_bits()),
        format!("0x{:x}:{port}", ip.to_bits()),
        format!("[::ffff:{ip}]:{port}"),
        format!("[::{ip}]:{port}"),
        format!("[64:ff9b::{ip}]:{port}"),
        format!("localhost:{port}"),
        format!("{}:{port}", "a".repeat(63)),
        "[fd00:ec2::254]:80".to_owned(),
        "metadata.google.internal:80".to_owned(),
    ] {
        let refusal = gateway.refused(&server, &target);
        assert_eq!(refusal.status, 403, "{target}: {refusal:?}");
        assert!(refusal.message.contains("is not among [tunnel] allow"), "{target}: {refusal:?}");
    }
    for target in [
        format!("{ip}.:{port}"),
        format!("localhost.:{port}"),
        format!("{ip}:0{port}"),
        format!("{ip}:+{port}"),
        format!("user@{ip}:{port}"),
        format!("{ip}:{port}/"),
        format!("{ip}:{port}:{port}"),
        format!("[::1%lo]:{port}"),
        format!("*:{port}"),
        format!("{ip}:*"),
        format!("{ip}"),
        format!("{ip}:"),
        "\u{1b}[31mred:1".to_owned(),
        format!("a\u{e4}:{port}"),
    ] {
        let refusal = gateway.refused(&server, &target);
        assert_eq!(refusal.status, 400, "{target:?}: {refusal:?}");
    }
    let said = server.stderr();
    assert!(
        !said.contains('\u{1b}') && !said.contains("31mred"),
        "what cannot be read is not repeated: {said}"
    );
    gateway.open(&server, &meter);
}

#[test]
fn a_gateway_that_asks_for_nothing_takes_places_of_its_own_device_only() {
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[], "[limits]\nmax_connections_per_ip = 2");
    let server = site.start_with_device();
    let (idle, busy) = (Gateway::listed(&site, "gateway-1"), Gateway::listed(&site, "gateway-2"));
    let begun = ["127.0.0.5", "127.0.0.6"].map(|source| {
        let mut tunnel = idle.connect_from(source, &server).expect("connects");
        tunnel.write_all(b"CONNECT ").and_then(|()| tunnel.flush()).expect("begins");
        tunnel
    });
    eventually("both places to be taken", || {
        let tunnels: serde_json::Value = serde_json::from_str(&admin(&server, "tunnels")).expect("JSON");
        (tunnels[0]["open"] == 2).then_some(())
    });
    // From a third address, and before it has asked for anything.
    let mut third = idle.connect_from("127.0.0.7", &server).expect("connects");
    assert!(third.rest().expect("an answer unasked").starts_with("HTTP/1.1 429 "));
    let mut device = Device::over(busy.open(&server, &places.meter), &server).expect("TLS");
    device.thanked(LINE);
    drop(begun);
    eventually("a place", || idle.try_open(&server, &places.meter));
}

/// The first words of both sides, said before the other could have answered.
#[test]
fn neither_side_needs_to_wait_for_the_other() {
    let (listener, site) = outside("");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    let target = listener.local_addr().expect("an address").to_string();
    for version in ["1.1", "1.0"] {
        let mut near = gateway.connect(&server).expect("connects");
        let request = format!("CONNECT {target} HTTP/{version}\r\nHost: {target}\r\n\r\nquestion");
        near.write_all(request.as_bytes()).expect("asks at once");
        let (mut far, _) = listener.accept().expect("the tunnel arrives");
        far.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
        far.write_all(b"greeting").expect("greets at once");
        near.is_open();
        let mut heard = [0; 8];
        near.read_exact(&mut heard).expect("hears");
        assert_eq!(&heard, b"greeting");
        far.read_exact(&mut heard).expect("hears");
        assert_eq!(&heard, b"question");
        near.end_of_stream();
        drop(far);
        assert_eq!(near.rest().expect("the end"), "");
    }
}

#[test]
fn a_request_byte_by_byte_is_read_and_half_of_one_is_no_request() {
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[], "");
    let server = site.start_with_device();
    let gateway = Gateway::listed(&site, "gateway-1");
    let request = connect(&places.meter.to_string());
    let mut slow = gateway.connect(&server).expect("connects");
    for byte in request.bytes() {
        slow.write_all(&[byte]).and_then(|()| slow.flush()).expect("sends a byte");
    }
    slow.is_open();
    Device::over(slow, &server).expect("TLS").thanked(LINE);

    let mut half = gateway.connect(&server).expect("connects");
    half.write_all(&request.as_bytes()[..20]).and_then(|()| half.flush()).expect("sends half");
    half.end_of_stream();
    assert_eq!(half.rest().expect("close_notify"), "");
    eventually("the count", || {
        admin(&server, "metrics").contains("m0v_tunnels_total{outcome=\"no request\"} 1").then_some(())
    });
}

#[test]
fn a_client_that_offers_only_http_2_is_refused_in_the_handshake() {
    let site = Places::new().site(Engine::Embedded, &[], "");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    let [cert, key] = gateway.files();
    let (place, ca) = (server.tunnel_addr().to_string(), server.ca_file());
    let offer = |protocols| {
        let ca = ca.to_str().expect("a path of ours is text");
        let known = ["s_client", "-connect", &place, "-CAfile", ca, "-cert", cert, "-key", key];
        run_tool("openssl", &[&known[..], &["-alpn", protocols]].concat()).said()
    };
    assert!(offer("h2,http/1.1").contains("ALPN protocol: http/1.1"));
    let refused = offer("h2");
    assert!(refused.contains("no application protocol"), "{refused}");
}

/// Who sends without end to one who does not read is made to wait; nothing piles up in between.
#[test]
fn a_fast_side_and_a_stalled_one_cost_no_memory() {
    let (listener, site) = outside("[limits]\nwrite_timeout = 2");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    let count = rounds(20, 100);
    let mut ends: Vec<(Tunnel, TcpStream)> = (0..2 * count)
        .map(|_| {
            let tunnel = gateway.open(&server, &listener.local_addr().expect("an address"));
            let (far, _) = listener.accept().expect("the tunnel arrives");
            far.set_write_timeout(Some(PATIENCE)).expect("sets a deadline");
            (tunnel, far)
        })
        .collect();
    let before = peak(&server);
    let block = vec![0; 64 * 1024];
    let sent: usize = thread::scope(|scope| {
        let senders = ends.iter_mut().enumerate().map(|(at, (near, far))| {
            let block = &block;
            scope.spawn(move || {
                // Until the tunnel is closed, because the other end does not read.
                let mut blocks = 0;
                let error = (0..).find_map(|_| {
                    let written = if at % 2 == 0 { near.write_all(block) } else { far.write_all(block) };
                    blocks += usize::from(written.is_ok());
                    written.err()
                });
                assert!(error.is_some_and(|error| !is_timeout(&error)), "the sender waits, then is told");
                blocks * block.len()
            })
        });
        let senders: Vec<_> = senders.collect();
        senders.into_iter().map(|sender| sender.join().expect("a sender ends")).sum()
    });
    let ended = |words: &str| server.stderr().matches(words).count();
    for words in ["the target does not read", "the gateway does not read"] {
        eventually(words, || (ended(words) == count).then_some(()));
    }
    let grown = peak(&server) - before;
    // 8 KB a way beside what TLS holds of one side, and some for the allocator; the kernel's are not counted.
    let bound = 2 * count * 128;
    assert!(sent / 1024 > 10 * bound, "{sent} bytes are no test of {bound} KB");
    assert!(grown < bound, "{grown} KB more for {} stalled tunnels", 2 * count);
}

/// The most memory the process ever had, in KB.
fn peak(server: &Server<'_>) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// IPv6 is entered within as IPv4 is.
#[test]
fn a_port_on_every_ipv6_address_is_entered_within_m0v() {
    if TcpListener::bind("[::1]:0").is_err() {
        return crate::harness::skip("a_port_on_every_ipv6_address_is_entered_within_m0v", "needs IPv6");
    }
    let places = Places::new();
    let port = places.meter.port();
    // As a trusted proxy it would have to send a PROXY header.
    let everywhere = format!(
        "[meter]\nlisten = [\"[::]:{port}\"]\nproxy_protocol = \"v2\"\ntrusted_proxies = [\"::1\", \"127.0.0.0/8\"]"
    );
    let target = format!("[::1]:{port}");
    let site = places.site(Engine::Embedded, &[&target], &everywhere);
    let server = site.start();
    site.add_pub(17);
    let gateway = Gateway::listed(&site, "gateway-1");
    let mut tunnel = gateway.connect_from("127.0.0.9", &server).expect("connects");
    let seen = tunnel.local_addr();
    tunnel.opens(&format!("[0:0:0::0001]:{port}"));
    Device::over(tunnel, &server).expect("TLS, and no PROXY header").thanked(LINE);
    eventually("the meter's line", || {
        let said = server.stderr();
        said.lines()
            .any(|line| line.contains(" meter: #") && line.contains(&format!(" {seen}: ")))
            .then_some(())
    });
}
