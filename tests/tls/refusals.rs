//! Client certificates that end the handshake: in words here, by an alert there.

use std::sync::Arc;

use m0v::tls::{AcceptorOptions, ClientAuth, Compat, Peer, PeerCheck, Refusal, RefusalAlert};
use proptest::collection;
use proptest::prelude::*;
use proptest::sample::Index;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};

use crate::identities::{IDENTITIES, Identity, Liar, rsa_public_key};
use crate::server::Server;

fn required(compat: Compat) -> AcceptorOptions {
    AcceptorOptions { client_auth: ClientAuth::Required, compat, ..Default::default() }
}

async fn device(server: &Server, identity: &Identity) -> (bool, String) {
    let arguments = identity.arguments("--");
    let mut words = vec!["--variant", "cc3220sf-1", "--line", "line"];
    words.extend(arguments.iter().map(String::as_str));
    server.device(&words).await
}

#[tokio::test]
async fn who_must_present_a_certificate_and_does_not_is_told_so() {
    let mut server = Server::start(required(Compat::Cbc)).await;
    let table: [(&[&str], &str); 3] = [
        (&["-tls1_3"], "SSL alert number 116"),
        (&["-tls1_2"], "SSL alert number 116"),
        // s2n-tls says no more than close_notify, on purpose.
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"], "closed"),
    ];
    for (flags, said) in table {
        let (_, text) = server.openssl(flags, "line\n").await;
        assert!(text.contains(said) && !text.lines().any(|line| line == "line"), "{flags:?}: {text}");
        let failure = server.failure().await;
        assert_eq!(failure.label(), "no-certificate");
        assert_eq!(
            failure.to_string(),
            "presented no client certificate, and this port has client_cert = \"required\""
        );
    }
    let (done, text) = server.device(&["--variant", "cc3220sf-1", "--line", "line"]).await;
    assert!(!done && text.contains("received alert 0 (close_notify)"), "{text}");
    assert_eq!(server.failure().await.label(), "no-certificate");
}

#[tokio::test]
async fn who_does_not_hold_the_key_is_refused_on_both_stacks() {
    let (mine, other) = (&IDENTITIES.rsa, &IDENTITIES.other);
    let mut server = Server::start(required(Compat::default())).await;
    for version in [&TLS12, &TLS13] {
        let liar = Liar { chain: vec![mine.der()], key: other.key.clone(), version };
        let said = liar.connect(&server).await.unwrap_err();
        assert!(said.contains("DecryptError"), "{said}");
        assert_eq!(server.failure().await.label(), "certificate-verify");
        // A key of another kind signs with another scheme.
        let liar = Liar { chain: vec![mine.der()], key: IDENTITIES.p256.key.clone(), version };
        assert!(liar.connect(&server).await.unwrap_err().contains("DecryptError"));
        assert_eq!(server.failure().await.label(), "certificate-verify");
    }
    let (done, text) = device(&server, &mine.with_key_of(other)).await;
    assert!(!done && text.contains("received alert 0 (close_notify)"), "{text}");
    let failure = server.failure().await;
    assert_eq!(failure.label(), "certificate-verify", "{failure}");
    assert!(failure.to_string().starts_with("does not hold the private key"), "{failure}");
}

