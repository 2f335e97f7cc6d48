//! `m0v sub`: registered users, who own the devices they confirm.

use super::{CliError, complain, operator, say};
use crate::{
    config::Loaded,
    protocol::confo,
    server,
    store::{Registration, Store, Sub},
};
use std::process::ExitCode;

/// What `m0v sub` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Register a user: the devices they confirm are theirs from then on
    Add(Add),
    /// Deregister a user: their devices stay, and keep the user's number
    Remove {
        /// The e-mail, in any case
        email: String,
    },
    /// List all registered users
    List,
}

/// The user to register.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// The e-mail their confirmations name
    #[arg(value_parser = parse_email)]
    pub(super) email: String,

    /// Their name, for you
    #[arg(long, value_parser = parse_note)]
    pub(super) name: Option<String>,

    /// Their telephone, for you
    #[arg(long, value_parser = parse_note)]
    pub(super) phone: Option<String>,
}

/// Users printed and fetched at a time.
const PAGE: i64 = 1000;

/// Longest name and telephone in bytes: enough for either.
const MAX_NOTE_BYTES: usize = 200;

/// Does it, beside a running server if there is one.
pub(super) async fn run(command: Command, loaded: Loaded) -> Result<ExitCode, CliError> {
    let store = server::open_store(&loaded.config).await?;
    store.prepare().await?;
    match command {
        Command::Add(Add { email, name, phone }) => add(&*store, Registration { email, name, phone }).await,
        Command::Remove { email } => remove(&*store, &email).await,
        Command::List => list(&*store).await,
    }
}

async fn add(store: &dyn Store, registration: Registration) -> Result<ExitCode, CliError> {
    match store.add_sub(&registration, &operator()).await? {
        Ok(added) => {
            say(added.sub_id)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(taken) => {
            complain(format_args!("m0v sub add: registered already: {}", line(&taken)));
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn remove(store: &dyn Store, email: &str) -> Result<ExitCode, CliError> {
    match store.remove_sub(email, &operator()).await? {
        Some(sub_id) => {
            say(sub_id)?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            complain("m0v sub remove: nobody is registered with this e-mail");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn list(store: &dyn Store) -> Result<ExitCode, CliError> {
    let mut after = i64::MIN;
    loop {
        let page = store.list_subs(after, PAGE).await?;
        for sub in &page {
            say(line(sub))?;
        }
        match page.last() {
            Some(last) => after = last.sub_id,
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// One user on one line, what is not known left out.
fn line(sub: &Sub) -> String {
    let mut line = format!("sub {} {}", sub.sub_id, sub.email.escape_debug());
    for (what, note) in [("name", &sub.name), ("phone", &sub.phone)] {
        if let Some(note) = note {
            line += &format!(" {what} {note:?}");
        }
    }
    line
}

/// What a confirmation may name, and nothing else: a user registered otherwise would own nothing.
pub(super) fn parse_email(text: &str) -> Result<String, String> {
    match confo::check_email(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(fault) => Err(format!("it {fault}")),
    }
}

fn parse_note(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NOTE_BYTES {
        return Err(format!("it must be 1 to {MAX_NOTE_BYTES} bytes"));
    }
    if text.contains(char::is_control) {
        return Err("it has a control character".to_owned());
    }
    Ok(text.to_owned())
}
