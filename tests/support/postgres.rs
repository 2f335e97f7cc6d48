//! A PostgreSQL of the test's own: made in a temporary directory, gone when dropped.
//!
//! Include it with `#[path = "support/postgres.rs"] mod postgres;`.
#![allow(dead_code, reason = "each test binary that includes this file uses its own part of it")]

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The superuser, and the database made for it.
const NAME: &str = "m0v";

/// Not a secret; it has a character that must be escaped in a URL.
const PASSWORD: &str = "pass/word";
const PASSWORD_IN_URL: &str = "pass%2Fword";

/// Start-up with crash recovery takes a second or two here.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A server with one superuser `m0v` (password login over TCP) and a database `m0v`.
pub(crate) struct Cluster {
    directory: TempDir,
    programs: PathBuf,
    port: u16,
    settings: Vec<String>,
    server: Mutex<Option<Child>>,
}

impl Cluster {
    /// Makes and starts one, durable.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With settings (`name=value`) on the server's command line, after the usual ones.
    pub(crate) fn start_with(settings: &[&str]) -> Self {
        let cluster = Self::make(settings);
        cluster.launch();
        cluster.sql_in("postgres", &format!("CREATE DATABASE {NAME}"));
        cluster
    }

    /// Speaks TLS with this certificate and key (PEM); plain text is spoken too.
    pub(crate) fn start_with_tls(certificate: &str, key: &str) -> Self {
        let mut cluster = Self::make(&[]);
        for (name, text) in [("server.pem", certificate), ("server.key", key)] {
            let path = cluster.directory.path().join(name);
            fs::write(&path, text).expect("a file in our own directory");
            fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("our own file");
            give_to_server(&path);
            let setting = if name.ends_with(".key") { "ssl_key_file" } else { "ssl_cert_file" };
            cluster.settings.push(format!("{setting}={}", path.display()));
        }
        cluster.settings.push("ssl=on".into());
        cluster.launch();
        cluster.sql_in("postgres", &format!("CREATE DATABASE {NAME}"));
        cluster
    }

    /// One for all tests of this process; the last that lets go ends it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// Where the database `m0v` is, with user and password.
    pub(crate) fn url(&self) -> String {
        self.url_of(NAME)
    }

    /// Where another database of this server is.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("postgres://{NAME}:{PASSWORD_IN_URL}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database and tells its name.
    pub(crate) fn new_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql_in("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs SQL in the database `m0v`: rows as lines, columns parted by `|`.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.sql_in(NAME, sql)
    }

    /// Runs SQL in another database.
    pub(crate) fn sql_in(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql);
        assert!(output.status.success(), "psql: {sql}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Ends it in good order (open transactions are rolled back).
    pub(crate) fn stop(&self) {
        self.end("INT");
    }

    /// Ends it as a crash would; the next start recovers from the log.
    pub(crate) fn crash(&self) {
        self.end("QUIT");
    }

    /// Stops it in the middle of whatever it does (SIGSTOP to every process of it).
    pub(crate) fn pause(&self) {
        self.signal_all("STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, signal: &str) {
        let postmaster = self.server().as_ref().expect("it runs").id().to_string();
        let children = Command::new("pgrep").args(["-P", &postmaster]).output().expect("pgrep");
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        let all = children.split_whitespace().chain([postmaster.as_str()]);
        Command::new("kill").args(["-s", signal]).args(all).output().expect("kill");
    }

    /// Starts it again on the same port, ending it first if it still runs.
    pub(crate) fn restart(&self) {
        self.stop();
        self.launch();
    }

    /// What the server wrote to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn make(settings: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("m0v-pg-").tempdir().expect("a temporary directory");
        give_to_server(directory.path());
        let cluster = Self {
            programs: programs(),
            port: free_port(),
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            server: Mutex::new(None),
            directory,
        };
        let password_file = cluster.directory.path().join("password");
        fs::write(&password_file, PASSWORD).expect("a file in our own directory");
        give_to_server(&password_file);
        let output = cluster
            .command("initdb")
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-U", NAME])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("-D")
            .arg(cluster.data())
            .output()
            .expect("initdb");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        cluster
    }

    fn launch(&self) {
        let log = File::options().create(true).append(true).open(self.log_path()).expect("our own log");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        let sockets = format!("unix_socket_directories={}", self.directory.path().display());
        let usual = [
            "fsync=on",
            "listen_addresses=127.0.0.1",
            "shared_buffers=32MB",
            "max_connections=120",
            "log_min_messages=warning",
            &sockets,
        ];
        for setting in usual.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let errors = log.try_clone().expect("our own log");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("postgres");
        *self.server() = Some(child);
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        let since = Instant::now();
        while !self.psql("postgres", "SELECT 1").status.success() {
            let ended = self.server().as_mut().is_none_or(|server| matches!(server.try_wait(), Ok(Some(_))));
            assert!(!ended && since.elapsed() < START_DEADLINE, "PostgreSQL does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// Signals the postmaster and waits for it.
    fn end(&self, signal: &str) {
        let Some(mut child) = self.server().take() else { return };
        let kill = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        let is_told = kill.is_ok_and(|status| status.success());
        if !is_told {
            child.kill().ok();
        }
        child.wait().expect("our own child");
    }

    fn psql(&self, database: &str, sql: &str) -> Output {
        Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-U",
                NAME,
                "-d",
                database,
            ])
            .args(["-p", &self.port.to_string(), "-c", sql])
            .env("PGPASSWORD", PASSWORD)
            .env("PGSSLMODE", "disable")
            .output()
            .expect("psql")
    }

    /// A program of PostgreSQL as the user it consents to run as: not root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.directory.path());
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.crash(); // the quickest way that takes the children along
    }
}

/// The newest installation.
fn programs() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, programs)| programs.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().map(|(_, programs)| programs).expect("a PostgreSQL server in /usr/lib/postgresql/*/bin")
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn give_to_server(path: &Path) {
    if is_root() {
        let id = |kind: &str| {
            let output = Command::new("id").args([kind, "postgres"]).output().expect("id");
            String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().expect("a user called postgres")
        };
        chown(path, Some(id("-u")), Some(id("-g"))).expect("root may");
    }
}

/// Below the ephemeral ports, so that no outgoing connection takes it meanwhile.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(31);
    (0..8000)
        .filter_map(|_| u16::try_from(20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 8000).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
