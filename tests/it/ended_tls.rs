//! What a PROXY header v2 tells of TLS that the balancer ended: whose certificate it saw, and who is judged by it.

use crate::client::{Client, ends};
use crate::harness::{Engine, Site, eventually};
use crate::pki::{Card, READING, TestCa, self_signed, sql};
use crate::proxied::{behind, failure, open, v2_for};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m0v::store::devices::Role;
use std::io::Write as _;

/// A TLV, to be nested in another or not.
fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &u16::try_from(value.len()).expect("fits").to_be_bytes()[..], value].concat()
}

/// What a balancer tells of TLS that it ended: its flags, no error, the common name, and more.
fn ended_tls(flags: u8, more: &[u8]) -> Vec<u8> {
    tlv(0x20, &[&[flags, 0, 0, 0, 0], &tlv(0x22, b"d1")[..], more].concat())
}

/// It ends TLS and begins it anew: the certificate that counts is in the header, and not in its TLS.
#[test]
fn a_balancer_that_begins_tls_anew_shows_no_certificate_of_its_own() {
    let required = behind("v2", "").replace("[meter]", "[meter]\nclient_cert = \"required\"");
    let site = Site::with(Engine::Embedded, &required);
    let server = site.start();
    let known = self_signed(site.folder(), "d1");
    known.list(&site, "d1", Role::Device);
    let der = pem::parse(&known.pem).expect("PEM").into_contents();
    let told = |tlvs: &[u8]| {
        let socket = open(server.meter_addr(), &v2_for("203.0.113.9:40001", tlvs));
        Client::over(socket, &server.ca_pem()).and_then(|mut client| {
            client.send(READING);
            client.next_reply()
        })
    };
    assert_eq!(told(&ended_tls(0x07, &tlv(0x28, &der))).expect("a reply").as_deref(), Some("Thank you"));
    let without = told(&ended_tls(0x01, b"")).expect("a reply").expect("a reply");
    assert_eq!(without, "!OK this port needs a client certificate");
    // The client's own TLS, passed through: the handshake wants one.
    assert!(told(b"").is_err());
    failure(&server, "certificate");
}

#[test]
fn a_certificate_that_a_balancer_hands_on_is_judged_like_one_of_a_handshake() {
    const PRESENTED: u8 = 0x07;
    let plain = behind("v2", "").replace("[meter]", "[meter]\ntls = false\nclient_cert = \"required\"");
    let site = Site::with(Engine::Embedded, &plain);
    let server = site.start_with_device();
    let (known, unknown) = (self_signed(site.folder(), "d1"), self_signed(site.folder(), "d1"));
    let own = known.list(&site, "d1", Role::Device);
    let der = |card: &Card| pem::parse(&card.pem).expect("PEM").into_contents();
    let answer = |tlvs: &[u8]| {
        let mut socket = open(server.meter_addr(), &v2_for("203.0.113.9:40001", tlvs));
        socket.write_all(format!("{READING}\n").as_bytes()).ok();
        socket.shutdown(std::net::Shutdown::Write).ok();
        String::from_utf8(ends(socket)).expect("text")
    };
    for tlvs in [
        ended_tls(PRESENTED, &tlv(0x28, &der(&known))),
        [ended_tls(PRESENTED, b""), tlv(0xe5, &der(&known))].concat(),
        tlv(0xe5, &der(&known)),
        tlv(0xe5, STANDARD.encode(der(&known)).as_bytes()),
    ] {
        assert_eq!(answer(&tlvs), "Thank you\n");
    }
    assert_eq!(sql(&site, "SELECT DISTINCT pub_id FROM packet"), own.to_string());
    for (tlvs, words) in [
        (Vec::new(), "this port needs a client certificate"),
        (ended_tls(0x01, b""), "this port needs a client certificate"),
        (ended_tls(PRESENTED, b""), "the balancer saw a certificate, but does not hand it on"),
        (ended_tls(PRESENTED, &tlv(0x28, &der(&unknown))), "neither listed nor signed by a registered CA"),
        (ended_tls(PRESENTED, &tlv(0x28, b"junk")), "!OK the certificate"),
    ] {
        let said = answer(&tlvs);
        assert!(said.starts_with("!OK ") && said.contains(words), "{said:?} instead of {words:?}");
    }
    assert_eq!(site.packets().len(), 4);
    let log = server.stderr();
    assert!(log.contains("the client certificate of CN \"d1\", which the balancer found good"), "{log}");
    answer(
        &[ended_tls(
            PRESENTED,
            &[tlv(0x21, b"TLSv1.2"), tlv(0x23, b"ECDHE-x"), tlv(0x28, &der(&known))].concat(),
        )]
        .concat(),
    );
    eventually("the log to tell of the balancer's TLS", || {
        server.stderr().contains("via 127.0.0.1:").then_some(())?;
        server.stderr().contains(": plain (TLSv1.2 ECDHE-x at the balancer), 1 thanked").then_some(())
    });
    assert_eq!(site.packets().len(), 5);
    // Half of one, as HAProxy sends it when told to send DER.
    assert_eq!(answer(&tlv(0xe5, &der(&known)[..40])), "");
    failure(&server, "%[ssl_c_der,base64]");

    let ca = TestCa::new("ca");
    ca.register(&site, true);
    let new = ca.issue(site.folder(), "d2");
    assert_eq!(
        answer(&ended_tls(PRESENTED, &tlv(0x28, &der(&new)))),
        "Thank you\n",
        "registered just in time"
    );
}
