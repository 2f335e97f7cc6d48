//! Certificates for devices, issued by a CA of our own, and new CAs.
//!
//! Each is judged as a stranger would judge it before it leaves. A device's private key is in the
//! answer and nowhere else.

use super::{
    authority::{self, Authority, AuthorityError, ISSUER},
    certificate::{BadListing, check_model, pem_text, why_not_listed},
    judge::{self, Anchors},
    name::check_device_id,
    request::{BadRequest, Request},
    subject::{BadSubject, Subject},
};
use crate::{
    store::{
        Micros, StoreError,
        devices::{Ca, Devices, Enrolment, Grounds, NotEnrolled, Role, Status},
        now,
    },
    tls::certificate_id,
};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};
use zeroize::Zeroizing;

/// How long what is issued lives, if its CA does: devices are in walls for ten years.
const LIFE: Micros = 3652 * 24 * 3600 * 1_000_000;

/// How long one waits for a core to make a key on.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// Who issues: the CA in a folder, and the folder where new ones are made.
pub struct Issuing {
    store: Arc<dyn Devices>,
    /// `<data_dir>/ca`.
    folder: PathBuf,
    /// `[api] issuer_ca`; without one, `issuer` in `folder`, made at first use.
    issuer: Option<PathBuf>,
    /// Half of the cores: meters need the others.
    turns: Arc<Semaphore>,
}

/// What is to be issued.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// For which device.
    pub device_id: &'a str,
    /// Its model, if the device is new.
    pub model_number: Option<&'a str>,
    /// A PKCS#10 request in PEM; without one a key pair is made.
    pub csr: Option<&'a str>,
}

/// A certificate that was issued and listed.
#[derive(Debug)]
pub struct Issued {
    /// Lower-case hex SHA-256 of its DER.
    pub certificate_id: String,
    /// One PEM block.
    pub certificate_pem: String,
    /// Unless the caller holds the key himself.
    pub key_pair: Option<IssuedKey>,
    /// The certificate of the CA that issued it, one PEM block.
    pub root_pem: String,
    /// That CA.
    pub ca_id: String,
    /// When.
    pub created_at: Micros,
}

/// A key pair on its way to a device.
pub struct IssuedKey {
    /// `SubjectPublicKeyInfo`, PEM.
    pub public_pem: String,
    private_pem: Zeroizing<String>,
}

impl IssuedKey {
    /// PKCS#8, PEM: for the answer or the owner's file; never for a log.
    #[must_use]
    pub fn expose_private_pem(&self) -> &str {
        &self.private_pem
    }
}

impl fmt::Debug for IssuedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedKey").field("public_pem", &self.public_pem).finish_non_exhaustive()
    }
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The caller's names.
    #[error(transparent)]
    Listing(#[from] BadListing),
    /// The caller's request.
    #[error("csr: {0}")]
    Request(#[from] BadRequest),
    /// The caller's names for a CA.
    #[error(transparent)]
    Subject(#[from] BadSubject),
    /// The device may have none.
    #[error("{}", why_not_listed(.0))]
    NotEnrolled(NotEnrolled),
    /// All cores that make keys are taken.
    #[error("busy making keys, try again")]
    Busy,
    /// The issuer's certificates count no more.
    #[error(
        "the CA {ca_id} that issues device certificates is revoked; make another (m0v ca new) and name its \
         folder in [api] issuer_ca"
    )]
    IssuerRevoked {
        /// It.
        ca_id: String,
    },
    /// The CA's folder.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The issuer is one whose certificates nobody would accept.
    #[error("{folder}: the CA's certificates would be refused: {fault}")]
    Useless {
        /// Its folder.
        folder: PathBuf,
        /// What a stranger would say.
        fault: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process is ending.
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Issuing {
    /// `data_dir` and `issuer` as configured.
    #[must_use]
    pub fn new(store: Arc<dyn Devices>, data_dir: &Path, issuer: Option<PathBuf>) -> Self {
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            store,
            folder: data_dir.join("ca"),
            issuer,
            turns: Arc::new(Semaphore::new(cores.div_ceil(2))),
        }
    }

    /// Where the issuer is.
    #[must_use]
    pub fn issuer_folder(&self) -> PathBuf {
        self.issuer.clone().unwrap_or_else(|| self.folder.join(ISSUER))
    }

    /// Issues a certificate and lists it. Whoever keeps a [`Registry`](super::Registry) tells it.
    ///
    /// # Errors
    /// Nothing was listed, or (the database's answer was lost) a certificate whose key nobody has.
    pub async fn issue(&self, wanted: Wanted<'_>, who: &str) -> Result<Issued, IssueError> {
        check_device_id(wanted.device_id).map_err(BadListing::from)?;
        check_model(wanted.model_number)?;
        let request = wanted.csr.map(Request::read).transpose()?;
        let turn = self.turn().await?;
        let (parent, configured) = (self.folder.clone(), self.issuer.clone());
        let (device_id, created_at) = (wanted.device_id.to_owned(), now());
        let made = spawn_blocking(move || {
            let _turn = turn;
            let authority = match &configured {
                Some(folder) => Authority::open(folder),
                None => Authority::open_or_make(&parent, ISSUER, created_at),
            }?;
            let folder = configured.unwrap_or_else(|| parent.join(ISSUER));
            certify(&authority, &folder, &device_id, request, created_at)
        });
        let made = made.await.map_err(|_| IssueError::ShuttingDown)??;
        self.register_issuer(&made).await?;
        let enrolment = Enrolment {
            device_id: wanted.device_id.to_owned(),
            model_number: wanted.model_number.map(str::to_owned),
            certificate_id: made.issued.certificate_id.clone(),
            pem: made.issued.certificate_pem.clone(),
            not_after: made.not_after,
            role: Role::Device,
            grounds: Grounds::Issued { ca_id: made.issued.ca_id.clone() },
        };
        match self.store.enrol(&enrolment, who).await? {
            Ok(_) => Ok(made.issued),
            Err(refused) => Err(IssueError::NotEnrolled(refused)),
        }
    }

    /// Makes a CA and registers it; its new devices are active at once. Returns its id, which is the
    /// name of its folder.
    ///
    /// # Errors
    /// No CA is registered, or (the database's answer was lost) perhaps one whose id nobody was told.
    /// A folder that was made stays: a key is never thrown away.
    pub async fn register_ca(&self, subject: Subject, who: &str) -> Result<String, IssueError> {
        let subject = subject.checked()?;
        // No folders are made for a database that is away.
        self.store.list_cas().await?;
        let turn = self.turn().await?;
        let parent = self.folder.clone();
        let made = spawn_blocking(move || {
            let _turn = turn;
            Authority::make(&parent, &subject, now())
        });
        let authority = made.await.map_err(|_| IssueError::ShuttingDown)??;
        let row = row(authority.anchor(), authority.pem(), true);
        let (Ok(ca) | Err(ca)) = self.store.add_ca(&row, who).await?;
        Ok(ca.ca_id)
    }

    /// To be held by the thread that works, not by a caller who may leave.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, IssueError> {
        match timeout(TURN_TIMEOUT, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(IssueError::Busy),
        }
    }

    /// The issuer is in `ca` like any other, so that it can be seen and revoked. What it signs is
    /// listed when it is signed, so a certificate of its that is not listed waits for approval.
    async fn register_issuer(&self, made: &Made) -> Result<(), IssueError> {
        let ca_id = &made.issued.ca_id;
        let cas = self.store.list_cas().await?;
        let there = match cas.into_iter().find(|ca| ca.ca_id == *ca_id) {
            Some(there) => there,
            None => {
                let row = row(&made.anchor, made.issued.root_pem.clone(), false);
                self.store.add_ca(&row, "server").await?.unwrap_or_else(|there| there)
            }
        };
        match there.status {
            Status::Revoked => Err(IssueError::IssuerRevoked { ca_id: ca_id.clone() }),
            Status::Active | Status::Pending => Ok(()),
        }
    }
}

