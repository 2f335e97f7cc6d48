//! `m0v check`: what is right and wrong, one line each; exit 1 on any fault.

use super::{CliError, say};
use crate::config::Loaded;
use std::process::ExitCode;

/// What `m0v check` can be told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the effective configuration as TOML, secrets left out, and check nothing else
    #[arg(long)]
    pub(super) print_config: bool,
}

/// Checks the configuration and its surroundings. The configuration itself is sound, or this
/// would not be called.
#[expect(
    clippy::unused_async,
    reason = "the checks of database and ports are awaited here once they are built"
)]
pub(super) async fn run(args: Args, loaded: Loaded) -> Result<ExitCode, CliError> {
    let Loaded { config, file } = loaded;
    if args.print_config {
        say(config.to_toml().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    match file {
        Some(file) => say(format_args!("ok: config: {}", file.display()))?,
        None => say("ok: config: no file, defaults and variables")?,
    }
    for sentence in config.warnings().into_iter().chain(config.not_built_yet()) {
        say(format_args!("warning: {sentence}"))?;
    }
    // FILL IN: database, chain, ports, what a device must hold; ExitCode::FAILURE on any fault.
    Ok(ExitCode::SUCCESS)
}
