//! `m0v account export-mosquitto`: a password file and an ACL file, as mosquitto 2.0 reads them.
//!
//! It reads no Argon2id (2.1 does), so the hash it reads itself is kept with each account.

use crate::{
    cli::{CliError, complain},
    device::acl::{Pattern, Subject},
    store::{
        Store,
        accounts::{Exported, Kind},
    },
};
use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file for mosquitto's `password_file` (mode 0600; replaced in one step, owner and group stay)
    #[arg(long, value_name = "FILE")]
    pub(crate) passwords: PathBuf,

    /// The file for its `acl_file`
    #[arg(long, value_name = "FILE")]
    pub(crate) acl: PathBuf,
}

/// Accounts fetched at a time.
const PAGE: i64 = 1000;

/// Longest name that mosquitto takes from its files, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Both files' text.
#[derive(Default)]
struct Files {
    passwords: String,
    acl: String,
    left_out: Vec<String>,
}

/// Writes both files, whole or not at all.
pub(super) async fn export(store: &dyn Store, args: &Args) -> Result<ExitCode, CliError> {
    let mut files = Files::default();
    let mut after = i64::MIN;
    loop {
        let page = store.export_accounts(after, PAGE).await?;
        for account in &page {
            files.add(account);
        }
        match page.last() {
            Some(last) => after = last.account_id,
            None => break,
        }
    }
    for (path, text) in [(&args.passwords, &files.passwords), (&args.acl, &files.acl)] {
        replace(path, text).map_err(|source| CliError::File { path: path.clone(), source })?;
    }
    for line in &files.left_out {
        complain(format_args!("m0v account export-mosquitto: left out: {line}"));
    }
    Ok(if files.left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Files {
    fn add(&mut self, account: &Exported) {
        let username = &account.username;
        let is_legal = !username.is_empty()
            && username.len() <= MAX_NAME_BYTES
            && username.trim() == username
            && !username.contains([':', '#'])
            && !username.contains(char::is_control);
        if !is_legal {
            let name = username.escape_debug();
            self.left_out.push(format!(
                "account {}: mosquitto's files cannot hold the name {name}",
                account.account_id
            ));
            return;
        }
        let subject = Subject { username, device: account.device_id.as_deref() };
        writeln!(self.passwords, "{username}:{}", account.mosquitto_hash).expect("a String takes everything");
        writeln!(self.acl, "user {username}").expect("a String takes everything");
        for (kind, word) in [(Kind::Publish, "write"), (Kind::Subscribe, "read")] {
            for text in account.rules.of(kind) {
                let filter = Pattern::parse(text).ok().and_then(|pattern| pattern.filter(subject));
                match filter.filter(|filter| filter.trim() == filter) {
                    Some(filter) => {
                        writeln!(self.acl, "topic {word} {filter}").expect("a String takes everything");
                    }
                    // It allows nothing here either: a pattern with {device}, and no device.
                    None if text.contains("{device}") && account.device_id.is_none() => {}
                    None => self.left_out.push(format!(
                        "account {} {username}: mosquitto's files cannot hold {}:{}",
                        account.account_id,
                        kind.as_str(),
                        text.escape_debug()
                    )),
                }
            }
        }
        self.acl.push('\n');
    }
}

/// What its owner and group may do with a file that is replaced; nobody else may do anything.
const KEPT_MODE: u32 = 0o640;

/// Writes beside it and renames, so that a mosquitto that reads meanwhile finds one or the other.
/// Whoever could read the old one, mosquitto's own user perhaps, can read the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    match fs::metadata(path) {
        Ok(old) => {
            let new = file.metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(fs::Permissions::from_mode(0o600 | old.mode() & KEPT_MODE))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.sync_all()?;
    fs::rename(&unfinished, path)
}
