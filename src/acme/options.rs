//! What the operator asks for, and every reason why it cannot work, told in one run.

use super::{AcmeError, secret::Secret};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::{collections::BTreeSet, fmt, net::IpAddr, path::PathBuf};

/// What `"letsencrypt"` stands for.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// What `"letsencrypt-staging"` stands for.
pub const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
/// Let's Encrypt's limit of names in one certificate; a device has to read them all.
const DOMAINS_MAX: usize = 100;

/// The `[acme]` section, as written. [`Options::check`] makes it usable.
#[derive(Clone, Debug)]
pub struct Options {
    /// The names on the certificate.
    pub domains: Vec<String>,
    /// E-mail addresses, with or without `mailto:`.
    pub contact: Vec<String>,
    /// An https address, `letsencrypt` or `letsencrypt-staging`.
    pub directory: String,
    /// PEM roots that vouch for the *ACME server's own HTTPS*; alone, if given.
    pub ca_file: Option<PathBuf>,
    /// The CA's name for an external account.
    pub eab_kid: Option<String>,
    /// The key belonging to it, base64url as CAs hand it out.
    pub eab_key: Option<Secret>,
    /// RSA bits: 2048, 3072 or 4096.
    pub key_bits: u16,
    /// Keeps the RSA key across renewals, for fleets that pin it.
    pub reuse_key: bool,
    /// Common name of the root the served chain should lead to.
    pub preferred_chain: Option<String>,
    /// Renews this many days before the end instead of at a third of the lifetime.
    pub renew_before_days: Option<u32>,
    /// An ACME profile by name, where the CA offers it.
    pub profile: Option<String>,
    /// Port 80 is answered here (`listen_http`).
    pub http_01: bool,
    /// Port 443 is answered here (`listen_tls_alpn`).
    pub tls_alpn_01: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            contact: Vec::new(),
            directory: "letsencrypt".to_owned(),
            ca_file: None,
            eab_kid: None,
            eab_key: None,
            // What the CC3220S verifies in reasonable time.
            key_bits: 2048,
            reuse_key: false,
            preferred_chain: None,
            renew_before_days: None,
            profile: None,
            http_01: false,
            tls_alpn_01: false,
        }
    }
}

/// One thing wrong in `[acme]`, by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key in `[acme]`.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub sentence: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[acme] {}: {}", self.key, self.sentence)
    }
}

/// Options that were checked: names in lower case and sorted, the directory an address.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(crate) options: Options,
    pub(crate) contact: Vec<String>,
    pub(crate) eab: Option<Eab>,
}

/// An external account binding, decoded.
#[derive(Clone, Debug)]
pub(crate) struct Eab {
    pub(crate) kid: String,
    pub(crate) key: Secret,
}

impl Options {
    /// Checks everything that can be known without asking the network.
    ///
    /// # Errors
    /// [`AcmeError::Options`] with every fault at once.
    pub fn check(mut self) -> Result<Checked, AcmeError> {
        let mut faults = Faults::default();
        self.domains = faults.domains(&self.domains);
        self.directory = faults.directory(&self.directory);
        let contact = faults.contact(&self.contact);
        let eab = faults.eab(self.eab_kid.as_deref(), self.eab_key.as_ref());
        if !matches!(self.key_bits, 2048 | 3072 | 4096) {
            faults
                .add("key_bits", format!("{} is not an RSA size of ours: 2048, 3072 or 4096", self.key_bits));
        }
        if !self.http_01 && !self.tls_alpn_01 {
            faults.add(
                "listen_http",
                "no challenge can be answered: set listen_http (port 80) or listen_tls_alpn (port 443)",
            );
        }
        if self.renew_before_days == Some(0) {
            faults.add(
                "renew_before_days",
                "0 is after the end: give days, or leave it out for a third of the lifetime",
            );
        }
        match faults.0.is_empty() {
            true => Ok(Checked { options: self, contact, eab }),
            false => Err(AcmeError::Options(faults.0)),
        }
    }
}

impl Checked {
    /// The names on the certificate, lower case, sorted, each once.
    #[must_use]
    pub fn domains(&self) -> &[String] {
        &self.options.domains
    }

