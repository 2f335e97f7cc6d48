//! A start while the database is away: who may speak is known from what this server wrote down.

use crate::{
    admin,
    harness::{Server, Site, eventually, run_tool},
    pki::{Card, OPTIONAL, READING, STACKS, Talk, TestCa, beside, of_id, refusal, self_signed, sql},
};
use m0v::store::devices::{Revocation, Role};

const AWAY: &str = "!OK database unavailable, try again";
const REVOKED: &str = "!OK the certificate is revoked";

/// One value of the spool's file.
fn kept(site: &Site, sql: &str) -> String {
    let file = site.data_dir().join("spool/spool.sqlite");
    let said = run_tool("sqlite3", &["-batch", "-cmd", ".timeout 5000", file.to_str().expect("text"), sql]);
    said.succeeded().trim_end().to_owned()
}

fn written(site: &Site, sql: &str, expected: &str) {
    eventually(sql, || (kept(site, sql) == expected).then_some(()));
}

fn recovered(server: &Server<'_>) {
    eventually("recovery", || admin::get(server, "/metrics").contains("m0v_store_up 1\n").then_some(()));
}

fn is_out(server: &Server<'_>, card: &Card) {
    for stack in STACKS {
        let said = refusal(server, Some(card), stack);
        assert!(said.as_deref().is_none_or(|said| said == REVOKED), "{stack:?}: {said:?}");
    }
}

fn revoke(site: &Site, what: &Revocation) {
    let ended = beside(site, async |store| store.revoke(what, "test").await.expect("a database"));
    assert_eq!(ended, Some(1));
}

#[test]
fn a_start_without_the_database_knows_who_may_speak() {
    let site = Site::on_own_cluster(OPTIONAL);
    let cluster = site.database().expect("PostgreSQL").cluster();
    let mut server = site.start_with_device();
    server.meter().thanked(of_id(17));
    let ca = TestCa::new("factory");
    ca.register(&site, true);
    let (listed, lost) = (self_signed(site.folder(), "d1"), self_signed(site.folder(), "d3"));
    let (own, registered) = (listed.list(&site, "d1", Role::Device), ca.issue(site.folder(), "d2"));
    lost.list(&site, "d3", Role::Device);
    revoke(&site, &Revocation::Device("d3".into()));
    Talk::to_meter(&server, Some(&listed), STACKS[0]).thanked(READING);
    Talk::to_meter(&server, Some(&registered), STACKS[1]).thanked(READING);
    is_out(&server, &lost);
    let needs = format!("id {own} needs its device's certificate");
    assert_eq!(server.meter().refused(of_id(own)), needs);
    written(&site, "SELECT count(*) FROM listed WHERE status = 'active'", "2");
    written(&site, "SELECT count(*) FROM listed WHERE status = 'revoked'", "1");
    written(&site, "SELECT count(*) FROM ca", "1");
    written(&site, "SELECT listed_at IS NOT NULL FROM meta", "1");
    written(&site, &format!("SELECT count(*) FROM known WHERE pub_id IN (17, {own})"), "2");

    // What is revoked while this server is down, it hears of when the database is back.
    server.kill9();
    revoke(&site, &Revocation::Device("d2".into()));
    cluster.stop();
    server.start_again();
    let log = server.stderr();
    assert!(log.contains("WARN") && log.contains("judged by the allow-list of 20"), "{log}");
    let mut stays = Talk::to_meter(&server, Some(&listed), STACKS[0]);
    stays.thanked(READING);
    let mut open: Vec<_> = STACKS.map(|stack| Talk::to_meter(&server, Some(&registered), stack)).into();
    open.iter_mut().for_each(|talk| talk.thanked(READING));
    is_out(&server, &lost);
    let stranger = self_signed(site.folder(), "x");
    let unseen = ca.issue(site.folder(), "d4");
    for stack in STACKS {
        Talk::to_meter(&server, Some(&listed), stack).thanked(&of_id(own));
        assert_eq!(refusal(&server, Some(&stranger), stack).as_deref(), Some(AWAY));
        assert_eq!(refusal(&server, Some(&unseen), stack).as_deref(), Some(AWAY));
    }
    let mut nobody = server.meter();
    assert_eq!(nobody.refused(of_id(own)), needs);
    nobody.thanked(of_id(17));

    cluster.restart();
    open.into_iter().for_each(Talk::ends);
    is_out(&server, &registered);
    recovered(&server);
    stays.thanked(READING);
    Talk::to_meter(&server, Some(&unseen), STACKS[2]).thanked(READING);
    written(&site, "SELECT status FROM listed WHERE device_id = 'd2'", "revoked");
    eventually("the drain", || {
        let metrics = admin::get(&server, "/metrics");
        metrics.lines().any(|line| line == "m0v_spool_rows 0").then_some(())
    });
    assert_eq!(sql(&site, &format!("SELECT count(*) FROM packet WHERE pub_id = {own}")), "6");
}

