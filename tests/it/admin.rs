//! The admin port (DESIGN §2.1): health and readiness for the operator.

use crate::{
    client::tcp,
    harness::{Engine, PATIENCE, Server, Site},
};
use std::io::{Read as _, Write as _};

on_both_stores![a_healthy_server_is_healthy_and_ready, a_foreign_host_name_is_refused];

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
