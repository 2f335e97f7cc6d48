//! The local CA and the server certificate it signs, made once in `<data_dir>/tls/`.
//!
//! `ca.pem` is what a client must be given; once given out it must not change, so an existing
//! CA is never written over: a broken or missing half is an error that names the file. The
//! server's key stays over renewals; only `chain.pem` is replaced, by a rename.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use zeroize::Zeroizing;

use super::chain::ChainError;
use super::check::{parse, system_time};
use super::element::names_of;
use super::peer::hex;
use super::roots::signed;

const DAY: Duration = Duration::from_secs(24 * 3600);
const CA_LIFE: Duration = Duration::from_secs(3652 * 24 * 3600);
/// What browsers and Apple's platforms accept at most.
const LEAF_LIFE: Duration = Duration::from_secs(397 * 24 * 3600);
/// Certificates begin this long ago: clocks of clients differ.
const BACKDATED: Duration = DAY;

/// Where the local certificate lies, and what was done this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFiles {
    /// The CA certificate a client must trust.
    pub ca: PathBuf,
    /// Leaf and CA, for [`super::load_files`].
    pub chain: PathBuf,
    /// The leaf's key, mode 0600.
    pub key: PathBuf,
    /// Whether the CA was made now.
    pub ca_made: bool,
    /// Whether the leaf was made or renewed now.
    pub leaf_made: bool,
}

/// Makes what is missing, and renews a leaf that has less than a third of its life left, does
/// not carry all of `names`, or does not fit its key or CA. `names` are host names and addresses
/// beside localhost. Idempotent; several processes may call it at once. RSA keys take up to a
/// second: call it where blocking is allowed.
///
/// # Errors
/// Names the file that cannot be read, written or used.
pub fn ensure_local(dir: &Path, names: &[String], now: SystemTime) -> Result<LocalFiles, ChainError> {
    fs::create_dir_all(dir).map_err(|error| ChainError::io(dir, "made", &error))?;
    let _lock = lock(&dir.join(".lock"))?;
    let mut files = LocalFiles {
        ca: dir.join("ca.pem"),
        chain: dir.join("chain.pem"),
        key: dir.join("key.pem"),
        ca_made: false,
        leaf_made: false,
    };
    let ca_key = dir.join("ca.key.pem");
    if !exists(&files.ca)? {
        make_ca(&files.ca, &ca_key, now)?;
        files.ca_made = true;
    }
    let names = all_names(names);
    let ca_pem = read(&files.ca)?;
    let ca_der = only_certificate(&files.ca, &ca_pem)?;
    check_ca(&files.ca, &ca_der, now)?;
    if !exists(&files.key)? {
        write(&files.key, new_key(&files.key)?.serialize_pem().as_bytes(), 0o600)?;
    }
    let leaf_key = read_key(&files.key)?;
    if !leaf_is_good(&files.chain, &ca_der, &leaf_key, &names, now)? {
        let issuer = issuer(&files.ca, &ca_pem, &ca_key, &ca_der)?;
        let leaf = make_leaf(&files.chain, &issuer, &ca_der, &leaf_key, &names, now)?;
        write(&files.chain, format!("{}{}", leaf.pem(), pem_text(&ca_der)).as_bytes(), 0o644)?;
        files.leaf_made = true;
    }
    Ok(files)
}

/// Held until dropped; the kernel lets go of it should the process die.
fn lock(path: &Path) -> Result<File, ChainError> {
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = open.map_err(|error| ChainError::io(path, "opened", &error))?;
    file.lock().map_err(|error| ChainError::io(path, "locked", &error))?;
    Ok(file)
}

fn all_names(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(String::from).into();
    for name in names {
        let plain = name.trim_end_matches('.').to_ascii_lowercase();
        let usable =
            !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b));
        if usable && !all.contains(&plain) {
            all.push(plain);
        }
    }
    all
}

/// Key first: a CA whose making was interrupted is completed with the key it had.
fn make_ca(ca: &Path, ca_key: &Path, now: SystemTime) -> Result<(), ChainError> {
    if !exists(ca_key)? {
        write(ca_key, new_key(ca_key)?.serialize_pem().as_bytes(), 0o600)?;
    }
    let key = read_key(ca_key)?;
    let mut params = CertificateParams::default();
    let mut label = [0; 4];
    rand::fill(&mut label).map_err(|_| ChainError::new(ca, "cannot be made: no randomness"))?;
    // A name of its own, so that a client can hold the CAs of several servers.
    params.distinguished_name = name(&format!("m0v local CA {}", hex(&label)));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial(ca)?);
    set_validity(&mut params, now - BACKDATED, now + CA_LIFE);
    let cert = params.self_signed(&key).map_err(|error| cannot_be_made(ca, &error))?;
    write(ca, cert.pem().as_bytes(), 0o644)
}

fn make_leaf(
    chain: &Path,
    issuer: &Issuer<'_, KeyPair>,
    ca_der: &CertificateDer<'_>,
    key: &KeyPair,
    names: &[String],
    now: SystemTime,
) -> Result<Certificate, ChainError> {
    let mut params = CertificateParams::new(names).map_err(|error| cannot_be_made(chain, &error))?;
    params.distinguished_name = name(common_name(names));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial(chain)?);
    let begin = now - BACKDATED;
    let end = (begin + LEAF_LIFE).min(end_of(&parse(chain, ca_der, 0)?));
    set_validity(&mut params, begin, end);
    params.signed_by(key, issuer).map_err(|error| cannot_be_made(chain, &error))
}

