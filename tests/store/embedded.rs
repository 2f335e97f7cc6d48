//! The suite on the embedded store, and what is its own.

use crate::accounts;
use crate::contract::{self, Bench, by_id, row};
use crate::devices;
use crate::keys;
use crate::people;
use m0v::{
    protocol::packet::PubRef,
    store::{Outcome, PacketRow, Store, StoreError, embedded::Embedded},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

struct File {
    directory: TempDir,
    store: Option<Arc<Embedded>>,
}

impl File {
    fn empty() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory"), store: None }
    }

    async fn prepared() -> Self {
        let mut file = Self::empty();
        let store = Embedded::open(file.path()).expect("a new file");
        store.prepare().await.expect("a schema");
        file.store = Some(Arc::new(store));
        file
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("m0v.sqlite")
    }
}

impl Bench for File {
    fn store(&self) -> Arc<dyn Store> {
        let store = self.store.as_ref().expect("prepared");
        Arc::clone(store) as Arc<dyn Store>
    }

    fn another(&self) -> Arc<dyn Store> {
        Arc::new(Embedded::open(self.path()).expect("the same file"))
    }

    fn sql(&self, sql: &str) -> String {
        let output = Command::new("sqlite3")
            .args(["-batch", "-bail", "-cmd", ".timeout 5000"])
            .arg(self.path())
            .arg(sql)
            .output()
            .expect("sqlite3");
        assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn micros(&self, column: &str) -> String {
        column.into()
    }
}

#[tokio::test]
async fn gives_each_row_its_outcome() {
    contract::gives_each_row_its_outcome(&File::prepared().await).await;
}

#[tokio::test]
async fn registers_and_deregisters_keeping_the_id() {
    people::registers_and_deregisters_keeping_the_id(&File::prepared().await).await;
}

#[tokio::test]
async fn adds_and_retires_keys() {
    keys::adds_and_retires_keys(&File::prepared().await).await;
}

#[tokio::test]
async fn resolves_a_conflict() {
    people::resolves_a_conflict(&File::prepared().await).await;
}

#[tokio::test]
async fn wakes_those_who_wait_wherever_it_was_stored() {
    people::wakes_those_who_wait_wherever_it_was_stored(&File::prepared().await).await;
}

#[tokio::test]
async fn tells_later_confirmations_from_earlier_ones() {
    people::tells_later_confirmations_from_earlier_ones(&File::prepared().await).await;
}

#[tokio::test]
async fn lets_in_by_the_rules_of_the_entry() {
    accounts::lets_in_by_the_rules_of_the_entry(&File::prepared().await).await;
}

#[tokio::test]
async fn refuses_tokens_that_are_used_up_or_expired() {
    accounts::refuses_tokens_that_are_used_up_or_expired(&File::prepared().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uses_a_token_up_exactly() {
    accounts::uses_a_token_up_exactly(&File::prepared().await).await;
}

#[tokio::test]
async fn notes_handshakes_and_rotates_identities() {
    accounts::notes_handshakes_and_rotates_identities(&File::prepared().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rotates_once_in_a_race() {
    accounts::rotates_once_in_a_race(&File::prepared().await).await;
}

#[tokio::test]
async fn changes_what_an_account_may_do() {
    accounts::changes_what_an_account_may_do(&File::prepared().await).await;
}

#[tokio::test]
async fn ties_accounts_to_devices() {
    accounts::ties_accounts_to_devices(&File::prepared().await).await;
}

#[tokio::test]
async fn lists_certificates_and_makes_their_devices() {
    devices::lists_certificates_and_makes_their_devices(&File::prepared().await).await;
}

#[tokio::test]
async fn registers_just_in_time_within_bounds() {
    devices::registers_just_in_time_within_bounds(&File::prepared().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn registers_once_in_a_race() {
    devices::registers_once_in_a_race(&File::prepared().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn caps_new_devices_in_a_race() {
    devices::caps_new_devices_in_a_race(&File::prepared().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gives_a_pub_to_one_device_in_a_race() {
    devices::gives_a_pub_to_one_device_in_a_race(&File::prepared().await).await;
}

#[tokio::test]
async fn revokes_for_ever() {
    devices::revokes_for_ever(&File::prepared().await).await;
}

#[tokio::test]
async fn links_a_device_to_a_pub_that_is_free() {
    devices::links_a_device_to_a_pub_that_is_free(&File::prepared().await).await;
}

#[tokio::test]
async fn pages_through_everything() {
    devices::pages_through_everything(&File::prepared().await).await;
}

#[tokio::test]
async fn tells_other_processes_what_changed() {
    devices::tells_other_processes_what_changed(&File::prepared().await).await;
}

#[tokio::test]
async fn keeps_extreme_values_exactly() {
    contract::keeps_extreme_values_exactly(&File::prepared().await).await;
}

#[tokio::test]
async fn stores_the_neighbours_of_a_bad_row() {
    contract::stores_the_neighbours_of_a_bad_row(&File::prepared().await).await;
}

#[tokio::test]
async fn finds_adds_and_lists_devices() {
    contract::finds_adds_and_lists_devices(&File::prepared().await).await;
}

#[tokio::test]
async fn follows_the_truth_table() {
    contract::follows_the_truth_table(&File::prepared().await).await;
}

#[tokio::test]
async fn finds_the_latest_confirmation() {
    contract::finds_the_latest_confirmation(&File::prepared().await).await;
}

#[tokio::test]
async fn gives_a_new_hash_one_creator() {
    contract::gives_a_new_hash_one_creator(&File::prepared().await).await;
}

#[tokio::test]
async fn prepares_for_eight_at_once() {
    contract::prepares_for_eight_at_once(&File::empty()).await;
}

#[tokio::test]
async fn refuses_a_newer_or_a_foreign_schema() {
    contract::refuses_a_newer_or_a_foreign_schema(&File::prepared().await, &File::empty()).await;
}

#[tokio::test]
async fn writes_on_several_lanes_at_once() {
    contract::writes_on_several_lanes_at_once(&File::prepared().await).await;
}

#[tokio::test]
async fn keeps_the_file_and_its_log_private() {
    let file = File::prepared().await;
    file.store().add_pub(PubRef::default()).await.unwrap().unwrap();
    for name in ["m0v.sqlite", "m0v.sqlite-wal", "m0v.sqlite-shm"] {
        let mode = fs::metadata(file.directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn says_what_is_wrong_with_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let error = Embedded::open(directory.path().join("none/m0v.sqlite")).err().unwrap();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("no directory")), "{error}");
    let error = Embedded::open(directory.path()).err().unwrap();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    let path = directory.path().join("text");
    fs::write(&path, "this is no database, but it is long enough to have a header".repeat(100)).unwrap();
    let error = Embedded::open(&path).err().unwrap();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("text")), "{error}");
}

#[tokio::test]
async fn shares_the_file_with_other_processes() {
    let file = File::prepared().await;
    let store = file.store();
    store.add_pub(by_id(1)).await.unwrap().unwrap();
    let mut lane = store.lane(1, 0);
    let beside = {
        let path = file.path();
        tokio::task::spawn_blocking(move || {
            for id in 100..140 {
                let output = Command::new("sqlite3")
                    .args(["-batch", "-bail", "-cmd", ".timeout 5000"])
                    .arg(&path)
                    .arg(format!("INSERT INTO pub (pub_id) VALUES ({id}); SELECT count(*) FROM packet"))
                    .output()
                    .expect("sqlite3");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        })
    };
    let mut seq = 0;
    while !beside.is_finished() {
        seq += 1;
        let rows = [PacketRow { seq: Some(seq), ..row(1) }];
        assert_eq!(lane.write(&rows).await.unwrap(), [Outcome::Stored]);
    }
    beside.await.unwrap();
    assert_eq!(file.sql("SELECT count(*) FROM packet"), seq.to_string());
    assert_eq!(lane.write(&[row(139)]).await.unwrap(), [Outcome::Stored], "what they made is known at once");
}

#[tokio::test]
async fn is_unavailable_while_another_process_holds_the_lock() {
    let file = File::prepared().await;
    let store = file.store();
    store.add_pub(by_id(1)).await.unwrap().unwrap();
    let mut holder = Command::new("sqlite3")
        .args(["-batch", "-cmd", "BEGIN IMMEDIATE"])
        .arg(file.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answer = [0; 2];
    std::io::Write::write_all(holder.stdin.as_mut().unwrap(), b"SELECT 1;\n").unwrap();
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut answer).unwrap();
    let mut lane = store.lane(1, 0);
    let error = lane.write(&[row(1)]).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(store.find_pub(by_id(1)).await.unwrap().is_some(), "reading goes on");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!(lane.write(&[row(1)]).await.unwrap(), [Outcome::Stored]);
    assert_eq!(file.sql("SELECT count(*) FROM packet"), "1");
}

#[tokio::test]
async fn what_was_changed_is_told_when_nobody_waits_for_the_answer() {
    let file = File::prepared().await;
    let store = file.store();
    let mut changes = store.changes();
    let enrolment = devices::listed("d1", 1);
    // Asked once, so that the job is on its way, and dropped.
    let mut enrolled = Box::pin(store.enrol(&enrolment, "root"));
    assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(enrolled.as_mut().poll(cx).is_pending())).await);
    drop(enrolled);
    let told = tokio::time::timeout(std::time::Duration::from_secs(10), changes.recv()).await;
    assert!(told.expect("within ten seconds").is_ok());
    assert!(store.find_device("d1").await.unwrap().is_some());
}
