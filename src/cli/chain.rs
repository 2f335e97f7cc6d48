//! `m0v chain`: assembles the chain that a small device wants to be sent, and verifies it.

use super::{CliError, complain, say};
use crate::tls;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

/// What `m0v chain` is given.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server's certificate, PEM
    leaf: PathBuf,
    /// The intermediate that signed it, or several in their order, PEM
    ca: PathBuf,
    /// The root that devices hold, PEM
    root: PathBuf,
}

/// The chain goes to stdout, faults to stderr.
pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    match tls::assemble(&args.leaf, &args.ca, &args.root, SystemTime::now()) {
        Ok(chain) => {
            say(chain.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(faults) => {
            for fault in faults {
                complain(format_args!("m0v: {fault}"));
            }
            Ok(ExitCode::FAILURE)
        }
    }
}
