//! Reports over HTTPS (DESIGN §2.5): who may send them, what is stored, and that what was answered
//! `success` is there, whatever was killed in between.

use crate::{
    admin,
    harness::{Engine, Server, Site, eventually, rounds},
    http::{Answer, VERSIONS, Version, curl},
};
use serde_json::{Value, json};
use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

on_both_stores![
    a_report_is_stored_as_sent_before_it_is_answered,
    a_broker_forwards_with_the_time_it_was_told,
    only_a_key_that_is_right_is_let_in,
    a_named_key_counts_until_it_is_retired,
    what_cannot_be_stored_is_refused_by_name,
    success_survives_kill_9,
];

const KEY: &str = "api-key-name: a-key-of-the-test";
const CONFIG: &str = "[api]\nkey_value = \"a-key-of-the-test\"";
const JSON: &str = "content-type: application/json";

/// POST of a JSON body with the key.
fn post(server: &Server<'_>, version: Version, path: &str, body: &str) -> Answer {
    curl(server, version, path, &["-H", KEY, "-H", JSON, "--data-binary", body])
}

fn succeeds(answer: &Answer) {
    assert_eq!((answer.status, answer.json()), (200, json!({"success": true})), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

fn a_report_is_stored_as_sent_before_it_is_answered(engine: Engine) {
    let site = Site::with(engine, CONFIG);
    let server = site.start();
    let long_id = "x".repeat(128);
    let long = format!("/devicetelemetry/{long_id}");
    for (path, body, device_id) in [
        ("/devicetelemetry/meter-17", r#"{"voltage":231.4}"#, "meter-17"),
        ("/devicetelemetry/a%2Fb%20c", r#" {"a":{"b":[1,null,"\u00e9"]}} "#, "a/b c"),
        ("/devicetelemetry/%F0%9F%94%8C", "{}", "\u{1f50c}"),
        (&long, r#"{"n":123456789012345678901234567890}"#, &long_id),
        ("/devicetelemetry", r#"{"deviceId":"meter-18","t":20}"#, "meter-18"),
    ] {
        for version in VERSIONS {
            let before = site.telemetry().len();
            succeeds(&post(&server, version, path, body));
            let rows = site.telemetry();
            assert_eq!(rows.len(), before + 1, "{path}");
            let row = rows.last().expect("it is there");
            assert_eq!((row.device_id.as_str(), row.kind.as_str()), (device_id, "devicetelemetry"));
            let sent: Value = serde_json::from_str(body).expect("our own JSON");
            assert_eq!(row.body, sent, "{path}");
            assert!((row.saved_at - row.created_at).abs() < 60_000_000, "received when it was saved");
        }
    }
}

fn a_broker_forwards_with_the_time_it_was_told(engine: Engine) {
    let site = Site::with(engine, CONFIG);
    let server = site.start();
    for (path, kind) in [("/forwardtelemetry", "forwardtelemetry"), ("/forwardstatus", "forwardstatus")] {
        for (created_at, told) in [
            ("1732300000", Some(1_732_300_000)),
            ("253402300799", Some(253_402_300_799)),
            ("1136239445", Some(1_136_239_445)),
            ("1136239444", None),
            ("0", None),
            ("-5", None),
            ("null", None),
        ] {
            let body = format!(
                r#"{{"deviceId":"m","createdAt":{created_at},"data":{{"on":true}},"other":"\u0000"}}"#
            );
            succeeds(&post(&server, Version::Http2, path, &body));
            let row = site.telemetry().pop().expect("it is there");
            assert_eq!(
                (row.device_id.as_str(), row.kind.as_str(), row.body),
                ("m", kind, json!({"on": true}))
            );
            match told {
                Some(seconds) => assert_eq!(row.created_at, seconds * 1_000_000, "{created_at}"),
                None => assert!((row.saved_at - row.created_at).abs() < 60_000_000, "{created_at} means now"),
            }
        }
        succeeds(&post(&server, Version::Http11, path, r#"{"deviceId":"m","data":"online"}"#));
        assert_eq!(site.telemetry().pop().expect("it is there").body, json!("online"));
    }
}

fn only_a_key_that_is_right_is_let_in(engine: Engine) {
    let site = Site::with(engine, CONFIG);
    let server = site.start();
    let ask = |version, headers: &[&str]| {
        let mut more = vec!["-H", JSON, "--data-binary", "{}"];
        headers.iter().for_each(|header| more.extend(["-H", header]));
        curl(&server, version, "/devicetelemetry/m", &more)
    };
    for version in VERSIONS {
        for (headers, words) in [
            (&[][..], "api-key-name"),
            (&["api-key-name;"], "wrong API key"),
            (&["api-key-name: a-key-of-the-tesT"], "wrong API key"),
            (&["api-key-name: a-key-of-the-test2"], "wrong API key"),
            (&["api-key-name: ä"], "wrong API key"),
            (&[KEY, KEY], "wrong API key"),
            (&["authorization: Bearer a-key-of-the-test"], "api-key-name"),
        ] {
            let answer = ask(version, headers);
            let message = answer.refusal(401, "Unauthorized");
            assert!(message.contains(words), "{message}");
            assert!(answer.header("www-authenticate").is_some());
        }
        succeeds(&ask(version, &["API-Key-Name: a-key-of-the-test"]));
    }
    assert_eq!(site.telemetry().len(), 2);
    assert!(!server.stderr().contains("a-key-of-the"), "no key is logged");

    drop(server);
    site.configure("");
    let server = site.start();
    let answer = curl(&server, Version::Http2, "/devicetelemetry/m", &["-H", KEY, "-H", JSON, "-d", "{}"]);
    answer.refusal(401, "Unauthorized");
    let answer = curl(&server, Version::Http2, "/devicetelemetry/m", &["-H", "api-key-name;", "-d", "{}"]);
    assert!(answer.refusal(401, "Unauthorized").contains("wrong API key"), "an empty one is no key");
}

fn a_named_key_counts_until_it_is_retired(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let ask = |key: &str| {
        let key = format!("api-key-name: {key}");
        curl(&server, Version::Http2, "/devicetelemetry/m", &["-H", &key, "-H", JSON, "-d", "{}"]).status
    };
    assert_eq!(ask("first"), 401);
    let add = |name: &str| site.run(&["key", "add", name]).succeeded().trim().to_owned();
    let (first, second) = (add("first"), add("second"));
    // Other processes' keys are in force within a second (DESIGN §2.6).
    thread::sleep(Duration::from_secs(1));
    assert_eq!((ask(&first), ask(&second), ask("first")), (200, 200, 401));
    site.run(&["key", "retire", "first"]).succeeded();
    thread::sleep(Duration::from_secs(1));
    assert_eq!((ask(&first), ask(&second)), (401, 200));
    assert!(!server.stderr().contains(&second), "no key is logged");
}

fn what_cannot_be_stored_is_refused_by_name(engine: Engine) {
    let site = Site::with(engine, CONFIG);
    let server = site.start();
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    let deep = format!(r#"{{"data":{deep},"deviceId":"m"}}"#);
    let long = format!(r#"{{"deviceId":"{}","data":1}}"#, "x".repeat(129));
    for (path, body, words) in [
        ("/devicetelemetry/m", "", "the body must be a JSON object (line 1, column 1)"),
        ("/devicetelemetry/m", "[1]", "the body must be a JSON object"),
        ("/devicetelemetry/m", "{\"a\":1,\n\"b\":}", "expected a value (line 2, column 5)"),
        ("/devicetelemetry/m", r#"{"a":1,"a":2}"#, "twice"),
        ("/devicetelemetry/m", r#"{"a":{"b":1,"b":2}}"#, "in a: a key is given twice"),
        ("/devicetelemetry/m", r#"{"volts":1e999}"#, "volts is a number outside double precision"),
        ("/devicetelemetry/m", r#"{"a":"\u0000"}"#, "a has a NUL character"),
        ("/devicetelemetry/m", r#"{"a":"\ud800"}"#, "a has half a surrogate pair"),
        ("/devicetelemetry/m", &deep, "nested over 32 levels"),
        ("/devicetelemetry/", "{}", "deviceId is empty"),
        ("/devicetelemetry/%00", "{}", "deviceId has a control"),
        ("/devicetelemetry/%zz", "{}", "deviceId is not percent-encoded UTF-8"),
        ("/devicetelemetry", "{}", "deviceId is missing"),
        ("/devicetelemetry", r#"{"deviceId":17}"#, "deviceId must be a string (line 1, column 13)"),
        ("/forwardtelemetry", r#"{"data":{}}"#, "deviceId is missing"),
        ("/forwardtelemetry", &long, "deviceId has more than 128 bytes"),
        ("/forwardtelemetry", r#"{"deviceId":"m"}"#, "data is missing"),
        ("/forwardtelemetry", r#"{"deviceId":"m","data":null}"#, "data is missing"),
        ("/forwardstatus", &deep, "in data: a value is nested over 32 levels"),
        ("/forwardstatus", r#"{"deviceId":"m","data":1,"createdAt":"now"}"#, "createdAt must be an integer"),
        ("/forwardstatus", r#"{"deviceId":"m","data":1,"createdAt":1.5}"#, "createdAt must be an integer"),
        (
            "/forwardstatus",
            r#"{"deviceId":"m","data":1,"createdAt":1732300000000}"#,
            "createdAt must be Unix seconds",
        ),
    ] {
        for version in VERSIONS {
            let answer = post(&server, version, path, body);
            let message = answer.refusal(400, "Bad Request");
            assert!(message.contains(words), "{path} {body}: {message}");
        }
    }
    assert_eq!(site.telemetry().len(), 0);
}

#[test]
fn other_types_methods_and_paths_are_refused() {
    let site = Site::with(Engine::Embedded, CONFIG);
    let server = site.start();
    for version in VERSIONS {
        for kind in
            ["content-type: text/plain", "content-type: application/json; charset=latin1", "content-type:"]
        {
            let more = ["-H", KEY, "-H", kind, "--data-binary", "{}"];
            let answer = curl(&server, version, "/devicetelemetry/m", &more);
            assert!(answer.refusal(400, "Bad Request").contains("content-type"), "{kind}");
        }
        let more = ["-H", KEY, "-H", "content-type: application/json;charset=UTF-8", "--data-binary", "{}"];
        succeeds(&curl(&server, version, "/devicetelemetry/m", &more));
        for path in ["/devicetelemetry", "/devicetelemetry/m", "/forwardtelemetry", "/forwardstatus"] {
            for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
                let answer = curl(&server, version, path, &["-X", method, "-H", KEY]);
                answer.refusal(405, "Method Not Allowed");
                assert_eq!(answer.header("allow"), Some("POST"), "{path}");
            }
        }
        for path in ["/devicetelemetry/a/b", "/forwardtelemetry/", "/DeviceTelemetry", "/forwardtelemetry/m"]
        {
            post(&server, version, path, "{}").refusal(404, "Not Found");
        }
    }
}

#[test]
fn a_body_comes_in_any_framing_and_unpacked() {
    let site = Site::with(Engine::Embedded, CONFIG);
    let server = site.start();
    let send = |version, more: &[&str]| {
        let all = [&["-H", KEY, "-H", JSON, "--data-binary", "{\"a\":1}"], more].concat();
        curl(&server, version, "/devicetelemetry/m", &all)
    };
    succeeds(&send(Version::Http10, &[]));
    succeeds(&send(Version::Http10, &["--no-alpn"]));
    for version in VERSIONS {
        succeeds(&send(version, &["-H", "content-encoding: identity"]));
        succeeds(&send(version, &["-H", "Content-Length:", "-H", "Transfer-Encoding: chunked"]));
        for encoding in ["content-encoding: gzip", "content-encoding: identity, br", "content-encoding;"] {
            let message = send(version, &["-H", encoding]).refusal(400, "Bad Request");
            assert_eq!(message, "content-encoding is not taken; send the body as it is", "{encoding}");
        }
    }
    // The leave that is asked for is given before the body is sent, and refused where it is too long.
    let url = format!("https://localhost:{}/devicetelemetry/m", server.api_addr().port());
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(100_000));
    fs::write(site.folder().join("long"), long).expect("writes a body");
    let long = format!("@{}", site.folder().join("long").display());
    for (body, first, last) in
        [("{}", "HTTP/1.1 100", "{\"success\":true}"), (&long, "HTTP/1.1 413", "bytes\"}")]
    {
        let ca = server.ca_file();
        let ca = ca.to_str().expect("a path of ours is text");
        let head = ["-sSi", "--http1.1", "--expect100-timeout", "60", "--noproxy", "*", "--cacert", ca];
        let more = ["-H", "Expect: 100-continue", "-H", KEY, "-H", JSON, "--data-binary", body, &url];
        let said = crate::harness::run_tool("curl", &[&head[..], &more].concat()).succeeded();
        assert!(said.starts_with(first) && said.ends_with(last), "{said}");
    }
}

#[test]
fn a_body_is_refused_whatever_its_length_and_whoever_sends_it() {
    let site = Site::with(Engine::Embedded, CONFIG);
    let server = site.start();
    let file = site.folder().join("body");
    let data = format!("@{}", file.display());
    let send = |version, more: &[&str]| {
        let all = [&["-H", JSON, "--data-binary", data.as_str()], more].concat();
        curl(&server, version, "/devicetelemetry/m", &all)
    };
    let chunked = ["-H", "Content-Length:", "-H", "Transfer-Encoding: chunked"];
    let with_key = |more: &[&'static str]| [&["-H", KEY], more].concat();
    for version in VERSIONS {
        for length in [65_536, 65_537, 10_000_000] {
            let body = format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
            assert_eq!(body.len(), length);
            fs::write(&file, body).expect("writes a body");
            for more in [&[][..], &chunked] {
                let answer = send(version, &with_key(more));
                if length <= 65_536 {
                    succeeds(&answer);
                } else {
                    answer.refusal(413, "Payload Too Large");
                }
                let answer = send(version, more);
                assert!(matches!(answer.status, 401 | 413), "{answer:?}");
            }
        }
    }
    assert_eq!(site.telemetry().len(), 4);
}

#[test]
fn wrong_keys_are_told_to_wait_and_a_right_one_is_not() {
    let site = Site::with(Engine::Embedded, CONFIG);
    let server = site.start();
    let wrong =
        "header = \"api-key-name: wrong\"\nheader = \"content-type: application/json\"\ndata = \"{}\"\n";
    let url = format!("https://localhost:{}/devicetelemetry/m", server.api_addr().port());
    let config = format!(
        "{}cacert = {:?}\nnoproxy = \"*\"\nsilent\nwrite-out = \"%{{http_code}}\\n\"\n",
        wrong,
        server.ca_file()
    ) + &format!("url = {url:?}\noutput = /dev/null\n").repeat(1000);
    let file = site.folder().join("curl");
    fs::write(&file, config).expect("writes curl's configuration");
    let file = file.to_str().expect("a path of ours is text");
    let said = crate::harness::run_tool("curl", &["--config", file]).succeeded();
    let statuses: Vec<_> = said.lines().collect();
    assert_eq!(statuses.len(), 1000);
    assert!(statuses.iter().all(|status| ["401", "429"].contains(status)), "{said}");
    assert_eq!(statuses.iter().take(30).filter(|status| **status == "401").count(), 30);
    assert!(statuses.iter().filter(|status| **status == "429").count() > 800, "most are told to wait");
    // Its quota is spent, so this one is told too; a right key is let in all the same.
    let more = ["-H", "api-key-name: wrong", "-H", JSON, "-d", "{}"];
    let answer = eventually("a refusal", || {
        Some(curl(&server, Version::Http2, "/devicetelemetry/m", &more)).filter(|answer| answer.status == 429)
    });
    assert!(answer.refusal(429, "Too Many Requests").contains("wrong API keys"));
    assert!(answer.header("retry-after").is_some());
    succeeds(&post(&server, Version::Http2, "/devicetelemetry/m", "{}"));
    assert!(
        admin::get(&server, "/metrics").contains("m0v_api_wrong_keys_total 100"),
        "all of them are counted"
    );
}

/// Sends numbered reports until told to stop; returns the numbers answered with success.
fn reports(server: &Server<'_>, round: usize, stop: &AtomicBool, answered: &Mutex<Vec<i64>>) {
    let url = format!("https://localhost:{}/devicetelemetry/m", server.api_addr().port());
    let ca = server.ca_file();
    for number in 0.. {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let number = i64::try_from(round * 1_000_000 + number).expect("small");
        let body = format!("{{\"number\":{number}}}");
        let said = std::process::Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                "60",
                "--noproxy",
                "*",
                "-H",
                KEY,
                "-H",
                JSON,
                "-d",
                &body,
                "--cacert",
            ])
            .arg(&ca)
            .arg(&url)
            .output()
            .expect("starts curl");
        if said.stdout == b"{\"success\":true}" {
            answered.lock().expect("no reporter panics").push(number);
        }
    }
}

/// Reports while `meanwhile` happens; a number is sent once, so it is stored at most once.
fn reports_during(server: &Server<'_>, round: usize, meanwhile: impl FnOnce()) -> Vec<i64> {
    let (stop, answered) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for reporter in 0..3 {
            let (stop, answered) = (&stop, &answered);
            scope.spawn(move || reports(server, round * 10 + reporter, stop, answered));
        }
        let enough =
            |count| eventually("reports", || (answered.lock().expect("sound").len() >= count).then_some(()));
        enough(5);
        meanwhile();
        stop.store(true, Ordering::Release);
    });
    answered.into_inner().expect("no reporter panics")
}

/// What was answered is there once, and nothing is there twice.
fn all_there_once(site: &Site, answered: &[i64]) {
    let mut stored: Vec<i64> =
        site.telemetry().iter().filter_map(|row| row.body["number"].as_i64()).collect();
    stored.sort_unstable();
    let count = stored.len();
    stored.dedup();
    assert_eq!(stored.len(), count, "nothing twice");
    let missing: Vec<_> = answered.iter().filter(|number| stored.binary_search(number).is_err()).collect();
    assert!(missing.is_empty(), "answered and not there: {missing:?}");
}

fn success_survives_kill_9(engine: Engine) {
    let site = Site::with(engine, CONFIG);
    let mut answered = Vec::new();
    let mut server = site.start();
    for round in 0..rounds(2, 40) {
        let pid = server.pid();
        answered.extend(reports_during(&server, round, || {
            let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
            assert!(status.expect("starts kill").success());
        }));
        server.wait();
        server.start_again();
    }
    all_there_once(&site, &answered);
}

#[test]
fn success_survives_an_outage_of_postgres_and_of_both() {
    let site = Site::on_own_cluster(CONFIG);
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let mut server = site.start();
    let mut answered = Vec::new();
    for round in 0..rounds(3, 60) {
        let pid = server.pid();
        answered.extend(reports_during(&server, round, || {
            cluster.crash();
            succeeds(&post(&server, Version::Http2, "/devicetelemetry/away", "{\"away\":true}"));
            if round % 2 == 1 {
                let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
                assert!(status.expect("starts kill").success());
            }
        }));
        if round % 2 == 1 {
            server.wait();
            server.start_again(); // with the database down
            succeeds(&post(&server, Version::Http2, "/devicetelemetry/away", "{\"away\":true}"));
        }
        cluster.restart();
    }
    eventually("an empty spool", || {
        admin::get(&server, "/metrics").contains("m0v_spool_telemetry_rows 0\n").then_some(())
    });
    all_there_once(&site, &answered);
    let away = site.telemetry().iter().filter(|row| row.device_id == "away").count();
    let rounds = rounds(3, 60);
    assert_eq!(away, rounds + rounds / 2, "what was sent while it was away, each once");
}

#[test]
fn a_database_that_is_too_slow_gets_each_report_once() {
    let site = Site::on_own_cluster(CONFIG);
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = site.start();
    let answered = reports_during(&server, 0, || {
        cluster.pause();
        succeeds(&post(&server, Version::Http2, "/devicetelemetry/slow", "{\"slow\":true}"));
        cluster.resume();
    });
    eventually("an empty spool", || {
        admin::get(&server, "/metrics").contains("m0v_spool_telemetry_rows 0\n").then_some(())
    });
    all_there_once(&site, &answered);
    assert_eq!(site.telemetry().iter().filter(|row| row.device_id == "slow").count(), 1);
}

#[test]
fn without_a_spool_an_outage_is_said() {
    let site = Site::on_own_cluster(&format!("{CONFIG}\n[spool]\nenabled = false"));
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = site.start();
    succeeds(&post(&server, Version::Http2, "/devicetelemetry/m", "{}"));
    cluster.stop();
    let answer = post(&server, Version::Http2, "/devicetelemetry/m", "{}");
    assert!(answer.refusal(503, "Service Unavailable").contains("database unavailable"), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    cluster.restart();
    eventually("success", || {
        (post(&server, Version::Http2, "/devicetelemetry/m", "{}").status == 200).then_some(())
    });
}

#[test]
fn a_spool_that_fails_says_nothing_of_the_database() {
    let site = Site::on_own_cluster(CONFIG);
    let server = site.start();
    let spool = site.data_dir().join("spool/spool.sqlite");
    let spool = spool.to_str().expect("a path of ours is text");
    crate::harness::run_tool("sqlite3", &[spool, "ALTER TABLE telemetry RENAME TO elsewhere"]).succeeded();
    let answer = post(&server, Version::Http2, "/devicetelemetry/m", "{}");
    answer.refusal(503, "Service Unavailable");
    assert_eq!(site.telemetry().len(), 0, "nothing is written before its marks are read");
    let metrics = admin::get(&server, "/metrics");
    assert!(metrics.contains("m0v_store_up 1\n"), "{metrics}");
    assert!(!metrics.contains("m0v_store_errors_total{"), "{metrics}");
    assert!(!metrics.contains("m0v_spool_errors_total 0\n"), "{metrics}");
    crate::harness::run_tool("sqlite3", &[spool, "ALTER TABLE elsewhere RENAME TO telemetry"]).succeeded();
    succeeds(&post(&server, Version::Http2, "/devicetelemetry/m", "{}"));
}
