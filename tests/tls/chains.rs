//! Chains as owners configure them: made with rcgen, read as files.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use m0v::tls::{CertifiedChain, ChainError, ChainOptions, Warning, certificate_id, load_files};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};
use tempfile::TempDir;

/// RSA keys are slow to make; certificates of all tests share four.
static KEYS: LazyLock<Vec<KeyPair>> = LazyLock::new(|| (0..4).map(|_| rsa()).collect());

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A certificate of this name, valid from 2026 to `until`, CA or not.
fn params(name: &str, until: i32, ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params.is_ca = if ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    params
}

fn root_pem(name: &str, until: i32, key: &KeyPair) -> String {
    params(name, until, true).self_signed(key).unwrap().pem()
}

/// A folder with a leaf (key 0), an intermediate (key 1) under "root" (key 2), and its options.
struct Files {
    dir: TempDir,
    leaf: String,
    intermediate: String,
    options: ChainOptions,
}

impl Files {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let roots = dir.path().join("roots");
        fs::create_dir(&roots).unwrap();
        let root = Issuer::new(params("root", 2040, true), &KEYS[2]);
        let intermediate = params("intermediate", 2035, true).signed_by(&KEYS[1], &root).unwrap().pem();
        let issuer = Issuer::new(params("intermediate", 2035, true), &KEYS[1]);
        let leaf = params("leaf", 2030, false).signed_by(&KEYS[0], &issuer).unwrap().pem();
        let options = ChainOptions { append_root: true, roots: Some(roots) };
        let files = Self { dir, leaf, intermediate, options };
        files.write("key.pem", &KEYS[0].serialize_pem());
        files
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn load(&self, chain: &str) -> Result<(CertifiedChain, Vec<Warning>), ChainError> {
        let chain = self.write("chain.pem", chain);
        load_files(&chain, &self.dir.path().join("key.pem"), &self.options, now())
    }

    fn good(&self) -> String {
        format!("{}{}", self.leaf, self.intermediate)
    }

    /// The fault of a chain that must not load, after checking that it names its file.
    fn fault(&self, chain: &str) -> String {
        let error = self.load(chain).expect_err("the chain must be refused");
        assert!(error.to_string().starts_with(&error.file.display().to_string()));
        error.fault
    }
}

fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is missing in: {text}");
}

