//! `m0v confo`: stored confirmations, and the end of a conflict.

use super::{CliError, complain, operator, pubs, rfc3339, say, subs};
use crate::{
    config::Loaded,
    server,
    store::{Kept, Resolution, Store, Unresolved},
};
use std::process::ExitCode;

/// What `m0v confo` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List confirmations, the earliest first
    List {
        /// Only those of a device that another user had configured before
        #[arg(long)]
        conflicts: bool,
    },
    /// Say whose a device is: it becomes theirs, and its conflicts are settled
    Resolve(Resolve),
}

/// The conflict to end.
#[derive(Debug, clap::Args)]
pub(super) struct Resolve {
    /// The token that several users configured
    #[arg(allow_negative_numbers = true, value_parser = pubs::parse_hash)]
    pub(super) hash: i64,

    /// E-mail of the registered user whose device it is
    #[arg(long, value_name = "EMAIL", value_parser = subs::parse_email)]
    pub(super) owner: String,
}

/// Confirmations printed and fetched at a time.
const PAGE: i64 = 1000;

/// Does it, beside a running server if there is one.
pub(super) async fn run(command: Command, loaded: Loaded) -> Result<ExitCode, CliError> {
    let store = server::open_store(&loaded.config).await?;
    store.prepare().await?;
    match command {
        Command::List { conflicts } => list(&*store, conflicts).await,
        Command::Resolve(Resolve { hash, owner }) => resolve(&*store, Resolution { hash, owner }).await,
    }
}

async fn list(store: &dyn Store, conflicts: bool) -> Result<ExitCode, CliError> {
    let mut after = i64::MIN;
    loop {
        let page = store.list_confirmations(conflicts, after, PAGE).await?;
        for kept in &page {
            say(line(kept))?;
        }
        match page.last() {
            Some(last) => after = last.id,
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn resolve(store: &dyn Store, resolution: Resolution) -> Result<ExitCode, CliError> {
    let why = match store.resolve(&resolution, &operator()).await? {
        Ok(resolved) => {
            say(format_args!(
                "id {} is sub {}'s now; conflicts settled: {}",
                resolved.pub_id, resolved.creator, resolved.settled
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(Unresolved::UnknownHash) => format!("no device has hash {}", resolution.hash),
        Err(Unresolved::UnknownOwner) => {
            let owner = resolution.owner.escape_debug();
            format!("{owner} is not registered (m0v sub add)")
        }
    };
    complain(format_args!("m0v confo resolve: {why}"));
    Ok(ExitCode::FAILURE)
}

/// One confirmation on one line, what it does not have left out.
fn line(kept: &Kept) -> String {
    let Kept { device_name, ssid, hash, pub_id, .. } = kept;
    let saved_at = rfc3339(kept.saved_at);
    let mut line = format!("{saved_at} deviceName {device_name:?} ssid {ssid:?} hash {hash} id {pub_id}");
    if let Some(email) = &kept.email {
        line += &format!(" by {}", email.escape_debug());
    }
    if let Some(owner) = &kept.owner {
        line += &format!(" owner {}", owner.escape_debug());
    }
    if kept.conflict {
        line += " CONFLICT";
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{Kept, line};

    #[test]
    fn a_confirmation_is_one_line() {
        let kept = Kept {
            id: 1,
            saved_at: 1_732_300_000_999_999,
            device_name: "Mov\nprov".into(),
            ssid: "M0V".into(),
            hash: -5,
            pub_id: 17,
            email: Some("b@x.org".into()),
            owner: Some("a@x.org".into()),
            conflict: true,
        };
        assert_eq!(
            line(&kept),
            "2024-11-22T18:26:40Z deviceName \"Mov\\nprov\" ssid \"M0V\" hash -5 id 17 by b@x.org owner a@x.org CONFLICT"
        );
        let bare = Kept { email: None, owner: None, conflict: false, ..kept };
        assert!(line(&bare).ends_with(" hash -5 id 17"));
    }
}
