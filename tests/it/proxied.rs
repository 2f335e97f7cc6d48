//! PROXY protocol headers at the sockets: who may send them, what they change, what is refused.
//!
//! The test is the balancer here, so that it can send what no real one would; real ones are in `balancers`. What
//! a header tells of TLS is in `ended_tls`.

use crate::admin::get;
use crate::client::{Client, ends, is_timeout, tcp};
use crate::harness::{Engine, PATIENCE, Server, Site, eventually, run_tool};
use serde_json::Value;
use socket2::SockRef;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

const LINE: &str = r#"{"id":17,"status":true,"voltage":231.4}"#;
const QUERY: &str = r#"{"deviceName":"a","ssid":"b"}"#;
const UNIX: u8 = 0x31;

pub(crate) fn behind(version: &str, more: &str) -> String {
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
pub(crate) fn open(addr: SocketAddr, header: &[u8]) -> TcpStream {
    let mut socket = tcp(addr, PATIENCE).expect("connects");
    socket.write_all(header).expect("sends the header");
    socket
}

/// The same, with TLS on it.
pub(crate) fn client(server: &Server<'_>, addr: SocketAddr, header: &[u8]) -> Client {
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

/// So a tunnel names its gateway if it leads to the port of a balancer on this machine.
#[test]
fn a_header_that_names_this_machine_names_no_trusted_proxy() {
    let more = "client_cert_header = \"Client-Cert\"\n[limits]\nmax_connections_per_ip = 1\n";
    let site = Site::with(Engine::Embedded, &behind("any", more));
    let server = site.start_with_device();
    for this in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.2]"] {
        let header = v2_for(&format!("{this}:1"), b"");
        let mut first = client(&server, server.meter_addr(), &header);
        first.thanked(LINE);
        let second = Client::over(open(server.meter_addr(), &header), &server.ca_pem());
        assert!(second.is_err(), "{this}: a second is served");
        first.end_of_stream();
        first.ends_properly();
    }
    // As a trusted proxy's, this would be no certificate, and 400.
    let mut api = eventually("a place to be free", || {
        Client::over(open(server.api_addr(), &v1("127.0.0.1:1")), &server.ca_pem()).ok()
    });
    api.send_raw(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nClient-Cert: x\r\n\r\n");
    let answer = api.reply();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
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
    let header =
        "[api]\ntls = false\nclient_cert_header = \"Client-Cert\"\ntrusted_proxies = [\"192.0.2.1\"]";
    site.configure(header);
    let said = site.run(&["check"]).succeeded();
    let line =
        "ok: proxies: [api] believes X-Forwarded-For and Client-Cert of 192.0.2.1/32, which must overwrite";
    assert!(said.contains(line), "{said}");
    site.configure("[meter]\ntrusted_proxies = [\"0.0.0.0/0\"]");
    assert!(site.run(&["check"]).succeeded().contains("anybody can claim to be a proxy"));
}

#[test]
fn plain_ports_speak_lines_and_both_versions_of_http() {
    let plain = "tls = false\n";
    let site = Site::with(Engine::Embedded, &format!("[meter]\n{plain}[confirm]\n{plain}[api]\n{plain}"));
    let server = site.start_with_device();
    for (addr, line, reply) in
        [(server.meter_addr(), LINE, "Thank you\n"), (server.confirm_addr(), QUERY, "Not found\n")]
    {
        let mut socket = tcp(addr, PATIENCE).expect("connects");
        socket.write_all(format!("{line}\n").as_bytes()).expect("sends");
        socket.shutdown(std::net::Shutdown::Write).expect("ends our half");
        assert_eq!(String::from_utf8_lossy(&ends(socket)), reply);
    }
    let url = format!("http://{}/openapi.json", server.api_addr());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let said =
            run_tool("curl", &["-sS", "--noproxy", "*", "--max-time", "60", version, &url]).succeeded();
        assert!(said.contains("\"openapi\""), "{said}");
    }
    // Whoever is not this machine must be named.
    drop(server);
    for section in ["meter", "confirm", "api"] {
        for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            site.configure(&format!("[{section}]\nlisten = [\"127.0.0.1:0\", \"{listen}\"]\n{plain}"));
            let said = site.run(&["serve"]).ended_with(78).said();
            let words = format!("[{section}] tls: false needs trusted_proxies or loopback addresses");
            assert!(said.contains("m0v.toml:") && said.contains(&words), "{said}");
        }
    }
}
