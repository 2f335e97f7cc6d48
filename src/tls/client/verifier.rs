//! rustls' side: asks for a certificate, bounds it, and has its signature verified. X.509 v1 leaves
//! are in the field and rustls' own verifier does not read them, so the signature is checked with
//! the public key alone; the algorithms are rustls' all the same.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};

use super::fault::{PeerFault, RefusalAlert};
use super::{PeerCheck, examine};
use crate::tls::peer::Peer;

/// What a client may sign with, in the order they are offered. Beside them a client that
/// knows nothing newer than SHA-1 goes to s2n-tls.
const SCHEMES: [SignatureScheme; 10] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

tokio::task_local! {
    /// What the verifier found in the handshake under way: rustls reports little more than the alert.
    static FAULT: RefCell<Option<PeerFault>>;
}

/// Runs a handshake; beside its outcome, why a [`Verifier`] refused the client.
pub(in crate::tls) async fn noting_fault<T>(handshake: impl Future<Output = T>) -> (T, Option<PeerFault>) {
    let noted = async {
        let outcome = handshake.await;
        (outcome, FAULT.with(RefCell::take))
    };
    FAULT.scope(RefCell::default(), noted).await
}

/// Any certificate whose key is taken and held.
pub(in crate::tls) struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    mandatory: bool,
    check: Option<Arc<dyn PeerCheck>>,
}

impl Verifier {
    pub(in crate::tls) const fn new(
        algorithms: WebPkiSupportedAlgorithms,
        mandatory: bool,
        check: Option<Arc<dyn PeerCheck>>,
    ) -> Self {
        Self { algorithms, mandatory, check }
    }

    /// TLS 1.2: the scheme names the hash, and the curve is the key's (RFC 8422 §5.4).
    fn verify(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<(), Error> {
        let unadvertised = || Error::from(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme);
        let offered = SCHEMES.contains(&signed.scheme);
        let of_scheme =
            self.algorithms.mapping.iter().find(|(scheme, _)| offered && *scheme == signed.scheme);
        let (_, candidates) = of_scheme.ok_or_else(unadvertised)?;
        let key = examine(std::slice::from_ref(leaf)).map_err(noted)?;
        let fitting = candidates.iter().find(|candidate| candidate.public_key_alg_id() == key.algorithm);
        let verified =
            fitting.map(|algorithm| algorithm.verify_signature(&key.bytes, message, signed.signature()));
        match verified {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(noted(PeerFault::BadSignature)),
        }
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// None: a small device has no memory for a list of CAs, and allow-listed certificates have any issuer.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> =
            std::iter::once(leaf).chain(others).map(|der| CertificateDer::from(&**der)).collect();
        examine(&chain).map_err(noted)?;
        let Some(check) = &self.check else {
            return Ok(ClientCertVerified::assertion());
        };
        let chain = chain.into_iter().map(CertificateDer::into_owned).collect();
        let peer = Peer::from_chain(chain).ok_or_else(|| noted(PeerFault::Missing))?;
        check.check(&peer).map_err(|refusal| noted(PeerFault::Refused(refusal)))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, leaf, signed)?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = examine(std::slice::from_ref(leaf)).map_err(noted)?;
        verify_tls13_signature_with_raw_key(message, &key.info(), signed, &self.algorithms).map_err(|error| {
            match error {
                Error::InvalidCertificate(_) => noted(PeerFault::BadSignature),
                other => other,
            }
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("mandatory", &self.mandatory).finish_non_exhaustive()
    }
}

/// Leaves the fault for [`noting_fault`], and gives rustls the error whose alert says it.
fn noted(fault: PeerFault) -> Error {
    let error = match (&fault, fault.alert()) {
        (PeerFault::BadSignature, _) => CertificateError::BadSignature,
        (_, RefusalAlert::BadCertificate) => CertificateError::BadEncoding,
        (_, RefusalAlert::UnsupportedCertificate) => CertificateError::InvalidPurpose,
        (_, RefusalAlert::CertificateRevoked) => CertificateError::Revoked,
        (_, RefusalAlert::CertificateExpired) => CertificateError::Expired,
        (_, RefusalAlert::UnknownCa) => CertificateError::UnknownIssuer,
        (_, RefusalAlert::AccessDenied) => CertificateError::ApplicationVerificationFailure,
        (_, RefusalAlert::CertificateUnknown) => CertificateError::Other(OtherError(Arc::new(Unacceptable))),
    };
    // Outside `noting_fault` there is nobody to read it.
    FAULT.try_with(|slot| slot.replace(Some(fault))).ok();
    Error::InvalidCertificate(error)
}

/// Stands for the fault that was noted.
#[derive(Debug, thiserror::Error)]
#[error("the client certificate is not acceptable")]
struct Unacceptable;
