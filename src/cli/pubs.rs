//! `m0v pub`: devices, as the id and hash they send.

use super::{CliError, EX_SOFTWARE, complain};
use crate::config::Loaded;
use std::process::ExitCode;

/// What `m0v pub` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a device and print its id
    Add(Add),
    /// List all devices
    List,
    /// Show one device
    Show {
        /// Its id
        #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(1..))]
        id: i64,
    },
}

/// The device to make.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Its id [default: the next free one]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(1..))]
    pub(super) id: Option<i64>,

    /// The token it confirms with
    #[arg(long, value_name = "H", allow_negative_numbers = true, value_parser = parse_hash)]
    pub(super) hash: Option<i64>,
}

/// Does it, beside a running server if there is one.
#[expect(clippy::unused_async, reason = "the store is awaited here once it is built")]
pub(super) async fn run(command: Command, loaded: Loaded) -> Result<ExitCode, CliError> {
    let Loaded { config: _, file: _ } = loaded;
    // FILL IN: open the store of config and do this.
    let name = match command {
        Command::Add(Add { id: _, hash: _ }) => "add",
        Command::List => "list",
        Command::Show { id: _ } => "show",
    };
    complain(format_args!("m0v pub {name}: not built yet"));
    Ok(ExitCode::from(EX_SOFTWARE))
}

/// Any signed 64-bit number but 0, which means "no hash" on the wire.
fn parse_hash(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(0) => Err("0 means no hash".to_owned()),
        Ok(hash) => Ok(hash),
        Err(error) => Err(format!("{error}")),
    }
}
