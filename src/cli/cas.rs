//! `m0v ca`: whose certificates are accepted for devices that are not listed yet.

use super::{
    CliError, Stores,
    find::{Found, by_prefix},
    operator, read_text, refuse, rfc3339, say,
};
use crate::{
    config::Loaded,
    device::{certificate::read_pem_certificate, issue::row, judge::Anchor, revoke_ca, subject::Subject},
    store::{
        Micros,
        devices::{Ca, Status},
        now,
    },
    tls::certificate_id,
};
use std::{path::PathBuf, process::ExitCode};

/// What `m0v ca` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a CA with its key in <data_dir>/ca/<id>/, register it, and print its id
    New(New),
    /// Register a CA that is somebody else's: devices it vouches for are accepted
    Add(Add),
    /// List all CAs
    List,
    /// Refuse a CA's certificates from now on, for ever
    Revoke {
        /// Its id, or as much of its beginning as is unique
        id: String,
    },
}

/// The name of the CA to make.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// Its common name [default: m0v CA and eight random digits]
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Two letters, such as DE
    #[arg(long)]
    pub(super) country: Option<String>,
    /// State or province
    #[arg(long)]
    pub(super) state: Option<String>,
    /// Town
    #[arg(long)]
    pub(super) locality: Option<String>,
    /// Company
    #[arg(long)]
    pub(super) organization: Option<String>,
    /// Department
    #[arg(long)]
    pub(super) unit: Option<String>,
}

/// The CA to register.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Its certificate, one PEM block (never its key)
    pub(super) file: PathBuf,
    /// Its new devices wait for `m0v device approve`
    #[arg(long)]
    pub(super) pending: bool,
}

/// Does it, beside a running server if there is one.
pub(super) async fn run(command: Command, loaded: Loaded) -> Result<ExitCode, CliError> {
    let stores = Stores::open(&loaded.config).await?;
    match command {
        Command::New(new) => make(&stores, new).await,
        Command::Add(add) => register(&stores, &add).await,
        Command::List => list(&stores).await,
        Command::Revoke { id } => revoke(&stores, &id).await,
    }
}

async fn make(stores: &Stores, new: New) -> Result<ExitCode, CliError> {
    let New { name, country, state, locality, organization, unit } = new;
    let subject = Subject { common_name: name, country, state, locality, organization, unit };
    match stores.issuing().register_ca(subject, &operator()).await {
        Ok(ca_id) => say(ca_id),
        Err(error) => return refuse("ca new", error),
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn register(stores: &Stores, add: &Add) -> Result<ExitCode, CliError> {
    let file = add.file.display();
    let der = match read_pem_certificate(&read_text(&add.file)?) {
        Ok(der) => der,
        Err(bad) => return refuse("ca add", format_args!("{file}: the text {bad}")),
    };
    let anchor = Anchor::read(&certificate_id(&der), &der);
    let judged = anchor.and_then(|anchor| anchor.judge_dates(now()).map(|()| anchor));
    let anchor = match judged {
        Ok(anchor) => anchor,
        Err(unfit) => return refuse("ca add", format_args!("{file}: the certificate {unfit}")),
    };
    let row = row(&anchor, crate::device::certificate::pem_text(&der), !add.pending);
    match stores.store.add_ca(&row, &operator()).await? {
        Ok(added) => say(added.ca_id)?,
        Err(there) => return refuse("ca add", format_args!("there is one already: {}", line(&there))),
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(stores: &Stores) -> Result<ExitCode, CliError> {
    for ca in stores.store.list_cas().await? {
        say(line(&ca))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn revoke(stores: &Stores, id: &str) -> Result<ExitCode, CliError> {
    let ids: Vec<String> = stores.store.list_cas().await?.into_iter().map(|ca| ca.ca_id).collect();
    let ca_id = match by_prefix(&ids, id) {
        Found::One(ca_id) => ca_id,
        Found::None => return refuse("ca revoke", format_args!("no CA has the id {}", id.escape_debug())),
        Found::Several => {
            return refuse("ca revoke", format_args!("several ids begin with {id}; give more of it"));
        }
    };
    match revoke_ca(&*stores.store, &ca_id, &operator()).await? {
        Some(ended) => say(format_args!("{ca_id} is revoked; certificates that ended: {ended}"))?,
        None => return refuse("ca revoke", "no such CA"),
    }
    Ok(ExitCode::SUCCESS)
}

/// One CA on one line.
fn line(ca: &Ca) -> String {
    let how = match (ca.status, ca.auto_register) {
        (Status::Active, true) => "active",
        (Status::Active, false) => "active, new devices wait for approval",
        _ => "revoked",
    };
    let end = end_of(ca).map_or_else(|| "cannot be read".to_owned(), |end| format!("ends {}", rfc3339(end)));
    format!("{} {:?} {how}, {end}", ca.ca_id, ca.subject)
}

/// The end of a CA's certificate.
pub(super) fn end_of(ca: &Ca) -> Option<Micros> {
    let der = read_pem_certificate(&ca.pem).ok()?;
    Some(Anchor::read(&ca.ca_id, &der).ok()?.not_after())
}
