//! Hot swap: new certificate files serve the next handshake, open connections keep theirs.
//!
//! Files are looked at, not subscribed to: that works on every file system, through symbolic links
//! and mounts. What is new is loaded and judged whole before it serves anybody; what is refused
//! leaves the old chain in place and is said once. Two files cannot be replaced at once, so a pair
//! that does not fit is given time before it is called broken.

use super::certificates::{CertificateFiles, ensure_local, local_dir};
use crate::config::Config;
use crate::tls::{CertifiedChain, Keys, Warning};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at: three `stat`s and a listing of the roots.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a chain and key may not fit each other before that is an error.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often refused files are tried again unchanged: time alone can make them valid.
const TRY_EVERY: Duration = Duration::from_secs(60);
/// How often the local certificate's age and the chain's ends are looked at.
const RENEW_EVERY: Duration = Duration::from_secs(6 * 3600);
/// A running server warns this long before a certificate of its chain ends: a month is what CAs
/// leave between renewal and end. `m0v check` warns earlier.
const ENDS_SOON: Duration = Duration::from_secs(21 * 24 * 3600);
/// Entries of the roots folder that are looked at; more are no folder of roots.
const MAX_ROOTS: usize = 1000;

/// Looks after the certificate until `stop`.
pub(super) async fn watch(config: Config, keys: Arc<Keys>, stop: CancellationToken) {
    let local = config.tls.chain.is_none().then(|| local_dir(&config));
    let mut watch = Watch::new(CertificateFiles::of(&config), keys).await;
    let (mut look, mut renew) = (interval(LOOK_EVERY), interval(RENEW_EVERY));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hangup = hangups();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => watch.look().await,
            () = next(&mut hangup) => watch.reload().await,
            _ = renew.tick() => match &local {
                Some(dir) => renew_local(dir.clone()).await,
                None => watch.warn_of_ends(),
            },
        }
    }
}

fn hangups() -> Option<Signal> {
    signal(SignalKind::hangup())
        .inspect_err(|error| log::warn!("SIGHUP cannot be listened for: {error}"))
        .ok()
}

