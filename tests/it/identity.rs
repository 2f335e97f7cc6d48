//! Who a device is, by its certificate: at the sockets, on both stacks.

use crate::{
    harness::{Engine, Site, eventually},
    pki::{Card, OPTIONAL, READING, STACKS, Talk, TestCa, beside, of_id, refusal, self_signed, sql},
};
use m0v::{device::NEW_PER_CA_AND_HOUR, store::devices::Role};

on_both_stores![
    a_listed_certificate_speaks_for_its_device_alone,
    an_id_with_a_certificate_is_accepted_only_over_it,
    a_service_speaks_for_any_device,
    an_unknown_certificate_is_refused_in_words_and_shown,
    a_device_of_a_registered_ca_is_registered_before_its_first_line,
    ten_connections_of_a_new_device_make_one_device,
    a_new_device_waits_until_it_is_approved,
    a_known_name_under_another_ca_is_refused,
    a_ca_brings_no_more_devices_than_its_share,
    a_port_that_requires_a_certificate_serves_nobody_without,
    a_confirmation_over_a_certificate_links_its_device,
    a_hash_that_somebody_owns_is_linked_only_in_his_name,
    a_ticket_is_judged_like_a_handshake,
];

const UNKNOWN: &str = "!OK the certificate is neither listed nor signed by a registered CA";

fn a_listed_certificate_speaks_for_its_device_alone(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start_with_device();
    let card = self_signed(site.folder(), "d1");
    let own = card.list(&site, "meter of the cellar", Role::Device);
    for stack in STACKS {
        let mut talk = Talk::to_meter(&server, Some(&card), stack);
        talk.thanked(READING);
        talk.thanked(&of_id(own));
        assert_eq!(talk.ask(&of_id(17)).as_deref(), Some("!OK id 17 is not this device's"));
        let by_hash = r#"{"hash":7,"status":true}"#;
        assert_eq!(talk.ask(by_hash).as_deref(), Some("!OK hash 7 is not this device's"));
        talk.thanked(READING);
    }
    let stacks = i64::try_from(STACKS.len()).expect("a few");
    assert_eq!(sql(&site, "SELECT count(*) FROM packet"), (3 * stacks).to_string());
    assert_eq!(sql(&site, "SELECT DISTINCT pub_id FROM packet"), own.to_string());
}

fn an_id_with_a_certificate_is_accepted_only_over_it(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let mut server = site.start_with_device();
    let card = self_signed(site.folder(), "d1");
    let own = card.list(&site, "d1", Role::Device);
    Talk::to_meter(&server, Some(&card), STACKS[0]).thanked(READING);
    let mut stranger = server.meter();
    assert_eq!(stranger.refused(of_id(own)), format!("id {own} needs its device's certificate"));
    stranger.thanked(of_id(17));
    assert_eq!(stranger.refused(READING), "id or hash is missing");

    site.configure("");
    server.restart();
    server.meter().thanked(of_id(own));
}

fn a_service_speaks_for_any_device(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start_with_device();
    let device = self_signed(site.folder(), "d1").list(&site, "d1", Role::Device);
    let service = self_signed(site.folder(), "s1");
    service.list(&site, "s1", Role::Service);
    let mut talk = Talk::to_meter(&server, Some(&service), STACKS[0]);
    talk.thanked(&of_id(17));
    talk.thanked(&of_id(device));
    assert_eq!(talk.ask(&of_id(99)).as_deref(), Some("!OK unknown id 99"));
}

fn an_unknown_certificate_is_refused_in_words_and_shown(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let card = self_signed(site.folder(), "d1");
    for stack in STACKS {
        assert_eq!(refusal(&server, Some(&card), stack).as_deref(), Some(UNKNOWN));
    }
    let shown = crate::admin::get(&server, "/handshakes");
    assert!(shown.contains(&card.id) && shown.contains("unknown-ca"), "{shown}");
    let metrics = crate::admin::get(&server, "/metrics");
    let counted = r#"m0v_certificates_refused_total{port="meter",reason="unknown-ca"} 3"#;
    assert!(metrics.contains(counted), "{metrics}");
    let warned =
        server.stderr().lines().filter(|line| line.contains("WARN") && line.contains(&card.id)).count();
    assert_eq!(warned, 1, "once a minute");
    card.list(&site, "d1", Role::Device);
    Talk::to_meter(&server, Some(&card), STACKS[0]).thanked(READING);
}

