//! The commands beside a running server: what they change is in force there.

use crate::{
    harness::{Engine, Server, Site, eventually},
    pki::{Card, OPTIONAL, READING, STACKS, Talk, TestCa, of_id, plain, refusal, self_signed, sql},
};
use m0v::store::devices::Role;
use std::path::Path;

on_both_stores![
    certificates_are_listed_and_revoked_by_command,
    cas_and_their_devices_are_let_in_and_ended_by_command,
    an_intermediate_is_revoked_with_what_it_signed,
    a_device_gets_another_id_by_command,
];

fn words(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// Tries until the card is accepted: a change is in force within a second.
fn gets_in(server: &Server<'_>, card: &Card, stack: &[&str]) -> Talk {
    eventually("the change in force", || {
        let mut talk = Talk::to_meter(server, Some(card), stack);
        (talk.ask(READING).as_deref() == Some("Thank you")).then_some(talk)
    })
}

fn is_out(server: &Server<'_>, card: &Card) {
    for stack in STACKS {
        let said = refusal(server, Some(card), stack);
        let words = "!OK the certificate is revoked";
        assert!(said.as_deref().is_none_or(|said| said == words), "{stack:?}: {said:?}");
    }
}

fn certificates_are_listed_and_revoked_by_command(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start_with_device();
    let (card, service) = (self_signed(site.folder(), "d1"), self_signed(site.folder(), "s1"));
    site.run(&["cert", "add", words(&card.cert)]).succeeded();
    site.run(&["cert", "add", words(&service.cert), "--role", "service"]).succeeded();
    // Not known here yet: a miss asks the store, so there is nothing to wait for.
    let mut talks = STACKS.map(|stack| Talk::to_meter(&server, Some(&card), stack));
    talks.iter_mut().for_each(|talk| talk.thanked(READING));
    let mut any = Talk::to_meter(&server, Some(&service), STACKS[0]);
    any.thanked(&of_id(17));
    let said = site.run(&["cert", "revoke", card.id.get(..12).expect("is long")]).succeeded();
    assert_eq!(said.trim(), format!("{} is revoked", card.id));
    talks.into_iter().for_each(Talk::ends);
    is_out(&server, &card);
    any.thanked(&of_id(17));
    // For ever: it is not listed again, and another of the same device is.
    let again = site.run(&["cert", "add", words(&card.cert)]).failed().said();
    assert!(again.contains("revoked, which is for ever"), "{again}");
    is_out(&server, &card);
    let renewed = self_signed(site.folder(), "d1");
    site.run(&["cert", "add", words(&renewed.cert)]).succeeded();
    let mut talk = gets_in(&server, &renewed, STACKS[2]);
    site.run(&["device", "revoke", "d1"]).succeeded();
    assert_eq!(talk.line(), None);
    is_out(&server, &renewed);
    let audited = sql(&site, "SELECT what FROM audit WHERE who LIKE 'cli %' ORDER BY id");
    let deeds = ["cert add", "cert add", "cert revoke", "cert add", "device revoke"];
    assert_eq!(audited.lines().collect::<Vec<_>>(), deeds);
}

fn cas_and_their_devices_are_let_in_and_ended_by_command(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let ca = TestCa::new("field");
    let pem = site.folder().join("field.pem");
    std::fs::write(&pem, &ca.pem).expect("writes a certificate");
    let waits = "!OK this device waits for approval (m0v device approve)";
    let card = ca.issue(site.folder(), "d1");
    let unknown = "!OK the certificate is neither listed nor signed by a registered CA";
    assert_eq!(refusal(&server, Some(&card), STACKS[0]).as_deref(), Some(unknown));
    site.run(&["ca", "add", words(&pem), "--pending"]).succeeded();
    for stack in STACKS {
        assert_eq!(refusal(&server, Some(&card), stack).as_deref(), Some(waits));
    }
    assert!(site.run(&["device", "list"]).succeeded().contains("pending"));
    site.run(&["device", "approve", "d1"]).succeeded();
    let mut talks = STACKS.map(|stack| gets_in(&server, &card, stack));
    let said = site.run(&["ca", "revoke", ca.id.get(..12).expect("is long")]).succeeded();
    assert!(said.contains("certificates that ended: 1"), "{said}");
    for talk in &mut talks {
        assert_eq!(talk.line(), None);
    }
    is_out(&server, &card);
    let unseen = ca.issue(site.folder(), "d2");
    let said = refusal(&server, Some(&unseen), STACKS[1]);
    assert_eq!(said.as_deref(), Some("!OK the certificate is from a CA that was revoked"));
    assert_eq!(sql(&site, "SELECT count(*) FROM device"), "1");
    let again = site.run(&["ca", "add", words(&pem)]).failed().said();
    assert!(again.contains("revoked"), "{again}");
}

fn an_intermediate_is_revoked_with_what_it_signed(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start();
    let (root, name) = (TestCa::new("root"), "stolen");
    root.register(&site, true);
    let (stolen, fine) = (root.sub(name, plain), root.sub("fine", plain));
    let (below, beside) = (stolen.issue(site.folder(), "d1"), fine.issue(site.folder(), "d2"));
    let (direct, listed) = (root.issue(site.folder(), "d3"), stolen.issue(site.folder(), "d4"));
    listed.list(&site, "d4", Role::Device);
    let open = |card: &Card| {
        let mut talks = STACKS.map(|stack| Talk::to_meter(&server, Some(card), stack));
        talks.iter_mut().for_each(|talk| talk.thanked(READING));
        talks
    };
    let (ended, mut kept) = (open(&below), [open(&beside), open(&direct), open(&listed)]);
    let pem = site.folder().join("stolen.pem");
    std::fs::write(&pem, &stolen.pem).expect("writes a certificate");
    site.run(&["ca", "add", words(&pem)]).succeeded();
    let said = site.run(&["ca", "revoke", &stolen.id]).succeeded();
    assert!(said.contains("certificates that ended: 1"), "{said}");
    ended.into_iter().for_each(Talk::ends);
    is_out(&server, &below);
    is_out(&server, &Card { chain: None, ..below });
    let fresh = refusal(&server, Some(&stolen.issue(site.folder(), "d5")), STACKS[2]);
    assert_eq!(fresh.as_deref(), Some("!OK the certificate is from a CA that was revoked"));
    kept.iter_mut().flatten().for_each(|talk| talk.thanked(READING));
    assert!(site.run(&["ca", "revoke", &stolen.id]).succeeded().contains("that ended: 0"));
    // A CA that lives on under a renewed certificate takes nothing along that was not listed for it.
    let renewed = fine.renewed();
    for ca in [&fine, &renewed] {
        ca.register(&site, true);
    }
    let said = site.run(&["ca", "revoke", &fine.id]).succeeded();
    assert!(said.contains("certificates that ended: 0"), "{said}");
    kept.iter_mut().flatten().for_each(|talk| talk.thanked(READING));
}

fn a_device_gets_another_id_by_command(engine: Engine) {
    let site = Site::with(engine, OPTIONAL);
    let server = site.start_with_device();
    let card = self_signed(site.folder(), "d1");
    let own = card.list(&site, "d1", Role::Device);
    let mut talk = Talk::to_meter(&server, Some(&card), STACKS[0]);
    talk.thanked(&of_id(own));
    server.meter().thanked(of_id(17));
    site.run(&["device", "link", "d1", "17"]).succeeded();
    eventually("the link in force", || (talk.ask(&of_id(17)).as_deref() == Some("Thank you")).then_some(()));
    assert_eq!(talk.ask(&of_id(own)), Some(format!("!OK id {own} is not this device's")));
    assert_eq!(server.meter().refused(of_id(17)), "id 17 needs its device's certificate");
    // What it had is nobody's now.
    server.meter().thanked(of_id(own));
}
