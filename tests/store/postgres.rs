//! The suite on PostgreSQL, and what is its own.

use crate::accounts;
use crate::devices;
use crate::keys;
use crate::people;
use crate::{
    cluster::Cluster,
    contract::{self, Bench, T0, by_id, row},
    proxy::{Cut, Moment, Proxy},
};
use m0v::{
    protocol::packet::PubRef,
    store::{
        Outcome, PacketRow, RejectedRow, Store, StoreError,
        postgres::{Postgres, PostgresOptions},
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

struct Database {
    cluster: Arc<Cluster>,
    name: String,
    store: Arc<Postgres>,
}

impl Database {
    fn empty() -> Self {
        let cluster = Cluster::shared();
        let name = cluster.new_database();
        let store = Arc::new(open(&cluster.url_of(&name)));
        Self { cluster, name, store }
    }

    async fn prepared() -> Self {
        let database = Self::empty();
        database.store.prepare().await.expect("a schema");
        database
    }

    async fn behind_a_proxy(&self) -> (Proxy, String) {
        let proxy = Proxy::start(self.cluster.port()).await;
        let direct = format!(":{}/", self.cluster.port());
        let url = self.cluster.url_of(&self.name).replace(&direct, &format!(":{}/", proxy.port()));
        (proxy, url)
    }
}

impl Bench for Database {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    fn another(&self) -> Arc<dyn Store> {
        Arc::new(open(&self.cluster.url_of(&self.name)))
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.sql_in(&self.name, sql)
    }

    fn micros(&self, column: &str) -> String {
        format!("(extract(epoch FROM {column}) * 1000000)::bigint")
    }
}

fn options(url: &str) -> PostgresOptions {
    PostgresOptions { url: url.into(), ca_file: None, max_connections: 8, allow_unsafe: false }
}

fn open(url: &str) -> Postgres {
    Postgres::new(options(url)).expect("a usable URL")
}

fn seqs(range: std::ops::Range<i64>) -> Vec<PacketRow> {
    range.map(|seq| PacketRow { seq: Some(seq), ..row(1) }).collect()
}

#[tokio::test]
async fn gives_each_row_its_outcome() {
    contract::gives_each_row_its_outcome(&Database::prepared().await).await;
}

#[tokio::test]
async fn registers_and_deregisters_keeping_the_id() {
    people::registers_and_deregisters_keeping_the_id(&Database::prepared().await).await;
}

#[tokio::test]
async fn adds_and_retires_keys() {
    keys::adds_and_retires_keys(&Database::prepared().await).await;
}

#[tokio::test]
async fn resolves_a_conflict() {
    people::resolves_a_conflict(&Database::prepared().await).await;
}

#[tokio::test]
async fn wakes_those_who_wait_wherever_it_was_stored() {
    people::wakes_those_who_wait_wherever_it_was_stored(&Database::prepared().await).await;
}

#[tokio::test]
async fn tells_later_confirmations_from_earlier_ones() {
    people::tells_later_confirmations_from_earlier_ones(&Database::prepared().await).await;
}

#[tokio::test]
async fn lets_in_by_the_rules_of_the_entry() {
    accounts::lets_in_by_the_rules_of_the_entry(&Database::prepared().await).await;
}

#[tokio::test]
async fn refuses_tokens_that_are_used_up_or_expired() {
    accounts::refuses_tokens_that_are_used_up_or_expired(&Database::prepared().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uses_a_token_up_exactly() {
    accounts::uses_a_token_up_exactly(&Database::prepared().await).await;
}

#[tokio::test]
async fn notes_handshakes_and_rotates_identities() {
    accounts::notes_handshakes_and_rotates_identities(&Database::prepared().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rotates_once_in_a_race() {
    accounts::rotates_once_in_a_race(&Database::prepared().await).await;
}

#[tokio::test]
async fn changes_what_an_account_may_do() {
    accounts::changes_what_an_account_may_do(&Database::prepared().await).await;
}

#[tokio::test]
async fn ties_accounts_to_devices() {
    accounts::ties_accounts_to_devices(&Database::prepared().await).await;
}

#[tokio::test]
async fn lists_certificates_and_makes_their_devices() {
    devices::lists_certificates_and_makes_their_devices(&Database::prepared().await).await;
}

#[tokio::test]
async fn registers_just_in_time_within_bounds() {
    devices::registers_just_in_time_within_bounds(&Database::prepared().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn registers_once_in_a_race() {
    devices::registers_once_in_a_race(&Database::prepared().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn caps_new_devices_in_a_race() {
    devices::caps_new_devices_in_a_race(&Database::prepared().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gives_a_pub_to_one_device_in_a_race() {
    devices::gives_a_pub_to_one_device_in_a_race(&Database::prepared().await).await;
}

#[tokio::test]
async fn revokes_for_ever() {
    devices::revokes_for_ever(&Database::prepared().await).await;
}

#[tokio::test]
async fn links_a_device_to_a_pub_that_is_free() {
    devices::links_a_device_to_a_pub_that_is_free(&Database::prepared().await).await;
}

#[tokio::test]
async fn pages_through_everything() {
    devices::pages_through_everything(&Database::prepared().await).await;
}

#[tokio::test]
async fn tells_other_processes_what_changed() {
    devices::tells_other_processes_what_changed(&Database::prepared().await).await;
}

#[tokio::test]
async fn keeps_extreme_values_exactly() {
    contract::keeps_extreme_values_exactly(&Database::prepared().await).await;
}

#[tokio::test]
async fn stores_the_neighbours_of_a_bad_row() {
    contract::stores_the_neighbours_of_a_bad_row(&Database::prepared().await).await;
}

#[tokio::test]
async fn finds_adds_and_lists_devices() {
    contract::finds_adds_and_lists_devices(&Database::prepared().await).await;
}

#[tokio::test]
async fn follows_the_truth_table() {
    contract::follows_the_truth_table(&Database::prepared().await).await;
}

#[tokio::test]
async fn finds_the_latest_confirmation() {
    contract::finds_the_latest_confirmation(&Database::prepared().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gives_a_new_hash_one_creator() {
    contract::gives_a_new_hash_one_creator(&Database::prepared().await).await;
}

#[tokio::test]
async fn prepares_for_eight_at_once() {
    let database = Database::empty();
    contract::prepares_for_eight_at_once(&database).await;
    assert_eq!(database.sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'packet'::regclass"), "6");
}

#[tokio::test]
async fn refuses_a_newer_or_a_foreign_schema() {
    contract::refuses_a_newer_or_a_foreign_schema(&Database::prepared().await, &Database::empty()).await;
}

#[tokio::test]
async fn writes_on_several_lanes_at_once() {
    contract::writes_on_several_lanes_at_once(&Database::prepared().await).await;
}

/// Proves exactly once for a COMMIT whose answer is lost, with rows that nothing but the batch
/// number protects (no seq), with every kind of outcome in the batch.
async fn survives(cut: Cut) {
    let database = Database::prepared().await;
    database.store.add_pub(by_id(1)).await.unwrap().unwrap();
    let (proxy, url) = database.behind_a_proxy().await;
    let mut lane = open(&url).lane(1, 0);
    let all_new = vec![row(1); 3];
    let mixed = [
        row(1),
        row(99),
        PacketRow { seq: Some(1), ..row(1) },
        PacketRow { seq: Some(1), voltage: None, ..row(1) },
    ];
    let bad = [row(1), PacketRow { extra: Some("{".into()), ..row(1) }];
    assert_eq!(lane.write(&all_new).await.unwrap(), [Outcome::Stored, Outcome::Stored, Outcome::Stored]);
    proxy.cut(Moment::Batch, cut);
    assert_eq!(lane.write(&all_new).await.unwrap(), [Outcome::Stored, Outcome::Stored, Outcome::Stored]);
    assert!(proxy.was_cut());
    assert_eq!(database.sql("SELECT count(*) FROM packet"), "6", "{cut:?}");
    for (moment, stored) in [(Moment::Batch, "8"), (Moment::Look, "9")] {
        proxy.cut(moment, cut);
        let outcomes = lane.write(&mixed).await.unwrap();
        assert!(proxy.was_cut());
        assert_eq!(outcomes, [Outcome::Stored, Outcome::UnknownPub, Outcome::Stored, Outcome::SeqConflict]);
        assert_eq!(database.sql("SELECT count(*) FROM packet"), stored, "{cut:?} {moment:?}");
    }
    for (moment, stored) in [(Moment::Batch, "10"), (Moment::Commit, "11")] {
        proxy.cut(moment, cut);
        let outcomes = lane.write(&bad).await.unwrap();
        assert!(proxy.was_cut());
        assert!(matches!(&outcomes[..], [Outcome::Stored, Outcome::Rejected(_)]), "{outcomes:?}");
        assert_eq!(database.sql("SELECT count(*) FROM packet"), stored, "{cut:?} {moment:?}");
    }
    assert_eq!(database.sql("SELECT batch FROM ingest"), "6");
}

#[tokio::test]
async fn stores_once_when_a_commit_is_lost() {
    survives(Cut::BeforeIt).await;
}

#[tokio::test]
async fn stores_once_when_the_answer_to_a_commit_is_lost() {
    survives(Cut::AfterIt).await;
}

#[tokio::test]
async fn stores_once_when_a_commit_comes_late() {
    survives(Cut::BeforeItButItArrivesLate).await;
}

#[tokio::test]
async fn remembers_a_commit_it_could_not_ask_about_in_time() {
    let cluster = Cluster::start();
    let store = open(&cluster.url());
    store.prepare().await.unwrap();
    store.add_pub(by_id(1)).await.unwrap().unwrap();
    let proxy = Proxy::start(cluster.port()).await;
    let url = cluster.url().replace(&format!(":{}/", cluster.port()), &format!(":{}/", proxy.port()));
    let mut lane = open(&url).lane(1, 0);
    assert_eq!(lane.write(&[row(1)]).await.unwrap(), [Outcome::Stored]);
    proxy.cut(Moment::Batch, Cut::AfterIt);
    cluster.sql_in("postgres", "ALTER DATABASE m0v ALLOW_CONNECTIONS false"); // those that are open stay
    let error = lane.write(&[row(1), row(1)]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("fate")), "{error}");
    cluster.sql_in("postgres", "ALTER DATABASE m0v ALLOW_CONNECTIONS true");
    assert_eq!(lane.write(&[row(1), row(1)]).await.unwrap(), [Outcome::Stored, Outcome::Stored]);
    assert_eq!(cluster.sql("SELECT count(*) FROM packet"), "3", "the same rows: the pending batch's answer");
}

/// Cut off between the commit and the look at what became of each row, and before it can look
/// again another writer takes the next number (a data directory that was copied). The number does
/// not tell any more; the transaction's id does.
#[tokio::test]
async fn a_batch_known_to_be_stored_stays_so_when_another_writer_comes() {
    let cluster = Cluster::start();
    let store = open(&cluster.url());
    store.prepare().await.unwrap();
    store.add_pub(by_id(1)).await.unwrap().unwrap();
    let proxy = Proxy::start(cluster.port()).await;
    let url = cluster.url().replace(&format!(":{}/", cluster.port()), &format!(":{}/", proxy.port()));
    let rows = [row(1), row(99)];
    for is_settled in [true, false] {
        let before: i64 = cluster.sql("SELECT count(*) FROM packet").parse().unwrap();
        let mut lane = open(&url).lane(1, 0);
        lane.write(&[row(1)]).await.unwrap();
        proxy.cut(Moment::Look, Cut::BeforeIt);
        cluster.sql_in("postgres", "ALTER DATABASE m0v ALLOW_CONNECTIONS false"); // those that are open stay
        lane.write(&rows).await.unwrap_err();
        assert!(proxy.was_cut());
        cluster.sql_in("postgres", "ALTER DATABASE m0v ALLOW_CONNECTIONS true");
        open(&cluster.url()).lane(1, 0).write(&[row(1)]).await.unwrap();
        if is_settled {
            let unsettled = lane.unsettled().expect("its outcomes are missing");
            assert_eq!(unsettled.outcomes, None);
            assert!(lane.settle(unsettled.ticket).await.unwrap(), "it is stored");
            assert_eq!(lane.unsettled(), None);
        } else {
            assert_eq!(lane.write(&rows).await.unwrap(), [Outcome::Stored, Outcome::UnknownPub]);
        }
        let stored: i64 = cluster.sql("SELECT count(*) FROM packet").parse().unwrap();
        assert_eq!(stored - before, 3, "once each");
        lane.write(&[row(1)]).await.unwrap();
    }
}

#[tokio::test]
async fn writes_a_reserved_batch_once_and_tells_what_became_of_it() {
    for cut in [None, Some(Cut::BeforeIt), Some(Cut::AfterIt), Some(Cut::BeforeItButItArrivesLate)] {
        let database = Database::prepared().await;
        database.store.add_pub(by_id(1)).await.unwrap().unwrap();
        let (proxy, url) = database.behind_a_proxy().await;
        let mut lane = open(&url).lane(1, 1000);
        let rows = [row(1), row(99), PacketRow { extra: Some("{".into()), ..row(1) }, row(1)];
        let other = [RejectedRow { row: row(5), reason: "because".into() }];
        let ticket = lane.reserve().await.unwrap();
        if let Some(cut) = cut {
            proxy.cut(Moment::Commit, cut);
        }
        let written = lane.write_as(ticket, &rows, &other).await;
        assert_eq!(written.is_ok(), cut.is_none(), "{written:?}");
        // Another process asks.
        let is_stored = open(&url).lane(1, 1000).settle(ticket).await.unwrap();
        assert_eq!(is_stored, cut != Some(Cut::BeforeIt), "{cut:?}");
        let mut lane = open(&url).lane(1, 1000);
        if !is_stored {
            let ticket = lane.reserve().await.unwrap();
            lane.write_as(ticket, &rows, &other).await.unwrap();
        }
        assert_eq!(database.sql("SELECT count(*) FROM packet"), "2", "{cut:?}");
        let reasons = database.sql("SELECT pub_id, reason FROM rejected ORDER BY id");
        let reasons: Vec<_> = reasons.lines().collect();
        assert_eq!(reasons.len(), 3, "{reasons:?}");
        assert_eq!((reasons[0], reasons[2]), ("99|unknown id 99: the device was deleted", "5|because"));
        assert!(reasons[1].contains("json"), "{reasons:?}");
        // A batch of refused ones alone counts like any other.
        let ticket = lane.reserve().await.unwrap();
        lane.write_as(ticket, &[], &other).await.unwrap();
        assert!(lane.settle(ticket).await.unwrap());
        assert!(lane.write_as(ticket, &rows, &[]).await.is_err(), "a number is used once");
        assert_eq!(database.sql("SELECT count(*) FROM packet"), "2", "{cut:?}");
    }
}

#[tokio::test]
async fn a_lane_that_was_cut_off_can_be_settled_before_it_goes_on() {
    for cut in [Cut::BeforeIt, Cut::AfterIt, Cut::BeforeItButItArrivesLate] {
        let database = Database::prepared().await;
        database.store.add_pub(by_id(1)).await.unwrap().unwrap();
        let (proxy, url) = database.behind_a_proxy().await;
        let mut lane = open(&url).lane(1, 0);
        lane.write(&[row(1)]).await.unwrap();
        assert_eq!(lane.unsettled(), None);
        proxy.cut(Moment::Batch, cut);
        // Given up while it commits, as by a writer that finds it too slow.
        let until_cut = async {
            while !proxy.was_cut() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let rows = [row(1), row(1)];
        tokio::select! {
            biased;
            () = until_cut => {}
            written = lane.write(&rows) => panic!("{written:?} before the cut"),
        }
        let unsettled = lane.unsettled().expect("it was sent");
        let is_stored = lane.settle(unsettled.ticket).await.unwrap();
        assert_eq!(database.sql("SELECT count(*) FROM packet"), if is_stored { "3" } else { "1" }, "{cut:?}");
        assert_eq!(lane.unsettled(), None);
        lane.write(&[row(1)]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await; // a late batch finds its number taken
        assert_eq!(database.sql("SELECT count(*) FROM packet"), if is_stored { "4" } else { "2" }, "{cut:?}");
    }
}

#[tokio::test]
async fn goes_on_after_the_database_was_away() {
    let cluster = Cluster::start();
    let store = open(&cluster.url());
    store.prepare().await.unwrap();
    store.add_pub(by_id(1)).await.unwrap().unwrap();
    let mut lane = store.lane(1, 0);
    assert_eq!(lane.write(&seqs(0..10)).await.unwrap(), vec![Outcome::Stored; 10]);

    cluster.crash();
    let started = Instant::now();
    let error = lane.write(&seqs(10..20)).await.unwrap_err();
    assert!(error.is_transient() && started.elapsed() < Duration::from_secs(2), "{error}");
    assert!(store.ping().await.unwrap_err().is_transient());
    cluster.restart();
    assert_eq!(lane.write(&seqs(10..20)).await.unwrap(), vec![Outcome::Stored; 10]);
    store.ping().await.unwrap();

    cluster.restart(); // between two batches: the lane's connection is dead, unnoticed
    assert_eq!(lane.write(&seqs(20..30)).await.unwrap(), vec![Outcome::Stored; 10]);
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'm0v'");
    assert_eq!(lane.write(&seqs(30..40)).await.unwrap(), vec![Outcome::Stored; 10]);
    assert_eq!(cluster.sql("SELECT count(*), count(DISTINCT seq) FROM packet"), "40|40");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_and_doubles_nothing_through_crashes() {
    let cluster = Arc::new(Cluster::start());
    let store = open(&cluster.url());
    store.prepare().await.unwrap();
    store.add_pub(by_id(1)).await.unwrap().unwrap();
    let writers: Vec<_> = (0..2)
        .map(|number| {
            let mut lane = store.lane(1, number);
            tokio::spawn(async move {
                let since = Instant::now();
                let mut batches = 0_i64;
                while since.elapsed() < Duration::from_secs(6) {
                    // No seq: created_at tells the batches apart, the number alone keeps them single.
                    let created_at = T0 + i64::from(number) * 1_000_000_000 + batches;
                    let rows = vec![PacketRow { created_at, ..row(1) }; 20];
                    while let Err(error) = lane.write(&rows).await {
                        assert!(error.is_transient(), "{error}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    batches += 1;
                }
                batches
            })
        })
        .collect();
    let crashes = {
        let cluster = Arc::clone(&cluster);
        tokio::task::spawn_blocking(move || {
            for _ in 0..4 {
                std::thread::sleep(Duration::from_millis(700));
                cluster.crash();
                cluster.restart();
            }
        })
    };
    crashes.await.unwrap();
    let mut batches = 0;
    for writer in writers {
        batches += writer.await.unwrap();
    }
    assert!(batches > 20, "{batches}");
    assert_eq!(
        cluster.sql("SELECT count(*), count(DISTINCT created_at) FROM packet"),
        format!("{}|{batches}", batches * 20)
    );
}

#[tokio::test]
async fn says_why_it_cannot_connect_and_never_the_password() {
    let database = Database::empty();
    let url = database.cluster.url_of(&database.name);
    let refused = [
        (url.replace("pass%2Fword", "wr0ng"), "28P01"),
        (url.replace(&format!("/{}", database.name), "/nowhere"), "3D000"),
        (url.replace(":pass%2Fword", ""), "password"),
        (format!("{url}?sslmode=require"), "TLS"),
    ];
    for (url, word) in refused {
        let store = open(&url);
        let mut lane = store.lane(1, 0);
        for error in [store.prepare().await.unwrap_err(), lane.write(&[row(1)]).await.unwrap_err()] {
            let text = error.to_string();
            assert!(matches!(error, StoreError::Refused(_)), "{text}");
            assert!(text.contains(word) && text.contains("127.0.0.1"), "{text}");
            assert!(
                !text.contains("wr0ng") && !text.contains("pass%2Fword") && !text.contains("pass/word"),
                "{text}"
            );
        }
    }
    let away = ["postgres://u:s3cret@127.0.0.1:9/d", "postgres://u:s3cret@nowhere.invalid/d"];
    for url in away {
        let error = open(url).ping().await.unwrap_err();
        assert!(error.is_transient() && !error.to_string().contains("s3cret"), "{error}");
    }
    let debug = format!("{:?}", options("postgres://u:s3cret@h/d"));
    assert!(!debug.contains("s3cret"), "{debug}");
}

#[tokio::test]
async fn refuses_a_database_that_does_not_keep_what_it_acknowledges() {
    for setting in ["fsync", "full_page_writes"] {
        let cluster = Cluster::start_with(&[&format!("{setting}=off")]);
        let store = open(&cluster.url());
        let error = store.prepare().await.unwrap_err();
        assert!(matches!(&error, StoreError::Unsafe(text) if text.contains(setting)), "{error}");
        let error = store.lane(1, 0).write(&[row(1)]).await.unwrap_err();
        assert!(matches!(error, StoreError::Unsafe(_)), "{error}");
        let allowed =
            Postgres::new(PostgresOptions { allow_unsafe: true, ..options(&cluster.url()) }).unwrap();
        allowed.prepare().await.unwrap();
    }
}

#[tokio::test]
async fn hangs_on_no_setting_of_the_database() {
    let database = Database::empty();
    for setting in [
        "\"DateStyle\" = 'German, DMY'",
        "\"TimeZone\" = 'Asia/Kathmandu'",
        "\"IntervalStyle\" = 'iso_8601'",
        "synchronous_commit = off",
        "default_transaction_isolation = 'serializable'",
        "bytea_output = 'escape'",
        "extra_float_digits = -10",
    ] {
        database.sql(&format!("ALTER DATABASE {} SET {setting}", database.name));
    }
    database.store.prepare().await.unwrap();
    contract::keeps_extreme_values_exactly(&database).await;
    let bounds = "SET timezone = 'UTC'; SET datestyle = 'ISO'; SELECT count(*) FROM pg_class
                   WHERE relname ~ '^packet_y....m..$'
                     AND pg_get_expr(relpartbound, oid) ~ '-01 00:00:00[+]00.. TO ..20..-..-01 00:00:00[+]00'";
    assert_eq!(database.sql(bounds), "5", "months of UTC");
}

#[tokio::test]
async fn raises_synchronous_commit_and_never_lowers_it() {
    let database = Database::prepared().await;
    database.sql(&format!("ALTER DATABASE {} SET synchronous_commit = off", database.name));
    database.sql(
        "CREATE TABLE seen (setting text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
         CREATE TRIGGER see AFTER INSERT ON packet FOR EACH STATEMENT EXECUTE FUNCTION see();
         CREATE TRIGGER see AFTER INSERT ON confo FOR EACH STATEMENT EXECUTE FUNCTION see()",
    );
    let store = database.another();
    store.add_pub(by_id(1)).await.unwrap().unwrap();
    store.lane(1, 0).write(&[row(1)]).await.unwrap();
    database.sql(&format!("ALTER DATABASE {} SET synchronous_commit = remote_apply", database.name));
    database.another().lane(1, 0).write(&[row(1)]).await.unwrap();
    assert_eq!(database.sql("SELECT string_agg(setting, ',') FROM seen"), "on,remote_apply");
}

#[tokio::test]
async fn waits_for_a_primary_where_it_may_only_read() {
    let database = Database::prepared().await;
    database.store.add_pub(by_id(1)).await.unwrap().unwrap();
    database.sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name));
    let store = database.another();
    let mut lane = store.lane(1, 0);
    assert!(lane.write(&[row(1)]).await.unwrap_err().is_transient());
    assert!(store.add_pub(PubRef::default()).await.unwrap_err().is_transient());
    assert!(store.find_pub(by_id(1)).await.unwrap().is_some());
    database.cluster.sql_in("postgres", &format!("ALTER DATABASE {} RESET ALL", database.name));
    assert_eq!(lane.write(&[row(1)]).await.unwrap(), [Outcome::Stored], "on a new connection");
    store.add_pub(PubRef::default()).await.unwrap().unwrap();
}

#[tokio::test]
async fn two_with_one_name_lose_nothing() {
    let database = Database::prepared().await;
    database.store.add_pub(by_id(1)).await.unwrap().unwrap();
    let (mut mine, mut copy) = (database.store.lane(1, 0), database.another().lane(1, 0));
    for batch in 0..5 {
        for lane in [&mut mine, &mut copy] {
            let rows = vec![PacketRow { created_at: T0 + batch, ..row(1) }; 2];
            assert_eq!(lane.write(&rows).await.unwrap(), [Outcome::Stored, Outcome::Stored]);
        }
    }
    assert_eq!(database.sql("SELECT count(*) FROM packet"), "20");
    assert_eq!(database.sql("SELECT batch FROM ingest"), "10");
}

#[tokio::test]
async fn writes_nothing_when_only_its_begin_fails() {
    let database = Database::prepared().await;
    database.store.add_pub(by_id(1)).await.unwrap().unwrap();
    let (proxy, url) = database.behind_a_proxy().await;
    let mut lane = open(&url).lane(1, 0);
    lane.write(&[row(1)]).await.unwrap();
    proxy.cut(Moment::Begin, Cut::Spoil);
    let bad = PacketRow { extra: Some("{".into()), ..row(1) };
    let error = lane.write(&[row(1), bad]).await.unwrap_err();
    assert!(proxy.was_cut() && error.to_string().contains("42601"), "{error}");
    assert_eq!(
        database.sql("SELECT count(*), max(batch) FROM packet, ingest"),
        "1|1",
        "nothing committed by itself"
    );
    assert_eq!(lane.write(&[row(1)]).await.unwrap(), [Outcome::Stored]);
    assert_eq!(database.sql("SELECT count(*), max(batch) FROM packet, ingest"), "2|2");
}

#[tokio::test]
async fn keeps_partitions_for_the_months_to_come() {
    let database = Database::prepared().await;
    let this_month = database.sql("SELECT to_char(now() AT TIME ZONE 'UTC', '\"packet_y\"YYYY\"m\"MM')");
    let partition_of = |condition: &str| {
        database.sql(&format!("SELECT DISTINCT tableoid::regclass FROM packet WHERE {condition}"))
    };
    database.store.add_pub(by_id(1)).await.unwrap().unwrap();
    let now = database.sql("SELECT (extract(epoch FROM now()) * 1000000)::bigint").parse::<i64>().unwrap();
    let mut lane = database.store.lane(1, 0);
    let rows: Vec<_> = (0..50).map(|seq| PacketRow { created_at: now, seq: Some(seq), ..row(1) }).collect();
    lane.write(&rows).await.unwrap();
    lane.write(&[row(1)]).await.unwrap();
    assert_eq!(partition_of(&format!("created_at <> '{}'", "2023-11-14 22:13:20+00")), this_month);
    assert_eq!(partition_of("created_at = '2023-11-14 22:13:20+00'"), "packet_default");

    // A node that slept for months: this month's rows lie in the default partition.
    database.sql(&format!(
        "BEGIN; ALTER TABLE packet DETACH PARTITION {this_month};
         INSERT INTO packet SELECT * FROM {this_month}; DROP TABLE {this_month}; COMMIT"
    ));
    assert_eq!(partition_of("seq IS NOT NULL"), "packet_default");
    let (first, second) = (database.another(), database.another());
    let writing = async {
        for seq in 50..100 {
            let outcomes = lane.write(&[PacketRow { created_at: now, seq: Some(seq), ..row(1) }]).await;
            assert_eq!(outcomes.unwrap(), [Outcome::Stored]);
        }
    };
    let (one, two, ()) = tokio::join!(first.maintain(), second.maintain(), writing);
    one.unwrap();
    two.unwrap();
    assert_eq!(partition_of("seq IS NOT NULL"), this_month);
    assert_eq!(database.sql("SELECT count(*), count(DISTINCT seq) FROM packet"), "101|100");
    assert_eq!(lane.write(&rows).await.unwrap(), vec![Outcome::Stored; 50], "the resend is still recognised");
    assert_eq!(database.sql("SELECT count(*) FROM packet"), "101");
    let constraints = database.sql(&format!(
        "SELECT count(*) FROM pg_constraint WHERE conrelid = '{this_month}'::regclass AND contype IN ('p', 'u', 'f')"
    ));
    assert_eq!(constraints, "3", "keys are those of the whole");
}

#[tokio::test]
async fn gives_up_upkeep_rather_than_hold_up_writers() {
    let database = Database::prepared().await;
    database.store.add_pub(by_id(1)).await.unwrap().unwrap();
    let month = database.sql("SELECT to_char(now() AT TIME ZONE 'UTC', '\"packet_y\"YYYY\"m\"MM')");
    database.sql(&format!("DROP TABLE {month}"));
    let reader = {
        let (cluster, name) = (Arc::clone(&database.cluster), database.name.clone());
        tokio::task::spawn_blocking(move || {
            cluster.sql_in(&name, "BEGIN; SELECT count(*) FROM packet_default; SELECT pg_sleep(4); COMMIT")
        })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut lane = database.store.lane(1, 0);
    let (upkeep, written) = tokio::join!(database.store.maintain(), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        lane.write(&[row(1)]).await
    });
    assert!(upkeep.unwrap_err().is_transient());
    assert_eq!(written.unwrap(), [Outcome::Stored]);
    reader.await.unwrap();
    database.store.maintain().await.unwrap();
}

#[tokio::test]
async fn verifies_the_database_against_the_ca_file() {
    let authority = || {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), rcgen::Issuer::new(params, key))
    };
    let ((ca, issuer), (other_ca, _)) = (authority(), authority());
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf =
        rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    let cluster = Cluster::start_with_tls(&leaf.pem(), &key.serialize_pem());
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, pem: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let (ca, other_ca) = (write("ca.pem", &ca), write("other.pem", &other_ca));
    let open = |ca_file, query: &str| {
        let url = format!("{}{query}", cluster.url());
        Postgres::new(PostgresOptions { ca_file, ..options(&url) })
    };
    let is_encrypted = || {
        cluster.sql("SELECT bool_or(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'm0v'")
    };

    let verified = open(Some(ca.clone()), "").unwrap();
    verified.ping().await.unwrap();
    assert_eq!(is_encrypted(), "t");
    drop(verified);
    open(Some(ca), "?sslmode=verify-full").unwrap().ping().await.unwrap();
    open(None, "").unwrap().ping().await.unwrap();
    open(None, "?sslmode=disable").unwrap().ping().await.unwrap();
    for refused in [open(Some(other_ca), "").unwrap(), open(None, "?sslmode=require").unwrap()] {
        let error = refused.ping().await.unwrap_err();
        assert!(matches!(&error, StoreError::Refused(text) if text.contains("certificate")), "{error}");
    }
    let error = open(Some(directory.path().join("none.pem")), "").err().unwrap();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("none.pem")), "{error}");
}
