//! The certificate from a CA: who issues it, when the next renewal is, and why the last failed.

use super::Finding;
use crate::acme::{self, Class, Pace, State};
use crate::config::Config;
use crate::server::{self, CertificateFiles};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the directory may take to answer a person who waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing while `[acme]` is off.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let Some(options) = server::acme_options(config) else { return Vec::new() };
    let checked = match options.check() {
        Ok(checked) => checked,
        Err(error) => return vec![Finding::fault("acme", error.to_string())],
    };
    let pace = Pace { call: PATIENCE, ..Pace::default() };
    let mut findings = vec![match acme::reach(&checked, pace).await {
        Ok(()) => Finding::ok("acme", format!("{} answers", checked.directory())),
        // Not ours to mend, and the server goes on trying.
        Err(error) if error.class() == Class::Network => Finding::warning("acme", error.to_string()),
        Err(error) => Finding::fault("acme", error.to_string()),
    }];
    findings.extend(state(config, &checked).await);
    findings
}

async fn state(config: &Config, checked: &acme::Checked) -> Vec<Finding> {
    let begun = server::acme_dir(config).exists();
    // To look must not make a folder that the server's user could then not use.
    if !begun {
        let text = format!("ordered at the first start: {}", checked.domains().join(", "));
        return vec![Finding::ok("acme", text)];
    }
    let opened = match server::open_store(config).await {
        Ok(store) => server::Caches::open(config, checked, &*store).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let cache = match opened {
        Ok(caches) => caches.used(),
        Err(text) => return vec![Finding::fault("acme", text)],
    };
    let (newest, backoff) = match (cache.certificate().await, cache.backoff().await) {
        (Ok(newest), Ok(backoff)) => (newest, backoff),
        (Err(error), _) | (_, Err(error)) => return vec![Finding::fault("acme", error.to_string())],
    };
    let failed = backoff.failures > 0;
    let state = State::of_cache(newest.as_ref(), checked, backoff);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed();
    let words = state.in_words(now);
    let mut findings = vec![match state.is_serving(now) {
        true if !failed => Finding::ok("acme", words),
        _ => Finding::warning("acme", words),
    }];
    if let Some((_, certificate)) = newest {
        match server::acme_chain(config, &certificate) {
            Ok(chain) => {
                let folder = server::acme_dir(config);
                let files = CertificateFiles {
                    chain: folder.clone(),
                    key: folder,
                    ca: None,
                    options: server::chain_options(&config.tls),
                };
                findings.extend(super::trust::elements(&files, &chain, SystemTime::now(), true));
            }
            Err(error) => findings.push(Finding::fault("chain", error.to_string())),
        }
    }
    findings
}
