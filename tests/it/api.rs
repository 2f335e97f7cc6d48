//! The HTTPS port (DESIGN §2.3, §2.5), asked by curl over HTTP/1.1 and HTTP/2.

use crate::{
    client::{self, tcp},
    harness::{Engine, PATIENCE, Server, Site, eventually},
    http::{Answer, VERSIONS, Version, curl, get},
};
use serde_json::{Value, json};
use std::{fs, io::Write as _};

on_both_stores![
    a_confirmation_is_found_and_told_as_on_the_line_port,
    what_nobody_confirmed_is_not_found,
    every_name_of_the_line_port_can_be_asked_for,
    a_bad_parameter_is_named,
];

const PATH: &str = "/confo/Movprov/M0V";

fn confirm(server: &Server<'_>, device_name: &str, ssid: &str, hash: i64) {
    let line = json!({"deviceName": device_name, "timestamp": 1_732_300_000, "ssid": ssid, "hash": hash,
        "email": "secret@example.org"});
    assert_eq!(server.confirm().ask(line.to_string()), "OK");
}

fn a_confirmation_is_found_and_told_as_on_the_line_port(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    confirm(&server, "Movprov", "M0V", 13580);
    confirm(&server, "Movprov", "M0V", -7);
    for version in VERSIONS {
        for (query, hash) in
            [("", -7), ("?token=13580", 13580), ("?TOKEN=13580&x=1", 13580), ("?token=0", -7)]
        {
            let answer = get(&server, version, &format!("{PATH}{query}"));
            assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
            let id = site.numbers(&format!("SELECT pub_id FROM pub WHERE hash = {hash}"))[0];
            let told = json!({"deviceName": "Movprov", "timestamp": 1_732_300_000, "ssid": "M0V", "hash": hash,
                "id": id, "conflict": false});
            assert_eq!(answer.json(), told);
            let line = json!({"deviceName": "Movprov", "ssid": "M0V", "token": hash});
            assert_eq!(server.confirm().ask(line.to_string()), answer.body, "word for word");
            let answer = get(&server, version, &format!("/api{PATH}{query}"));
            assert_eq!((answer.status, answer.body), (200, hash.to_string()));
            let answer = curl(&server, version, &format!("{PATH}{query}"), &["--head"]);
            assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        }
    }
}

fn what_nobody_confirmed_is_not_found(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    confirm(&server, "Movprov", "M0V", 13580);
    for version in VERSIONS {
        let ways = ["/confo/Movprov/Other", "/confo/movprov/M0V", "/confo/Movprov/M0V?token=1"];
        for path in ways {
            let answer = get(&server, version, path);
            assert_eq!((answer.status, answer.body.as_str()), (404, "Not found"), "{path}");
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
            let answer = get(&server, version, &format!("/api{path}"));
            assert_eq!((answer.status, answer.body.as_str()), (200, "Not found"), "{path}");
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        }
    }
}

fn every_name_of_the_line_port_can_be_asked_for(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    for (hash, (name, path)) in [
        ("with space", "/confo/with%20space/M0V"),
        ("a/b", "/confo/a%2Fb/M0V"),
        ("..", "/confo/%2e%2e/M0V"),
        ("a+b", "/confo/a+b/M0V"),
        ("50%", "/confo/50%25/M0V"),
        ("\u{1f50c} \u{e9}", "/confo/%F0%9F%94%8C%20%c3%a9/M0V"),
        ("?#&=", "/confo/%3f%23%26%3D/M0V"),
        ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "/confo/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/M0V"),
    ]
    .into_iter()
    .enumerate()
    {
        let hash = i64::try_from(hash).expect("a few") + 1;
        confirm(&server, name, "M0V", hash);
        for version in VERSIONS {
            let answer = get(&server, version, path);
            assert_eq!(answer.json()["deviceName"], json!(name));
            assert_eq!(get(&server, version, &format!("/api{path}")).body, hash.to_string());
        }
    }
}

