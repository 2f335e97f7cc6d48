//! The admin port (DESIGN §2.1): health and readiness for the operator.

use crate::{
    client::tcp,
    harness::{Engine, PATIENCE, Server, Site},
};
use std::io::{Read as _, Write as _};

on_both_stores![a_healthy_server_is_healthy_and_ready, a_foreign_host_name_is_refused];

#[test]
fn half_a_request_does_not_hold_up_the_stop() {
    let site = Site::new(Engine::Embedded);
    let mut server = site.start();
    let mut socket = tcp(server.admin_addr(), PATIENCE).expect("the admin port listens");
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHo").expect("sends half a head");
    // Answered after it, so the server has seen the half.
    assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(server.stop().success());
    assert!(!server.stderr().contains("work left"), "{}", server.stderr());
}

#[test]
fn more_connections_than_places_wait_and_are_answered() {
    let site = Site::new(Engine::Embedded);
    let server = site.start();
    let crowd: Vec<_> =
        (0..200).map(|_| tcp(server.admin_addr(), PATIENCE).expect("the kernel's queue takes it")).collect();
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("its descriptors").count();
    assert!(open < 150, "{open} descriptors are open");
    drop(crowd);
    assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200"));
}

/// The whole answer to a GET.
pub(crate) fn get(server: &Server<'_>, path: &str) -> String {
    get_as(server, path, &server.admin_addr().to_string())
}

fn get_as(server: &Server<'_>, path: &str, host: &str) -> String {
    let mut socket = tcp(server.admin_addr(), PATIENCE).expect("the admin port listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("sends the request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the answer is text");
    answer
}

fn a_healthy_server_is_healthy_and_ready(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    for path in ["/healthz", "/readyz"] {
        let answer = get(&server, path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let answer = get(&server, "/nowhere");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

fn a_foreign_host_name_is_refused(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let answer = get_as(&server, "/healthz", "attacker.example");
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let port = server.admin_addr().port();
    let answer = get_as(&server, "/healthz", &format!("attacker.example:{port}"));
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}
