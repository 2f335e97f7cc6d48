//! The tables of `firmware-notes/README.md`, made by real handshakes; `M0V_BLESS=1` rewrites them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::sync::{Mutex, PoisonError};

use m0v::tls::{AcceptorOptions, Compat, Failure, Session};

use crate::server::{Server, meter_clients, project};

/// Puts `table` between its comments, or fails when the file says something else.
fn hold(name: &str, table: &str) {
    // Two tests of this process may rewrite it.
    static FILE: Mutex<()> = Mutex::new(());
    let _alone = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = project("firmware-notes/README.md");
    let text = fs::read_to_string(&file).unwrap();
    let begin = format!("<!-- table: {name}, made by tests/tls -->\n");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no comment {begin:?}"));
    let (old, after) = rest.split_once("<!-- end -->").unwrap();
    if old == table {
        return;
    }
    assert!(
        std::env::var_os("M0V_BLESS").is_some(),
        "firmware-notes/README.md says\n{old}\nand what is measured is\n{table}\nM0V_BLESS=1 rewrites it"
    );
    fs::write(&file, format!("{before}{begin}{table}<!-- end -->{after}")).unwrap();
}

async fn server(compat: Compat) -> Server {
    Server::start(AcceptorOptions { compat, ..Default::default() }).await
}

/// How to play a device.
enum Peer {
    /// `hello_client.py`, which says what the device says.
    Device(&'static [&'static str]),
    /// A client that runs here.
    Client(&'static [&'static str]),
}

const PEERS: &[(&str, Peer)] = &[
    ("CC3220SF: `signature_algorithms` only", Peer::Device(&["--variant", "cc3220sf-1"])),
    ("CC3220SF: names secp256r1", Peer::Device(&["--variant", "cc3220sf-2"])),
    ("CC3220SF: no extensions", Peer::Device(&["--variant", "cc3220sf-3"])),
    ("old wolfSSL: ECDHE with CBC", Peer::Device(&["--variant", "old-wolfssl-cbc"])),
    ("TLS 1.2, static RSA, no extensions", Peer::Device(&["--variant", "rsa-kx-bare"])),
    ("CC3100/CC3200 kind: TLS 1.0, static RSA", Peer::Device(&["--variant", "tls10-bare"])),
    ("TLS 1.0, ECDHE with CBC, no groups", Peer::Device(&["--variant", "tls10-bare", "--suites", "c013"])),
    ("RC4 only", Peer::Device(&["--variant", "rc4-only"])),
    ("3DES only", Peer::Device(&["--variant", "3des-only"])),
    ("mbedTLS 2.28", Peer::Client(&["{peers}/mbedtls-client"])),
    (
        "mbedTLS 2.28, TLS 1.0, static RSA",
        Peer::Client(&["{peers}/mbedtls-client", "--tls10", "--cipher", "TLS_RSA_WITH_AES_256_CBC_SHA"]),
    ),
    (
        "mbedTLS 2.28, ECDHE with CBC",
        Peer::Client(&[
            "{peers}/mbedtls-client",
            "--groups",
            "secp256r1",
            "--cipher",
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        ]),
    ),
    ("wolfSSL 5.5", Peer::Client(&["{peers}/wolfssl-client"])),
    ("wolfSSL 5.5, TLS 1.2", Peer::Client(&["{peers}/wolfssl-client", "--tls12"])),
    (
        "wolfSSL 5.5, ECDHE with CBC",
        Peer::Client(&[
            "{peers}/wolfssl-client",
            "--tls12",
            "--groups",
            "secp256r1",
            "--cipher",
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        ]),
    ),
    ("OpenSSL 3", Peer::Client(OPENSSL)),
    (
        "OpenSSL 3, TLS 1.2",
        Peer::Client(&["openssl", "s_client", "-connect", "localhost:{port}", "-CAfile", "{ca}", "-tls1_2"]),
    ),
    (
        "curl",
        Peer::Client(&["curl", "-sS", "--max-time", "10", "--cacert", "{ca}", "https://localhost:{port}/"]),
    ),
    ("Python 3", Peer::Client(&["python3", "-c", PYTHON, "{port}", "{ca}"])),
];

const OPENSSL: &[&str] = &["openssl", "s_client", "-connect", "localhost:{port}", "-CAfile", "{ca}"];
const PYTHON: &str = "import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
context.wrap_socket(socket.create_connection(('localhost', int(sys.argv[1]))), server_hostname='localhost').close()";

