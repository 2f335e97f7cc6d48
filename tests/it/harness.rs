//! The built binary as a child process, with a folder, a configuration and a store of its own.
//!
//! A [`Site`] is what stays when the process ends (folder, database); a [`Server`] is one process on it.

use crate::{client::Client, database::Database};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longest wait for anything that must happen; never a measure of how fast it should.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Which store a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Embedded,
    Postgres,
}

/// Makes each named function, which takes an [`Engine`], two tests: `embedded::…` and `postgres::…`.
macro_rules! on_both_stores {
    ($($test:ident),+ $(,)?) => {
        mod embedded {
            $(#[test] fn $test() { super::$test(crate::harness::Engine::Embedded); })+
        }
        mod postgres {
            $(#[test] fn $test() { super::$test(crate::harness::Engine::Postgres); })+
        }
    };
}

/// A folder with `m0v.toml`, a `data` folder and a database.
pub(crate) struct Site {
    folder: TempDir,
    database: Option<Database>,
    environment: Vec<(String, String)>,
    /// Words in front of the binary's, such as `prlimit --nofile=64:64`.
    wrapper: Vec<String>,
    runs: AtomicUsize,
}

impl Site {
    /// A site on a store of its own, every port `127.0.0.1:0`.
    pub(crate) fn new(engine: Engine) -> Self {
        Self::with(engine, "")
    }

    /// The same with `extra` configuration (TOML) laid over it.
    pub(crate) fn with(engine: Engine, extra: &str) -> Self {
        let database = match engine {
            Engine::Embedded => None,
            Engine::Postgres => Some(Database::on_shared_cluster()),
        };
        Self::on(database, extra)
    }

    /// A site on a PostgreSQL cluster that is this test's alone, to be stopped and crashed.
    pub(crate) fn on_own_cluster(extra: &str) -> Self {
        Self::on(Some(Database::on_own_cluster()), extra)
    }

    fn on(database: Option<Database>, extra: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("m0v-it-").tempdir().expect("makes a folder");
        let site = Self {
            folder,
            database,
            environment: Vec::new(),
            wrapper: Vec::new(),
            runs: AtomicUsize::new(0),
        };
        site.configure(extra);
        TLS_OF_A_FIRST_RUN.get().into_iter().for_each(|tls| tls.copy_into(&site.data_dir()));
        site
    }

    /// Writes `m0v.toml` anew: the site's own settings with `extra` (TOML) laid over them.
    pub(crate) fn configure(&self, extra: &str) {
        let mut config: toml::Table = BASE_CONFIG.parse().expect("the base configuration is TOML");
        if let Some(database) = &self.database {
            let url = toml::Table::from_iter([("url".to_owned(), database.url().into())]);
            config.insert("database".to_owned(), url.into());
        }
        overlay(&mut config, extra.parse().expect("the extra configuration is TOML"));
        self.write_config(&config.to_string());
    }

    /// Lays more (TOML) over the configuration there is.
    pub(crate) fn add_config(&self, extra: &str) {
        let text = fs::read_to_string(self.config_file()).expect("reads m0v.toml");
        let mut config: toml::Table = text.parse().expect("m0v.toml is TOML");
        overlay(&mut config, extra.parse().expect("the extra configuration is TOML"));
        self.write_config(&config.to_string());
    }

    /// Writes `m0v.toml` word for word.
    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.config_file(), text).expect("writes m0v.toml");
    }

    /// Adds a variable to the environment of what is started from now on.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts servers through another program that ends in `exec`.
    pub(crate) fn wrapped_in(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Forgets the certificates a site is normally born with, so that the server makes them.
    pub(crate) fn without_certificates(self) -> Self {
        if self.data_dir().exists() {
            fs::remove_dir_all(self.data_dir()).expect("removes the data folder");
        }
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder().join("m0v.toml")
    }

    /// `data_dir`, unless the test's configuration moved it.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The PostgreSQL database; `None` on the embedded store.
    pub(crate) fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// `m0v --config <this site's> …`, ready to run, without variables of ours from outside.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        // A server must not outlive its test, not even one that is killed.
        let mut words = vec!["setpriv".to_owned(), "--pdeathsig".to_owned(), "KILL".to_owned()];
        words.extend_from_slice(&self.wrapper);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(env!("CARGO_BIN_EXE_m0v")).arg("--config").arg(self.config_file());
        command.args(arguments).current_dir(self.folder()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("M0V_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command of the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts m0v");
        finish(child, &format!("m0v {}", arguments.join(" ")))
    }

    /// `m0v pub add --id ID`, which must succeed.
    pub(crate) fn add_pub(&self, id: i64) {
        self.run(&["pub", "add", "--id", &id.to_string()]).succeeded();
    }

    /// Starts a server and waits until it listens.
    pub(crate) fn start(&self) -> Server<'_> {
        Server::start(self, self.data_dir())
    }

    /// The same when the configuration names another `data_dir`.
    pub(crate) fn start_in(&self, data_dir: &Path) -> Server<'_> {
        Server::start(self, data_dir.to_owned())
    }

    /// Starts a server that knows device 17.
    pub(crate) fn start_with_device(&self) -> Server<'_> {
        let server = self.start();
        self.add_pub(17);
        server
    }
}

