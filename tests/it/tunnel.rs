//! The CONNECT proxy (DESIGN §2.1): who gets a tunnel, where to, and what m0v's own ports see of it.

use crate::{
    client::{is_timeout, tcp},
    gateway::{Device, Gateway, Places, Tunnel, connect},
    harness::{Engine, PATIENCE, Server, eventually},
};
use socket2::{Domain, Socket, Type};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

mod attacks;
mod bytes;
pub(crate) mod foreign;
mod stacks;

on_both_stores![
    a_reading_through_a_tunnel_is_stored_and_the_meter_sees_the_gateway,
    nobody_gets_a_tunnel_without_an_accepted_certificate,
    a_revoked_gateway_is_refused_and_its_tunnels_are_closed,
];

const LINE: &str = r#"{"id":17,"status":true,"voltage":231.4}"#;

fn a_reading_through_a_tunnel_is_stored_and_the_meter_sees_the_gateway(engine: Engine) {
    let places = Places::new();
    let site = places.site(engine, &[], "");
    let server = site.start_with_device();
    let gateway = Gateway::listed(&site, "gateway-1");
    let mut tunnel = gateway.connect_from("127.0.0.9", &server).expect("connects");
    let seen = tunnel.local_addr();
    tunnel.opens(&places.meter);
    let mut device = Device::over(tunnel, &server).expect("TLS through the tunnel");
    device.thanked(LINE);
    device.thanked(LINE);
    drop(device);
    assert_eq!(site.packets().len(), 2);
    let said = eventually("both ends in the log", || {
        let said = server.stderr();
        let meter = said.lines().any(|line| line.contains(" meter: #") && line.contains("2 thanked"));
        (meter && said.contains("gateway-1 to ")).then_some(said)
    });
    let meter = said.lines().find(|line| line.contains("2 thanked")).expect("the meter's line");
    assert!(meter.contains(&format!(" {seen}: ")), "{meter}");
    let tunnel = said.lines().find(|line| line.contains("gateway-1 to ")).expect("the tunnel's line");
    assert!(tunnel.contains(&format!(" {seen}: ")) && tunnel.contains(&places.meter.to_string()), "{tunnel}");
}

fn nobody_gets_a_tunnel_without_an_accepted_certificate(engine: Engine) {
    let places = Places::new();
    let site = places.site(engine, &[], "[meter]\nclient_cert = \"off\"");
    let server = site.start_with_device();
    let anonymous = tcp(server.tunnel_addr(), PATIENCE).expect("connects");
    let asked = Tunnel::over(anonymous, &server, None)
        .and_then(|mut tunnel| tunnel.ask(&connect(&places.meter.to_string())));
    let error = asked.expect_err("no tunnel without a certificate");
    assert!(!is_timeout(&error), "{error}");

    let refusal = Gateway::stranger(&site, "gateway-1").refused(&server, &places.meter);
    assert_eq!(refusal.status, 403, "{refusal:?}");
    assert!(refusal.message.contains("neither listed nor signed"), "{refusal:?}");
    assert_eq!(server.stderr().matches(" meter: #").count(), 0, "{}", server.stderr());
    Gateway::listed(&site, "gateway-1").open(&server, &places.meter);
}

fn a_revoked_gateway_is_refused_and_its_tunnels_are_closed(engine: Engine) {
    let places = Places::new();
    let site = places.site(engine, &[], "");
    let server = site.start_with_device();
    let (gateway, other) = (Gateway::listed(&site, "gateway-1"), Gateway::listed(&site, "gateway-2"));
    let mut device = Device::over(gateway.open(&server, &places.meter), &server).expect("TLS");
    let mut stays = Device::over(other.open(&server, &places.meter), &server).expect("TLS");
    device.thanked(LINE);
    gateway.revoke(&site);
    // Cut off: neither close_notify of the tunnel nor of the meter can have come through.
    device.reply().expect_err("the tunnel is closed");
    stays.thanked(LINE);
    let again = gateway.connect(&server).and_then(|mut tunnel| tunnel.ask(&connect("a.example:1")));
    let alert = again.expect_err("an alert in the handshake").to_string();
    assert!(alert.contains("CertificateRevoked"), "{alert}");
    let said = server.stderr();
    assert!(said.contains("the certificate was revoked"), "{said}");
}

