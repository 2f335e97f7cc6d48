//! From PEM files to a chain both stacks serve: read, checked, completed by its root.
//! Every fault is one sentence that names the file.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use pem::Pem;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self as pki_pem, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as RustlsError, InconsistentKeys};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::check::{check_chain, check_length, parse, system_time};
use super::element::{Element, names_of};
use super::peer::certificate_id;
use super::roots::{Roots, is_root};

/// How a chain is completed.
#[derive(Debug, Clone)]
pub struct ChainOptions {
    /// Append the root if the chain does not end in one.
    pub append_root: bool,
    /// A folder of further PEM roots.
    pub roots: Option<PathBuf>,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self { append_root: true, roots: None }
    }
}

/// A checked chain with its key, ready for both stacks.
pub struct CertifiedChain {
    modern: Arc<CertifiedKey>,
    compat: s2n_tls::cert_chain::CertificateChain<'static>,
    root: Option<Root>,
    missing_root: Option<String>,
    not_after: SystemTime,
}

/// What a device must hold to trust a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its name, as X.509 tools print it.
    pub subject: String,
    /// Lower-case hex SHA-256 of its DER.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: SystemTime,
}

impl CertifiedChain {
    /// The certificates as they are sent, leaf first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.modern.cert
    }

    /// The root the chain ends in; `None` when it is sent without one.
    #[must_use]
    pub const fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// The name of the root that should be appended and is not known.
    #[must_use]
    pub fn missing_root(&self) -> Option<&str> {
        self.missing_root.as_deref()
    }

    /// Its certificates in words, leaf first.
    #[must_use]
    pub fn elements(&self) -> Vec<Element> {
        self.certificates().iter().filter_map(|der| Element::of(der)).collect()
    }

    /// The names of the leaf, which a device may ask for: its subject alternative names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let Some(Ok((_, leaf))) = self.certificates().first().map(|der| X509Certificate::from_der(der))
        else {
            return Vec::new();
        };
        names_of(&leaf)
    }

    /// When the first of its certificates ends.
    #[must_use]
    pub const fn not_after(&self) -> SystemTime {
        self.not_after
    }

    pub(super) fn modern(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.modern)
    }

    pub(super) fn compat(&self) -> s2n_tls::cert_chain::CertificateChain<'static> {
        self.compat.clone()
    }
}

impl fmt::Debug for CertifiedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertifiedChain").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Something the owner should know about a chain that is served all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file of the tls room that cannot be used; one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {fault}", file = file.display())]
pub struct ChainError {
    /// The file at fault.
    pub file: PathBuf,
    /// What is wrong with it, and what to do.
    pub fault: String,
}

impl ChainError {
    pub(super) fn new(file: &Path, fault: impl Into<String>) -> Self {
        Self { file: file.to_owned(), fault: fault.into() }
    }

    pub(super) fn io(file: &Path, what: &str, error: &io::Error) -> Self {
        Self::new(file, format!("cannot be {what}: {error}"))
    }
}

/// Reads and checks `[tls] chain` and `key`, and completes the chain.
///
/// # Errors
/// The first fault found: unreadable, no RSA, too short, out of its dates, wrongly ordered, not
/// signed by the next one, a key of another certificate.
pub fn load_files(
    chain: &Path,
    key: &Path,
    options: &ChainOptions,
    now: SystemTime,
) -> Result<(CertifiedChain, Vec<Warning>), ChainError> {
    let chain_pem = fs::read(chain).map_err(|error| ChainError::io(chain, "read", &error))?;
    let key_pem = Zeroizing::new(fs::read(key).map_err(|error| ChainError::io(key, "read", &error))?);
    let (loaded, mut warnings) = load_pem((chain, &chain_pem), (key, &key_pem), options, now)?;
    warnings.extend(readable_by_others(key));
    Ok((loaded, warnings))
}

/// The same for texts that are read already; their names are for messages.
///
/// # Errors
/// As [`load_files`].
pub fn load_pem(
    (chain, chain_pem): (&Path, &[u8]),
    (key, key_pem): (&Path, &[u8]),
    options: &ChainOptions,
    now: SystemTime,
) -> Result<(CertifiedChain, Vec<Warning>), ChainError> {
    let mut warnings = Vec::new();
    let mut ders = read_certificates(chain, chain_pem)?;
    let key_der = read_key(key, key_pem)?;
    check_chain(chain, &ders, now)?;
    let missing_root = if options.append_root { append_root(chain, &mut ders, options, now)? } else { None };
    warnings.extend(missing_root.as_ref().map(|root| {
        Warning(format!(
            "{}: the root \"{root}\" is neither shipped nor in [tls] roots; the chain is served without it, \
             and a device that wants the root in the chain will refuse it",
            chain.display()
        ))
    }));
    check_length(chain, &ders)?;
    let mut certified = certify(chain, key, ders, &key_der)?;
    certified.missing_root = missing_root;
    Ok((certified, warnings))
}

