//! A certificate from a CA: the built binary against the real `pebble`, judged by openssl.

use crate::{
    admin::get,
    client::Client,
    harness::{Engine, Finished, PATIENCE, Server, Site, eventually, run_tool},
    pebble::{self, Mischief, Pebble},
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What m0v asks this pebble for. The name is `localhost` because clients verify that.
pub(crate) fn config(ca: &pebble::Site, challenge: &str) -> String {
    let listen = match challenge {
        "http-01" => format!("listen_http = [\"127.0.0.1:{}\"]", ca.http_port),
        _ => format!("listen_tls_alpn = [\"127.0.0.1:{}\"]", ca.tls_port),
    };
    let (directory, ca_file) = (ca.directory(), ca.ca_file());
    format!(
        "[tls]\nroots = \"roots\"\n[acme]\ndomains = [\"localhost\"]\ncontact = [\"mailto:ops@example.org\"]\n\
         directory = {directory:?}\nca_file = {ca_file:?}\n{listen}\n"
    )
}

/// A site with an empty folder for roots.
pub(crate) fn site(ca: &pebble::Site, challenge: &str) -> Site {
    let site = Site::with(Engine::Embedded, &config(ca, challenge));
    fs::create_dir(site.folder().join("roots")).expect("makes the roots folder");
    site
}

/// Puts the root that pebble issues under where `[tls] roots` points.
pub(crate) fn trust(site: &Site, pebble: &Pebble) -> String {
    fs::create_dir_all(site.folder().join("roots")).expect("makes the roots folder");
    let root = pebble.root(0);
    fs::write(root_file(site), &root).expect("writes the root");
    root
}

fn root_file(site: &Site) -> PathBuf {
    site.folder().join("roots/pebble.pem")
}

/// The chain a client gets that trusts `root` alone; `None` if it is not served one of those.
pub(crate) fn chain(server: &Server<'_>, root: &str) -> Option<Vec<Vec<u8>>> {
    let client = Client::try_connect(server.meter_addr(), root.as_bytes()).ok()?;
    Some(client.server_chain().iter().map(|der| der.to_vec()).collect())
}

pub(crate) fn served(server: &Server<'_>, root: &str) -> Vec<Vec<u8>> {
    eventually("the certificate from the CA", || chain(server, root))
}

/// Has openssl look at what is served: it verifies, is RSA, and comes with its root.
fn judge(address: SocketAddr, root: &Path) {
    let script = format!(
        "openssl s_client -connect {address} -servername localhost -showcerts -verify_return_error \
         -verify_hostname localhost -tls1_2 -CAfile '{}' </dev/null",
        root.display()
    );
    let said = run_tool("sh", &["-c", &script]).succeeded();
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    assert_eq!(said.matches("BEGIN CERTIFICATE").count(), 3, "leaf, intermediate, root: {said}");
    assert_eq!(said.matches("a:PKEY: rsaEncryption, 2048 (bit)").count(), 3, "{said}");
    assert!(said.contains("sigalg: RSA-SHA256"), "{said}");
}

/// A device of s2n-tls' kind that sends its second line once `file` is there.
struct Device {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Device {
    fn connect(server: &Server<'_>, ca: &Path, wait_for: &Path) -> Self {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let made = Command::new(project.join("tests/setup-venv.sh")).status().expect("starts a script");
        assert!(made.success(), "tests/setup-venv.sh failed");
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project.join("target"), PathBuf::from);
        let mut child = Command::new("timeout")
            .arg(PATIENCE.as_secs().to_string())
            .arg(target.join("venv/bin/python"))
            .arg(project.join("tests/peers/hello_client.py"))
            .args(["127.0.0.1", &server.meter_addr().port().to_string(), "--variant", "cc3220sf-1", "--ca"])
            .arg(ca)
            .args(["--name", "localhost", "--line", LINE, "--line", LINE, "--wait-for"])
            .arg(wait_for)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts the device");
        let said = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut device = Self { child, said };
        device.hears_thanks();
        device
    }

    fn hears_thanks(&mut self) {
        let mut all = String::new();
        while self.said.read_line(&mut all).expect("the device says text") > 0 {
            if all.ends_with("reply: Thank you\n") {
                return;
            }
        }
        panic!("no thanks: {all}");
    }

    /// The file is there: the same connection must be thanked again.
    fn goes_on(mut self) {
        self.hears_thanks();
        assert!(self.child.wait().expect("the device ends").success());
    }
}

const LINE: &str = r#"{"id":17,"status":true}"#;

pub(crate) fn readyz(server: &Server<'_>) -> String {
    get(server, "/readyz")
}

/// A metric's value.
fn metric(server: &Server<'_>, name: &str) -> i64 {
    let text = get(server, "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a whole number")
}

pub(crate) fn check(site: &Site) -> Finished {
    site.run(&["check"])
}

#[test]
fn serves_the_local_certificate_until_a_ca_that_was_down_issues_the_real_one() {
    let ca = pebble::Site::new();
    let site = site(&ca, "http-01");
    let server = site.start_with_device();
    let local = server.ca_file();
    // The real root is not there yet: the local CA's is what devices can verify.
    let mut modern = server.meter();
    modern.thanked(LINE);
    let renewed = site.folder().join("renewed");
    let old = Device::connect(&server, &local, &renewed);
    assert!(readyz(&server).starts_with("HTTP/1.1 503"), "{}", readyz(&server));
    assert!(readyz(&server).contains("no valid certificate from the CA yet"), "{}", readyz(&server));
    assert!(
        server.stderr().contains("the local one is served, which devices do not trust"),
        "{}",
        server.stderr()
    );
    eventually("a failed try", || (metric(&server, "m0v_acme_failures_total") > 0).then_some(()));
    let said = check(&site).succeeded();
    assert!(said.contains("warning: acme: cannot reach the ACME server at"), "{said}");
    assert!(said.contains("warning: acme: no ACME certificate yet; the last"), "{said}");
    assert!(said.contains("next try"), "{said}");

    let pebble = ca.start(&Mischief::default());
    let root = trust(&site, &pebble);
    let chain = served(&server, &root);
    assert_eq!(chain.len(), 3, "leaf, intermediate, root");
    judge(server.meter_addr(), &root_file(&site));
    judge(server.confirm_addr(), &root_file(&site));
    eventually("readiness", || readyz(&server).starts_with("HTTP/1.1 200").then_some(()));
    // Neither stack dropped its connection.
    modern.thanked(LINE);
    fs::write(&renewed, "").expect("writes a file");
    old.goes_on();
    Device::connect(&server, &root_file(&site), &renewed).goes_on();

    let left = eventually("the countdown", || {
        Some(metric(&server, "m0v_certificate_expiry_seconds")).filter(|left| *left <= 7_776_000)
    });
    assert!(left > 7_776_000 - 300, "{left}");
    assert_eq!(metric(&server, "m0v_acme_certificates_total"), 1);
    let said = check(&site).succeeded();
    for words in
        ["ok: acme: certificate for localhost under `Pebble Root CA", "a third of its lifetime is left"]
    {
        assert!(said.contains(words), "{words} in: {said}");
    }
    assert!(said.contains("ok: device: must hold the root CN=Pebble Root CA"), "{said}");
}

#[test]
fn renews_on_both_stacks_under_connected_clients_and_survives_kill_9() {
    let mischief = Mischief { validity_seconds: 40, reject_nonces_percent: 20, ..Mischief::default() };
    let pebble = Pebble::with(&mischief);
    let site = site(&pebble.site, "tls-alpn-01");
    let root = trust(&site, &pebble);
    let mut server = site.start_with_device();
    let first = served(&server, &root);
    let mut modern = Client::connect(server.meter_addr(), root.as_bytes());
    modern.thanked(LINE);
    let renewed = site.folder().join("renewed");
    let old = Device::connect(&server, &root_file(&site), &renewed);
    let second = eventually("the renewal", || chain(&server, &root).filter(|chain| *chain != first));
    assert_ne!(first[0], second[0]);
    assert_eq!(first[1..], second[1..], "the same CA");
    modern.thanked(LINE);
    fs::write(&renewed, "").expect("writes a file");
    old.goes_on();

    let orders = pebble.orders();
    server.kill9();
    server.start_again();
    // From the first handshake on: nobody sees the local one again.
    assert!(chain(&server, &root).is_some(), "{}", server.stderr());
    assert!(readyz(&server).starts_with("HTTP/1.1 200"), "{}", readyz(&server));
    assert_eq!(pebble.accounts(), 1);
    assert!(pebble.orders() <= orders + 1, "{} orders", pebble.orders());
}

#[test]
fn keeps_a_chain_whose_root_is_unknown_and_completes_it_when_the_folder_changes() {
    let pebble = Pebble::start();
    let site = site(&pebble.site, "http-01");
    let server = site.start();
    let root = pebble.root(0);
    // Nothing valid would be served otherwise, so it is, without its root.
    assert_eq!(served(&server, &root).len(), 2);
    assert!(
        server.stderr().contains("is neither shipped nor in the folder [tls] roots"),
        "{}",
        server.stderr()
    );
    trust(&site, &pebble);
    eventually("the root", || chain(&server, &root).filter(|chain| chain.len() == 3));
    assert_eq!(pebble.orders(), 1);
}

#[test]
fn is_ready_with_the_local_certificate_if_told_so() {
    let ca = pebble::Site::new();
    let site = Site::with(Engine::Embedded, &format!("{}ready_with_local = true\n", config(&ca, "http-01")));
    let server = site.start();
    assert!(readyz(&server).starts_with("HTTP/1.1 200"), "{}", readyz(&server));
}

#[test]
fn recovers_when_a_name_that_led_elsewhere_leads_here() {
    let pebble = Pebble::start();
    pebble.point("localhost", "127.0.0.9");
    let site = site(&pebble.site, "http-01");
    let root = trust(&site, &pebble);
    let mut server = site.start();
    eventually("a refusal", || {
        server.stderr().contains("the CA could not validate localhost by http-01").then_some(())
    });
    let said = check(&site).succeeded();
    assert!(said.contains("the last try failed") && said.contains("could not validate localhost"), "{said}");
    server.stop();
    pebble.unpoint("localhost");
    // The time the failure is waited out passes.
    let file = site.data_dir().join("acme/backoff.json");
    let mut backoff: serde_json::Value =
        serde_json::from_slice(&fs::read(&file).expect("reads the back-off")).expect("JSON");
    backoff["not_before"] = 0.into();
    fs::write(&file, backoff.to_string()).expect("writes the back-off");
    server.start_again();
    assert_eq!(served(&server, &root).len(), 3);
    assert_eq!((pebble.accounts(), pebble.orders()), (1, 2));
}
