//! PostgreSQL away: packets are thanked all the same, and are in the table once it is back.

use crate::{
    admin,
    harness::{Site, eventually},
};
use std::fs;

const LINE: &str = r#"{"id":17,"status":true,"voltage":231.4}"#;
const UNAVAILABLE: &str = "!OK database unavailable, try again";
const BUSY: &str = "!OK busy, try again";

fn seq(id: i64, seq: i64, voltage: f64) -> String {
    format!(r#"{{"id":{id},"timestamp":1732300000,"seq":{seq},"status":true,"voltage":{voltage}}}"#)
}

/// A metric's value.
fn metric(server: &crate::harness::Server<'_>, name: &str) -> f64 {
    let text = admin::get(server, "/metrics");
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

/// Waits until nothing waits in the spool.
fn drained(server: &crate::harness::Server<'_>) {
    eventually("an empty spool", || (metric(server, "m0v_spool_rows") == 0.0).then_some(()));
}

#[test]
fn packets_are_thanked_while_the_database_is_away_and_stored_once_it_is_back() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let mut server = site.start_with_device();
    let mut meter = server.meter();
    meter.thanked(LINE);
    cluster.stop();
    for number in 0..20 {
        meter.thanked(seq(17, number, 1.0));
        meter.thanked(LINE);
    }
    // seq means here what it means there.
    meter.thanked(seq(17, 3, 1.0));
    assert_eq!(meter.ask(seq(17, 3, 2.0)), "!OK seq 3 was stored with other values");
    assert_eq!(meter.ask(r#"{"id":18,"status":true}"#), UNAVAILABLE, "an id nobody knows");
    assert!(meter.ask(r#"{"id":17}"#).contains("status"), "a bad line is bad at any time");
    let mut app = server.confirm();
    assert_eq!(app.ask(r#"{"deviceName":"a","ssid":"b","hash":1}"#), UNAVAILABLE, "not spooled");
    assert!(admin::get(&server, "/readyz").starts_with("HTTP/1.1 200"), "ready: packets are thanked");
    eventually("40 rows", || (metric(&server, "m0v_spool_rows") == 40.0).then_some(()));
    eventually("degradation", || (metric(&server, "m0v_degraded") == 1.0).then_some(()));
    eventually("an age", || (metric(&server, "m0v_spool_oldest_age_seconds") >= 1.0).then_some(()));

    server.restart();
    let mut meter = server.meter();
    meter.thanked(seq(17, 3, 1.0));
    meter.thanked(seq(17, 20, 1.0));
    assert_eq!(meter.ask(r#"{"id":18,"status":true}"#), UNAVAILABLE, "an id nobody knows");
    cluster.restart();
    drained(&server);
    assert_eq!(site.packets().len(), 42);
    assert_eq!(site.packets().iter().filter(|row| row.seq.is_some()).count(), 21);
    assert_eq!(metric(&server, "m0v_rejected_total"), 0.0);
    meter.thanked(seq(17, 3, 1.0));
    assert_eq!(meter.ask(r#"{"id":18,"status":true}"#), "!OK unknown id 18");
    assert_eq!(site.packets().len(), 42);
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        assert_eq!(metric(&server, &format!("m0v_database_setting{{name=\"{setting}\"}}")), 1.0);
    }
}

#[test]
fn sigterm_with_the_database_back_drains_the_spool() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let mut server = site.start_with_device();
    let mut meter = server.meter();
    meter.thanked(LINE);
    cluster.stop();
    (0..50).for_each(|number| meter.thanked(seq(17, number, 1.0)));
    server.kill9();
    server.start_again();
    cluster.restart();
    assert_eq!(server.stop().code(), Some(0), "{}", server.stderr());
    assert_eq!(site.packets().len(), 51);
}

#[test]
fn strangers_are_made_at_drain_if_they_may() {
    let site = Site::on_own_cluster("[meter]\nunknown_id = \"create\"");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let mut server = site.start();
    site.run(&["pub", "add", "--id", "30", "--hash", "300"]).succeeded();
    cluster.stop();
    eventually("the end of the database to be noticed", || {
        admin::get(&server, "/metrics").contains("m0v_store_up 0").then_some(())
    });
    let mut meter = server.meter();
    meter.thanked(seq(5, 1, 1.0));
    meter.thanked(seq(5, 1, 1.0));
    meter.thanked(r#"{"hash":77,"timestamp":1732300000,"seq":1,"status":true}"#);
    meter.thanked(r#"{"id":40,"hash":300,"status":true}"#); // not the same device, as it will turn out
    server.kill9();
    server.start_again();
    let mut meter = server.meter();
    meter.thanked(seq(5, 2, 1.0));
    cluster.restart();
    drained(&server);
    let pubs = site.pubs();
    assert!(pubs.contains(&(5, None)) && pubs.iter().any(|(_, hash)| *hash == Some(77)), "{pubs:?}");
    assert_eq!(site.packets().len(), 3);
    assert_eq!(cluster.sql("SELECT reason FROM rejected"), "id and hash are not the same device");
}

#[test]
fn what_the_database_refuses_at_drain_is_kept_whole_and_counted() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = site.start_with_device();
    site.add_pub(18);
    let mut meter = server.meter();
    meter.thanked(seq(17, 1, 1.0));
    meter.thanked(seq(18, 1, 1.0));
    cluster.stop();
    meter.thanked(seq(17, 1, 2.5)); // the conflict can only be seen there
    meter.thanked(seq(17, 2, 1.0));
    meter.thanked(r#"{"id":18,"status":false,"freq":50.5,"note":"gone"}"#);
    meter.thanked(r#"{"id":18,"timestamp":1732300000,"seq":9,"status":true}"#);
    server.pause();
    cluster.restart();
    cluster.sql("DELETE FROM packet WHERE pub_id = 18; DELETE FROM pub WHERE pub_id = 18");
    server.resume();
    drained(&server);
    assert_eq!(site.packets().len(), 2);
    let rejected = cluster.sql("SELECT pub_id, reason, packet::json->>'voltage', packet::json->>'extra', node IS NOT NULL FROM rejected ORDER BY id");
    assert_eq!(
        rejected.lines().collect::<Vec<_>>(),
        [
            "17|seq 1 was stored with other values|2.5||t",
            r#"18|unknown id 18: the device was deleted||{"note":"gone"}|t"#,
            "18|unknown id 18: the device was deleted|||t",
        ]
    );
    assert_eq!(metric(&server, "m0v_rejected_total"), 3.0);
    assert!(server.stderr().contains("see the table rejected"), "{}", server.stderr());
}

#[test]
fn a_full_spool_refuses_and_takes_again_once_it_is_drained() {
    let site = Site::on_own_cluster("[spool]\nmax_bytes = 1048576");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = site.start_with_device();
    let mut meter = server.meter();
    meter.thanked(LINE);
    let note = "x".repeat(4000);
    let line = |number| {
        format!(r#"{{"id":17,"timestamp":1732300000,"seq":{number},"status":true,"note":"{note}"}}"#)
    };
    let file = site.data_dir().join("spool/spool.sqlite");
    let mut thanked = 1;
    let mut number = 0;
    for _ in 0..2 {
        cluster.stop();
        let full = loop {
            number += 1;
            match meter.ask(line(number)).as_str() {
                "Thank you" => thanked += 1,
                BUSY => break number,
                reply => panic!("{reply}"),
            }
            assert!(number < 10_000, "the spool has no bound");
        };
        assert!(full % 1000 > 200, "{full}: a mebibyte holds more than that");
        assert!(admin::get(&server, "/readyz").starts_with("HTTP/1.1 503") || meter.ask(LINE) == "Thank you");
        meter.thanked(line(number - 1)); // what is in it is in it
        let size = fs::metadata(&file).expect("the spool").len();
        assert!(size < 3 << 20, "{size}");
        cluster.restart();
        drained(&server);
        eventually("readiness", || admin::get(&server, "/readyz").starts_with("HTTP/1.1 200").then_some(()));
    }
    let size = fs::metadata(&file).expect("the spool").len();
    assert!(size < 200_000, "{size} bytes after draining");
    let stored = site.packets().len();
    assert!((thanked..=thanked + 2).contains(&stored), "{stored} {thanked}");
}

#[test]
fn a_damaged_spool_is_told_set_aside_and_what_is_whole_is_saved() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let mut server = site.start_with_device();
    let file = site.data_dir().join("spool/spool.sqlite");
    server.meter().thanked(LINE);
    let mut expected = 1;
    for damage in ["truncated", "overwritten", "no database", "empty"] {
        cluster.stop();
        let mut meter = server.meter();
        let lines: String = (0..3000).map(|number| seq(17, expected * 10 + number, 1.0) + "\n").collect();
        meter.send_raw(lines.as_bytes());
        (0..3000).for_each(|_| assert_eq!(meter.reply(), "Thank you"));
        assert_eq!(server.stop().code(), Some(0));
        let mut bytes = fs::read(&file).expect("reads the spool");
        let middle = bytes.len() / 2;
        match damage {
            "truncated" => bytes.truncate(middle),
            // Four pages: one alone may be an index's, and costs nothing.
            "overwritten" => bytes[middle / 4096 * 4096..][..4 * 4096].fill(0xab),
            "no database" => bytes[..100].fill(0xab),
            _ => bytes.clear(),
        }
        fs::write(&file, bytes).expect("damages the spool");
        cluster.restart();
        server.start_again();
        drained(&server);
        let said = server.stderr();
        let stored = i64::try_from(site.packets().len()).expect("few") - expected;
        match damage {
            "truncated" | "overwritten" => {
                assert!(said.contains("damaged") && said.contains("set aside"), "{said}");
                assert!((500..3000).contains(&stored), "{damage}: {stored}");
            }
            "no database" => {
                assert!(said.contains("damaged") && said.contains("saved 0 packets"), "{said}");
                assert_eq!(stored, 0);
            }
            _ => assert!(said.contains("empty"), "{said}"),
        }
        expected += stored;
        server.meter().thanked(seq(17, 1_000_000 + expected, 1.0));
        expected += 1;
    }
    let aside = fs::read_dir(site.data_dir().join("spool")).expect("the folder").filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        let name = name.to_string_lossy();
        name.contains("damaged") && !name.ends_with("-wal") && !name.ends_with("-shm")
    });
    assert_eq!(aside.count(), 3, "damaged files are kept");
}

#[test]
fn check_looks_at_the_spool_beside_a_running_server_and_without() {
    let site = Site::on_own_cluster("[spool]\nmax_bytes = 1048576");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let said = || site.run(&["check"]).said();
    assert!(said().contains("ok: spool: ") && said().contains("made at the first start"), "{}", said());
    let mut server = site.start_with_device();
    let mut meter = server.meter();
    meter.thanked(LINE);
    assert!(said().contains("): empty, 1048576 bytes allowed"), "{}", said());
    cluster.stop();
    (0..3).for_each(|number| meter.thanked(seq(17, number, 1.0)));
    assert!(said().contains("warning: spool: ") && said().contains("3 readings wait"), "{}", said());
    assert!(said().contains("384 of 1048576 bytes"), "{}", said());
    server.kill9(); // what is left in the write-ahead log is told too
    assert!(said().contains("3 readings wait"), "{}", said());
    let file = site.data_dir().join("spool/spool.sqlite");
    let whole = fs::read(&file).expect("reads the spool");
    for end in ["-wal", "-shm"] {
        let _absent = fs::remove_file(site.data_dir().join(format!("spool/spool.sqlite{end}")));
    }
    fs::write(&file, vec![0xab; whole.len().max(4096)]).expect("damages the spool");
    assert!(said().contains("fault: spool: ") && said().contains("is damaged"), "{}", said());
    assert!(said().contains("is damaged"), "looking changes nothing:\n{}", said());
    server.start_again();
    assert!(said().contains("was damaged and set aside"), "{}", said());
}
