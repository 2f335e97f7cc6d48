//! Bad luck around the server: no descriptors, no space, no database.

use crate::{
    admin,
    client::{Client, tcp},
    database::with_user,
    harness::{Engine, PATIENCE, Server, Site, eventually, run_tool, skip},
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Stdio,
};

on_both_stores![
    serves_again_after_running_out_of_descriptors,
    a_start_with_few_descriptors_serves_as_many_as_fit,
];

const LINE: &str = r#"{"id":17,"status":true,"voltage":231.4}"#;
const UNAVAILABLE: &str = "!OK database unavailable, try again";
const BUSY: &str = "!OK busy, try again";

fn serves_again_after_running_out_of_descriptors(engine: Engine) {
    let site = Site::with(engine, "[limits]\nhandshake_timeout = 300");
    let mut server = site.start_with_device();
    let mut early = server.meter();
    early.thanked(LINE);

    // Taken away while it runs, because it takes no more connections than fit what it finds at its start.
    let open = descriptors(&server);
    let limit = 10 + (0..).find(|number| !open.contains(number)).expect("one is free");
    let pid = server.pid().to_string();
    run_tool("prlimit", &["--pid", &pid, &format!("--nofile={limit}:")]).succeeded();
    let silent = crowd(&server, 50);
    eventually("the server to run out of descriptors", || {
        let open = descriptors(&server);
        (0..limit).all(|number| open.contains(&number)).then_some(())
    });
    let reply = early.ask(LINE);
    assert!(["Thank you", UNAVAILABLE, BUSY].contains(&reply.as_str()), "{reply}");
    assert!(server.is_running());

    drop(silent);
    eventually("the server to serve again", || served(&server));
    eventually("the early client to be thanked", || (early.ask(LINE) == "Thank you").then_some(()));
    assert!(server.stderr().len() < 1_000_000, "the log is flooded");
}

fn a_start_with_few_descriptors_serves_as_many_as_fit(engine: Engine) {
    let extra = "[database]\nmax_connections = 2\n[limits]\nhandshake_timeout = 300";
    let site = Site::with(engine, extra).wrapped_in(&["prlimit", "--nofile=64:64"]);
    let mut server = site.start_with_device();
    let mut early = server.meter();
    early.thanked(LINE);
    let silent = crowd(&server, 200);
    for _ in 0..20 {
        early.thanked(LINE);
    }
    assert!(server.is_running());
    drop(silent);
    eventually("the server to serve again", || served(&server));
    early.thanked(LINE);
}

