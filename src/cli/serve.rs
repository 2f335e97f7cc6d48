//! `m0v serve`: logs first, then all ports until SIGTERM.

use super::CliError;
use crate::{config::Loaded, ops::logs, server};
use std::{io, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// Serves until told to stop by SIGTERM or SIGINT.
pub(super) async fn run(loaded: Loaded) -> Result<ExitCode, CliError> {
    let Loaded { config, file } = loaded;
    let _logs = logs::start(&config.log)?;
    log::info!("m0v {}", env!("CARGO_PKG_VERSION"));
    match file {
        Some(file) => log::info!("configured by {}", file.display()),
        None => log::info!("no config file: defaults, and variables over them"),
    }
    for sentence in config.warnings() {
        log::warn!("{sentence}");
    }
    let stop = stop_signal().map_err(CliError::Runtime)?;
    server::run(config, stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// Resolves at SIGTERM or SIGINT. Taken over before anything starts, so that neither can
/// end the process half-way.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