async fn come_to(peer: &Peer, level: Compat) -> Result<Session, Failure> {
    let mut server = server(level).await;
    let said = match peer {
        Peer::Device(arguments) => server.device(arguments).await,
        Peer::Client(words) => {
            let peers = meter_clients().to_str().unwrap();
            let mut words: Vec<String> = words.iter().map(|word| word.replace("{peers}", peers)).collect();
            if words[0].starts_with(peers) {
                let common = ["--host", "localhost", "--port", "{port}", "--ca", "{ca}", "--count", "1"];
                words.extend(common.map(str::to_owned));
            }
            server.client(&words.iter().map(String::as_str).collect::<Vec<_>>()).await
        }
    };
    let outcome = server.outcome().await;
    if let Err(failure) = &outcome {
        assert!(matches!(failure, Failure::Refused(_)), "at {level} the peer {failure}: {}", said.1);
    }
    outcome
}

#[tokio::test]
async fn each_device_is_served_at_the_levels_that_the_notes_say() {
    let mut table = String::from(
        "| device | `strict` | `cc3220` | `cbc` | `rsa-kx` | negotiated |\n|---|---|---|---|---|---|\n",
    );
    for (name, peer) in PEERS {
        let mut negotiated = BTreeSet::new();
        let mut cells = String::new();
        for level in Compat::ALL {
            let cell = match come_to(peer, level).await {
                Ok(session) => {
                    negotiated.insert(format!("{} {}", session.version, session.cipher));
                    session.stack.as_str()
                }
                Err(_) => "–",
            };
            write!(cells, " {cell} |").unwrap();
        }
        assert!(negotiated.len() <= 1, "{name} gets the same at every level: {negotiated:?}");
        let negotiated = negotiated.pop_first().unwrap_or_else(|| "nothing, at any level".to_owned());
        writeln!(table, "| {name} |{cells} {negotiated} |").unwrap();
    }
    hold("device × compat level", &table);
}

/// What a level must never negotiate, as words in a line of a scan.
fn banned(level: Compat) -> Vec<&'static str> {
    let mut banned = vec![
        "SSLv", "RC4", "3DES", "_DES", "DES40", "RC2", "NULL", "EXPORT", "anon", "MD5", "DHE_DSS", "_DHE_",
        "CAMELLIA", "SEED", "IDEA", "ARIA", "PSK", "SRP",
    ];
    if level < Compat::RsaKx {
        banned.extend(["TLSv1.0", "TLSv1.1", "TLS_RSA_"]);
    }
    if level < Compat::Cbc {
        banned.push("CBC");
    }
    banned
}

#[tokio::test]
async fn scanners_find_nothing_that_the_notes_do_not_list() {
    let mut table =
        String::from("| level | version | suite | with groups | without |\n|---|---|---|---|---|\n");
    for level in Compat::ALL {
        let server = server(level).await;
        let scan = async |words: &[&str]| {
            let (done, text) = server.client(words).await;
            assert!(done, "{words:?}: {text}");
            text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let named = scan(&["tests/peers/scan.sh", "127.0.0.1:{port}"]).await;
        let groupless = scan(&["python3", "tests/peers/groupless.py", "127.0.0.1:{port}"]).await;
        let bare =
            scan(&["python3", "tests/peers/groupless.py", "127.0.0.1:{port}", "--no-extensions"]).await;
        assert_eq!(groupless, bare, "at {level}");
        let mut lines = BTreeSet::new();
        for line in &groupless {
            let (suite, group) = line.rsplit_once(' ').unwrap();
            assert!(group == "secp256r1" || group == "-" && suite.contains("TLS_RSA_"), "at {level}: {line}");
            lines.insert(suite.to_owned());
        }
        for line in named.union(&lines) {
            for word in banned(level) {
                assert!(!line.contains(word), "{level} must not negotiate {line}");
            }
            let (version, suite) = line.split_once(' ').unwrap();
            let mark = |found: bool| if found { "yes" } else { "–" };
            let (with, without) = (mark(named.contains(line)), mark(lines.contains(line)));
            writeln!(table, "| `{level}` | {version} | {suite} | {with} | {without} |").unwrap();
        }
    }
    hold("negotiable suites per level", &table);
}