/// One server process; killed when dropped.
pub(crate) struct Server<'site> {
    site: &'site Site,
    data_dir: PathBuf,
    child: Child,
    stderr: PathBuf,
    listeners: Value,
}

impl<'site> Server<'site> {
    fn start(site: &'site Site, data_dir: PathBuf) -> Self {
        let listeners_file = data_dir.join("listeners.json");
        if listeners_file.exists() {
            fs::remove_file(&listeners_file).expect("removes the last run's listeners.json");
        }
        let run = site.runs.fetch_add(1, Ordering::Relaxed);
        let stderr = site.folder().join(format!("stderr-{run}.log"));
        let output = File::create(&stderr).expect("makes a file for stderr");
        let also = output.try_clone().expect("shares the file with stdout");
        let child = site.command(&["serve"]).stdout(also).stderr(output).spawn().expect("starts m0v");
        let mut server = Self { site, data_dir, child, stderr, listeners: Value::Null };
        server.listeners = eventually("listeners.json", || {
            if let Some(status) = server.child.try_wait().expect("looks after m0v") {
                panic!("m0v ended ({status}) before it listened:\n{}", server.stderr());
            }
            serde_json::from_slice(&fs::read(&listeners_file).ok()?).ok()
        });
        TLS_OF_A_FIRST_RUN.get_or_init(|| Tls::read(&server.data_dir));
        server
    }

    /// Ends the process with SIGTERM, which must give exit code 0, and starts another.
    pub(crate) fn restart(&mut self) {
        let status = self.stop();
        assert_eq!(status.code(), Some(0), "SIGTERM must end m0v with 0:\n{}", self.stderr());
        self.start_again();
    }

    /// Starts another process where one ended.
    pub(crate) fn start_again(&mut self) {
        *self = Self::start(self.site, self.data_dir.clone());
    }

    /// Sends SIGTERM and returns at once.
    pub(crate) fn sigterm(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("m0v takes signals");
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.sigterm();
        self.wait()
    }

    /// Kills the process where it stands.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().expect("kills m0v");
        self.child.wait().expect("m0v ends");
    }

    /// Stops the process in the middle of whatever it does (SIGSTOP).
    pub(crate) fn pause(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("m0v takes signals");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("m0v takes signals");
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the end of m0v", || self.child.try_wait().expect("looks after m0v"))
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("looks after m0v").is_none()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the process said so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).expect("reads stderr")).into_owned()
    }

    /// `listeners.json`.
    pub(crate) fn listeners(&self) -> &Value {
        &self.listeners
    }

    pub(crate) fn meter_addr(&self) -> SocketAddr {
        self.addr("meter")
    }

    pub(crate) fn confirm_addr(&self) -> SocketAddr {
        self.addr("confirm")
    }

    pub(crate) fn api_addr(&self) -> SocketAddr {
        self.addr("api")
    }

    pub(crate) fn admin_addr(&self) -> SocketAddr {
        self.addr("admin")
    }

    pub(crate) fn tunnel_addr(&self) -> SocketAddr {
        self.addr("tunnel")
    }

    fn addr(&self, section: &str) -> SocketAddr {
        let text = self.listeners[section][0].as_str();
        let text = text.unwrap_or_else(|| panic!("listeners.json names no {section}: {}", self.listeners));
        text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.data_dir.join("tls/ca.pem")
    }

    pub(crate) fn ca_pem(&self) -> Vec<u8> {
        fs::read(self.ca_file()).expect("reads ca.pem")
    }

    /// A verified TLS connection to the meter port.
    pub(crate) fn meter(&self) -> Client {
        Client::connect(self.meter_addr(), &self.ca_pem())
    }

    /// A verified TLS connection to the confirm port.
    pub(crate) fn confirm(&self) -> Client {
        Client::connect(self.confirm_addr(), &self.ca_pem())
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // Errors mean that it has ended already, which is what is wanted here.
        self.child.kill().and_then(|()| self.child.wait().map(drop)).ok();
        let said = self.stderr();
        if thread::panicking() {
            eprintln!("--- m0v said:\n{said}---");
        } else {
            assert!(!said.contains("panicked at"), "m0v panicked:\n{said}");
        }
    }
}

