//! A pebble with its own DNS and its own HTTPS certificate, killed when dropped.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What pebble's env and config can do to a client.
#[derive(Clone, Default)]
pub(crate) struct Mischief {
    pub(crate) reject_nonces_percent: u8,
    pub(crate) reuse_authorizations: bool,
    pub(crate) alternate_roots: u8,
    pub(crate) chain_length: u8,
    /// Seconds a certificate lives; 0 is ninety days.
    pub(crate) validity_seconds: u32,
    /// Seconds pebble sleeps before it validates.
    pub(crate) validation_sleep: u8,
    /// (kid, base64url key): external accounts are then required.
    pub(crate) binding: Option<(&'static str, &'static str)>,
}

/// The ports and files a pebble will use; made before it starts, so that it can start late.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) http_port: u16,
    pub(crate) tls_port: u16,
    acme_port: u16,
    management_port: u16,
    dns_port: u16,
    dns_management_port: u16,
}

pub(crate) struct Pebble {
    pub(crate) site: Site,
    processes: Vec<Child>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        make_server_certificate(dir.path());
        let [http_port, tls_port, acme_port, management_port, dns_port, dns_management_port] =
            std::array::from_fn(|_| free_port());
        Self { dir, http_port, tls_port, acme_port, management_port, dns_port, dns_management_port }
    }

    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.acme_port)
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(crate) fn start(self, mischief: &Mischief) -> Pebble {
        let config = self.write_config(mischief);
        let dns = format!("127.0.0.1:{}", self.dns_port);
        let management = format!("127.0.0.1:{}", self.dns_management_port);
        let mut challtestsrv = Command::new("pebble-challtestsrv");
        challtestsrv.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1"]);
        challtestsrv.args(["-defaultIPv6", "", "-dns01", &dns, "-management", &management]);
        let mut pebble = Command::new("pebble");
        pebble.args(["-strict=false", "-dnsserver", &dns, "-config"]).arg(config);
        match mischief.validation_sleep {
            0 => pebble.env("PEBBLE_VA_NOSLEEP", "1"),
            seconds => pebble.env("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
        };
        pebble
            .env("PEBBLE_AUTHZREUSE", if mischief.reuse_authorizations { "100" } else { "0" })
            .env("PEBBLE_WFE_NONCEREJECT", mischief.reject_nonces_percent.to_string())
            .env("PEBBLE_ALTERNATE_ROOTS", mischief.alternate_roots.to_string())
            .env("PEBBLE_CHAIN_LENGTH", mischief.chain_length.max(1).to_string());
        let processes =
            vec![self.spawn(&mut challtestsrv, "challtestsrv.log"), self.spawn(&mut pebble, "pebble.log")];
        let started = Pebble { site: self, processes };
        for port in [started.site.dns_management_port, started.site.dns_port, started.site.acme_port] {
            started.wait_for(port);
        }
        started
    }

    fn write_config(&self, mischief: &Mischief) -> PathBuf {
        let keys = mischief.binding.map(|(kid, key)| format!(r#""{kid}":"{key}""#)).unwrap_or_default();
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let config = format!(
            r#"{{"pebble":{{"listenAddress":"127.0.0.1:{}","managementListenAddress":"127.0.0.1:{}",
            "certificate":"{}","privateKey":"{}","httpPort":{},"tlsPort":{},
            "externalAccountBindingRequired":{},"externalAccountMACKeys":{{{keys}}},
            "domainBlocklist":["blocked.example"],"certificateValidityPeriod":{}}}}}"#,
            self.acme_port,
            self.management_port,
            path("srv.pem"),
            path("srv.key"),
            self.http_port,
            self.tls_port,
            mischief.binding.is_some(),
            if mischief.validity_seconds == 0 { 7_776_000 } else { mischief.validity_seconds },
        );
        let config_path = self.dir.path().join("pebble.json");
        fs::write(&config_path, config).unwrap();
        config_path
    }

    fn spawn(&self, command: &mut Command, log: &str) -> Child {
        let log = File::create(self.dir.path().join(log)).unwrap();
        let spawned = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        spawned.unwrap_or_else(|error| {
            panic!("{command:?} did not start ({error}): install it: apt-get install pebble")
        })
    }
}

impl Pebble {
    pub(crate) fn start() -> Self {
        Self::with(&Mischief::default())
    }

    pub(crate) fn with(mischief: &Mischief) -> Self {
        Site::new().start(mischief)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.site.dir.path().join("pebble.log")).unwrap()
    }

    /// How many accounts were ever made.
    pub(crate) fn accounts(&self) -> usize {
        self.log().matches("accounts in memory").count()
    }

    /// How many orders were ever made.
    pub(crate) fn orders(&self) -> usize {
        self.log().matches("orders in the db").count()
    }

    /// The root it issues under; 0 is the default, then the alternates.
    pub(crate) fn root(&self, number: u8) -> String {
        let url = format!("https://localhost:{}/roots/{number}", self.site.management_port);
        let output = Command::new("curl")
            .args(["-sS", "--cacert"])
            .arg(self.site.ca_file())
            .arg(url)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Leads a name elsewhere.
    pub(crate) fn point(&self, name: &str, address: &str) {
        self.dns("add-a", &format!(r#"{{"host":"{name}","addresses":["{address}"]}}"#));
    }

    /// Leads a name here again.
    pub(crate) fn unpoint(&self, name: &str) {
        self.dns("clear-a", &format!(r#"{{"host":"{name}"}}"#));
    }

    fn dns(&self, verb: &str, body: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.site.dns_management_port)).unwrap();
        let length = body.len();
        write!(
            stream,
            "POST /{verb} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn wait_for(&self, port: u16) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < deadline, "nothing on port {port}; pebble said: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- pebble said:\n{}", self.log());
        }
    }
}

/// A port nobody has: below the range the kernel hands out, so that no client socket takes
/// it before its owner starts, and each once per process.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let spread = u16::try_from(std::process::id() % 190).unwrap() * 100;
        let port = 12_000 + (spread + step) % 20_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// `ca.pem`, and `srv.pem` with `srv.key` for localhost under it.
pub(crate) fn make_server_certificate(dir: &Path) {
    let mut ca = CertificateParams::new([]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    ca.distinguished_name.push(DnType::CommonName, "test CA of the ACME server itself");
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
    fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    fs::write(dir.join("srv.pem"), server.pem()).unwrap();
    fs::write(dir.join("srv.key"), key.serialize_pem()).unwrap();
}
