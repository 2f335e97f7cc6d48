//! Certificates of devices, a client that shows them (openssl), and another process's way into the store.

use crate::harness::{PATIENCE, Server, Site, run_tool};
use m0v::{
    store::{
        Store,
        devices::{self, Enrolment, Grounds, Role, Status},
        embedded::Embedded,
        postgres::{Postgres, PostgresOptions},
    },
    tls::certificate_id,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

/// How openssl is led to each stack. A server with `compat = "cbc"` serves the last with s2n-tls.
pub(crate) const STACKS: [&[&str]; 3] =
    [&["-tls1_3"], &["-tls1_2"], &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"]];

/// Asks for certificates on both line ports, and lets s2n-tls have its share.
pub(crate) const OPTIONAL: &str = "
[tls]
compat = 'cbc'
[meter]
client_cert = 'optional'
[confirm]
client_cert = 'optional'
";

/// A certificate and its key, as files.
pub(crate) struct Card {
    pub(crate) id: String,
    pub(crate) pem: String,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// CA certificates that it is shown with.
    pub(crate) chain: Option<PathBuf>,
}

/// A CA of the test's own.
pub(crate) struct TestCa {
    pub(crate) id: String,
    pub(crate) pem: String,
    /// What a device of it shows beside its own: the CAs below the root.
    chain: String,
    params: CertificateParams,
    key: KeyPair,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// No change to a certificate.
pub(crate) fn plain(_: &mut CertificateParams) {}

fn ca_params(name: &str, edit: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    edit(&mut params);
    params
}

impl TestCa {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, plain)
    }

    pub(crate) fn with(name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Self {
        let params = ca_params(name, edit);
        let key = KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        Self { id: certificate_id(made.der()), pem: made.pem(), chain: String::new(), params, key }
    }

    /// A CA below this one.
    pub(crate) fn sub(&self, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = (ca_params(name, edit), KeyPair::generate().expect("a key"));
        let made = params.signed_by(&key, &self.issuer()).expect("a certificate");
        let chain = made.pem() + &self.chain;
        Self { id: certificate_id(made.der()), pem: made.pem(), chain, params, key }
    }

    /// Another certificate for the same name and key.
    pub(crate) fn renewed(&self) -> Self {
        let key = KeyPair::from_pem(&self.key.serialize_pem()).expect("its key");
        let mut params = self.params.clone();
        params.not_after = date_time_ymd(2100, 1, 1);
        let made = params.self_signed(&key).expect("a certificate");
        Self { id: certificate_id(made.der()), pem: made.pem(), chain: String::new(), params, key }
    }

    /// A certificate for a device of this name.
    pub(crate) fn issue(&self, folder: &Path, device: &str) -> Card {
        self.issue_with(folder, device, plain)
    }

    pub(crate) fn issue_with(
        &self,
        folder: &Path,
        device: &str,
        edit: impl FnOnce(&mut CertificateParams),
    ) -> Card {
        let (mut params, key) = (params(device), KeyPair::generate().expect("a key"));
        edit(&mut params);
        let made = params.signed_by(&key, &self.issuer()).expect("a certificate");
        let mut card = card(folder, made.der(), &made.pem(), &key);
        if !self.chain.is_empty() {
            let file = folder.join(format!("{}.chain", card.id));
            fs::write(&file, &self.chain).expect("writes a chain");
            card.chain = Some(file);
        }
        card
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// As another process registers it.
    pub(crate) fn register(&self, site: &Site, auto_register: bool) {
        let ca = devices::Ca {
            ca_id: self.id.clone(),
            subject: "CN=a test's".into(),
            pem: self.pem.clone(),
            status: Status::Active,
            auto_register,
            created_at: 0,
        };
        beside(site, async |store| store.add_ca(&ca, "test").await.expect("a database").expect("a new CA"));
    }
}

/// A certificate that nobody vouches for.
pub(crate) fn self_signed(folder: &Path, device: &str) -> Card {
    self_signed_with(folder, device, plain)
}

pub(crate) fn self_signed_with(
    folder: &Path,
    device: &str,
    edit: impl FnOnce(&mut CertificateParams),
) -> Card {
    let (mut params, key) = (params(device), KeyPair::generate().expect("a key"));
    edit(&mut params);
    let made = params.self_signed(&key).expect("a certificate");
    card(folder, made.der(), &made.pem(), &key)
}

/// The same, and its time is over.
pub(crate) fn expired(folder: &Path, device: &str) -> Card {
    let key = KeyPair::generate().expect("a key");
    let mut params = params(device);
    (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    let made = params.self_signed(&key).expect("a certificate");
    card(folder, made.der(), &made.pem(), &key)
}

fn card(folder: &Path, der: &[u8], pem: &str, key: &KeyPair) -> Card {
    let id = certificate_id(der);
    let (cert, key_file) = (folder.join(format!("{id}.pem")), folder.join(format!("{id}.key")));
    fs::write(&cert, pem).expect("writes a certificate");
    fs::write(&key_file, key.serialize_pem()).expect("writes a key");
    Card { id, pem: pem.to_owned(), cert, key: key_file, chain: None }
}

impl Card {
    /// Allow-lists it as another process does; the device's pub.
    pub(crate) fn list(&self, site: &Site, device: &str, role: Role) -> i64 {
        let enrolment = Enrolment {
            device_id: device.into(),
            model_number: None,
            certificate_id: self.id.clone(),
            pem: self.pem.clone(),
            not_after: i64::MAX / 2,
            role,
            grounds: Grounds::Listed,
        };
        let listed = beside(site, async |store| store.enrol(&enrolment, "test").await.expect("a database"));
        listed.expect("listed").pub_id.expect("a pub")
    }

    pub(crate) fn arguments(&self, dash: &str) -> [String; 4] {
        [format!("{dash}cert"), text(&self.cert), format!("{dash}key"), text(&self.key)]
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of ours is text").to_owned()
}

/// Does something to the site's database from a process that is not the server: this one.
pub(crate) fn beside<T>(site: &Site, act: impl AsyncFnOnce(&dyn Store) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store: Arc<dyn Store> = match site.database() {
            None => Arc::new(Embedded::open(site.data_dir().join("m0v.sqlite")).expect("the file")),
            Some(database) => {
                let url = database.url().to_owned();
                let options = PostgresOptions { url, ca_file: None, max_connections: 4, allow_unsafe: true };
                Arc::new(Postgres::new(options).expect("a usable URL"))
            }
        };
        act(&*store).await
    })
}

/// One value, asked with the database's own tool.
pub(crate) fn sql(site: &Site, sql: &str) -> String {
    match site.database() {
        Some(database) => run_tool("psql", &["-XAtq", "-v", "ON_ERROR_STOP=1", database.url(), "-c", sql]),
        None => {
            let file = site.data_dir().join("m0v.sqlite");
            run_tool("sqlite3", &["-batch", "-cmd", ".timeout 5000", file.to_str().expect("text"), sql])
        }
    }
    .succeeded()
    .trim_end()
    .to_owned()
}

/// `openssl s_client`, talking.
pub(crate) struct Talk {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Talk {
    pub(crate) fn open(server: &Server<'_>, at: SocketAddr, card: Option<&Card>, options: &[&str]) -> Self {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE.as_secs().to_string());
        command.args(["openssl", "s_client", "-quiet", "-verify_return_error", "-servername", "localhost"]);
        command.args(["-connect", &at.to_string(), "-CAfile"]).arg(server.ca_file()).args(options);
        command.args(card.map(|card| card.arguments("-")).into_iter().flatten());
        if let Some(chain) = card.and_then(|card| card.chain.as_ref()) {
            command.arg("-cert_chain").arg(chain);
        }
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = streams.spawn().expect("openssl is installed: run scripts/test");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, stdin, stdout }
    }

    pub(crate) fn to_meter(server: &Server<'_>, card: Option<&Card>, options: &[&str]) -> Self {
        Self::open(server, server.meter_addr(), card, options)
    }

    pub(crate) fn send(&mut self, line: &str) {
        // The server may have closed: what it said before is what counts.
        writeln!(self.stdin, "{line}").ok();
    }

    /// The next line; `None` at the end of the connection.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.stdout.read_line(&mut line).expect("replies are text");
        if length == 0 {
            self.was_ended();
        }
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// Sends bytes that are no line.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stdin.write_all(bytes).and_then(|()| self.stdin.flush()).expect("openssl takes bytes");
    }

    /// All that the server says until it ends the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).expect("reads");
        self.was_ended();
        rest
    }

    /// openssl has ended: because the server ended the connection, not because it never did.
    fn was_ended(&mut self) {
        let status = self.child.wait().expect("openssl ends");
        assert_ne!(status.code(), Some(124), "the server left the connection open and said nothing");
    }

    /// So many bytes of what the server says.
    pub(crate) fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stdout.read_exact(&mut bytes).expect("the server says that much");
        bytes
    }

    pub(crate) fn ask(&mut self, line: &str) -> Option<String> {
        self.send(line);
        self.line()
    }

    /// Sends a reading and insists on thanks.
    pub(crate) fn thanked(&mut self, line: &str) {
        assert_eq!(self.ask(line).as_deref(), Some("Thank you"), "for {line}");
    }

    /// Insists that the server ends the connection, and says nothing more.
    pub(crate) fn ends(mut self) {
        assert_eq!(self.line(), None);
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait().map(drop)).ok();
    }
}

/// What a card's connection is told instead of being served: a line, or nothing but an alert.
pub(crate) fn refusal(server: &Server<'_>, card: Option<&Card>, options: &[&str]) -> Option<String> {
    let mut talk = Talk::to_meter(server, card, options);
    let said = talk.ask(READING);
    if said.is_some() {
        talk.ends();
    }
    said
}

/// A reading without an id.
pub(crate) const READING: &str = r#"{"status":true,"voltage":231.4}"#;

/// A reading of an id.
pub(crate) fn of_id(id: i64) -> String {
    format!(r#"{{"id":{id},"status":true}}"#)
}
