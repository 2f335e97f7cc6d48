//! The description against the server that serves it, judged by schemathesis: every route, with what
//! fits its schema and what does not, and every route to its success.

use crate::{
    harness::{Engine, Server, Site, finish, rounds},
    http::{Version, curl, get},
    pki::{Card, self_signed},
};
use m0v::store::devices::Role;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
};

/// Judgements that are left out: JSON Schema cannot say "at most 128 bytes" or "no invisible
/// characters", so that what fits the schema may be refused with 400. Which is another's job.
const LEFT_OUT: &str = "positive_data_acceptance";

/// All routes are there, and take what `tests/peers/schemathesis.toml` shows.
const CONFIG: &str = "[api]\nkey_value = \"a-key-of-the-test\"\nbroker_token = \"a-token-of-the-test\"";

#[test]
fn a_schema_driven_tester_finds_nothing_and_reaches_everything() {
    let site = Site::with(Engine::Embedded, CONFIG);
    let server = site.start();
    let described = with_examples(&site, &server, get(&server, Version::Http2, "/openapi.json").json());
    let operations: BTreeSet<_> =
        operations(&described).into_iter().filter(|(_, path)| path != "/openapi.json").collect();
    assert_eq!(operations.len(), 20);

    let by_key = Run { name: "by key", only: None, card: None, has_key: true };
    let mut succeeded = by_key.succeeds(&site, &server, &described);
    let service = self_signed(site.folder(), "back office");
    service.list(&site, "back office", Role::Service);
    let by_card =
        Run { name: "by certificate", only: Some(AS_SERVICE), card: Some(&service), has_key: false };
    succeeded.extend(by_card.succeeds(&site, &server, &described));

    let never: Vec<_> = operations.difference(&succeeded).collect();
    let superuser = ("post".to_owned(), "/mqtt/superuser".to_owned());
    assert_eq!(never, [&superuser], "everything succeeds but what is always denied");
}

/// What a certificate of the role `service` is for, and `GET /`, which is for certificates alone.
const AS_SERVICE: &str = "^/($|devicecert|syncdevicecert|devicetelemetry$|forward)";

/// One run of schemathesis.
struct Run<'a> {
    name: &'static str,
    only: Option<&'static str>,
    card: Option<&'a Card>,
    has_key: bool,
}

impl Run<'_> {
    /// Insists that nothing is found; the operations that were answered with success.
    fn succeeds(&self, site: &Site, server: &Server<'_>, described: &Value) -> BTreeSet<(String, String)> {
        let manifest = env!("CARGO_MANIFEST_DIR");
        let made = Command::new(format!("{manifest}/tests/setup-venv.sh")).stdout(Stdio::null()).status();
        assert!(made.expect("starts setup-venv.sh").success());
        let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| format!("{manifest}/target"));
        let (file, report) = (site.folder().join("openapi.json"), site.folder().join("report.har"));
        let mut described = described.clone();
        if !self.has_key {
            described["components"]["securitySchemes"].as_object_mut().expect("schemes").remove("apiKey");
            forget_keys(&mut described);
        }
        fs::write(&file, described.to_string()).expect("writes the description");
        let mut command = Command::new(format!("{target}/venv/bin/schemathesis"));
        command.current_dir(site.folder());
        command.args(["--config-file", &format!("{manifest}/tests/peers/schemathesis.toml"), "run"]);
        command.arg(&file).args(["--url", &format!("https://localhost:{}", server.api_addr().port())]);
        command.arg("--tls-verify").arg(server.ca_file());
        command.args(["--seed", "1732300000", "--max-examples", &rounds(15, 300).to_string()]);
        command.args(["--phases", "examples,coverage,fuzzing", "--checks", "all"]);
        command.args(["--exclude-checks", LEFT_OUT, "--rate-limit", "auto", "--warnings", "off"]);
        command.arg("--report-har-path").arg(&report);
        if let Some(only) = self.only {
            command.args(["--include-path-regex", only]);
        }
        if let Some(card) = self.card {
            command.arg("--request-cert").arg(&card.cert).arg("--request-cert-key").arg(&card.key);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        finish(child.expect("schemathesis is installed"), self.name).succeeded();
        let report = fs::read_to_string(report).expect("its report");
        successes(&serde_json::from_str(&report).expect("a report in JSON"), &operations(&described))
    }
}

/// Method and path of all that is described.
fn operations(described: &Value) -> Vec<(String, String)> {
    let paths = described["paths"].as_object().expect("paths");
    let all = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().expect("operations").keys().map(move |method| (method.clone(), path.clone()))
    });
    all.collect()
}

/// Nobody shows a key in this run, so it is no way in that could be tried without.
fn forget_keys(described: &mut Value) {
    let paths = described["paths"].as_object_mut().expect("paths").values_mut();
    for operation in paths.flat_map(|path| path.as_object_mut().expect("operations").values_mut()) {
        if let Some(ways) = operation.get_mut("security").and_then(Value::as_array_mut) {
            ways.retain(|way| way.get("apiKey").is_none());
        }
    }
}

/// Which operations a report has an answer of 2xx for.
fn successes(report: &Value, operations: &[(String, String)]) -> BTreeSet<(String, String)> {
    let entries = report["log"]["entries"].as_array().expect("entries").iter();
    let answered =
        entries.filter(|entry| entry["response"]["status"].as_u64().is_some_and(|it| it / 100 == 2));
    let found = answered.filter_map(|entry| {
        let method = entry["request"]["method"].as_str()?.to_lowercase();
        let url = entry["request"]["url"].as_str()?;
        let path = url.splitn(4, '/').nth(3)?.split(['?', '#']).next()?;
        let is_it = |described: &str| {
            let (parts, described) = (path.split('/'), described.trim_start_matches('/').split('/'));
            parts.clone().count() == described.clone().count()
                && parts.zip(described).all(|(part, name)| name.starts_with('{') || part == name)
        };
        operations.iter().find(|(its, described)| *its == method && is_it(described)).cloned()
    });
    found.collect()
}

/// Puts in what only this site knows: an account, a certificate, a confirmation.
fn with_examples(site: &Site, server: &Server<'_>, mut described: Value) -> Value {
    let hash = r#"{"deviceName":"Movprov","ssid":"M0V","hash":13580}"#;
    assert_eq!(server.confirm().ask(hash), "OK");
    let json = "content-type: application/json";
    let account = curl(server, Version::Http2, "/register", &["-H", json, "-d", "{}"]).json();
    let (name, password) = (account["username"].clone(), account["password"].clone());
    let own = self_signed(site.folder(), "synced");
    let topic = format!("{}/state", name.as_str().expect("a name"));
    for (path, example) in [
        ("/", json!({"identity": account["identity"]})),
        (
            "/syncdevicecert",
            json!({"deviceId": "synced", "certificateId": own.id, "certificatePem": own.pem}),
        ),
        ("/mqtt/user", json!({"username": name, "password": password})),
        ("/mqtt/auth", json!({"username": name, "password": password})),
        ("/mqtt/micro", json!({"username": name, "password": password})),
        ("/mqtt/acl", json!({"username": name, "topic": topic, "acc": 2})),
    ] {
        let contents = &mut described["paths"][path]["post"]["requestBody"]["content"];
        for content in contents.as_object_mut().expect("a body").values_mut() {
            content["example"] = example.clone();
        }
    }
    described
}
