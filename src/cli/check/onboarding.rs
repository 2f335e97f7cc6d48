//! Who can have an account, and can a broker ask?

use super::Finding;
use crate::config::Config;
use crate::server;
use crate::store::accounts::Entry;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    if config.api.listen.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if config.api.onboarding_token.is_some() {
        findings.push(Finding::ok(
            "onboarding",
            "[api] onboarding_token: whoever shows it may use every topic (#); `m0v token new` makes narrower ones",
        ));
    } else if is_open(config).await {
        findings.push(Finding::warning(
            "open",
            "/register is open: anybody is given an account, with the topics {username}/#; `m0v token new`, or [api] onboarding_token, ends that",
        ));
    }
    if config.api.broker_token.is_none() {
        findings.push(Finding::ok(
            "onboarding",
            "[api] broker_token is not set: no broker can ask, /mqtt/* is 404",
        ));
    }
    findings
}

/// Whether nobody has to show a token. A database that is away is told of elsewhere.
async fn is_open(config: &Config) -> bool {
    if config.database.url.is_none() && !server::embedded_file(config).exists() {
        return true;
    }
    match server::open_store(config).await {
        Ok(store) => store.admits(&Entry::Open).await.unwrap_or(false),
        Err(_) => false,
    }
}
