//! Devices at the real ports: the C clients of `firmware-notes/`, and the CC3220SF's hello.

use crate::harness::{Engine, Finished, Server, Site, eventually, finish};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const LINE: &str = r#"{"id":17,"timestamp":1732300000,"status":true,"voltage":231.4,"freq":49.98}"#;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project("target"), PathBuf::from)
}

/// Builds the C clients, once; returns the folder they are in.
fn clients() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let out = target().join("peers-it");
        std::fs::create_dir_all(&out).expect("makes a folder");
        for client in ["mbedtls-client", "wolfssl-client"] {
            let folder = project("firmware-notes").join(client);
            let out = format!("OUT={}", out.display());
            let made = Command::new("make").arg("-sC").arg(folder).arg(out).status().expect("starts make");
            assert!(made.success(), "make {client} failed: run scripts/test");
        }
        out
    })
}

fn client(server: &Server<'_>, name: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new(clients().join(name));
    command.args(["--host", "localhost", "--port", &server.meter_addr().port().to_string(), "--ca"]);
    command.arg(server.ca_file()).args(["--id", "17"]).args(arguments);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    finish(child.expect("starts the client"), name)
}

#[test]
fn mbedtls_and_wolfssl_meters_are_thanked() {
    let site = Site::with(Engine::Embedded, "[tls]\ncompat = \"rsa-kx\"");
    let server = site.start_with_device();
    let old = ["--tls10", "--cipher", "TLS_RSA_WITH_AES_256_CBC_SHA"];
    let runs: [(&str, &[&str]); 6] = [
        ("mbedtls-client", &[]),
        ("mbedtls-client", &["--mfl", "4096"]),
        ("mbedtls-client", &old),
        ("wolfssl-client", &[]),
        ("wolfssl-client", &["--tls12"]),
        ("wolfssl-client", &["--tls12", "--mfl", "512"]),
    ];
    for (name, arguments) in runs {
        let run = client(&server, name, &[arguments, &["--count", "2"]].concat());
        assert_eq!(run.code(), Some(0), "{name} {arguments:?}: {}", run.said());
    }
    eventually("six ends", || (server.stderr().matches(", 2 thanked, 0 refused").count() == 6).then_some(()));
    assert_eq!(server.stderr().matches("TLSv1.0 TLS_RSA_WITH_AES_256_CBC_SHA (weak)").count(), 1);
    assert!(server.stderr().contains("\"rsa-kx\" is weak"), "and it is said at start");
}

#[test]
fn the_cc3220sf_is_thanked_at_the_default_level() {
    let site = Site::new(Engine::Embedded);
    let server = site.start_with_device();
    let made = Command::new(project("tests/setup-venv.sh")).stdout(Stdio::null()).status();
    assert!(made.expect("starts setup-venv.sh").success());
    for variant in ["cc3220sf-1", "cc3220sf-2", "cc3220sf-3"] {
        let mut command = Command::new(target().join("venv/bin/python"));
        command.arg(project("tests/peers/hello_client.py"));
        command.args(["127.0.0.1", &server.meter_addr().port().to_string(), "--variant", variant, "--ca"]);
        command.arg(server.ca_file()).args(["--line", LINE]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let said = finish(child.expect("starts python"), variant).succeeded();
        for line in ["cipher: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "curve: secp256r1", "reply: Thank you"]
        {
            assert!(said.lines().any(|said| said == line), "{variant}: no {line:?}: {said}");
        }
    }
    assert_eq!(site.packets().len(), 3);
}
