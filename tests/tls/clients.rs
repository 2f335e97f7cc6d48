//! Devices that present a certificate, on both stacks, with their own TLS libraries.

use m0v::tls::{AcceptorOptions, ClientAuth, Compat, Session, Stack};

use crate::identities::{IDENTITIES, Identity};
use crate::server::{Server, ca, meter_clients};

fn options(client_auth: ClientAuth, compat: Compat) -> AcceptorOptions {
    AcceptorOptions { client_auth, compat, ..Default::default() }
}

/// How to play a device that has a certificate.
#[derive(Clone, Copy)]
enum Device {
    OpenSsl(&'static [&'static str]),
    /// A meter client of `firmware-notes/`.
    Meter(&'static str, &'static [&'static str]),
    /// `hello_client.py`: the CC3220SF's own hello.
    Hello(&'static [&'static str]),
}

impl Device {
    async fn present(self, server: &Server, identity: &Identity) -> (bool, String) {
        let words = |dash: &str, before: &[&str]| -> Vec<String> {
            let before = before.iter().map(|word| (*word).to_owned());
            before.chain(identity.arguments(dash)).collect()
        };
        let refs = |words: &[String]| -> Vec<String> { words.to_vec() };
        match self {
            Self::OpenSsl(flags) => {
                let words = refs(&words("-", flags));
                server.openssl(&words.iter().map(String::as_str).collect::<Vec<_>>(), "line\n").await
            }
            Self::Meter(program, flags) => {
                let path = meter_clients().join(program);
                let common = ["--host", "localhost", "--port", "{port}", "--ca", "{ca}", "--count", "1"];
                let words = words("--", &[&[path.to_str().unwrap()], flags, &common].concat());
                server.client(&words.iter().map(String::as_str).collect::<Vec<_>>()).await
            }
            Self::Hello(flags) => {
                let words =
                    words("--", &[flags, &["--ca", ca().to_str().unwrap(), "--line", "line"]].concat());
                server.device(&words.iter().map(String::as_str).collect::<Vec<_>>()).await
            }
        }
    }
}

const CBC_SUITE: &str = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";

