//! Whose device it is (DESIGN §2.4): the truth table, the race, the operator's commands, on both stores
//! and through the sockets.

use crate::{
    client::Client,
    harness::{Engine, Server, Site, eventually, rounds},
    http::{Version, get},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

on_both_stores![
    the_truth_table_holds,
    an_email_is_one_in_any_case_and_stored_as_given,
    forty_at_once_make_one_owner,
    users_are_added_listed_and_removed_beside_a_running_server,
    a_conflict_is_told_listed_and_resolved,
    every_bad_email_is_refused_and_leaves_no_trace,
];

/// The user whose device it is, and whether the device is there at all.
fn creator(site: &Site, hash: i64) -> Option<Option<i64>> {
    site.numbers(&format!("SELECT creator FROM pub WHERE hash = {hash}")).first().copied()
}

fn confirmation(hash: i64, email: Option<&str>) -> String {
    let mut line = json!({"deviceName": "Movprov", "ssid": "M0V", "hash": hash});
    if let Some(email) = email {
        line["email"] = json!(email);
    }
    line.to_string()
}

fn confirm(server: &Server<'_>, hash: i64, email: Option<&str>) {
    assert_eq!(server.confirm().ask(confirmation(hash, email)), "OK");
}

fn add_sub(site: &Site, email: &str) -> i64 {
    site.run(&["sub", "add", email]).succeeded().trim().parse().expect("the id is said")
}

fn ask(server: &Server<'_>, token: i64) -> Value {
    let query = json!({"deviceName": "Movprov", "ssid": "M0V", "token": token});
    let answer = server.confirm().ask(query.to_string());
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"))
}

fn the_truth_table_holds(engine: Engine) {
    const ME: &str = "me@example.org";
    const OTHER: &str = "other@example.org";
    /// What the device was before.
    #[derive(Clone, Copy, Debug)]
    enum Before {
        Nothing,
        Unowned,
        Mine,
        Anothers,
    }
    use Before::{Anothers, Mine, Nothing, Unowned};
    let site = Site::new(engine);
    let server = site.start();
    let other = add_sub(&site, OTHER);
    let mut hash = 0;
    for (is_registered, before, owner_is_me, conflict, owner_is_other) in [
        (true, Nothing, true, false, false),
        (true, Mine, true, false, false),
        (true, Unowned, true, false, false),
        (true, Anothers, false, true, true),
        (false, Nothing, false, false, false),
        (false, Unowned, false, false, false),
        (false, Anothers, false, false, true),
        (false, Mine, false, false, false),
    ] {
        hash += 1;
        match before {
            Nothing => {}
            Unowned => confirm(&server, hash, None),
            Anothers => confirm(&server, hash, Some(OTHER)),
            Mine => {
                add_sub(&site, ME);
                confirm(&server, hash, Some(ME));
                site.run(&["sub", "remove", ME]).succeeded();
            }
        }
        let me = is_registered.then(|| add_sub(&site, ME));
        let (confo, cconfo) = (site.count("confo"), site.count("cconfo"));
        confirm(&server, hash, Some(ME));
        let case = format!("registered {is_registered}, {before:?}");
        let owner = match (owner_is_me, owner_is_other) {
            (true, _) => me,
            (_, true) => Some(other),
            _ => None,
        };
        assert_eq!(creator(&site, hash), Some(owner), "{case}");
        let moved = (site.count("confo") - confo, site.count("cconfo") - cconfo);
        assert_eq!(moved, if conflict { (0, 1) } else { (1, 0) }, "{case}");
        assert_eq!(site.count("csub"), i64::from(!is_registered), "{case}: in csub once");
        let answer = ask(&server, hash);
        assert_eq!(answer["conflict"], json!(conflict), "{case}");
        assert_eq!(answer["id"].is_null(), conflict, "{case}");
        if is_registered {
            site.run(&["sub", "remove", ME]).succeeded();
        }
        let said = server.stderr().contains("has no creator any more");
        assert_eq!(said, !is_registered && matches!(before, Mine), "{case}");
    }
    let seen = site.count("csub");
    confirm(&server, 99, None);
    assert_eq!((creator(&site, 99), site.count("csub")), (Some(None), seen), "no e-mail, no csub row");
}

fn an_email_is_one_in_any_case_and_stored_as_given(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    confirm(&server, 1, Some("Ann.Example@X.org"));
    confirm(&server, 2, Some("ann.example@x.ORG"));
    let seen = site.numbers("SELECT sub_id FROM csub WHERE email = 'Ann.Example@X.org'");
    assert_eq!((seen.len(), site.count("csub")), (1, 1));
    assert_eq!(Some(add_sub(&site, "ANN.example@x.org")), seen[0], "registering keeps the id");
    assert_eq!((site.count("csub"), site.count("sub")), (0, 1));
    confirm(&server, 1, Some("ann.EXAMPLE@x.org"));
    assert_eq!(creator(&site, 1), Some(seen[0]));
    site.run(&["sub", "remove", "aNN.example@x.org"]).succeeded();
    assert_eq!(site.numbers("SELECT sub_id FROM csub"), seen, "deregistering as well");
    assert_eq!(creator(&site, 1), Some(seen[0]), "and so do devices");
}

fn forty_at_once_make_one_owner(engine: Engine) {
    const REGISTERED: usize = 12;
    const ALL: usize = 40;
    let site = Site::new(engine);
    let server = site.start();
    for user in 0..REGISTERED {
        add_sub(&site, &format!("user{user}@example.org"));
    }
    let mut clients: Vec<_> = (0..ALL).map(|_| server.confirm()).collect();
    for hash in 1..=rounds(3, 50) {
        let hash = i64::try_from(hash).expect("a few");
        let start = Barrier::new(ALL);
        thread::scope(|scope| {
            for (number, client) in clients.iter_mut().enumerate() {
                let start = &start;
                scope.spawn(move || {
                    // Some come twice as another spelling of one e-mail, some without any.
                    let email = match number {
                        0..REGISTERED => Some(format!("User{number}@example.org")),
                        _ if number % 3 == 0 => None,
                        _ if number % 3 == 1 => Some(format!("stranger{}@example.org", number / 6)),
                        _ => Some(format!("STRANGER{}@example.org", number / 6)),
                    };
                    let line = confirmation(hash, email.as_deref());
                    start.wait();
                    assert_eq!(client.ask(line), "OK");
                });
            }
        });
        let of = |table: &str| site.count(&format!("{table} WHERE hash = {hash}"));
        assert_eq!((of("pub"), of("cconfo"), of("confo")), (1, 11, 29), "round {hash}");
        let owner = creator(&site, hash).expect("the device is there").expect("and has an owner");
        assert_eq!(site.count(&format!("sub WHERE sub_id = {owner}")), 1, "a registered one");
        let confirmed = format!("confo WHERE hash = {hash} AND sub_id = {owner}");
        assert_eq!(site.count(&confirmed), 1, "the one of twelve who is not in cconfo");
        assert_eq!(
            site.count(&format!("cconfo WHERE hash = {hash} AND sub_id IN (SELECT sub_id FROM sub)")),
            11
        );
    }
    let strangers = site.count("csub");
    assert_eq!(site.count("(SELECT DISTINCT lower(email) FROM csub) AS one"), strangers, "each once");
    assert_eq!(site.count("(SELECT sub_id FROM sub UNION SELECT sub_id FROM csub) AS one"), 12 + strangers);
}

fn users_are_added_listed_and_removed_beside_a_running_server(engine: Engine) {
    let site = Site::new(engine);
    let _server = site.start();
    let id = site.run(&["sub", "add", "a@x.org", "--name", "Ann B.", "--phone", "+49 1"]).succeeded();
    let again = site.run(&["sub", "add", "A@x.org"]);
    assert!(again.ended_with(1).stderr().contains("a@x.org"), "{}", again.stderr());
    add_sub(&site, "b@x.org");
    let list = site.run(&["sub", "list"]).succeeded();
    assert_eq!(
        list.lines().next(),
        Some(format!("sub {} a@x.org name \"Ann B.\" phone \"+49 1\"", id.trim()).as_str())
    );
    assert_eq!(list.lines().count(), 2, "{list}");
    assert_eq!(site.run(&["sub", "remove", "A@X.org"]).succeeded(), id);
    site.run(&["sub", "remove", "a@x.org"]).ended_with(1);
    assert_eq!(site.run(&["sub", "list"]).succeeded().lines().count(), 1);
    for bad in ["", "x", "@x.org", "a b@x.org", "a\n@x.org", &format!("{}@x.org", "a".repeat(60))] {
        site.run(&["sub", "add", bad]).ended_with(64);
    }
    assert_eq!((site.count("sub"), site.count("csub")), (1, 1));
    assert_eq!(site.count("audit"), 3);
}

fn a_conflict_is_told_listed_and_resolved(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let (a, b) = (add_sub(&site, "a@x.org"), add_sub(&site, "b@x.org"));
    confirm(&server, 5, Some("a@x.org"));
    assert_eq!(site.run(&["confo", "list", "--conflicts"]).succeeded(), "");
    confirm(&server, 5, Some("b@x.org"));
    let answer = get(&server, Version::Http2, "/confo/Movprov/M0V");
    assert_eq!((&answer.json()["conflict"], &answer.json()["id"]), (&json!(true), &Value::Null));
    assert!(!answer.body.contains('@'), "{}", answer.body);
    assert!(server.stderr().contains("two users configured hash 5"), "the log says so");
    let metrics = crate::admin::get(&server, "/metrics");
    assert!(metrics.contains("m0v_confirmations_total{conflict=\"true\"} 1"), "{metrics}");

    let conflicts = site.run(&["confo", "list", "--conflicts"]).succeeded();
    assert_eq!(conflicts.lines().count(), 1, "{conflicts}");
    for word in ["hash 5", "by b@x.org", "owner a@x.org", "CONFLICT"] {
        assert!(conflicts.contains(word), "no {word}: {conflicts}");
    }
    assert_eq!(site.run(&["confo", "list"]).succeeded().lines().count(), 2);
    for (hash, owner, word) in [("6", "b@x.org", "hash 6"), ("5", "c@x.org", "c@x.org")] {
        let failed = site.run(&["confo", "resolve", hash, "--owner", owner]);
        assert!(failed.ended_with(1).stderr().contains(word), "{}", failed.stderr());
    }
    assert_eq!(creator(&site, 5), Some(Some(a)));
    site.run(&["confo", "resolve", "5", "--owner", "B@x.org"]).succeeded();
    assert_eq!(creator(&site, 5), Some(Some(b)));
    let answer = ask(&server, 5);
    assert_eq!((&answer["conflict"], answer["id"].is_i64()), (&json!(false), true));
    assert_eq!(site.run(&["confo", "list", "--conflicts"]).succeeded(), "");
    assert_eq!((site.count("confo"), site.count("cconfo")), (2, 0));
    assert_eq!(site.count("audit WHERE what = 'confo resolve' AND who <> '' AND subject LIKE 'hash 5:%'"), 1);
    confirm(&server, 5, Some("a@x.org"));
    assert_eq!(ask(&server, 5)["conflict"], json!(true), "whoever lost is in conflict from now on");
}

fn every_bad_email_is_refused_and_leaves_no_trace(engine: Engine) {
    let site = Site::new(engine);
    let server = site.start();
    let mut client = server.confirm();
    let longest = format!("{}@x.org", "\u{e9}".repeat(58));
    for email in [
        json!("nobody"),
        json!("@x.org"),
        json!("a@"),
        json!("a b@x.org"),
        json!("a\u{0}@x.org"),
        json!("a\u{7f}@x.org"),
        json!("a\r\n@x.org"),
        json!(format!("a{longest}")),
        json!(7),
        json!(["a@x.org"]),
        json!(true),
    ] {
        let line = json!({"deviceName": "Movprov", "ssid": "M0V", "hash": 1, "email": email}).to_string();
        let reason = client.refused(&line);
        assert!(reason.contains("email"), "{reason:?} names no email: {line}");
    }
    assert_eq!((site.count("pub"), site.count("csub"), site.count("confo")), (0, 0, 0));
    assert_eq!(client.ask(confirmation(1, Some(&longest))), "OK", "64 characters are not too many");
}

#[test]
fn every_ok_is_a_stored_row_though_the_database_restarts() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = site.start();
    let (addr, ca_pem) = (server.confirm_addr(), server.ca_pem());
    let is_over = AtomicBool::new(false);
    let confirmed: Vec<i64> = thread::scope(|scope| {
        let devices: Vec<_> = (0..4)
            .map(|device: i64| {
                let (is_over, ca_pem) = (&is_over, &ca_pem);
                scope.spawn(move || {
                    let mut client = Client::connect(addr, ca_pem);
                    let mut confirmed = Vec::new();
                    for number in 1.. {
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        let hash = number * 10 + device;
                        match client.ask(confirmation(hash, Some("a@x.org"))).as_str() {
                            "OK" => confirmed.push(hash),
                            reply => assert_eq!(reply, "!OK database unavailable, try again"),
                        }
                    }
                    confirmed
                })
            })
            .collect();
        for round in 0..rounds(2, 20) {
            thread::sleep(Duration::from_millis(300));
            if round % 2 == 0 {
                cluster.crash();
            } else {
                cluster.stop();
            }
            cluster.restart();
            let mut probe = Client::connect(addr, &ca_pem);
            let hash = -1 - i64::try_from(round).expect("a few");
            eventually("the database to be back", || {
                (probe.ask(confirmation(hash, None)) == "OK").then_some(())
            });
        }
        is_over.store(true, Ordering::Relaxed);
        devices.into_iter().flat_map(|device| device.join().expect("the device ends well")).collect()
    });
    let mut stored: Vec<i64> =
        site.numbers("SELECT hash FROM confo WHERE hash > 0").into_iter().flatten().collect();
    stored.sort_unstable();
    assert!(confirmed.len() > 10, "{}", confirmed.len());
    for hash in confirmed {
        assert!(stored.binary_search(&hash).is_ok(), "{hash} was answered OK and is not stored");
    }
    assert_eq!((site.count("csub"), site.count("sub")), (1, 0));
}
