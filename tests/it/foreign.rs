//! Judged with tools we did not write, and with the client we ship.

use crate::harness::{Engine, Finished, PATIENCE, Server, Site, finish, run_tool};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

on_both_stores![
    openssl_sends_a_packet_and_verifies_the_chain,
    openssl_sends_a_packet_over_tls_1_2,
    a_reading_is_found_with_the_database_s_own_tool,
    curl_asks_the_admin_port,
    the_shipped_client_plays_the_whole_story,
];

fn openssl_sends_a_packet_and_verifies_the_chain(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    assert_eq!(openssl_says(&server, &["-tls1_3"]), "Thank you");
    assert_eq!(site.only_packet().voltage, Some(231.4));
}

fn openssl_sends_a_packet_over_tls_1_2(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    assert_eq!(openssl_says(&server, &["-tls1_2"]), "Thank you");
    let suites = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-curves", "P-256"];
    assert_eq!(openssl_says(&server, &suites), "Thank you");
    assert_eq!(site.packets().len(), 2);
}

/// Sends a packet with `openssl s_client`, which ends unless the chain verifies, and returns the reply.
fn openssl_says(server: &Server<'_>, options: &[&str]) -> String {
    let mut child = Command::new("timeout")
        .arg(PATIENCE.as_secs().to_string())
        .args(["openssl", "s_client", "-quiet", "-verify_return_error", "-verify_hostname", "localhost"])
        .args(["-servername", "localhost", "-connect", &server.meter_addr().to_string(), "-CAfile"])
        .arg(server.ca_file())
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed: run scripts/test");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    writeln!(stdin, r#"{{"id":17,"status":true,"voltage":231.4}}"#).expect("openssl takes a line");
    let mut reply = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
    stdout.read_line(&mut reply).expect("the reply is text");
    if reply.is_empty() {
        let run: Finished = finish(child, "openssl s_client");
        panic!("openssl got no reply: {}", run.stderr());
    }
    drop(stdin);
    child.kill().and_then(|()| child.wait()).expect("openssl ends");
    reply.trim_end().to_owned()
}

fn a_reading_is_found_with_the_database_s_own_tool(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start_with_device();
    server.meter().thanked(
        r#"{"id":17,"timestamp":1732300000,"status":true,"voltage":231.4,"freq":49.98,"seq":3,"fw":"1.0"}"#,
    );
    match site.database() {
        None => {
            let file = site.sqlite_file();
            let sql = "SELECT pub_id, created_at, voltage, frequency, protected, seq, \
                       json_extract(extra, '$.fw') FROM packet";
            let found = run_tool("sqlite3", &["-readonly", &file.to_string_lossy(), sql]).succeeded();
            assert_eq!(found.trim(), "17|1732300000000000|231.4|49.98|1|3|1.0");
        }
        Some(database) => {
            let sql = "SELECT pub_id, created_at AT TIME ZONE 'UTC', voltage, frequency, protected, seq, \
                       extra->>'fw' FROM packet";
            let found = run_tool("psql", &["-XAtq", "-d", database.url(), "-c", sql]).succeeded();
            assert_eq!(found.trim(), "17|2024-11-22 18:26:40|231.4|49.98|t|3|1.0");
            let sql = "SELECT relkind FROM pg_class WHERE relname = 'packet'";
            let kind = run_tool("psql", &["-XAtq", "-d", database.url(), "-c", sql]).succeeded();
            assert_eq!(kind.trim(), "p", "packet is partitioned from the first schema");
        }
    }
}

fn curl_asks_the_admin_port(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    for path in ["healthz", "readyz"] {
        let url = format!("http://{}/{path}", server.admin_addr());
        run_tool("curl", &["--silent", "--show-error", "--fail", "--max-time", "60", &url]).succeeded();
    }
}

fn the_shipped_client_plays_the_whole_story(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let ports = (server.meter_addr().port(), server.confirm_addr().port());
    let client = |arguments: &[&str]| shipped_client(&site, ports, arguments);

    let said = client(&["--count", "3"]).succeeded();
    assert_eq!(said.matches("< Thank you").count(), 3, "{said}");
    assert_eq!(site.packets().len(), 3);
    let id = site.pubs()[0].0.to_string();
    client(&["packet", "--id", &id, "--voltage", "229.5", "--status", "false"]).succeeded();
    assert_eq!(site.packets().last().map(|row| (row.voltage, row.protected)), Some((Some(229.5), false)));

    let refused = client(&["packet", "--id", "4711"]);
    assert!(refused.failed().said().contains("!OK unknown id 4711"), "{}", refused.said());
    let nobody = shipped_client(&site, (1, 1), &[]);
    assert!(nobody.failed().stderr().contains("nothing listens on 127.0.0.1:1"), "{}", nobody.stderr());
}

/// Runs `examples/client.rs` against the meter and the confirm port.
fn shipped_client(site: &Site, ports: (u16, u16), arguments: &[&str]) -> Finished {
    let mut run = client_command(site, ports, arguments);
    let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts the client");
    finish(child, "the client")
}

/// The same, ready to run.
pub(crate) fn client_command(site: &Site, ports: (u16, u16), arguments: &[&str]) -> Command {
    let cargo = |verb| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([verb, "--quiet", "--locked", "--example", "client"]);
        cargo.args((!cfg!(debug_assertions)).then_some("--release"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        cargo
    };
    // Apart, because a build has no deadline.
    assert!(cargo("build").status().expect("starts cargo").success(), "the client builds");
    let (meter, confirm) = (ports.0.to_string(), ports.1.to_string());
    let mut run = cargo("run");
    run.args(["--", "--meter-port", &meter, "--confirm-port", &confirm, "--ca"]);
    run.arg(site.data_dir().join("tls/ca.pem")).args(arguments);
    run
}
