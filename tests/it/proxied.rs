//! PROXY protocol headers at the sockets: who may send them, what they change, what is refused.
//!
//! The test is the balancer here, so that it can send what no real one would; real ones are in `balancers`.

use crate::admin::get;
use crate::client::{Client, ends, is_timeout, tcp};
use crate::harness::{Engine, PATIENCE, Server, Site, eventually, run_tool};
use crate::pki::{Card, READING, TestCa, self_signed, sql};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m0v::store::devices::Role;
use serde_json::Value;
use socket2::SockRef;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

const LINE: &str = r#"{"id":17,"status":true,"voltage":231.4}"#;
const QUERY: &str = r#"{"deviceName":"a","ssid":"b"}"#;
const UNIX: u8 = 0x31;

fn behind(version: &str, more: &str) -> String {
    let section = |name| {
        format!("[{name}]\nproxy_protocol = \"{version}\"\ntrusted_proxies = [\"127.0.0.0/8\", \"::1\"]\n")
    };
    section("meter") + &section("confirm") + &section("api") + more
}

pub(crate) fn v1(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().expect("an address");
    let (family, ours) = if client.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "2001:db8::1") };
    format!("PROXY {family} {} {ours} {} 443\r\n", client.ip(), client.port()).into_bytes()
}

pub(crate) fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("fits").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

/// A v2 header for a client, with these TLVs.
pub(crate) fn v2_for(client: &str, tlvs: &[u8]) -> Vec<u8> {
    let client: SocketAddr = client.parse().expect("an address");
    let ports = [client.port().to_be_bytes(), 443_u16.to_be_bytes()].concat();
    match client.ip() {
        IpAddr::V4(ip) => v2(0x21, 0x11, &[&ip.octets(), &[192, 0, 2, 1], &ports[..], tlvs].concat()),
        IpAddr::V6(ip) => v2(0x21, 0x21, &[&ip.octets(), &[0; 16], &ports[..], tlvs].concat()),
    }
}

/// A connection that begins with this header.
fn open(addr: SocketAddr, header: &[u8]) -> TcpStream {
    let mut socket = tcp(addr, PATIENCE).expect("connects");
    socket.write_all(header).expect("sends the header");
    socket
}

/// The same, with TLS on it.
fn client(server: &Server<'_>, addr: SocketAddr, header: &[u8]) -> Client {
    Client::over(open(addr, header), &server.ca_pem()).expect("shakes hands")
}

/// The newest failed handshake, once its words hold `words`.
pub(crate) fn failure(server: &Server<'_>, words: &str) -> Value {
    eventually(&format!("a failure with {words:?}"), || {
        let answer = get(server, "/handshakes");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a body");
        let last: Vec<Value> = serde_json::from_str(body).expect("the body is a list");
        last.into_iter().find(|failed| failed["words"].as_str().is_some_and(|text| text.contains(words)))
    })
}

/// The value of the one metric whose line holds all of this.
pub(crate) fn metric(server: &Server<'_>, parts: &[&str]) -> u64 {
    let metrics = get(server, "/metrics");
    let mut lines =
        metrics.lines().filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)));
    let value = lines.next().and_then(|line| line.rsplit(' ').next()?.parse().ok());
    assert!(lines.next().is_none(), "{parts:?} is not one metric:\n{metrics}");
    value.unwrap_or(0)
}

