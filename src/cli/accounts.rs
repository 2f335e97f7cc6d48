//! `m0v account`: what clients of brokers may do, and their files for plain mosquitto.

mod mosquitto;

use super::{CliError, complain, operator, rfc3339, say};
use crate::{
    config::Loaded,
    device::acl::Pattern,
    server,
    store::{
        Store,
        accounts::{Account, Kind, NotTied, Portrait, Rule},
    },
};
use std::process::ExitCode;

/// What `m0v account` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List all accounts
    List,
    /// Show an account: what it may do, and its last handshakes
    Show {
        /// Its username
        username: String,
    },
    /// Refuse an account on every broker and in every handshake
    Disable {
        /// Its username
        username: String,
    },
    /// Take that back
    Enable {
        /// Its username
        username: String,
    },
    /// Tie an account to a device: {device} in its patterns, refused with it when it is revoked
    Tie {
        /// Its username
        username: String,
        /// The device's id
        device: String,
    },
    /// Untie an account from its device
    Untie {
        /// Its username
        username: String,
    },
    /// Allow an account to publish or subscribe
    Allow(Change),
    /// Take what was allowed away
    Deny(Change),
    /// Write all active accounts as password and ACL file of mosquitto
    ExportMosquitto(mosquitto::Args),
}

/// What to allow, or no more.
#[derive(Debug, clap::Args)]
pub(super) struct Change {
    /// Its username
    pub(super) username: String,

    /// pub:PATTERN or sub:PATTERN, with +, #, {device} and {username}
    #[arg(value_name = "pub:PATTERN", value_parser = parse_rule)]
    pub(super) rule: Rule,
}

/// Accounts printed and fetched at a time.
const PAGE: i64 = 1000;

/// Does it, beside a running server if there is one.
pub(super) async fn run(command: Command, loaded: Loaded) -> Result<ExitCode, CliError> {
    let store = server::open_store(&loaded.config).await?;
    store.prepare().await?;
    let (store, who) = (&*store, operator());
    match command {
        Command::List => list(store).await,
        Command::Show { username } => show(store, &username).await,
        Command::Disable { username } => found(store.set_enabled(&username, false, &who).await?),
        Command::Enable { username } => found(store.set_enabled(&username, true, &who).await?),
        Command::Tie { username, device } => tied(store.tie(&username, Some(&device), &who).await?),
        Command::Untie { username } => tied(store.tie(&username, None, &who).await?),
        Command::Allow(Change { username, rule }) => {
            let changed = store.allow(&username, &rule, &who).await?;
            done(changed, "it was allowed already")
        }
        Command::Deny(Change { username, rule }) => {
            let changed = store.deny(&username, &rule, &who).await?;
            done(changed, "it has no such rule; `m0v account show` has what it may do")
        }
        Command::ExportMosquitto(args) => mosquitto::export(store, &args).await,
    }
}

async fn list(store: &dyn Store) -> Result<ExitCode, CliError> {
    let mut after = i64::MIN;
    loop {
        let page = store.list_accounts(after, PAGE).await?;
        for account in &page {
            say(line(account))?;
        }
        match page.last() {
            Some(last) => after = last.account_id,
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn show(store: &dyn Store, username: &str) -> Result<ExitCode, CliError> {
    let Some(Portrait { account, rules, handshakes }) = store.show_account(username).await? else {
        return found(false);
    };
    say(line(&account))?;
    for kind in [Kind::Publish, Kind::Subscribe] {
        for pattern in rules.of(kind) {
            say(format_args!("{}:{}", kind.as_str(), pattern.escape_debug()))?;
        }
    }
    for (at, peer) in handshakes {
        say(format_args!("handshake {} from {}", rfc3339(at), peer.as_deref().unwrap_or("somewhere")))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn found(found: bool) -> Result<ExitCode, CliError> {
    if found {
        return Ok(ExitCode::SUCCESS);
    }
    complain("m0v account: there is no account of this username; `m0v account list` has them all");
    Ok(ExitCode::FAILURE)
}

fn done(changed: Option<bool>, unchanged: &str) -> Result<ExitCode, CliError> {
    match changed {
        Some(true) => Ok(ExitCode::SUCCESS),
        Some(false) => {
            complain(format_args!("m0v account: {unchanged}"));
            Ok(ExitCode::FAILURE)
        }
        None => found(false),
    }
}

fn tied(tied: Result<(), NotTied>) -> Result<ExitCode, CliError> {
    match tied {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(NotTied::UnknownAccount) => found(false),
        Err(NotTied::UnknownDevice) => {
            complain("m0v account tie: there is no device of this id; `m0v device list` has them all");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// One account on one line.
fn line(account: &Account) -> String {
    let mut line = format!("account {} {}", account.account_id, account.username.escape_debug());
    if !account.is_enabled {
        line += " disabled";
    }
    if let Some(device) = &account.device_id {
        line += &format!(" device {}", device.escape_debug());
    }
    line += &format!(" since {}", rfc3339(account.created_at));
    if let Some(at) = account.last_handshake_at {
        line += &format!(" seen {}", rfc3339(at));
    }
    line
}

/// `pub:PATTERN` or `sub:PATTERN`.
pub(super) fn parse_rule(text: &str) -> Result<Rule, String> {
    let (kind, pattern) = if let Some(pattern) = text.strip_prefix("pub:") {
        (Kind::Publish, pattern)
    } else if let Some(pattern) = text.strip_prefix("sub:") {
        (Kind::Subscribe, pattern)
    } else {
        return Err("it must begin with pub: or sub:".to_owned());
    };
    let pattern = Pattern::parse(pattern).map_err(|fault| fault.to_string())?;
    Ok(Rule { kind, pattern: pattern.as_str().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::parse_rule;
    use crate::store::accounts::{Kind, Rule};

    #[test]
    fn reads_rules() {
        let rule = |kind, pattern: &str| Ok(Rule { kind, pattern: pattern.into() });
        assert_eq!(parse_rule("pub:a/{device}/+"), rule(Kind::Publish, "a/{device}/+"));
        assert_eq!(parse_rule("sub:#"), rule(Kind::Subscribe, "#"));
        assert_eq!(parse_rule("sub:pub:a"), rule(Kind::Subscribe, "pub:a"));
        for (text, word) in
            [("a/b", "pub: or sub:"), ("pub:", "empty"), ("pub:a+", "column 2"), ("PUB:a", "begin")]
        {
            let refusal = parse_rule(text).unwrap_err();
            assert!(refusal.contains(word), "{text}: {refusal}");
        }
    }
}
