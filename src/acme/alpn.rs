//! tls-alpn-01 (RFC 8737): a handshake that shows the key authorization and then ends.
//! These connections have a TLS configuration of their own: the challenge certificate is
//! P-256, whatever the devices' ports are narrowed to.

use super::{
    AcmeError,
    cache::{Cache, ChallengeKind},
    challenge::serve,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::Acceptor,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_acme::{acme::ACME_TLS_ALPN_NAME, is_tls_alpn_challenge};
use std::{io, sync::Arc};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

/// Answers tls-alpn-01 on a bound listener until `stop`; everyone else is hung up on.
pub async fn serve_tls_alpn_01(listener: TcpListener, cache: Arc<dyn Cache>, stop: CancellationToken) {
    serve(listener, stop, move |stream, peer| {
        let cache = cache.clone();
        async move {
            if let Err(error) = answer(stream, &*cache).await {
                log::debug!("tls-alpn-01 connection from {peer}: {error}");
            }
        }
    })
    .await;
}

async fn answer(stream: TcpStream, cache: &dyn Cache) -> io::Result<()> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    if !is_tls_alpn_challenge(&hello) {
        return Err(io::Error::other("no acme-tls/1 hello"));
    }
    let domain = hello.server_name().unwrap_or_default().to_ascii_lowercase();
    let config = challenge_config(cache, &domain).await?;
    let config = config.ok_or_else(|| io::Error::other("no challenge for this name"))?;
    let mut stream: TlsStream<TcpStream> = start.into_stream(config).await?;
    stream.shutdown().await
}

/// The configuration for a hello that [`is_tls_alpn_challenge`], by its server name; `None`
/// if no challenge is out for it. For doors that serve devices and the CA on one port.
///
/// # Errors
/// The cache did not answer, or no certificate could be made.
pub async fn challenge_config(cache: &dyn Cache, domain: &str) -> io::Result<Option<Arc<ServerConfig>>> {
    let found = cache.challenge(ChallengeKind::TlsAlpn01, domain).await.map_err(io::Error::other)?;
    let Some(key_authorization) = found else { return Ok(None) };
    let config = config(domain, key_authorization.expose()).inspect_err(|error| log::error!("{error}"));
    Ok(Some(Arc::new(config.map_err(io::Error::other)?)))
}

fn config(domain: &str, key_authorization: &str) -> Result<ServerConfig, AcmeError> {
    const WHAT: &str = "a tls-alpn-01 certificate";
    let fault = |_| AcmeError::Crypto(WHAT);
    let digest = sha256(key_authorization);
    let mut params = CertificateParams::new([domain.to_owned()]).map_err(fault)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fault)?;
    let certificate = params.self_signed(&key).map_err(fault)?;
    let provider = aws_lc_rs::default_provider();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider.key_provider.load_private_key(key).map_err(|_| AcmeError::Crypto(WHAT))?;
    // Not `with_single_cert`: that reads the certificate, and refuses the critical extension
    // which is the whole point of it.
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate.der().clone()], key));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| AcmeError::Crypto(WHAT))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![ACME_TLS_ALPN_NAME.to_vec()];
    Ok(config)
}

fn sha256(text: &str) -> ::aws_lc_rs::digest::Digest {
    ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, text.as_bytes())
}
