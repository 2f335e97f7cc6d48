//! Everything dies while packets come in and the spool is filled and drained: what was thanked is in
//! the table, and no more often than it was sent. `M0V_TEST_LONG=1` makes the loops long.

use crate::{
    admin,
    database::with_port,
    faults::SmallDisk,
    harness::{PATIENCE, Server, Site, eventually, rounds, skip},
    load::Load,
    wire::Wire,
};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

const LINE: &str = r#"{"id":17,"status":true,"voltage":231.4}"#;

/// A server on a cluster of its own that has met device 17, and so knows it without the database.
fn begin(site: &Site) -> Server<'_> {
    let server = site.start_with_device();
    // Not stored, but the id was asked for.
    let refused = server.meter().ask(r#"{"id":17,"hash":1,"status":true}"#);
    assert!(refused.contains("not the same device"), "{refused}");
    server
}

/// Waits until the server has found its database again by itself.
fn recovered(server: &Server<'_>) {
    eventually("recovery", || admin::get(server, "/metrics").contains("m0v_store_up 1\n").then_some(()));
}

fn spooled(server: &Server<'_>) -> Option<()> {
    let text = admin::get(server, "/metrics");
    text.lines().any(|line| line.starts_with("m0v_spooled_total ") && !line.ends_with(" 0")).then_some(())
}

#[test]
fn kill_9_of_the_server_while_the_spool_fills_and_drains() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let mut server = begin(&site);
    let load = Load::start_calm(&server, 4);
    load.runs_for(200);
    for round in 0..rounds(4, 150) {
        match round % 3 {
            0 => cluster.crash(),
            1 => cluster.restart(), // killed in the middle of the drain
            _ => {}
        }
        load.runs_for(300);
        if round % 2 == 0 {
            thread::sleep(Duration::from_millis(u64::try_from(round % 7).expect("small") * 50));
        }
        server.kill9();
        server.start_again();
        load.moves_to(&server);
    }
    cluster.restart();
    recovered(&server);
    load.runs_for(200);
    load.ends_as_thanked(&site);
    assert!(admin::get(&server, "/readyz").starts_with("HTTP/1.1 200"));
}

#[test]
fn crashes_of_the_database_under_load_and_under_the_drain() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = begin(&site);
    let load = Load::start_calm(&server, 4);
    for round in 0..rounds(4, 150) {
        load.runs_for(200);
        cluster.crash();
        load.runs_for(if round % 2 == 0 { 0 } else { 500 });
        cluster.restart();
        if round % 3 == 0 {
            cluster.crash(); // at once again: while it drains, or before it began
            cluster.restart();
        }
    }
    recovered(&server);
    load.runs_for(200);
    load.ends_as_thanked(&site);
    spooled(&server).expect("the spool was used");
}

#[test]
fn both_die_in_turns() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let mut server = begin(&site);
    let load = Load::start_calm(&server, 4);
    for round in 0..rounds(3, 100) {
        load.runs_for(300);
        cluster.crash();
        if round % 2 == 0 {
            load.runs_for(300);
        }
        server.kill9();
        if round % 3 == 1 {
            cluster.restart();
            server.start_again();
        } else {
            server.start_again(); // with the database down
            load.moves_to(&server);
            load.runs_for(300);
            cluster.restart();
        }
        load.moves_to(&server);
    }
    recovered(&server);
    load.runs_for(200);
    load.ends_as_thanked(&site);
}

#[test]
fn a_paused_database_is_too_slow() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = begin(&site);
    let load = Load::start_calm(&server, 4);
    for _ in 0..rounds(1, 10) {
        load.runs_for(200);
        cluster.pause();
        let until = Instant::now() + Duration::from_secs(if rounds(0, 1) == 1 { 30 } else { 6 });
        load.runs_for(200);
        thread::sleep(until.saturating_duration_since(Instant::now()));
        cluster.resume();
        recovered(&server);
    }
    recovered(&server);
    load.runs_for(200);
    load.ends_as_thanked(&site);
    spooled(&server).expect("the spool was used");
}

#[test]
fn a_network_that_is_cut_or_swallows() {
    let site = Site::on_own_cluster("");
    let database = site.database().expect("a site on PostgreSQL");
    let wire = Wire::to(database.cluster().port());
    let url = with_port(database.url(), wire.port());
    site.configure(&format!("[database]\nurl = {url:?}"));
    let server = begin(&site);
    let load = Load::start_calm(&server, 4);
    for round in 0..rounds(6, 150) {
        load.runs_for(100);
        match round % 3 {
            0 => wire.cut(),       // every connection, now
            1 => wire.cut_later(), // after the next bytes towards the server: behind a COMMIT, say
            _ => {
                wire.swallow(true); // nothing passes any more, nothing is said
                load.runs_for(100);
                wire.swallow(false);
                recovered(&server);
            }
        }
    }
    recovered(&server);
    load.runs_for(200);
    load.ends_as_thanked(&site);
}

