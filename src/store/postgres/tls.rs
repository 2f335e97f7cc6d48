//! TLS to the database: whom to trust, and how much.
//!
//! `ca_file` given: TLS is required on TCP, and certificate and host name are verified against
//! it. None: `sslmode=require` (and `verify-ca`, `verify-full`, which mean the same here)
//! verifies against the system's roots; `prefer`, the default, encrypts when the server can but
//! verifies nothing, since whoever could forge a certificate could as well refuse TLS.

use super::super::StoreError;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How far the server must prove who it is.
pub(super) enum Trust<'a> {
    /// It must chain to these authorities.
    File(&'a Path),
    /// It must chain to the system's.
    System,
    /// Not at all.
    Anyone,
}

/// Where distributions keep their roots; the first that exists is read.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",             // openSUSE
    "/etc/ssl/cert.pem",                  // BSD, macOS
];

/// Builds the connector.
///
/// # Errors
/// [`StoreError::Refused`], naming the file that cannot be read or holds no certificate.
pub(super) fn connector(trust: &Trust<'_>) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Refused(format!("TLS to the database: {error}")))?;
    let config = match trust {
        Trust::File(path) => builder.with_root_certificates(roots(path)?),
        Trust::System => builder.with_root_certificates(roots(&system_roots()?)?),
        Trust::Anyone => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(DangerTrustsAnyone { provider }))
        }
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn system_roots() -> Result<PathBuf, StoreError> {
    let found = SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| {
        StoreError::Refused(
            "sslmode=require, but this system has no list of roots: set [database] ca_file".into(),
        )
    })
}

/// Certificates rustls cannot use as roots (a system's list has some) are passed over.
fn roots(path: &Path) -> Result<RootCertStore, StoreError> {
    let refused = |error: &dyn std::fmt::Display| {
        StoreError::Refused(format!("the database's CA file {}: {error}", path.display()))
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| refused(&error))? {
        store.add_parsable_certificates([certificate.map_err(|error| refused(&error))?]);
    }
    if store.is_empty() { Err(refused(&"no usable certificate in it")) } else { Ok(store) }
}

/// Encryption without knowing with whom.
#[derive(Debug)]
struct DangerTrustsAnyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for DangerTrustsAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
