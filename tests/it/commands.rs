//! The commands of DESIGN §2.7 that exist so far, beside a running server and without one.

use crate::harness::{Engine, Site, eventually};
use std::{fs, net::TcpListener};

on_both_stores![
    devices_are_added_listed_and_shown_beside_a_running_server,
    an_id_or_hash_that_is_taken_is_refused,
    an_explicit_id_moves_the_sequence_past_it,
    check_is_content_with_a_good_site,
    a_second_server_on_the_same_data_dir_is_refused,
    listeners_json_names_every_bound_address,
    bare_m0v_serves,
];

fn devices_are_added_listed_and_shown_beside_a_running_server(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    for (id, hash) in [("41", "13580"), ("42", "-7")] {
        let hash = format!("--hash={hash}");
        assert!(site.run(&["pub", "add", "--id", id, &hash]).succeeded().contains(id));
    }
    let list = site.run(&["pub", "list"]).succeeded();
    for word in ["41", "13580", "42", "-7"] {
        assert!(list.contains(word), "{word} is not in:\n{list}");
    }
    let shown = site.run(&["pub", "show", "41"]).succeeded();
    assert!(shown.contains("41") && shown.contains("13580"), "{shown}");
    let unknown = site.run(&["pub", "show", "999"]);
    assert!(unknown.failed().stderr().contains("999"), "{}", unknown.stderr());
    server.meter().thanked(r#"{"id":42,"hash":-7,"status":true}"#);
    assert_eq!(site.pubs(), [(41, Some(13580)), (42, Some(-7))]);
}

fn an_id_or_hash_that_is_taken_is_refused(engine: Engine) {
    let site = Site::new(engine);
    let _server = site.start();
    site.run(&["pub", "add", "--id", "17", "--hash", "13580"]).succeeded();
    assert!(site.run(&["pub", "add", "--id", "17"]).failed().stderr().contains("17"));
    assert!(site.run(&["pub", "add", "--hash", "13580"]).failed().stderr().contains("13580"));
    for arguments in [["--id", "0"], ["--id", "x"], ["--hash", "1.5"], ["--colour", "1"]] {
        site.run(&["pub", "add", arguments[0], arguments[1]]).failed();
    }
    assert_eq!(site.pubs(), [(17, Some(13580))]);
}

fn an_explicit_id_moves_the_sequence_past_it(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    site.run(&["pub", "add"]).succeeded();
    site.add_pub(41);
    site.run(&["pub", "add"]).succeeded();
    site.add_pub(20);
    let confirmation = r#"{"deviceName":"Movprov","ssid":"M0V","hash":13580}"#;
    assert_eq!(server.confirm().ask(confirmation), "OK");
    let ids: Vec<_> = site.pubs().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 5, "{ids:?}");
    assert!(ids.contains(&20) && ids.contains(&41), "{ids:?}");
    assert_eq!(ids.iter().filter(|id| **id > 41).count(), 2, "{ids:?}");
}

fn check_is_content_with_a_good_site(engine: Engine) {
    let site = Site::new(engine);
    let mut server = site.start();
    site.run(&["check"]).succeeded();
    server.stop();
    let said = site.run(&["check"]).succeeded();
    assert!(said.lines().count() > 1, "one line each:\n{said}");
}

#[test]
fn check_ends_with_1_on_any_fault() {
    for (extra, word) in [
        ("[tls]\nchain = \"nowhere.pem\"\nkey = \"nowhere.key\"", "nowhere.pem"),
        ("[database]\nurl = \"postgres://m0v@127.0.0.1:1/m0v\"", "127.0.0.1:1"),
    ] {
        let site = Site::with(Engine::Embedded, extra);
        let check = site.run(&["check"]);
        check.ended_with(1);
        let said = check.said();
        assert!(said.contains(word) || said.contains("database"), "no {word} in:\n{said}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("takes a port");
    let addr = taken.local_addr().expect("has an address").to_string();
    let site = Site::with(Engine::Embedded, &format!("[meter]\nlisten = [\"{addr}\"]"));
    let check = site.run(&["check"]);
    assert!(check.ended_with(1).said().contains(&addr), "{}", check.said());
}

#[test]
fn check_takes_the_ports_of_its_own_running_server_for_granted() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("finds a port");
    let site = Site::with(Engine::Embedded, &format!("[meter]\nlisten = [\"{free}\"]"));
    let server = site.start();
    assert_eq!(server.meter_addr(), free);
    site.run(&["check"]).succeeded();
}

fn a_second_server_on_the_same_data_dir_is_refused(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    let listeners = fs::read(site.data_dir().join("listeners.json")).expect("reads listeners.json");
    let second = site.run(&["serve"]);
    let said = second.failed().said();
    assert!(said.contains("data"), "the folder is not named:\n{said}");
    assert_eq!(fs::read(site.data_dir().join("listeners.json")).expect("still there"), listeners);
    server.meter().thanked(r#"{"id":17,"status":true}"#);
}

fn listeners_json_names_every_bound_address(engine: Engine) {
    let site = Site::with(engine, "[meter]\nlisten = [\"127.0.0.1:0\", \"127.0.0.2:0\"]");
    let server = site.start_with_device();
    let listeners = server.listeners();
    assert_eq!(listeners["meter"].as_array().map(Vec::len), Some(2), "{listeners}");
    assert_eq!(listeners["confirm"].as_array().map(Vec::len), Some(1), "{listeners}");
    assert_eq!(listeners["admin"].as_array().map(Vec::len), Some(1), "{listeners}");
    for addr in listeners["meter"].as_array().into_iter().flatten() {
        let text = addr.as_str().expect("addresses are strings");
        assert!(!text.ends_with(":0"), "{text} is no bound address");
        assert!(server.stderr().contains(text), "{text} is not in the log");
        let addr = text.parse().expect("an address");
        let mut meter = crate::client::Client::connect(addr, &server.ca_pem());
        meter.thanked(r#"{"id":17,"status":true}"#);
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_its_likely_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("takes a port");
    let addr = taken.local_addr().expect("has an address").to_string();
    let site = Site::with(Engine::Embedded, &format!("[meter]\nlisten = [\"{addr}\"]"));
    let serve = site.run(&["serve"]);
    let said = serve.failed().said();
    assert!(said.contains(&addr), "{said}");
    assert!(said.contains("ephemeral"), "{said}");
}

fn bare_m0v_serves(engine: Engine) {
    let site = Site::new(engine);
    let mut child = site.command(&[]).stderr(std::process::Stdio::null()).spawn().expect("starts m0v");
    eventually("listeners.json", || site.data_dir().join("listeners.json").exists().then_some(()));
    child.kill().and_then(|()| child.wait()).expect("m0v ends");
}

#[test]
fn the_open_file_limit_is_raised_to_the_hard_limit() {
    let site = Site::new(Engine::Embedded).wrapped_in(&["prlimit", "--nofile=256:512"]);
    let server = site.start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("reads the limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    assert_eq!(line.split_whitespace().nth(3), Some("512"), "{line}");
}

#[test]
fn what_is_wrong_on_the_command_line_is_told() {
    let site = Site::new(Engine::Embedded);
    for arguments in [&["serv"][..], &["--colour"], &["pub"], &["pub", "ad"], &["pub", "show"]] {
        let run = site.run(arguments);
        assert!(!run.failed().stderr().is_empty());
    }
    for arguments in [&["--help"][..], &["--version"], &["pub", "--help"]] {
        assert!(!site.run(arguments).succeeded().is_empty());
    }
}
