//! Real brokers on our accounts: Debian's RabbitMQ by its HTTP backend, Debian's mosquitto by exported
//! files; mosquitto_pub and mosquitto_sub are the devices.

use crate::{
    harness::{Engine, Finished, PATIENCE, Server, Site, eventually},
    onboarding::{Account, register},
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

on_both_stores![rabbitmq_asks_who_may_do_what, mosquitto_reads_the_exported_files];

const TOKEN: &str = "broker-token-of-the-test";

/// Processes of a broker, in a folder of their own; the last one started ends first.
struct Broker {
    processes: Vec<Child>,
    log: PathBuf,
    port: u16,
    _folder: TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            // The whole group: what RabbitMQ's script starts does not end with the script.
            kill_process_group(Pid::from_child(process), Signal::KILL).ok();
            process.wait().map(drop).ok();
        }
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
    socket.local_addr().expect("has an address").port()
}

/// The program as nobody if we are root, dying with us.
fn unprivileged(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if is_root() {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    }
    command.arg(program).stdin(Stdio::null()).process_group(0);
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn give(path: &Path) {
    if is_root() {
        let nobody = fs::read_to_string("/etc/passwd").expect("reads passwd");
        let line = nobody.lines().find(|line| line.starts_with("nobody:")).expect("nobody is somebody");
        let ids: Vec<u32> = line.split(':').filter_map(|part| part.parse().ok()).collect();
        chown(path, Some(ids[0]), Some(ids[1])).expect("gives it to nobody");
    }
}

fn write(path: &Path, text: &[u8]) {
    fs::write(path, text).expect("writes a file of the broker's");
    give(path);
}

fn spawn(mut command: Command, log: &Path) -> Child {
    let output = fs::OpenOptions::new().create(true).append(true).open(log).expect("opens the log");
    let also = output.try_clone().expect("shares it");
    command.stdout(output).stderr(also).spawn().expect("starts: run scripts/test")
}

impl Broker {
    fn await_port(&mut self) {
        let (port, log) = (self.port, self.log.clone());
        let last = self.processes.last_mut().expect("one was started");
        eventually("the broker", || {
            if let Some(status) = last.try_wait().expect("looks after it") {
                panic!("the broker ended ({status}):\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
    }

    /// `deploy/rabbitmq`, with this test's ports, token and CA.
    fn rabbitmq(server: &Server<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        give(folder.path());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("opens the folder");
        let (port, distribution, epmd) = (free_port(), free_port(), free_port());
        let api = format!("https://localhost:{}/", server.api_addr().port());
        let conf = include_str!("../../deploy/rabbitmq/rabbitmq.conf");
        let conf = conf.replace("https://localhost:38980/", &api).replace("BROKER-TOKEN", TOKEN);
        let conf = conf.replace("127.0.0.1:1883", &format!("127.0.0.1:{port}"));
        let ca_file = at("ca.pem");
        let advanced = include_str!("../../deploy/rabbitmq/advanced.config");
        let advanced = advanced.replace("/etc/rabbitmq/m0v-ca.pem", ca_file.to_str().expect("text"));
        write(&at("rabbitmq.conf"), conf.as_bytes());
        write(&at("advanced.config"), advanced.as_bytes());
        write(&at("enabled_plugins"), include_bytes!("../../deploy/rabbitmq/enabled_plugins"));
        write(&ca_file, &server.ca_pem());
        let log = at("log");

        let mut daemon = unprivileged("epmd");
        daemon.args(["-port", &epmd.to_string(), "-address", "127.0.0.1"]).current_dir(folder.path());
        let daemon = spawn(daemon, &log);
        let mut rabbit = unprivileged("/usr/lib/rabbitmq/bin/rabbitmq-server");
        rabbit.current_dir(folder.path()).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        rabbit.env("HOME", folder.path()).env("LANG", "C.UTF-8");
        rabbit.env("ERL_EPMD_PORT", epmd.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        rabbit.env("RABBITMQ_NODENAME", format!("m0v-test-{port}@localhost"));
        rabbit.env("RABBITMQ_DIST_PORT", distribution.to_string()).env("RABBITMQ_LOGS", "-");
        rabbit.env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"));
        rabbit.env("RABBITMQ_ADVANCED_CONFIG_FILE", at("advanced.config"));
        rabbit.env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"));
        rabbit.env("RABBITMQ_CONF_ENV_FILE", at("none")).env("RABBITMQ_MNESIA_BASE", at("mnesia"));
        rabbit.env("RABBITMQ_LOG_BASE", at("logs")).env("RABBITMQ_PID_FILE", at("pid"));
        rabbit.env("RABBITMQ_FEATURE_FLAGS_FILE", at("feature_flags"));
        let rabbit = spawn(rabbit, &log);
        let mut this = Self { processes: vec![daemon, rabbit], log, port, _folder: folder };
        this.await_port();
        this
    }

    fn mosquitto(passwords: &Path, acl: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        give(folder.path());
        let port = free_port();
        write(&at("passwords"), &fs::read(passwords).expect("reads the passwords"));
        write(&at("acl"), &fs::read(acl).expect("reads the ACL"));
        let conf = format!(
            "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\nacl_file {}\n",
            at("passwords").display(),
            at("acl").display()
        );
        write(&at("mosquitto.conf"), conf.as_bytes());
        let mut command = unprivileged("/usr/sbin/mosquitto");
        command.arg("-c").arg(at("mosquitto.conf"));
        let log = at("log");
        let mut this = Self { processes: vec![spawn(command, &log)], log, port, _folder: folder };
        this.await_port();
        this
    }

    fn client(&self, program: &str, account: &Account, more: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        // A line at a time: mosquitto_sub keeps back what goes to a file.
        command.arg(PATIENCE.as_secs().to_string()).args(["stdbuf", "-oL"]).arg(program).args([
            "-h",
            "127.0.0.1",
            "-p",
        ]);
        command
            .arg(self.port.to_string())
            .args(["-u", &account.username, "-P", &account.password])
            .args(more);
        command.stdin(Stdio::null());
        command
    }

    /// Publishes with QoS 1, and waits for the broker's word.
    fn publish(&self, account: &Account, topic: &str, message: &str) -> bool {
        let more = ["-q", "1", "-t", topic, "-m", message, "-V", "mqttv311"];
        let done =
            self.client("mosquitto_pub", account, &more).output().expect("mosquitto_pub: run scripts/test");
        done.status.success()
    }

    /// Whether a subscription is taken; RabbitMQ closes the connection of one that is not.
    fn subscribes(&self, account: &Account, filter: &str) -> bool {
        // -E: ends once the broker has answered.
        let more = ["-q", "1", "-d", "-E", "-t", filter, "-V", "mqttv311"];
        let mut child = self.client("mosquitto_sub", account, &more);
        let mut child = child.stdout(Stdio::piped()).spawn().expect("mosquitto_sub");
        let said = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let mut said = said.map(|line| line.expect("reads it"));
        // It would connect anew for ever, so the second attempt is the answer too.
        let mut subscribed = 0;
        let is_taken = said.find_map(|line| match line {
            line if line.contains("received SUBACK") => Some(true),
            line if line.contains("sending SUBSCRIBE") => {
                subscribed += 1;
                (subscribed > 1).then_some(false)
            }
            _ => None,
        });
        child.kill().expect("ends it");
        child.wait().expect("has ended");
        is_taken.expect("an answer")
    }

    /// One message of a topic, sent by `sender` once the subscription stands.
    fn hears(&self, account: &Account, filter: &str, sender: &Account, topic: &str) -> String {
        let more = ["-q", "1", "-C", "1", "-d", "-t", filter, "-V", "mqttv311"];
        let log = tempfile::NamedTempFile::new().expect("a file");
        let also = log.reopen().expect("the same");
        let mut child =
            self.client("mosquitto_sub", account, &more).stdout(also).spawn().expect("mosquitto_sub");
        eventually("the subscription", || {
            fs::read_to_string(log.path()).ok()?.contains("received SUBACK").then_some(())
        });
        assert!(self.publish(sender, topic, "hello from the test"));
        assert!(child.wait().expect("ends").success());
        fs::read_to_string(log.path()).expect("reads it")
    }
}

fn accounts(site: &Site, server: &Server<'_>) -> (Account, Account) {
    let allow = ["--allow", "pub:devices/{username}/up", "--allow", "sub:devices/{username}/#"];
    let new = |name, more: &[&str]| {
        let token = site.run(&[&["token", "new", "--name", name], more].concat()).succeeded();
        register(server, token.trim())
    };
    (new("devices", &allow), new("office", &["--allow", "sub:devices/#"]))
}

fn rabbitmq_asks_who_may_do_what(engine: Engine) {
    let site = Site::with(engine, &format!("[api]\nbroker_token = \"{TOKEN}\"\n"));
    let server = site.start();
    let (device, office) = accounts(&site, &server);
    let broker = Broker::rabbitmq(&server);
    let own = format!("devices/{}/up", device.username);
    let heard = broker.hears(&office, "devices/+/up", &device, &own);
    assert!(heard.contains("hello from the test"), "{heard}");
    assert!(!broker.publish(&device, "devices/another/up", "x"), "not its topic");
    assert!(!broker.publish(&office, &own, "x"), "the office only listens");
    let dotted = own.replace('/', ".").replace(&device.username, &office.username);
    assert!(!broker.publish(&device, &dotted, "x"), "the same topic in RabbitMQ's eyes, and another's");
    assert!(
        !broker.subscribes(&device, "#") && !broker.subscribes(&device, "devices/+/up"),
        "not its topics"
    );
    let wrong =
        Account { password: "wrong".into(), identity: String::new(), username: device.username.clone() };
    assert!(!broker.publish(&wrong, &own, "x"), "not its password");
    let taken = ["-q", "1", "-i", &office.username, "-t", &own, "-m", "x"];
    assert!(
        !broker.client("mosquitto_pub", &device, &taken).output().expect("runs").status.success(),
        "not its client id"
    );
    site.run(&["account", "disable", &device.username]).succeeded();
    eventually("the end of the account", || (!broker.publish(&device, &own, "x")).then_some(()));
    site.run(&["account", "enable", &device.username]).succeeded();
    eventually("the account again", || broker.publish(&device, &own, "x").then_some(()));
    assert!(!server.stderr().contains(TOKEN), "the broker token is in the log");
}

fn export(site: &Site) -> (PathBuf, PathBuf, Finished) {
    let (passwords, acl) = (site.folder().join("passwords"), site.folder().join("acl"));
    let (one, other) = (passwords.to_str().expect("text"), acl.to_str().expect("text"));
    let done = site.run(&["account", "export-mosquitto", "--passwords", one, "--acl", other]);
    (passwords, acl, done)
}

fn mosquitto_reads_the_exported_files(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let (device, office) = accounts(&site, &server);
    let gone = accounts_gone(&site, &server);
    let (passwords, acl, done) = export(&site);
    done.succeeded();
    let of = |path: &Path| {
        let file = fs::metadata(path).expect("is there");
        (file.permissions().mode() & 0o777, file.uid())
    };
    assert_eq!((of(&passwords).0, of(&acl).0), (0o600, 0o600));
    // Given to the broker's user once, they stay theirs.
    give(&passwords);
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o644)).expect("opens it too far");
    let (_, owner) = of(&passwords);
    export(&site).2.succeeded();
    assert_eq!(of(&passwords), (0o640, owner));
    let broker = Broker::mosquitto(&passwords, &acl);
    let own = format!("devices/{}/up", device.username);
    let heard = broker.hears(&office, "devices/+/up", &device, &own);
    assert!(heard.contains("hello from the test"), "{heard}");
    let wrong =
        Account { password: "wrong".into(), identity: String::new(), username: device.username.clone() };
    assert!(!broker.publish(&wrong, &own, "x"), "not its password");
    assert!(!broker.publish(&gone, &own, "x"), "disabled ones are not exported");
    // mosquitto acknowledges what it drops (in MQTT 5 it says so).
    let refused = ["-q", "1", "-t", "devices/another/up", "-m", "x", "-V", "mqttv5"];
    let said = broker.client("mosquitto_pub", &device, &refused).output().expect("runs");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("Not authorized"), "{said}");
    site.execute("UPDATE account SET username = 'a:b' WHERE account_id = 1");
    let (_, _, done) = export(&site);
    assert!(done.failed().stderr().contains("cannot hold the name a:b"), "{}", done.said());
}

fn accounts_gone(site: &Site, server: &Server<'_>) -> Account {
    let token = site.run(&["token", "new", "--name", "gone", "--allow", "pub:#"]).succeeded();
    let account = register(server, token.trim());
    site.run(&["account", "disable", &account.username]).succeeded();
    account
}