#[test]
fn a_database_that_is_read_only_for_a_while() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = begin(&site);
    let load = Load::start_calm(&server, 4);
    for _ in 0..rounds(1, 20) {
        load.runs_for(200);
        cluster.sql("ALTER SYSTEM SET default_transaction_read_only = on");
        cluster.sql("SELECT pg_reload_conf()");
        eventually("unavailability", || {
            admin::get(&server, "/metrics").contains("m0v_store_up 0").then_some(())
        });
        load.runs_for(500);
        cluster.sql("ALTER SYSTEM RESET default_transaction_read_only");
        cluster.sql("SELECT pg_reload_conf()");
        recovered(&server);
    }
    recovered(&server);
    load.runs_for(200);
    load.ends_as_thanked(&site);
    spooled(&server).expect("the spool was used");
}

#[test]
fn a_storm_of_connections_during_an_outage() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = begin(&site);
    let load = Load::start_calm(&server, 2);
    cluster.crash();
    let ca = server.ca_pem();
    let addr = server.meter_addr();
    for _ in 0..rounds(1, 10) {
        thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    let mut clients: Vec<_> =
                        (0..5).map(|_| crate::client::Client::connect(addr, &ca)).collect();
                    for client in &mut clients {
                        assert!(client.ask(r#"{"id":99,"status":true}"#).starts_with("!OK database"));
                    }
                });
            }
        });
        load.runs_for(100);
    }
    cluster.restart();
    recovered(&server);
    load.runs_for(200);
    load.ends_as_thanked(&site);
}

#[test]
fn a_full_disk_under_the_spool() {
    let site = Site::on_own_cluster("");
    let Some(disk) = SmallDisk::mount(site.folder().join("disk")) else {
        skip("a_full_disk_under_the_spool", "only root may mount a tmpfs");
        return;
    };
    site.configure(&format!("[spool]\ndir = {:?}", disk.0));
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = begin(&site);
    let mut meter = server.meter();
    meter.thanked(LINE);
    let mut thanked = 1;
    let note = "x".repeat(3000);
    let line = format!(r#"{{"id":17,"status":true,"note":"{note}"}}"#);
    for _ in 0..rounds(2, 20) {
        cluster.crash();
        let since = Instant::now();
        let mut refused = 0;
        while refused < 20 {
            match meter.ask(&line).as_str() {
                "Thank you" => thanked += 1,
                "!OK busy, try again" => refused += 1,
                reply => panic!("{reply}"),
            }
            assert!(since.elapsed() < PATIENCE, "eight megabytes take more than that");
        }
        // The disk is full of the spool itself; the drain finds room all the same.
        cluster.restart();
        eventually("an empty spool", || {
            admin::get(&server, "/metrics").contains("m0v_spool_rows 0\n").then_some(())
        });
        meter.thanked(LINE);
        thanked += 1;
    }
    assert_eq!(site.packets().len(), thanked, "what was thanked is there, and nothing else");
}

#[test]
fn a_schema_that_is_too_new_stops_the_start_and_not_what_runs() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let mut server = begin(&site);
    let mut meter = server.meter();
    meter.thanked(LINE);
    cluster.stop();
    meter.thanked(LINE);
    server.pause();
    cluster.restart();
    cluster.sql("INSERT INTO schema_version (version) VALUES (7)");
    server.resume();
    eventually("a word about it", || server.stderr().contains("schema version 7").then_some(()));
    meter.thanked(LINE);
    assert_eq!(site.packets().len(), 1, "nothing is written into tables of another version");
    assert_eq!(server.stop().code(), Some(0));
    let refused = site.run(&["serve"]);
    refused.failed();
    assert!(refused.said().contains("run the newer m0v"), "{}", refused.said());
    cluster.sql("DELETE FROM schema_version WHERE version = 7");
    server.start_again();
    eventually("the rest", || (site.packets().len() == 3).then_some(()));
}

#[test]
fn a_clock_that_jumps_back_a_day() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let mut server = begin(&site);
    server.meter().thanked(LINE);
    cluster.stop();
    let line = |number| format!(r#"{{"id":17,"timestamp":1732300000,"seq":{number},"status":true}}"#);
    let mut meter = server.meter();
    (0..10).for_each(|number| meter.thanked(line(number)));
    server.kill9();
    // What the file says of time, a day ahead: as if the clock had been set back.
    let file = site.data_dir().join("spool/spool.sqlite");
    let spool = rusqlite::Connection::open(&file).expect("the spool");
    spool.execute("UPDATE packet SET saved_at = saved_at + 86400000000", []).expect("its columns");
    drop(spool);
    server.start_again();
    let mut meter = server.meter();
    (10..20).for_each(|number| meter.thanked(line(number)));
    assert!(admin::get(&server, "/metrics").contains("m0v_spool_oldest_age_seconds 0\n"), "never negative");
    cluster.restart();
    eventually("everything", || (site.packets().len() == 21).then_some(()));
    let order: Vec<_> = site.packets().iter().filter_map(|row| row.seq).collect();
    assert_eq!(order, (0..20).collect::<Vec<_>>(), "oldest first, whatever the clock says");
    assert!(fs::metadata(file).is_ok());
}
