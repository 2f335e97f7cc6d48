//! Whom m0v believes to be the ACME server: the public roots, or `[acme] ca_file` alone.
//! The roots of the *issued* certificate are another matter and not this file's.

use super::AcmeError;
use async_web_client::{HttpError, TransportError};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{io, path::Path, sync::Arc};

/// Builds the TLS client for the ACME server.
pub(crate) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, AcmeError> {
    let roots = match ca_file {
        Some(path) => read_roots(path)?,
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| AcmeError::Crypto("a TLS client"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn read_roots(path: &Path) -> Result<RootCertStore, AcmeError> {
    let fault = |cause: String| AcmeError::CaFile { path: path.to_owned(), cause };
    let pem =
        std::fs::read(path).map_err(|e| fault(format!("cannot be read ({e}): check path and rights")))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    if certificates.is_empty() {
        return Err(fault(
            "holds no PEM certificate: it must hold the root that signed the ACME server's own HTTPS certificate"
                .to_owned(),
        ));
    }
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(fault("holds no certificate that can be read: is the file damaged?".to_owned())),
        _ => Ok(roots),
    }
}

/// Puts a failed exchange into words.
pub(crate) fn explain(url: &str, error: &HttpError, ca_file: Option<&Path>) -> AcmeError {
    let url = url.to_owned();
    let io = match error {
        HttpError::ConnectError(TransportError::TlsConnect(io)) => io,
        HttpError::ConnectError(TransportError::TcpConnect(io)) | HttpError::IoError(io) => {
            return AcmeError::Unreachable { url, cause: io.to_string() };
        }
        other => return AcmeError::Unreachable { url, cause: other.to_string() },
    };
    match verdict(io) {
        Some(cause) => AcmeError::Untrusted { url, cause, advice: advice(ca_file) },
        None => AcmeError::Unreachable { url, cause: io.to_string() },
    }
}

fn verdict(io: &io::Error) -> Option<String> {
    match io.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(verdict) => Some(format!("{verdict:?}")),
        _ => None,
    }
}

fn advice(ca_file: Option<&Path>) -> String {
    match ca_file {
        Some(path) => format!(
            "[acme] ca_file {} must hold the root of the server's own HTTPS certificate, which need not be the root \
             it issues under",
            path.display()
        ),
        None => {
            "for a private CA set [acme] ca_file to the root of the server's own HTTPS certificate".to_owned()
        }
    }
}
