//! What is allowed, and worth saying in the log.

use super::{Compat, Config, IpNet};

/// Bytes: a random key of letters and digits that is shorter than this has under 100 bits.
const SHORT_KEY: usize = 17;

impl Config {
    /// Says what is allowed but rarely meant: one sentence each, to be logged once at start.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        for address in self.admin.listen.iter().filter(|address| !address.ip().to_canonical().is_loopback()) {
            found.push(format!("[admin] listen: {address} can be reached from outside, and has no password"));
        }
        for port in self.ports().iter().filter(|port| !port.tls) {
            found.push(format!("[{}] tls = false: what is in front must encrypt", port.section));
        }
        for (key, secret) in [
            ("key_value", &self.api.key_value),
            ("onboarding_token", &self.api.onboarding_token),
            ("broker_token", &self.api.broker_token),
        ] {
            if secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < SHORT_KEY) {
                found.push(format!("[api] {key}: fewer than {SHORT_KEY} characters can be guessed"));
            }
        }
        for port in self.ports() {
            if port.trusted_proxies.iter().any(IpNet::is_everybody) {
                let what = "anybody can claim to be a proxy, and any address";
                found.push(format!("[{}] trusted_proxies: {what}", port.section));
            }
        }
        if !self.tunnel.listen.is_empty() && self.tunnel.allow.is_empty() {
            found.push("[tunnel] allow is empty: gateways can connect, and reach nothing".to_owned());
        }
        match self.tls.compat {
            Compat::Strict | Compat::Cc3220 => {}
            Compat::Cbc => found.push(
                "[tls] compat = \"cbc\": suites with CBC are served to devices that have no AES-GCM".to_owned(),
            ),
            Compat::RsaKx => found.push(
                "[tls] compat = \"rsa-kx\" is weak: what a device says with static RSA can be read by whoever \
                 gets the server's key later, and TLS 1.0 and 1.1 rest on SHA-1 and MD5"
                    .to_owned(),
            ),
        }
        let database = &self.database;
        let secret = database.secret.is_some() || database.secret_file.is_some();
        if !self.acme.domains.is_empty() && database.url.is_some() && !secret {
            found.push(
                "[acme]: without [database] secret_file m0v does not share the ACME account and certificate through \
                 the database; this node keeps its own in data_dir and orders for itself"
                    .to_owned(),
            );
        }
        if self.database.allow_unsafe {
            found.push("[database] allow_unsafe: a reading that was thanked for can be lost".to_owned());
        }
        found
    }
}
