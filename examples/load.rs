//! Puts load on a running m0v and says how it took it: rates, latencies, and what was refused.
//!
//! `cargo run --release --example load -- persistent --ids 1-100` sends readings over open connections,
//! `reconnect` makes a new connection for each reading, `idle` opens many and holds them; `brokers` asks the
//! API port for passwords, as a broker does that starts anew. Every run ends: by its count, by `--seconds`, or
//! by Ctrl-C, and then says what it has measured so far. The exit code is 0 only if every reading was
//! answered `Thank you`, and every password `allow`.

#[path = "load/brokers.rs"]
mod brokers;
#[path = "load/dial.rs"]
mod dial;
#[path = "load/idle.rs"]
mod idle;
#[path = "load/options.rs"]
mod options;
#[path = "load/persistent.rs"]
mod persistent;
#[path = "load/process.rs"]
mod process;
#[path = "load/readings.rs"]
mod readings;
#[path = "load/reconnect.rs"]
mod reconnect;
#[path = "load/report.rs"]
mod report;
#[path = "load/run.rs"]
mod run;

use clap::Parser as _;
use options::{Mode, Options};
use report::Report;
use run::Run;
use std::{io::Write as _, process::ExitCode};

fn main() -> ExitCode {
    match load(Options::parse()) {
        Ok(report) if report.is_good() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(fault) => {
            writeln!(std::io::stderr(), "load: {fault}").ok();
            ExitCode::FAILURE
        }
    }
}

/// What keeps a run from beginning or from being reported, in a sentence.
type Fault = String;

fn load(options: Options) -> Result<Report, Fault> {
    let as_json = options.common.json;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no threads: {error}"))?;
    rlimit::increase_nofile_limit(u64::MAX).map_err(|error| format!("the limit of open files: {error}"))?;
    let report = runtime.block_on(async {
        let run = Run::begin(&options)?;
        match options.mode {
            Mode::Persistent(mode) => persistent::run(&run, mode).await,
            Mode::Reconnect(mode) => reconnect::run(&run, mode).await,
            Mode::Idle(mode) => idle::run(&run, mode).await,
            Mode::Brokers(mode) => brokers::run(&run, mode).await,
        }
    })?;
    let text = if as_json { report.json() } else { report.to_string() };
    writeln!(std::io::stdout(), "{text}").map_err(|error| format!("stdout: {error}"))?;
    Ok(report)
}
