//! CAs and a PKI that the owner brings along, and what `m0v check` says of them.

use crate::{
    authority::{mode, openssl, path, refused, self_signed},
    harness::{Engine, Finished, Site, eventually, run_tool},
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

#[test]
fn the_issuer_may_be_a_folder_of_the_owners() {
    let site = Site::new(Engine::Embedded);
    site.configure("[api]\nissuer_ca = \"mine\"");
    refused(&site.run(&["cert", "issue", "d"]), "mine/ca.cert.pem: cannot be read");
    let mine = site.folder().join("mine");
    fs::create_dir(&mine).expect("makes a folder");
    openssl(
        &site,
        "req -x509 -newkey rsa:2048 -nodes -keyout mine/ca.private_key.pem -out mine/ca.cert.pem -days 40 \
         -subj /C=DE/O=Own/CN=mine -addext keyUsage=critical,keyCertSign",
    )
    .succeeded();
    site.run(&["cert", "issue", "d", "--out", &path(&site, "out")]).succeeded();
    openssl(&site, "verify -purpose sslclient -CAfile mine/ca.cert.pem out/certificate.pem").succeeded();
    let lives_longer = openssl(&site, "x509 -in out/certificate.pem -noout -checkend 3542400");
    assert_eq!(lives_longer.code(), Some(1), "no longer than its CA");
    assert!(!site.data_dir().join("ca").exists(), "nothing is made");

    let key = mine.join("ca.private_key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("opens the key");
    let said = site.run(&["check"]).ended_with(1).stdout();
    assert!(said.contains("fault: ca: ") && said.contains("is open to other users; make it 0600"), "{said}");
    assert!(said.contains("CN=mine issues certificates from"), "{said}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("closes it");
    assert!(site.run(&["check"]).succeeded().contains("warning: ca: C=DE, O=Own, CN=mine"), "it ends soon");
    self_signed(&site, "other", "-days 30");
    fs::copy(site.folder().join("other.key"), &key).expect("writes a key");
    refused(&site.run(&["cert", "issue", "e"]), "is not the key of the ca.cert.pem beside it");
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n").expect("writes a key");
    let said = site.run(&["cert", "issue", "e"]).failed().said();
    assert!(said.contains("holds no private key that can sign"), "{said}");
}

#[test]
fn check_says_what_is_open_and_how_to_close_it() {
    let site = Site::new(Engine::Embedded);
    let said = site.run(&["check"]).succeeded();
    for words in [
        "warning: open: [meter] takes any device, by the id or hash it sends",
        "warning: open: [confirm] takes anybody's confirmations",
        "client_cert = \"optional\" protects devices that have a certificate, \"required\" closes the port",
        "warning: open: /register is open",
        "ok: open: [api] answers anybody on /confo",
        "ok: open: [api] no key_value: ",
        "ok: ca: the CA that issues certificates is made at first use: ",
    ] {
        assert!(said.contains(words), "no {words:?}: {said}");
    }
    assert!(!site.data_dir().join("ca").exists(), "check makes nothing");
    site.configure(
        "[meter]\nclient_cert = \"required\"\n[api]\nkey_value = \"k-123456789012345678901234\"\nbroker_token = \"b\"",
    );
    self_signed(&site, "soon", "-days 30");
    site.run(&["ca", "add", &path(&site, "soon.pem")]).succeeded();
    site.run(&["cert", "issue", "one"]).succeeded();
    let said = site.run(&["check"]).succeeded();
    for words in [
        "ok: open: [meter] takes only clients with an accepted certificate",
        "warning: config: [api] broker_token: fewer than 17 characters can be guessed",
        "warning: ca: CN=soon (",
        "prepare devices for the one that follows it",
        "ok: ca: CN=m0v CA ",
        "new ones once approved",
    ] {
        assert!(said.contains(words), "no {words:?}: {said}");
    }
    assert!(!said.contains("no key_value"), "{said}");
}

/// The throw-away PKI of the examples.
pub(crate) fn make_pki(out: &Path, days: &str) -> Finished {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/make-pki.sh");
    run_tool("sh", &[&script.to_string_lossy(), &out.to_string_lossy(), days])
}

#[test]
fn the_examples_pki_is_served_and_accepted() {
    let site = Site::new(Engine::Embedded);
    let pki = site.folder().join("pki");
    make_pki(&pki, "30").succeeded();
    for name in ["root", "server", "client", "proxy"] {
        assert_eq!(mode(pki.join(format!("{name}.key"))), 0o600, "{name}");
    }
    let again = make_pki(&pki, "30");
    assert!(again.ended_with(1).said().contains("exists; remove it"), "{}", again.said());
    make_pki(&site.folder().join("x"), "soon").ended_with(64);
    assert!(!site.folder().join("x").exists());

    site.configure(
        "[tls]\nchain = \"pki/server-chain.pem\"\nkey = \"pki/server.key\"\n[meter]\nclient_cert = \"required\"",
    );
    let server = site.start();
    let root = pki.join("root.pem").to_string_lossy().into_owned();
    let said = send(&server.meter_addr().to_string(), &pki, "client");
    assert!(said.contains("Verify return code: 0 (ok)"), "the chain is served: {said}");
    assert!(!said.contains("Thank you"), "nobody knows the device: {said}");
    site.run(&["ca", "add", &root]).succeeded();
    eventually("the device just in time", || {
        send(&server.meter_addr().to_string(), &pki, "client").contains("Thank you").then_some(())
    });
    let said = site.run(&["device", "list"]).succeeded();
    assert!(said.starts_with("\"meter-17\" active, id "), "{said}");
}

/// Sends one reading over a certificate of the PKI, with openssl; returns everything it says.
fn send(address: &str, pki: &Path, who: &str) -> String {
    let file = |name: &str| pki.join(name).to_string_lossy().into_owned();
    let (root, certificate, key) =
        (file("root.pem"), file(&format!("{who}.pem")), file(&format!("{who}.key")));
    let mut child = Command::new("timeout")
        .args([
            "20",
            "openssl",
            "s_client",
            "-connect",
            address,
            "-servername",
            "localhost",
            "-CAfile",
            &root,
        ])
        .args(["-cert", &certificate, "-key", &key, "-ign_eof"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts openssl");
    let mut stdin = child.stdin.take().expect("a pipe");
    let reading = "{\"status\":true,\"voltage\":230.1,\"freq\":50}\n";
    stdin.write_all(reading.as_bytes()).ok();
    let said = child.stdout.take().expect("a pipe");
    let (mut text, mut lines) = (String::new(), BufReader::new(said));
    while lines.read_line(&mut text).is_ok_and(|read| read > 0) {
        if text.contains("Thank you") || text.contains("!OK") {
            break;
        }
    }
    child.kill().ok();
    child.wait().expect("ends");
    text
}
