//! The certificate: loaded or made at start, looked after while the server runs.

use super::ServeError;
use crate::config::{Config, Tls};
use crate::tls::{self, CertifiedChain, ChainError, ChainOptions, Keys};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often the local certificate is looked at; it has months left when its turn comes.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 3600);

/// Where the local CA and certificate are.
#[must_use]
pub fn local_dir(config: &Config) -> PathBuf {
    config.data_dir.join("tls")
}

/// How `[tls]` wants its chain completed.
#[must_use]
pub fn chain_options(tls: &Tls) -> ChainOptions {
    ChainOptions { append_root: tls.append_root, roots: tls.roots.clone() }
}

/// Loads the certificate, or makes the local one, and checks it.
pub(super) async fn load(config: &Config) -> Result<Arc<Keys>, ServeError> {
    Ok(Keys::new(blocking(config).await?.0))
}

/// Renews the local certificate before it ends, and swaps it without touching a connection.
pub(super) async fn watch(config: Config, keys: Arc<Keys>, stop: CancellationToken) {
    if config.tls.chain.is_some() {
        return;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK_EVERY) => {}
        }
        match blocking(&config).await {
            Ok((chain, Changed::Yes)) => keys.swap(chain),
            Ok((_, Changed::No)) => {}
            Err(error) => {
                log::error!("the certificate could not be renewed, the old one still serves: {error}");
            }
        }
    }
}

enum Changed {
    Yes,
    No,
}

async fn blocking(config: &Config) -> Result<(CertifiedChain, Changed), ServeError> {
    let (dir, tls) = (local_dir(config), config.tls.clone());
    let loaded = tokio::task::spawn_blocking(move || chain_of(&dir, &tls)).await;
    Ok(loaded.map_err(|error| ServeError::Task(error.to_string()))??)
}

fn chain_of(dir: &std::path::Path, tls: &Tls) -> Result<(CertifiedChain, Changed), ChainError> {
    let now = SystemTime::now();
    let mut changed = Changed::No;
    let (chain, key) = match (&tls.chain, &tls.key) {
        (Some(chain), Some(key)) => (chain.clone(), key.clone()),
        _ => {
            let local = tls::ensure_local(dir, &host_name(), now)?;
            if local.ca_made {
                log::info!("made a local CA: devices must hold {}", local.ca.display());
            }
            if local.leaf_made {
                log::info!("made a server certificate: {}", local.chain.display());
                changed = Changed::Yes;
            }
            (local.chain, local.key)
        }
    };
    let (chain, warnings) = tls::load_files(&chain, &key, &chain_options(tls), now)?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok((chain, changed))
}

/// What other machines may call this one.
fn host_name() -> Vec<String> {
    hostname::get().ok().and_then(|name| name.into_string().ok()).into_iter().collect()
}
