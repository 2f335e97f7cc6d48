//! Certificates that are not what they must be, at the socket: each on both stacks, each with its reason.

use crate::{
    handshakes::shown,
    harness::{Engine, Server, Site, eventually, run_tool},
    pki::{
        Card, OPTIONAL, READING, STACKS, Talk, TestCa, plain, refusal, self_signed, self_signed_with, sql,
    },
};
use m0v::{store::devices::Role, tls::certificate_id};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SerialNumber,
    date_time_ymd,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::fs;

on_both_stores![
    a_way_through_other_cas_is_judged,
    what_a_certificate_must_not_be_it_must_not_be_listed_either,
    a_v1_certificate_counts_by_its_fingerprint_alone,
    a_name_that_is_none_registers_nobody,
    certificates_are_told_apart_by_fingerprint,
];

/// The number of the connection that failed last, and why.
fn last_failure(server: &Server<'_>) -> (u64, String) {
    shown(server).first().map_or((0, String::new()), |failed| {
        let number = failed["connection"].as_u64().expect("a number");
        (number, failed["reason"].as_str().expect("a reason").to_owned())
    })
}

/// Insists that a card is not accepted, for this reason; what it is told in words, if anything.
fn refused(server: &Server<'_>, card: &Card, stack: &[&str], reason: &str) -> Option<String> {
    let (before, _) = last_failure(server);
    let said = refusal(server, Some(card), stack);
    assert_ne!(said.as_deref(), Some("Thank you"), "{stack:?}: {reason}");
    let (_, found) = eventually(reason, || Some(last_failure(server)).filter(|(number, _)| *number > before));
    assert_eq!(found, reason, "{stack:?}: {said:?}");
    said
}

fn valid((from, to): (i32, i32)) -> impl FnOnce(&mut CertificateParams) {
    move |params| (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1))
}

const PAST: (i32, i32) = (2020, 2021);
const FUTURE: (i32, i32) = (2100, 2101);