pub(super) fn read_certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let ders = ders.map_err(|error| ChainError::new(file, format!("is broken PEM: {error}")))?;
    if ders.is_empty() {
        return Err(ChainError::new(file, "holds no certificate (PEM, \"BEGIN CERTIFICATE\", is read)"));
    }
    Ok(ders)
}

fn read_key(file: &Path, pem: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, ChainError> {
    let encrypted = b"ENCRYPTED";
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(PrivateKeyDer::Sec1(_)) => Err(ChainError::new(file, "is an EC key; devices need an RSA key")),
        Ok(key) => Ok(Zeroizing::new(key)),
        Err(pki_pem::Error::NoItemsFound) if pem.windows(encrypted.len()).any(|part| part == encrypted) => {
            Err(ChainError::new(file, "is encrypted; give the key without a passphrase, mode 0600"))
        }
        Err(pki_pem::Error::NoItemsFound) => Err(ChainError::new(file, "holds no private key (PEM)")),
        Err(error) => Err(ChainError::new(file, format!("is broken PEM: {error}"))),
    }
}

fn readable_by_others(key: &Path) -> Option<Warning> {
    let mode = fs::metadata(key).ok()?.permissions().mode() & 0o7777;
    (mode & 0o007 != 0).then(|| {
        Warning(format!(
            "{}: the private key is open to every user (mode {mode:04o}); make it 0600",
            key.display()
        ))
    })
}

/// Completes the chain, or returns the name of the root that is not known: the chain is as good as
/// its owner made it.
fn append_root(
    file: &Path,
    ders: &mut Vec<CertificateDer<'static>>,
    options: &ChainOptions,
    now: SystemTime,
) -> Result<Option<String>, ChainError> {
    let Some(last) = ders.last() else { return Ok(None) };
    let top = parse(file, last, ders.len() - 1)?;
    if is_root(&top) {
        return Ok(None);
    }
    let mut roots = Roots::shipped();
    if let Some(folder) = &options.roots {
        roots.add_folder(folder).map_err(|error| ChainError::io(folder, "read", &error))?;
    }
    let Some(root) = roots.issuer_of(&top, now) else { return Ok(Some(top.issuer().to_string())) };
    ders.push(root);
    Ok(None)
}

fn certify(
    chain_file: &Path,
    key_file: &Path,
    ders: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<CertifiedChain, ChainError> {
    let compat_key = key_pem(key);
    let signing = aws_lc_rs::sign::any_supported_type(key)
        .map_err(|error| ChainError::new(key_file, format!("is no key that can sign: {error}")))?;
    let (root, not_after) = root_and_end(chain_file, &ders)?;
    let modern = CertifiedKey::new(ders, signing);
    match modern.keys_match() {
        Ok(()) => {}
        Err(RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let fault = format!("is not the key of the first certificate in {}", chain_file.display());
            return Err(ChainError::new(key_file, fault));
        }
        Err(error) => {
            return Err(ChainError::new(key_file, format!("cannot be compared with the chain: {error}")));
        }
    }
    let chain_pem: Vec<Pem> = modern.cert.iter().map(|der| Pem::new("CERTIFICATE", der.to_vec())).collect();
    let compat = compat_chain(pem::encode_many(&chain_pem).as_bytes(), &compat_key)
        .map_err(|error| ChainError::new(chain_file, format!("is refused by s2n-tls: {error}")))?;
    Ok(CertifiedChain { modern: Arc::new(modern), compat, root, missing_root: None, not_after })
}

/// s2n-tls reads PEM only.
fn key_pem(key: &PrivateKeyDer<'_>) -> Zeroizing<Vec<u8>> {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let block = Pem::new(label, key.secret_der().to_vec());
    let text = Zeroizing::new(pem::encode(&block).into_bytes());
    drop(Zeroizing::new(block.into_contents()));
    text
}

fn compat_chain(
    chain: &[u8],
    key: &[u8],
) -> Result<s2n_tls::cert_chain::CertificateChain<'static>, s2n_tls::error::Error> {
    let mut builder = s2n_tls::cert_chain::Builder::new()?;
    builder.load_pem(chain, key)?;
    builder.build()
}

fn root_and_end(
    file: &Path,
    ders: &[CertificateDer<'static>],
) -> Result<(Option<Root>, SystemTime), ChainError> {
    let mut root = None;
    let mut end = None;
    for (at, der) in ders.iter().enumerate() {
        let cert = parse(file, der, at)?;
        let not_after = system_time(cert.validity().not_after.timestamp());
        end = Some(end.map_or(not_after, |known: SystemTime| known.min(not_after)));
        root = is_root(&cert).then(|| Root {
            subject: cert.subject().to_string(),
            fingerprint: certificate_id(der),
            not_after,
        });
    }
    Ok((root, end.unwrap_or(SystemTime::UNIX_EPOCH)))
}
