//! What goes through a tunnel: all of it, in order, each way to its own end.

use super::{Gateway, LINE, Places, Tunnel, closed_well};
use crate::{
    client::is_timeout,
    gateway::Device,
    harness::{Engine, PATIENCE, Server, Site, eventually, rounds, run_tool, skip},
};
use aws_lc_rs::digest::{Context, SHA256};
use socket2::SockRef;
use std::{
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// A listener of ours that tunnels may lead to, a server, and a gateway.
pub(super) fn outside(extra: &str) -> (TcpListener, Site) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let target = listener.local_addr().expect("an address").to_string();
    (listener, Places::new().site(Engine::Embedded, &[&target], extra))
}

/// Both ends of a tunnel to the listener.
fn ends(server: &Server<'_>, gateway: &Gateway, listener: &TcpListener) -> (Tunnel, TcpStream) {
    let tunnel = gateway.open(server, &listener.local_addr().expect("an address"));
    let (far, _) = listener.accept().expect("the tunnel arrives");
    far.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
    (tunnel, far)
}

#[test]
fn each_side_may_end_first_and_still_hear_the_other() {
    let (listener, site) = outside("");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");

    let (mut near, mut far) = ends(&server, &gateway, &listener);
    near.write_all(b"question").expect("asks");
    near.end_of_stream();
    let mut heard = String::new();
    far.read_to_string(&mut heard).expect("the question and its end");
    assert_eq!(heard, "question");
    far.write_all(b"answer").expect("answers");
    drop(far);
    assert_eq!(near.rest().expect("the answer and its end"), "answer");

    let (mut near, mut far) = ends(&server, &gateway, &listener);
    far.write_all(b"greeting").expect("greets");
    far.shutdown(Shutdown::Write).expect("ends its half");
    assert_eq!(near.rest().expect("the greeting and its end"), "greeting");
    near.write_all(b"a late word").expect("says more");
    near.end_of_stream();
    let mut heard = String::new();
    far.read_to_string(&mut heard).expect("the rest and its end");
    assert_eq!(heard, "a late word");
    eventually("two ends", || (server.stderr().matches(" back, ").count() == 2).then_some(()));
    let said = server.stderr();
    for counts in ["8 bytes there, 6 back", "11 bytes there, 8 back"] {
        assert!(said.contains(counts), "no {counts}: {said}");
    }
}

/// Half a message must not look like a whole one.
#[test]
fn a_side_that_is_cut_off_is_a_cut_for_the_other() {
    let (listener, site) = outside("");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");

    let (mut near, mut far) = ends(&server, &gateway, &listener);
    near.write_all(b"half").and_then(|()| near.flush()).expect("says half");
    far.read_exact(&mut [0; 4]).expect("hears half");
    near.cut();
    assert_eq!(far.read(&mut [0; 1]).expect_err("no end, a cut").kind(), ErrorKind::ConnectionReset);

    let (near, mut far) = ends(&server, &gateway, &listener);
    near.reset();
    assert_eq!(far.read(&mut [0; 1]).expect_err("no end, a cut").kind(), ErrorKind::ConnectionReset);

    let (mut near, far) = ends(&server, &gateway, &listener);
    SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("sets SO_LINGER");
    drop(far);
    let error = near.rest().expect_err("no close_notify");
    assert!(!is_timeout(&error), "{error}");
}

#[test]
fn a_tunnel_in_which_nobody_speaks_is_closed() {
    let (listener, site) = outside("[limits]\nidle_timeout = 1");
    let server = site.start();
    let (mut near, mut far) = ends(&server, &Gateway::listed(&site, "gateway-1"), &listener);
    assert_eq!(far.read(&mut [0; 1]).expect("a FIN"), 0);
    assert_eq!(near.rest().expect("close_notify"), "");
    eventually("the reason", || server.stderr().contains("idle timeout").then_some(()));
}

#[test]
fn a_target_that_does_not_read_is_let_go() {
    let (listener, site) = outside("[limits]\nwrite_timeout = 1");
    let server = site.start();
    let (mut near, _far) = ends(&server, &Gateway::listed(&site, "gateway-1"), &listener);
    let block = vec![0; 1 << 20];
    let error = (0..1000).find_map(|_| near.write_all(&block).err()).expect("the tunnel is closed");
    assert!(!is_timeout(&error), "{error}");
    eventually("the reason", || server.stderr().contains("the target does not read").then_some(()));
}

