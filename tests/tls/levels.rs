//! What is negotiated at each `compat` level, by clients that would take more.

use m0v::tls::{AcceptorOptions, Compat, Failure, Session, Stack};

use crate::server::Server;
use crate::stacks::{acceptor, answer, extension, hello};

async fn server(compat: Compat) -> Server {
    Server::start(AcceptorOptions { compat, ..Default::default() }).await
}

/// What a hello of `hello_client.py` comes to at each level: stack, level, version and suite, or the
/// label of the refusal.
async fn at_every_level(arguments: &[&str]) -> [String; 4] {
    let mut came_to = [const { String::new() }; 4];
    for (slot, level) in came_to.iter_mut().zip(Compat::ALL) {
        let mut server = server(level).await;
        let (done, text) = server.device(&[arguments, &["--line", "x"]].concat()).await;
        *slot = match server.outcome().await {
            Ok(session) => {
                assert!(done && text.contains("reply: x"), "{arguments:?} at {level}: {text}");
                shown(&session)
            }
            Err(Failure::Refused(reason)) => format!("refused: {}", reason.label()),
            Err(failure) => panic!("{arguments:?} at {level}: the peer {failure}; {text}"),
        };
    }
    came_to
}

fn shown(session: &Session) -> String {
    let at = session.level.map_or("rustls", Compat::as_str);
    assert_eq!(session.level.is_some(), session.stack == Stack::Compat);
    format!("{at} {} {}", session.version, session.cipher)
}

#[tokio::test]
async fn each_device_is_served_from_its_level_on_and_no_weaker_than_it_must_be() {
    const GCM: &str = "cc3220 TLSv1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    const NO_GROUPS: &str = "refused: groups";
    const NO_SUITES: &str = "refused: suites";
    const NO_VERSION: &str = "refused: version";
    let cbc = "cbc TLSv1.2 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
    let rsa = "rsa-kx TLSv1.2 TLS_RSA_WITH_AES_256_CBC_SHA";
    let old = "rsa-kx TLSv1.0 TLS_RSA_WITH_AES_128_CBC_SHA";
    let old_ecdhe = "rsa-kx TLSv1.0 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
    let middle = "rsa-kx TLSv1.1 TLS_RSA_WITH_AES_256_CBC_SHA";
    let table: [(&[&str], [&str; 4]); 8] = [
        (&["--variant", "cc3220sf-1"], [NO_GROUPS, GCM, GCM, GCM]),
        (&["--variant", "cc3220sf-3"], [NO_GROUPS, GCM, GCM, GCM]),
        (&["--variant", "old-wolfssl-cbc"], [NO_SUITES, NO_SUITES, cbc, cbc]),
        // No extension at all.
        (&["--variant", "rsa-kx-bare"], [NO_SUITES, NO_SUITES, NO_SUITES, rsa]),
        (&["--variant", "tls10-bare"], [NO_VERSION, NO_VERSION, NO_VERSION, old]),
        (
            &["--variant", "tls10-bare", "--suites", "0035 c013"],
            [NO_VERSION, NO_VERSION, NO_VERSION, old_ecdhe],
        ),
        (&["--variant", "rsa-kx-bare", "--version", "0302"], [NO_VERSION, NO_VERSION, NO_VERSION, middle]),
        // Groups are named, but there is no AEAD: a restricted mbedTLS.
        (
            &["--suites", "c013", "--extension", "000d:0002 0401", "--extension", "000a:0002 0017"],
            [NO_SUITES, NO_SUITES, cbc, cbc],
        ),
    ];
    for (arguments, expected) in table {
        assert_eq!(at_every_level(arguments).await, expected, "{arguments:?}");
    }
}

#[tokio::test]
async fn p256_is_taken_whenever_the_client_names_no_group() {
    let mut server = server(Compat::RsaKx).await;
    for arguments in [
        &["--variant", "cc3220sf-1"][..],
        &["--variant", "old-wolfssl-cbc"],
        &["--variant", "tls10-bare", "--suites", "c014"],
        &["--variant", "tls10-bare", "--suites", "c013", "--version", "0302"],
    ] {
        let (done, text) = server.device(arguments).await;
        assert!(done && text.contains("curve: secp256r1"), "{arguments:?}: {text}");
        server.session().await;
    }
}

