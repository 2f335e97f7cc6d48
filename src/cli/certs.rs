//! `m0v cert`: the allow-list of certificates.

use super::{
    CliError, Stores,
    find::{Found, by_prefix},
    handover, operator, read_text, refuse, rfc3339, say,
};
use crate::{
    config::Loaded,
    device::{
        certificate::{listing, read_pem_certificate, why_not_listed},
        issue::Wanted,
        judge,
    },
    store::{
        devices::{DeviceCert, Revocation, Role},
        now,
    },
    tls::certificate_id,
};
use std::{path::PathBuf, process::ExitCode};

/// What `m0v cert` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Issue a certificate for a device and list it
    Issue(Issue),
    /// List a certificate that somebody else issued
    Add(Add),
    /// Show the allow-list
    List,
    /// Refuse a certificate from now on, for ever
    Revoke {
        /// Its id, or as much of its beginning as is unique
        certificate_id: String,
    },
}

/// The certificate to issue.
#[derive(Debug, clap::Args)]
pub(super) struct Issue {
    /// The device's id; it is made if there is none
    pub(super) device: String,
    /// Its model, for a new one
    #[arg(long)]
    pub(super) model: Option<String>,
    /// A certificate request (PKCS#10, PEM): its key is used, and nothing else of it
    #[arg(long, value_name = "FILE")]
    pub(super) csr: Option<PathBuf>,
    /// Folder for certificate.pem, private_key.pem (0600), public_key.pem and root.pem [default: all on stdout]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

/// The certificate to list.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// The certificate, one PEM block (never its key)
    pub(super) file: PathBuf,
    /// Whose it is [default: the CN in it, else its id]
    #[arg(long, value_name = "D")]
    pub(super) device: Option<String>,
    /// What it entitles to: to speak for its device, or for any (on the meter port, and where a back office reports)
    #[arg(long, value_enum, default_value = "device")]
    pub(super) role: RoleWord,
}

/// [`Role`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum RoleWord {
    Device,
    Service,
}

/// Certificates printed and fetched at a time.
const PAGE: i64 = 1000;

/// Does it, beside a running server if there is one.
pub(super) async fn run(command: Command, loaded: Loaded) -> Result<ExitCode, CliError> {
    let stores = Stores::open(&loaded.config).await?;
    match command {
        Command::Issue(issue) => issue_one(&stores, &issue).await,
        Command::Add(add) => add_one(&stores, &add).await,
        Command::List => list(&stores).await,
        Command::Revoke { certificate_id } => revoke(&stores, &certificate_id).await,
    }
}

async fn issue_one(stores: &Stores, issue: &Issue) -> Result<ExitCode, CliError> {
    let csr = issue.csr.as_deref().map(read_text).transpose()?;
    if let Some(folder) = &issue.out {
        // A key that cannot be written down is lost: better to know before.
        handover::prepare(folder)?;
    }
    let wanted =
        Wanted { device_id: &issue.device, model_number: issue.model.as_deref(), csr: csr.as_deref() };
    match stores.issuing().issue(wanted, &operator()).await {
        Ok(issued) => handover::deliver(&issued, issue.out.as_deref())?,
        Err(error) => return refuse("cert issue", error),
    }
    Ok(ExitCode::SUCCESS)
}

async fn add_one(stores: &Stores, add: &Add) -> Result<ExitCode, CliError> {
    let file = add.file.display();
    let der = match read_pem_certificate(&read_text(&add.file)?) {
        Ok(der) => der,
        Err(bad) => return refuse("cert add", format_args!("{file}: the text {bad}")),
    };
    let device_id = match &add.device {
        Some(device_id) => device_id.clone(),
        None => match judge::leaf(&der, now()).map(|leaf| leaf.device_id().map(|it| it.map(str::to_owned))) {
            Ok(Ok(name)) => name.unwrap_or_else(|| certificate_id(&der)),
            Ok(Err(bad)) => {
                return refuse("cert add", format_args!("{file}: the certificate {bad} (--device)"));
            }
            Err(unfit) => return refuse("cert add", format_args!("{file}: the certificate {unfit}")),
        },
    };
    let role = match add.role {
        RoleWord::Device => Role::Device,
        RoleWord::Service => Role::Service,
    };
    let enrolment = match listing(&der, &device_id, None, role, now()) {
        Ok(enrolment) => enrolment,
        Err(bad) => return refuse("cert add", format_args!("{file}: {bad}")),
    };
    match stores.store.enrol(&enrolment, &operator()).await? {
        Ok(listed) => say(listed.certificate_id)?,
        Err(refused) => return refuse("cert add", format_args!("{file}: {}", why_not_listed(&refused))),
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(stores: &Stores) -> Result<ExitCode, CliError> {
    let mut after = String::new();
    loop {
        let page = stores.store.list_certs(&after, PAGE).await?;
        for certificate in &page {
            say(line(certificate))?;
        }
        match page.last() {
            Some(last) => after.clone_from(&last.certificate_id),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn revoke(stores: &Stores, wanted: &str) -> Result<ExitCode, CliError> {
    let store = &stores.store;
    // Ids that begin with it follow it in order; itself does not.
    let mut ids: Vec<String> =
        store.list_certs(wanted, 2).await?.into_iter().map(|it| it.certificate_id).collect();
    ids.extend(store.find_cert(wanted).await?.map(|it| it.certificate_id));
    let id = match by_prefix(&ids, wanted) {
        Found::One(id) => id,
        Found::None => {
            return refuse(
                "cert revoke",
                format_args!("no certificate has the id {}", wanted.escape_debug()),
            );
        }
        Found::Several => {
            return refuse("cert revoke", format_args!("several ids begin with {wanted}; give more of it"));
        }
    };
    match store.revoke(&Revocation::Certificate(id.clone()), &operator()).await? {
        Some(_) => say(format_args!("{id} is revoked"))?,
        None => return refuse("cert revoke", "no such certificate"),
    }
    Ok(ExitCode::SUCCESS)
}

/// One certificate on one line, what it does not have left out.
fn line(it: &DeviceCert) -> String {
    let (id, role, status) = (&it.certificate_id, it.role.word(), it.status.word());
    let mut line =
        format!("{id} device {:?} role {role} {status}, ends {}", it.device_id, rfc3339(it.not_after));
    if let Some(ca_id) = &it.ca_id {
        line += &format!(", CA {ca_id}");
    }
    line
}
