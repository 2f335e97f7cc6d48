//! From a shown certificate to a registered CA. Path building is webpki's; here is what bounds it
//! and what webpki leaves to its caller: the CA's own dates and path length, `keyUsage` of CAs,
//! and revoked CAs in the middle.

use super::{
    Anchor, Anchors, Unfit,
    leaf::version,
    read::{self, contents},
};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::{cell::Cell, ptr, time::Duration};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, VerifiedPath};
use x509_parser::certificate::X509Certificate;

/// Most certificates a client may show. What does not lead away from the leaf is put aside unread.
pub const MAX_PRESENTED: usize = 16;
/// Most CA certificates that are looked at. It bounds the ways through them: 5! · e.
const MAX_RELEVANT: usize = 5;

/// Why no registered CA vouches for a certificate. Continues "the certificate …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unvouched {
    /// Neither shown CAs nor its issuer lead to a registered one.
    #[error("is neither listed nor signed by a registered CA")]
    UnknownCa,
    /// It would have been from one that was revoked.
    #[error("is from a CA that was revoked")]
    RevokedCa,
    /// Only certificates of version 3 can be vouched for.
    #[error("is of X.509 version {0}; such a one counts only if it is listed itself")]
    OldVersion(u32),
    /// A device that makes certificates.
    #[error("is signed by a certificate that is no CA's")]
    SignedByLeaf,
    /// The way is longer than a CA in it allows.
    #[error("is further from its CA than that allows (pathLenConstraint)")]
    PathTooLong,
    /// A CA in the way, the registered one included, is not what it must be.
    #[error("is from a CA whose certificate {0}")]
    BadCa(Unfit),
    /// A name that the CA may not vouch for.
    #[error("has a name that its CA may not vouch for (nameConstraints)")]
    NameConstraint,
    /// The signature of some certificate on the way is wrong.
    #[error("or one of its CAs has a signature that is wrong")]
    BadSignature,
    /// SHA-1, MD5, DSA, a key too small: what nobody should trust.
    #[error("or one of its CAs is signed in a way that is not trusted (SHA-1, a weak or strange key)")]
    WeakSignature,
    /// It must be understood, and is not.
    #[error("or one of its CAs has a critical extension that is not known here")]
    CriticalExtension,
    /// Too much to look at.
    #[error("comes with too many others; send the CAs between it and the registered one only")]
    TooMany,
    /// The form of some certificate.
    #[error("or one of its CAs cannot be read")]
    Malformed,
}

impl Unvouched {
    /// One word for counters and rate limits.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::UnknownCa => "unknown-ca",
            Self::RevokedCa => "revoked-ca",
            Self::OldVersion(_) => "old-version",
            Self::SignedByLeaf => "signed-by-leaf",
            Self::PathTooLong => "path-too-long",
            Self::BadCa(unfit) => unfit.label(),
            Self::NameConstraint => "name-constraint",
            Self::BadSignature => "bad-signature",
            Self::WeakSignature => "weak-signature",
            Self::CriticalExtension => "critical-extension",
            Self::TooMany => "too-many-certificates",
            Self::Malformed => "undecodable",
        }
    }
}

/// The registered CA that vouches for the first certificate of `chain`, directly or through the
/// others in any order, at `now` (Unix microseconds). Where several do (a CA and the same renewed),
/// the one called `preferred` comes first: a device stays its CA's. The leaf must have been judged
/// by [`leaf`](super::leaf()) before.
///
/// # Errors
/// Why nobody does.
pub fn vouching_ca<'a>(
    chain: &[CertificateDer<'_>],
    anchors: &'a Anchors,
    preferred: Option<&str>,
    now: i64,
) -> Result<&'a Anchor, Unvouched> {
    let Some((shown, others)) = chain.split_first() else { return Err(Unvouched::Malformed) };
    if others.len() >= MAX_PRESENTED {
        return Err(Unvouched::TooMany);
    }
    let certificate = read::certificate(shown).map_err(|_| Unvouched::Malformed)?;
    let version = version(&certificate);
    if version != 3 {
        return Err(Unvouched::OldVersion(version));
    }
    let (between, names) = relevant(&certificate, others)?;
    let (first, rest): (Vec<_>, Vec<_>) = anchors
        .active()
        .iter()
        .filter(|anchor| names.contains(&anchor.name()))
        .partition(|anchor| Some(anchor.ca_id()) == preferred);
    let search = Search { shown, between: &between, anchors, now };
    search.among(&first).or_else(|unloved| match search.among(&rest) {
        // Nothing there: the preferred one's fault is the better answer.
        Err(Unvouched::UnknownCa) => Err(unloved),
        other => other,
    })
}

/// The names a way from `certificate` to a CA may pass, DER without the outer tag, and the shown
/// certificates with them.
type Relevant<'a> = (Vec<CertificateDer<'a>>, Vec<&'a [u8]>);

/// Junk is put aside before it can cost anything.
fn relevant<'a>(
    leaf: &X509Certificate<'a>,
    others: &'a [CertificateDer<'_>],
) -> Result<Relevant<'a>, Unvouched> {
    let mut waiting: Vec<(X509Certificate<'a>, &'a [u8])> =
        others.iter().filter_map(|der| Some((read::certificate(der).ok()?, der.as_ref()))).collect();
    let mut names = vec![contents(leaf.tbs_certificate.issuer.as_raw())];
    let mut between: Vec<CertificateDer<'a>> = Vec::new();
    let mut at = 0;
    while let Some(name) = names.get(at).copied() {
        at += 1;
        let of_name = |(it, _): &mut (X509Certificate<'a>, _)| contents(it.subject().as_raw()) == name;
        for (issuer, der) in waiting.extract_if(.., of_name) {
            if between.iter().any(|known| known.as_ref() == der) {
                continue;
            }
            if between.len() == MAX_RELEVANT {
                return Err(Unvouched::TooMany);
            }
            between.push(CertificateDer::from(der));
            let above = contents(issuer.tbs_certificate.issuer.as_raw());
            if !names.contains(&above) {
                names.push(above);
            }
        }
    }
    Ok((between, names))
}

