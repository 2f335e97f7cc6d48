//! Killing the server, or the database, under load: what was thanked is in the table exactly once.

use crate::{
    harness::{Engine, Site, rounds},
    load::Load,
};

on_both_stores![
    kill_9_under_load_loses_nothing_that_was_thanked,
    sigterm_under_load_loses_nothing_and_ends_with_0,
    sigterm_answers_the_lines_already_read,
    sigterm_ends_idle_connections_properly,
];

fn kill_9_under_load_loses_nothing_that_was_thanked(engine: Engine) {
    let site = Site::new(engine);
    let mut server = site.start_with_device();
    let load = Load::start(&server, 4);
    for _ in 0..rounds(3, 50) {
        load.runs_for(200);
        server.kill9();
        server.start_again();
        load.moves_to(&server);
    }
    load.runs_for(200);
    load.ends_as_thanked(&site);
}

fn sigterm_under_load_loses_nothing_and_ends_with_0(engine: Engine) {
    let site = Site::new(engine);
    let mut server = site.start_with_device();
    let load = Load::start(&server, 4);
    for _ in 0..rounds(2, 20) {
        load.runs_for(200);
        server.restart();
        load.moves_to(&server);
    }
    load.runs_for(200);
    load.ends_as_thanked(&site);
}

fn sigterm_answers_the_lines_already_read(engine: Engine) {
    let site = Site::new(engine);
    let mut server = site.start_with_device();
    let mut meter = server.meter();
    let line = |number| format!("{{\"id\":17,\"timestamp\":1732300000,\"seq\":{number},\"status\":true}}\n");
    meter.send_raw((0..200).map(line).collect::<String>().as_bytes());
    assert_eq!(meter.reply(), "Thank you");
    server.sigterm();
    let mut thanked = 1;
    while let Some(reply) = meter.next_reply().expect("answers, then close_notify") {
        assert_eq!(reply, "Thank you");
        thanked += 1;
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    let stored: Vec<_> = site.packets().iter().filter_map(|row| row.seq).collect();
    assert_eq!(stored, (0..thanked).collect::<Vec<_>>(), "the stored lines are the answered ones");
}

fn sigterm_ends_idle_connections_properly(engine: Engine) {
    let site = Site::new(engine);
    let mut server = site.start();
    let (mut meter, app, half) = (server.meter(), server.confirm(), server.meter());
    meter.send_raw(br#"{"id":17,"sta"#);
    server.sigterm();
    meter.ends();
    app.ends_properly();
    half.ends_properly();
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
}

#[test]
fn a_crash_of_the_database_under_load_loses_nothing_that_was_thanked() {
    let site = Site::on_own_cluster("");
    let cluster = site.database().expect("a site on PostgreSQL").cluster();
    let server = site.start_with_device();
    let load = Load::start(&server, 4);
    for round in 0..rounds(3, 30) {
        load.runs_for(200);
        if round % 3 == 2 {
            cluster.stop();
        } else {
            cluster.crash();
        }
        cluster.restart();
    }
    load.runs_for(200);
    load.ends_as_thanked(&site);
}
