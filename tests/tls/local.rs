//! The local CA and certificate, made, kept, renewed, and left alone when broken.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use m0v::tls::{ChainOptions, LocalFiles, ensure_local, load_files};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn names() -> Vec<String> {
    vec!["Box.example".into(), "192.0.2.7".into()]
}

fn ensure(dir: &Path) -> LocalFiles {
    ensure_local(dir, &names(), SystemTime::now()).unwrap()
}

fn fault(dir: &Path, when: SystemTime) -> String {
    ensure_local(dir, &names(), when).expect_err("must be refused").to_string()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_is_made_once_and_verifies() {
    let dir = TempDir::new().unwrap();
    let made = ensure(dir.path());
    assert!(made.ca_made && made.leaf_made);
    let (ca, chain, key) = (read(&made.ca), read(&made.chain), read(&made.key));
    assert_eq!((mode(&made.key), mode(&dir.path().join("ca.key.pem"))), (0o600, 0o600));
    let again = ensure(dir.path());
    assert!(!again.ca_made && !again.leaf_made);
    assert_eq!((read(&made.ca), read(&made.chain), read(&made.key)), (ca, chain, key));
    let (loaded, warnings) =
        load_files(&made.chain, &made.key, &ChainOptions::default(), SystemTime::now()).unwrap();
    assert_eq!((loaded.certificates().len(), warnings.len()), (2, 0));
    for name in
        [["-verify_hostname", "box.example"], ["-verify_hostname", "localhost"], ["-verify_ip", "192.0.2.7"]]
    {
        let mut openssl = Command::new("openssl");
        openssl.args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"]).arg(&made.ca);
        let done = openssl.args(name).arg(&made.chain).output().unwrap();
        assert!(done.status.success(), "{name:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn the_leaf_is_renewed_in_time_and_the_ca_and_key_stay() {
    let dir = TempDir::new().unwrap();
    let made = ensure(dir.path());
    let (ca, chain, key) = (read(&made.ca), read(&made.chain), read(&made.key));
    let now = SystemTime::now();
    assert!(!ensure_local(dir.path(), &names(), now + DAY * 260).unwrap().leaf_made);
    let renewed = ensure_local(dir.path(), &names(), now + DAY * 270).unwrap();
    assert!(renewed.leaf_made && !renewed.ca_made);
    assert_eq!((read(&made.ca), read(&made.key)), (ca, key));
    assert_ne!(read(&made.chain), chain);
    let (loaded, _) = load_files(&made.chain, &made.key, &ChainOptions::default(), now + DAY * 500).unwrap();
    assert!(loaded.not_after() > now + DAY * 600);
}

#[test]
fn a_new_name_or_a_lost_key_makes_a_new_leaf() {
    let dir = TempDir::new().unwrap();
    let made = ensure(dir.path());
    let other = ensure_local(dir.path(), &["other.example".into()], SystemTime::now()).unwrap();
    assert!(other.leaf_made && !other.ca_made);
    fs::remove_file(&made.key).unwrap();
    let remade = ensure(dir.path());
    assert!(remade.leaf_made && !remade.ca_made);
    load_files(&made.chain, &made.key, &ChainOptions::default(), SystemTime::now()).unwrap();
}

#[test]
fn an_interrupted_making_is_completed() {
    let dir = TempDir::new().unwrap();
    let made = ensure(dir.path());
    let ca_key = read(&dir.path().join("ca.key.pem"));
    for file in [&made.ca, &made.chain, &made.key] {
        fs::remove_file(file).unwrap();
    }
    fs::write(dir.path().join("ca.pem.new"), "half").unwrap();
    assert!(ensure(dir.path()).ca_made);
    assert_eq!(read(&dir.path().join("ca.key.pem")), ca_key, "the key that was there is used");
    load_files(&made.chain, &made.key, &ChainOptions::default(), SystemTime::now()).unwrap();
}

#[test]
fn broken_files_are_named_and_never_written_over() {
    for (file, words) in [
        ("ca.pem", "ca.pem: is broken"),
        ("key.pem", "key.pem: is broken"),
        ("chain.pem", "chain.pem: is broken"),
    ] {
        let dir = TempDir::new().unwrap();
        ensure(dir.path());
        let path = dir.path().join(file);
        let whole = read(&path);
        fs::write(&path, &whole.as_bytes()[..whole.len() / 2]).unwrap();
        let fault = fault(dir.path(), SystemTime::now());
        assert!(fault.contains(words), "{fault}");
        assert_eq!(read(&path).len(), whole.len() / 2);
    }
}

#[test]
fn a_missing_or_foreign_ca_key_matters_only_when_something_is_to_be_signed() {
    let dir = TempDir::new().unwrap();
    let made = ensure(dir.path());
    let ca_key = dir.path().join("ca.key.pem");
    fs::rename(&ca_key, dir.path().join("elsewhere")).unwrap();
    assert!(!ensure(dir.path()).leaf_made);
    let later = SystemTime::now() + DAY * 300;
    let missing = fault(dir.path(), later);
    assert!(missing.contains("ca.key.pem: is missing"), "{missing}");
    fs::copy(&made.key, &ca_key).unwrap();
    let foreign = fault(dir.path(), later);
    assert!(foreign.contains("ca.key.pem: is not the key of"), "{foreign}");
    let expired = fault(dir.path(), later + DAY * 3653);
    assert!(expired.contains("ca.pem: expired on"), "{expired}");
}

#[test]
fn processes_that_start_together_agree() {
    let dir = TempDir::new().unwrap();
    let made: Vec<LocalFiles> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| ensure(dir.path()))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|files| files.ca_made).count(), 1);
    assert_eq!(made.iter().filter(|files| files.leaf_made).count(), 1);
}
