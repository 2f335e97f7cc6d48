//! The same bytes on both TLS stacks, with Node's TLS at the gateway: either side ends first, and two
//! hundred tunnels at once.

use super::{
    Gateway, Places,
    bytes::{echo, outside},
    connect,
    foreign::{Openssl, node},
};
use crate::harness::{Engine, PATIENCE, Server, eventually, finish, rounds};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
};

/// A hello with static RSA alone names no groups, so s2n-tls serves it; `compat = "rsa-kx"` allows it.
pub(super) const STACKS: [(Option<&str>, &str); 2] =
    [(None, "rustls TLSv1.3"), (Some("AES128-GCM-SHA256"), "s2n-tls TLSv1.2")];

on_both_stores![a_revoked_gateway_loses_its_tunnels_on_both_stacks];

const RSA_KX: &str = "[tls]\ncompat = \"rsa-kx\"";

/// Whether this line of the log tells the end of a tunnel on this stack.
pub(super) fn is_of(line: &str, stack: &str) -> bool {
    line.contains(" tunnel: #") && line.contains(&format!(": {stack} ")) && line.contains("gateway-1 to 127.")
}

/// Tunnels on this stack of which both sides ended well.
fn closed_well(server: &Server<'_>, stack: &str) -> usize {
    let said = server.stderr();
    said.lines().filter(|line| is_of(line, stack) && line.ends_with(" s, closed")).count()
}

/// Starts `tests/node/raw.js`.
fn start(
    server: &Server<'_>,
    who: &Gateway,
    listener: &TcpListener,
    (what, count): (&str, usize),
    cipher: Option<&str>,
) -> Child {
    let target = listener.local_addr().expect("an address").to_string();
    let ca = server.ca_file();
    let [cert, key] = who.files();
    Command::new("node")
        .arg(node().join("raw.js"))
        .args([what, &server.tunnel_addr().to_string(), &target, &count.to_string()])
        .args([ca.to_str().expect("a path of ours is text"), cert, key])
        .args(cipher)
        .env("KIB", rounds(64, 1024).to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node is installed: run scripts/test")
}

/// The next connection, if there is ever one.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("sets the listener up");
    let (socket, _) = eventually("a tunnel to arrive", || match listener.accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        accepted => Some(accepted.expect("accepts")),
    });
    socket.set_nonblocking(false).expect("sets the socket up");
    socket.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
    socket
}

/// On s2n-tls an end is the end of both ways (RFC 5246 §7.2.1): what was said before it arrives, and nothing is cut off.
#[test]
fn either_side_may_end_first_on_both_stacks() {
    let (listener, site) = outside(RSA_KX);
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    for (cipher, stack) in STACKS {
        let goes_on = cipher.is_none();
        let asks = start(&server, &gateway, &listener, ("asks", 1), cipher);
        let mut far = accept(&listener);
        let mut heard = String::new();
        far.read_to_string(&mut heard).expect("the question and its end");
        assert_eq!(heard, "question", "{stack}");
        far.write_all(b"answer").expect("answers");
        drop(far);
        let answer = finish(asks, "raw.js").succeeded();
        assert_eq!(answer, if goes_on { "answer" } else { "" }, "{stack}");

        let hears = start(&server, &gateway, &listener, ("hears", 1), cipher);
        let mut far = accept(&listener);
        far.write_all(b"greeting").expect("greets");
        far.shutdown(Shutdown::Write).expect("ends its half");
        let mut heard = String::new();
        far.read_to_string(&mut heard).expect("the rest and its end");
        assert_eq!(heard, if goes_on { "a late word" } else { "" }, "{stack}");
        assert_eq!(finish(hears, "raw.js").succeeded(), "greeting", "{stack}");
        eventually("two good ends", || (closed_well(&server, stack) == 2).then_some(()));
    }
}

/// Half a message must not look like a whole one, even if the break is found by writing.
#[test]
fn a_gateway_that_is_reset_is_no_good_end_on_both_stacks() {
    let (listener, site) = outside(RSA_KX);
    let target = listener.local_addr().expect("an address");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    let [cert, key] = gateway.files();
    for (cipher, stack) in STACKS {
        let tls = cipher.map_or_else(|| vec!["-tls1_3"], |cipher| vec!["-tls1_2", "-cipher", cipher]);
        let mut open = Openssl::start(&server, &[&tls[..], &["-cert", cert, "-key", key]].concat());
        open.say(&connect(&target.to_string()));
        assert_eq!(open.line(), "HTTP/1.1 200 Connection established", "{stack}");
        assert_eq!(open.line(), "");
        open.say("half");
        let mut far = accept(&listener);
        far.read_exact(&mut [0; 4]).expect("hears half");
        // More than all buffers hold, and nobody reads what openssl passes on.
        let flood = thread::spawn(move || far.write_all(&[b"\n", &vec![b'x'; 64 << 20][..]].concat()));
        assert_eq!(open.line(), "");
        drop(open);
        flood.join().expect("does not panic").expect_err("nobody takes the rest");
        eventually("the tunnel's line", || {
            server.stderr().lines().any(|line| is_of(line, stack)).then_some(())
        });
        assert_eq!(closed_well(&server, stack), 0, "{stack}");
    }
}

#[test]
fn two_hundred_tunnels_of_node_bring_every_byte_both_ways_on_both_stacks() {
    let (listener, site) = outside(RSA_KX);
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    let count = 200;
    for (cipher, stack) in STACKS {
        let node = start(&server, &gateway, &listener, ("echo", count), cipher);
        thread::scope(|scope| {
            for _ in 0..count {
                let socket = accept(&listener);
                scope.spawn(move || echo(&socket));
            }
        });
        assert_eq!(finish(node, "raw.js").succeeded().trim(), "200 echoes are the same", "{stack}");
        eventually("all ends", || (closed_well(&server, stack) == count).then_some(()));
    }
}

fn a_revoked_gateway_loses_its_tunnels_on_both_stacks(engine: Engine) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let target = listener.local_addr().expect("an address").to_string();
    let site = Places::new().site(engine, &[&target], RSA_KX);
    let server = site.start();
    for (number, (cipher, stack)) in STACKS.into_iter().enumerate() {
        let gateway = Gateway::listed(&site, &format!("gateway-{number}"));
        let [cert, key] = gateway.files();
        let tls = cipher.map_or_else(|| vec!["-tls1_3"], |cipher| vec!["-tls1_2", "-cipher", cipher]);
        let options = [&tls[..], &["-cert", cert, "-key", key]].concat();
        let mut open = Openssl::start(&server, &options);
        open.say(&connect(&target));
        assert_eq!(open.line(), "HTTP/1.1 200 Connection established", "{stack}");
        assert_eq!(open.line(), "");
        let mut far = accept(&listener);
        gateway.revoke(&site);
        assert_eq!(open.line(), "", "{stack}: nothing more");
        assert_eq!(far.read(&mut [0]).expect_err("a cut").kind(), ErrorKind::ConnectionReset, "{stack}");
        let mut again = Openssl::start(&server, &options);
        again.say(&connect(&target));
        assert!(["", "HTTP/1.1 403 Forbidden"].contains(&again.line().as_str()), "{stack}");
        let revoked = format!(": {stack} ");
        eventually("the reason", || {
            let said = server.stderr();
            said.lines().any(|line| line.contains(&revoked) && line.ends_with("revoked")).then_some(())
        });
    }
}