#[test]
fn the_client_of_a_header_is_the_peer_everywhere() {
    let site = Site::with(Engine::Embedded, &behind("any", ""));
    let server = site.start_with_device();
    for header in [v1("203.0.113.9:40001"), v2_for("203.0.113.9:40001", b"")] {
        let mut meter = client(&server, server.meter_addr(), &header);
        meter.thanked(LINE);
        meter.end_of_stream();
        meter.ends_properly();
    }
    let mut confirm =
        client(&server, server.confirm_addr(), &v2_for("[2001:db8::9]:40002", &[4, 0, 2, 0, 0]));
    assert_eq!(confirm.ask(QUERY), "Not found");
    confirm.end_of_stream();
    confirm.ends_properly();
    // The header in many parts, and with the hello in one.
    let socket = tcp(server.meter_addr(), PATIENCE).expect("connects");
    socket.set_nodelay(true).expect("sets TCP_NODELAY");
    for byte in v1("203.0.113.10:40003") {
        (&socket).write_all(&[byte]).expect("sends a byte");
    }
    Client::over(socket, &server.ca_pem()).expect("shakes hands").thanked(LINE);
    eventually("the log to name each client", || {
        let log = server.stderr();
        let ended = |client: &str| {
            let named = format!("{client} via 127.0.0.1:");
            log.lines().filter(|line| line.contains("INFO") && line.contains(&named)).count()
        };
        let all = [ended("203.0.113.9:40001"), ended("[2001:db8::9]:40002"), ended("203.0.113.10:40003")];
        (all == [2, 1, 1]).then_some(())
    });
    assert_eq!(site.packets().len(), 3);
}

#[test]
fn curl_reaches_the_api_with_a_header_of_its_own() {
    let site = Site::with(Engine::Embedded, &behind("v1", ""));
    let server = site.start();
    let (url, ca_file) =
        (format!("https://localhost:{}/openapi.json", server.api_addr().port()), server.ca_file());
    let ca_file = ca_file.to_str().expect("a path of ours is text");
    let arguments = ["-sS", "--noproxy", "*", "--max-time", "60", "--cacert", ca_file, &url];
    let said = run_tool("curl", &[&["--haproxy-protocol"], &arguments[..]].concat()).succeeded();
    assert!(said.contains("\"openapi\""), "{said}");
    run_tool("curl", &arguments).failed();
    let failed = failure(&server, "began TLS without a PROXY header");
    assert_eq!((&failed["port"], &failed["reason"]), (&"api".into(), &"proxy-header".into()));
}

#[test]
fn nobody_but_a_trusted_proxy_may_connect() {
    let config = behind("any", "").replace("127.0.0.0/8", "192.0.2.0/24");
    let site = Site::with(Engine::Embedded, &config);
    let server = site.start_with_device();
    for header in [&v1("203.0.113.9:40001")[..], &v2(0x20, 0, b""), b"", b"\x16\x03\x01"] {
        for addr in [server.meter_addr(), server.confirm_addr(), server.api_addr()] {
            let mut socket = tcp(addr, PATIENCE).expect("the kernel takes it");
            // The server may have closed already.
            socket.write_all(header).ok();
            assert_eq!(ends(socket), b"");
        }
    }
    for port in ["meter", "confirm", "api"] {
        let label = format!("port=\"{port}\"");
        assert_eq!(metric(&server, &["turned_away", &label, "not a trusted proxy"]), 4, "{port}");
    }
    assert!(!server.stderr().contains("203.0.113.9"), "{}", server.stderr());
}

#[test]
fn each_version_is_wanted_or_refused() {
    for (wanted, good, bad) in [
        ("v1", v1("203.0.113.9:40001"), v2_for("203.0.113.9:40001", b"")),
        ("v2", v2_for("203.0.113.9:40001", b""), v1("203.0.113.9:40001")),
    ] {
        // The range in the form that a dual-stack socket would show.
        let config = behind(wanted, "").replace("\"127.0.0.0/8\"", "\"::ffff:127.0.0.0/104\"");
        let site = Site::with(Engine::Embedded, &config);
        let server = site.start_with_device();
        client(&server, server.meter_addr(), &good).thanked(LINE);
        assert_eq!(ends(open(server.meter_addr(), &bad)), b"");
        failure(&server, &format!("and proxy_protocol wants {wanted}"));
    }
}

