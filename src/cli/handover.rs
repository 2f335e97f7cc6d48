//! An issued certificate and its key on their way to whoever asked: files, or stdout.

use super::{CliError, say};
use crate::device::issue::Issued;
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

const CERTIFICATE: &str = "certificate.pem";
const PRIVATE_KEY: &str = "private_key.pem";
const PUBLIC_KEY: &str = "public_key.pem";
const ROOT: &str = "root.pem";

/// Makes the folder and insists that nothing in it would be written over.
pub(super) fn prepare(folder: &Path) -> Result<(), CliError> {
    fs::create_dir_all(folder).map_err(|source| CliError::File { path: folder.to_owned(), source })?;
    for name in [CERTIFICATE, PRIVATE_KEY, PUBLIC_KEY, ROOT] {
        let path = folder.join(name);
        let there = path
            .try_exists()
            .and_then(|there| if there { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(()) });
        there.map_err(|source| CliError::File { path, source })?;
    }
    Ok(())
}

/// Writes files into the folder and says the certificate's id; without a folder says everything.
pub(super) fn deliver(issued: &Issued, folder: Option<&Path>) -> Result<(), CliError> {
    let mut files = vec![(CERTIFICATE, issued.certificate_pem.as_str(), 0o644)];
    if let Some(key) = &issued.key_pair {
        files.push((PRIVATE_KEY, key.expose_private_pem(), 0o600));
        files.push((PUBLIC_KEY, &key.public_pem, 0o644));
    }
    files.push((ROOT, &issued.root_pem, 0o644));
    let Some(folder) = folder else {
        return files.iter().try_for_each(|(_, text, _)| say(text.trim_end()));
    };
    for (name, text, mode) in files {
        let path = folder.join(name);
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let written = opened.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|source| CliError::File { path, source })?;
    }
    say(&issued.certificate_id)
}