/// A command that ran to its end.
pub(crate) struct Finished {
    what: String,
    output: Output,
}

impl Finished {
    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Everything it said, on both streams.
    pub(crate) fn said(&self) -> String {
        self.stdout() + &self.stderr()
    }

    /// Insists on exit code 0 and returns stdout.
    pub(crate) fn succeeded(&self) -> String {
        self.ended_with(0);
        self.stdout()
    }

    /// Insists on an exit code.
    pub(crate) fn ended_with(&self, code: i32) -> &Self {
        assert_eq!(self.code(), Some(code), "exit code of {}:\n{}", self.what, self.said());
        self
    }

    /// Insists on an end that is neither success nor a panic nor a signal.
    pub(crate) fn failed(&self) -> &Self {
        assert!(!matches!(self.code(), None | Some(0 | 101)), "{} must fail: {}", self.what, self.said());
        assert!(!self.said().contains("panicked"), "{} panicked: {}", self.what, self.said());
        self
    }
}

/// Waits for the end of a child whose streams are pipes; kills what runs too long.
pub(crate) fn finish(mut child: Child, what: &str) -> Finished {
    let pid = Pid::from_child(&child);
    drop(child.stdin.take());
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            kill_process(pid, Signal::KILL).ok();
        }
    });
    let output = child.wait_with_output().expect("waits for the command");
    drop(done);
    watch.join().expect("the watch ends");
    Finished { what: what.to_owned(), output }
}

/// Runs a program that is not ours to its end.
pub(crate) fn run_tool(program: &str, arguments: &[&str]) -> Finished {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.unwrap_or_else(|e| panic!("{program} cannot be started ({e}): run scripts/test"));
    finish(child, program)
}

/// Asks again and again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// How often a loop runs: `short`, or `long` when the long tests are wanted.
pub(crate) fn rounds(short: usize, long: usize) -> usize {
    if std::env::var_os("M0V_TEST_LONG").is_some_and(|value| value != "0") { long } else { short }
}

/// Says past the test harness's capture that a test did nothing.
pub(crate) fn skip(test: &str, why: &str) {
    writeln!(std::io::stderr(), "SKIPPED {test}: {why}").expect("writes to stderr");
}

/// Lays `extra` over `config`, table by table.
fn overlay(config: &mut toml::Table, extra: toml::Table) {
    for (key, value) in extra {
        match (config.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            (_, value) => drop(config.insert(key, value)),
        }
    }
}

/// The `tls` folder of the first server that made one. Two RSA keys a test would be most of its time.
static TLS_OF_A_FIRST_RUN: OnceLock<Tls> = OnceLock::new();

struct Tls(Vec<(PathBuf, u32, Vec<u8>)>);

impl Tls {
    fn read(data_dir: &Path) -> Self {
        let Ok(entries) = fs::read_dir(data_dir.join("tls")) else { return Self(Vec::new()) };
        let files = entries.filter_map(|entry| {
            let entry = entry.expect("reads the tls folder");
            let metadata = entry.metadata().expect("reads the tls folder");
            let path = PathBuf::from(entry.file_name());
            let mode = metadata.permissions().mode();
            metadata.is_file().then(|| (path, mode, fs::read(entry.path()).expect("reads a certificate")))
        });
        Self(files.collect())
    }

    fn copy_into(&self, data_dir: &Path) {
        let folder = data_dir.join("tls");
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&folder).expect("makes the tls folder");
        for (name, mode, bytes) in &self.0 {
            let mut options = File::options();
            options.write(true).create_new(true).mode(mode & 0o777);
            let mut file = options.open(folder.join(name)).expect("makes a certificate file");
            file.write_all(bytes).expect("writes a certificate file");
        }
    }
}

const BASE_CONFIG: &str = r#"
data_dir = "data"
[meter]
listen = ["127.0.0.1:0"]
[confirm]
listen = ["127.0.0.1:0"]
[api]
listen = ["127.0.0.1:0"]
[admin]
listen = ["127.0.0.1:0"]
[log]
level = "debug"
"#;