/// A row of `ca`, now.
#[must_use]
pub fn row(anchor: &judge::Anchor, pem: String, auto_register: bool) -> Ca {
    Ca {
        ca_id: anchor.ca_id().to_owned(),
        subject: anchor.subject().to_owned(),
        pem,
        status: Status::Active,
        auto_register,
        created_at: now(),
    }
}

struct Made {
    issued: Issued,
    anchor: judge::Anchor,
    not_after: Micros,
}

fn certify(
    authority: &Authority,
    folder: &Path,
    device_id: &str,
    request: Option<Request>,
    now: Micros,
) -> Result<Made, IssueError> {
    let useless = |fault: String| IssueError::Useless { folder: folder.to_owned(), fault };
    let anchor = authority.anchor();
    anchor.judge_dates(now).map_err(|unfit| useless(format!("its own {unfit}")))?;
    let (spki, key_pair) = match request {
        Some(request) => (request.spki().to_vec(), None),
        None => {
            let key = authority::new_key()?;
            (rcgen::PublicKeyData::subject_public_key_info(&*key), Some(issued_key(&key)))
        }
    };
    let der = sign(authority, device_id, &spki, now)?;
    let leaf = judge::leaf(&der, now).map_err(|unfit| useless(unfit.to_string()))?;
    let anchors = Anchors::new(vec![anchor.clone()], Vec::new());
    let judged = judge::vouching_ca(std::slice::from_ref(&der), &anchors, None, now);
    judged.map_err(|unvouched| useless(unvouched.to_string()))?;
    let issued = Issued {
        certificate_id: certificate_id(&der),
        certificate_pem: pem_text(&der),
        key_pair,
        root_pem: authority.pem(),
        ca_id: anchor.ca_id().to_owned(),
        created_at: now,
    };
    Ok(Made { issued, anchor: anchor.clone(), not_after: leaf.not_after() })
}

fn issued_key(key: &KeyPair) -> IssuedKey {
    IssuedKey { public_pem: key.public_key_pem(), private_pem: authority::private_pem(key) }
}

/// Everything but the key is ours.
fn sign(
    authority: &Authority,
    device_id: &str,
    spki: &[u8],
    now: Micros,
) -> Result<CertificateDer<'static>, AuthorityError> {
    let fault = || AuthorityError::crypto("a certificate");
    let key = SubjectPublicKeyInfo::from_der(spki).map_err(fault())?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, device_id);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(authority::serial()?);
    let end = now.saturating_add(LIFE).min(authority.anchor().not_after());
    authority::set_validity(&mut params, now.saturating_sub(authority::BACKDATED), end);
    let certificate = params.signed_by(&key, &authority.issuer()?).map_err(fault())?;
    Ok(certificate.der().clone())
}
