//! One m0v as far as this room goes: cache, issuer, listeners, and a recorder for a TLS stack.

use crate::pebble::Site;
use m0v::acme::{
    AcmeError, Ambient, Cache, Certificate, FileCache, Install, Issuer, Options, Pace, serve_http_01,
    serve_tls_alpn_01,
};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Quick for a server on the same machine.
pub(crate) const PACE: Pace = Pace {
    call: Duration::from_secs(20),
    poll_first: Duration::from_millis(50),
    poll_most: Duration::from_millis(400),
    settle: Duration::from_secs(30),
};

/// Records what it was given; `only_root` makes every other chain unfit.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) installed: Mutex<Vec<Certificate>>,
    pub(crate) only_root: Mutex<Option<String>>,
}

impl Install for Recorder {
    fn check(&self, certificate: &Certificate) -> Result<(), String> {
        match &*self.only_root.lock().unwrap() {
            Some(root) if *root != certificate.root => {
                Err(format!("`{}` is not in chains/", certificate.root))
            }
            _ => Ok(()),
        }
    }

    fn install(&self, certificate: &Certificate) -> Result<(), String> {
        self.check(certificate)?;
        self.installed.lock().unwrap().push(certificate.clone());
        Ok(())
    }
}

pub(crate) struct Node {
    pub(crate) cache: Arc<FileCache>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) issuer: Issuer,
    pub(crate) _listeners: Listeners,
}

/// Both challenge ports, answered until dropped.
pub(crate) struct Listeners {
    _stop: DropGuard,
    _tasks: [JoinHandle<()>; 2],
}

impl Listeners {
    pub(crate) async fn open(site: &Site, cache: &Arc<FileCache>) -> Self {
        Self::on(site.http_port, site.tls_port, cache).await
    }

    pub(crate) async fn on(http_port: u16, tls_port: u16, cache: &Arc<FileCache>) -> Self {
        let stop = CancellationToken::new();
        let (http, tls) = (bind(http_port).await, bind(tls_port).await);
        let tasks = [
            tokio::spawn(serve_http_01(http, cache.clone(), stop.clone())),
            tokio::spawn(serve_tls_alpn_01(tls, cache.clone(), stop.clone())),
        ];
        Self { _stop: stop.drop_guard(), _tasks: tasks }
    }
}

/// The port may still be in the hands of the node before, which is just ending.
async fn bind(port: u16) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "port {port}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// For one name by http-01.
pub(crate) fn options(site: &Site) -> Options {
    Options {
        domains: vec!["meter.example.org".to_owned()],
        contact: vec!["ops@example.org".to_owned()],
        directory: site.directory(),
        ca_file: Some(site.ca_file()),
        http_01: true,
        ..Options::default()
    }
}

pub(crate) fn issuer(options: Options, cache: &Arc<FileCache>, recorder: &Arc<Recorder>) -> Issuer {
    let checked = options.check().unwrap();
    Issuer::new(checked, cache.clone(), recorder.clone(), Ambient::system(), PACE).unwrap()
}

impl Node {
    pub(crate) async fn new(site: &Site, options: Options) -> Self {
        Self::in_dir(site, options, &site.dir.path().join("data/acme")).await
    }

    pub(crate) async fn in_dir(site: &Site, options: Options, dir: &Path) -> Self {
        let cache = Arc::new(FileCache::open(dir).unwrap());
        let recorder = Arc::<Recorder>::default();
        let issuer = issuer(options, &cache, &recorder);
        let listeners = Listeners::open(site, &cache).await;
        Self { cache, recorder, issuer, _listeners: listeners }
    }

    pub(crate) async fn issue(&self) -> Result<Certificate, AcmeError> {
        let lease = self.cache.take_lease("test").await.unwrap().expect("the lease is free");
        let result = Box::pin(self.issuer.issue(&lease)).await;
        result.map(|(_, certificate)| certificate)
    }

    /// Issues with other options and the same cache and listeners.
    pub(crate) async fn issue_with(&mut self, options: Options) -> Result<Certificate, AcmeError> {
        self.issuer = issuer(options, &self.cache, &self.recorder);
        self.issue().await
    }
}

/// Runs the real openssl.
pub(crate) fn openssl(args: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new("openssl").args(args).output().expect("install it: apt-get install openssl");
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "openssl {args:?}: {text}");
    text
}

/// Has openssl say that leaf, intermediates and key are RSA of this size, belong together and
/// lead to `root`.
pub(crate) fn judge(certificate: &Certificate, root: &str, bits: u16) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (chain, key, root_file) = (path("chain.pem"), path("key.pem"), path("root.pem"));
    fs::write(&chain, &certificate.chain_pem).unwrap();
    fs::write(&key, certificate.key_pem.expose()).unwrap();
    fs::write(&root_file, root).unwrap();
    let text = openssl(&["x509", "-in", &chain, "-noout", "-text"]);
    assert!(text.contains("Public Key Algorithm: rsaEncryption"), "{text}");
    assert!(text.contains(&format!("Public-Key: ({bits} bit)")), "{text}");
    assert!(text.contains("Signature Algorithm: sha256WithRSAEncryption"), "{text}");
    for domain in &certificate.domains {
        assert!(text.contains(&format!("DNS:{domain}")), "{text}");
    }
    let verdict = openssl(&["verify", "-x509_strict", "-CAfile", &root_file, "-untrusted", &chain, &chain]);
    assert!(verdict.contains(": OK"), "{verdict}");
    assert!(openssl(&["rsa", "-in", &key, "-check", "-noout"]).contains("RSA key ok"));
    let of_key = openssl(&["rsa", "-in", &key, "-noout", "-modulus"]);
    assert_eq!(of_key, openssl(&["x509", "-in", &chain, "-noout", "-modulus"]));
    in_order(&path("one.pem"), &certificate.chain_pem);
}

/// Each certificate is issued by the next, by openssl's reading of the names.
fn in_order(file: &str, chain: &str) {
    const END: &str = "-----END CERTIFICATE-----\n";
    let names: Vec<(String, String)> = chain
        .split_inclusive(END)
        .filter(|pem| pem.contains("BEGIN"))
        .map(|pem| {
            fs::write(file, pem).unwrap();
            let name = |field: &str| openssl(&["x509", "-in", file, "-noout", field]);
            let strip = |text: String| text.split_once('=').unwrap().1.to_owned();
            (strip(name("-subject")), strip(name("-issuer")))
        })
        .collect();
    assert!(names.len() >= 2, "leaf and intermediate at least: {names:?}");
    for pair in names.windows(2) {
        assert_eq!(pair[0].1, pair[1].0, "{names:?}");
    }
}
