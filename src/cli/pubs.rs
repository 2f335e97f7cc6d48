//! `m0v pub`: devices, as the id and hash they send.

use super::{CliError, complain, say};
use crate::{
    config::Loaded,
    protocol::packet::PubRef,
    server,
    store::{Pub, Store},
};
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

/// Devices printed and fetched at a time.
const PAGE: i64 = 1000;

/// Does it, beside a running server if there is one.
pub(super) async fn run(command: Command, loaded: Loaded) -> Result<ExitCode, CliError> {
    let store = server::open_store(&loaded.config).await?;
    store.prepare().await?;
    match command {
        Command::Add(Add { id, hash }) => add(&*store, PubRef { id, hash }).await,
        Command::List => list(&*store).await,
        Command::Show { id } => show(&*store, id).await,
    }
}

async fn add(store: &dyn Store, device: PubRef) -> Result<ExitCode, CliError> {
    match store.add_pub(device).await? {
        Ok(made) => {
            say(made.pub_id)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(taken) => {
            complain(format_args!("m0v pub add: there is one already: {}", line(&taken)));
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn list(store: &dyn Store) -> Result<ExitCode, CliError> {
    let mut after = 0;
    loop {
        let page = store.list_pubs(after, PAGE).await?;
        for device in &page {
            say(line(device))?;
        }
        match page.last() {
            Some(last) => after = last.pub_id,
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn show(store: &dyn Store, id: i64) -> Result<ExitCode, CliError> {
    match store.find_pub(PubRef { id: Some(id), hash: None }).await? {
        Some(device) => {
            say(line(&device))?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            complain(format_args!("m0v pub show: no device has id {id}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// One device on one line, what it does not have left out.
fn line(device: &Pub) -> String {
    let mut line = format!("id {}", device.pub_id);
    if let Some(hash) = device.hash {
        line += &format!(" hash {hash}");
    }
    if let Some(creator) = device.creator {
        line += &format!(" creator {creator}");
    }
    line
}

/// Any signed 64-bit number but 0, which means "no hash" on the wire.
pub(super) fn parse_hash(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(0) => Err("0 means no hash".to_owned()),
        Ok(hash) => Ok(hash),
        Err(error) => Err(format!("{error}")),
    }
}
