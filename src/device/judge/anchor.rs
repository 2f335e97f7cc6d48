//! Registered CAs, read once.

use super::{
    Unfit,
    key::check_key,
    leaf::version,
    read::{self, Dates, contents},
};
use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::{certificate::X509Certificate, error::X509Error};

/// A CA certificate that may vouch for devices.
#[derive(Clone, Debug)]
pub struct Anchor {
    ca_id: String,
    subject: String,
    dates: Dates,
    path_len: Option<u32>,
    /// Name and key, to compare with.
    trust: TrustAnchor<'static>,
}

impl Anchor {
    /// Reads a CA certificate. `ca_id` is its fingerprint, as the caller knows it. Dates are
    /// judged apart ([`Anchor::judge_dates`]), because they change.
    ///
    /// # Errors
    /// Why it can vouch for nobody.
    pub fn read(ca_id: &str, der: &[u8]) -> Result<Self, Unfit> {
        let certificate = read::certificate(der)?;
        let version = version(&certificate);
        if version != 3 {
            return Err(Unfit::OldVersion(version));
        }
        let (is_ca, path_len) = read::constraints(&certificate)?;
        if !is_ca {
            return Err(Unfit::IsNoCa);
        }
        if read::usage(&certificate)?.is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(Unfit::NoCertSign);
        }
        read::for_clients(&certificate)?;
        check_key(certificate.public_key())?;
        check_own_signature(&certificate)?;
        let der = CertificateDer::from(der);
        let trust = webpki::anchor_from_trusted_cert(&der);
        let trust = trust.map_err(|_| Unfit::Undecodable("its form is not that of RFC 5280"))?.to_owned();
        Ok(Self {
            ca_id: ca_id.to_owned(),
            subject: certificate.subject().to_string(),
            dates: Dates::of(certificate.validity()),
            path_len,
            trust,
        })
    }

    /// Lower-case hex SHA-256 of its DER.
    #[must_use]
    pub fn ca_id(&self) -> &str {
        &self.ca_id
    }

    /// Its name, as X.509 tools print it.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its end, in Unix microseconds.
    #[must_use]
    pub const fn not_after(&self) -> i64 {
        self.dates.not_after()
    }

    /// Whether its time is now (Unix microseconds).
    ///
    /// # Errors
    /// [`Unfit::NotYetValid`] or [`Unfit::Expired`].
    pub fn judge_dates(&self, now: i64) -> Result<(), Unfit> {
        self.dates.judge(now)
    }

    /// Whether this key (DER of a `SubjectPublicKeyInfo`) is its own.
    #[must_use]
    pub fn has_key(&self, spki: &[u8]) -> bool {
        contents(spki) == &*self.trust.subject_public_key_info
    }

    /// CA certificates allowed below it.
    pub(super) const fn path_len(&self) -> Option<u32> {
        self.path_len
    }

    pub(super) const fn trust(&self) -> &TrustAnchor<'static> {
        &self.trust
    }

    /// DER of its subject, without the outer tag.
    pub(super) fn name(&self) -> &[u8] {
        &self.trust.subject
    }

    /// Whether both have one name and one key: a CA, and the same renewed.
    fn is_one_with(&self, name: &[u8], key: &[u8]) -> bool {
        &*self.trust.subject == name && &*self.trust.subject_public_key_info == key
    }
}

/// One that names itself as issuer must have signed itself: a damaged paste is found here, not in
/// the field.
fn check_own_signature(certificate: &X509Certificate<'_>) -> Result<(), Unfit> {
    if certificate.subject().as_raw() != certificate.issuer().as_raw() {
        return Ok(());
    }
    match certificate.verify_signature(None) {
        // What a key of P-521 signed, say: this reader cannot tell, and webpki judges whom it vouches for.
        Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm) => Ok(()),
        Err(_) => Err(Unfit::ForgedSelf),
    }
}

/// Whether a certificate names a CA as its issuer and was signed with that CA's key, whatever else
/// is wrong with either. With an algorithm that cannot be checked here, the name alone counts: for
/// what is revoked with a CA, rather one too many than one too few.
#[must_use]
pub fn is_signed_by(der: &[u8], ca: &[u8]) -> bool {
    let (Ok(certificate), Ok(ca)) = (read::certificate(der), read::certificate(ca)) else { return false };
    certificate.issuer().as_raw() == ca.subject().as_raw()
        && match certificate.verify_signature(Some(ca.public_key())) {
            Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm) => true,
            Err(_) => false,
        }
}

/// Whether two certificates are one CA's: of one name and one key.
#[must_use]
pub fn is_renewed_by(one: &[u8], other: &[u8]) -> bool {
    let (Ok(one), Ok(other)) = (read::certificate(one), read::certificate(other)) else { return false };
    one.subject().as_raw() == other.subject().as_raw() && one.public_key().raw == other.public_key().raw
}

/// All registered CAs: those that count and those that were revoked.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    active: Vec<Anchor>,
    revoked: Vec<Anchor>,
}

impl Anchors {
    /// Both kinds; where several CAs vouch for one certificate, the first of `active` does.
    #[must_use]
    pub const fn new(active: Vec<Anchor>, revoked: Vec<Anchor>) -> Self {
        Self { active, revoked }
    }

    /// Those that count.
    #[must_use]
    pub fn active(&self) -> &[Anchor] {
        &self.active
    }

    /// Whether a CA with this name and key was revoked, and does not live on in a renewed one.
    pub(super) fn is_revoked(&self, name: &[u8], key: &[u8]) -> bool {
        let is_one = |anchor: &Anchor| anchor.is_one_with(name, key);
        self.revoked.iter().any(is_one) && !self.active.iter().any(is_one)
    }

    /// The revoked, for telling whom a certificate would have been from.
    pub(super) fn revoked(&self) -> &[Anchor] {
        &self.revoked
    }
}