/// The first name given by the owner that is no address; the names of this machine come first.
fn common_name(names: &[String]) -> &str {
    let own = names.iter().find(|name| *name != "localhost" && name.parse::<IpAddr>().is_err());
    own.map_or("localhost", String::as_str)
}

fn leaf_is_good(
    chain: &Path,
    ca_der: &CertificateDer<'_>,
    key: &KeyPair,
    names: &[String],
    now: SystemTime,
) -> Result<bool, ChainError> {
    if !exists(chain)? {
        return Ok(false);
    }
    let pem = read(chain)?;
    let ders: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| {
        ChainError::new(chain, format!("is broken: {error}; delete it and it is made anew"))
    })?;
    let Some(leaf_der) = ders.first() else {
        return Err(ChainError::new(chain, "holds no certificate; delete it and it is made anew"));
    };
    let leaf = parse(chain, leaf_der, 0)?;
    let begin = system_time(leaf.validity().not_before.timestamp());
    let life = end_of(&leaf).duration_since(begin).unwrap_or_default();
    let left = end_of(&leaf).duration_since(now).unwrap_or_default();
    let ours = leaf.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
    Ok(ours
        && now >= begin
        && left >= life / 3
        && ders.get(1) == Some(ca_der)
        && signed(&leaf, &parse(chain, ca_der, 1)?)
        && has_names(&leaf, names))
}

fn has_names(leaf: &X509Certificate<'_>, names: &[String]) -> bool {
    let carried = names_of(leaf);
    names.iter().all(|name| carried.contains(name))
}

fn check_ca(file: &Path, der: &CertificateDer<'_>, now: SystemTime) -> Result<(), ChainError> {
    let ca = parse(file, der, 0)?;
    if !ca.is_ca() {
        return Err(ChainError::new(file, "is no CA certificate"));
    }
    if now >= end_of(&ca) {
        let fault = format!(
            "expired on {}; move the folder away, and give every client the ca.pem made then",
            ca.validity().not_after
        );
        return Err(ChainError::new(file, fault));
    }
    Ok(())
}

fn issuer<'a>(
    ca: &Path,
    ca_pem: &[u8],
    ca_key: &Path,
    ca_der: &CertificateDer<'a>,
) -> Result<Issuer<'a, KeyPair>, ChainError> {
    if !exists(ca_key)? {
        let fault = "is missing, and the server certificate must be signed; restore it, or move the folder away \
                     and give every client the ca.pem made then";
        return Err(ChainError::new(ca_key, fault));
    }
    let key = read_key(ca_key)?;
    if parse(ca, ca_der, 0)?.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(ChainError::new(ca_key, format!("is not the key of {}", ca.display())));
    }
    let text = std::str::from_utf8(ca_pem).map_err(|_| ChainError::new(ca, "is no PEM text"))?;
    Issuer::from_ca_cert_pem(text, key).map_err(|error| ChainError::new(ca, format!("cannot sign: {error}")))
}

fn only_certificate(file: &Path, pem: &[u8]) -> Result<CertificateDer<'static>, ChainError> {
    CertificateDer::from_pem_slice(pem)
        .map_err(|error| ChainError::new(file, format!("is broken ({error}); restore it from a copy")))
}

fn new_key(file: &Path) -> Result<KeyPair, ChainError> {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
        .map_err(|error| cannot_be_made(file, &error))
}

fn read_key(file: &Path) -> Result<KeyPair, ChainError> {
    let pem = Zeroizing::new(read(file)?);
    let broken = |why: String| ChainError::new(file, format!("is broken ({why}); restore it from a copy"));
    let text = std::str::from_utf8(&pem).map_err(|error| broken(error.to_string()))?;
    KeyPair::from_pem_and_sign_algo(text, &PKCS_RSA_SHA256).map_err(|error| broken(error.to_string()))
}

fn cannot_be_made(file: &Path, error: &rcgen::Error) -> ChainError {
    ChainError::new(file, format!("cannot be made: {error}"))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "m0v");
    name.push(DnType::CommonName, common);
    name
}

/// 127 random bits, positive as RFC 5280 wants it.
fn serial(file: &Path) -> Result<SerialNumber, ChainError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| ChainError::new(file, "cannot be made: no randomness"))?;
    let [first, ..] = &mut bytes;
    *first = *first & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Whole seconds: X.509 has no others.
fn set_validity(params: &mut CertificateParams, begin: SystemTime, end: SystemTime) {
    let whole = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs())
    };
    params.not_before = whole(begin);
    params.not_after = whole(end);
}

fn end_of(cert: &X509Certificate<'_>) -> SystemTime {
    system_time(cert.validity().not_after.timestamp())
}

fn pem_text(der: &CertificateDer<'_>) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", der.to_vec()))
}

fn exists(file: &Path) -> Result<bool, ChainError> {
    file.try_exists().map_err(|error| ChainError::io(file, "read", &error))
}

fn read(file: &Path) -> Result<Vec<u8>, ChainError> {
    fs::read(file).map_err(|error| ChainError::io(file, "read", &error))
}

/// Whole or not at all: a temporary file of the final mode, synced, then renamed.
fn write(file: &Path, content: &[u8], mode: u32) -> Result<(), ChainError> {
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        out.write_all(content)?;
        out.sync_all()?;
        fs::rename(&temporary, file)?;
        match file.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => io::Result::Ok(()),
        }
    })();
    written.map_err(|error| ChainError::io(file, "written", &error))
}