#[test]
fn the_root_is_found_among_decoys_and_appended() {
    let files = Files::new();
    let longer = root_pem("root", 2041, &KEYS[2]);
    for (name, pem) in [
        ("other-key.pem", root_pem("root", 2050, &KEYS[3])),
        ("expired.pem", root_pem("root", 2027, &KEYS[2])),
        ("right.pem", root_pem("root", 2040, &KEYS[2])),
        ("longer.pem", longer.clone()),
        ("junk.txt", "no certificate".into()),
        ("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()),
    ] {
        files.write(&format!("roots/{name}"), &pem);
    }
    let (chain, warnings) = files.load(&files.good()).unwrap();
    let root = chain.root().expect("the root is appended");
    let der = pem::parse(&longer).unwrap().into_contents();
    assert_eq!((chain.certificates().len(), root.subject.as_str()), (3, "CN=root"));
    assert_eq!(root.fingerprint, certificate_id(&der), "of several, the one that lasts longest");
    assert_eq!(chain.certificates().last().map(|cert| cert.as_ref().to_vec()), Some(der));
    assert!(warnings.iter().all(|warning| !warning.to_string().contains("root")), "{warnings:?}");
}

#[test]
fn a_chain_that_is_too_long_for_a_small_device_is_refused() {
    let files = Files::new();
    let root = root_pem("root", 2040, &KEYS[2]);
    contains(
        &files.fault(&format!("{}{}", files.good(), root.repeat(4))),
        "has 6 certificates with its root; at most 5",
    );
    let issuer = Issuer::new(params("intermediate", 2035, true), &KEYS[1]);
    let mut wide = params("wide", 2030, false);
    wide.subject_alt_names = (0..400)
        .map(|n| rcgen::SanType::DnsName(format!("device-{n}.a-long-name.example").try_into().unwrap()))
        .collect();
    let wide = wide.signed_by(&KEYS[0], &issuer).unwrap().pem();
    contains(&files.fault(&wide), "small devices take 10240 at most");
}

#[test]
fn an_unknown_root_is_a_warning_and_append_root_can_be_off() {
    let mut files = Files::new();
    let (chain, warnings) = files.load(&files.good()).unwrap();
    assert_eq!((chain.certificates().len(), chain.root()), (2, None));
    contains(
        &warnings.iter().map(ToString::to_string).collect::<String>(),
        "the root \"CN=root\" is neither shipped",
    );
    files.write("roots/right.pem", &root_pem("root", 2040, &KEYS[2]));
    files.options.append_root = false;
    assert_eq!(files.load(&files.good()).unwrap().0.certificates().len(), 2);
}

#[test]
fn a_chain_that_ends_in_its_root_stays_as_it_is() {
    let files = Files::new();
    let whole = format!("{}{}", files.good(), root_pem("root", 2040, &KEYS[2]));
    let (chain, _) = files.load(&whole).unwrap();
    assert_eq!((chain.certificates().len(), chain.root().is_some()), (3, true));
    assert_eq!(chain.not_after(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000));
}

#[test]
fn each_fault_of_a_chain_is_one_sentence() {
    let files = Files::new();
    let issuer = Issuer::new(params("intermediate", 2035, true), &KEYS[1]);
    let signed = |params: CertificateParams, key: &KeyPair| params.signed_by(key, &issuer).unwrap().pem();
    contains(&files.fault(""), "holds no certificate");
    contains(&files.fault("-----BEGIN CERTIFICATE-----\n!\n"), "is broken PEM");
    contains(
        &files.fault("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "certificate 1 is broken",
    );
    contains(&files.fault(&files.intermediate), "its first certificate, CN=intermediate, is a CA");
    contains(
        &files.fault(&signed(params("old", 2026, false), &KEYS[0])),
        "CN=old expired on Jan  1 00:00:00 2026",
    );
    let mut young = params("young", 2035, false);
    young.not_before = date_time_ymd(2034, 1, 1);
    contains(&files.fault(&signed(young, &KEYS[0])), "CN=young is not valid before");
    let swapped = format!("{}{}", files.leaf, root_pem("root", 2040, &KEYS[2]));
    contains(&files.fault(&swapped), "CN=leaf is not signed by the certificate after it, CN=root");
    let impostor = params("intermediate", 2035, true).self_signed(&KEYS[3]).unwrap().pem();
    contains(&files.fault(&format!("{}{impostor}", files.leaf)), "CN=leaf is not signed by");
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    contains(&files.fault(&signed(params("ec", 2030, false), &ec)), "CN=ec has no RSA key");
}

#[test]
fn each_fault_of_a_key_is_one_sentence() {
    let files = Files::new();
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    for (key, fault) in [
        (KEYS[1].serialize_pem(), "is not the key of the first certificate in"),
        (String::new(), "holds no private key"),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".into(),
            "is encrypted",
        ),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into(), "is no key that can sign"),
        (ec, "is not the key of the first certificate in"),
    ] {
        files.write("key.pem", &key);
        contains(&files.fault(&files.good()), fault);
    }
    fs::remove_file(files.dir.path().join("key.pem")).unwrap();
    contains(&files.fault(&files.good()), "cannot be read: No such file");
}

#[test]
fn a_pkcs1_key_is_read_and_one_open_to_all_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new();
    let path = files.dir.path().join("key.pem");
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["rsa", "-traditional", "-in"]).arg(&path).arg("-out").arg(&path);
    assert!(openssl.output().unwrap().status.success());
    contains(&fs::read_to_string(&path).unwrap(), "BEGIN RSA PRIVATE KEY");
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let (_, warnings) = files.load(&files.good()).unwrap();
        assert_eq!(warnings.iter().any(|w| w.to_string().contains("open to every user")), warned, "{mode:o}");
    }
}

#[test]
fn every_shipped_root_is_described_in_the_readme() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("chains");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let mut files = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|end| end != "pem") {
            continue;
        }
        files += 1;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let row = readme
            .lines()
            .find(|line| line.contains(&format!("`{name}`")))
            .unwrap_or_else(|| panic!("{name}"));
        let der = pem::parse(fs::read(&path).unwrap()).unwrap().into_contents();
        contains(row, &certificate_id(&der));
        let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &der);
        contains(row, &sha1.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let (_, root) = x509_parser::parse_x509_certificate(&der).unwrap();
        let until = root.validity().not_after.to_datetime();
        contains(row, &format!("{:04}-{:02}-{:02}", until.year(), u8::from(until.month()), until.day()));
        let common = root.subject().iter_common_name().next().unwrap().as_str().unwrap();
        contains(row, common);
    }
    assert_eq!(files, readme.lines().filter(|line| line.starts_with("| `")).count());
    assert_eq!(files, m0v::tls::Roots::shipped().len());
}