#[test]
fn two_hundred_tunnels_at_once_bring_every_byte_both_ways() {
    let (listener, site) = outside("");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    let target = listener.local_addr().expect("an address");
    let count = 200;
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count {
                let (socket, _) = listener.accept().expect("a tunnel arrives");
                scope.spawn(move || echo(&socket));
            }
        });
        let tunnels: Vec<Tunnel> = (0..count).map(|_| gateway.open(&server, &target)).collect();
        let checked: Vec<_> = tunnels
            .into_iter()
            .zip(1..)
            .map(|(tunnel, seed)| scope.spawn(move || there_and_back(tunnel, seed, rounds(256, 4096))))
            .collect();
        for check in checked {
            check.join().expect("the same bytes come back");
        }
    });
    eventually("all ends", || (closed_well(&server) == count).then_some(()));
}

pub(super) fn echo(mut socket: &TcpStream) {
    io::copy(&mut { socket }, &mut socket).expect("echoes");
    socket.shutdown(Shutdown::Write).expect("ends");
}

/// Sends `kib` KiB that only this tunnel sends, in pieces of many sizes; what comes back must be the same.
fn there_and_back(mut tunnel: Tunnel, seed: u64, kib: usize) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut sent, mut heard) = (Context::new(&SHA256), Context::new(&SHA256));
    let (mut left, mut back) = (kib * 1024, vec![0; 16 * 1024]);
    while left > 0 {
        let length = left.min(1 + usize::try_from(next() % 16_000).expect("fits"));
        let piece: Vec<u8> = (0..length).map(|_| next().to_le_bytes()[0]).collect();
        tunnel.write_all(&piece).and_then(|()| tunnel.flush()).expect("sends");
        sent.update(&piece);
        let back = &mut back[..length];
        tunnel.read_exact(back).expect("hears");
        heard.update(back);
        left -= length;
    }
    tunnel.end_of_stream();
    assert_eq!(tunnel.rest().expect("close_notify"), "");
    assert_eq!(sent.finish().as_ref(), heard.finish().as_ref(), "tunnel {seed}");
}

/// Every address of a name is tried, and what the name leads to later does not matter.
#[test]
fn a_name_is_looked_up_once_and_all_of_its_addresses_are_tried() {
    let listener = TcpListener::bind("127.0.0.3:0").expect("binds");
    let port = listener.local_addr().expect("an address").port();
    let name = format!("many.example:{port}");
    // Nothing listens at the first; the third may not be reached.
    let listed = [name.clone(), format!("127.0.0.2:{port}"), format!("127.0.0.3:{port}")];
    let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
    let site = Places::new().site(Engine::Embedded, &listed, "");
    let hosts = site.folder().join("hosts");
    let write = |addresses: [&str; 3]| {
        let lines = addresses.map(|address| format!("{address} many.example\n"));
        fs::write(&hosts, lines.concat() + "127.0.0.1 localhost\n").expect("writes hosts");
    };
    write(["127.0.0.2", "127.0.0.3", "169.254.1.1"]);
    let bind = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let own_hosts = ["unshare", "--mount", "sh", "-c", &bind, "sh"];
    if run_tool("unshare", &["--mount", "true"]).code() != Some(0) {
        return skip(
            "a_name_is_looked_up_once_and_all_of_its_addresses_are_tried",
            "needs the right to mount",
        );
    }
    let site = site.wrapped_in(&own_hosts);
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    let through = |what: &str| {
        let mut near = gateway.open(&server, &name);
        let (mut far, _) = listener.accept().expect("the tunnel arrives");
        near.write_all(what.as_bytes()).and_then(|()| near.flush()).expect("says something");
        let mut heard = vec![0; what.len()];
        far.read_exact(&mut heard).expect("hears it");
        assert_eq!(heard, what.as_bytes());
    };
    through("before");
    let said = server.stderr();
    assert!(said.contains("many.example") && said.contains("169.254.1.1"), "{said}");
    write(["127.0.0.4", "127.0.0.5", "127.0.0.6"]);
    through("after");
}

#[test]
fn a_device_whose_gateway_is_cut_off_is_no_trouble_for_the_meter() {
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[], "");
    let server = site.start_with_device();
    let gateway = Gateway::listed(&site, "gateway-1");
    for _ in 0..20 {
        let mut device = Device::over(gateway.open(&server, &places.meter), &server).expect("TLS");
        device.send(LINE);
        drop(device);
    }
    Device::over(gateway.open(&server, &places.meter), &server).expect("TLS").thanked(LINE);
}
