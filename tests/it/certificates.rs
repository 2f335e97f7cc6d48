//! The server's own certificate: made once, reused, or taken from files that are checked at start (DESIGN §2.7).

use crate::{
    client::Client,
    harness::{Engine, Site},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

#[test]
fn the_first_run_makes_a_certificate_and_later_runs_reuse_it() {
    let site = Site::new(Engine::Embedded).without_certificates();
    let mut server = site.start();
    let first = server.meter().server_certificate();
    assert_eq!(server.confirm().server_certificate(), first, "both ports show the same");
    let ca = server.ca_pem();
    server.restart();
    assert_eq!(server.meter().server_certificate(), first);
    server.kill9();
    server.start_again();
    assert_eq!(server.meter().server_certificate(), first);
    assert_eq!(server.ca_pem(), ca);
}

#[test]
fn the_chain_is_served_with_its_root_and_is_rsa() {
    let site = Site::new(Engine::Embedded).without_certificates();
    let server = site.start();
    let chain = server.meter().server_chain();
    assert!(chain.len() >= 2, "leaf and root");
    let certificates: Vec<_> =
        chain.iter().map(|der| x509_parser::parse_x509_certificate(der).expect("X.509").1).collect();
    for pair in certificates.windows(2) {
        pair[0].verify_signature(Some(pair[1].public_key())).expect("each signs the one before it");
    }
    let root = certificates.last().expect("a root");
    root.verify_signature(None).expect("the last is self-signed");
    let key = certificates[0].public_key().parsed().expect("a key that can be read");
    assert_eq!(key.key_size(), 2048);
    assert!(matches!(key, x509_parser::public_key::PublicKey::RSA(_)));
}

#[test]
fn keys_are_for_their_owner_alone() {
    let site = Site::new(Engine::Embedded).without_certificates();
    let server = site.start();
    let mut keys = 0;
    for entry in fs::read_dir(site.data_dir().join("tls")).expect("reads the tls folder") {
        let path = entry.expect("reads the tls folder").path();
        let mode = fs::metadata(&path).expect("reads a mode").permissions().mode() & 0o777;
        if fs::read_to_string(&path).is_ok_and(|text| text.contains("PRIVATE KEY")) {
            keys += 1;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
    assert!(keys >= 1);
    assert!(server.ca_file().exists());
    let store = fs::metadata(site.sqlite_file()).expect("reads a mode").permissions().mode() & 0o007;
    assert_eq!(store, 0, "readings and e-mails are not for everyone on the machine");
}

#[test]
fn a_chain_from_files_is_served() {
    let site = Site::new(Engine::Embedded);
    let authority = Authority::new();
    let files = authority.issue(site.folder(), &PKCS_RSA_SHA256, 2000, 4000);
    site.configure(&files.config());
    let server = site.start_with_device();
    let mut meter = Client::connect(server.meter_addr(), authority.pem.as_bytes());
    meter.thanked(r#"{"id":17,"status":true}"#);
}

#[test]
fn every_fault_of_a_chain_from_files_is_one_clear_sentence() {
    let site = Site::new(Engine::Embedded);
    let authority = Authority::new();
    let good = authority.issue(site.folder(), &PKCS_RSA_SHA256, 2000, 4000);
    let other = Authority::new();

    let refused = |files: &Files, word: &str| {
        site.configure(&files.config());
        for arguments in [&["serve"][..], &["check"]] {
            let run = site.run(arguments);
            let said = run.failed().said().to_lowercase();
            assert!(said.contains(word), "no word of {word:?}:\n{said}");
        }
    };
    let stranger = authority.issue(site.folder(), &PKCS_RSA_SHA256, 2000, 4000);
    refused(&Files { chain: good.chain.clone(), key: stranger.key }, "not the key");
    refused(&authority.issue(site.folder(), &PKCS_RSA_SHA256, 2000, 2001), "expired");
    refused(&authority.issue(site.folder(), &PKCS_ECDSA_P256_SHA256, 2000, 4000), "rsa");
    refused(&Files { chain: site.folder().join("nowhere.pem"), key: good.key.clone() }, "nowhere.pem");
    refused(&Files { chain: good.key.clone(), key: good.key.clone() }, "certificate");

    let chain = fs::read_to_string(&good.chain).expect("reads the chain");
    let leaf = chain.split_inclusive("-----END CERTIFICATE-----\n").next().expect("a leaf");
    let mixed = site.folder().join("mixed.pem");
    fs::write(&mixed, format!("{leaf}{}", other.pem)).expect("writes a chain");
    refused(&Files { chain: mixed.clone(), key: good.key.clone() }, "sign");
    fs::write(&mixed, format!("{}{leaf}", authority.pem)).expect("writes a chain");
    refused(&Files { chain: mixed, key: good.key }, "first");
}

/// A CA that lives as long as a test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// PEM files for `[tls]`.
pub(crate) struct Files {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    pub(crate) fn config(&self) -> String {
        format!("[tls]\nchain = {:?}\nkey = {:?}", self.chain, self.key)
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "m0v test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = rsa_key();
        let pem = params.self_signed(&key).expect("signs itself").pem();
        Self { issuer: Issuer::new(params, key), pem: pem.replace("\r\n", "\n") }
    }

    /// An intermediate of this name: its PEM, and the authority that issues with it.
    pub(crate) fn intermediate(&self, name: &str) -> (String, Self) {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = rsa_key();
        let pem = params.signed_by(&key, &self.issuer).expect("signs").pem().replace("\r\n", "\n");
        (pem.clone(), Self { issuer: Issuer::new(params, key), pem })
    }

    /// Makes a leaf for `localhost`, valid from January of one year to January of another, and its files.
    pub(crate) fn issue(
        &self,
        folder: &Path,
        algorithm: &'static rcgen::SignatureAlgorithm,
        from: i32,
        to: i32,
    ) -> Files {
        let key = if algorithm == &PKCS_RSA_SHA256 {
            rsa_key()
        } else {
            KeyPair::generate_for(algorithm).expect("makes a key")
        };
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("names are names");
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let leaf = params.signed_by(&key, &self.issuer).expect("signs a leaf").pem().replace("\r\n", "\n");
        let name = fs::read_dir(folder).expect("reads the folder").count();
        let files = Files {
            chain: folder.join(format!("chain-{name}.pem")),
            key: folder.join(format!("key-{name}.pem")),
        };
        fs::write(&files.chain, format!("{leaf}{}", self.pem)).expect("writes a chain");
        fs::write(&files.key, key.serialize_pem()).expect("writes a key");
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).expect("sets a mode");
        files
    }
}

fn rsa_key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("makes an RSA key")
}