#[test]
fn a_revoked_ca_and_a_deleted_certificate_stay_out_without_the_database() {
    let site = Site::on_own_cluster(OPTIONAL);
    let cluster = site.database().expect("PostgreSQL").cluster();
    let mut server = site.start();
    let ca = TestCa::new("factory");
    ca.register(&site, true);
    let (card, gone) = (ca.issue(site.folder(), "d1"), self_signed(site.folder(), "d2"));
    gone.list(&site, "d2", Role::Device);
    Talk::to_meter(&server, Some(&card), STACKS[0]).thanked(READING);
    Talk::to_meter(&server, Some(&gone), STACKS[0]).thanked(READING);
    written(&site, "SELECT count(*) FROM listed", "2");
    revoke(&site, &Revocation::Ca(ca.id));
    written(&site, "SELECT status FROM ca", "revoked");
    server.kill9();
    // By hand, while nobody listens: found out by the next start.
    sql(&site, "DELETE FROM device_cert WHERE device_id = 'd2'");
    server.start_again();
    written(&site, "SELECT count(*) FROM listed", "1");
    server.kill9();
    cluster.stop();
    server.start_again();
    is_out(&server, &card);
    assert_eq!(refusal(&server, Some(&gone), STACKS[0]).as_deref(), Some(AWAY));
}

#[test]
fn nobody_speaks_for_an_id_while_it_is_not_known_whose_it_is() {
    let site = Site::on_own_cluster(OPTIONAL);
    let cluster = site.database().expect("PostgreSQL").cluster();
    let mut server = site.start_with_device();
    server.meter().thanked(of_id(17));
    let card = self_signed(site.folder(), "d1");
    let own = card.list(&site, "d1", Role::Device);
    Talk::to_meter(&server, Some(&card), STACKS[0]).thanked(READING);
    written(&site, &format!("SELECT count(*) FROM known WHERE pub_id IN (17, {own})"), "2");
    written(&site, "SELECT listed_at IS NOT NULL FROM meta", "1");
    server.stop();
    // As after the first start of all, or a spool that was damaged.
    kept(&site, "UPDATE meta SET listed_at = NULL; DELETE FROM listed");
    cluster.stop();
    server.start_again();
    assert!(server.stderr().contains("no certificate is accepted yet"), "{}", server.stderr());
    let mut nobody = server.meter();
    for id in [own, 17] {
        assert_eq!(nobody.ask(of_id(id)), AWAY);
    }
    assert_eq!(refusal(&server, Some(&card), STACKS[0]).as_deref(), Some(AWAY));
    cluster.restart();
    eventually("thanks", || (nobody.ask(of_id(17)) == "Thank you").then_some(()));
    assert_eq!(nobody.refused(of_id(own)), format!("id {own} needs its device's certificate"));
    Talk::to_meter(&server, Some(&card), STACKS[2]).thanked(READING);
}

#[test]
fn who_makes_itself_without_the_database_makes_nobody_who_has_a_certificate() {
    let config = OPTIONAL.replace("[meter]", "[meter]\nunknown_id = 'create'");
    let site = Site::on_own_cluster(&config);
    let cluster = site.database().expect("PostgreSQL").cluster();
    let mut server = site.start();
    let card = self_signed(site.folder(), "d1");
    let own = card.list(&site, "d1", Role::Device);
    Talk::to_meter(&server, Some(&card), STACKS[0]).thanked(READING);
    written(&site, "SELECT listed_at IS NOT NULL FROM meta", "1");
    server.stop();
    // A server that has never been told of the id itself.
    kept(&site, "DELETE FROM known");
    cluster.stop();
    server.start_again();
    let mut nobody = server.meter();
    assert_eq!(nobody.refused(of_id(own)), format!("id {own} needs its device's certificate"));
    // It may be anybody's.
    assert_eq!(nobody.ask(r#"{"hash":13580,"status":true}"#), AWAY);
    nobody.thanked(of_id(own + 1000));
    Talk::to_meter(&server, Some(&card), STACKS[1]).thanked(READING);
    cluster.restart();
    eventually("the drain", || {
        let metrics = admin::get(&server, "/metrics");
        metrics.lines().any(|line| line == "m0v_spool_rows 0").then_some(())
    });
    assert_eq!(sql(&site, &format!("SELECT count(*) FROM packet WHERE pub_id = {own}")), "2");
    assert_eq!(sql(&site, "SELECT count(*) FROM packet"), "3");
}
