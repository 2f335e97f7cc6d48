//! The description against the server that serves it, judged by schemathesis: every route, with what
//! fits its schema and what does not.

use crate::{
    harness::{Engine, Site, finish, rounds},
    http::{Version, get},
};
use std::process::{Command, Stdio};

/// Judgements that are left out: JSON Schema cannot say "at most 128 bytes" or "no invisible
/// characters", so that what fits the schema may be refused with 400. Which is another's job.
const LEFT_OUT: &str = "positive_data_acceptance";

#[test]
fn a_schema_driven_tester_finds_nothing() {
    let manifest = env!("CARGO_MANIFEST_DIR");
    let made = Command::new(format!("{manifest}/tests/setup-venv.sh")).stdout(Stdio::null()).status();
    assert!(made.expect("starts setup-venv.sh").success());
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| format!("{manifest}/target"));
    let site = Site::with(
        Engine::Embedded,
        "[api]\nkey_value = \"a-key-of-the-test\"\nbroker_token = \"a-token-of-the-test\"",
    );
    let server = site.start();
    let mut command = Command::new(format!("{target}/venv/bin/schemathesis"));
    command.current_dir(site.folder());
    command.args(["--config-file", &format!("{manifest}/tests/peers/schemathesis.toml")]);
    command.args(["run", &format!("https://localhost:{}/openapi.json", server.api_addr().port())]);
    command.arg("--tls-verify").arg(server.ca_file());
    command.args(["--seed", "1732300000"]);
    command.args(["--max-examples", &rounds(15, 300).to_string(), "--phases", "examples,coverage,fuzzing"]);
    command.args([
        "--checks",
        "all",
        "--exclude-checks",
        LEFT_OUT,
        "--rate-limit",
        "auto",
        "--warnings",
        "off",
    ]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let said = finish(child.expect("schemathesis is installed"), "schemathesis").succeeded();
    let operations = get(&server, Version::Http2, "/openapi.json").json();
    let operations = operations["paths"].as_object().expect("paths").values();
    // It leaves out the description itself.
    let count = operations.map(|path| path.as_object().expect("operations").len()).sum::<usize>() - 1;
    assert!(said.contains(&format!("Tested: {count}\n")) && count >= 10, "all {count}: {said}");
}