async fn next(hangup: &mut Option<Signal>) {
    let came = match hangup {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if came.is_none() {
        std::future::pending::<()>().await;
    }
}

/// What it makes is picked up like any other new file.
async fn renew_local(dir: PathBuf) {
    if let Ok(Err(error)) = spawn_blocking(move || ensure_local(&dir)).await {
        log::error!("the certificate could not be renewed, the old one still serves: {error}");
    }
}

/// The files as they were last seen, and what became of them.
struct Watch {
    files: CertificateFiles,
    keys: Arc<Keys>,
    seen: u64,
    /// Files that do not serve yet.
    pending: Option<Pending>,
}

struct Pending {
    since: Instant,
    tried: Option<Instant>,
    /// The reason that was logged.
    said: Option<String>,
}

impl Watch {
    async fn new(files: CertificateFiles, keys: Arc<Keys>) -> Self {
        let seen = stamp(&files).await;
        // What was loaded at start may have changed before this first look.
        Self { files, keys, seen, pending: Some(Pending::now()) }
    }

    /// One look: what changed must hold still for one more before it is read.
    async fn look(&mut self) {
        let stamp = stamp(&self.files).await;
        if stamp != self.seen {
            self.seen = stamp;
            self.pending = Some(Pending::now());
            return;
        }
        let due = |pending: &Pending| {
            let wait = if pending.since.elapsed() < PATIENCE { LOOK_EVERY / 2 } else { TRY_EVERY };
            pending.tried.is_none_or(|tried| tried.elapsed() >= wait)
        };
        if self.pending.as_ref().is_some_and(due) {
            self.load(false).await;
        }
    }

    /// The operator says that the files are as they should be.
    async fn reload(&mut self) {
        log::info!("SIGHUP: reading the certificate files");
        self.seen = stamp(&self.files).await;
        self.pending = Some(Pending::now());
        self.load(true).await;
    }

    async fn load(&mut self, asked: bool) {
        let files = self.files.clone();
        let Ok(loaded) = spawn_blocking(move || files.load(SystemTime::now())).await else { return };
        let refused = match loaded {
            Ok((chain, warnings)) => match self.objection(&chain) {
                None => return self.serve(chain, &warnings, asked),
                Some(objection) => objection,
            },
            Err(error) => error.to_string(),
        };
        self.refuse(refused, asked);
    }

    /// A chain without its root is better than none, and worse than a whole one that still holds.
    fn objection(&self, chain: &CertifiedChain) -> Option<String> {
        let root = chain.missing_root()?;
        let current = self.keys.current();
        let holds = current.missing_root().is_none() && SystemTime::now() < current.not_after();
        holds.then(|| {
            format!(
                "{}: its root \"{root}\" is neither shipped nor in [tls] roots; it will serve once the root is there",
                self.files.chain.display()
            )
        })
    }

    fn serve(&mut self, chain: CertifiedChain, warnings: &[Warning], asked: bool) {
        // A chain that serves without its root is looked at until the root is there.
        self.pending = chain.missing_root().and_then(|_| self.pending.take()).map(Pending::tried);
        let current = self.keys.current();
        if chain.certificates() == current.certificates() {
            let level = if asked { log::Level::Info } else { log::Level::Debug };
            log::log!(level, "{}: nothing new", self.files.chain.display());
            return;
        }
        for warning in warnings {
            log::warn!("{warning}");
        }
        let root = chain.root().map_or_else(String::new, |root| format!(", root {}", root.subject));
        let count = chain.certificates().len();
        self.keys.swap(chain);
        log::info!("{}: {count} new certificates serve from now on{root}", self.files.chain.display());
    }

    fn refuse(&mut self, reason: String, asked: bool) {
        let Some(pending) = self.pending.take() else { return };
        let mut pending = pending.tried();
        let settled = asked || pending.since.elapsed() >= PATIENCE;
        if settled && pending.said.as_ref() != Some(&reason) {
            log::error!("the new certificate is refused, the old one still serves: {reason}");
            pending.said = Some(reason);
        } else {
            log::debug!("the new certificate does not serve yet: {reason}");
        }
        self.pending = Some(pending);
    }

    fn warn_of_ends(&self) {
        for element in self.keys.current().elements() {
            let left = element.not_after.duration_since(SystemTime::now()).unwrap_or_default();
            if left < ENDS_SOON {
                let days = left.as_secs() / (24 * 3600);
                log::warn!("{} of the served chain ends in {days} days: renew it", element.subject);
            }
        }
    }
}

impl Pending {
    fn now() -> Self {
        Self { since: Instant::now(), tried: None, said: None }
    }

    fn tried(mut self) -> Self {
        self.tried = Some(Instant::now());
        self
    }
}

/// A number that changes when a file or the roots folder does; nothing is read.
async fn stamp(files: &CertificateFiles) -> u64 {
    let (chain, key, roots) = (files.chain.clone(), files.key.clone(), files.options.roots.clone());
    let looked = spawn_blocking(move || {
        let mut stamp = DefaultHasher::new();
        (stamp_file(&chain), stamp_file(&key)).hash(&mut stamp);
        roots.map(|folder| stamp_folder(&folder)).hash(&mut stamp);
        stamp.finish()
    });
    looked.await.unwrap_or_default()
}

fn stamp_file(path: &Path) -> Option<u64> {
    let meta = fs::metadata(path).ok()?;
    let mut stamp = DefaultHasher::new();
    (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
        .hash(&mut stamp);
    Some(stamp.finish())
}

/// Does not depend on the order in which the folder lists its files.
fn stamp_folder(folder: &Path) -> Option<u64> {
    let entries = fs::read_dir(folder).ok()?.take(MAX_ROOTS).flatten();
    Some(entries.map(|entry| stamp_file(&entry.path()).unwrap_or_default()).fold(0, u64::wrapping_add))
}