/// Chains that are refused before anything is computed with their keys: name, chain, label, alert, words.
fn impossible() -> Vec<(&'static str, Vec<CertificateDer<'static>>, &'static str, &'static str, &'static str)>
{
    let ids = &*IDENTITIES;
    let leaf = ids.rsa.der();
    let huge = ids.certifying("huge", &rsa_public_key(16384, &[1, 0, 1]));
    let long_exponent =
        ids.certifying("exponent", &rsa_public_key(2048, &[[1; 255].as_slice(), &[1]].concat()));
    let even = ids.certifying("even", &rsa_public_key(2048, &[2]));
    let junk = CertificateDer::from(vec![0x30, 3, 2, 1, 1]);
    let trailing = CertificateDer::from([&leaf[..], &[0]].concat());
    let cut = CertificateDer::from(leaf[..leaf.len() - 1].to_vec());
    let padding = CertificateDer::from(vec![0; 8 * 1024]);
    let (bad, unsupported) = ("BadCertificate", "UnsupportedCertificate");
    vec![
        ("weak", vec![ids.weak.der()], "certificate-key", unsupported, "an RSA key of 1024 bits"),
        ("huge", vec![huge], "certificate-key", unsupported, "an RSA key of 16384 bits"),
        ("exponent", vec![long_exponent], "certificate-key", unsupported, "an RSA exponent of 2041 bits"),
        ("even", vec![even], "bad-certificate", bad, "even or 1"),
        ("junk", vec![junk], "bad-certificate", bad, "cannot be read"),
        ("trailing", vec![trailing], "bad-certificate", bad, "bytes after its end"),
        ("cut", vec![cut], "bad-certificate", bad, "cannot be read"),
        ("many", vec![leaf.clone(); 6], "certificate-chain", bad, "a chain of 6 certificates; at most 5"),
        ("long", vec![leaf, padding.clone(), padding], "certificate-chain", bad, "bytes; at most 16384"),
    ]
}

#[tokio::test]
async fn chains_and_keys_that_cannot_be_right_are_refused_before_they_cost_anything() {
    let mut server = Server::start(required(Compat::default())).await;
    for (name, chain, label, alert, words) in impossible() {
        for version in [&TLS12, &TLS13] {
            let liar = Liar { chain: chain.clone(), key: IDENTITIES.rsa.key.clone(), version };
            let said = liar.connect(&server).await.unwrap_err();
            assert!(said.contains(alert), "{name}: {said}");
            let failure = server.failure().await;
            assert_eq!(failure.label(), label, "{name}: {failure}");
            assert!(failure.to_string().contains(words), "{name}: {failure}");
        }
    }
}

/// There is no place to bound a key before s2n-tls computes with it: libcrypto's bounds hold, then ours.
#[tokio::test]
async fn keys_and_chains_that_cannot_be_right_are_refused_on_s2n_tls_too() {
    let ids = &*IDENTITIES;
    let many = ids.chain("many", &[&ids.rsa, &ids.rsa, &ids.rsa, &ids.rsa, &ids.rsa, &ids.rsa]);
    let huge = ids.certified("huge-2", &rsa_public_key(16384, &[1, 0, 1]));
    let long_exponent =
        ids.certified("exponent-2", &rsa_public_key(2048, &[[1; 255].as_slice(), &[1]].concat()));
    let even = ids.certified("even-2", &rsa_public_key(2048, &[2]));
    let table = [
        (&ids.weak, "certificate-key"),
        (&many, "certificate-chain"),
        (&huge, "certificate-verify"),
        (&long_exponent, "bad-certificate"),
        (&even, "bad-certificate"),
    ];
    let mut server = Server::start(required(Compat::default())).await;
    for (identity, label) in table {
        let (done, text) = device(&server, identity).await;
        assert!(!done, "{text}");
        let failure = server.failure().await;
        assert_eq!(failure.label(), label, "{failure}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_the_reading_of_a_certificate(
        changes in collection::vec((any::<Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let mut der = IDENTITIES.rsa.der().to_vec();
        for (at, byte) in changes {
            let at = at.index(der.len());
            der[at] = byte;
        }
        if let Some(cut) = cut {
            der.truncate(cut.index(der.len()));
        }
        if let Err(fault) = Peer::from_chain(vec![der.into()]).unwrap().examine() {
            prop_assert!(fault.to_string().len() < 300, "{}", fault);
        }
    }
}

/// Refuses every certificate in one way.
#[derive(Debug)]
struct Refuse(RefusalAlert);

impl PeerCheck for Refuse {
    fn check(&self, peer: &Peer) -> Result<(), Refusal> {
        assert_eq!(peer.certificate_id, IDENTITIES.rsa.id());
        Err(Refusal { alert: self.0, label: "as-told", words: "was never wanted".to_owned() })
    }
}

#[tokio::test]
async fn a_check_refuses_inside_the_handshake_with_its_alert() {
    let table = [
        (RefusalAlert::BadCertificate, "BadCertificate"),
        (RefusalAlert::UnsupportedCertificate, "UnsupportedCertificate"),
        (RefusalAlert::CertificateRevoked, "CertificateRevoked"),
        (RefusalAlert::CertificateExpired, "CertificateExpired"),
        (RefusalAlert::CertificateUnknown, "CertificateUnknown"),
        (RefusalAlert::UnknownCa, "UnknownCA"),
        (RefusalAlert::AccessDenied, "AccessDenied"),
    ];
    for (alert, word) in table {
        let options = AcceptorOptions {
            client_auth: ClientAuth::Optional,
            peer_check: Some(Arc::new(Refuse(alert))),
            ..Default::default()
        };
        let mut server = Server::start(options).await;
        for version in [&TLS12, &TLS13] {
            let (chain, key) = (vec![IDENTITIES.rsa.der()], IDENTITIES.rsa.key.clone());
            let said = Liar { chain, key, version }.connect(&server).await.unwrap_err();
            assert!(said.contains(word), "{alert:?}: {said}");
            let failure = server.failure().await;
            assert_eq!(failure.label(), "as-told");
            assert_eq!(failure.to_string(), "presented a client certificate that was never wanted");
        }
        // It is asked about certificates, not about their absence.
        let (done, text) = server.openssl(&["-tls1_2"], "").await;
        assert!(done, "{text}");
        assert_eq!(server.session().await.peer, None);
    }
}

#[test]
fn a_chain_that_came_another_way_is_bounded_alike() {
    for (name, chain, label, ..) in impossible() {
        let fault = Peer::from_chain(chain).unwrap().examine().unwrap_err();
        assert_eq!(fault.label(), label, "{name}: {fault}");
    }
    for identity in [&IDENTITIES.rsa, &IDENTITIES.v1, &IDENTITIES.p256, &IDENTITIES.ed25519] {
        assert_eq!(Peer::from_chain(vec![identity.der()]).unwrap().examine(), Ok(()));
    }
}
