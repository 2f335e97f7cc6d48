//! One suite for both engines: what the rooms above rely on.

use m0v::{
    protocol::{
        confo::{Confirmation, Query},
        packet::PubRef,
    },
    store::{Outcome, PacketRow, Store, StoreError, Window},
};
use std::sync::Arc;

/// A store in a database of its own, and a second way into that database.
pub(crate) trait Bench {
    /// The store, prepared.
    fn store(&self) -> Arc<dyn Store>;
    /// Another one on the same database, as another process would have it.
    fn another(&self) -> Arc<dyn Store>;
    /// Runs SQL beside it: rows as lines, columns parted by `|`.
    fn sql(&self, sql: &str) -> String;
    /// Creation times of `packet` in Unix microseconds, as an SQL expression.
    fn micros(&self, column: &str) -> String;
}

/// 2023-11-14T22:13:20Z.
pub(crate) const T0: i64 = 1_700_000_000_000_000;

pub(crate) fn row(pub_id: i64) -> PacketRow {
    PacketRow {
        pub_id,
        created_at: T0,
        voltage: Some(231.4),
        frequency: Some(49.98),
        protected: true,
        seq: None,
        extra: None,
    }
}

pub(crate) fn by_id(id: i64) -> PubRef {
    PubRef { id: Some(id), hash: None }
}

fn by_hash(hash: i64) -> PubRef {
    PubRef { id: None, hash: Some(hash) }
}

pub(crate) fn confirmation(hash: i64, email: Option<&str>) -> Confirmation {
    Confirmation {
        device_name: "Movprov".into(),
        ssid: "M0V".into(),
        hash,
        email: email.map(Into::into),
        timestamp: Some(T0 / 1_000_000),
        extra: None,
    }
}

fn since(since: i64) -> Window {
    Window { since, after: 0 }
}

pub(crate) fn query(token: Option<i64>) -> Query {
    Query { device_name: "Movprov".into(), ssid: "M0V".into(), token, wait: 0 }
}