fn a_device_of_a_registered_ca_is_registered_before_its_first_line(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let ca = TestCa::new("factory");
    ca.register(&site, true);
    for (number, stack) in STACKS.into_iter().enumerate() {
        let name = format!("fresh {number}");
        Talk::to_meter(&server, Some(&ca.issue(site.folder(), &name)), stack).thanked(READING);
        let row = sql(&site, &format!("SELECT status, ca_id FROM device WHERE device_id = '{name}'"));
        assert_eq!(row, format!("active|{}", ca.id));
    }
    let nameless = ca.issue(site.folder(), "");
    Talk::to_meter(&server, Some(&nameless), STACKS[0]).thanked(READING);
    assert_eq!(sql(&site, &format!("SELECT count(*) FROM device WHERE device_id = '{}'", nameless.id)), "1");
    let audited = sql(&site, "SELECT count(*) FROM audit WHERE who = 'server' AND what = 'cert register'");
    assert_eq!(audited, "4");
}

fn ten_connections_of_a_new_device_make_one_device(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let ca = TestCa::new("factory");
    ca.register(&site, true);
    let card = ca.issue(site.folder(), "d1");
    let talks: Vec<_> = (0..10).map(|at| Talk::to_meter(&server, Some(&card), STACKS[at % 3])).collect();
    for mut talk in talks {
        talk.thanked(READING);
    }
    assert_eq!(sql(&site, "SELECT count(*) FROM device"), "1");
    assert_eq!(sql(&site, "SELECT count(*) FROM pub"), "1");
    assert_eq!(sql(&site, "SELECT count(*) FROM packet"), "10");
}

fn a_new_device_waits_until_it_is_approved(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let ca = TestCa::new("field");
    ca.register(&site, false);
    let card = ca.issue(site.folder(), "d1");
    let waits = "!OK this device waits for approval (m0v device approve)";
    for stack in STACKS {
        assert_eq!(refusal(&server, Some(&card), stack).as_deref(), Some(waits));
    }
    beside(&site, async |store| store.approve_device("d1", "test").await.expect("a database"));
    eventually("the approval in force", || {
        Talk::to_meter(&server, Some(&card), STACKS[0]).ask(READING).filter(|said| said == "Thank you")
    });
}

fn a_known_name_under_another_ca_is_refused(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let (ours, theirs) = (TestCa::new("ours"), TestCa::new("theirs"));
    ours.register(&site, true);
    theirs.register(&site, true);
    Talk::to_meter(&server, Some(&ours.issue(site.folder(), "d1")), STACKS[0]).thanked(READING);
    self_signed(site.folder(), "x").list(&site, "synced", Role::Device);
    let taken =
        "!OK the name in the certificate is another CA's device, or a device known by fingerprint only";
    for card in [theirs.issue(site.folder(), "d1"), theirs.issue(site.folder(), "synced")] {
        assert_eq!(refusal(&server, Some(&card), STACKS[0]).as_deref(), Some(taken));
    }
    // Another certificate of the same CA is the same device's.
    Talk::to_meter(&server, Some(&ours.issue(site.folder(), "d1")), STACKS[0]).thanked(READING);
    assert_eq!(sql(&site, "SELECT count(DISTINCT pub_id) FROM packet"), "1");
}

fn a_ca_brings_no_more_devices_than_its_share(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let ca = TestCa::new("factory");
    ca.register(&site, true);
    let (id, most) = (&ca.id, NEW_PER_CA_AND_HOUR - 1);
    sql(
        &site,
        &format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {most})
             INSERT INTO device (device_id, ca_id) SELECT 'made ' || n, '{id}' FROM numbers"
        ),
    );
    Talk::to_meter(&server, Some(&ca.issue(site.folder(), "the last")), STACKS[0]).thanked(READING);
    let too_many = "!OK too many new devices of this CA in an hour, try again later";
    let card = ca.issue(site.folder(), "one more");
    assert_eq!(refusal(&server, Some(&card), STACKS[0]).as_deref(), Some(too_many));
}

