//! `wait`: answers held until there is a confirmation, on both ports.

use crate::{
    admin,
    client::Client,
    harness::{Engine, Server, Site, eventually},
    http::{VERSIONS, Version, get},
};
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

on_both_stores![
    a_held_query_is_answered_by_the_next_confirmation,
    a_token_is_answered_by_an_earlier_confirmation_too,
    a_query_held_in_vain_is_not_found,
    a_held_query_outlives_the_idle_timeout,
    whoever_goes_away_leaves_nobody_waiting,
    sigterm_answers_held_queries,
];

/// Long enough that only a wake-up can end it in time, and not the question asked again after 5 s.
const SOON: Duration = Duration::from_secs(4);

fn query(members: &Value) -> String {
    let mut line = json!({"deviceName": "Movprov", "ssid": "M0V"});
    let more = members.as_object().expect("members").clone();
    line.as_object_mut().expect("an object").extend(more);
    line.to_string()
}

fn confirm(server: &Server<'_>, hash: i64) {
    let line = json!({"deviceName": "Movprov", "ssid": "M0V", "hash": hash});
    assert_eq!(server.confirm().ask(line.to_string()), "OK");
}

fn hash_in(answer: &str) -> Option<i64> {
    serde_json::from_str::<Value>(answer).unwrap_or_else(|_| panic!("{answer}"))["hash"].as_i64()
}

/// How many queries the server holds now.
fn held(server: &Server<'_>) -> usize {
    let metrics = admin::get(server, "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("m0v_queries_held "));
    line.expect("the metric is there").parse().expect("a number")
}

fn holds(server: &Server<'_>, count: usize) {
    eventually("the queries to be held", || (held(server) == count).then_some(()));
}

fn a_held_query_is_answered_by_the_next_confirmation(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    confirm(&server, 1);
    let mut app = server.confirm();
    let mut other = server.confirm();
    app.send(query(&json!({"wait": 60})));
    other.send(r#"{"deviceName":"Other","ssid":"M0V","wait":60}"#);
    thread::scope(|scope| {
        let apps = VERSIONS.map(|version| {
            let server = &server;
            scope.spawn(move || get(server, version, "/confo/Movprov/M0V?wait=60"))
        });
        let old = scope.spawn(|| get(&server, Version::Http11, "/api/confo/Movprov/M0V?token=2&wait=60"));
        holds(&server, 5);
        let confirmed = Instant::now();
        confirm(&server, 2);
        assert_eq!(hash_in(&app.reply()), Some(2));
        for app in apps {
            assert_eq!(app.join().expect("curl ends").json()["hash"], json!(2));
        }
        assert_eq!(old.join().expect("curl ends").body, "2");
        assert!(confirmed.elapsed() < SOON, "{:?}", confirmed.elapsed());
    });
    other.stays_silent(Duration::from_millis(200));
    assert_eq!(held(&server), 1);
}

fn a_token_is_answered_by_an_earlier_confirmation_too(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    confirm(&server, 1);
    confirm(&server, 2);
    assert_eq!(hash_in(&server.confirm().ask(query(&json!({"token": 1, "wait": 60})))), Some(1));
    assert_eq!(get(&server, Version::Http2, "/confo/Movprov/M0V?token=1&wait=60").json()["hash"], json!(1));
    let mut app = server.confirm();
    app.send(query(&json!({"token": 3, "wait": 60})));
    holds(&server, 1);
    confirm(&server, 4);
    app.stays_silent(Duration::from_millis(200));
    confirm(&server, 3);
    assert_eq!(hash_in(&app.reply()), Some(3));
}

fn a_query_held_in_vain_is_not_found(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    confirm(&server, 1);
    let started = Instant::now();
    assert_eq!(
        server.confirm().ask(query(&json!({"wait": 1}))),
        "Not found",
        "an earlier one does not count"
    );
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    let started = Instant::now();
    let answer = get(&server, Version::Http11, "/confo/Movprov/M0V?wait=1&token=2");
    assert_eq!((answer.status, answer.body.as_str()), (404, "Not found"));
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    // Pipelined, they are held side by side; what came before is answered first.
    let mut app = server.confirm();
    let started = Instant::now();
    let lines =
        [query(&json!({})), query(&json!({"wait": 2, "token": 5})), query(&json!({"wait": 2, "token": 6}))];
    app.send_raw(format!("{}\n", lines.join("\n")).as_bytes());
    assert_eq!(hash_in(&app.reply()), Some(1));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!((app.reply(), app.reply()), ("Not found".to_owned(), "Not found".to_owned()));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

fn a_held_query_outlives_the_idle_timeout(engine: Engine) {
    let site = Site::with(engine, "[limits]\nidle_timeout = 1");
    let server = site.start();
    let mut app = server.confirm();
    assert_eq!(app.ask(query(&json!({"wait": 3}))), "Not found");
    assert_eq!(app.ask(query(&json!({}))), "Not found", "and the time begins anew");
    for version in VERSIONS {
        assert_eq!(get(&server, version, "/confo/Movprov/M0V?wait=3").body, "Not found");
    }
}

fn whoever_goes_away_leaves_nobody_waiting(engine: Engine) {
    let site = Site::new(engine);
    let mut server = site.start();
    let apps: Vec<_> = (0..4)
        .map(|_| {
            let mut app = server.confirm();
            app.send(query(&json!({"wait": 60})));
            app
        })
        .collect();
    let url = format!("https://localhost:{}/confo/Movprov/M0V?wait=60", server.api_addr().port());
    let curls = ["--http1.1", "--http2"].map(|version| {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "--noproxy", "*", version, &url, "--cacert"]).arg(server.ca_file());
        curl.stdout(std::process::Stdio::null()).spawn().expect("starts curl")
    });
    holds(&server, 6);
    for mut curl in curls {
        curl.kill().and_then(|()| curl.wait()).expect("ends curl");
    }
    holds(&server, 4);
    for (index, mut app) in apps.into_iter().enumerate() {
        match index {
            0 => app.reset(),
            1 => {
                app.end_of_stream();
                assert_eq!(app.reply(), "Not found", "whoever closes waits for nothing more");
                app.ends_properly();
            }
            2 => {
                app.send_raw(b"{\"deviceName\":");
                drop(app);
            }
            _ => drop(app),
        }
        holds(&server, 3 - index);
    }
    assert!(server.is_running());
}

fn sigterm_answers_held_queries(engine: Engine) {
    let site = Site::new(engine);
    let mut server = site.start();
    let mut app = server.confirm();
    app.send(query(&json!({"wait": 60})));
    let (ca_file, port) = (server.ca_file(), server.api_addr().port());
    let curls = ["--http1.1", "--http2"].map(|version| {
        let url = format!("https://localhost:{port}/confo/Movprov/M0V?wait=60");
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "--noproxy", "*", version, &url, "--cacert"]).arg(&ca_file);
        curl.stdout(std::process::Stdio::piped()).spawn().expect("starts curl")
    });
    holds(&server, 3);
    let stopped = Instant::now();
    server.sigterm();
    assert_eq!(app.reply(), "Not found");
    app.ends_properly();
    for curl in curls {
        let output = curl.wait_with_output().expect("curl ends");
        assert!(output.status.success());
        assert_eq!(output.stdout, b"Not found");
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    assert!(stopped.elapsed() < SOON, "{:?}", stopped.elapsed());
}