    /// The directory's address.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.options.directory
    }

    /// Tells this certificate from others in a store that nodes share: nodes that want the same
    /// from the same CA share it, and those that do not never order in turns.
    #[must_use]
    pub fn name(&self) -> String {
        let Options { domains, directory, .. } = &self.options;
        let hash = super::jws::sha256_hex(format!("{directory} {}", domains.join(",")).as_bytes());
        let first = domains.first().map_or("", String::as_str);
        format!("{first} {}", hash.get(..16).unwrap_or(&hash))
    }

    /// Changes whenever a failed try deserves a new chance at once.
    pub(crate) fn fingerprint(&self) -> String {
        let Options { domains, directory, ca_file, http_01, tls_alpn_01, profile, key_bits, .. } =
            &self.options;
        let text = format!(
            "{domains:?}{directory}{ca_file:?}{http_01}{tls_alpn_01}{profile:?}{key_bits}{:?}{:?}{:?}",
            self.contact,
            self.eab.as_ref().map(|eab| &eab.kid),
            self.eab.as_ref().map(|eab| eab.key.expose()),
        );
        super::jws::sha256_hex(text.as_bytes())
    }
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, key: &'static str, sentence: impl Into<String>) {
        self.0.push(Fault { key, sentence: sentence.into() });
    }

    fn domains(&mut self, domains: &[String]) -> Vec<String> {
        if domains.is_empty() {
            self.add("domains", "no name is given: list the names the devices connect to");
        }
        let names: BTreeSet<String> =
            domains.iter().map(|domain| domain.trim().trim_end_matches('.').to_ascii_lowercase()).collect();
        for name in &names {
            if let Some(sentence) = name_fault(name) {
                self.add("domains", sentence);
            }
        }
        if names.len() > DOMAINS_MAX {
            self.add(
                "domains",
                format!("{} names are too many for one certificate: at most {DOMAINS_MAX}", names.len()),
            );
        }
        names.into_iter().collect()
    }

    fn directory(&mut self, directory: &str) -> String {
        let address = match directory.trim() {
            "letsencrypt" => LETS_ENCRYPT,
            "letsencrypt-staging" => LETS_ENCRYPT_STAGING,
            address => address,
        };
        let https = address.parse::<http::Uri>().is_ok_and(|uri| {
            uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !https {
            self.add(
                "directory",
                format!(
                    "`{address}` is no https address: give one, or `letsencrypt` or `letsencrypt-staging`"
                ),
            );
        }
        address.to_owned()
    }

    fn contact(&mut self, contact: &[String]) -> Vec<String> {
        let mut addresses = Vec::new();
        for entry in contact {
            let mail = entry.trim().trim_start_matches("mailto:");
            let sound = mail
                .split_once('@')
                .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'));
            if !sound || mail.contains([' ', ',', '?', '<', '>']) || !mail.is_ascii() {
                self.add("contact", format!("`{entry}` is no e-mail address: one plain address per entry"));
            }
            addresses.push(format!("mailto:{mail}"));
        }
        addresses
    }

    fn eab(&mut self, kid: Option<&str>, key: Option<&Secret>) -> Option<Eab> {
        match (kid.map(str::trim), key) {
            (None, None) => None,
            (Some(kid), Some(key)) if !kid.is_empty() => {
                let text = key.expose().trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
                let key = Secret::new(text);
                if BASE64_URL_SAFE_NO_PAD.decode(key.expose()).map_or(true, |bytes| bytes.is_empty()) {
                    self.add("eab_key", "is not base64url: copy the key exactly as the CA shows it");
                }
                Some(Eab { kid: kid.to_owned(), key })
            }
            (None, Some(_)) | (Some(_), Some(_)) => {
                self.add("eab_kid", "is missing beside eab_key: the CA hands out both");
                None
            }
            (Some(_), None) => {
                self.add("eab_key", "is missing beside eab_kid: the CA hands out both");
                None
            }
        }
    }
}

/// Why this cannot be a name on a certificate ordered here, and what to do.
#[must_use]
pub fn name_fault(name: &str) -> Option<String> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() {
        Some("an entry is empty: remove it or write the name".to_owned())
    } else if bare.parse::<IpAddr>().is_ok() {
        Some(format!(
            "`{name}` is an IP address, which is not possible here: give the host a DNS name and use that"
        ))
    } else if name.starts_with("*.") {
        Some(format!(
            "`{name}` is a wildcard, which needs the dns-01 challenge and m0v does not do that: list each name by itself"
        ))
    } else if !name.is_ascii() {
        Some(format!("`{name}` is not ASCII: write it in its xn-- form"))
    } else if name.contains(['/', ':', '@']) {
        Some(format!("`{name}` is no host name: without scheme, port or path"))
    } else if name.len() > 253 || !name.split('.').all(is_label) {
        Some(format!(
            "`{name}` is no host name: labels of 1 to 63 letters, digits and inner hyphens, 253 characters in all"
        ))
    } else {
        None
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}
