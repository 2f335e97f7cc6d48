//! Nodes on one PostgreSQL: one account, one order, one certificate, whoever is killed.

use crate::{
    acme::{chain, config, served, trust},
    harness::{Engine, Site, eventually, run_tool},
    pebble::{self, Mischief, free_port},
};
use std::fs;

const SECRET: &str = "thirty-two bytes and a few more of them";

/// Runs SQL in the sites' database.
fn sql(url: &str, sql: &str) -> String {
    run_tool("psql", &["-XAtq", "-d", url, "-c", sql]).succeeded().trim().to_owned()
}

#[test]
fn a_node_killed_with_the_lease_is_succeeded_by_the_one_that_answers_the_ca() {
    let ca = pebble::Site::new();
    let answering = config(&ca, "http-01");
    // The CA never reaches the first node; another contact gives it a try of its own.
    let unreached = answering
        .replace(&format!(":{}\"]", ca.http_port), &format!(":{}\"]", free_port()))
        .replace("ops@", "night@");
    let first = Site::with(Engine::Postgres, &unreached).env("M0V_DATABASE__SECRET", SECRET);
    let url = first.database().expect("a database").url().to_owned();
    let second = Site::with(
        Engine::Embedded,
        &format!("{answering}[database]\nurl = {url:?}\nsecret_file = \"secret\"\n"),
    );
    fs::write(second.folder().join("secret"), format!("{SECRET}\n")).expect("writes the secret");

    // The second listens, and its own tries are put off.
    let mut two = second.start();
    eventually("a failed try and a free lease", || {
        let put_off = "UPDATE acme_lease SET not_before = now() + interval '1 hour'
                        WHERE failures > 0 AND holder IS NULL RETURNING 1";
        (sql(&url, put_off) == "1").then_some(())
    });
    let pebble = ca.start(&Mischief { validation_sleep: 5, ..Mischief::default() });
    let root = trust(&first, &pebble);
    trust(&second, &pebble);
    let mut one = first.start();
    eventually("a challenge at the CA", || one.stderr().contains("acme: ChallengeAccepted").then_some(()));
    one.kill9();
    assert_eq!(sql(&url, "SELECT count(*) FROM acme_challenge"), "1");
    assert!(sql(&url, "SELECT holder FROM acme_lease").starts_with("node "));
    eventually("the CA's visit", || pebble.log().contains("set VALID by completed challenge").then_some(()));

    // The lease runs out, and the second's turn comes.
    sql(&url, "UPDATE acme_lease SET until = now() - interval '1 second', not_before = 'epoch'");
    two.restart();
    let served_by_two = served(&two, &root);
    assert_eq!((pebble.accounts(), pebble.orders()), (1, 1), "the killed node's order was gone on with");
    eventually("the end of the order", || {
        (sql(&url, "SELECT count(*) FROM acme_order") == "0").then_some(())
    });

    one.start_again();
    assert_eq!(served(&one, &root), served_by_two);
    assert_eq!(pebble.orders(), 1);
    assert_eq!(sql(&url, "SELECT count(*), max(version) FROM acme_cert"), "1|1");
    for (table, column) in [("acme_cert", "key_pem"), ("acme_account", "key_pkcs8")] {
        let legible =
            format!("SELECT count(*) FROM {table} WHERE position('PRIVATE'::bytea IN {column}) > 0");
        assert_eq!(sql(&url, &legible), "0");
        let first_byte = format!("SELECT DISTINCT get_byte({column}, 0) FROM {table}");
        assert_eq!(sql(&url, &first_byte), "1", "sealed by scheme 1");
    }
    refuses_another_secret(&second, &url, pebble.orders());

    // A node that knows the certificate serves it also while the database is away.
    one.stop();
    two.stop();
    second.configure(&format!(
        "{answering}[database]\nurl = \"postgres://m0v@127.0.0.1:1/m0v\"\nsecret_file = \"secret\"\n"
    ));
    let away = second.start();
    assert_eq!(chain(&away, &root).as_ref(), Some(&served_by_two), "{}", away.stderr());
    assert_eq!(pebble.orders(), 1);
}

fn refuses_another_secret(site: &Site, url: &str, orders: usize) {
    fs::write(site.folder().join("other"), "thirty-two bytes that nobody else was told")
        .expect("writes a secret");
    let other =
        fs::read_to_string(site.config_file()).expect("reads m0v.toml").replace("\"secret\"", "\"other\"");
    let sound = fs::read_to_string(site.config_file()).expect("reads m0v.toml");
    site.write_config(&other);
    let run = site.run(&["check"]);
    assert!(run.failed().said().contains("the nodes' [database] secret differs"), "{}", run.said());
    fs::write(site.folder().join("other"), "short").expect("writes a secret");
    let run = site.run(&["check"]);
    assert!(run.failed().said().contains("holds 5 bytes, at least 32 are needed"), "{}", run.said());
    site.write_config(&sound);
    assert_eq!(sql(url, "SELECT count(*) FROM acme_cert"), "1");
    assert_eq!(orders, 1);
}

#[test]
fn without_a_secret_a_node_shares_nothing_and_says_so() {
    let ca = pebble::Site::new();
    let site = Site::with(Engine::Postgres, &config(&ca, "http-01"));
    let pebble = ca.start(&Mischief::default());
    let root = trust(&site, &pebble);
    let server = site.start();
    assert_eq!(served(&server, &root).len(), 3);
    let words = "without [database] secret_file m0v does not share the ACME account and certificate";
    assert!(server.stderr().contains(words), "{}", server.stderr());
    assert!(site.run(&["check"]).succeeded().contains(words));
    assert!(site.data_dir().join("acme/certificate.pem").exists());
    let url = site.database().expect("a database").url();
    let rows = "SELECT (SELECT count(*) FROM acme_cert) + (SELECT count(*) FROM acme_account)";
    assert_eq!(sql(url, rows), "0");
}