fn a_port_that_requires_a_certificate_serves_nobody_without(engine: Engine) {
    let site = Site::with(engine, "[tls]\ncompat = 'cbc'\n[meter]\nclient_cert = 'required'");
    let server = site.start_with_device();
    let card = self_signed(site.folder(), "d1");
    card.list(&site, "d1", Role::Device);
    for stack in STACKS {
        let mut nobody = Talk::to_meter(&server, None, stack);
        assert_eq!(nobody.ask(&of_id(17)), None, "{stack:?}");
        Talk::to_meter(&server, Some(&card), stack).thanked(READING);
    }
    assert_eq!(sql(&site, "SELECT count(*) FROM packet"), STACKS.len().to_string());
}

fn a_confirmation_over_a_certificate_links_its_device(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let (card, other) = (self_signed(site.folder(), "d1"), self_signed(site.folder(), "d2"));
    let first = card.list(&site, "d1", Role::Device);
    other.list(&site, "d2", Role::Device);
    let mut meter = Talk::to_meter(&server, Some(&card), STACKS[0]);
    meter.thanked(READING);
    let confirmation = r#"{"deviceName":"Movprov","ssid":"M0V","hash":13580,"email":"a@b.c"}"#;
    let confirm =
        |card: &Card| Talk::open(&server, server.confirm_addr(), Some(card), STACKS[0]).ask(confirmation);
    assert_eq!(confirm(&card).as_deref(), Some("OK"));
    let linked = sql(&site, "SELECT pub_id FROM device WHERE device_id = 'd1'");
    assert_eq!(sql(&site, "SELECT pub_id FROM pub WHERE hash = 13580"), linked);
    assert_ne!(linked, first.to_string());
    // In force for a connection that was open before, and never stolen.
    meter.thanked(r#"{"hash":13580,"status":true}"#);
    assert_eq!(confirm(&other).as_deref(), Some("OK"), "stored like any");
    assert_eq!(sql(&site, "SELECT pub_id FROM device WHERE device_id = 'd1'"), linked);
    assert_ne!(sql(&site, "SELECT pub_id FROM device WHERE device_id = 'd2'"), linked);
    let audited = sql(&site, "SELECT who, subject FROM audit WHERE what = 'device link'");
    assert_eq!(audited, format!("certificate {}|pub {linked} instead of {first} to device d1", card.id));
}

/// The app's port tells a hash to whoever asks.
fn a_hash_that_somebody_owns_is_linked_only_in_his_name(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    site.run(&["sub", "add", "a@b.c"]).succeeded();
    let card = self_signed(site.folder(), "d1");
    let own = card.list(&site, "d1", Role::Device);
    let confirm = |card: Option<&Card>, email: &str| {
        let line = format!(r#"{{"deviceName":"Movprov","ssid":"M0V","hash":13580,"email":"{email}"}}"#);
        Talk::open(&server, server.confirm_addr(), card, STACKS[0]).ask(&line)
    };
    assert_eq!(confirm(None, "a@b.c").as_deref(), Some("OK"), "made, and a@b.c's");
    for stranger in ["", "x@y.z"] {
        assert_eq!(confirm(Some(&card), stranger).as_deref(), Some("OK"), "stored like any");
        assert_eq!(sql(&site, "SELECT pub_id FROM device"), own.to_string(), "{stranger:?}");
    }
    assert_eq!(confirm(Some(&card), "a@b.c").as_deref(), Some("OK"));
    assert_eq!(
        sql(&site, "SELECT pub_id FROM device"),
        sql(&site, "SELECT pub_id FROM pub WHERE hash = 13580")
    );
}

fn a_ticket_is_judged_like_a_handshake(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let card = self_signed(site.folder(), "d1");
    card.list(&site, "d1", Role::Device);
    let ticket = site.folder().join("ticket");
    let ticket = ticket.to_str().expect("a path of ours is text");
    let mut first = Talk::to_meter(&server, Some(&card), &["-tls1_2", "-sess_out", ticket]);
    first.thanked(READING);
    let resume = &["-tls1_2", "-sess_in", ticket][..];
    Talk::to_meter(&server, Some(&card), resume).thanked(READING);
    let metrics = crate::admin::get(&server, "/metrics");
    let resumed = metrics.lines().find(|line| line.contains(r#"port="meter""#) && line.contains("resumed"));
    assert!(resumed.is_some(), "{metrics}");
    let id = card.id.clone();
    let what = m0v::store::devices::Revocation::Certificate(id);
    beside(&site, async |store| store.revoke(&what, "test").await.expect("a database"));
    first.ends();
    assert_eq!(refusal(&server, Some(&card), resume).as_deref(), Some("!OK the certificate is revoked"));
}
