//! The folder's files: whole or not at all, 0600, off the runtime's threads.

use super::cache::{CacheError, Lease};
use serde_json::Value;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

pub(crate) fn take_lease(path: &Path, holder: &str) -> Result<Option<Lease>, CacheError> {
    let error = |source| io_error("lock", path, source);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(error)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(error(source)),
    }
    let mut before = String::new();
    file.read_to_string(&mut before).map_err(error)?;
    let fence = before.split_whitespace().next().and_then(|word| word.parse::<i64>().ok()).unwrap_or(0) + 1;
    let note = format!("{fence} {holder}\n");
    file.rewind()
        .and_then(|()| file.set_len(0))
        .and_then(|()| file.write_all(note.as_bytes()))
        .map_err(error)?;
    Ok(Some(Lease::holding(fence, file)))
}

/// Writes beside the target, to disk, then renames: at every instant the name shows the old
/// text or the new one, whole. Only the lease's holder writes, so one name beside is enough.
fn replace(path: &Path, text: &str) -> Result<(), CacheError> {
    let beside = path.with_extension("new");
    let error = |source| io_error("write", path, source);
    remove(&beside)?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(error)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(error)?;
    fs::rename(&beside, path).and_then(|()| sync_folder(path)).map_err(error)
}

pub(crate) fn remove(path: &Path) -> Result<(), CacheError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, source)),
        Ok(()) => sync_folder(path).map_err(|source| io_error("remove", path, source)),
        Err(_) => Ok(()),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

pub(crate) async fn write(path: PathBuf, text: String) -> Result<(), CacheError> {
    let text = Zeroizing::new(text);
    off_thread(move || replace(&path, &text)).await
}

pub(crate) async fn read(path: &Path) -> Result<Option<String>, CacheError> {
    let path = path.to_owned();
    off_thread(move || match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("read", &path, source)),
    })
    .await
}

pub(crate) async fn read_json(path: &Path, advice: &'static str) -> Result<Option<Value>, CacheError> {
    let Some(text) = read(path).await? else { return Ok(None) };
    let value = serde_json::from_str(&text);
    value.map(Some).map_err(|e| CacheError::Damaged { path: path.to_owned(), cause: e.to_string(), advice })
}

pub(crate) fn forgiving(read: Result<Option<Value>, CacheError>) -> Result<Option<Value>, CacheError> {
    match read {
        Err(CacheError::Damaged { path, cause, .. }) => {
            log::warn!("{} is damaged ({cause}) and ignored", path.display());
            Ok(None)
        }
        other => other,
    }
}

pub(crate) fn incomplete(path: &Path, advice: &'static str) -> CacheError {
    CacheError::Damaged { path: path.to_owned(), cause: "something is missing in it".to_owned(), advice }
}

pub(crate) fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

pub(crate) fn texts(value: &Value, key: &str) -> Option<Vec<String>> {
    value.get(key)?.as_array()?.iter().map(|entry| entry.as_str().map(str::to_owned)).collect()
}

pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CacheError> + Send + 'static,
) -> Result<T, CacheError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(CacheError::Unavailable("the server is shutting down".to_owned())),
    }
}

pub(crate) fn io_error(verb: &'static str, path: &Path, source: io::Error) -> CacheError {
    CacheError::Io { verb, path: path.to_owned(), source }
}
