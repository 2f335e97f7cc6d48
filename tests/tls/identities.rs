//! Client certificates of every kind, made with openssl, and a client that lies about its key.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};

use m0v::tls::certificate_id;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::server::{Server, ca};

/// A certificate and its key, as files.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Identity {
    /// The arguments that every client here takes; `dash` is `-` or `--`.
    pub(crate) fn arguments(&self, dash: &str) -> [String; 4] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [format!("{dash}cert"), text(&self.cert), format!("{dash}key"), text(&self.key)]
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.cert).unwrap()
    }

    pub(crate) fn id(&self) -> String {
        certificate_id(&self.der())
    }

    /// This certificate with another's key.
    pub(crate) fn with_key_of(&self, other: &Self) -> Self {
        Self { cert: self.cert.clone(), key: other.key.clone() }
    }
}

/// One of each kind; all self-signed: who vouches for them is not judged in this room.
pub(crate) struct Identities {
    dir: TempDir,
    /// X.509 v3, RSA 2048.
    pub(crate) rsa: Identity,
    /// Another like it.
    pub(crate) other: Identity,
    /// X.509 v1, RSA 2048.
    pub(crate) v1: Identity,
    /// P-256.
    pub(crate) p256: Identity,
    /// Ed25519.
    pub(crate) ed25519: Identity,
    /// Expired long ago.
    pub(crate) expired: Identity,
    /// RSA 1024.
    pub(crate) weak: Identity,
}

pub(crate) static IDENTITIES: LazyLock<Identities> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    let made = |name: &str, algorithm: &[&str], more: &[&str]| {
        let identity = files(dir.path(), name);
        let (cert, key) = (identity.cert.to_str().unwrap(), identity.key.to_str().unwrap());
        openssl(&[&["genpkey", "-quiet", "-out", key], algorithm].concat());
        openssl(
            &[&["req", "-x509", "-new", "-key", key, "-out", cert, "-subj", &format!("/CN={name}")], more]
                .concat(),
        );
        identity
    };
    let rsa: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let ten = &["-days", "10"];
    let with_rsa = made("rsa", rsa, ten);
    let v1 = Identity { cert: dir.path().join("v1.pem"), key: with_rsa.key.clone() };
    make_v1(&v1);
    let expired = Identity { cert: dir.path().join("expired.pem"), key: with_rsa.key.clone() };
    make_expired(&expired);
    Identities {
        other: made("other", rsa, ten),
        p256: made("p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], ten),
        ed25519: made("ed25519", &["-algorithm", "ED25519"], ten),
        weak: made("weak", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], ten),
        rsa: with_rsa,
        expired,
        v1,
        dir,
    }
});

impl Identities {
    /// A certificate for a public key that nobody has the private one of.
    pub(crate) fn certifying(&self, name: &str, public_key: &[u8]) -> CertificateDer<'static> {
        self.certified(name, public_key).der()
    }

    /// The same as a file, with a key that is not its own.
    pub(crate) fn certified(&self, name: &str, public_key: &[u8]) -> Identity {
        let path = |end: &str| self.dir.path().join(format!("{name}.{end}")).to_str().unwrap().to_owned();
        let (der, pem, cert) = (path("der"), path("pub"), path("pem"));
        std::fs::write(&der, public_key).unwrap();
        openssl(&["pkey", "-pubin", "-inform", "der", "-in", &der, "-pubout", "-out", &pem]);
        let key = self.rsa.key.to_str().unwrap();
        let subject = format!("/CN={name}");
        openssl(&["x509", "-new", "-force_pubkey", &pem, "-key", key, "-subj", &subject, "-out", &cert]);
        Identity { cert: cert.into(), key: self.rsa.key.clone() }
    }

    /// The first, with the others behind it.
    pub(crate) fn chain(&self, name: &str, of: &[&Identity]) -> Identity {
        let cert = self.dir.path().join(format!("{name}.pem"));
        let pem: Vec<u8> = of.iter().flat_map(|identity| std::fs::read(&identity.cert).unwrap()).collect();
        std::fs::write(&cert, pem).unwrap();
        Identity { cert, key: of[0].key.clone() }
    }
}

fn files(dir: &Path, name: &str) -> Identity {
    Identity { cert: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")) }
}

fn make_v1(identity: &Identity) {
    let (cert, key) = (identity.cert.to_str().unwrap(), identity.key.to_str().unwrap());
    let request = identity.cert.with_extension("csr");
    let request = request.to_str().unwrap();
    openssl(&["req", "-new", "-key", key, "-subj", "/CN=v1", "-out", request]);
    openssl(&["x509", "-req", "-in", request, "-signkey", key, "-days", "10", "-out", cert]);
    let der = identity.der();
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert_eq!(parsed.version(), x509_parser::x509::X509Version::V1);
}

fn make_expired(identity: &Identity) {
    let key = rcgen::KeyPair::from_pem(&std::fs::read_to_string(&identity.key).unwrap()).unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "expired");
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    std::fs::write(&identity.cert, params.self_signed(&key).unwrap().pem()).unwrap();
}

fn openssl(arguments: &[&str]) {
    let done = Command::new("openssl").args(arguments).output().unwrap();
    assert!(done.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An RSA SubjectPublicKeyInfo with a modulus of so many bits and this exponent.
pub(crate) fn rsa_public_key(bits: usize, exponent: &[u8]) -> Vec<u8> {
    let mut modulus = vec![0xa5; bits / 8];
    modulus.insert(0, 0);
    let key = tlv(0x30, &[tlv(2, &modulus), tlv(2, exponent)].concat());
    let algorithm = tlv(0x30, &[&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1][..], &[5, 0]].concat());
    tlv(0x30, &[algorithm, tlv(3, &[&[0], &key[..]].concat())].concat())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82, len[0], len[1]], content].concat()
}

/// A client of rustls that presents any chain and signs with any key.
pub(crate) struct Liar {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PathBuf,
    pub(crate) version: &'static rustls::SupportedProtocolVersion,
}

impl Liar {
    /// What the server says to it: an alert's words, or nothing.
    pub(crate) async fn connect(self, server: &Server) -> Result<(), String> {
        self.open(server).await.map(drop)
    }

    /// An open connection.
    pub(crate) async fn open(self, server: &Server) -> Result<TlsStream<TcpStream>, String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = provider.key_provider.load_private_key(PrivateKeyDer::from_pem_file(&self.key).unwrap());
        let presented = Presented(Arc::new(CertifiedKey::new(self.chain, key.unwrap())));
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(presented));
        let name = ServerName::try_from("localhost").unwrap();
        let said = |error: std::io::Error| error.to_string();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, server.connect().await);
        let mut stream = connecting.await.map_err(said)?;
        // In TLS 1.3 the client is done before the server has judged it.
        stream.write_all(b"x\n").await.map_err(said)?;
        stream.read_exact(&mut [0; 2]).await.map_err(said)?;
        Ok(stream)
    }
}

#[derive(Debug)]
struct Presented(Arc<CertifiedKey>);

impl ResolvesClientCert for Presented {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
