//! What is revoked ends: at the next handshake, with a ticket, while connected, on every node.

use crate::{
    admin,
    harness::{Engine, Server, Site, eventually},
    http::{VERSIONS, Version, curl},
    pki::{Card, OPTIONAL, READING, STACKS, Talk, TestCa, beside, refusal, self_signed},
};
use m0v::store::devices::{Revocation, Role};

on_both_stores![
    what_is_revoked_ends_while_it_is_connected,
    a_revoked_ca_takes_its_devices_with_it,
    an_http_connection_ends_with_its_certificate,
    the_api_refuses_every_request_of_a_bad_certificate,
];

const REVOKED: &str = "!OK the certificate is revoked";

fn revoke(site: &Site, what: &Revocation) {
    let ended = beside(site, async |store| store.revoke(what, "test").await.expect("a database"));
    assert!(ended.is_some_and(|ended| ended > 0), "{what:?}: {ended:?}");
}

/// Refused at the handshake: with an alert on rustls, in words on s2n-tls.
fn stays_out(server: &Server<'_>, card: &Card) {
    for stack in STACKS {
        let said = refusal(server, Some(card), stack);
        assert!(said.as_deref().is_none_or(|said| said == REVOKED), "{stack:?}: {said:?}");
    }
    assert_eq!(refusal(server, Some(card), STACKS[2]).as_deref(), Some(REVOKED));
}

fn what_is_revoked_ends_while_it_is_connected(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let (lost, sold, kept) = (
        self_signed(site.folder(), "lost"),
        self_signed(site.folder(), "sold"),
        self_signed(site.folder(), "kept"),
    );
    for (card, device) in [(&lost, "lost"), (&sold, "sold"), (&kept, "kept")] {
        card.list(&site, device, Role::Device);
    }
    let mut kept_talks: Vec<_> = STACKS.map(|stack| Talk::to_meter(&server, Some(&kept), stack)).into();
    kept_talks.iter_mut().for_each(|talk| talk.thanked(READING));
    for (card, what) in
        [(&lost, Revocation::Certificate(lost.id.clone())), (&sold, Revocation::Device("sold".into()))]
    {
        let mut talks: Vec<_> = STACKS.map(|stack| Talk::to_meter(&server, Some(card), stack)).into();
        let held = r#"{"deviceName":"Movprov","ssid":"M0V","wait":60}"#;
        let mut waiting = Talk::open(&server, server.confirm_addr(), Some(card), STACKS[0]);
        assert_eq!(waiting.ask(r#"{"deviceName":"Movprov","ssid":"M0V"}"#).as_deref(), Some("Not found"));
        waiting.send(held);
        talks.iter_mut().for_each(|talk| talk.thanked(READING));
        revoke(&site, &what);
        talks.into_iter().for_each(Talk::ends);
        let said = waiting.line();
        assert!(said.as_deref().is_none_or(|said| said == "Not found"), "{said:?}");
        stays_out(&server, card);
    }
    kept_talks.iter_mut().for_each(|talk| talk.thanked(READING));
    eventually("the end in the log", || server.stderr().contains("certificate revoked").then_some(()));
}

fn a_revoked_ca_takes_its_devices_with_it(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let (ours, theirs) = (TestCa::new("ours"), TestCa::new("theirs"));
    ours.register(&site, true);
    theirs.register(&site, true);
    let (known, kept) = (ours.issue(site.folder(), "d1"), theirs.issue(site.folder(), "d2"));
    let mut talk = Talk::to_meter(&server, Some(&known), STACKS[1]);
    let mut stays = Talk::to_meter(&server, Some(&kept), STACKS[2]);
    talk.thanked(READING);
    stays.thanked(READING);
    revoke(&site, &Revocation::Ca(ours.id.clone()));
    talk.ends();
    stays_out(&server, &known);
    let unseen = ours.issue(site.folder(), "d3");
    let said = refusal(&server, Some(&unseen), STACKS[0]);
    assert_eq!(said.as_deref(), Some("!OK the certificate is from a CA that was revoked"));
    stays.thanked(READING);
}

fn an_http_connection_ends_with_its_certificate(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let card = self_signed(site.folder(), "d1");
    card.list(&site, "d1", Role::Device);
    let mut talk = Talk::open(&server, server.api_addr(), Some(&card), &["-tls1_2", "-crlf"]);
    talk.send("GET /confo/a/b HTTP/1.1\nHost: localhost\n");
    assert_eq!(talk.line().as_deref(), Some("HTTP/1.1 404 Not Found"));
    while talk.line().as_deref().is_some_and(|line| !line.is_empty()) {}
    revoke(&site, &Revocation::Certificate(card.id));
    let rest = talk.line();
    assert!(rest.as_deref().is_none_or(|rest| rest == "Not found"), "the answer, then the end: {rest:?}");
    talk.ends();
}

fn the_api_refuses_every_request_of_a_bad_certificate(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let card = self_signed(site.folder(), "d1");
    let shows = card.arguments("--");
    let shows: Vec<_> = shows.iter().map(String::as_str).collect();
    for version in VERSIONS {
        let answer = curl(&server, version, "/confo/a/b", &shows);
        let why = "the certificate is neither listed nor signed by a registered CA";
        assert_eq!(answer.refusal(401, "Unauthorized"), why);
    }
    card.list(&site, "d1", Role::Device);
    assert_eq!(curl(&server, Version::Http2, "/confo/a/b", &shows).status, 404);
    assert!(admin::get(&server, "/metrics").contains(r#"m0v_certificates_refused_total{port="api""#));
}

#[test]
fn a_change_on_one_node_is_in_force_on_the_other() {
    let site = Site::with(Engine::Postgres, OPTIONAL);
    let here = site.start();
    let url = site.database().expect("PostgreSQL").url();
    let other = Site::with(Engine::Embedded, &format!("[database]\nurl = '{url}'\n{OPTIONAL}"));
    let there = other.start();
    let ca = TestCa::new("factory");
    ca.register(&site, true);
    let card = ca.issue(site.folder(), "d1");
    let mut talks =
        [Talk::to_meter(&here, Some(&card), STACKS[0]), Talk::to_meter(&there, Some(&card), STACKS[2])];
    talks.iter_mut().for_each(|talk| talk.thanked(READING));
    revoke(&site, &Revocation::Device("d1".into()));
    talks.into_iter().for_each(Talk::ends);
    stays_out(&here, &card);
    stays_out(&there, &card);
}

#[test]
fn known_devices_are_served_while_the_database_is_away() {
    let site = Site::on_own_cluster(OPTIONAL);
    let server = site.start();
    let (card, fresh) = (self_signed(site.folder(), "d1"), self_signed(site.folder(), "d2"));
    card.list(&site, "d1", Role::Device);
    Talk::to_meter(&server, Some(&card), STACKS[0]).thanked(READING);
    fresh.list(&site, "d2", Role::Device);
    let stranger = self_signed(site.folder(), "x");
    let cluster = site.database().expect("PostgreSQL").cluster();
    cluster.stop();
    eventually("the outage", || admin::get(&server, "/metrics").contains("m0v_store_up 0\n").then_some(()));
    for stack in STACKS {
        Talk::to_meter(&server, Some(&card), stack).thanked(READING);
        let said = refusal(&server, Some(&stranger), stack);
        assert_eq!(said.as_deref(), Some("!OK database unavailable, try again"));
    }
    cluster.restart();
    eventually("recovery", || admin::get(&server, "/metrics").contains("m0v_store_up 1\n").then_some(()));
    Talk::to_meter(&server, Some(&fresh), STACKS[0]).thanked(READING);
}
