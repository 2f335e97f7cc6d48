//! New certificate files serve the next handshake; broken ones never serve (DESIGN §3).

use crate::certificates::{Authority, Files};
use crate::client::Client;
use crate::harness::{Engine, PATIENCE, Server, Site, eventually};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const LINE: &str = r#"{"id":17,"status":true}"#;

/// A site that serves `chain.pem` and `key.pem` of its folder, and where these come from.
struct Swapped {
    site: Site,
    files: Files,
}

impl Swapped {
    fn new(extra: &str, first: &Files) -> Self {
        let site = Site::new(Engine::Embedded);
        let files =
            Files { chain: site.folder().join("served.pem"), key: site.folder().join("served.key.pem") };
        let swapped = Self { site, files };
        swapped.put(&first.chain, &first.key);
        swapped.site.configure(&format!("{}\n{extra}", swapped.files.config()));
        swapped
    }

    /// Key first: half of it is there for a moment, as it is when people copy files.
    fn put(&self, chain: &std::path::Path, key: &std::path::Path) {
        fs::copy(key, &self.files.key).expect("copies the key");
        fs::copy(chain, &self.files.chain).expect("copies the chain");
    }
}

fn trusts(server: &Server<'_>, authority: &Authority) -> bool {
    Client::try_connect(server.meter_addr(), authority.pem.as_bytes()).is_ok()
}

