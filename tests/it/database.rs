//! PostgreSQL for tests: one cluster for the whole test process, a database for each test, and
//! clusters of their own for the tests that stop and crash one.

use crate::postgres::Cluster;
use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// A fresh, empty database.
pub(crate) struct Database {
    url: String,
    own_cluster: Option<Watched>,
}

impl Database {
    pub(crate) fn on_shared_cluster() -> Self {
        // Kept until the process ends: a cluster for each test would be most of its time.
        static SHARED: OnceLock<Watched> = OnceLock::new();
        let cluster = &SHARED.get_or_init(Watched::start).cluster;
        Self { url: cluster.url_of(&cluster.new_database()), own_cluster: None }
    }

    pub(crate) fn on_own_cluster() -> Self {
        let own = Watched::start();
        Self { url: own.cluster.url(), own_cluster: Some(own) }
    }

    /// `postgres://…` for m0v and psql.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The cluster that is this test's alone.
    pub(crate) fn cluster(&self) -> &Cluster {
        let own = self.own_cluster.as_ref().expect("only a cluster of its own may be stopped");
        &own.cluster
    }
}

/// A cluster that ends with this process, even if nobody drops it.
struct Watched {
    cluster: Cluster,
    watch: Child,
}

/// Waits until the pipe on stdin closes, which it does with the process that holds the other end.
const WATCH: &str = r#"
cat >/dev/null
pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) || exit 0
kill -s QUIT "$pid" 2>/dev/null
for _ in $(seq 100); do [ -e "$1/postmaster.pid" ] && sleep 0.1; done
rm -rf "${1%/*}"
"#;

impl Watched {
    fn start() -> Self {
        let cluster = Cluster::start();
        let data = cluster.sql("SHOW data_directory");
        let watch = Command::new("sh")
            .args(["-c", WATCH, "watch", &data])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for the tests, not for what tidies up after them.
            .process_group(0)
            .spawn()
            .expect("starts a watch");
        Self { cluster, watch }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.cluster.stop();
        drop(self.watch.stdin.take());
        self.watch.wait().expect("the watch ends");
    }
}

/// `url` with `user:password` in place of whoever it names.
pub(crate) fn with_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL has a scheme");
    let (authority, path) = rest.split_once('/').expect("a URL names a database");
    let host = authority.rsplit('@').next().unwrap_or(authority);
    format!("{scheme}://{user}@{host}/{path}")
}

/// `url` with another port.
pub(crate) fn with_port(url: &str, port: u16) -> String {
    let (before, path) = url.rsplit_once('/').expect("a URL names a database");
    let (host, _) = before.rsplit_once(':').expect("a URL names a port");
    format!("{host}:{port}/{path}")
}
