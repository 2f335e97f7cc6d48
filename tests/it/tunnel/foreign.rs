//! Through tunnels with programs we did not write, on both TLS stacks, and with the client we ship.

use super::stacks::{STACKS, is_of};
use super::{Gateway, Places, closed_well};
use crate::{
    foreign::client_command,
    harness::{Engine, Finished, PATIENCE, Server, eventually, finish, run_tool},
};
use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
};

on_both_stores![the_certificate_within_is_the_devices_and_not_the_gateways];

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// GET of the API's description with curl, HTTPS in HTTPS.
fn curl(server: &Server<'_>, places: Places, more: &[&str]) -> Finished {
    curl_for("openapi.json", server, places, more)
}

fn curl_for(path: &str, server: &Server<'_>, places: Places, more: &[&str]) -> Finished {
    let ca = server.ca_file();
    let proxy = format!("https://localhost:{}", server.tunnel_addr().port());
    // The name that is verified is localhost, the target that is asked for the listed address.
    let (url, through) = (format!("https://localhost/{path}"), format!("localhost:443:{}", places.api));
    let mut arguments = vec!["-sS", "--max-time", "80", "--noproxy", "", "--proxy", &proxy];
    arguments.extend(["--proxy-cacert", text(&ca), "--cacert", text(&ca), "--connect-to", &through]);
    arguments.extend(["--write-out", "%{http_connect} %{http_code}"]);
    arguments.extend_from_slice(more);
    arguments.push(&url);
    run_tool("curl", &arguments)
}

#[test]
fn curl_goes_through_with_an_accepted_certificate_only() {
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[], "");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    let [cert, key] = gateway.files();
    let known = ["--proxy-cert", cert, "--proxy-key", key];
    let said = curl(&server, places, &known).succeeded();
    assert!(said.contains("\"openapi\"") && said.ends_with("200 200"), "{said}");
    let refused = curl(&server, places, &[]);
    assert!(!refused.said().contains("\"openapi\""), "{}", refused.said());

    let stranger = Gateway::stranger(&site, "gateway-1");
    let [cert, key] = stranger.files();
    let refused = curl(&server, places, &["--proxy-cert", cert, "--proxy-key", key]);
    assert!(refused.failed().said().contains("403"), "{}", refused.said());
}

fn the_certificate_within_is_the_devices_and_not_the_gateways(engine: Engine) {
    let places = Places::new();
    let site = places.site(engine, &[], "");
    let server = site.start();
    let (gateway, device) = (Gateway::listed(&site, "gateway-1"), Gateway::listed(&site, "device-1"));
    let ([cert, key], [own_cert, own_key]) = (gateway.files(), device.files());
    let outside = ["--proxy-cert", cert, "--proxy-key", key];
    let nobody = curl_for("", &server, places, &outside).succeeded();
    assert!(nobody.contains("this needs a client certificate") && nobody.ends_with("200 401"), "{nobody}");
    let within = ["--cert", own_cert, "--key", own_key];
    let known = curl_for("", &server, places, &[outside, within].concat()).succeeded();
    assert!(known.contains("Hello, world!") && known.ends_with("200 200"), "{known}");
    // The device is revoked, the gateway is not: the tunnel opens, and the API refuses.
    device.revoke(&site);
    eventually("the refusal", || {
        let refused = curl_for("", &server, places, &[outside, within].concat());
        (refused.stdout() == "200 000" && !refused.said().contains("Hello")).then_some(())
    });
}

/// What a trusted proxy may say of its clients, a gateway may not say, though its address is trusted.
#[test]
fn a_certificate_in_a_header_counts_from_the_balancer_and_not_through_a_tunnel() {
    let places = Places::new();
    let balanced = "[api]\ntrusted_proxies = [\"127.0.0.0/8\"]\nclient_cert_header = \"X-SSL-Client-Cert\"";
    let site = places.site(Engine::Embedded, &[], balanced);
    let server = site.start();
    let (gateway, device) = (Gateway::listed(&site, "gateway-1"), Gateway::listed(&site, "device-1"));
    let [cert, key] = gateway.files();
    let pem = std::fs::read_to_string(device.files()[0]).expect("reads a certificate");
    let header =
        format!("X-SSL-Client-Cert: {}", pem.replace('\n', "%0A").replace('+', "%2B").replace(' ', "%20"));
    let claim = ["--header", &header];
    let through = [&["--proxy-cert", cert, "--proxy-key", key][..], &claim].concat();
    let refused = curl_for("", &server, places, &through).succeeded();
    assert!(refused.contains("this needs a client certificate") && refused.ends_with("200 401"), "{refused}");

    let ca = server.ca_file();
    let direct = format!("localhost:443:{}", places.api);
    let direct =
        ["-sS", "--max-time", "80", "--cacert", text(&ca), "--connect-to", &direct, "https://localhost/"];
    let known = run_tool("curl", &[&direct[..], &claim].concat()).succeeded();
    assert!(known.contains("Hello, world!"), "{known}");
}