struct Search<'a, 's> {
    shown: &'s CertificateDer<'s>,
    between: &'s [CertificateDer<'s>],
    anchors: &'a Anchors,
    now: i64,
}

impl<'a> Search<'a, '_> {
    fn among(&self, candidates: &[&'a Anchor]) -> Result<&'a Anchor, Unvouched> {
        let (timely, untimely): (Vec<&Anchor>, Vec<&Anchor>) =
            candidates.iter().partition(|anchor| anchor.judge_dates(self.now).is_ok());
        self.verified(&timely).map_err(|fault| self.better_words(fault, &untimely))
    }

    fn verified(&self, candidates: &[&'a Anchor]) -> Result<&'a Anchor, Unvouched> {
        let trusted: Vec<TrustAnchor<'_>> = candidates.iter().map(|anchor| anchor.trust().clone()).collect();
        let of = |path: &VerifiedPath<'_>| {
            let at = trusted.iter().position(|trust| ptr::eq(trust, path.anchor()));
            at.and_then(|at| candidates.get(at).copied())
        };
        // webpki has too few words for what is found here, so they are kept beside it.
        let found = Cell::new(None);
        let judge = |path: &VerifiedPath<'_>| {
            of(path).ok_or(Unvouched::UnknownCa).and_then(|anchor| self.judge(path, anchor)).map_err(
                |fault| {
                    found.set(Some(fault));
                    Error::UnknownIssuer
                },
            )
        };
        let time = UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(self.now).unwrap_or(0)));
        let shown = EndEntityCert::try_from(self.shown).map_err(|error| in_words(&error))?;
        let path = shown.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &trusted,
            self.between,
            time,
            KeyUsage::client_auth(),
            None,
            Some(&judge),
        );
        let path = path.map_err(|error| found.take().unwrap_or_else(|| in_words(&error)))?;
        of(&path).ok_or(Unvouched::UnknownCa)
    }

    /// What webpki does not look at. After a fault it looks for another way.
    fn judge(&self, path: &VerifiedPath<'_>, anchor: &Anchor) -> Result<(), Unvouched> {
        let mut passed = 0_u32;
        for between in path.intermediate_certificates() {
            let der = between.der();
            let certificate = read::certificate(&der).map_err(|_| Unvouched::Malformed)?;
            if read::usage(&certificate).map_err(Unvouched::BadCa)?.is_some_and(|it| !it.key_cert_sign()) {
                return Err(Unvouched::BadCa(Unfit::NoCertSign));
            }
            let key = contents(certificate.public_key().raw);
            if self.anchors.is_revoked(contents(certificate.subject().as_raw()), key) {
                return Err(Unvouched::RevokedCa);
            }
            passed = passed.saturating_add(1);
        }
        if anchor.path_len().is_some_and(|longest| passed > longest) {
            return Err(Unvouched::PathTooLong);
        }
        Ok(())
    }

    /// "Unknown" is true and says little where the CA is known, but expired or revoked.
    fn better_words(&self, fault: Unvouched, untimely: &[&Anchor]) -> Unvouched {
        if fault != Unvouched::UnknownCa {
            return fault;
        }
        if let Some(unfit) = untimely.iter().find_map(|anchor| anchor.judge_dates(self.now).err()) {
            return Unvouched::BadCa(unfit);
        }
        let is_named = |name: &[u8]| {
            let above =
                std::iter::once(self.shown).chain(self.between).filter_map(|der| read::certificate(der).ok());
            above.into_iter().any(|it| contents(it.issuer().as_raw()) == name)
        };
        let named = self.anchors.revoked().iter().any(|anchor| is_named(anchor.name()));
        if named { Unvouched::RevokedCa } else { fault }
    }
}

fn in_words(error: &Error) -> Unvouched {
    match error {
        Error::UnknownIssuer => Unvouched::UnknownCa,
        Error::CertRevoked => Unvouched::RevokedCa,
        Error::EndEntityUsedAsCa => Unvouched::SignedByLeaf,
        Error::PathLenConstraintViolated => Unvouched::PathTooLong,
        Error::CertExpired { not_after, .. } => Unvouched::BadCa(Unfit::Expired(date(*not_after))),
        Error::CertNotValidYet { not_before, .. } => Unvouched::BadCa(Unfit::NotYetValid(date(*not_before))),
        Error::CaUsedAsEndEntity => Unvouched::BadCa(Unfit::IsCa),
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            Unvouched::BadCa(Unfit::NoClientAuth)
        }
        Error::NameConstraintViolation => Unvouched::NameConstraint,
        Error::InvalidSignatureForPublicKey => Unvouched::BadSignature,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | Error::SignatureAlgorithmMismatch
        | Error::CertDistrusted => Unvouched::WeakSignature,
        Error::UnsupportedCriticalExtension => Unvouched::CriticalExtension,
        Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => Unvouched::TooMany,
        _ => Unvouched::Malformed,
    }
}

fn date(time: UnixTime) -> super::Date {
    super::Date(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}
