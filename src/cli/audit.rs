//! `m0v audit`: who did what, and when.

use super::{CliError, Stores, rfc3339, say};
use crate::{config::Loaded, store::devices::Audited};
use std::process::ExitCode;

/// What `m0v audit` can be told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The latest so many entries
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=MOST))]
    pub(super) limit: u32,
}

/// More than anybody reads at once; they are held in memory to be printed in order.
const MOST: i64 = 100_000;

/// Prints the latest entries, the earliest of them first.
pub(super) async fn run(args: Args, loaded: Loaded) -> Result<ExitCode, CliError> {
    let stores = Stores::open(&loaded.config).await?;
    let mut entries = stores.store.list_audit(None, i64::from(args.limit)).await?;
    entries.reverse();
    for entry in &entries {
        say(line(entry))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(entry: &Audited) -> String {
    let (at, who, what) = (rfc3339(entry.at), entry.who.escape_debug(), entry.what.escape_debug());
    let subject = entry.subject.as_deref().unwrap_or_default().escape_debug();
    format!("{at} {who}: {what} {subject}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line() {
        let entry = Audited {
            id: 1,
            at: 1_732_300_000_000_000,
            who: "cli ann@host".into(),
            what: "device approve".into(),
            subject: Some("device a\nb".into()),
        };
        assert_eq!(line(&entry), "2024-11-22T18:26:40Z cli ann@host: device approve device a\\nb");
        assert_eq!(
            line(&Audited { subject: None, ..entry }),
            "2024-11-22T18:26:40Z cli ann@host: device approve"
        );
    }
}
