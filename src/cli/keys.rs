//! `m0v key`: keys of the HTTPS API beside the configured one.

use super::{CliError, Stores, operator, refuse, rfc3339, say};
use crate::{config::Loaded, store::ApiKey, tls::hex};
use aws_lc_rs::{digest, rand};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// What `m0v key` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key and print it: it is shown this once and stored nowhere
    Add {
        /// What the audit calls it, such as backoffice
        #[arg(value_parser = parse_name)]
        name: String,
    },
    /// List the names of all keys
    List,
    /// Refuse a key from now on, for ever
    Retire {
        /// Its name
        name: String,
    },
}

/// Random bytes of a key: as hard to guess as AES-256.
const KEY_BYTES: usize = 32;
/// Longest name in bytes: enough for one line of the audit.
const MAX_NAME_BYTES: usize = 64;

/// Does it, beside a running server if there is one.
pub(super) async fn run(command: Command, loaded: Loaded) -> Result<ExitCode, CliError> {
    let stores = Stores::open(&loaded.config).await?;
    match command {
        Command::Add { name } => add(&stores, &name).await,
        Command::List => list(&stores).await,
        Command::Retire { name } => retire(&stores, &name).await,
    }
}

async fn add(stores: &Stores, name: &str) -> Result<ExitCode, CliError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    rand::fill(&mut *bytes).map_err(|_| CliError::Randomness)?;
    let key = Zeroizing::new(hex(&*bytes));
    let key_hash = hex(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    match stores.store.add_key(name, &key_hash, &operator()).await? {
        Ok(_) => say(&*key)?,
        Err(taken) => return refuse("key add", format_args!("there is one already: {}", line(&taken))),
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(stores: &Stores) -> Result<ExitCode, CliError> {
    for key in stores.store.list_keys().await? {
        say(line(&key))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn retire(stores: &Stores, name: &str) -> Result<ExitCode, CliError> {
    match stores.store.retire_key(name, &operator()).await? {
        Some(key) => say(line(&key))?,
        None => {
            return refuse(
                "key retire",
                format_args!("no key is called {} (m0v key list)", name.escape_debug()),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(key: &ApiKey) -> String {
    let made = rfc3339(key.created_at);
    match key.retired_at {
        None => format!("{} made {made}", key.name.escape_debug()),
        Some(at) => format!("{} made {made}, retired {}", key.name.escape_debug(), rfc3339(at)),
    }
}

fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES {
        return Err(format!("it must be 1 to {MAX_NAME_BYTES} bytes"));
    }
    if text.contains(char::is_control) {
        return Err("it has a control character".to_owned());
    }
    if text.starts_with('(') {
        return Err(
            "the audit calls the key of the configuration \"(configured)\"; begin with another character"
                .into(),
        );
    }
    Ok(text.to_owned())
}
