//! `m0v token`: what a device shows to be given an account.

use super::{CliError, accounts::parse_rule, complain, operator, rfc3339, say, times};
use crate::{
    config::Loaded,
    device::secrets,
    server,
    store::{
        Micros, Store,
        accounts::{Kind, NewToken, Rule, Rules, Token},
        now,
    },
};
use std::process::ExitCode;

/// What `m0v token` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make an onboarding token and print it: it is shown this once
    New(New),
    /// List all tokens, not what they are
    List,
    /// End a token; accounts that were made with it stay
    Revoke {
        /// What it was named
        name: String,
    },
}

/// The token to make.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// What to call it
    #[arg(long, value_name = "N", value_parser = parse_name)]
    pub(super) name: String,

    /// How many accounts it makes [default: any number]
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(1..))]
    pub(super) uses: Option<i64>,

    /// Good for so long (90m, 12h, 30d, 8w), or until a time (2027-01-31T12:00:00Z) or the end of a day (2027-01-31, UTC)
    #[arg(long, value_name = "D", value_parser = |text: &str| times::parse_end(text, now()))]
    pub(super) expires: Option<Micros>,

    /// What its accounts may do on a broker: pub:PATTERN or sub:PATTERN, with +, #, {device}, {username}; again for more [default: nothing]
    #[arg(long, value_name = "pub:PATTERN", value_parser = parse_rule)]
    pub(super) allow: Vec<Rule>,
}

/// Tokens printed and fetched at a time.
const PAGE: i64 = 1000;

/// Longest name of a token in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Letters and digits of a token.
const TOKEN_LENGTH: usize = 40;

/// Does it, beside a running server if there is one.
pub(super) async fn run(command: Command, loaded: Loaded) -> Result<ExitCode, CliError> {
    let store = server::open_store(&loaded.config).await?;
    store.prepare().await?;
    match command {
        Command::New(new) => make(&*store, new).await,
        Command::List => list(&*store).await,
        Command::Revoke { name } => revoke(&*store, &name).await,
    }
}

async fn make(store: &dyn Store, new: New) -> Result<ExitCode, CliError> {
    let token = secrets::random("ot-", TOKEN_LENGTH).map_err(|_| CliError::Randomness)?;
    let mut rules = Rules::default();
    for rule in new.allow {
        rules.insert(rule);
    }
    let kept = NewToken {
        name: new.name,
        token_hash: secrets::hashed(&token),
        uses: new.uses,
        expires_at: new.expires,
        rules,
    };
    if !store.add_token(&kept, &operator()).await? {
        complain(format_args!(
            "m0v token new: there is a token named {} already; take another name",
            kept.name
        ));
        return Ok(ExitCode::FAILURE);
    }
    say(&*token)?;
    if kept.rules == Rules::default() {
        complain(
            "m0v token new: its accounts may do nothing on a broker until `m0v account allow` (or make one with --allow)",
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(store: &dyn Store) -> Result<ExitCode, CliError> {
    let mut after = String::new();
    loop {
        let page = store.list_tokens(&after, PAGE).await?;
        for token in &page {
            say(line(token, now()))?;
        }
        match page.into_iter().last() {
            Some(last) => after = last.name,
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn revoke(store: &dyn Store, name: &str) -> Result<ExitCode, CliError> {
    if store.revoke_token(name, &operator()).await? {
        return Ok(ExitCode::SUCCESS);
    }
    complain("m0v token revoke: there is no token of this name");
    Ok(ExitCode::FAILURE)
}

/// One token on one line: whether it is good, then what it gives.
fn line(token: &Token, now: Micros) -> String {
    let state = match token {
        Token { revoked_at: Some(at), .. } => format!("revoked {}", rfc3339(*at)),
        Token { expires_at: Some(at), .. } if *at <= now => format!("expired {}", rfc3339(*at)),
        Token { uses_left: Some(0), .. } => "used up".to_owned(),
        Token { uses_left: Some(1), .. } => "1 use left".to_owned(),
        Token { uses_left: Some(left), .. } => format!("{left} uses left"),
        Token { uses_left: None, .. } => "any number of uses".to_owned(),
    };
    let mut line = format!("token {} {state}", token.name.escape_debug());
    if let Token { expires_at: Some(at), revoked_at: None, .. } = token
        && *at > now
    {
        line += &format!(" until {}", rfc3339(*at));
    }
    for kind in [Kind::Publish, Kind::Subscribe] {
        for pattern in token.rules.of(kind) {
            line += &format!(" {}:{}", kind.as_str(), pattern.escape_debug());
        }
    }
    line
}

fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES {
        return Err(format!("it must be 1 to {MAX_NAME_BYTES} bytes"));
    }
    if text.contains(char::is_control) {
        return Err("it has a control character".to_owned());
    }
    Ok(text.to_owned())
}
