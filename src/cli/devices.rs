//! `m0v device`: devices that are known by certificates.

use super::{CliError, Stores, operator, refuse, say};
use crate::{
    config::Loaded,
    store::devices::{Device, NotLinked, Revocation, Status},
};
use std::process::ExitCode;

/// What `m0v device` can do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List all devices that are known by certificates
    List,
    /// Say which pub a device is: readings over its certificate go there
    Link {
        /// The device's id
        device: String,
        /// The pub's id (m0v pub list)
        #[arg(value_name = "PUB", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(1..))]
        pub_id: i64,
    },
    /// Let in a device whose CA's devices wait for that
    Approve {
        /// The device's id
        device: String,
    },
    /// Refuse all certificates of a device from now on, for ever
    Revoke {
        /// The device's id
        device: String,
    },
}

/// Devices printed and fetched at a time.
const PAGE: i64 = 1000;

/// Does it, beside a running server if there is one.
pub(super) async fn run(command: Command, loaded: Loaded) -> Result<ExitCode, CliError> {
    let stores = Stores::open(&loaded.config).await?;
    match command {
        Command::List => list(&stores).await,
        Command::Link { device, pub_id } => link(&stores, &device, pub_id).await,
        Command::Approve { device } => approve(&stores, &device).await,
        Command::Revoke { device } => revoke(&stores, &device).await,
    }
}

async fn list(stores: &Stores) -> Result<ExitCode, CliError> {
    let mut after = String::new();
    loop {
        let page = stores.store.list_devices(&after, PAGE).await?;
        for device in &page {
            say(line(device))?;
        }
        match page.last() {
            Some(last) => after.clone_from(&last.device_id),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

async fn link(stores: &Stores, device: &str, pub_id: i64) -> Result<ExitCode, CliError> {
    let why = match stores.store.link_device(device, pub_id, &operator()).await? {
        Ok(linked) => {
            say(line(&linked))?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(NotLinked::UnknownDevice) => unknown(device),
        Err(NotLinked::UnknownPub) => format!("no pub has id {pub_id} (m0v pub list)"),
        Err(NotLinked::Taken { device_id }) => {
            format!("pub {pub_id} is another device's: {}", device_id.escape_debug())
        }
    };
    refuse("device link", why)
}

async fn approve(stores: &Stores, device: &str) -> Result<ExitCode, CliError> {
    match stores.store.approve_device(device, &operator()).await? {
        Some(Status::Pending) => say("approved")?,
        Some(Status::Active) => say("was active already")?,
        Some(Status::Revoked) => return refuse("device approve", "the device is revoked, which is for ever"),
        None => return refuse("device approve", unknown(device)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn revoke(stores: &Stores, device: &str) -> Result<ExitCode, CliError> {
    match stores.store.revoke(&Revocation::Device(device.to_owned()), &operator()).await? {
        Some(ended) => say(format_args!("revoked; certificates that ended: {ended}"))?,
        None => return refuse("device revoke", unknown(device)),
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(device: &str) -> String {
    format!("no device has the id {} (m0v device list)", device.escape_debug())
}

/// One device on one line, what it does not have left out.
fn line(device: &Device) -> String {
    let mut line = format!("{:?} {}", device.device_id, device.status.word());
    if let Some(pub_id) = device.pub_id {
        line += &format!(", id {pub_id}");
    }
    if let Some(model) = &device.model_number {
        line += &format!(", model {model:?}");
    }
    match &device.ca_id {
        Some(ca_id) => line += &format!(", CA {ca_id}"),
        None => line += ", by fingerprint only",
    }
    line
}
