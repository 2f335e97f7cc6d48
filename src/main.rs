//! The command line.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    m0v::cli::run(env::args_os(), env::vars_os())
}
