//! `m0v.toml` and its environment (DESIGN §2.7): where values come from, how faults are told, what stays secret.

use crate::harness::{Engine, Finished, Site};
use std::fs;

on_both_stores![secrets_are_never_logged, keys_come_from_the_environment_too];

/// `EX_CONFIG` of sysexits.
const EXIT_CONFIG: i32 = 78;

/// Insists that one line of what was said names the file, the line and the key.
fn names(run: &Finished, line: usize, key: &str) {
    let said = run.said();
    let number = line.to_string();
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned).collect()
    };
    let told = said.lines().any(|text| {
        text.contains("m0v.toml") && words(text).contains(&number) && words(text).contains(&key.to_owned())
    });
    assert!(told, "no line names m0v.toml, {line} and {key}:\n{said}");
}

#[test]
fn all_faults_are_told_in_one_run_with_file_line_and_key() {
    let site = Site::new(Engine::Embedded);
    site.write_config(
        r#"data_dir = "data"
dta_dir = "data"
[meter]
listen = ["127.0.0.1"]
unknown_id = "perhaps"
replay = "Thank you"
[confirm]
visible = -1
[limits]
max_line = "long"
idle_timeout = 1.5
[log]
level = "loud"
[metre]
listen = []
"#,
    );
    for arguments in [&["serve"][..], &[], &["pub", "list"]] {
        let run = site.run(arguments);
        run.ended_with(EXIT_CONFIG);
        for (line, key) in [
            (2, "dta_dir"),
            (4, "listen"),
            (5, "unknown_id"),
            (6, "replay"),
            (8, "visible"),
            (10, "max_line"),
            (11, "idle_timeout"),
            (13, "level"),
            (14, "metre"),
        ] {
            names(&run, line, key);
        }
    }
    let check = site.run(&["check"]);
    assert!(matches!(check.code(), Some(1 | EXIT_CONFIG)), "{:?}", check.code());
    names(&check, 2, "dta_dir");
    assert!(!site.data_dir().join("m0v.sqlite").exists(), "nothing is made on a faulty configuration");
}

#[test]
fn text_that_is_not_toml_is_told_with_its_line() {
    let site = Site::new(Engine::Embedded);
    site.write_config("data_dir = \"data\"\n[meter\nlisten = []\n");
    let run = site.run(&["serve"]);
    run.ended_with(EXIT_CONFIG);
    assert!(run.said().contains("m0v.toml") && run.said().contains('2'), "{}", run.said());
}

#[test]
fn a_configuration_that_is_named_must_exist() {
    let site = Site::new(Engine::Embedded);
    fs::remove_file(site.config_file()).expect("removes m0v.toml");
    let run = site.run(&["serve"]);
    run.ended_with(EXIT_CONFIG);
    assert!(run.said().contains("m0v.toml"), "{}", run.said());
}

#[test]
fn faults_in_the_environment_are_told_by_name() {
    let site = Site::new(Engine::Embedded)
        .env("M0V_LIMITS__MAX_LINE", "long")
        .env("M0V_METER__LISTNE", "127.0.0.1:0")
        .env("M0V_COLOUR", "a name without two underscores is not ours");
    let run = site.run(&["serve"]);
    run.ended_with(EXIT_CONFIG);
    let said = run.said();
    assert!(said.contains("M0V_LIMITS__MAX_LINE"), "{said}");
    assert!(said.contains("M0V_METER__LISTNE"), "{said}");
    assert!(!said.contains("M0V_COLOUR"), "{said}");
}

