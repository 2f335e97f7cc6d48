//! The chain as it would be served, and what a device must hold to trust it.

use super::Finding;
use crate::config::Config;
use crate::server;
use crate::tls::{self, CertifiedChain};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Warned about below this: devices in the field need an update before their root ends.
const SOON: Duration = Duration::from_secs(90 * 24 * 3600);

/// Nothing where a CA issues the certificate: `acme` speaks of that.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    if !config.acme.domains.is_empty() {
        return Vec::new();
    }
    let (chain, key, ca) = files(config);
    if config.tls.chain.is_none() && !chain.exists() {
        let text = format!("a local CA and certificate are made at the first start: {}", chain.display());
        return vec![Finding::ok("chain", text)];
    }
    let now = SystemTime::now();
    match tls::load_files(&chain, &key, &server::chain_options(&config.tls), now) {
        Err(error) => vec![Finding::fault("chain", error.to_string())],
        Ok((loaded, warnings)) => {
            let mut findings = vec![lifetime(&chain, &loaded, now)];
            findings
                .extend(warnings.into_iter().map(|warning| Finding::warning("chain", warning.to_string())));
            findings.push(device(&loaded, ca.as_deref()));
            findings
        }
    }
}

/// Chain, key, and the CA file if it is our own.
fn files(config: &Config) -> (PathBuf, PathBuf, Option<PathBuf>) {
    match (&config.tls.chain, &config.tls.key) {
        (Some(chain), Some(key)) => (chain.clone(), key.clone(), None),
        _ => {
            let dir = server::local_dir(config);
            (dir.join("chain.pem"), dir.join("key.pem"), Some(dir.join("ca.pem")))
        }
    }
}

fn lifetime(file: &Path, chain: &CertifiedChain, now: SystemTime) -> Finding {
    let left = chain.not_after().duration_since(now).unwrap_or_default();
    let count = chain.certificates().len();
    let days = left.as_secs() / (24 * 3600);
    let text = format!("{}: {count} certificates, the first to end ends in {days} days", file.display());
    // Our own is renewed by the running server.
    if left < SOON && !file.ends_with("tls/chain.pem") {
        Finding::warning("chain", text)
    } else {
        Finding::ok("chain", text)
    }
}

/// What a device must hold.
pub(super) fn device(chain: &CertifiedChain, ca: Option<&Path>) -> Finding {
    let Some(root) = chain.root() else {
        return Finding::warning(
            "device",
            "the chain is served without a root; the device must hold the right one",
        );
    };
    let file = ca.map_or_else(String::new, |ca| format!("; flash {}", ca.display()));
    Finding::ok("device", format!("must hold {}, SHA-256 {}{file}", root.subject, root.fingerprint))
}
