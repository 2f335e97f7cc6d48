//! `m0v serve`: logs first, then all ports until SIGTERM.

use super::{CliError, EX_SOFTWARE, complain};
use crate::{config::Loaded, ops::logs};
use std::process::ExitCode;

/// Serves until told to stop.
#[expect(clippy::unused_async, reason = "the server is awaited here once it is built")]
pub(super) async fn run(loaded: Loaded) -> Result<ExitCode, CliError> {
    let Loaded { config, file } = loaded;
    let _logs = logs::start(&config.log)?;
    match file {
        Some(file) => log::info!("configured by {}", file.display()),
        None => log::info!("no config file: defaults, and variables over them"),
    }
    for sentence in config.warnings().into_iter().chain(config.not_built_yet()) {
        log::warn!("{sentence}");
    }
    // FILL IN: server::run(config).await
    complain("m0v serve: not built yet");
    Ok(ExitCode::from(EX_SOFTWARE))
}
