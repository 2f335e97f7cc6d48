//! `m0v check`: what is right and wrong, one line each; exit 1 on any fault.
//!
//! Changes nothing: no schema is applied, no certificate made.

mod acme;
mod database;
mod identity;
mod onboarding;
mod ports;
mod proxies;
mod spool;
mod trust;
mod tunnel;

use super::{CliError, say};
use crate::config::{Config, Loaded};
use std::fmt;
use std::process::ExitCode;

/// What `m0v check` can be told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the effective configuration as TOML, secrets left out, and check nothing else
    #[arg(long)]
    pub(super) print_config: bool,
}

/// One line of the result.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    grade: Grade,
    /// `config`, `database`, `spool`, `chain`, `acme`, `onboarding`, `ports`, `proxies`, `device`, `open`, `ca`,
    /// `devices`, `tunnel`.
    what: &'static str,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Ok,
    Warning,
    Fault,
}

impl Finding {
    fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, what, text: text.into() }
    }

    fn warning(what: &'static str, text: impl Into<String>) -> Self {
        Self { grade: Grade::Warning, what, text: text.into() }
    }

    fn fault(what: &'static str, text: impl Into<String>) -> Self {
        Self { grade: Grade::Fault, what, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grade = match self.grade {
            Grade::Ok => "ok",
            Grade::Warning => "warning",
            Grade::Fault => "fault",
        };
        write!(f, "{grade}: {}: {}", self.what, self.text)
    }
}

/// Checks the configuration and its surroundings. The configuration itself is sound, or this
/// would not be called.
pub(super) async fn run(args: Args, loaded: Loaded) -> Result<ExitCode, CliError> {
    if args.print_config {
        say(loaded.config.to_toml().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut findings = configuration(&loaded);
    findings.extend(surroundings(&loaded.config).await);
    for finding in &findings {
        say(finding)?;
    }
    let faulty = findings.iter().any(|finding| finding.grade == Grade::Fault);
    Ok(if faulty { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn configuration(loaded: &Loaded) -> Vec<Finding> {
    let source = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "no file, defaults and variables".to_owned(),
    };
    let mut findings = vec![Finding::ok("config", source)];
    findings
        .extend(loaded.config.warnings().into_iter().map(|sentence| Finding::warning("config", sentence)));
    findings
}

async fn surroundings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![database::check(config).await];
    findings.extend(spool::check(config));
    findings.extend(trust::check(config));
    findings.extend(acme::check(config).await);
    findings.extend(onboarding::check(config).await);
    findings.extend(ports::check(config));
    findings.extend(proxies::check(config));
    findings.extend(identity::check(config).await);
    findings.extend(tunnel::check(config).await);
    findings
}