#[test]
fn curl_hears_why_its_request_is_too_long_and_an_old_or_named_one_goes_through() {
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[], "");
    let server = site.start();
    let gateway = Gateway::listed(&site, "gateway-1");
    let [cert, key] = gateway.files();
    let known = ["--proxy-cert", cert, "--proxy-key", key];
    let headers = site.folder().join("headers");
    let megabyte: String = (0..20).map(|n| format!("X-{n}: {}\n", "x".repeat(50_000))).collect();
    std::fs::write(&headers, megabyte).expect("writes headers");
    let headers = format!("@{}", text(&headers));
    let refused = curl(&server, places, &[&known[..], &["--proxy-header", &headers]].concat());
    assert!(refused.failed().said().contains("431"), "{}", refused.said());
    for more in
        [&["--proxy-user", "somebody:secret"][..], &["--proxy-http2"], &["--proxy-tlsv1.2", "--tlsv1.2"]]
    {
        let said = curl(&server, places, &[&known[..], more].concat());
        // Older versions of curl do not know every option.
        if said.code() != Some(2) {
            assert!(said.succeeded().ends_with("200 200"), "{more:?}: {}", said.said());
        }
    }
    assert!(!server.stderr().contains("secret") && !server.stderr().contains("c2VjcmV0"));
}

#[test]
fn openssl_goes_through_on_both_stacks() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let target = listener.local_addr().expect("an address").to_string();
    let site = Places::new().site(Engine::Embedded, &[&target], "[tls]\ncompat = \"rsa-kx\"");
    let server = site.start();
    let (listed, stranger) = (Gateway::listed(&site, "gateway-1"), Gateway::stranger(&site, "gateway-2"));
    let stacks: [(&[&str], &str); 3] = [
        (&["-tls1_3"], "rustls TLSv1.3"),
        (&["-tls1_2"], "rustls TLSv1.2"),
        // A hello with static RSA alone names no groups.
        (&["-tls1_2", "-cipher", "AES128-GCM-SHA256"], "s2n-tls TLSv1.2"),
    ];
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    for (options, stack) in stacks {
        let mut nobody = Openssl::start(&server, options);
        nobody.say(&request);
        assert_eq!(nobody.line(), "", "{stack}: no word without a certificate");
        let [cert, key] = stranger.files();
        let mut unknown = Openssl::start(&server, &[options, &["-cert", cert, "-key", key]].concat());
        unknown.say(&request);
        assert_eq!(unknown.line(), "HTTP/1.1 403 Forbidden", "{stack}");

        let [cert, key] = listed.files();
        let mut gateway = Openssl::start(&server, &[options, &["-cert", cert, "-key", key]].concat());
        gateway.say(&request);
        assert_eq!(gateway.line(), "HTTP/1.1 200 Connection established", "{stack}");
        assert_eq!(gateway.line(), "");
        let (mut far, _) = listener.accept().expect("the tunnel arrives");
        far.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
        let echo = thread::spawn(move || io::copy(&mut far.try_clone().expect("clones"), &mut far));
        for number in 0..200 {
            let line = format!("{number} {}", "x".repeat(1 + number * 20));
            gateway.say(&format!("{line}\n"));
            assert_eq!(gateway.line(), line, "{stack}");
        }
        drop(gateway);
        // A cut, because openssl was killed: the echo ends by an error or by an end.
        drop(echo.join().expect("the echo ends"));
        eventually("the tunnel's line", || {
            let said = server.stderr();
            let ours = |line: &str| line.contains("gateway-1 to ") && line.contains(&format!(": {stack} "));
            said.lines().any(ours).then_some(())
        });
    }
}

/// `openssl s_client` to the tunnel's port.
pub(super) struct Openssl {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Openssl {
    pub(super) fn start(server: &Server<'_>, options: &[&str]) -> Self {
        // Killed, it must leave nothing behind, nor outlive the test.
        let mut child = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "openssl",
                "s_client",
                "-quiet",
                "-verify_return_error",
                "-verify_hostname",
                "localhost",
            ])
            .args(["-connect", &server.tunnel_addr().to_string(), "-CAfile", text(&server.ca_file())])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed: run scripts/test");
        let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        Self { child, output }
    }

    pub(super) fn say(&mut self, text: &str) {
        // openssl may be gone when it was refused; what it heard tells.
        self.child.stdin.as_mut().expect("stdin is a pipe").write_all(text.as_bytes()).ok();
    }

    pub(super) fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.output.read_until(b'\n', &mut line).expect("reads what openssl says");
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("openssl ends");
    }
}