fn a_bad_parameter_is_named(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let long = "x".repeat(33);
    for (path, field) in [
        ("/confo//M0V", "deviceName"),
        ("/confo/Movprov/", "ssid"),
        ("/confo//", "deviceName"),
        (&format!("/confo/{long}/M0V"), "deviceName"),
        (&format!("/confo/Movprov/{long}"), "ssid"),
        (
            "/confo/%F0%9F%94%8C%F0%9F%94%8C%F0%9F%94%8C%F0%9F%94%8C%F0%9F%94%8C%F0%9F%94%8C%F0%9F%94%8C%F0%9F%94%8Cx/M0V",
            "deviceName",
        ),
        ("/confo/a%00b/M0V", "deviceName"),
        ("/confo/Movprov/a%0Ab", "ssid"),
        ("/confo/Movprov/%C2%85", "ssid"),
        ("/confo/%/M0V", "deviceName"),
        ("/confo/%zz/M0V", "deviceName"),
        ("/confo/Movprov/%4", "ssid"),
        ("/confo/Movprov/%FF", "ssid"),
        ("/confo/Movprov/%ED%A0%80", "ssid"),
        ("/confo/Movprov/M0V?token=x", "token"),
        ("/confo/Movprov/M0V?token=1.5", "token"),
        ("/confo/Movprov/M0V?token=9223372036854775808", "token"),
        ("/confo/Movprov/M0V?token=%zz", "token"),
        ("/confo/Movprov/M0V?token=1&Token=1", "token"),
        ("/confo/Movprov/M0V?wait=61", "wait"),
        ("/confo/Movprov/M0V?wait=-1", "wait"),
        ("/confo/Movprov/M0V?wait=", "wait"),
        ("/confo/Movprov/M0V?wait", "wait"),
        ("/confo/Movprov/M0V?wait=1e1", "wait"),
        ("/confo/Movprov/M0V?%ff=1", "query"),
    ] {
        for version in VERSIONS {
            for prefix in ["", "/api"] {
                let answer = get(&server, version, &format!("{prefix}{path}"));
                let message = answer.refusal(400, "Bad Request");
                assert!(message.contains(field), "{message:?} names no {field}: {path}");
            }
        }
    }
}

#[test]
fn an_unknown_path_or_method_is_refused_in_the_one_shape() {
    let site = Site::new(Engine::Embedded);
    let server = site.start();
    for version in VERSIONS {
        for path in [
            "/confo",
            "/confo/",
            "/confo/a",
            "/confo/a/b/",
            "/confo/a/b/c",
            "//confo/a/b",
            "/CONFO/a/b",
            "/%zz",
        ] {
            get(&server, version, path).refusal(404, "Not Found");
        }
        for path in [PATH, "/api/confo/Movprov/M0V", "/openapi.json", "/confo//M0V"] {
            for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
                let answer = curl(&server, version, path, &["-X", method]);
                answer.refusal(405, "Method Not Allowed");
                let allow = answer.header("allow").expect("405 names the methods");
                let mut methods: Vec<_> = allow.split(',').map(str::trim).collect();
                methods.sort_unstable();
                assert_eq!(methods, ["GET", "HEAD"], "{path}");
            }
        }
    }
}

#[test]
fn a_body_or_a_head_that_is_too_long_is_refused() {
    let site = Site::new(Engine::Embedded);
    let server = site.start();
    let file = site.folder().join("body");
    let data = format!("@{}", file.display());
    let post = |version, more: &[&str]| {
        curl(&server, version, PATH, &[&["-X", "POST", "--data-binary", data.as_str()], more].concat())
    };
    for version in VERSIONS {
        fs::write(&file, vec![b'x'; 65_536]).expect("writes a body");
        post(version, &[]).refusal(405, "Method Not Allowed");
        fs::write(&file, vec![b'x'; 65_537]).expect("writes a body");
        post(version, &[]).refusal(413, "Payload Too Large");
        post(version, &["-H", "Content-Length:", "-H", "Transfer-Encoding: chunked"])
            .refusal(413, "Payload Too Large");
        let long = format!("x: {}", "y".repeat(20_000));
        let answer = curl(&server, version, PATH, &["-H", &long]);
        assert_eq!(answer.status, 431, "{answer:?}");
        assert_eq!(get(&server, version, PATH).status, 404, "and goes on");
    }
}