fn keys_come_from_the_environment_too(engine: Engine) {
    let site = Site::with(engine, "[meter]\nreply = \"from the file\"")
        .env("M0V_METER__REPLY", "from the environment")
        .env("M0V_CONFIRM__LISTEN", "127.0.0.1:0,127.0.0.2:0");
    let server = site.start_with_device();
    assert_eq!(server.meter().ask(r#"{"id":17,"status":true}"#), "from the environment");
    assert_eq!(server.listeners()["confirm"].as_array().map(Vec::len), Some(2));
}

#[test]
fn every_key_parses_and_a_room_not_built_yet_is_said() {
    let site = Site::with(
        Engine::Embedded,
        r#"
[meter]
reply = "Thank you"
unknown_id = "reject"
client_cert = "off"
tls = true
proxy_protocol = "off"
trusted_proxies = []
[confirm]
reply = "OK"
visible = 86400
client_cert = "off"
tls = true
proxy_protocol = "off"
trusted_proxies = []
[api]
key_name = "api-key-name"
key_value = "xyzzy-key"
onboarding_token = "xyzzy-onboarding"
broker_token = "xyzzy-broker"
client_cert = "optional"
tls = true
proxy_protocol = "off"
trusted_proxies = []
[tunnel]
listen = ["127.0.0.1:0"]
allow = ["127.0.0.1:38981"]
[tls]
append_root = true
compat = "cc3220"
max_fragment = 4096
resumption = true
[database]
max_connections = 4
batch_max_rows = 1000
allow_unsafe = false
[spool]
enabled = true
max_bytes = 1073741824
[limits]
max_connections = 50000
max_connections_per_ip = 1000
handshake_timeout = 10
idle_timeout = 900
write_timeout = 30
max_line = 8192
[log]
format = "text"
"#,
    );
    let server = site.start_with_device();
    server.meter().thanked(r#"{"id":17,"status":true}"#);
    let said = server.stderr();
    assert!(server.listeners().get("tunnel").is_some() || said.contains("tunnel"), "{said}");
    assert!(!said.contains("xyzzy"), "{said}");
}

fn secrets_are_never_logged(engine: Engine) {
    let site = Site::with(
        engine,
        r#"
[api]
key_value = "xyzzy-key"
onboarding_token = "xyzzy-onboarding"
broker_token = "xyzzy-broker"
[acme]
eab_kid = "key-1"
eab_key = "eHl6enktZWFiLWtleQ"
[log]
level = "trace"
"#,
    );
    let mut server = site.start_with_device();
    let hash = 7_713_580_135_807_i64;
    let email = r#""email":"xyzzy@example.org""#;
    let line = format!(r#"{{"deviceName":"Movprov","ssid":"M0V","hash":{hash},{email}}}"#);
    assert_eq!(server.confirm().ask(line), "OK");
    server.meter().thanked(r#"{"id":17,"status":true}"#);
    server.restart();
    let key = fs::read_dir(site.data_dir().join("tls")).expect("reads the tls folder");
    let keys: Vec<String> = key
        .filter_map(|entry| fs::read_to_string(entry.expect("reads the tls folder").path()).ok())
        .filter(|text| text.contains("PRIVATE KEY"))
        .collect();
    assert!(!keys.is_empty());
    let check = site.run(&["check"]);
    let logs = fs::read_dir(site.folder()).expect("reads the folder");
    let mut said = check.said();
    for entry in logs {
        let path = entry.expect("reads the folder").path();
        if path.extension().is_some_and(|extension| extension == "log") {
            said += &fs::read_to_string(path).expect("reads a log");
        }
    }
    for secret in ["xyzzy-key", "xyzzy-onboarding", "xyzzy-broker", "eHl6enktZWFiLWtleQ"] {
        assert!(!said.contains(secret), "{secret} was logged");
    }
    for key in keys {
        let body = key.lines().nth(1).expect("a key has a body");
        assert!(!said.contains(body), "a private key was logged");
    }
    if let Some(password) = site.database().and_then(|database| password_of(database.url())) {
        for form in [password.replace("%2F", "/"), password] {
            assert!(!said.contains(&form), "the database's password was logged");
        }
    }
}

fn password_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (user, _) = rest.split_once('@')?;
    user.split_once(':').map(|(_, password)| password.to_owned())
}

#[test]
fn logs_go_to_files_and_are_rotated() {
    let extra = "[log]\ndir = \"logs\"\nrotate_bytes = 5000\nkeep = 2\nlevel = \"debug\"";
    let site = Site::with(Engine::Embedded, extra);
    let mut server = site.start_with_device();
    for _ in 0..60 {
        server.meter().thanked(r#"{"id":17,"status":true}"#);
    }
    assert_eq!(server.stop().code(), Some(0));
    let files: Vec<_> = fs::read_dir(site.folder().join("logs")).expect("the folder is made").collect();
    assert!((2..=4).contains(&files.len()), "{files:?}");
}

#[test]
fn one_line_is_logged_at_the_end_of_a_connection() {
    let site = Site::with(Engine::Embedded, "[log]\nlevel = \"info\"");
    let mut server = site.start_with_device();
    let mut meter = server.meter();
    let peer = meter.local_addr().to_string();
    meter.thanked(r#"{"id":17,"status":true}"#);
    meter.refused(r#"{"id":17}"#);
    meter.end_of_stream();
    meter.ends_properly();
    server.stop();
    let said = server.stderr();
    let about: Vec<&str> = said.lines().filter(|line| line.contains(&peer)).collect();
    assert_eq!(about.len(), 1, "one line about {peer}:\n{said}");
    assert!(about[0].contains("TLS"), "no word of the cipher: {}", about[0]);
}