#[test]
fn what_is_no_header_is_refused_and_disturbs_nobody() {
    let site = Site::with(Engine::Embedded, &behind("any", ""));
    let server = site.start_with_device();
    let long_line = [b"PROXY UNKNOWN ", &[b'x'; 65536][..]].concat();
    let long_block = v2(0x21, 0x11, &[0; 65535]);
    let cut_block = &v2_for("203.0.113.9:40001", b"")[..20];
    for (bytes, words) in [
        (&b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 443\n"[..], "does not end in CR LF"),
        (b"PROXY TCP4 203.0.113.900 192.0.2.1 40000 443\r\n", "invalid IP address for the source"),
        (b"PROXY TCP4 203.0.113.9\r\n", "v1 that cannot be read"),
        (b"PROXY TCP4 203.0.1", "closed the connection within its PROXY header"),
        (&long_line, "longer than 107 bytes"),
        (&long_block, "longer than 16384 bytes"),
        (cut_block, "closed the connection within its PROXY header"),
        (&v2(0x21, 0x11, b"short"), "5 bytes cannot store the 12"),
        (&v2(0x31, 0x11, &[0; 12]), "version 30"),
        (&v2(0x2f, 0x11, &[0; 12]), "command F"),
        (&v2(0x21, 0x71, &[0; 12]), "Address Family 70"),
        (&v2_for("203.0.113.9:40001", &[4, 0, 9, 1]), "TLV 4 with length 9"),
        (&v2_for("203.0.113.9:40001", &[3, 0, 4, 1, 2, 3, 4]), "wrong checksum"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "sent no PROXY header"),
        (b"{\"id\":17,\"status\":true}\n", "sent no PROXY header"),
        (b"\r\n\r\n\0\r\nQUIX\n", "sent no PROXY header"),
    ] {
        for addr in [server.meter_addr(), server.api_addr()] {
            let mut socket = tcp(addr, PATIENCE).expect("connects");
            // The server may close before all of it is written.
            socket.write_all(bytes).ok();
            socket.shutdown(std::net::Shutdown::Write).ok();
            assert_eq!(ends(socket), b"", "{words}");
            failure(&server, words);
        }
    }
    client(&server, server.meter_addr(), &v1("203.0.113.9:40001")).thanked(LINE);
    assert_eq!(site.packets().len(), 1);
}

#[test]
fn a_client_without_an_address_is_served_as_the_proxys() {
    let site = Site::with(Engine::Embedded, &behind("any", "[limits]\nmax_connections_per_ip = 2\n"));
    let server = site.start_with_device();
    let mut open = Vec::new();
    for header in [
        &b"PROXY UNKNOWN\r\n"[..],
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        &v2(0x21, 0, b""),
        &v2(0x21, UNIX, &[b'/'; 216]),
        &v2(0x21, 0x12, &[1; 12]),
        &v2(0x20, 0x11, &[1; 12]),
    ] {
        let mut meter = client(&server, server.meter_addr(), header);
        meter.thanked(LINE);
        open.push(meter);
    }
    let log = server.stderr();
    assert!(!log.contains(" via ") && !log.contains("1.1.1.1"), "{log}");
}

#[test]
fn limits_count_clients_and_not_the_proxy() {
    let site = Site::with(Engine::Embedded, &behind("any", "[limits]\nmax_connections_per_ip = 2\n"));
    let server = site.start_with_device();
    let addr = server.meter_addr();
    let mut first: Vec<Client> = ["203.0.113.9:1", "203.0.113.9:2", "203.0.113.10:1", "203.0.113.11:1"]
        .map(|peer| client(&server, addr, &v2_for(peer, b"")))
        .into();
    first.iter_mut().for_each(|client| client.thanked(LINE));
    assert!(Client::over(open(addr, &v1("203.0.113.9:3")), &server.ca_pem()).is_err(), "a third is served");
    assert_eq!(metric(&server, &["turned_away", "too many from one address"]), 1);
    drop(first.remove(0));
    eventually("a place to be free", || {
        let mut client = Client::over(open(addr, &v1("203.0.113.9:4")), &server.ca_pem()).ok()?;
        client.thanked(LINE);
        Some(())
    });

    // Many connections of the proxy that have not said for whom.
    let silent: Vec<TcpStream> = (0..20).map(|_| open(addr, b"")).collect();
    client(&server, addr, &v1("203.0.113.12:1")).thanked(LINE);
    drop(silent);
}

#[test]
fn the_quota_of_queries_is_the_clients() {
    let site = Site::with(Engine::Embedded, &behind("v1", ""));
    let server = site.start();
    let mut greedy = client(&server, server.confirm_addr(), &v1("203.0.113.9:1"));
    greedy.send_raw(format!("{QUERY}\n").repeat(300).as_bytes());
    let replies: Vec<String> = (0..300).map(|_| greedy.reply()).collect();
    assert!(replies.iter().any(|reply| reply.starts_with("!OK too many queries")), "{replies:?}");
    assert_eq!(client(&server, server.confirm_addr(), &v1("203.0.113.10:1")).ask(QUERY), "Not found");
}

#[test]
fn a_header_nobody_asked_for_is_refused_in_words() {
    let site = Site::new(Engine::Embedded);
    let server = site.start_with_device();
    for header in [v1("203.0.113.9:40001"), v2_for("203.0.113.9:40001", b"")] {
        assert!(Client::over(open(server.meter_addr(), &header), &server.ca_pem()).is_err());
    }
    let failed = failure(&server, "sent a PROXY protocol header, and [meter] proxy_protocol is off");
    assert_eq!(failed["reason"], "not-tls");
    assert!(!server.stderr().contains("203.0.113.9"), "{}", server.stderr());
}

#[test]
fn a_second_header_is_junk() {
    let site = Site::with(Engine::Embedded, &behind("any", ""));
    let server = site.start_with_device();
    let (first, second) = (v1("203.0.113.9:40001"), v2_for("203.0.113.10:40001", b""));
    for headers in [[&first[..], &second], [&second, &first], [&first, &first]] {
        assert!(Client::over(open(server.meter_addr(), &headers.concat()), &server.ca_pem()).is_err());
        failure(&server, "sent a second PROXY protocol header");
    }
}

#[test]
fn a_header_that_never_ends_is_ended_by_the_handshake_timeout() {
    let site = Site::with(Engine::Embedded, &behind("any", "[limits]\nhandshake_timeout = 1\n"));
    let server = site.start_with_device();
    for start in [&b""[..], b"PROXY TCP4 203.0.113.9", &v2_for("203.0.113.9:40001", b"")[..27]] {
        assert_eq!(ends(open(server.meter_addr(), start)), b"");
    }
    failure(&server, "did not send a whole PROXY header within 1 s");
    let slow = open(server.meter_addr(), &v1("203.0.113.9:40001"));
    assert_eq!(ends(slow), b"", "header and hello have one deadline");
    failure(&server, "did not send a whole ClientHello within 1 s");
}

#[test]
fn health_checks_make_no_noise() {
    let site = Site::with(Engine::Embedded, &behind("any", ""));
    let server = site.start_with_device();
    let local = v2(0x20, 0, b"");
    for addr in [server.meter_addr(), server.confirm_addr(), server.api_addr()] {
        drop(open(addr, b""));
        drop(open(addr, &local));
        drop(open(addr, &[&local, &b"GET / HTTP/1.0\r\n\r\n"[..]].concat()));
        for header in [&b""[..], &local] {
            let socket = open(addr, header);
            SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("sets SO_LINGER");
        }
        // With TLS, and without a line or request in it.
        let mut checked = client(&server, addr, &local);
        checked.end_of_stream();
        match checked.next_reply() {
            Ok(None) => {}
            Ok(Some(reply)) => panic!("{reply:?} to a health check"),
            Err(error) => assert!(!is_timeout(&error), "the connection stays open"),
        }
    }
    eventually("all to be counted", || {
        (metric(&server, &["connections_total", "\"api\""]) == 6).then_some(())
    });
    eventually("all to end", || {
        let open = ["meter", "confirm", "api"].map(|port| metric(&server, &["connections_open", port]));
        (open == [0; 3]).then_some(())
    });
    let log = server.stderr();
    let (_, after) = log.split_once("ready").expect("was ready");
    let loud: Vec<&str> =
        after.lines().filter(|line| !line.contains("DEBUG") && line.contains("127.0.0.1")).collect();
    assert!(loud.is_empty(), "{loud:?}");
    assert!(metric(&server, &["handshakes_total", "\"meter\"", "\"silent\""]) >= 4);
    assert!(get(&server, "/handshakes").ends_with("[]"), "they push out nothing worth seeing");
    client(&server, server.meter_addr(), &v1("203.0.113.9:40001")).thanked(LINE);
    // Where a certificate is required, and TLS ended in front.
    drop(server);
    site.configure(&behind("any", "").replace("[meter]", "[meter]\ntls = false\nclient_cert = \"required\""));
    let server = site.start();
    assert!(ends(open(server.meter_addr(), &local)).starts_with(b"!OK this port needs"));
    drop(open(server.meter_addr(), b""));
    eventually("it to be counted", || {
        (metric(&server, &["refused", "\"meter\"", "no-certificate"]) == 1).then_some(())
    });
    let log = server.stderr();
    assert!(!log.lines().any(|line| line.contains("WARN") && line.contains('#')), "{log}");
    assert!(get(&server, "/handshakes").ends_with("[]"));
}

/// Where TLS ended in front, what follows the header is the client's word.
#[test]
fn a_second_header_ends_a_plain_connection_too() {
    let plain = behind("any", "").replace("]\nproxy", "]\ntls = false\nproxy");
    let site = Site::with(Engine::Embedded, &plain);
    let mut server = site.start_with_device();
    let (first, second) = (v1("203.0.113.9:40001"), v2_for("203.0.113.10:40002", b""));
    for addr in [server.meter_addr(), server.confirm_addr(), server.api_addr()] {
        for headers in [[&first[..], &second], [&second, &first], [&first, &first]] {
            assert_eq!(ends(open(addr, &headers.concat())), b"");
            // In as many parts as there are bytes.
            let mut socket = open(addr, headers[0]);
            socket.set_nodelay(true).expect("sets TCP_NODELAY");
            for byte in headers[1] {
                // The server may have closed already.
                socket.write_all(&[*byte]).ok();
            }
            assert_eq!(ends(socket), b"");
        }
    }
    let failed = failure(&server, "sent a second PROXY protocol header");
    assert_eq!((&failed["reason"], &failed["peer"]), (&"proxy-header".into(), &"203.0.113.9:40001".into()));
    assert_eq!(metric(&server, &["handshakes_total", "\"meter\"", "\"proxy-header\""]), 6);
    let lines =
        [&first[..], format!("{LINE}\nPROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n{LINE}\n").as_bytes()].concat();
    let socket = open(server.meter_addr(), &lines);
    socket.shutdown(std::net::Shutdown::Write).expect("ends our half");
    let said = String::from_utf8(ends(socket)).expect("text");
    let said: Vec<&str> = said.lines().collect();
    assert!(
        matches!(said[..], ["Thank you", refused, "Thank you"] if refused.starts_with("!OK ")),
        "{said:?}"
    );
    // Nobody asked for the first.
    site.configure("[meter]\ntls = false");
    server.restart();
    assert_eq!(ends(open(server.meter_addr(), &first)), b"");
    failure(&server, "sent a PROXY protocol header, and [meter] proxy_protocol is off");
}

#[test]
fn a_refused_hello_is_shown_as_the_clients() {
    let site = Site::with(Engine::Embedded, &behind("any", ""));
    let server = site.start();
    let hello = [&v1("203.0.113.9:40001")[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
    let mut socket = open(server.meter_addr(), &hello);
    let via = socket.local_addr().expect("an address").to_string();
    let _alert = socket.read(&mut [0; 64]);
    let failed = failure(&server, "a plain HTTP request");
    assert_eq!((failed["peer"].as_str(), failed["via"].as_str()), (Some("203.0.113.9:40001"), Some(&*via)));
}

/// It ends TLS and begins it anew: the certificate that counts is in the header, and not in its TLS.
#[test]
fn a_balancer_that_begins_tls_anew_shows_no_certificate_of_its_own() {
    let required = behind("v2", "").replace("[meter]", "[meter]\nclient_cert = \"required\"");
    let site = Site::with(Engine::Embedded, &required);
    let server = site.start();
    let known = self_signed(site.folder(), "d1");
    known.list(&site, "d1", Role::Device);
    let der = pem::parse(&known.pem).expect("PEM").into_contents();
    let told = |tlvs: &[u8]| {
        let socket = open(server.meter_addr(), &v2_for("203.0.113.9:40001", tlvs));
        Client::over(socket, &server.ca_pem()).and_then(|mut client| {
            client.send(READING);
            client.next_reply()
        })
    };
    assert_eq!(told(&ended_tls(0x07, &tlv(0x28, &der))).expect("a reply").as_deref(), Some("Thank you"));
    let without = told(&ended_tls(0x01, b"")).expect("a reply").expect("a reply");
    assert_eq!(without, "!OK this port needs a client certificate");
    // The client's own TLS, passed through: the handshake wants one.
    assert!(told(b"").is_err());
    failure(&server, "certificate");
}

/// A TLV, to be nested in another or not.
fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &u16::try_from(value.len()).expect("fits").to_be_bytes()[..], value].concat()
}

/// What a balancer tells of TLS that it ended: its flags, no error, the common name, and more.
fn ended_tls(flags: u8, more: &[u8]) -> Vec<u8> {
    tlv(0x20, &[&[flags, 0, 0, 0, 0], &tlv(0x22, b"d1")[..], more].concat())
}

#[test]
fn a_certificate_that_a_balancer_hands_on_is_judged_like_one_of_a_handshake() {
    const PRESENTED: u8 = 0x07;
    let plain = behind("v2", "").replace("[meter]", "[meter]\ntls = false\nclient_cert = \"required\"");
    let site = Site::with(Engine::Embedded, &plain);
    let server = site.start_with_device();
    let (known, unknown) = (self_signed(site.folder(), "d1"), self_signed(site.folder(), "d1"));
    let own = known.list(&site, "d1", Role::Device);
    let der = |card: &Card| pem::parse(&card.pem).expect("PEM").into_contents();
    let answer = |tlvs: &[u8]| {
        let mut socket = open(server.meter_addr(), &v2_for("203.0.113.9:40001", tlvs));
        socket.write_all(format!("{READING}\n").as_bytes()).ok();
        socket.shutdown(std::net::Shutdown::Write).ok();
        String::from_utf8(ends(socket)).expect("text")
    };
    for tlvs in [
        ended_tls(PRESENTED, &tlv(0x28, &der(&known))),
        [ended_tls(PRESENTED, b""), tlv(0xe5, &der(&known))].concat(),
        tlv(0xe5, &der(&known)),
        tlv(0xe5, STANDARD.encode(der(&known)).as_bytes()),
    ] {
        assert_eq!(answer(&tlvs), "Thank you\n");
    }
    assert_eq!(sql(&site, "SELECT DISTINCT pub_id FROM packet"), own.to_string());
    for (tlvs, words) in [
        (Vec::new(), "this port needs a client certificate"),
        (ended_tls(0x01, b""), "this port needs a client certificate"),
        (ended_tls(PRESENTED, b""), "the balancer saw a certificate, but does not hand it on"),
        (ended_tls(PRESENTED, &tlv(0x28, &der(&unknown))), "neither listed nor signed by a registered CA"),
        (ended_tls(PRESENTED, &tlv(0x28, b"junk")), "!OK the certificate"),
    ] {
        let said = answer(&tlvs);
        assert!(said.starts_with("!OK ") && said.contains(words), "{said:?} instead of {words:?}");
    }
    assert_eq!(site.packets().len(), 4);
    let log = server.stderr();
    assert!(log.contains("the client certificate of CN \"d1\", which the balancer found good"), "{log}");
    answer(
        &[ended_tls(
            PRESENTED,
            &[tlv(0x21, b"TLSv1.2"), tlv(0x23, b"ECDHE-x"), tlv(0x28, &der(&known))].concat(),
        )]
        .concat(),
    );
    eventually("the log to tell of the balancer's TLS", || {
        server.stderr().contains("via 127.0.0.1:").then_some(())?;
        server.stderr().contains(": plain (TLSv1.2 ECDHE-x at the balancer), 1 thanked").then_some(())
    });
    assert_eq!(site.packets().len(), 5);
    // Half of one, as HAProxy sends it when told to send DER.
    assert_eq!(answer(&tlv(0xe5, &der(&known)[..40])), "");
    failure(&server, "%[ssl_c_der,base64]");

    let ca = TestCa::new("ca");
    ca.register(&site, true);
    let new = ca.issue(site.folder(), "d2");
    assert_eq!(
        answer(&ended_tls(PRESENTED, &tlv(0x28, &der(&new)))),
        "Thank you\n",
        "registered just in time"
    );
}

#[test]
fn a_certificate_in_a_header_counts_from_a_trusted_proxy_alone() {
    let header = "[api]\ntls = false\nclient_cert_header = \"X-SSL-Client-Cert\"\n";
    let ask = |server: &Server<'_>, values: &[&str]| {
        let url = format!("http://{}/confo/a/b", server.api_addr());
        let lines: Vec<String> = values.iter().map(|value| format!("x-ssl-client-cert: {value}")).collect();
        let mut arguments = vec!["-sS", "--noproxy", "*", "--max-time", "60", "-w", " %{http_code}"];
        lines.iter().for_each(|line| arguments.extend(["-H", line]));
        arguments.push(&url);
        run_tool("curl", &arguments).succeeded()
    };
    let encoded = |card: &Card| card.pem.replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B");
    let site = Site::with(Engine::Embedded, &(header.to_owned() + "trusted_proxies = [\"127.0.0.1\"]"));
    let mut server = site.start();
    let (known, unknown) = (self_signed(site.folder(), "d1"), self_signed(site.folder(), "d2"));
    known.list(&site, "d1", Role::Device);
    let (good, bad) = (encoded(&known), encoded(&unknown));
    assert_eq!(ask(&server, &[]), "Not found 404");
    assert_eq!(ask(&server, &[&good]), "Not found 404");
    let refused = ask(&server, &[&bad]);
    assert!(refused.ends_with(" 401") && refused.contains("neither listed nor signed"), "{refused}");
    for junk in [&["junk"][..], &[&good, &good], &["-----BEGIN CERTIFICATE----- MIIB"]] {
        let said = ask(&server, junk);
        assert!(said.ends_with(" 400") && said.contains("the header x-ssl-client-cert "), "{said}");
    }

    // From anybody else it is nothing at all.
    site.configure(&(header.to_owned() + "trusted_proxies = [\"192.0.2.1\"]"));
    server.restart();
    for values in [&["junk"][..], &[&bad], &[&good, &good]] {
        assert_eq!(ask(&server, values), "Not found 404");
    }
    // Where one is required, only the header can bring it.
    let required = "trusted_proxies = [\"127.0.0.1\"]\nclient_cert = \"required\"";
    site.configure(&(header.to_owned() + required));
    server.restart();
    assert_eq!(ask(&server, &[&good]), "Not found 404");
    assert!(ask(&server, &[]).ends_with(" 401"));
}

#[test]
fn check_says_who_must_send_headers() {
    let site = Site::with(Engine::Embedded, &behind("v2", ""));
    let said = site.run(&["check"]).succeeded();
    for section in ["meter", "confirm", "api"] {
        let line =
            format!("ok: proxies: [{section}] every connection must bring a PROXY header v2, and come from");
        assert!(said.contains(&line), "no {line:?}: {said}");
    }
    site.configure("[meter]\nproxy_protocol = \"v1\"");
    let said = site.run(&["check"]).ended_with(1).said();
    assert!(
        said.contains("m0v.toml:") && said.contains("[meter] proxy_protocol: needs trusted_proxies"),
        "{said}"
    );
    site.configure("[meter]\ntrusted_proxies = [\"0.0.0.0/0\"]");
    assert!(site.run(&["check"]).succeeded().contains("anybody can claim to be a proxy"));
}