#[test]
fn only_what_is_listed_is_reached() {
    let places = Places::new();
    let (closed, outside) = (places.admin, TcpListener::bind("127.0.0.1:0").expect("binds"));
    let [by_name, through_it] = [closed.port(), places.meter.port()].map(|port| format!("localhost:{port}"));
    let not_listed = outside.local_addr().expect("an address");
    let site = places.site(Engine::Embedded, &[&by_name, &through_it], "");
    let server = site.start_with_device();
    let gateway = Gateway::listed(&site, "gateway-1");
    for (target, message) in [
        (not_listed.to_string(), "is not among [tunnel] allow"),
        (closed.to_string(), "is not among [tunnel] allow"),
        (server.tunnel_addr().to_string(), "is not among [tunnel] allow"),
        ("169.254.169.254:80".to_owned(), "is not among [tunnel] allow"),
        (format!("[::ffff:{}]:{}", places.meter.ip(), places.meter.port()), "is not among [tunnel] allow"),
        (by_name, "leads to a loopback address"),
        (through_it.to_uppercase(), "leads to a loopback address"),
    ] {
        let refusal = gateway.refused(&server, &target);
        assert_eq!(refusal.status, 403, "{target}: {refusal:?}");
        assert!(refusal.message.contains(message), "{target}: {refusal:?}");
    }
    gateway.open(&server, &places.meter);
}

#[test]
fn the_admin_port_is_reached_by_no_name() {
    let places = Places::new();
    let port = places.admin.port();
    // Its address, listed under another port number, makes a name for it allowed: still no way in.
    let listed = [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
    let open = format!("[admin]\nlisten = [\"0.0.0.0:{port}\"]");
    let site = places.site(Engine::Embedded, &[], &open);
    let tunnel = format!("[tunnel]\nallow = {listed:?}");
    site.add_config(&tunnel);
    let refused = site.run(&["check"]);
    let fault = format!("[tunnel] allow: 127.0.0.1:{port} is the admin port, which has no password");
    assert!(refused.failed().said().contains(&fault), "{}", refused.said());

    // By its address on another interface the configuration cannot know it, but the tunnel does.
    let Some(own) = own_address() else { return };
    site.add_config(&format!("[tunnel]\nallow = [\"{own}:{port}\"]"));
    let server = site.start_with_device();
    let refusal = Gateway::listed(&site, "gateway-1").refused(&server, &format!("{own}:{port}"));
    assert_eq!((refusal.status, refusal.message.contains("is the admin port")), (403, true), "{refusal:?}");
}

/// An IPv4 address of this machine that is not the loopback's.
fn own_address() -> Option<std::net::Ipv4Addr> {
    let own = if_addrs::get_if_addrs().expect("reads the interfaces");
    own.iter().find_map(|interface| match interface.ip() {
        std::net::IpAddr::V4(v4) if !v4.is_loopback() => Some(v4),
        _ => None,
    })
}

#[test]
fn a_port_on_every_address_is_entered_within_m0v_by_each_of_them() {
    let places = Places::new();
    let port = places.meter.port();
    let mut targets = vec![format!("127.0.0.1:{port}"), format!("127.9.9.9:{port}")];
    targets.extend(own_address().map(|own| format!("{own}:{port}")));
    let listed: Vec<&str> = targets.iter().map(String::as_str).collect();
    let everywhere = format!("[meter]\nlisten = [\"0.0.0.0:{port}\"]");
    let site = places.site(Engine::Embedded, &listed, &everywhere);
    let server = site.start_with_device();
    let gateway = Gateway::listed(&site, "gateway-1");
    for target in &targets {
        let mut tunnel = gateway.connect_from("127.0.0.9", &server).expect("connects");
        let seen = tunnel.local_addr();
        tunnel.opens(&target);
        Device::over(tunnel, &server).expect("TLS").thanked(LINE);
        eventually("the meter's line", || {
            let said = server.stderr();
            let own = |line: &str| line.contains(" meter: #") && line.contains(&format!(" {seen}: "));
            said.lines().any(|line| own(line) && line.contains("1 thanked")).then_some(())
        });
    }
}

#[test]
fn a_proxy_line_in_a_tunnel_is_junk_and_names_nobody() {
    let places = Places::new();
    // The gateway's address is trusted as a proxy, and still it is none in here.
    let trusted = "[meter]\nproxy_protocol = \"any\"\ntrusted_proxies = [\"127.0.0.0/8\"]";
    for extra in ["", trusted] {
        let site = places.site(Engine::Embedded, &[], extra);
        let server = site.start();
        site.add_pub(17);
        let gateway = Gateway::listed(&site, "gateway-1");
        for line in [
            &b"PROXY TCP4 203.0.113.66 192.0.2.1 6666 38981\r\n"[..],
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x42\xc0\0\x02\x01\x1a\x0a\x98\x45",
        ] {
            let mut tunnel = gateway.connect_from("127.0.0.9", &server).expect("connects");
            let seen = tunnel.local_addr();
            tunnel.opens(&places.meter);
            tunnel.write_all(line).and_then(|()| tunnel.flush()).expect("sends a line");
            tunnel.rest().ok();
            eventually("a refusal of the gateway's own address", || {
                let said = server.stderr();
                said.lines()
                    .any(|line| line.contains("no TLS") && line.contains(&seen.to_string()))
                    .then_some(())
            });
        }
        assert!(!server.stderr().contains("203.0.113.66"), "{}", server.stderr());
        Device::over(gateway.open(&server, &places.meter), &server).expect("TLS").thanked(LINE);
    }
}

#[test]
fn a_port_without_tls_is_reached_by_no_tunnel() {
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[], "[meter]\ntls = false");
    let server = site.start();
    let refusal = Gateway::listed(&site, "gateway-1").refused(&server, &places.meter);
    assert_eq!(refusal.status, 403, "{refusal:?}");
    assert!(refusal.message.contains("plain text"), "{refusal:?}");
    let said = site.run(&["check"]).said();
    assert!(said.contains(&format!("warning: tunnel: {} is [meter]", places.meter)), "{said}");
}