#[test]
fn the_description_is_served() {
    let site = Site::new(Engine::Embedded);
    let server = site.start();
    for version in VERSIONS {
        let description: Value = get(&server, version, "/openapi.json").json();
        let paths: Vec<_> = description["paths"].as_object().expect("paths").keys().cloned().collect();
        assert_eq!(
            paths,
            [
                "/",
                "/api/confo/{deviceName}/{ssid}",
                "/caRegister",
                "/confo/{deviceName}/{ssid}",
                "/devicecert",
                "/devicetelemetry",
                "/devicetelemetry/{deviceId}",
                "/forwardstatus",
                "/forwardtelemetry",
                "/mqtt/acl",
                "/mqtt/auth",
                "/mqtt/micro",
                "/mqtt/resource",
                "/mqtt/superuser",
                "/mqtt/topic",
                "/mqtt/user",
                "/mqtt/vhost",
                "/openapi.json",
                "/register",
                "/syncdevicecert",
            ],
            "every route of the router, and no other"
        );
    }
}

#[test]
fn too_many_queries_are_told_when_to_come_back() {
    let site = Site::new(Engine::Embedded);
    let server = site.start();
    let query = r#"{"deviceName":"Movprov","ssid":"M0V"}"#;
    let mut client = server.confirm();
    client.send_raw(format!("{query}\n").repeat(300).as_bytes());
    let replies: Vec<_> = (0..300).map(|_| client.reply()).collect();
    let answered = replies.iter().filter(|reply| *reply == "Not found").count();
    assert!((100..250).contains(&answered), "{answered}");
    let refused = replies.iter().find(|reply| *reply != "Not found").expect("some are refused");
    assert_eq!(refused, "!OK too many queries, try again in 1 s");
    // The quota is one for both ports: whoever is refused here would be answered there otherwise.
    let refused = eventually("a refusal", || {
        client.send_raw(format!("{query}\n").repeat(100).as_bytes());
        (0..100).for_each(|_| drop(client.reply()));
        let answer: Answer = get(&server, Version::Http2, PATH);
        (answer.status != 404).then_some(answer)
    });
    assert!(refused.refusal(429, "Too Many Requests").contains("too many queries"), "{refused:?}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let line = r#"{"deviceName":"Movprov","ssid":"M0V","hash":1}"#;
    assert_eq!(client.ask(line), "OK", "a device is never kept waiting for the app's sake");
    eventually("an answer", || (get(&server, Version::Http2, PATH).status == 200).then_some(()));
}

#[test]
fn behind_a_proxy_it_is_plain_http() {
    let site = Site::with(Engine::Embedded, "[api]\ntls = false");
    let server = site.start();
    for prior in ["--http1.1", "--http2-prior-knowledge"] {
        let url = format!("http://{}{PATH}", server.api_addr());
        let said = crate::harness::run_tool("curl", &["-sS", "--noproxy", "*", prior, &url]).succeeded();
        assert_eq!(said, "Not found", "{prior}");
    }
    let mut socket = tcp(server.api_addr(), PATIENCE).expect("the API port listens");
    socket
        .write_all(b"GET /confo/a/b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\nGET")
        .expect("is taken");
    let answer = String::from_utf8(client::ends(socket)).expect("text");
    assert!(
        answer.starts_with("HTTP/1.1 404 Not Found\r\n") && answer.ends_with("\r\n\r\nNot found"),
        "{answer}"
    );
}

#[test]
fn a_closed_api_is_no_fault() {
    let site = Site::with(Engine::Embedded, "[api]\nlisten = []");
    let server = site.start();
    assert_eq!(server.listeners()["api"], json!([]));
}
