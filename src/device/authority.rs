//! CAs of our own: a folder (0700) with `ca.cert.pem`, `ca.private_key.pem` (0600) and
//! `ca.public_key.pem`. It is filled under another name and renamed when it is whole, so that one
//! whose making was interrupted is never taken for a CA. Everything here blocks.

use super::{
    certificate::{pem_text, read_pem_certificate},
    judge::{Anchor, Unfit},
    subject::Subject,
};
use crate::{
    store::Micros,
    tls::{certificate_id, hex},
};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    PublicKeyData, RsaKeySize, SerialNumber, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// The CA's certificate.
pub const CERTIFICATE: &str = "ca.cert.pem";
/// Its key, PKCS#8.
pub const PRIVATE_KEY: &str = "ca.private_key.pem";
/// The public half.
pub const PUBLIC_KEY: &str = "ca.public_key.pem";

/// Name of the folder of the issuer that is made at first use.
pub const ISSUER: &str = "issuer";

/// CAs live twice as long as what they issue, so that the last one issued lives its life.
const LIFE: Micros = 7305 * 24 * 3600 * 1_000_000;
/// Certificates begin this long ago: the clocks of others are slow.
pub(super) const BACKDATED: Micros = 3600 * 1_000_000;

/// Folders under construction begin with this.
const UNFINISHED: &str = ".new-";

/// What is wrong with a CA's folder. Names it, and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The operating system refuses.
    #[error("{path}: cannot be {verb}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {fault}; restore it from a copy")]
    Broken {
        /// The file.
        path: PathBuf,
        /// In words.
        fault: String,
    },
    /// The certificate is one that nobody could vouch with.
    #[error(
        "{path}: the certificate {unfit}; make another CA (m0v ca new) and name its folder in [api] issuer_ca"
    )]
    Unfit {
        /// The certificate's file.
        path: PathBuf,
        /// Why not.
        unfit: Unfit,
    },
    /// Key and certificate are of two CAs.
    #[error("{path}: is not the key of the {CERTIFICATE} beside it")]
    OtherKey {
        /// The key's file.
        path: PathBuf,
    },
    /// The crypto library fails.
    #[error("{what} cannot be made: {fault}")]
    Crypto {
        /// What was being made.
        what: &'static str,
        /// Its words.
        fault: String,
    },
}

impl AuthorityError {
    fn io(path: &Path, verb: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, verb, source }
    }

    pub(super) fn crypto(what: &'static str) -> impl FnOnce(rcgen::Error) -> Self {
        move |error| Self::Crypto { what, fault: error.to_string() }
    }

    fn broken(path: &Path, fault: impl Into<String>) -> Self {
        Self::Broken { path: path.to_owned(), fault: fault.into() }
    }
}

/// A CA whose key we hold.
pub struct Authority {
    der: CertificateDer<'static>,
    anchor: Anchor,
    key: Zeroizing<KeyPair>,
}

impl Authority {
    /// Opens the CA in a folder.
    ///
    /// # Errors
    /// Names the file that is missing, broken or of no use.
    pub fn open(folder: &Path) -> Result<Self, AuthorityError> {
        let (der, anchor) = read_certificate(folder)?;
        let file = folder.join(PRIVATE_KEY);
        let text = fs::read_to_string(&file).map_err(AuthorityError::io(&file, "read"))?;
        let text = Zeroizing::new(text);
        let key = KeyPair::from_pem(&text)
            .map_err(|_| AuthorityError::broken(&file, "holds no private key that can sign (PEM, PKCS#8)"))?;
        let key = Zeroizing::new(key);
        if !anchor.has_key(&key.subject_public_key_info()) {
            return Err(AuthorityError::OtherKey { path: file });
        }
        if is_open_to_others(&file).map_err(AuthorityError::io(&file, "read"))? {
            log::warn!("{}: the CA's private key is open to other users; make it 0600", file.display());
        }
        Ok(Self { der, anchor, key })
    }

    /// The CA in `parent/name`, made if there is none; once, whoever else tries at the same time.
    ///
    /// # Errors
    /// As [`Authority::open`], and what cannot be made.
    pub fn open_or_make(parent: &Path, name: &str, now: Micros) -> Result<Self, AuthorityError> {
        let folder = parent.join(name);
        if !exists(&folder)? {
            let _lock = prepare(parent)?;
            if !exists(&folder)? {
                make(parent, |_| name.to_owned(), &Subject::default(), now)?;
                log::info!("made a CA for device certificates: {}", folder.display());
            }
        }
        Self::open(&folder)
    }

    /// Makes a CA in `parent/<its id>`.
    ///
    /// # Errors
    /// What cannot be made or written.
    pub fn make(parent: &Path, subject: &Subject, now: Micros) -> Result<Self, AuthorityError> {
        let _lock = prepare(parent)?;
        Self::open(&make(parent, str::to_owned, subject, now)?)
    }

    /// What it is to those it vouches for.
    #[must_use]
    pub const fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// Its certificate, one PEM block.
    #[must_use]
    pub fn pem(&self) -> String {
        pem_text(&self.der)
    }

    /// What signs.
    pub(super) fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, AuthorityError> {
        Issuer::from_ca_cert_der(&self.der, &*self.key).map_err(AuthorityError::crypto("an issuer"))
    }
}