#[test]
fn the_limits_of_an_address_count_the_gateways_own() {
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[], "[limits]\nmax_connections_per_ip = 3");
    let server = site.start_with_device();
    let gateways = ["gateway-1", "gateway-2"].map(|name| Gateway::listed(&site, name));
    let open = |gateway: &Gateway, source| {
        gateway.connect_from(source, &server).map(|mut tunnel| {
            tunnel.opens(&places.meter);
            Device::over(tunnel, &server).expect("TLS")
        })
    };
    let mut devices: Vec<Device> =
        (0..3).map(|_| open(&gateways[0], "127.0.0.8").expect("three have a place")).collect();
    devices.iter_mut().for_each(|device| device.thanked(LINE));
    assert!(open(&gateways[1], "127.0.0.8").is_err(), "the address has its three");
    // The certificate has its three as well, wherever it comes from.
    let mut tunnel = gateways[0].connect_from("127.0.0.7", &server).expect("another address has places");
    let refusal = tunnel.ask(&connect(&places.meter.to_string())).expect("an answer");
    assert_eq!(refusal.status, 429, "{refusal:?}");
    assert!(refusal.head.contains("\r\nretry-after: "), "{refusal:?}");
    open(&gateways[1], "127.0.0.7").expect("another gateway from another address").thanked(LINE);
    drop(devices);
    eventually("a place", || open(&gateways[0], "127.0.0.8").ok());
}

#[test]
fn all_connections_together_are_limited_and_a_tunnel_counts_twice() {
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[], "[limits]\nmax_connections = 4");
    let server = site.start_with_device();
    let gateway = Gateway::listed(&site, "gateway-1");
    let mut device = Device::over(gateway.open(&server, &places.meter), &server).expect("TLS");
    device.thanked(LINE);
    let silent = tcp(places.meter, PATIENCE).expect("connects");
    let refusal = gateway.refused(&server, &places.meter);
    assert_eq!(refusal.status, 503, "{refusal:?}");
    drop(silent);
    let mut second = eventually("a place", || gateway.try_open(&server, &places.meter));
    second.end_of_stream();
    device.thanked(LINE);
}

