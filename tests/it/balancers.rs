//! m0v behind real balancers: HAProxy and nginx with the files of `deploy/`, as `deploy/README.md` says.
//!
//! Each test has an address of its own in 127.0.0.0/8, so that the ports of the files can stay.

use crate::client::{Client, ends};
use crate::harness::{Engine, PATIENCE, Server, Site, eventually, rounds, run_tool};
use crate::pki::{Card, READING, Talk, TestCa, self_signed, sql};
use crate::proxied::{metric, v1, v2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m0v::store::devices::Role;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

const LINE: &str = r#"{"id":17,"status":true,"voltage":231.4}"#;
const QUERY: &str = r#"{"deviceName":"a","ssid":"b"}"#;
/// A client whose address is not the balancer's.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Haproxy,
    Nginx,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Passthrough,
    Termination,
}

/// A site and the address that its balancer and its server listen on.
struct Deployment {
    site: Site,
    address: Ipv4Addr,
    kind: Kind,
    tls: Tls,
}

impl Deployment {
    fn new(kind: Kind, tls: Tls) -> Self {
        Self::with(kind, tls, "")
    }

    /// With more lines at the end of the server's configuration.
    fn with(kind: Kind, tls: Tls, more: &str) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed));
        let site = Site::new(Engine::Embedded);
        let this = Self { site, address, kind, tls };
        this.site.configure(&(this.file("toml") + more));
        this
    }

    /// A file of `deploy/` with the test's addresses and paths.
    fn file(&self, extension: &str) -> String {
        let kind = if self.kind == Kind::Haproxy { "haproxy" } else { "nginx" };
        let name = if self.tls == Tls::Passthrough { "passthrough" } else { "termination" };
        let path = format!("{}/deploy/{kind}/{name}.{extension}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let folder = self.site.folder().display();
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("[::]")).collect();
        (lines.join("\n") + "\n")
            .replace("0.0.0.0", &self.address.to_string())
            .replace("127.0.0.1:", &format!("{}:", self.address))
            .replace("/etc/m0v/", &format!("{folder}/"))
            .replace("/run/nginx.pid", &format!("{folder}/nginx.pid"))
    }

    /// Starts the balancer beside a server, and waits until it listens.
    fn start_balancer(&self, server: &Server<'_>) -> Balancer {
        self.start_changed_balancer(server, |text| text)
    }

    /// The same, with its file changed.
    fn start_changed_balancer(&self, server: &Server<'_>, change: impl FnOnce(String) -> String) -> Balancer {
        let folder = self.site.folder();
        let tls = self.site.data_dir().join("tls");
        let (chain, key) = (fs::read(tls.join("chain.pem")), fs::read(tls.join("key.pem")));
        let (chain, key) = (chain.expect("reads the chain"), key.expect("reads the key"));
        fs::write(folder.join("haproxy.pem"), [&chain[..], &key].concat()).expect("writes a file");
        for (name, bytes) in [("chain.pem", &chain), ("key.pem", &key), ("client-ca.pem", &server.ca_pem())] {
            fs::write(folder.join(name), bytes).expect("writes a file");
        }
        let (program, extension) = match self.kind {
            Kind::Haproxy => ("haproxy", "cfg"),
            Kind::Nginx => ("nginx", "conf"),
        };
        let config = folder.join(format!("balancer.{extension}"));
        fs::write(&config, change(self.file(extension))).expect("writes the balancer's configuration");
        let config = config.to_str().expect("a path of ours is text");
        let arguments = match self.kind {
            Kind::Haproxy => vec!["-db", "-f", config],
            Kind::Nginx => vec!["-e", "stderr", "-c", config, "-g", "daemon off;"],
        };
        let log = fs::File::create(folder.join("balancer.log")).expect("makes a file");
        let mut command = Command::new("setpriv");
        // Debian has them where only root looks.
        command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin");
        command.args(["--pdeathsig", "TERM", program]).args(&arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("shares the file")).stderr(log);
        let child =
            command.spawn().unwrap_or_else(|e| panic!("{program} cannot be started ({e}): run scripts/test"));
        let mut balancer = Balancer { child, log: folder.join("balancer.log") };
        eventually("the balancer to listen", || {
            let ended = balancer.child.try_wait().expect("looks after the balancer");
            assert!(ended.is_none(), "{program} ended:\n{}", balancer.said());
            TcpStream::connect(self.at(38980)).is_ok().then_some(())
        });
        balancer
    }

    /// Where the balancer listens in the place of m0v.
    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address.into(), port)
    }

    fn client(&self, server: &Server<'_>, port: u16) -> Client {
        let client = Client::try_connect_from(CLIENT, self.at(port), &server.ca_pem());
        client.unwrap_or_else(|e| panic!("{:?} {:?}: no TLS on {port}: {e}", self.kind, self.tls))
    }

    /// Asks the API through the balancer; curl's output without headers.
    fn curl(&self, server: &Server<'_>, path: &str, more: &[&str]) -> String {
        let (ca, url) = (server.ca_file(), format!("https://localhost:38980{path}"));
        let connect = format!("localhost:38980:{}:38980", self.address);
        let mut arguments = vec!["-sS", "--noproxy", "*", "--max-time", "80", "--interface", "127.0.0.9"];
        arguments.extend(["--connect-to", &connect, "--cacert", ca.to_str().expect("text")]);
        arguments.extend_from_slice(more);
        arguments.push(&url);
        run_tool("curl", &arguments).succeeded()
    }
}

