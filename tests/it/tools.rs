//! The commands that look at files alone: `m0v hello` and `m0v chain`, and what `m0v check` says of trust.

use crate::certificates::Authority;
use crate::harness::{Engine, Site, run_tool};
use rcgen::PKCS_RSA_SHA256;
use std::fs;

#[test]
fn a_recorded_hello_is_explained() {
    let site = Site::new(Engine::Embedded);
    site.write_config("this is no configuration");
    let hello = |name| format!("{}/tests/hellos/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let said = site.run(&["hello", &hello("cc3220sf-1")]).succeeded();
    for line in [
        "version: TLS 1.2 at most",
        "  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "groups: none named (no supported_groups); P-256 is taken for granted",
        "compat = \"strict\": refused (alert 40): rustls needs the extension supported_groups",
        "compat = \"cc3220\": served by s2n-tls, likely TLS 1.2 with TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    ] {
        assert!(said.lines().any(|said| said == line), "no line {line:?}:\n{said}");
    }
    let said = site.run(&["hello", &hello("rsa-kx-bare")]).succeeded();
    assert!(
        said.contains("\"rsa-kx\": served by s2n-tls, likely TLS 1.2 with TLS_RSA_WITH_AES_256_CBC_SHA"),
        "{said}"
    );
    assert!(site.run(&["hello", "/nowhere"]).failed().said().contains("cannot be read"));
}

#[test]
fn a_chain_is_assembled_and_verified_or_every_fault_is_named() {
    let site = Site::new(Engine::Embedded);
    let (authority, other) = (Authority::new(), Authority::new());
    let file = |name: &str, text: &str| {
        let path = site.folder().join(name);
        fs::write(&path, text).expect("writes a file");
        path.to_string_lossy().into_owned()
    };
    let leaf_of = |authority: &Authority, algorithm, to| {
        let issued = authority.issue(site.folder(), algorithm, 2000, to);
        let chain = fs::read_to_string(&issued.chain).expect("reads a chain");
        chain.strip_suffix(&authority.pem).expect("ends in its root").to_owned()
    };
    let (middle, issuer) = authority.intermediate("middle");
    let leaf = file("leaf.pem", &leaf_of(&issuer, &PKCS_RSA_SHA256, 4000));
    let (ca, root) = (file("ca.pem", &middle), file("root.pem", &authority.pem));

    let chain = site.run(&["chain", &leaf, &ca, &root]).succeeded();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 3);
    let whole = file("whole.pem", &chain);
    run_tool("openssl", &["verify", "-CAfile", &root, "-untrusted", &whole, &whole]).succeeded();

    let stranger = file("stranger.pem", &other.pem);
    let said = site.run(&["chain", &leaf, &ca, &stranger]).failed().said();
    assert!(said.contains("CN=middle is not signed by"), "{said}");
    let bad = file("bad.pem", &leaf_of(&other, &PKCS_RSA_SHA256, 2001));
    let said = site.run(&["chain", &bad, &ca, &leaf]).failed().said();
    for words in ["expired", "is not signed by CN=middle", "is no CA certificate"] {
        assert!(said.contains(words), "no {words:?}: {said}");
    }
    let said = site.run(&["chain", &whole, "/nowhere", &root]).failed().said();
    assert!(
        said.contains("holds 3 certificates; one is wanted here")
            && said.contains("/nowhere: cannot be read"),
        "{said}"
    );
}

#[test]
fn check_says_what_a_device_must_hold() {
    let site = Site::new(Engine::Embedded).without_certificates();
    drop(site.start());
    let ca = site.data_dir().join("tls/ca.pem");
    let said = site.run(&["check"]).succeeded();
    let fingerprint = |digest: &str| {
        let said =
            run_tool("openssl", &["x509", "-in", &ca.to_string_lossy(), "-noout", "-fingerprint", digest])
                .succeeded();
        said.split('=').nth(1).expect("a fingerprint").trim().replace(':', "").to_lowercase()
    };
    for words in [
        format!("ok: device: root SHA-1 {}", fingerprint("-sha1")),
        format!("ok: device: root SHA-256 {}", fingerprint("-sha256")),
        "data/tls/ca.pem".to_owned(),
        "may verify the name localhost, 127.0.0.1, ::1".to_owned(),
        "ok: chain: leaf O=m0v, CN=".to_owned(),
        "ok: chain: root O=m0v, CN=m0v local CA".to_owned(),
    ] {
        assert!(said.contains(&words), "no {words:?}:\n{said}");
    }
    site.configure("[tls]\ncompat = \"rsa-kx\"");
    assert!(site.run(&["check"]).succeeded().contains("\"rsa-kx\" is weak"));
}

#[test]
fn check_warns_of_an_early_end_and_of_a_missing_root() {
    let site = Site::new(Engine::Embedded);
    let authority = Authority::new();
    let files = authority.issue(site.folder(), &PKCS_RSA_SHA256, 2000, 4000);
    let chain = fs::read_to_string(&files.chain).expect("reads the chain");
    fs::write(&files.chain, chain.strip_suffix(&authority.pem).expect("ends in its root"))
        .expect("writes it");
    site.configure(&files.config());
    let said = site.run(&["check"]).succeeded();
    assert!(said.contains("warning: device: the chain is served without a root"), "{said}");
}