#[test]
fn other_requests_are_told_what_is_wrong_with_them() {
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[], "");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    let meter = places.meter;
    for (request, status, message) in [
        (format!("GET http://{meter}/ HTTP/1.1\r\nHost: {meter}\r\n\r\n"), 405, "CONNECT and no other"),
        (format!("POST / HTTP/1.1\r\nHost: {meter}\r\nContent-Length: 3\r\n\r\nabc"), 405, "CONNECT"),
        (format!("CONNECT https://{meter}/ HTTP/1.1\r\nHost: {meter}\r\n\r\n"), 400, "host:port"),
        (format!("CONNECT {} HTTP/1.1\r\nHost: {0}\r\n\r\n", meter.ip()), 400, "host:port"),
        (format!("CONNECT {meter} HTTP/1.1\r\n\r\n"), 400, "Host is missing"),
        (format!("CONNECT {meter} HTTP/1.1\r\nHost: a.example:1\r\n\r\n"), 400, "Host names another"),
        (
            format!("CONNECT {meter} HTTP/1.1\r\nHost: {meter}\r\nHost: {meter}\r\n\r\n"),
            400,
            "Host is given twice",
        ),
        (
            format!("CONNECT {meter} HTTP/1.1\r\nHost: {meter}\r\nContent-Length: 9\r\n\r\n"),
            400,
            "Content-Length",
        ),
        (format!("CONNECT {meter} HTTP/3.0\r\nHost: {meter}\r\n\r\n"), 505, "HTTP/1.1"),
        ("{\"id\":17,\"status\":true}\n".to_owned(), 400, "cannot be read"),
        (
            format!("CONNECT {meter} HTTP/1.1\r\nHost: {meter}\r\nX: {}\r\n\r\n", "x".repeat(9000)),
            431,
            "8192",
        ),
    ] {
        let mut tunnel = gateway.connect(&server).expect("connects");
        let refusal = tunnel.ask(&request).unwrap_or_else(|e| panic!("{request}: {e}"));
        assert_eq!(refusal.status, status, "{request}: {refusal:?}");
        assert!(refusal.message.contains(message), "{request}: {refusal:?}");
        assert_eq!(refusal.head.contains("\r\nallow: CONNECT\r\n"), status == 405, "{refusal:?}");
    }
}

#[test]
fn a_target_that_cannot_be_reached_is_told_from_one_that_is_silent() {
    let (nobody, silent) = (free_addr(), Deaf::new());
    let listed = [nobody.to_string(), silent.addr.to_string(), "nobody.invalid:1".to_owned()];
    let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
    let site = Places::new().site(Engine::Embedded, &listed, "");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    for (target, status, message) in [
        (nobody.to_string(), 502, "cannot connect"),
        (silent.addr.to_string(), 504, "does not answer"),
        ("nobody.invalid:1".to_owned(), 502, "has no address"),
    ] {
        let refusal = gateway.refused(&server, &target);
        assert_eq!(refusal.status, status, "{target}: {refusal:?}");
        assert!(refusal.message.contains(message), "{target}: {refusal:?}");
    }
    assert!(server.stderr().contains("nobody.invalid:1 has no address"), "and it is said at start");
}

/// An address where nothing listens.
fn free_addr() -> SocketAddr {
    let ip = Places::new().meter;
    SocketAddr::new(ip.ip(), ip.port())
}

/// A listener whose queue is full, so that the kernel answers nobody who connects.
struct Deaf {
    addr: SocketAddr,
    _listener: Socket,
    _waiting: Vec<TcpStream>,
}

impl Deaf {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("makes a socket");
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("binds");
        listener.listen(0).expect("listens");
        let addr = listener.local_addr().expect("is bound").as_socket().expect("is IP");
        let mut waiting = Vec::new();
        while let Ok(socket) = TcpStream::connect_timeout(&addr, Duration::from_millis(500)) {
            waiting.push(socket);
        }
        Self { addr, _listener: listener, _waiting: waiting }
    }
}