/// The numbers of the server's open descriptors.
fn descriptors(server: &Server<'_>) -> BTreeSet<u32> {
    let entries = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("our own child");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Connections that never say anything.
fn crowd(server: &Server<'_>, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| tcp(server.meter_addr(), PATIENCE).expect("the kernel takes it")).collect()
}

/// Sends a packet over a new connection; `None` unless it was thanked.
fn served(server: &Server<'_>) -> Option<()> {
    let mut client = Client::try_connect(server.meter_addr(), &server.ca_pem()).ok()?;
    client.try_send_raw(format!("{LINE}\n").as_bytes()).ok()?;
    (client.next_reply().ok()?? == "Thank you").then_some(())
}

#[test]
fn a_full_disk_is_told_and_survived_by_the_embedded_store() {
    let site = Site::new(Engine::Embedded);
    let Some(disk) = SmallDisk::mount(site.folder().join("disk")) else {
        skip("a_full_disk_is_told_and_survived_by_the_embedded_store", "only root may mount a tmpfs");
        return;
    };
    let data_dir = disk.0.join("data");
    site.configure(&format!("data_dir = {data_dir:?}"));
    let mut server = site.start_in(&data_dir);
    site.add_pub(17);
    let mut meter = server.meter();
    meter.thanked(LINE);
    let mut thanked = 1;

    let ballast = disk.fill();
    // What the write-ahead log holds already it may still use.
    let note = "x".repeat(4000);
    let line = format!(r#"{{"id":17,"status":true,"note":"{note}"}}"#);
    eventually("the disk to be full", || match meter.ask(&line).as_str() {
        "Thank you" => {
            thanked += 1;
            None
        }
        UNAVAILABLE | BUSY => Some(()),
        reply => panic!("{reply}"),
    });
    for _ in 0..20 {
        match meter.ask(&line).as_str() {
            "Thank you" => thanked += 1,
            UNAVAILABLE | BUSY => {}
            reply => panic!("{reply}"),
        }
    }
    let confirmation = r#"{"deviceName":"Movprov","ssid":"M0V","hash":1}"#;
    let reply = server.confirm().ask(confirmation);
    assert!(["OK", UNAVAILABLE, BUSY].contains(&reply.as_str()), "{reply}");
    assert!(server.is_running());

    fs::remove_file(ballast).expect("frees the disk");
    eventually("packets to be stored again", || (meter.ask(LINE) == "Thank you").then_some(()));
    thanked += 1;
    assert_eq!(server.stop().code(), Some(0));
    let stored = run_tool("sqlite3", &[&data_dir.join("m0v.sqlite").to_string_lossy(), COUNT_PACKETS]);
    let stored = stored.succeeded();
    assert_eq!(stored.trim(), format!("ok\n{thanked}"), "what was thanked is there, and nothing else");
}

const COUNT_PACKETS: &str = "PRAGMA integrity_check; SELECT count(*) FROM packet;";

#[test]
fn a_refused_password_is_told_clearly_and_never_shown() {
    const PASSWORD: &str = "xyzzy-wrong-password";
    let site = Site::on_own_cluster("");
    let database = site.database().expect("a site on PostgreSQL");
    database.cluster().sql("CREATE ROLE picky LOGIN PASSWORD 'another'");
    let url = with_user(database.url(), &format!("picky:{PASSWORD}"));
    site.configure(&format!("[database]\nurl = {url:?}\n[log]\nlevel = \"trace\""));

    let check = site.run(&["check"]);
    check.ended_with(1);
    assert!(check.said().to_lowercase().contains("password"), "{}", check.said());
    assert!(!check.said().contains(PASSWORD), "{}", check.said());

    let stderr = site.folder().join("refused.log");
    let output = File::create(&stderr).expect("makes a file for stderr");
    let mut command = site.command(&["serve"]);
    let mut child = command.stdout(Stdio::null()).stderr(output).spawn().expect("starts m0v");
    let said = || fs::read_to_string(&stderr).expect("reads stderr");
    eventually("a word about the password", || said().to_lowercase().contains("password").then_some(()));
    // It may go on trying or end; it must not end well.
    if let Some(status) = child.try_wait().expect("looks after m0v") {
        assert!(!status.success());
    }
    child.kill().and_then(|()| child.wait()).expect("m0v ends");
    assert!(!said().contains(PASSWORD), "{}", said());
    assert!(!said().contains("panicked"), "{}", said());
}

#[test]
fn a_database_that_goes_and_comes_back_is_told_and_used_again() {
    let site = Site::on_own_cluster("[spool]\nenabled = false");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let mut server = site.start_with_device();
    let mut meter = server.meter();
    let mut app = server.confirm();
    let mut thanked = 0;
    for way in ["stop", "crash"] {
        meter.thanked(LINE);
        if way == "stop" {
            cluster.stop();
        } else {
            cluster.crash();
        }
        for _ in 0..3 {
            assert_eq!(meter.ask(LINE), UNAVAILABLE, "after {way}");
            assert_eq!(app.ask(r#"{"deviceName":"a","ssid":"b","hash":1}"#), UNAVAILABLE, "after {way}");
            assert_eq!(app.ask(r#"{"deviceName":"a","ssid":"b"}"#), UNAVAILABLE, "after {way}");
            assert!(meter.ask(r#"{"id":17}"#).contains("status"), "a bad line is bad at any time");
        }
        assert_eq!(server.meter().ask(LINE), UNAVAILABLE, "on a new connection, after {way}");
        eventually("unreadiness", || says(&server, "/readyz", "503"));
        says(&server, "/healthz", "200").expect("healthy, whatever the database does");
        cluster.restart();
        eventually("packets to be stored again", || (meter.ask(LINE) == "Thank you").then_some(()));
        thanked += 2;
        eventually("readiness", || says(&server, "/readyz", "200"));
        assert_eq!(app.ask(r#"{"deviceName":"a","ssid":"b","hash":1}"#), "OK", "after {way}");
    }
    assert_eq!(site.packets().len(), thanked);
    assert!(server.is_running());
}

/// Whether the admin port answers with this status.
fn says(server: &Server<'_>, path: &str, status: &str) -> Option<()> {
    admin::get(server, path).starts_with(&format!("HTTP/1.1 {status}")).then_some(())
}

/// A tmpfs of a few megabytes, unmounted when dropped.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    /// `None` when this user may not mount.
    pub(crate) fn mount(at: PathBuf) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        fs::create_dir(&at).expect("makes the mount point");
        let path = at.to_string_lossy();
        let mounted = run_tool("mount", &["-t", "tmpfs", "-o", "size=8m", "tmpfs", &path]);
        // In a container even root may not.
        (mounted.code() == Some(0)).then_some(Self(at))
    }

    /// Takes all space that is left and returns the file that holds it.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = File::create(&path).expect("makes the ballast");
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        run_tool("umount", &["--lazy", &path.to_string_lossy()]);
    }
}