/// The certificate of the CA in a folder, without its key.
///
/// # Errors
/// As [`Authority::open`].
pub fn read_certificate(folder: &Path) -> Result<(CertificateDer<'static>, Anchor), AuthorityError> {
    let file = folder.join(CERTIFICATE);
    let text = fs::read_to_string(&file).map_err(AuthorityError::io(&file, "read"))?;
    let der = read_pem_certificate(&text)
        .map_err(|bad| AuthorityError::broken(&file, format!("the text {bad}")))?;
    match Anchor::read(&certificate_id(&der), &der) {
        Ok(anchor) => Ok((der, anchor)),
        Err(unfit) => Err(AuthorityError::Unfit { path: file, unfit }),
    }
}

/// Whether another user than the owner may read or write a file.
///
/// # Errors
/// It cannot be looked at.
pub fn is_open_to_others(file: &Path) -> io::Result<bool> {
    Ok(fs::metadata(file)?.permissions().mode() & 0o077 != 0)
}

/// Makes the folder of folders, locks it for whoever makes a CA, and removes what was never
/// finished. The kernel lets go of the lock should the process die.
fn prepare(parent: &Path) -> Result<File, AuthorityError> {
    private_folder(parent, true)?;
    let path = parent.join(".lock");
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let lock = open.map_err(AuthorityError::io(&path, "opened"))?;
    lock.lock().map_err(AuthorityError::io(&path, "locked"))?;
    for entry in fs::read_dir(parent).map_err(AuthorityError::io(parent, "read"))? {
        let entry = entry.map_err(AuthorityError::io(parent, "read"))?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(AuthorityError::io(&path, "removed"))?;
        }
    }
    Ok(lock)
}

/// Makes key, certificate and folder; returns the folder, called what `name` makes of the CA's id.
fn make(
    parent: &Path,
    name: impl FnOnce(&str) -> String,
    subject: &Subject,
    now: Micros,
) -> Result<PathBuf, AuthorityError> {
    let label = random_label()?;
    let key = new_key()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject.name(&label);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial()?);
    set_validity(&mut params, now.saturating_sub(BACKDATED), now.saturating_add(LIFE));
    let certificate = params.self_signed(&*key).map_err(AuthorityError::crypto("a CA"))?;

    let unfinished = parent.join(format!("{UNFINISHED}{label}"));
    private_folder(&unfinished, false)?;
    write(&unfinished.join(PRIVATE_KEY), private_pem(&key).as_bytes(), 0o600)?;
    write(&unfinished.join(PUBLIC_KEY), key.public_key_pem().as_bytes(), 0o644)?;
    write(&unfinished.join(CERTIFICATE), pem_text(certificate.der()).as_bytes(), 0o644)?;
    sync(&unfinished)?;
    let folder = parent.join(name(&certificate_id(certificate.der())));
    fs::rename(&unfinished, &folder).map_err(AuthorityError::io(&folder, "made"))?;
    sync(parent)?;
    Ok(folder)
}

/// An RSA key: a tenth of a second to two seconds of one core.
pub(super) fn new_key() -> Result<Zeroizing<KeyPair>, AuthorityError> {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
    key.map(Zeroizing::new).map_err(AuthorityError::crypto("an RSA key"))
}

/// PKCS#8 PEM; every copy made on the way is wiped.
pub(super) fn private_pem(key: &KeyPair) -> Zeroizing<String> {
    let block = pem::Pem::new("PRIVATE KEY", key.serialized_der());
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let text = Zeroizing::new(pem::encode_config(&block, config));
    drop(Zeroizing::new(block.into_contents()));
    text
}

/// 127 random bits, positive as RFC 5280 wants it.
pub(super) fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = random::<16>()?;
    let [first, ..] = &mut bytes;
    *first = *first & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn random_label() -> Result<String, AuthorityError> {
    Ok(hex(&random::<4>()?))
}

fn random<const N: usize>() -> Result<[u8; N], AuthorityError> {
    let mut bytes = [0; N];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(AuthorityError::Crypto { what: "a random number", fault: "no randomness".into() }),
    }
}

/// Whole seconds: X.509 has no others. Unix microseconds.
pub(super) fn set_validity(params: &mut CertificateParams, begin: Micros, end: Micros) {
    let whole = |time: Micros| {
        let seconds = u64::try_from(time.div_euclid(1_000_000)).unwrap_or(0);
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = whole(begin);
    params.not_after = whole(end);
}

fn exists(path: &Path) -> Result<bool, AuthorityError> {
    path.try_exists().map_err(AuthorityError::io(path, "read"))
}

fn private_folder(path: &Path, may_exist: bool) -> Result<(), AuthorityError> {
    DirBuilder::new().recursive(may_exist).mode(0o700).create(path).map_err(AuthorityError::io(path, "made"))
}

fn write(file: &Path, content: &[u8], mode: u32) -> Result<(), AuthorityError> {
    let written =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(file).and_then(|mut out| {
            out.write_all(content)?;
            out.sync_all()
        });
    written.map_err(AuthorityError::io(file, "written"))
}

fn sync(folder: &Path) -> Result<(), AuthorityError> {
    File::open(folder).and_then(|it| it.sync_all()).map_err(AuthorityError::io(folder, "written"))
}