#[test]
fn a_confirmation_at_another_node_wakes_whoever_waits() {
    let site = Site::new(Engine::Postgres);
    let database = site.database().expect("a site on PostgreSQL has a database");
    let second_site = Site::with(Engine::Postgres, &format!("[database]\nurl = \"{}\"", database.url()));
    let (first, second) = (site.start(), second_site.start());
    // Listening begins soon after the start; a first confirmation shows that it has.
    eventually("the nodes to hear each other", || {
        let mut app = second.confirm();
        app.send(query(&json!({"wait": 3, "token": 1})));
        let asked = Instant::now();
        holds(&second, 1);
        confirm(&first, 1);
        app.reply();
        (asked.elapsed() < SOON).then_some(())
    });
    for hash in 2..7 {
        let mut app = second.confirm();
        app.send(query(&json!({"wait": 60})));
        thread::scope(|scope| {
            let exact = scope
                .spawn(|| get(&second, Version::Http2, &format!("/confo/Movprov/M0V?wait=60&token={hash}")));
            holds(&second, 2);
            let confirmed = Instant::now();
            confirm(&first, hash);
            assert_eq!(hash_in(&app.reply()), Some(hash));
            assert_eq!(exact.join().expect("curl ends").json()["hash"], json!(hash));
            assert!(confirmed.elapsed() < SOON, "{:?}", confirmed.elapsed());
        });
    }
}

#[test]
fn a_held_query_survives_a_restart_of_the_database() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = site.start();
    let mut app = server.confirm();
    app.send(query(&json!({"wait": 60})));
    holds(&server, 1);
    cluster.crash();
    cluster.restart();
    let mut device = server.confirm();
    let line = r#"{"deviceName":"Movprov","ssid":"M0V","hash":5}"#;
    eventually("the database to be back", || (device.ask(line) == "OK").then_some(()));
    assert_eq!(hash_in(&app.reply()), Some(5));
}

#[test]
fn the_number_of_held_queries_is_bounded() {
    let site = Site::new(Engine::Embedded);
    let server = site.start();
    let (addr, ca_pem) = (server.confirm_addr(), server.ca_pem());
    let line = query(&json!({"wait": 60}));
    let mut apps: Vec<Client> = Vec::new();
    while held(&server) < 100 {
        assert!(apps.len() < 150, "more are held than may be");
        let mut app = Client::connect(addr, &ca_pem);
        app.send(&line);
        thread::sleep(Duration::from_millis(20)); // below the quota of queries
        apps.push(app);
    }
    thread::sleep(Duration::from_secs(1));
    let mut late = server.confirm();
    assert_eq!(late.refused(&line), "too many queries are held already, ask without wait");
    let answer = get(&server, Version::Http2, "/confo/Movprov/M0V?wait=60");
    assert!(answer.refusal(429, "Too Many Requests").contains("ask without wait"));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(late.ask(query(&json!({}))), "Not found");
    drop(apps);
    holds(&server, 0);
    late.send(&line);
    holds(&server, 1);
}