pub(crate) async fn gives_each_row_its_outcome(bench: &dyn Bench) {
    let store = bench.store();
    store.add_pub(by_id(1)).await.unwrap().unwrap();
    store.add_pub(by_id(2)).await.unwrap().unwrap();
    let mut lane = store.lane(7, 0);
    assert_eq!(lane.write(&[]).await.unwrap(), []);

    let seq = |seq, voltage| PacketRow { seq: Some(seq), voltage: Some(voltage), ..row(1) };
    let extra = |text: &str| PacketRow { seq: Some(9), extra: Some(text.into()), ..row(1) };
    let batch = [
        row(1),
        row(1), // no seq: a reading of its own
        row(99),
        seq(1, 1.0),
        seq(1, 1.0),
        seq(1, 2.0),
        PacketRow { pub_id: 2, ..seq(1, 2.0) },
        PacketRow { created_at: T0 + 1, ..seq(1, 2.0) },
        extra(r#"{"a":1,"b":"x"}"#),
        extra(r#"{ "b" : "x", "a" : 1.0 }"#),
        extra(r#"{"a":1}"#),
    ];
    use Outcome::{SeqConflict, Stored, UnknownPub};
    let expected = [
        Stored,
        Stored,
        UnknownPub,
        Stored,
        Stored,
        SeqConflict,
        Stored,
        Stored,
        Stored,
        Stored,
        SeqConflict,
    ];
    assert_eq!(lane.write(&batch).await.unwrap(), expected);
    assert_eq!(bench.sql("SELECT count(*) FROM packet"), "6");
    assert_eq!(
        bench.sql("SELECT voltage FROM packet WHERE pub_id = 1 AND seq = 1 ORDER BY created_at"),
        dec(&["1", "2"], bench)
    );

    // Again, by another lane: only what has no seq is stored anew.
    let mut other = bench.another().lane(7, 1);
    assert_eq!(other.write(&batch).await.unwrap(), expected);
    assert_eq!(bench.sql("SELECT count(*) FROM packet"), "8");

    for (field, changed) in [
        ("voltage", PacketRow { voltage: None, ..seq(1, 1.0) }),
        ("frequency", PacketRow { frequency: Some(50.0), ..seq(1, 1.0) }),
        ("protected", PacketRow { protected: false, ..seq(1, 1.0) }),
        ("extra", PacketRow { extra: Some("{}".into()), ..seq(1, 1.0) }),
    ] {
        assert_eq!(lane.write(&[changed, seq(1, 1.0)]).await.unwrap(), [SeqConflict, Stored], "{field}");
    }
    assert_eq!(bench.sql("SELECT batch FROM ingest WHERE node = 7 ORDER BY lane"), "5\n1");
}

/// SQLite writes 1.0 where PostgreSQL writes 1.
fn dec(numbers: &[&str], bench: &dyn Bench) -> String {
    let tail = if bench.sql("SELECT CAST(1 AS double precision)").contains('.') { ".0" } else { "" };
    numbers.iter().map(|number| format!("{number}{tail}")).collect::<Vec<_>>().join("\n")
}

pub(crate) async fn keeps_extreme_values_exactly(bench: &dyn Bench) {
    let store = bench.store();
    for id in [1, i64::MAX, -5] {
        store.add_pub(by_id(id)).await.unwrap().unwrap();
    }
    let year_9999 = 253_402_300_799_999_999;
    let year_2006 = 1_136_239_445_000_000;
    let extra = r#"{"big":123456789012345678901234567890.5,"huge":1e308,"tiny":5e-324,"ünï":"\ud83d\ude00 \"\\\u0001 é","deep":[[[{"a":[]}]]]}"#;
    let rows = [
        PacketRow { voltage: Some(f64::MAX), frequency: Some(f64::MIN), seq: Some(i64::MAX), ..row(1) },
        PacketRow {
            voltage: Some(5e-324),
            frequency: Some(f64::MIN_POSITIVE),
            seq: Some(i64::MIN),
            ..row(1)
        },
        PacketRow { voltage: Some(0.1 + 0.2), frequency: Some(f64::EPSILON), seq: Some(1), ..row(i64::MAX) },
        PacketRow { voltage: None, frequency: None, protected: false, seq: Some(2), ..row(-5) },
        PacketRow { created_at: year_9999, seq: Some(3), ..row(1) },
        PacketRow { created_at: year_2006, seq: Some(4), ..row(1) },
        PacketRow { extra: Some(extra.into()), seq: Some(5), ..row(1) },
        PacketRow { voltage: Some(9_007_199_254_740_993.0), seq: Some(6), ..row(1) },
    ];
    let mut lane = store.lane(1, 0);
    let all_stored = vec![Outcome::Stored; rows.len()];
    assert_eq!(lane.write(&rows).await.unwrap(), all_stored);
    assert_eq!(lane.write(&rows).await.unwrap(), all_stored, "compared as equal to what is stored");
    assert_eq!(bench.sql("SELECT count(*) FROM packet"), rows.len().to_string());
    let mut created: Vec<i64> = rows.iter().map(|row| row.created_at).collect();
    created.sort_unstable();
    let expected = created.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(bench.sql(&format!("SELECT {} FROM packet ORDER BY 1", bench.micros("created_at"))), expected);

    // The nearest other value is another value.
    let moved: Vec<PacketRow> = rows
        .iter()
        .map(|row| PacketRow {
            voltage: row
                .voltage
                .map(|volts| if volts == f64::MAX { volts.next_down() } else { volts.next_up() }),
            protected: row.voltage.is_none(),
            ..row.clone()
        })
        .collect();
    assert_eq!(lane.write(&moved).await.unwrap(), vec![Outcome::SeqConflict; rows.len()]);
    let digit = PacketRow { extra: Some(extra.replace("890.5", "890.6")), ..rows[6].clone() };
    assert_eq!(lane.write(&[digit]).await.unwrap(), [Outcome::SeqConflict]);
}

pub(crate) async fn stores_the_neighbours_of_a_bad_row(bench: &dyn Bench) {
    let store = bench.store();
    store.add_pub(by_id(1)).await.unwrap().unwrap();
    let mut rows: Vec<PacketRow> = (0..1000).map(|seq| PacketRow { seq: Some(seq), ..row(1) }).collect();
    let bad = [0, 1, 499, 500, 777, 999];
    for place in bad {
        rows[place].extra = Some("{\"a\":".into());
    }
    rows[300].pub_id = 99;
    rows[301] = rows[302].clone();
    rows[303] = PacketRow { voltage: Some(1.0), ..rows[302].clone() };
    let outcomes = store.lane(1, 0).write(&rows).await.unwrap();
    for (place, outcome) in outcomes.iter().enumerate() {
        match place {
            300 => assert_eq!(*outcome, Outcome::UnknownPub),
            303 => assert_eq!(*outcome, Outcome::SeqConflict),
            _ if bad.contains(&place) => {
                assert!(matches!(outcome, Outcome::Rejected(_)), "{place}: {outcome:?}");
            }
            _ => assert_eq!(*outcome, Outcome::Stored, "{place}"),
        }
    }
    assert_eq!(bench.sql("SELECT count(*), count(DISTINCT seq) FROM packet"), "991|991");
    assert_eq!(bench.sql("SELECT batch FROM ingest"), "1");
}

pub(crate) async fn finds_adds_and_lists_devices(bench: &dyn Bench) {
    let store = bench.store();
    assert_eq!(store.find_pub(by_id(1)).await.unwrap(), None);
    assert_eq!(store.find_pub(PubRef::default()).await.unwrap(), None);
    let first = store.add_pub(PubRef::default()).await.unwrap().unwrap();
    assert_eq!((first.pub_id, first.hash, first.creator), (1, None, None));
    assert!((T0..T0 * 2).contains(&first.created_at));
    let second = store.add_pub(PubRef { id: Some(40), hash: Some(-7) }).await.unwrap().unwrap();
    assert_eq!((second.pub_id, second.hash), (40, Some(-7)));
    for device in [by_id(40), by_hash(-7), PubRef { id: Some(40), hash: Some(5) }] {
        assert_eq!(store.find_pub(device).await.unwrap().as_ref(), Some(&second), "{device:?}");
        assert_eq!(store.add_pub(device).await.unwrap().unwrap_err(), second, "{device:?}");
    }
    assert_eq!(store.find_pub(PubRef { id: Some(41), hash: Some(-7) }).await.unwrap(), None);
    assert_eq!(store.add_pub(PubRef { id: Some(39), hash: Some(-7) }).await.unwrap().unwrap_err(), second);

    // Past explicit ids, past those inserted by hand, and not stuck behind the last one there is.
    assert_eq!(store.add_pub(PubRef::default()).await.unwrap().unwrap().pub_id, 41);
    store.add_pub(by_id(10)).await.unwrap().unwrap();
    bench.sql("INSERT INTO pub (pub_id) VALUES (42), (43), (45)");
    store.add_pub(by_id(i64::MAX)).await.unwrap().unwrap();
    let next = store.add_pub(PubRef::default()).await.unwrap().unwrap().pub_id;
    assert!((44..100).contains(&next), "{next}");
    let next = store.confirm(&confirmation(1, None), T0).await.unwrap().pub_id.unwrap();
    assert!((46..100).contains(&next), "{next}");

    let ids = |pubs: Vec<m0v::store::Pub>| pubs.into_iter().map(|row| row.pub_id).collect::<Vec<_>>();
    assert_eq!(ids(store.list_pubs(0, 3).await.unwrap()), [1, 10, 40]);
    assert_eq!(ids(store.list_pubs(40, 2).await.unwrap()), [41, 42]);
    assert_eq!(ids(store.list_pubs(i64::MAX - 1, 10).await.unwrap()), [i64::MAX]);
}

pub(crate) async fn follows_the_truth_table(bench: &dyn Bench) {
    let store = bench.store();
    bench.sql(
        "INSERT INTO sub (sub_id, email, created_at) SELECT 100, 'Me@Example.org', created_at FROM csub WHERE false",
    );
    let now = bench.sql("SELECT applied_at FROM schema_version");
    bench.sql(&format!(
        "INSERT INTO sub (sub_id, email, created_at) VALUES (100, 'Me@Example.org', '{now}'), (101, 'other@example.org', '{now}');
         INSERT INTO csub (sub_id, email, created_at) VALUES (102, 'left@example.org', '{now}');
         INSERT INTO pub (pub_id, hash, creator, created_at) VALUES
            (12, 2, 100, '{now}'), (13, 3, NULL, '{now}'), (14, 4, 101, '{now}'),
            (16, 6, NULL, '{now}'), (17, 7, 101, '{now}'), (18, 8, 102, '{now}')"
    ));
    // e-mail, hash, conflict, creator afterwards
    let table = [
        ("ME@example.ORG", 1, false, "100"),
        ("me@example.org", 2, false, "100"),
        ("me@example.org", 3, false, "100"),
        ("me@example.org", 4, true, "101"),
        ("new@example.org", 5, false, ""),
        ("NEW@example.org", 6, false, ""),
        ("new@example.org", 7, false, "101"),
        ("Left@example.org", 8, false, ""),
    ];
    for (place, (email, hash, conflict, creator)) in table.into_iter().enumerate() {
        let confirmed = store.confirm(&confirmation(hash, Some(email)), T0).await.unwrap();
        assert_eq!((confirmed.hash, confirmed.conflict), (hash, conflict), "{hash}");
        let pub_id = bench.sql(&format!("SELECT pub_id FROM pub WHERE hash = {hash}"));
        assert_eq!(
            confirmed.pub_id.map(|id| id.to_string()),
            (!conflict).then_some(pub_id.clone()),
            "{hash}"
        );
        assert_eq!(bench.sql(&format!("SELECT creator FROM pub WHERE hash = {hash}")), creator, "{hash}");
        let table = if conflict { "cconfo" } else { "confo" };
        let saved =
            bench.sql(&format!("SELECT id, pub_id, devicename, ssid FROM {table} WHERE hash = {hash}"));
        assert_eq!(saved, format!("{}|{pub_id}|Movprov|M0V", place + 1), "ids of one sequence");
    }
    assert_eq!(bench.sql("SELECT count(*) FROM confo"), "7");
    assert_eq!(bench.sql("SELECT sub_id FROM cconfo"), "100");
    assert_eq!(bench.sql("SELECT email FROM csub ORDER BY email"), "left@example.org\nnew@example.org");
    assert_eq!(bench.sql("SELECT count(DISTINCT sub_id) FROM confo WHERE hash IN (5, 6, 7)"), "1");

    let nameless = store.confirm(&confirmation(9, None), T0).await.unwrap();
    assert!(nameless.pub_id.is_some());
    assert_eq!(bench.sql("SELECT count(*) FROM confo WHERE sub_id IS NULL"), "1");
    assert_eq!(bench.sql("SELECT count(*) FROM csub"), "2");
}

pub(crate) async fn finds_the_latest_confirmation(bench: &dyn Bench) {
    let store = bench.store();
    assert_eq!(store.find_confirmation(&query(None), since(0)).await.unwrap(), None);
    let first = store.confirm(&confirmation(1, Some("a@b.c")), T0).await.unwrap();
    let found = store.find_confirmation(&query(None), since(T0)).await.unwrap();
    assert_eq!(found.as_ref(), Some(&first));
    assert_eq!(first.created_at, T0);
    assert_eq!(store.find_confirmation(&query(None), since(T0 + 1)).await.unwrap(), None);

    let same_time = store.confirm(&confirmation(2, None), T0).await.unwrap();
    assert_eq!(
        store.find_confirmation(&query(None), since(i64::MIN)).await.unwrap(),
        Some(same_time),
        "by id then"
    );
    assert_eq!(store.find_confirmation(&query(Some(1)), since(0)).await.unwrap(), Some(first));
    assert_eq!(store.find_confirmation(&query(Some(3)), since(0)).await.unwrap(), None);
    for other in
        [Query { device_name: "movprov".into(), ..query(None) }, Query { ssid: "M0V ".into(), ..query(None) }]
    {
        assert_eq!(store.find_confirmation(&other, since(0)).await.unwrap(), None, "{other:?}");
    }

    // A conflict is the latest, until its owner confirms again.
    let now = bench.sql("SELECT applied_at FROM schema_version");
    bench.sql(&format!(
        "INSERT INTO sub (sub_id, email, created_at) VALUES (50, 'x@b.c', '{now}'), (51, 'y@b.c', '{now}')"
    ));
    store.confirm(&confirmation(5, Some("x@b.c")), T0 + 1).await.unwrap();
    let conflict = store.confirm(&confirmation(5, Some("y@b.c")), T0 + 2).await.unwrap();
    assert!(conflict.conflict && conflict.pub_id.is_none());
    assert_eq!(store.find_confirmation(&query(Some(5)), since(0)).await.unwrap(), Some(conflict));
    let late = Confirmation {
        timestamp: None,
        extra: Some(r#"{"a":"é"}"#.into()),
        ..confirmation(5, Some("x@b.c"))
    };
    let again = store.confirm(&late, T0 + 3).await.unwrap();
    assert_eq!((again.created_at, again.conflict), (T0 + 3, false));
    assert_eq!(store.find_confirmation(&query(None), since(0)).await.unwrap(), Some(again));
}

pub(crate) async fn gives_a_new_hash_one_creator(bench: &dyn Bench) {
    let store = bench.store();
    let now = bench.sql("SELECT applied_at FROM schema_version");
    let subs: Vec<String> = (1..=40).map(|n| format!("({n}, 'u{n}@example.org', '{now}')")).collect();
    bench.sql(&format!("INSERT INTO sub (sub_id, email, created_at) VALUES {}", subs.join(", ")));
    let race = |emails: Vec<String>, hash: fn(usize) -> i64| {
        let store = Arc::clone(&store);
        async move {
            let tasks: Vec<_> = emails
                .into_iter()
                .enumerate()
                .map(|(place, email)| {
                    let store = Arc::clone(&store);
                    tokio::spawn(
                        async move { store.confirm(&confirmation(hash(place), Some(&email)), T0).await },
                    )
                })
                .collect();
            let mut confirmed = Vec::new();
            for task in tasks {
                confirmed.push(task.await.unwrap().unwrap());
            }
            confirmed
        }
    };
    let confirmed = race((1..=40).map(|n| format!("U{n}@example.org")).collect(), |_| 77).await;
    assert_eq!(confirmed.iter().filter(|confirmed| !confirmed.conflict).count(), 1);
    assert_eq!(bench.sql("SELECT count(*) FROM pub"), "1");
    assert_eq!(bench.sql("SELECT count(DISTINCT sub_id) FROM cconfo"), "39");
    assert_eq!(bench.sql("SELECT count(*) FROM confo JOIN pub ON creator = sub_id"), "1");

    // One new e-mail in many spellings, on many new devices.
    let emails = (0..40).map(|n| if n % 2 == 0 { "New@example.org" } else { "new@EXAMPLE.org" }.to_owned());
    race(emails.collect(), |place| 1000 + i64::try_from(place).unwrap()).await;
    assert_eq!(bench.sql("SELECT count(*) FROM csub"), "1");
    assert_eq!(bench.sql("SELECT count(*), count(DISTINCT pub_id) FROM pub"), "41|41");
    assert_eq!(bench.sql("SELECT count(*) FROM confo"), "41");
}

pub(crate) async fn prepares_for_eight_at_once(bench: &dyn Bench) {
    let stores: Vec<Arc<dyn Store>> = (0..8).map(|_| bench.another()).collect();
    let tasks: Vec<_> =
        stores.into_iter().map(|store| tokio::spawn(async move { store.prepare().await })).collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(bench.sql("SELECT count(*), max(version) FROM schema_version"), "1|1");
    bench.another().maintain().await.unwrap();
}

pub(crate) async fn refuses_a_newer_or_a_foreign_schema(newer: &dyn Bench, foreign: &dyn Bench) {
    let now = newer.sql("SELECT applied_at FROM schema_version");
    newer.sql(&format!(
        "INSERT INTO schema_version (version, applied_at, applied_by) VALUES (7, '{now}', 'me')"
    ));
    let error = newer.another().prepare().await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaTooNew { found: 7, known: 1 }), "{error}");

    foreign.sql("CREATE TABLE packet (a int)");
    let error = foreign.another().prepare().await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("packet")), "{error}");
    foreign.sql("CREATE TABLE schema_version (installed_rank int); ALTER TABLE packet RENAME TO other");
    let error = foreign.another().prepare().await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("schema_version")), "{error}");
}

pub(crate) async fn writes_on_several_lanes_at_once(bench: &dyn Bench) {
    let store = bench.store();
    for id in 1..=20 {
        store.add_pub(by_id(id)).await.unwrap().unwrap();
    }
    // Every row goes through two lanes: stored once, thanked twice.
    let tasks: Vec<_> = (0..4)
        .map(|lane| {
            let mut lane = store.lane(1, lane);
            tokio::spawn(async move {
                for batch in 0..10 {
                    let rows: Vec<PacketRow> = (0..50)
                        .map(|place| PacketRow { seq: Some(batch * 50 + place), ..row(place % 20 + 1) })
                        .collect();
                    assert_eq!(lane.write(&rows).await.unwrap(), vec![Outcome::Stored; 50]);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(bench.sql("SELECT count(*) FROM packet"), "500");
    assert_eq!(bench.sql("SELECT sum(batch) FROM ingest"), "40");
}
