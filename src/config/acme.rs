//! `[acme]`: what is ordered, from whom, and where the CA's questions are answered.

use super::{
    defaults,
    keys::Keys,
    secret::Secret,
    single::{base64url, between, directory as directory_url, domain, each, mailto, optional, rsa_bits},
};
use std::{net::SocketAddr, path::PathBuf};

/// `[acme]`: certificates from an ACME directory; off while `domains` is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// Names in the certificate.
    pub domains: Vec<String>,
    /// Where the CA may write to, as `mailto:` URLs.
    pub contact: Vec<String>,
    /// URL of the directory, or `letsencrypt`, `letsencrypt-staging`.
    pub directory: String,
    /// PEM file with the root of the directory's own HTTPS, for a private CA.
    pub ca_file: Option<PathBuf>,
    /// Addresses for tls-alpn-01; the CA calls port 443.
    pub listen_tls_alpn: Vec<SocketAddr>,
    /// Addresses for http-01; the CA calls port 80.
    pub listen_http: Vec<SocketAddr>,
    /// Days before the end; unset, when a third of the lifetime is left.
    pub renew_before_days: Option<u32>,
    /// External account binding: the key's id, from the CA.
    pub eab_kid: Option<String>,
    /// External account binding: the key, base64url as the CA shows it.
    pub eab_key: Option<Secret>,
    /// Size of the certificate's RSA key.
    pub key_bits: u16,
    /// Whether renewals keep the private key, for devices that pin it.
    pub reuse_key: bool,
    /// Common name of the root whose chain is wanted when the CA offers several.
    pub preferred_chain: Option<String>,
    /// The CA's name for the kind of certificate, where it offers several.
    pub profile: Option<String>,
    /// Whether `/readyz` is content with the local certificate until the first one comes.
    pub ready_with_local: bool,
}

impl Acme {
    pub(super) fn visit(&mut self, keys: &mut impl Keys) {
        let Self {
            domains,
            contact,
            directory,
            ca_file,
            listen_tls_alpn,
            listen_http,
            renew_before_days,
            eab_kid,
            eab_key,
            key_bits,
            reuse_key,
            preferred_chain,
            profile,
            ready_with_local,
        } = self;
        keys.checked("domains", domains, each(domain));
        keys.checked("contact", contact, each(mailto));
        keys.checked("directory", directory, directory_url);
        keys.key("ca_file", ca_file);
        keys.key("listen_tls_alpn", listen_tls_alpn);
        keys.key("listen_http", listen_http);
        keys.checked("renew_before_days", renew_before_days, optional(between(1..=365)));
        keys.key("eab_kid", eab_kid);
        keys.checked("eab_key", eab_key, optional(base64url));
        keys.checked("key_bits", key_bits, rsa_bits);
        keys.key("reuse_key", reuse_key);
        keys.key("preferred_chain", preferred_chain);
        keys.key("profile", profile);
        keys.key("ready_with_local", ready_with_local);
    }
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            contact: Vec::new(),
            directory: defaults::ACME_DIRECTORY.to_owned(),
            ca_file: None,
            listen_tls_alpn: Vec::new(),
            listen_http: Vec::new(),
            renew_before_days: None,
            eab_kid: None,
            eab_key: None,
            key_bits: defaults::ACME_KEY_BITS,
            reuse_key: false,
            preferred_chain: None,
            profile: None,
            ready_with_local: false,
        }
    }
}
