//! The sections that do not listen for devices: `[tls]`, `[database]`, `[spool]`,
//! `[limits]`, `[log]`.

use super::{
    defaults,
    keys::Keys,
    secret::Secret,
    single::{between, database_url, fragment, optional, seconds, shared_secret},
    words::{Compat, LogFormat},
};
use std::{path::PathBuf, time::Duration};

/// `[tls]`: the server's certificate and how old a client may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with leaf and intermediates; unset (and no `[acme]`), a local CA makes one.
    pub chain: Option<PathBuf>,
    /// PEM file with the leaf's private key.
    pub key: Option<PathBuf>,
    /// Whether the root is sent as well: small devices match it against the one they hold.
    pub append_root: bool,
    /// Folder with roots beside the ones compiled in.
    pub roots: Option<PathBuf>,
    /// How old a client may be.
    pub compat: Compat,
    /// Longest record sent, in bytes of plaintext; unset, TLS's own 16384.
    pub max_fragment: Option<u16>,
    /// Whether sessions can be resumed.
    pub resumption: bool,
}

/// `[database]`: where readings are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// `postgres://…`; unset, the embedded store `<data_dir>/m0v.sqlite`.
    pub url: Option<Secret>,
    /// PEM file with the root of the server's certificate.
    pub ca_file: Option<PathBuf>,
    /// Connections m0v opens at most.
    pub max_connections: usize,
    /// Most rows in one commit.
    pub batch_max_rows: usize,
    /// File with the secret that encrypts what nodes share through the database.
    pub secret_file: Option<PathBuf>,
    /// The same secret as text, for the environment.
    pub secret: Option<Secret>,
    /// Whether a database that may lose commits (`fsync` off) is only shouted at.
    pub allow_unsafe: bool,
}

/// `[spool]`: where packets wait while PostgreSQL is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Whether there is one.
    pub enabled: bool,
    /// Its folder; unset, [`Config::spool_dir`](super::Config::spool_dir).
    pub dir: Option<PathBuf>,
    /// Its largest size in bytes.
    pub max_bytes: u64,
}

/// `[limits]`: what one peer, and all peers, may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of one address.
    pub max_connections_per_ip: usize,
    /// From accept to established.
    pub handshake_timeout: Duration,
    /// Without a line.
    pub idle_timeout: Duration,
    /// For one reply to leave.
    pub write_timeout: Duration,
    /// Bytes of a line, its end not counted.
    pub max_line: usize,
}

/// `[log]`: how much is said, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is written.
    pub level: log::LevelFilter,
    /// Folder for log files; unset, stderr.
    pub dir: Option<PathBuf>,
    /// Size in bytes at which a new file is begun.
    pub rotate_bytes: u64,
    /// Rotated files kept beside the current one.
    pub keep: usize,
    /// What a line looks like.
    pub format: LogFormat,
}

/// Most connections, rows or files anyone can mean: beyond it is a slip of the finger.
const MANY: usize = 10_000_000;
/// Seconds: nobody waits longer than a month on purpose.
const MONTH: u64 = 31 * 24 * 60 * 60;
/// Connections to the database: one writes and one reads, and no server grants more than these.
const CONNECTIONS: std::ops::RangeInclusive<usize> = 2..=1000;
/// Bytes: a spool smaller than this is full after a few thousand packets.
const MIB: u64 = 1024 * 1024;

impl Tls {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self { chain, key, append_root, roots, compat, max_fragment, resumption } = self;
        keys.key("chain", chain);
        keys.key("key", key);
        keys.key("append_root", append_root);
        keys.key("roots", roots);
        keys.key("compat", compat);
        keys.checked("max_fragment", max_fragment, optional(fragment));
        keys.key("resumption", resumption);
    }
}

impl Database {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self { url, ca_file, max_connections, batch_max_rows, secret_file, secret, allow_unsafe } = self;
        keys.checked("url", url, optional(database_url));
        keys.key("ca_file", ca_file);
        keys.checked("max_connections", max_connections, between(CONNECTIONS));
        keys.checked("batch_max_rows", batch_max_rows, between(1..=100_000));
        keys.key("secret_file", secret_file);
        keys.checked("secret", secret, optional(shared_secret));
        keys.key("allow_unsafe", allow_unsafe);
    }
}

impl Spool {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self { enabled, dir, max_bytes } = self;
        keys.key("enabled", enabled);
        keys.key("dir", dir);
        keys.checked("max_bytes", max_bytes, between(MIB..=u64::MAX >> 1));
    }
}

impl Limits {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self {
            max_connections,
            max_connections_per_ip,
            handshake_timeout,
            idle_timeout,
            write_timeout,
            max_line,
        } = self;
        keys.checked("max_connections", max_connections, between(1..=MANY));
        keys.checked("max_connections_per_ip", max_connections_per_ip, between(1..=MANY));
        keys.checked("handshake_timeout", handshake_timeout, seconds(1..=MONTH));
        keys.checked("idle_timeout", idle_timeout, seconds(1..=MONTH));
        keys.checked("write_timeout", write_timeout, seconds(1..=MONTH));
        keys.checked("max_line", max_line, between(256..=1024 * 1024));
    }
}

impl Log {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self { level, dir, rotate_bytes, keep, format } = self;
        keys.key("level", level);
        keys.key("dir", dir);
        keys.checked("rotate_bytes", rotate_bytes, between(4096..=u64::MAX >> 1));
        keys.checked("keep", keep, between(1..=10_000));
        keys.key("format", format);
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            chain: None,
            key: None,
            append_root: true,
            roots: None,
            compat: Compat::Cc3220,
            max_fragment: None,
            resumption: true,
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            ca_file: None,
            max_connections: defaults::DATABASE_MAX_CONNECTIONS,
            batch_max_rows: defaults::BATCH_MAX_ROWS,
            secret_file: None,
            secret: None,
            allow_unsafe: false,
        }
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self { enabled: true, dir: None, max_bytes: defaults::SPOOL_MAX_BYTES }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: defaults::MAX_CONNECTIONS,
            max_connections_per_ip: defaults::MAX_CONNECTIONS_PER_IP,
            handshake_timeout: defaults::HANDSHAKE_TIMEOUT,
            idle_timeout: defaults::IDLE_TIMEOUT,
            write_timeout: defaults::WRITE_TIMEOUT,
            max_line: defaults::MAX_LINE,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: defaults::LOG_LEVEL,
            dir: None,
            rotate_bytes: defaults::LOG_ROTATE_BYTES,
            keep: defaults::LOG_KEEP,
            format: LogFormat::Text,
        }
    }
}