/// The folder with the Node clients of `tests/node`, made on the first use.
pub(crate) fn node() -> &'static Path {
    static READY: OnceLock<PathBuf> = OnceLock::new();
    READY.get_or_init(|| {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let made = Command::new(project.join("tests/setup-node.sh")).stdout(Stdio::null()).status();
        assert!(
            made.expect("starts setup-node.sh").success(),
            "tests/setup-node.sh failed: run scripts/test"
        );
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project.join("target"), PathBuf::from);
        target.join("node")
    })
}

/// Runs `tests/node/through.js` with one of the two packages it knows.
fn through_node(
    server: &Server<'_>,
    places: Places,
    package: &str,
    who: &Gateway,
    cipher: Option<&str>,
) -> Finished {
    let [cert, key] = who.files();
    let child = Command::new("node")
        .arg(node().join("through.js"))
        .args([package, &server.tunnel_addr().to_string(), &places.api.to_string(), "200"])
        .args([text(&server.ca_file()), cert, key])
        .args(cipher)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    finish(child.expect("node is installed: run scripts/test"), package)
}

#[test]
fn nodes_clients_for_https_over_https_go_through_on_both_stacks() {
    let places = Places::new();
    let site = places.site(Engine::Embedded, &[], "[tls]\ncompat = \"rsa-kx\"");
    let server = site.start();
    let (known, stranger) = (Gateway::listed(&site, "gateway-1"), Gateway::stranger(&site, "gateway-2"));
    for (cipher, stack) in STACKS {
        for package in ["tunnel", "https-proxy-agent"] {
            let said = through_node(&server, places, package, &known, cipher).succeeded();
            assert_eq!(said.trim(), "200 of 200 answers are the same", "{package} on {stack}");
            let refused = through_node(&server, places, package, &stranger, cipher);
            refused.failed();
            assert!(!refused.stdout().contains("the same"), "{}", refused.said());
        }
        let ended = || server.stderr().lines().filter(|line| is_of(line, stack)).count();
        eventually("400 tunnels on this stack", || (ended() == 400).then_some(()));
    }
}

#[test]
fn the_shipped_client_plays_the_whole_story_through_a_tunnel() {
    let places = Places::new();
    let confirm = places.meter.ip().to_string();
    let port = Places::new().meter.port();
    let confirm_config = format!("[confirm]\nlisten = [\"{confirm}:{port}\"]");
    let by_name =
        [places.meter.port(), port].map(|port| [format!("localhost:{port}"), format!("127.0.0.1:{port}")]);
    let listed: Vec<&str> = by_name.iter().flatten().map(String::as_str).collect();
    let everywhere = format!("[meter]\nlisten = [\"127.0.0.1:{}\"]", places.meter.port());
    let site = places.site(Engine::Embedded, &listed, &everywhere);
    site.add_config(&confirm_config.replace(&confirm, "127.0.0.1"));
    let server = site.start();
    let folder = site.folder().join("gateway-1");
    site.run(&["cert", "issue", "gateway-1", "--out", text(&folder)]).succeeded();
    let (cert, key) = (folder.join("certificate.pem"), folder.join("private_key.pem"));
    let (cert, key) = (text(&cert), text(&key));
    let tunnel = format!("localhost:{}", server.tunnel_addr().port());
    let ports = (places.meter.port(), port);
    let mut command = client_command(&site, ports, &["--count", "3", "--host", "127.0.0.1"]);
    command.args(["--tunnel", &tunnel, "--cert", cert, "--key", key]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts the client");
    let said = finish(child, "the client").succeeded();
    assert_eq!(said.matches("< Thank you").count(), 3, "{said}");
    assert_eq!(said.matches("< HTTP/1.1 200 Connection established").count(), 3, "{said}");
    assert_eq!(site.packets().len(), 3);
    eventually("three good ends", || (closed_well(&server) == 3).then_some(()));

    let mut command = client_command(&site, (1, 1), &["--host", "127.0.0.1"]);
    command.args(["--tunnel", &tunnel, "--cert", cert, "--key", key]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts the client");
    let refused = finish(child, "the client");
    assert!(
        refused.failed().stderr().contains("127.0.0.1:1 is not among [tunnel] allow"),
        "{}",
        refused.said()
    );
}
