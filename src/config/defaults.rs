//! Every default of `m0v.toml`, with its unit and its reason.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// Next to where m0v is started: nothing to install, nothing to make first.
pub(super) const DATA_DIR: &str = "m0v-data";

/// Meter port: the number is burnt into device firmware.
pub(super) const METER_PORT: u16 = 38981;
/// Confirm port: burnt into firmware and the Android app.
pub(super) const CONFIRM_PORT: u16 = 38979;
/// API port: what the app and the back office call.
pub(super) const API_PORT: u16 = 38980;
/// Admin port, on the loopback only: it has no password.
pub(super) const ADMIN_PORT: u16 = 38982;

/// The words deployed firmware waits for.
pub(super) const METER_REPLY: &str = "Thank you";
/// The word deployed firmware waits for after a confirmation.
pub(super) const CONFIRM_REPLY: &str = "OK";
/// A day: an app that was put away during provisioning still finds its device.
pub(super) const CONFIRM_VISIBLE: Duration = Duration::from_secs(24 * 60 * 60);
/// The header today's clients send.
pub(super) const API_KEY_NAME: &str = "api-key-name";
/// m0v's own device-facing ports: a gateway must not reach further unless told so.
pub(super) const TUNNEL_ALLOW: [&str; 3] = ["127.0.0.1:38981", "127.0.0.1:38979", "127.0.0.1:38980"];

/// Let's Encrypt's production directory: free, and no account is needed beforehand.
pub(super) const ACME_DIRECTORY: &str = "letsencrypt";

/// RSA bits: what a CC3220S verifies in reasonable time.
pub(super) const ACME_KEY_BITS: u16 = 2048;

/// Connections to PostgreSQL: a few writer lanes and a few readers; one server's default
/// `max_connections` is 100, so several nodes fit.
pub(super) const DATABASE_MAX_CONNECTIONS: usize = 8;
/// Rows a batch: about 200 bytes each, so a statement stays near 200 KB and a commit short.
pub(super) const BATCH_MAX_ROWS: usize = 1000;

/// Bytes: 1 GiB is about eight million packets, a day of 5,800 devices that send each minute.
pub(super) const SPOOL_MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// Connections in all: at 20 to 40 KB each this fits a machine with 4 GB.
pub(super) const MAX_CONNECTIONS: usize = 50_000;
/// Connections of one address: many devices share the address of one carrier or site.
pub(super) const MAX_CONNECTIONS_PER_IP: usize = 1000;
/// From accept to the end of the handshake: small CPUs and bad radio need seconds, nobody needs ten.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a line: three times the five minutes that slow meters keep.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// For one reply to leave: a peer that does not read must not hold a task.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes a line: a packet is about 100, and its unknown keys may be as long as this.
pub(super) const MAX_LINE: usize = 8192;

/// What an operator wants to read when nothing is wrong.
pub(super) const LOG_LEVEL: log::LevelFilter = log::LevelFilter::Info;
/// Bytes a file: 10 MiB opens in any editor.
pub(super) const LOG_ROTATE_BYTES: u64 = 10 * 1024 * 1024;
/// Rotated files: with 10 MiB each the log stays near 100 MiB.
pub(super) const LOG_KEEP: usize = 10;

/// All addresses of both families, as `listen` of a public port has it by default.
pub(super) fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

/// The IPv4 loopback alone.
pub(super) fn loopback(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::LOCALHOST, port).into()]
}