#[test]
fn what_is_broken_for_good_is_refused_at_every_level() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let acceptors = Compat::ALL.map(acceptor);
    // RC4, 3DES, DES, export, NULL, anonymous, finite-field Diffie-Hellman; with all groups and none.
    let broken = [
        0x0004, 0x0005, 0xc011, 0x000a, 0xc012, 0x0009, 0x0003, 0x0006, 0x0008, 0x0001, 0x0002, 0x003b,
        0xc010, 0x0034, 0x003a, 0xc018, 0xc019, 0x0018, 0x0033, 0x0039, 0x009e,
    ];
    let groups = [extension(10, &[0, 2, 0, 23]), extension(13, &[0, 2, 4, 1])];
    let lists = broken.iter().map(|suite| vec![*suite]).chain([broken.to_vec()]);
    for suites in lists {
        for version in [0x0303, 0x0302, 0x0301] {
            for extensions in [&groups[..], &[]] {
                let bytes = hello(version, &suites, extensions);
                for acceptor in &acceptors {
                    assert_eq!(answer(&runtime, acceptor, &bytes), 21, "{suites:04x?} in {version:04x}");
                }
            }
        }
    }
    let ssl3 = hello(0x0300, &[0x0035, 0x002f, 0x000a], &[]);
    assert!(acceptors.iter().all(|acceptor| answer(&runtime, acceptor, &ssl3) == 21));
}

#[tokio::test]
async fn a_weak_suite_beside_a_good_one_is_never_taken_in_whatever_order() {
    let mut server = server(Compat::RsaKx).await;
    for (good, version) in [
        ("0035", "0303"),
        ("002f", "0303"),
        ("c013", "0303"),
        ("c030", "0303"),
        ("0035", "0301"),
        ("c014", "0301"),
    ] {
        for weak in ["000a", "c012", "0005", "c011"] {
            for suites in [format!("{weak} {good}"), format!("{good} {weak}")] {
                let (done, text) = server
                    .device(&["--variant", "rsa-kx-bare", "--suites", &suites, "--version", version])
                    .await;
                assert!(done, "{suites}: {text}");
                let cipher = server.session().await.cipher;
                assert!(cipher.contains("_AES_"), "{suites}: {cipher}");
            }
        }
    }
}

#[tokio::test]
async fn modern_clients_stay_on_rustls_at_every_level() {
    for level in Compat::ALL {
        let mut server = server(level).await;
        for flag in ["-tls1_2", "-tls1_3"] {
            let (done, text) = server.openssl(&[flag], "x\n").await;
            assert!(done, "{text}");
            let session = server.session().await;
            assert_eq!((session.stack, session.is_weak()), (Stack::Modern, false), "{flag} at {level}");
        }
        // It offers static RSA, CBC and TLS 1.0 too.
        let (done, text) = server.openssl(&["-cipher", "ALL:@SECLEVEL=0", "-no_tls1_3"], "").await;
        assert!(done, "{text}");
        assert_eq!(server.session().await.stack, Stack::Modern, "at {level}");
    }
}

#[tokio::test]
async fn garbage_under_cbc_or_static_rsa_is_answered_late_and_within_the_handshake_timeout() {
    let mut server = server(Compat::RsaKx).await;
    for _ in 0..3 {
        let (done, text) = server.device(&["--variant", "rsa-kx-bare", "--garble"]).await;
        let seconds = text.split("answered after ").nth(1).and_then(|rest| rest.split(' ').next());
        let seconds: f64 = seconds.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
        assert!(!done && (0.99..4.5).contains(&seconds), "{seconds} s");
        let failure = server.failure().await;
        assert!(matches!(failure, Failure::Handshake { stack: Stack::Compat, .. }), "{failure}");
    }
    // An alert is no secret, and is not late.
    let since = std::time::Instant::now();
    server.device(&["--variant", "rsa-kx-bare", "--refuse", "48"]).await;
    assert!(matches!(server.failure().await, Failure::Alert(_)) && since.elapsed().as_secs() < 10);
}