/// `openssl s_client` with static RSA alone, which s2n-tls serves, kept open.
struct Old {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Old {
    fn connect(server: &Server<'_>, authority: &Authority) -> Self {
        let ca = tempfile::NamedTempFile::new().expect("makes a file");
        fs::write(ca.path(), &authority.pem).expect("writes the CA");
        let mut child = Command::new("timeout")
            .arg(PATIENCE.as_secs().to_string())
            .args(["openssl", "s_client", "-quiet", "-verify_return_error", "-tls1_2", "-cipher"])
            .args(["AES128-GCM-SHA256", "-connect", &server.meter_addr().to_string(), "-CAfile"])
            .arg(ca.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed: run scripts/test");
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut old = Self { child, stdin, stdout };
        assert_eq!(old.ask(), "Thank you");
        old
    }

    fn ask(&mut self) -> String {
        writeln!(self.stdin, "{LINE}").expect("openssl takes a line");
        let mut reply = String::new();
        self.stdout.read_line(&mut reply).expect("the reply is text");
        reply.trim_end().to_owned()
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("openssl ends");
    }
}

#[test]
fn new_files_serve_the_next_handshake_and_open_connections_stay_on_both_stacks() {
    let (first, second) = (Authority::new(), Authority::new());
    let elsewhere = tempfile::tempdir().expect("makes a folder");
    let before = first.issue(elsewhere.path(), &PKCS_RSA_SHA256, 2000, 4000);
    let after = second.issue(elsewhere.path(), &PKCS_RSA_SHA256, 2000, 4000);
    let swapped = Swapped::new("compat = \"rsa-kx\"", &before);
    let server = swapped.site.start_with_device();
    let mut modern = Client::connect(server.meter_addr(), first.pem.as_bytes());
    modern.thanked(LINE);
    let mut old = Old::connect(&server, &first);

    swapped.put(&after.chain, &after.key);
    eventually("the new chain", || trusts(&server, &second).then_some(()));
    assert!(!trusts(&server, &first), "nobody is served the old one any more");
    modern.thanked(LINE);
    assert_eq!(old.ask(), "Thank you");
    assert_eq!(Old::connect(&server, &second).ask(), "Thank you");
    assert!(!server.stderr().contains("ERROR"), "{}", server.stderr());
}

#[test]
fn what_is_broken_never_serves_and_is_said_once() {
    let (good, other) = (Authority::new(), Authority::new());
    let elsewhere = tempfile::tempdir().expect("makes a folder");
    let issue = |algorithm, to| good.issue(elsewhere.path(), algorithm, 2000, to);
    let before = issue(&PKCS_RSA_SHA256, 4000);
    let swapped = Swapped::new("", &before);
    let server = swapped.site.start();
    let hangup = || {
        let pid = Pid::from_raw(i32::try_from(server.pid()).expect("a process id")).expect("a process id");
        kill_process(pid, Signal::HUP).expect("sends SIGHUP");
    };
    let stranger = other.issue(elsewhere.path(), &PKCS_RSA_SHA256, 2000, 4000);
    let long = elsewhere.path().join("long.pem");
    let pem = fs::read_to_string(&before.chain).expect("reads the chain");
    fs::write(&long, format!("{pem}{}", good.pem.repeat(5))).expect("writes a long chain");
    let empty = elsewhere.path().join("empty.pem");
    fs::write(&empty, "").expect("writes a file");
    for (chain, key, words) in [
        (&issue(&PKCS_ECDSA_P256_SHA256, 4000).chain, &before.key, "has no RSA key"),
        (&issue(&PKCS_RSA_SHA256, 2001).chain, &before.key, "expired"),
        (&stranger.chain, &before.key, "does not match"),
        (&long, &before.key, "at most 5 are served"),
        (&empty, &before.key, "holds no certificate"),
    ] {
        swapped.put(chain, key);
        hangup();
        let words = words.replace("does not match", "is not the key of");
        eventually(&words, || server.stderr().contains(&words).then_some(()));
        assert!(trusts(&server, &good) && !trusts(&server, &other), "{words}");
    }
    swapped.put(&before.chain, &before.key);
    hangup();
    eventually("the good one again", || server.stderr().contains("nothing new").then_some(()));
    assert_eq!(
        server.stderr().matches("is refused, the old one still serves").count(),
        5,
        "{}",
        server.stderr()
    );
}

#[test]
fn a_pair_that_is_half_written_is_waited_for_in_silence() {
    let (first, second) = (Authority::new(), Authority::new());
    let elsewhere = tempfile::tempdir().expect("makes a folder");
    let before = first.issue(elsewhere.path(), &PKCS_RSA_SHA256, 2000, 4000);
    let after = second.issue(elsewhere.path(), &PKCS_RSA_SHA256, 2000, 4000);
    let swapped = Swapped::new("", &before);
    let server = swapped.site.start();
    fs::copy(&after.chain, &swapped.files.chain).expect("copies the chain");
    eventually("a look at half of it", || server.stderr().contains("does not serve yet").then_some(()));
    assert!(trusts(&server, &first));
    fs::copy(&after.key, &swapped.files.key).expect("copies the key");
    eventually("the new chain", || trusts(&server, &second).then_some(()));
    assert!(!server.stderr().contains("is refused, the old"), "{}", server.stderr());
}

#[test]
fn a_chain_whose_root_is_not_known_waits_for_it() {
    let (first, second) = (Authority::new(), Authority::new());
    let elsewhere = tempfile::tempdir().expect("makes a folder");
    let before = first.issue(elsewhere.path(), &PKCS_RSA_SHA256, 2000, 4000);
    let after = second.issue(elsewhere.path(), &PKCS_RSA_SHA256, 2000, 4000);
    let whole = fs::read_to_string(&after.chain).expect("reads the chain");
    fs::write(&after.chain, whole.strip_suffix(&second.pem).expect("ends in its root"))
        .expect("writes the leaf");
    let roots = elsewhere.path().join("roots");
    fs::create_dir(&roots).expect("makes a folder");
    let swapped = Swapped::new(&format!("roots = {roots:?}"), &before);
    let server = swapped.site.start();
    swapped.put(&after.chain, &after.key);
    eventually("the reason", || {
        server.stderr().contains("it will serve once the root is there").then_some(())
    });
    assert!(trusts(&server, &first));
    fs::write(roots.join("second.pem"), &second.pem).expect("writes the root");
    eventually("the new chain", || trusts(&server, &second).then_some(()));
    let chain = Client::connect(server.meter_addr(), second.pem.as_bytes()).server_chain();
    assert_eq!(chain.len(), 2, "the root is appended");
}