#[test]
fn a_stop_answers_what_came_through_tunnels_and_ends_with_0() {
    let outside = TcpListener::bind("127.0.0.1:0").expect("binds");
    let target = outside.local_addr().expect("an address").to_string();
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[&target], "");
    let mut server = site.start_with_device();
    let gateway = Gateway::listed(&site, "gateway-1");
    let mut device = Device::over(gateway.open(&server, &places.meter), &server).expect("TLS");
    let mut through = gateway.open(&server, &target);
    let (mut far, _) = outside.accept().expect("the tunnel arrives");
    through.write_all(b"question").and_then(|()| through.flush()).expect("asks");
    far.read_exact(&mut [0; 8]).expect("is asked");
    device.thanked(LINE);
    device.send(LINE);
    eventually("the reading", || (site.packets().len() == 2).then_some(()));
    server.sigterm();
    assert_eq!(device.reply().expect("the answer"), "Thank you");
    assert_eq!(device.reply().expect("close_notify"), "");
    assert_eq!(device.tunnel().rest().expect("close_notify of the tunnel"), "");
    let mut rest = String::new();
    far.read_to_string(&mut rest).expect("a FIN");
    far.write_all(b"answer").expect("answers");
    drop(far);
    assert_eq!(through.rest().expect("close_notify of the tunnel"), "answer");
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    assert!(!server.stderr().contains("cut off"), "{}", server.stderr());
}

#[test]
fn the_admin_port_tells_what_went_through() {
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[], "");
    let server = site.start_with_device();
    let gateway = Gateway::listed(&site, "gateway-1");
    let mut device = Device::over(gateway.open(&server, &places.meter), &server).expect("TLS");
    device.thanked(LINE);
    gateway.refused(&server, "a.example:1");
    let tunnels = eventually("one tunnel", || {
        let tunnels: serde_json::Value = serde_json::from_str(&admin(&server, "tunnels")).expect("JSON");
        (tunnels[0]["open"] == 1).then_some(tunnels)
    });
    assert_eq!(tunnels.as_array().map(Vec::len), Some(1), "{tunnels}");
    assert_eq!(
        (&tunnels[0]["device"], &tunnels[0]["tunnels"]),
        (&"gateway-1".into(), &2.into()),
        "{tunnels}"
    );
    for way in ["bytes_to_target", "bytes_to_gateway"] {
        assert!(tunnels[0][way].as_u64().expect("a number") > 500, "{tunnels}");
    }
    drop(device);
    eventually("the end in the metrics", || {
        let metrics = admin(&server, "metrics");
        let bytes = metrics.contains("m0v_tunnel_bytes_total{direction=\"to target\"}");
        let denied = metrics.contains("m0v_tunnels_total{outcome=\"not allowed\"} 1");
        (bytes && denied && metrics.contains("m0v_tunnels_total{outcome=\"gateway cut\"} 1")).then_some(())
    });
    let places = [places.meter, places.api].map(|place| place.to_string());
    let said = site.run(&["check"]).said();
    for (place, section) in places.iter().zip(["meter", "api"]) {
        let line = format!("ok: tunnel: {place} may be reached: [{section}], within m0v");
        assert!(said.lines().any(|said| said == line), "{said}");
    }
    assert!(
        said.contains(&format!("[tunnel] {}", server.tunnel_addr())) || said.contains("[tunnel] 127"),
        "{said}"
    );
}

fn admin(server: &Server<'_>, path: &str) -> String {
    let url = format!("http://{}/{path}", server.admin_addr());
    crate::harness::run_tool("curl", &["-sS", "--fail", "--max-time", "60", &url]).succeeded()
}

/// Tunnels of which both sides ended well.
fn closed_well(server: &Server<'_>) -> usize {
    let said = server.stderr();
    said.lines().filter(|line| line.contains(" tunnel: #") && line.ends_with(" s, closed")).count()
}
