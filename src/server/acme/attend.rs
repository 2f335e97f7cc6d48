//! Keeps the operator's view and the copy on disk true to what is served.

use super::Installer;
use crate::acme::{Cache, CacheError, Certificate, FileCache, Handle, State};
use crate::ops::{health::Health, metrics::Metrics};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the roots folder is looked at, and a served certificate for its end.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Attendant {
    pub(super) state: watch::Receiver<State>,
    pub(super) handle: Handle,
    pub(super) installer: Arc<Installer>,
    /// Where a copy of the nodes' common certificate is kept.
    pub(super) copy_to: Option<Arc<FileCache>>,
    pub(super) roots: Option<PathBuf>,
    pub(super) ready_with_local: bool,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
}

/// What was seen last, to notice what is new.
struct Seen {
    failed_at: i64,
    version: Option<i64>,
    folder: Vec<Entry>,
}

impl Attendant {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let now = chrono::DateTime::<chrono::Utc>::from(SystemTime::now()).timestamp();
        let mut seen = Seen { failed_at: now - 1, version: None, folder: self.folder().await };
        let mut tick = interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let state = self.state.borrow_and_update().clone();
            self.observe(&state, &mut seen).await;
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.look_at_folder(&mut seen).await,
                changed = self.state.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn observe(&self, state: &State, seen: &mut Seen) {
        self.health.set_certificate_missing(!self.ready_with_local && !self.installer.serves());
        if let Some(failure) = state.failure.as_ref().filter(|failure| failure.failed_at > seen.failed_at) {
            seen.failed_at = failure.failed_at;
            self.metrics.acme_failures.inc();
        }
        let version = state.serving.as_ref().map(|serving| serving.version);
        if version == seen.version {
            return;
        }
        seen.version = version;
        self.metrics.acme_certificates.inc();
        let (Some(folder), Some(certificate)) = (&self.copy_to, self.installer.certificate()) else { return };
        if let Err(error) = keep_copy(folder, &certificate).await {
            log::warn!("no copy of the certificate for starts without the database: {error}");
        }
    }

    async fn look_at_folder(&self, seen: &mut Seen) {
        let folder = self.folder().await;
        if folder == seen.folder {
            return;
        }
        seen.folder = folder;
        self.installer.look_for_root();
        self.handle.look_again();
    }

    async fn folder(&self) -> Vec<Entry> {
        let Some(path) = self.roots.clone() else { return Vec::new() };
        tokio::task::spawn_blocking(move || entries(&path)).await.unwrap_or_default()
    }
}

async fn keep_copy(folder: &FileCache, certificate: &Certificate) -> Result<(), CacheError> {
    let kept = match folder.certificate().await {
        Err(CacheError::Damaged { .. }) => None,
        other => other?,
    };
    if kept.is_some_and(|(_, kept)| kept == *certificate) {
        return Ok(());
    }
    let Some(lease) = folder.take_lease("copy").await? else { return Ok(()) };
    folder.keep_certificate(&lease, certificate).await?;
    folder.release_lease(lease).await
}

/// A file by what changes with its content.
type Entry = (PathBuf, Option<SystemTime>, u64);

/// A folder that cannot be read counts as empty; who needs it says so.
fn entries(folder: &Path) -> Vec<Entry> {
    let mut found: Vec<Entry> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let meta = std::fs::metadata(entry.path()).ok()?;
            Some((entry.path(), meta.modified().ok(), meta.len()))
        })
        .collect();
    found.sort();
    found
}
