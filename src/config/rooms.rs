//! The sections that do not listen for devices: `[tls]`, `[acme]`, `[database]`, `[spool]`,
//! `[limits]`, `[log]`.

use super::{
    defaults,
    secret::Secret,
    words::{Compat, LogFormat},
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

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

/// `[acme]`: certificates from an ACME directory; off while `domains` is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// Names in the certificate.
    pub domains: Vec<String>,
    /// Where the CA may write to, as `mailto:` URLs.
    pub contact: Vec<String>,
    /// URL of the directory.
    pub directory: String,
    /// PEM file with the root of the directory's own HTTPS, for a private CA.
    pub ca_file: Option<PathBuf>,
    /// Addresses for tls-alpn-01; the CA calls port 443.
    pub listen_tls_alpn: Vec<SocketAddr>,
    /// Addresses for http-01; the CA calls port 80.
    pub listen_http: Vec<SocketAddr>,
    /// Days before the end; unset, when a third of the lifetime is left.
    pub renew_before_days: Option<u32>,
    /// External account binding: the key's id, from the CA.
    pub eab_kid: Option<String>,
    /// External account binding: the key, base64url as the CA shows it.
    pub eab_key: Option<Secret>,
    /// Whether renewals keep the private key, for devices that pin it.
    pub reuse_key: bool,
    /// Common name of the root whose chain is wanted when the CA offers several.
    pub preferred_chain: Option<String>,
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
    /// File that holds the password, read anew at each connect.
    pub secret_file: Option<PathBuf>,
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

impl Default for Acme {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            contact: Vec::new(),
            directory: defaults::ACME_DIRECTORY.to_owned(),
            ca_file: None,
            listen_tls_alpn: Vec::new(),
            listen_http: Vec::new(),
            renew_before_days: None,
            eab_kid: None,
            eab_key: None,
            reuse_key: false,
            preferred_chain: None,
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