/// A running balancer; ended when dropped.
struct Balancer {
    child: Child,
    log: std::path::PathBuf,
}

impl Balancer {
    fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("reads the balancer's log")
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // TERM, so that a master ends its workers.
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- the balancer said:\n{}---", self.said());
        }
    }
}

/// Makes a test of each function with each balancer and each way of TLS.
macro_rules! behind_each {
    ($($test:ident),+ $(,)?) => {
        mod haproxy_passthrough { $(#[test] fn $test() { super::$test(super::Kind::Haproxy, super::Tls::Passthrough); })+ }
        mod haproxy_termination { $(#[test] fn $test() { super::$test(super::Kind::Haproxy, super::Tls::Termination); })+ }
        mod nginx_passthrough { $(#[test] fn $test() { super::$test(super::Kind::Nginx, super::Tls::Passthrough); })+ }
        mod nginx_termination { $(#[test] fn $test() { super::$test(super::Kind::Nginx, super::Tls::Termination); })+ }
    };
}

behind_each![
    lines_and_requests_come_through_under_the_clients_address,
    quotas_are_the_clients,
    who_goes_round_the_balancer_is_refused,
    openssl_is_served,
    a_clients_certificate_is_judged_by_m0v,
    a_lines_certificate_is_judged_by_m0v_or_missed_in_words,
];

fn lines_and_requests_come_through_under_the_clients_address(kind: Kind, tls: Tls) {
    let deployment = Deployment::new(kind, tls);
    let server = deployment.site.start_with_device();
    let _balancer = deployment.start_balancer(&server);
    let mut meter = deployment.client(&server, 38981);
    let lines = rounds(50, 5000);
    for seq in 0..lines {
        meter.thanked(format!(r#"{{"id":17,"status":true,"timestamp":1732300000,"seq":{seq}}}"#));
    }
    let mut confirm = deployment.client(&server, 38979);
    assert_eq!(confirm.ask(r#"{"deviceName":"a","ssid":"b","hash":5}"#), "OK");
    let found = |text: &str| assert!(text.contains(r#""hash":5"#), "{text}");
    found(&confirm.ask(QUERY));
    found(&deployment.curl(&server, "/confo/a/b", &["--http1.1"]));
    found(&deployment.curl(&server, "/confo/a/b", &["--http2"]));
    let from = [meter.local_addr(), confirm.local_addr()];
    meter.end_of_stream();
    confirm.end_of_stream();
    match (kind, tls) {
        // nginx closes without close_notify.
        (Kind::Nginx, Tls::Termination) => (meter.ends(), confirm.ends()),
        _ => (meter.ends_properly(), confirm.ends_properly()),
    };
    for client in from {
        let named = format!("{client} via 127.0.0.1:");
        eventually("the log to name the client", || server.stderr().contains(&named).then_some(()));
    }
    assert_eq!(deployment.site.packets().len(), lines);
    // Whoever should end TLS did.
    let plain =
        metric(&server, &["handshakes_total", "port=\"meter\"", "outcome=\"full\"", "stack=\"plain\""]);
    assert_eq!(plain > 0, tls == Tls::Termination);
    // Health checks and all: nothing for an operator to read.
    let log = server.stderr();
    let warnings: Vec<&str> =
        log.lines().filter(|line| line.contains("WARN") && line.contains('#')).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
}

fn quotas_are_the_clients(kind: Kind, tls: Tls) {
    let deployment = Deployment::new(kind, tls);
    let server = deployment.site.start();
    let _balancer = deployment.start_balancer(&server);
    let mut greedy = deployment.client(&server, 38979);
    greedy.send_raw(format!("{QUERY}\n").repeat(300).as_bytes());
    let replies: Vec<String> = (0..300).map(|_| greedy.reply()).collect();
    assert!(replies.iter().any(|reply| reply.starts_with("!OK too many queries")), "{replies:?}");
    // Over HTTP too, whatever the client says of itself.
    let (ca_file, connect) = (server.ca_file(), format!("localhost:38980:{}:38980", deployment.address));
    let options =
        [("cacert", ca_file.to_str().expect("text")), ("connect-to", &connect), ("interface", "127.0.0.9")];
    let statuses = statuses_as_many(&deployment.site, "https://localhost:38980/confo/a/b", &options);
    assert!(statuses.contains("429"), "{statuses}");
    let mut other = Client::connect(deployment.at(38979), &server.ca_pem());
    assert_eq!(other.ask(QUERY), "Not found");
}

/// Over HTTP, with TLS ended by either.
fn a_clients_certificate_is_judged_by_m0v(kind: Kind, tls: Tls) {
    let deployment = Deployment::new(kind, tls);
    let server = deployment.site.start();
    let ca = TestCa::new("ca");
    let site = &deployment.site;
    ca.register(site, true);
    let (known, stranger) = (self_signed(site.folder(), "d1"), self_signed(site.folder(), "d2"));
    known.list(site, "d1", Role::Device);
    let new = ca.issue(site.folder(), "d3");
    let _balancer = deployment.start_balancer(&server);
    let ask =
        |more: &[&str]| deployment.curl(&server, "/confo/a/b", &[more, &["-w", " %{http_code}"]].concat());
    let shown = |card: &Card| {
        let arguments = card.arguments("--");
        ask(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(ask(&[]), "Not found 404");
    assert_eq!(shown(&known), "Not found 404");
    let refused = shown(&stranger);
    assert!(refused.ends_with(" 401") && refused.contains("neither listed nor signed"), "{refused}");
    assert_eq!(shown(&new), "Not found 404");
    assert_eq!(
        sql(site, "SELECT device_id FROM device WHERE ca_id IS NOT NULL"),
        "d3",
        "registered just in time"
    );
    // What a client says of certificates itself comes to nothing, not even one that is known.
    let encoded = known.pem.replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B");
    let der = STANDARD.encode(pem::parse(&known.pem).expect("PEM").contents());
    for value in ["junk", &encoded, &format!(":{der}:"), &format!("Cert=\"{encoded}\"")] {
        for name in
            ["X-SSL-Client-Cert", "x_ssl_client_cert", "Client-Cert", "Client_Cert", "Client-Cert-Chain"]
        {
            let header = format!("{name}: {value}");
            assert_eq!(ask(&["-H", &header]), "Not found 404");
            assert_eq!(ask(&["-H", &header, "-H", &header, "--http1.1"]), "Not found 404");
            let said = deployment.curl(&server, "/", &["-H", &header, "-w", " %{http_code}"]);
            assert!(
                said.ends_with(" 401") && said.contains("this needs a client certificate"),
                "{header}: {said}"
            );
        }
    }
    // Nor does it take off what the balancer says, by calling it hop-by-hop.
    let arguments = stranger.arguments("--");
    let hop = ["--http1.1", "-H", "Connection: X-SSL-Client-Cert, Client-Cert"];
    let said = ask(&[&arguments.each_ref().map(String::as_str)[..], &hop].concat());
    assert!(said.ends_with(" 401"), "{said}");
}

/// On the line ports, with TLS ended by either.
fn a_lines_certificate_is_judged_by_m0v_or_missed_in_words(kind: Kind, tls: Tls) {
    let deployment = Deployment::new(kind, tls);
    let site = &deployment.site;
    let required = deployment.file("toml").replace("[meter]", "[meter]\nclient_cert = \"required\"");
    site.configure(&required);
    if (kind, tls) == (Kind::Nginx, Tls::Termination) {
        // Nothing of nginx's tells of certificates on a line.
        let said = site.run(&["serve"]).ended_with(78).said();
        assert!(said.contains("[meter] client_cert: needs tls = true, or proxy_protocol = \"v2\""), "{said}");
        return;
    }
    let server = site.start();
    let (known, stranger) = (self_signed(site.folder(), "d1"), self_signed(site.folder(), "d2"));
    known.list(site, "d1", Role::Device);
    // HAProxy before 2.9 tells the name in it, and no more.
    let ask_for_one = |text: String| {
        let api = text.lines().find(|line| line.contains(" verify optional ")).unwrap_or_default();
        let options = api.split_once(" verify ").map(|(_, options)| format!(" verify {options}"));
        let bind = format!(":38981 ssl crt {}/haproxy.pem", site.folder().display());
        text.replace(&bind, &(bind.clone() + &options.unwrap_or_default()))
            .replace(":48981 send-proxy-v2 ", ":48981 send-proxy-v2-ssl-cn ")
    };
    let _balancer = match tls {
        Tls::Passthrough => deployment.start_balancer(&server),
        Tls::Termination => deployment.start_changed_balancer(&server, ask_for_one),
    };
    let ask = |card: Option<&Card>| Talk::open(&server, deployment.at(38981), card, &[]).ask(READING);
    let logged = |words: &str| {
        eventually("the log", || {
            let named =
                |line: &str| line.contains("127.0.0.1:") && line.contains(" via ") && line.contains(words);
            server.stderr().lines().any(named).then_some(())
        });
    };
    match tls {
        Tls::Passthrough => {
            assert_eq!(ask(Some(&known)).as_deref(), Some("Thank you"));
            let refused = ask(Some(&stranger)).unwrap_or_default();
            assert!(
                refused.starts_with("!OK ") && refused.contains("neither listed nor signed"),
                "{refused}"
            );
            logged(&format!("showed the client certificate {}: ", stranger.id));
            assert_eq!(ask(None), None, "an alert");
        }
        Tls::Termination => {
            let words = "the balancer saw a certificate, but does not hand it on";
            for card in [&known, &stranger] {
                assert_eq!(ask(Some(card)), Some(format!("!OK {words}")));
            }
            logged(&format!("of CN \"d1\", which the balancer found not good: {words}"));
            assert_eq!(ask(None).as_deref(), Some("!OK this port needs a client certificate"));
        }
    }
    assert_eq!(site.packets().len(), usize::from(tls == Tls::Passthrough));
}

/// nginx ends its clients' TLS and begins it anew: it is asked for no certificate, and each of its clients is.
#[test]
fn a_certificate_is_required_of_the_client_and_not_of_the_balancer() {
    let deployment = Deployment::new(Kind::Nginx, Tls::Termination);
    let site = &deployment.site;
    let toml = deployment.file("toml");
    let (lines, api) = toml.split_once("[api]").expect("a section");
    site.configure(&format!("{lines}[api]{}", api.replace("tls = false", "client_cert = \"required\"")));
    let server = site.start();
    let known = self_signed(site.folder(), "d1");
    known.list(site, "d1", Role::Device);
    let _balancer = deployment.start_changed_balancer(&server, |text| {
        let verified = "proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_trusted_certificate";
        let ca = format!("https://m0v; {verified} {}/client-ca.pem", site.folder().display());
        text.replace("http://m0v", &ca)
    });
    let arguments = known.arguments("--");
    let shown = arguments.each_ref().map(String::as_str);
    for version in ["--http1.1", "--http2"] {
        let ask = |more: &[&str]| {
            deployment.curl(&server, "/", &[more, &[version, "-w", " %{http_code}"]].concat())
        };
        assert_eq!(ask(&shown), "{\"data\":\"Hello, world!\"} 200");
        let refused = ask(&[]);
        assert!(
            refused.contains("this port needs a client certificate") && refused.ends_with(" 401"),
            "{refused}"
        );
    }
    assert!(metric(&server, &["handshakes_total", "\"api\"", "\"full\""]) > 0, "over TLS");
    site.run(&["cert", "revoke", &known.id]).succeeded();
    eventually("the certificate to be revoked", || {
        deployment.curl(&server, "/", &shown).contains("the certificate is revoked").then_some(())
    });
}

/// Through TLS that is not the balancer's only the client can speak.
#[test]
fn a_header_that_came_through_tls_is_the_clients_own_word() {
    let deployment = Deployment::new(Kind::Haproxy, Tls::Passthrough);
    let header = "[api]\nclient_cert_header = \"Client-Cert\"";
    deployment.site.configure(&deployment.file("toml").replace("[api]", header));
    let server = deployment.site.start();
    let _balancer = deployment.start_balancer(&server);
    let more = ["-H", "Client-Cert: junk", "-w", " %{http_code}"];
    assert_eq!(deployment.curl(&server, "/confo/a/b", &more), "Not found 404");
}

/// m0v's own ports take nobody but the balancer.
fn who_goes_round_the_balancer_is_refused(kind: Kind, tls: Tls) {
    let deployment = Deployment::new(kind, tls);
    let server = deployment.site.start_with_device();
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 8));
    for addr in [server.meter_addr(), server.confirm_addr(), server.api_addr()] {
        assert!(Client::try_connect_from(source, addr, &server.ca_pem()).is_err(), "served directly");
    }
    for bytes in [v1("203.0.113.9:1"), v2(0x20, 0, b""), format!("{LINE}\n").into_bytes()] {
        let mut socket = connect_from(source, server.meter_addr());
        // The server may have closed already.
        socket.write_all(&bytes).ok();
        assert_eq!(ends(socket), b"");
    }
    assert!(metric(&server, &["turned_away", "\"meter\"", "not a trusted proxy"]) >= 4);
    assert_eq!(deployment.site.packets().len(), 0);
}

/// A client that is neither ours nor rustls.
fn openssl_is_served(kind: Kind, tls: Tls) {
    let deployment = Deployment::new(kind, tls);
    let server = deployment.site.start_with_device();
    let _balancer = deployment.start_balancer(&server);
    let (to, ca) = (deployment.at(38981).to_string(), server.ca_file());
    let mut command = Command::new("timeout");
    command
        .args(["60", "openssl", "s_client", "-quiet", "-verify_return_error", "-connect", &to, "-CAfile"])
        .arg(ca);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("starts openssl");
    child.stdin.as_mut().expect("a pipe").write_all(format!("{LINE}\n").as_bytes()).expect("sends a line");
    let mut reply = [0; 10];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"Thank you\n");
    drop(child.stdin.take());
    child.kill().and_then(|()| child.wait()).expect("ends openssl");
}

fn connect_from(source: IpAddr, addr: SocketAddr) -> TcpStream {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("makes a socket");
    socket.bind(&SocketAddr::new(source, 0).into()).expect("binds");
    socket.connect(&addr.into()).expect("the kernel takes it");
    socket.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
    socket.into()
}

#[test]
fn an_address_that_a_stranger_forwards_does_not_count() {
    let site = Site::with(Engine::Embedded, "[api]\ntls = false\n");
    let server = site.start();
    let url = format!("http://{}/confo/a/b", server.api_addr());
    let statuses = statuses_as_many(&site, &url, &[]);
    assert!(statuses.contains("429"), "each request is a new address's: {statuses}");
    // And one that a trusted proxy forwards does.
    drop(server);
    site.configure("[api]\ntls = false\ntrusted_proxies = [\"127.0.0.1\"]");
    let server = site.start();
    let url = format!("http://{}/confo/a/b", server.api_addr());
    let statuses = statuses_as_many(&site, &url, &[]);
    assert!(!statuses.contains("429"), "all requests are one address's: {statuses}");
}

/// The statuses of 300 requests, each of which claims another address. One curl, so that the quota has
/// no time to fill up again.
fn statuses_as_many(site: &Site, url: &str, options: &[(&str, &str)]) -> String {
    let mut config = String::new();
    for number in 0..300 {
        let forwarded = format!("X-Forwarded-For: 198.51.{}.{}", number / 250, number % 250);
        let own =
            [("url", url), ("header", &forwarded), ("output", "/dev/null"), ("write-out", "%{http_code} ")];
        for (name, value) in own.iter().chain(options) {
            config += &format!("{name} = \"{value}\"\n");
        }
        config += "silent\nnoproxy = \"*\"\nmax-time = 60\nnext\n";
    }
    let file = site.folder().join("curl.config");
    fs::write(&file, config.trim_end_matches("next\n")).expect("writes curl's configuration");
    let said = run_tool("curl", &["-K", file.to_str().expect("text")]).succeeded();
    assert_eq!(said.split_whitespace().count(), 300, "{said}");
    said
}