const DEVICES: &[(Device, Compat, Stack, &str)] = &[
    (Device::OpenSsl(&["-tls1_3"]), Compat::Strict, Stack::Modern, "TLSv1.3"),
    (Device::OpenSsl(&["-tls1_2"]), Compat::Strict, Stack::Modern, "TLSv1.2"),
    (Device::OpenSsl(&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"]), Compat::Cbc, Stack::Compat, "TLSv1.2"),
    (Device::OpenSsl(&["-tls1_2", "-cipher", "AES256-SHA"]), Compat::RsaKx, Stack::Compat, "TLSv1.2"),
    (
        Device::OpenSsl(&["-tls1", "-cipher", "AES256-SHA:@SECLEVEL=0"]),
        Compat::RsaKx,
        Stack::Compat,
        "TLSv1.0",
    ),
    (Device::Meter("mbedtls-client", &[]), Compat::Cc3220, Stack::Modern, "TLSv1.2"),
    (
        Device::Meter("mbedtls-client", &["--groups", "secp256r1", "--cipher", CBC_SUITE]),
        Compat::Cbc,
        Stack::Compat,
        "TLSv1.2",
    ),
    (
        Device::Meter("mbedtls-client", &["--tls10", "--cipher", "TLS_RSA_WITH_AES_256_CBC_SHA"]),
        Compat::RsaKx,
        Stack::Compat,
        "TLSv1.0",
    ),
    (Device::Meter("wolfssl-client", &[]), Compat::Cc3220, Stack::Modern, "TLSv1.3"),
    (Device::Meter("wolfssl-client", &["--tls12"]), Compat::Cc3220, Stack::Modern, "TLSv1.2"),
    (
        Device::Meter("wolfssl-client", &["--tls12", "--groups", "secp256r1", "--cipher", CBC_SUITE]),
        Compat::Cbc,
        Stack::Compat,
        "TLSv1.2",
    ),
    (Device::Hello(&["--variant", "cc3220sf-1"]), Compat::Cc3220, Stack::Compat, "TLSv1.2"),
    (Device::Hello(&["--variant", "cc3220sf-2"]), Compat::Cc3220, Stack::Modern, "TLSv1.2"),
    (Device::Hello(&["--variant", "cc3220sf-3"]), Compat::Cc3220, Stack::Compat, "TLSv1.2"),
    (Device::Hello(&["--variant", "rsa-kx-bare"]), Compat::RsaKx, Stack::Compat, "TLSv1.2"),
];

async fn presented(device: Device, compat: Compat, identity: &Identity) -> Session {
    let mut server = Server::start(options(ClientAuth::Required, compat)).await;
    let (_, text) = device.present(&server, identity).await;
    let outcome = server.outcome().await;
    outcome.unwrap_or_else(|failure| panic!("at {compat} the peer {failure}: {text}"))
}

#[tokio::test]
async fn every_device_presents_its_certificate_on_the_stack_that_serves_it() {
    for (at, (device, compat, stack, version)) in DEVICES.iter().enumerate() {
        let session = presented(*device, *compat, &IDENTITIES.rsa).await;
        assert_eq!((session.stack, session.version), (*stack, *version), "device {at}");
        let peer = session.peer.unwrap_or_else(|| panic!("device {at} presented nothing"));
        assert_eq!(peer.certificate_id, IDENTITIES.rsa.id(), "device {at}");
        assert_eq!(peer.chain, [IDENTITIES.rsa.der()], "device {at}");
    }
}

#[tokio::test]
async fn v1_expired_and_p256_certificates_are_handed_over_by_both_stacks() {
    let ids = &*IDENTITIES;
    let modern = [Device::OpenSsl(&["-tls1_3"]), Device::OpenSsl(&["-tls1_2"])];
    let old = Device::OpenSsl(&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"]);
    for identity in [&ids.v1, &ids.expired, &ids.p256] {
        for device in modern.into_iter().chain([old]) {
            let peer = presented(device, Compat::Cbc, identity).await.peer.unwrap();
            assert_eq!(peer.certificate_id, identity.id());
        }
    }
    for identity in [&ids.v1, &ids.expired] {
        let session = presented(Device::Hello(&["--variant", "cc3220sf-1"]), Compat::Cc3220, identity).await;
        assert_eq!((session.stack, session.peer.unwrap().certificate_id), (Stack::Compat, identity.id()));
    }
    for device in modern {
        let peer = presented(device, Compat::Strict, &ids.ed25519).await.peer.unwrap();
        assert_eq!(peer.certificate_id, ids.ed25519.id());
    }
}

#[tokio::test]
async fn a_certificate_is_asked_for_without_naming_a_ca_and_only_where_it_is_wanted() {
    for (auth, asked) in
        [(ClientAuth::Off, false), (ClientAuth::Optional, true), (ClientAuth::Required, true)]
    {
        for flags in [&["-tls1_3"][..], &["-tls1_2"], &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"]] {
            let mut server = Server::start(options(auth, Compat::Cbc)).await;
            let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
            let words: Vec<String> = flags.into_iter().chain(IDENTITIES.rsa.arguments("-")).collect();
            let (_, text) = server.openssl(&words.iter().map(String::as_str).collect::<Vec<_>>(), "").await;
            assert_eq!(server.session().await.peer.is_some(), asked, "{auth:?} {words:?}");
            assert!(text.contains("No client certificate CA names sent"), "{text}");
            assert_eq!(text.contains("Requested Signature Algorithms"), asked, "{auth:?}: {text}");
        }
    }
}

#[tokio::test]
async fn who_has_no_certificate_is_served_where_it_is_optional() {
    let mut server = Server::start(options(ClientAuth::Optional, Compat::Cbc)).await;
    for flags in [&["-tls1_3"][..], &["-tls1_2"], &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"]] {
        let (done, text) = server.openssl(flags, "line\n").await;
        assert!(done && text.lines().any(|line| line == "line"), "{text}");
        assert_eq!(server.session().await.peer, None);
    }
    for variant in ["cc3220sf-1", "cc3220sf-2", "cc3220sf-3"] {
        let (done, text) = server.device(&["--variant", variant, "--line", "line"]).await;
        assert!(done, "{text}");
        assert_eq!(server.session().await.peer, None);
    }
}
