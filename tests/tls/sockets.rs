//! Real peers and broken ones, over TCP.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use m0v::tls::hello::{Malformed, NotTls};
use m0v::tls::{
    Acceptor, AcceptorOptions, Alert, ChainOptions, Compat, Failure, Keys, Session, Stack, ensure_local,
    load_files,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::hellos::recorded;
use crate::server::{Server, ca, chain};

const GCM_128: &str = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";

fn shown(session: &Session) -> (Stack, &'static str, &'static str, bool) {
    (session.stack, session.version, session.cipher, session.resumed)
}

#[tokio::test]
async fn openssl_is_served_by_rustls_on_both_versions() {
    let mut server = Server::start(AcceptorOptions::default()).await;
    for (flag, version, cipher) in [
        ("-tls1_2", "TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        ("-tls1_3", "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ] {
        let arguments = [flag, "-verify_hostname", "device.example", "-servername", "Device.Example"];
        let (done, text) = server.openssl(&arguments, "{\"id\":1}\n").await;
        assert!(done && text.contains("Verify return code: 0 (ok)"), "{text}");
        assert!(text.lines().any(|line| line == "{\"id\":1}"), "{text}");
        let session = server.session().await;
        assert_eq!(shown(&session), (Stack::Modern, version, cipher, false));
        assert_eq!(session.server_name.as_deref(), Some("device.example"));
        assert_eq!(session.peer, None);
    }
}

#[tokio::test]
async fn the_cc3220sf_hello_is_served_with_gcm_on_p256() {
    let mut server = Server::start(AcceptorOptions::default()).await;
    let table = [
        ("cc3220sf-1", Stack::Compat, "rsa sha256"),
        ("cc3220sf-2", Stack::Modern, "rsa sha512"),
        // Without signature_algorithms TLS 1.2 means SHA-1 (RFC 5246 §7.4.1.4.1).
        ("cc3220sf-3", Stack::Compat, "rsa sha1"),
    ];
    for (variant, stack, signature) in table {
        let arguments =
            ["--variant", variant, "--ca", ca().to_str().unwrap(), "--line", "one", "--line", "two"];
        let (done, text) = server.device(&arguments).await;
        assert!(done, "{variant}: {text}");
        for line in [
            &format!("cipher: {GCM_128}"),
            "curve: secp256r1",
            &format!("signature: {signature}"),
            "chain: 2 certificates, verified",
            "reply: one",
            "reply: two",
        ] {
            assert!(text.lines().any(|said| said == line), "{variant} lacks {line:?}: {text}");
        }
        assert_eq!(shown(&server.session().await), (stack, "TLSv1.2", GCM_128, false), "{variant}");
    }
}

#[tokio::test]
async fn strict_refuses_the_cc3220sf_and_names_the_level() {
    let mut server = Server::start(AcceptorOptions { compat: Compat::Strict, ..Default::default() }).await;
    let (done, text) = server.device(&["--variant", "cc3220sf-1"]).await;
    assert!(!done && text.contains("received alert 40"), "{text}");
    let failure = server.failure().await;
    assert!(failure.to_string().contains("compat = \"cc3220\" would take it"), "{failure}");
    assert_eq!(failure.label(), "groups");
}

#[tokio::test]
async fn weak_hellos_get_an_alert_and_a_reason() {
    let mut server = Server::start(AcceptorOptions::default()).await;
    for (variant, word) in [("rc4-only", "TLS_RSA_WITH_RC4_128_SHA"), ("old-wolfssl-cbc", "\"cbc\"")] {
        let (done, text) = server.device(&["--variant", variant]).await;
        assert!(!done && text.contains("received alert 40 (handshake_failure)"), "{text}");
        let failure = server.failure().await;
        assert!(failure.to_string().contains(word), "{failure}");
    }
    let (done, text) = server.openssl(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "").await;
    assert!(!done && text.contains("SSL alert number 70"), "{text}");
    assert_eq!(server.failure().await.label(), "version");
}

#[tokio::test]
async fn alerts_from_either_stack_arrive_in_words() {
    let mut server = Server::start(AcceptorOptions::default()).await;
    for variant in ["cc3220sf-1", "cc3220sf-2"] {
        let (_, text) = server.device(&["--variant", variant, "--refuse", "48"]).await;
        assert!(text.contains("sent alert 48"), "{text}");
        let failure = server.failure().await;
        assert!(matches!(failure, Failure::Alert(Alert(48))), "{failure:?}");
        assert_eq!(failure.to_string(), "sent alert 48 (unknown_ca): it does not trust our root");
    }
}

#[tokio::test]
async fn sessions_are_resumed_on_both_stacks_unless_switched_off() {
    for resumption in [true, false] {
        let mut server = Server::start(AcceptorOptions { resumption, ..Default::default() }).await;
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("session.pem");
        let kept = kept.to_str().unwrap();
        // By session id, by TLS 1.2 ticket, by TLS 1.3 ticket.
        for flags in [&["-tls1_2", "-no_ticket"][..], &["-tls1_2"], &["-tls1_3"]] {
            server.openssl(&[flags, &["-sess_out", kept]].concat(), "").await;
            assert!(!server.session().await.resumed);
            // Without tickets TLS 1.3 leaves nothing to keep.
            if std::fs::exists(kept).unwrap() {
                server.openssl(&[flags, &["-sess_in", kept]].concat(), "").await;
                assert_eq!(server.session().await.resumed, resumption, "{flags:?}");
                std::fs::remove_file(kept).unwrap();
            } else {
                assert!(!resumption, "{flags:?}");
            }
        }
        let (done, text) = server.device(&["--resume", "--line", "x"]).await;
        assert_eq!(done, resumption, "{text}");
        assert!(!server.session().await.resumed);
        if resumption {
            assert_eq!(shown(&server.session().await), (Stack::Compat, "TLSv1.2", GCM_128, true));
        }
    }
}

#[tokio::test]
async fn sections_do_not_resume_each_others_sessions() {
    let mut first = Server::start(AcceptorOptions::default()).await;
    let mut second = Server::start(AcceptorOptions::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("session.pem");
    let kept = kept.to_str().unwrap();
    first.openssl(&["-tls1_2", "-sess_out", kept], "").await;
    second.openssl(&["-tls1_2", "-sess_in", kept], "").await;
    assert!(!first.session().await.resumed && !second.session().await.resumed);
    // On s2n-tls.
    let other = second.address.port().to_string();
    let (done, text) = first.device(&["--resume", "--other-port", &other, "--line", "x"]).await;
    assert!(done && text.matches("resumed: no").count() == 2, "{text}");
    assert!(!first.session().await.resumed);
    let session = second.session().await;
    assert_eq!((session.stack, session.resumed), (Stack::Compat, false));
}

#[tokio::test]
async fn tickets_outlive_a_swap() {
    let mut server = Server::start(AcceptorOptions::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("session.pem");
    let kept = kept.to_str().unwrap();
    server.openssl(&["-tls1_3", "-sess_out", kept], "").await;
    assert!(!server.session().await.resumed);
    server.keys.swap(chain());
    server.openssl(&["-tls1_3", "-sess_in", kept], "").await;
    assert!(server.session().await.resumed);
}

/// A connection of rustls' own client, which trusts this CA.
async fn modern_client(server: &Server, ca: &Path) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, server.connect().await).await.unwrap()
}

async fn echoes(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), line: &[u8]) {
    stream.write_all(line).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = vec![0; line.len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, line);
}

#[tokio::test]
async fn swapped_keys_serve_the_next_handshake_and_keep_open_connections() {
    let mut server = Server::start(AcceptorOptions::default()).await;
    let mut open = modern_client(&server, ca()).await;
    echoes(&mut open, b"before\n").await;
    let first = server.device(&["--variant", "cc3220sf-1", "--ca", ca().to_str().unwrap()]).await;
    assert!(first.0, "{}", first.1);

    let other = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let files = ensure_local(other.path(), &[], now).unwrap();
    server.keys.swap(load_files(&files.chain, &files.key, &ChainOptions::default(), now).unwrap().0);

    echoes(&mut open, b"after\n").await;
    echoes(&mut modern_client(&server, &files.ca).await, b"new\n").await;
    let old = server.device(&["--variant", "cc3220sf-1", "--ca", ca().to_str().unwrap()]).await;
    assert!(!old.0 && old.1.contains("does not verify"), "{}", old.1);
    let new = server.device(&["--variant", "cc3220sf-1", "--ca", files.ca.to_str().unwrap()]).await;
    assert!(new.0, "{}", new.1);
    assert_eq!(server.session().await.stack, Stack::Modern);
    assert_eq!(server.session().await.stack, Stack::Compat);
}

#[tokio::test]
async fn what_is_no_hello_is_named_and_small_in_its_bounds() {
    let mut server = Server::start(AcceptorOptions::default()).await;
    let huge = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 16380]].concat();
    let huge = [&huge[..], &huge, &huge, &huge].concat();
    let table: [(&[u8], &str); 5] = [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "sent a plain HTTP request instead of a TLS ClientHello"),
        (b"{\"id\":17,\"status\":true}\n", "sent a JSON line without TLS instead of a TLS ClientHello"),
        (&huge, "a ClientHello of 65535 bytes (at most 16384 are read)"),
        (&[22, 3, 1, 0, 4, 2, 0, 0, 0], "a handshake message of type 2 instead of a ClientHello"),
        (&[22, 3], "closed the connection during the handshake"),
    ];
    for (bytes, words) in table {
        let mut socket = server.connect().await;
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        let failure = server.failure().await.to_string();
        assert!(failure.contains(words), "{failure}");
    }
    drop(server.connect().await);
    assert!(matches!(server.failure().await, Failure::Silent));
}

