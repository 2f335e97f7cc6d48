//! What a balancer that ended TLS says in headers of HTTP: whose certificate, whose address; and who is
//! believed.
//!
//! The test is the balancer here, with curl and with sockets; real ones are in `balancers`.

use crate::admin::get;
use crate::client::{ends, tcp};
use crate::harness::{Engine, PATIENCE, Server, Site, eventually, run_tool};
use crate::pki::{Card, TestCa, expired, self_signed};
use crate::proxied::{failure, metric};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m0v::store::devices::Role;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]\n";
/// Of nobody here.
const ELSEWHERE: &str = "trusted_proxies = [\"192.0.2.1\"]\n";
const HELLO: &str = "{\"data\":\"Hello, world!\"} 200";

/// `GET /` with these headers, which an accepted certificate alone opens: body and status.
fn ask(server: &Server<'_>, scheme: &str, headers: &[String]) -> String {
    let mut arguments = curl(server);
    headers.iter().for_each(|header| arguments.extend(["-H".into(), header.clone()]));
    arguments.push(format!("{scheme}://localhost:{}/", server.api_addr().port()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run_tool("curl", &arguments).succeeded()
}

fn curl(server: &Server<'_>) -> Vec<String> {
    let ca = server.ca_file();
    let words = ["-sS", "--noproxy", "*", "--max-time", "60", "--ipv4", "-w", " %{http_code}", "--cacert"];
    words.into_iter().chain([ca.to_str().expect("text")]).map(str::to_owned).collect()
}

fn der(pem: &str) -> Vec<u8> {
    pem::parse(pem).expect("PEM").into_contents()
}

/// Percent-encoded but for letters, digits and these.
fn encoded(text: &str, plain: &str) -> String {
    let byte = |b: u8| match char::from(b) {
        c if c.is_ascii_alphanumeric() || plain.contains(c) => c.to_string(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// How each kind of proxy writes a leaf and the chain above it, if it hands that on too.
type Form = (&'static str, fn(&str, &str) -> Vec<String>);

const FORMS: [Form; 5] = [
    ("X-SSL-Client-Cert", |leaf, _| vec![format!("X-SSL-Client-Cert: {}", encoded(leaf, "-._~"))]),
    ("X-Amzn-Mtls-Clientcert", |leaf, chain| {
        vec![format!("X-Amzn-Mtls-Clientcert: {}", encoded(&(leaf.to_owned() + chain), "-._~+=/"))]
    }),
    ("X-Amzn-Mtls-Clientcert-Leaf", |leaf, _| {
        vec![format!("X-Amzn-Mtls-Clientcert-Leaf: {}", encoded(leaf, "-._~+=/"))]
    }),
    ("Client-Cert", |leaf, chain| {
        let item = |pem: &str| format!(":{}:", STANDARD.encode(der(pem)));
        vec![format!("Client-Cert: {}", item(leaf)), format!("Client-Cert-Chain: {}", item(chain))]
    }),
    ("X-Forwarded-Client-Cert", |leaf, chain| {
        let (cert, both) = (encoded(leaf, "-._~"), encoded(&(leaf.to_owned() + chain), "-._~"));
        let subject = r#"Subject="CN=a,b;c""#;
        vec![format!(
            "X-Forwarded-Client-Cert: Hash=00;Cert=\"junk\",{subject};Cert=\"{cert}\";Chain=\"{both}\""
        )]
    }),
];

/// Whatever brought it, and whatever the proxy thought of it: an ALB in passthrough mode, say, thinks nothing.
#[test]
fn every_form_of_header_brings_a_certificate_that_m0v_judges() {
    let site = Site::with(Engine::Embedded, &("[api]\ntls = false\n".to_owned() + TRUSTED));
    let mut server = site.start();
    let ca = TestCa::new("ca");
    ca.register(&site, true);
    let (known, revoked, stranger) = (
        self_signed(site.folder(), "d1"),
        self_signed(site.folder(), "d2"),
        self_signed(site.folder(), "d3"),
    );
    let late = expired(site.folder(), "d4");
    for (card, device) in [(&known, "d1"), (&revoked, "d2"), (&late, "d4")] {
        card.list(&site, device, Role::Device);
    }
    site.run(&["cert", "revoke", &revoked.id]).succeeded();
    for (number, (name, form)) in FORMS.into_iter().enumerate() {
        let config = format!("[api]\ntls = false\nclient_cert_header = \"{name}\"\n{TRUSTED}");
        site.configure(&config);
        server.restart();
        let show = |card: &Card| ask(&server, "http", &form(&card.pem, &ca.pem));
        assert_eq!(show(&known), HELLO, "{name}");
        assert_eq!(show(&ca.issue(site.folder(), &format!("new-{number}"))), HELLO, "{name}: just in time");
        for (card, words) in [
            (&revoked, "the certificate is revoked"),
            (&late, "the certificate expired"),
            (&stranger, "neither listed nor signed"),
        ] {
            let said = show(card);
            assert!(said.ends_with(" 401") && said.contains(words), "{name}: {said}");
            failure(&server, words);
        }
        assert!(ask(&server, "http", &[]).ends_with(" 401"), "{name}: absent, and so nobody");
        let good = form(&known.pem, &ca.pem).remove(0);
        let (_, value) = good.split_once(": ").expect("a header");
        let junk = [format!("{name}: {value},{value}"), format!("{name}: junk"), format!("{name}: ,")];
        let broken = match name {
            // A list, of which the last element is the proxy's own.
            "X-Forwarded-Client-Cert" => vec![[junk[1].clone()].to_vec(), [junk[2].clone()].to_vec()],
            _ => junk.iter().map(|line| vec![line.clone()]).collect(),
        };
        for headers in [broken, vec![vec![good.clone(), good.to_lowercase()]]].concat() {
            let said = ask(&server, "http", &headers);
            assert!(said.ends_with(" 400") && said.contains("the header "), "{name}: {headers:?}: {said}");
        }
        // A name is that name, and no other.
        let other = good.replace('-', "_");
        assert!(
            other.starts_with(&name.replace('-', "_")) && ask(&server, "http", &[other]).ends_with(" 401")
        );
    }
    assert_eq!(
        metric(&server, &["refused", "port=\"api\"", "reason=\"revoked\""]),
        1,
        "counted as on other ports"
    );
}

#[test]
fn a_header_of_whoever_is_no_trusted_proxy_is_nothing() {
    let known = |site: &Site| {
        let known = self_signed(site.folder(), "d1");
        known.list(site, "d1", Role::Device);
        known
    };
    for tls in [true, false] {
        let site = Site::new(Engine::Embedded);
        let config = |name, trust| format!("[api]\ntls = {tls}\nclient_cert_header = \"{name}\"\n{trust}");
        site.configure(&config("X-SSL-Client-Cert", ELSEWHERE));
        let mut server = site.start();
        let (card, ca) = (known(&site), TestCa::new("ca"));
        let scheme = if tls { "https" } else { "http" };
        for (name, form) in FORMS {
            site.configure(&config(name, ELSEWHERE));
            server.restart();
            let headers = form(&card.pem, &ca.pem);
            for headers in
                [headers.clone(), [headers.clone(), headers].concat(), vec![format!("{name}: junk")]]
            {
                let said = ask(&server, scheme, &headers);
                assert!(
                    said.ends_with(" 401") && said.contains("this needs a client certificate"),
                    "{name}: {said}"
                );
            }
        }
        // The same from one who is.
        site.configure(&config("X-SSL-Client-Cert", TRUSTED));
        server.restart();
        assert_eq!(ask(&server, scheme, &FORMS[0].1(&card.pem, &ca.pem)), HELLO);
    }
}

/// It ends its clients' TLS and begins it anew: what it shows itself would be its own.
#[test]
fn a_proxy_that_begins_tls_anew_needs_no_certificate_and_its_client_does() {
    let config = |trust| {
        format!("[api]\nclient_cert = \"required\"\nclient_cert_header = \"X-SSL-Client-Cert\"\n{trust}")
    };
    let site = Site::with(Engine::Embedded, &config(TRUSTED));
    let mut server = site.start();
    let known = self_signed(site.folder(), "d1");
    known.list(&site, "d1", Role::Device);
    let header = FORMS[0].1(&known.pem, "");
    assert_eq!(ask(&server, "https", &header), HELLO);
    let said = ask(&server, "https", &[]);
    assert!(said.ends_with(" 401") && said.contains("this port needs a client certificate"), "{said}");
    // What it shows itself is its own, and counts for nothing.
    let with = |server: &Server<'_>, more: &[String]| {
        let url = format!("https://localhost:{}/", server.api_addr().port());
        let arguments = [&curl(server)[..], more, &[url]].concat();
        run_tool("curl", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let own = known.arguments("--");
    assert!(with(&server, &own).succeeded().ends_with(" 401"));
    // Of anybody else the handshake wants one, and a header does not help.
    site.configure(&config(ELSEWHERE));
    server.restart();
    with(&server, &["-H".into(), header[0].clone()]).failed();
    assert_eq!(with(&server, &own).succeeded(), HELLO);
}

#[test]
fn a_proxys_connections_are_not_counted_and_its_clients_requests_are() {
    let limit = "[limits]\nmax_connections_per_ip = 2\n";
    let site = Site::with(Engine::Embedded, &format!("[api]\ntls = false\n{TRUSTED}{limit}"));
    let mut server = site.start();
    let hold = |server: &Server<'_>, client: &str| {
        let mut socket = tcp(server.api_addr(), PATIENCE).expect("connects");
        let head = format!("GET /confo/a/b?wait=60 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n");
        socket.write_all(head.as_bytes()).expect("sends");
        socket
    };
    let held = |server: &Server<'_>, number: u64| {
        eventually("queries to be held", || (metric(server, &["m0v_queries_held"]) == number).then_some(()));
    };
    let first: Vec<TcpStream> = (0..2).map(|_| hold(&server, "203.0.113.9")).collect();
    held(&server, 2);
    let mut third = hold(&server, "203.0.113.9, 203.0.113.9");
    let mut answer = [0; 12];
    third.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 429");
    let others: Vec<TcpStream> = (10..15).map(|last| hold(&server, &format!("203.0.113.{last}"))).collect();
    held(&server, 7);
    assert_eq!(metric(&server, &["turned_away", "\"api\"", "too many from one address"]), 1);
    // Whoever ends gives the place back.
    drop(first);
    held(&server, 5);
    let _again = hold(&server, "203.0.113.9");
    held(&server, 6);
    drop(others);

    // Nobody's word counts, and so the connection does.
    site.configure(&format!("[api]\ntls = false\n{ELSEWHERE}{limit}").replace(ELSEWHERE, ""));
    server.restart();
    let _two: Vec<TcpStream> = (1..3).map(|last| hold(&server, &format!("203.0.113.{last}"))).collect();
    held(&server, 2);
    assert_eq!(ends(hold(&server, "203.0.113.3")), b"");
}

#[test]
fn what_is_noted_and_logged_is_the_clients_address() {
    let site =
        Site::with(Engine::Embedded, &format!("[api]\ntls = false\n{TRUSTED}[log]\nlevel = \"debug\"\n"));
    let server = site.start();
    for (told, noted) in [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.10:40001", "203.0.113.10:40001"),
        ("[2001:db8::9]:40002", "[2001:db8::9]:40002"),
    ] {
        let (url, forwarded) =
            (format!("http://{}/register", server.api_addr()), format!("X-Forwarded-For: {told}"));
        let said = run_tool(
            "curl",
            &["-sS", "--noproxy", "*", "--max-time", "60", "--json", "{}", "-H", &forwarded, &url],
        );
        let account: serde_json::Value = serde_json::from_str(&said.succeeded()).expect("JSON");
        let username = account["username"].as_str().expect("an account");
        let shown = site.run(&["account", "show", username]).succeeded();
        let handshake = shown.lines().find(|line| line.starts_with("handshake ")).expect("one handshake");
        assert!(handshake.split_whitespace().any(|word| word == noted), "{handshake}");
        let line = format!(" {noted} via 127.0.0.1:");
        eventually("the log", || {
            server
                .stderr()
                .lines()
                .any(|said| said.contains(&line) && said.ends_with("answered 200"))
                .then_some(())
        });
    }
    assert!(!get(&server, "/metrics").contains("203.0.113"));
}

#[test]
fn a_certificate_in_a_header_counts_from_a_trusted_proxy_alone() {
    let header = "[api]\ntls = false\nclient_cert_header = \"X-SSL-Client-Cert\"\n";
    let ask = |server: &Server<'_>, values: &[&str]| {
        let url = format!("http://{}/confo/a/b", server.api_addr());
        let lines: Vec<String> = values.iter().map(|value| format!("x-ssl-client-cert: {value}")).collect();
        let mut arguments = vec!["-sS", "--noproxy", "*", "--max-time", "60", "-w", " %{http_code}"];
        lines.iter().for_each(|line| arguments.extend(["-H", line]));
        arguments.push(&url);
        run_tool("curl", &arguments).succeeded()
    };
    let encoded = |card: &Card| card.pem.replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B");
    let site = Site::with(Engine::Embedded, &(header.to_owned() + "trusted_proxies = [\"127.0.0.1\"]"));
    let mut server = site.start();
    let (known, unknown) = (self_signed(site.folder(), "d1"), self_signed(site.folder(), "d2"));
    known.list(&site, "d1", Role::Device);
    let (good, bad) = (encoded(&known), encoded(&unknown));
    assert_eq!(ask(&server, &[]), "Not found 404");
    assert_eq!(ask(&server, &[&good]), "Not found 404");
    let refused = ask(&server, &[&bad]);
    assert!(refused.ends_with(" 401") && refused.contains("neither listed nor signed"), "{refused}");
    for junk in [&["junk"][..], &[&good, &good], &["-----BEGIN CERTIFICATE----- MIIB"]] {
        let said = ask(&server, junk);
        assert!(said.ends_with(" 400") && said.contains("the header x-ssl-client-cert "), "{said}");
    }

    // From anybody else it is nothing at all.
    site.configure(&(header.to_owned() + "trusted_proxies = [\"192.0.2.1\"]"));
    server.restart();
    for values in [&["junk"][..], &[&bad], &[&good, &good]] {
        assert_eq!(ask(&server, values), "Not found 404");
    }
    // Where one is required, only the header can bring it.
    let required = "trusted_proxies = [\"127.0.0.1\"]\nclient_cert = \"required\"";
    site.configure(&(header.to_owned() + required));
    server.restart();
    assert_eq!(ask(&server, &[&good]), "Not found 404");
    assert!(ask(&server, &[]).ends_with(" 401"));
}
