//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{net::IpAddr, ops::RangeInclusive, path::PathBuf};

#[derive(Parser)]
#[command(about = "Puts load on a running m0v and says how it took it", version)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) mode: Mode,
}

#[derive(Subcommand)]
pub(crate) enum Mode {
    /// Readings over connections that stay open
    Persistent(Persistent),
    /// A connection and a handshake for each reading
    Reconnect(Reconnect),
    /// Many connections that say one reading and then nothing
    Idle(Idle),
    /// Passwords of many accounts, asked for as a broker does that starts anew (--port is that of `[api]`)
    Brokers(Brokers),
}

#[derive(Args)]
pub(crate) struct Common {
    /// The server's name or address
    #[arg(long, default_value = "127.0.0.1", global = true)]
    pub(crate) host: String,
    /// Its `[meter]` port
    #[arg(long, default_value_t = 38981, global = true)]
    pub(crate) port: u16,
    /// PEM file with the CA (or root) that the server's certificate must come from
    #[arg(long, value_name = "FILE", default_value = "m0v-data/tls/ca.pem", global = true)]
    pub(crate) ca: PathBuf,
    /// Name in the server's certificate [default: that of --host]
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) server_name: Option<String>,
    /// No TLS (`[meter] tls = false`)
    #[arg(long, global = true)]
    pub(crate) plain: bool,
    /// TLS version to insist on [default: the best]
    #[arg(long, value_enum, global = true)]
    pub(crate) tls: Option<TlsVersion>,
    /// Ids of devices that exist: one, or a range such as 1-1000
    #[arg(long, value_parser = ids, default_value = "1", global = true)]
    pub(crate) ids: RangeInclusive<i64>,
    /// Own addresses to connect from, in turn, comma-separated (a server bounds connections per address)
    #[arg(long, value_delimiter = ',', value_name = "ADDRESSES", global = true)]
    pub(crate) from: Vec<IpAddr>,
    /// End after this many seconds at the latest
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600), global = true)]
    pub(crate) seconds: u64,
    /// The server's process, if it runs here: its CPU time and memory are reported. May be repeated
    #[arg(long, value_name = "PID", global = true)]
    pub(crate) pid: Vec<u32>,
    /// Write `id,timestamp,seq` of every reading that was thanked
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ack_log: Option<PathBuf>,
    /// Report as JSON, without a progress bar
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Persistent {
    /// Open connections
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: u32,
    /// Readings each of them sends
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) packets: u64,
    /// Readings on one connection that may wait for their answer
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) window: u16,
    /// Readings a second in all [default: as fast as they are answered]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
}

#[derive(Args)]
pub(crate) struct Reconnect {
    /// Connections at a time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: u32,
    /// Readings, and so handshakes, in all
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) packets: u64,
    /// Offer to resume the session before
    #[arg(long)]
    pub(crate) resume: bool,
}

#[derive(Args)]
pub(crate) struct Idle {
    /// Connections to open and hold
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: u32,
    /// Handshakes at a time; as many as --connections makes a storm
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) at_once: u32,
    /// Seconds to hold them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) hold: u64,
}

#[derive(Args)]
pub(crate) struct Brokers {
    /// Open connections, each with one question at a time
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: u32,
    /// Accounts, named --prefix and a number from 0
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) accounts: u64,
    /// What their names begin with
    #[arg(long, default_value = "un-load-")]
    pub(crate) prefix: String,
    /// The password they all have
    #[arg(long)]
    pub(crate) password: String,
    /// `[api] broker_token`
    #[arg(long)]
    pub(crate) token: String,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum TlsVersion {
    #[value(name = "1.2")]
    V12,
    #[value(name = "1.3")]
    V13,
}

fn ids(text: &str) -> Result<RangeInclusive<i64>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number =
        |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number: write 5 or 1-1000"));
    let (first, last) = (number(first)?, number(last)?);
    if first < 1 || last < first {
        return Err(format!("{text}: ids count upwards from 1"));
    }
    Ok(first..=last)
}