#[tokio::test]
async fn a_64_kilobyte_hello_is_sent_its_alert() {
    let server = Server::start(AcceptorOptions::default()).await;
    let mut socket = server.connect().await;
    let huge = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 16380]].concat();
    for _ in 0..4 {
        socket.write_all(&huge).await.ok();
    }
    socket.shutdown().await.ok();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.ok();
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 50]);
}

#[tokio::test]
async fn a_hello_dribbled_byte_by_byte_or_in_many_records_is_served() {
    let server = Server::start(AcceptorOptions::default()).await;
    let hello = recorded("cc3220sf-1");
    let crumbs: Vec<u8> = hello[5..]
        .chunks(9)
        .flat_map(|chunk| [&[22, 3, 3, 0, u8::try_from(chunk.len()).unwrap()], chunk].concat())
        .collect();
    for bytes in [hello, crumbs, recorded("openssl-3.0-tls12")] {
        let mut socket = server.connect().await;
        socket.set_nodelay(true).unwrap();
        for byte in bytes.chunks(1) {
            socket.write_all(byte).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = [0; 6];
        timeout(Duration::from_secs(5), socket.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!((answer[0], answer[5]), (22, 2), "a ServerHello");
    }
}

#[tokio::test]
async fn a_silent_peer_costs_only_the_callers_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let acceptor = Acceptor::new(Keys::new(chain()), AcceptorOptions::default()).unwrap();
    let accepted = timeout(Duration::from_millis(200), acceptor.accept(socket)).await;
    assert!(accepted.is_err(), "the deadline is the caller's");
}

#[tokio::test]
async fn without_tls_bytes_pass_as_they_are() {
    let mut server = Server::start(AcceptorOptions { tls: false, ..Default::default() }).await;
    let mut socket = server.connect().await;
    assert_eq!(server.session().await.stack, Stack::Plain);
    socket.write_all(b"plain\n").await.unwrap();
    let mut answer = [0; 6];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"plain\n");
}

#[tokio::test]
async fn a_server_that_ends_sends_close_notify_on_both_stacks() {
    let mut server = Server::start(AcceptorOptions::default()).await;
    // tlslite-ng insists on close_notify: it reads to the end after its own.
    for (variant, stack) in [("cc3220sf-1", Stack::Compat), ("cc3220sf-2", Stack::Modern)] {
        let (done, text) = server.device(&["--variant", variant, "--line", "x", "--until-closed"]).await;
        assert!(done && text.contains("closed: close_notify"), "{text}");
        assert_eq!(server.session().await.stack, stack);
    }
}

#[test]
fn not_tls_and_malformed_have_their_own_labels() {
    assert_eq!(Failure::NotTls(NotTls::Http).label(), "not-tls");
    assert_eq!(Failure::Malformed(Malformed::Trailing).label(), "malformed");
}