fn a_way_through_other_cas_is_judged(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let root = TestCa::new("root");
    let short = TestCa::with("short", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    root.register(&site, true);
    short.register(&site, true);
    let no_signer = |params: &mut CertificateParams| params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let for_servers = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let good = root.sub("good", plain);
    let table = [
        (root.sub("past", valid(PAST)), "expired", "is from a CA whose certificate expired on 2021"),
        (root.sub("future", valid(FUTURE)), "not-yet-valid", "is from a CA whose certificate is not valid"),
        (short.sub("deep", plain), "path-too-long", "is further from its CA than that allows"),
        (root.sub("no signer", no_signer), "wrong-usage", "has a keyUsage without keyCertSign"),
        (root.sub("for servers", for_servers), "wrong-usage", "has an extendedKeyUsage without clientAuth"),
        (root.sub("no ca", |params| params.is_ca = IsCa::ExplicitNoCa), "signed-by-leaf", "no CA's"),
        (TestCa::new("root"), "bad-signature", "has a signature that is wrong"),
        (TestCa::new("another"), "unknown-ca", "is neither listed nor signed by a registered CA"),
    ];
    for (number, stack) in STACKS.into_iter().enumerate() {
        let card = good.issue(site.folder(), &format!("d{number}"));
        Talk::to_meter(&server, Some(&card), stack).thanked(READING);
        // Now it is listed, and what vouched for it is not needed any more.
        Talk::to_meter(&server, Some(&Card { chain: None, ..card }), stack).thanked(READING);
        let unproven = Card { chain: None, ..good.issue(site.folder(), "unproven") };
        refused(&server, &unproven, stack, "unknown-ca");
        for (ca, reason, words) in &table {
            let card = ca.issue(site.folder(), &format!("d{number}-{reason}"));
            let said = refused(&server, &card, stack, reason).expect("words");
            assert!(said.starts_with("!OK the certificate ") && said.contains(words), "{stack:?}: {said}");
        }
    }
    assert_eq!(sql(&site, "SELECT count(*) FROM device"), STACKS.len().to_string());
}

fn what_a_certificate_must_not_be_it_must_not_be_listed_either(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let folder = site.folder();
    let ca = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let agrees = |params: &mut CertificateParams| params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    let for_servers = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let table = [
        (self_signed_with(folder, "past", valid(PAST)), "expired"),
        (self_signed_with(folder, "future", valid(FUTURE)), "not-yet-valid"),
        (self_signed_with(folder, "ca", ca), "is-ca"),
        (self_signed_with(folder, "agrees", agrees), "wrong-usage"),
        (self_signed_with(folder, "for servers", for_servers), "wrong-usage"),
    ];
    for (card, reason) in &table {
        card.list(&site, &card.id, Role::Device);
        for stack in STACKS {
            let said = refused(&server, card, stack, reason);
            // rustls has an alert for it, s2n-tls leaves it to words.
            assert_eq!(said.is_some(), stack == STACKS[2], "{reason}: {said:?}");
        }
    }
    let weak = openssl(&site, "weak", "req -x509 -newkey rsa:1024 -nodes -keyout weak.key -subj /CN=weak");
    weak.list(&site, "weak", Role::Device);
    for stack in [
        &["-tls1_3", "-cipher", "DEFAULT:@SECLEVEL=0"][..],
        &["-tls1_2", "-cipher", "DEFAULT:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"],
    ] {
        assert_eq!(refused(&server, &weak, stack, "certificate-key"), None);
    }
    assert_eq!(sql(&site, "SELECT count(*) FROM packet"), "0");
}

/// A certificate that openssl makes in the site's folder, with its key in `NAME.key`.
fn openssl(site: &Site, name: &str, command: &str) -> Card {
    let cert = site.folder().join(format!("{name}.pem"));
    let script = format!("cd '{}' && openssl {command} -out {name}.pem", site.folder().display());
    run_tool("sh", &["-c", &script]).succeeded();
    let pem = fs::read_to_string(&cert).expect("reads a certificate");
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    Card { id: certificate_id(&der), pem, cert, key: site.folder().join(format!("{name}.key")), chain: None }
}

fn a_v1_certificate_counts_by_its_fingerprint_alone(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let request = |name: &str| {
        let new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(&site, "ca", &format!("req -x509 {new} -keyout ca.key -subj /CN=ca"));
        format!("req {new} -keyout {name}.key -subj /CN={name} | openssl x509 -req -days 30")
    };
    let own = openssl(&site, "own", &format!("{} -signkey own.key", request("own")));
    let version = run_tool("openssl", &["x509", "-noout", "-text", "-in", own.cert.to_str().expect("text")]);
    assert!(version.succeeded().contains("Version: 1 "));
    for stack in STACKS {
        refused(&server, &own, stack, "old-version");
    }
    own.list(&site, "own", Role::Device);
    for stack in STACKS {
        Talk::to_meter(&server, Some(&own), stack).thanked(READING);
    }
    let of_ca = format!("{} -CA ca.pem -CAkey ca.key -set_serial 7", request("d1"));
    let of_ca = openssl(&site, "d1", &of_ca);
    site.run(&["ca", "add", site.folder().join("ca.pem").to_str().expect("text")]).succeeded();
    for stack in STACKS {
        let said = refused(&server, &of_ca, stack, "old-version");
        let words =
            "!OK the certificate is of X.509 version 1; such a one counts only if it is listed itself";
        assert_eq!(said.as_deref(), Some(words));
    }
    assert_eq!(sql(&site, "SELECT device_id FROM device"), "own");
}

fn a_name_that_is_none_registers_nobody(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let ca = TestCa::new("factory");
    ca.register(&site, true);
    for stack in STACKS {
        for name in ["x".repeat(10 * 1024).as_str(), "a\nb", "a\u{7f}b", "\u{202e}b", "tab\there"] {
            let said = refused(&server, &ca.issue(site.folder(), name), stack, "bad-name").expect("words");
            assert!(said.starts_with("!OK the certificate has a CN that "), "{said}");
        }
    }
    assert_eq!(sql(&site, "SELECT count(*) FROM device"), "0");
    assert!(!server.stderr().contains("xxxxxxxx"), "nothing of a certificate is repeated");
}

fn certificates_are_told_apart_by_fingerprint(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let ca = TestCa::new("factory");
    ca.register(&site, true);
    let one = |params: &mut CertificateParams| params.serial_number = Some(SerialNumber::from(1_u64));
    let (first, second) = (ca.issue_with(site.folder(), "d1", one), ca.issue_with(site.folder(), "d2", one));
    let listed = self_signed_with(site.folder(), "d3", one);
    let pub_id = listed.list(&site, "d3", Role::Device);
    for stack in STACKS {
        for card in [&first, &second, &listed] {
            Talk::to_meter(&server, Some(card), stack).thanked(READING);
        }
        // The name of one that is listed, and nothing else of it.
        refused(&server, &self_signed(site.folder(), "d3"), stack, "unknown-ca");
    }
    assert_eq!(sql(&site, "SELECT count(DISTINCT pub_id) FROM packet"), "3");
    assert_eq!(sql(&site, &format!("SELECT count(*) FROM packet WHERE pub_id = {pub_id}")), "3");
}
