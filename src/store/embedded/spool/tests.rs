use super::{Claimed, FILE, Kept, ROW_BYTES, SpoolFile, Spooled};
use crate::{
    protocol::packet::PubRef,
    store::{PacketRow, StoreError, Ticket},
};
use rusqlite::Connection;
use std::fs;
use tempfile::TempDir;

const BOUND: u64 = 1 << 20;

fn packet(seq: Option<i64>, voltage: f64) -> Spooled {
    let row = PacketRow {
        pub_id: 17,
        created_at: 1_700_000_000_000_000,
        voltage: Some(voltage),
        frequency: None,
        protected: true,
        seq,
        extra: seq.map(|_| r#"{"a":1}"#.to_owned()),
    };
    Spooled { row, make: PubRef::default() }
}

fn ticket(number: i64) -> Ticket {
    Ticket { lane: 1000, number, writer: 7 }
}

fn open(dir: &TempDir) -> SpoolFile {
    SpoolFile::open(dir.path(), BOUND).unwrap()
}

fn rows(claimed: Vec<Claimed>) -> Vec<PacketRow> {
    let row = |claimed| match claimed {
        Claimed::Packet(row) => row,
        Claimed::Refused { reason, .. } => panic!("{reason}"),
    };
    claimed.into_iter().map(row).collect()
}

#[tokio::test]
async fn keeps_seq_its_meaning() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    let other_spelling = Spooled {
        row: PacketRow { extra: Some(r#"{ "a" : 1.0 }"#.into()), ..packet(Some(1), 1.0).row },
        ..packet(None, 1.0)
    };
    let batch = vec![
        packet(Some(1), 1.0),
        packet(Some(1), 1.0),
        packet(Some(1), 2.0),
        other_spelling,
        packet(None, 1.0),
        packet(None, 1.0),
    ];
    use Kept::{SeqConflict, Stored};
    let expected = [Stored, Stored, SeqConflict, Stored, Stored, Stored];
    assert_eq!(spool.put(batch.clone(), None).await.unwrap(), expected);
    assert_eq!(spool.rows(), 3);
    assert_eq!(spool.bytes(), 3 * ROW_BYTES + 7);
    drop(spool);
    let spool = open(&dir);
    assert_eq!(spool.rows(), 3, "counted anew");
    assert_eq!(spool.put(batch, None).await.unwrap(), expected, "by another process, too");
    assert_eq!(spool.rows(), 5);
}

#[tokio::test]
async fn marks_survive_and_the_oldest_leave_first() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    let node = spool.node();
    spool.put((0..10).map(|seq| packet(Some(seq), 1.0)).collect(), None).await.unwrap();
    let taken = rows(spool.claim(ticket(1), 4).await.unwrap());
    assert_eq!(taken.iter().filter_map(|row| row.seq).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(taken[0], packet(Some(0), 1.0).row, "exactly as put");
    drop(spool);
    let spool = open(&dir);
    assert_eq!((spool.node(), spool.rows()), (node, 10));
    assert_eq!(spool.unsettled().await.unwrap(), [ticket(1)]);
    let next = rows(spool.claim(ticket(2), 4).await.unwrap());
    assert_eq!(next.iter().filter_map(|row| row.seq).collect::<Vec<_>>(), [4, 5, 6, 7]);
    assert_eq!(spool.finish(ticket(2)).await.unwrap(), 4);
    spool.release(ticket(1)).await.unwrap();
    assert_eq!(rows(spool.claim(ticket(3), 100).await.unwrap()).len(), 6);
    assert_eq!(spool.finish(ticket(3)).await.unwrap(), 6);
    assert_eq!((spool.rows(), spool.bytes(), spool.oldest().await.unwrap()), (0, 0, None));
}

#[tokio::test]
async fn a_batch_is_bounded_in_bytes_and_never_empty() {
    let dir = TempDir::new().unwrap();
    let spool = SpoolFile::open(dir.path(), 1 << 30).unwrap();
    let big = |seq| {
        let extra = format!(r#"{{"a":"{}"}}"#, "x".repeat(300_000));
        Spooled { row: PacketRow { extra: Some(extra), ..packet(Some(seq), 1.0).row }, ..packet(None, 1.0) }
    };
    spool.put((0..3).map(big).collect(), None).await.unwrap();
    for number in 1..=3 {
        assert_eq!(spool.claim(ticket(number), 1000).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_nobody_saw_is_sent_again_only_where_that_does_no_harm() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    let lost = Ticket { lane: 0, ..ticket(5) };
    let gone = Spooled { row: PacketRow { pub_id: 18, ..packet(None, 3.0).row }, ..packet(None, 3.0) };
    let batch = vec![packet(Some(1), 1.0), packet(None, 2.0), gone.clone()];
    spool.put(batch, Some(lost)).await.unwrap();
    assert!(spool.claim(ticket(1), 10).await.unwrap().is_empty(), "its fate is not known");
    let mut devices = spool.devices(lost).await.unwrap();
    devices.sort_unstable();
    assert_eq!(devices, [17, 18]);
    spool.finish_unseen(lost, vec![18]).await.unwrap();
    let again = rows(spool.claim(ticket(1), 10).await.unwrap());
    assert_eq!(again, [packet(Some(1), 1.0).row, gone.row]);
}

#[tokio::test]
async fn strangers_wait_for_their_id() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    let by_id = PubRef { id: Some(5), hash: None };
    let by_hash = PubRef { id: None, hash: Some(77) };
    let of = |make, seq| Spooled { make, ..packet(Some(seq), 1.0) };
    let make_of = |make: PubRef, seq| {
        let spooled = of(make, seq);
        Spooled { row: PacketRow { pub_id: 0, ..spooled.row }, make }
    };
    spool.put(vec![make_of(by_id, 1), make_of(by_hash, 1), make_of(by_hash, 2)], None).await.unwrap();
    assert!(spool.claim(ticket(1), 10).await.unwrap().is_empty());
    assert_eq!(spool.strangers().await.unwrap(), [by_id, by_hash]);
    spool.introduce(by_id, Ok(5)).await.unwrap();
    spool.introduce(by_hash, Err("no".into())).await.unwrap();
    assert!(spool.strangers().await.unwrap().is_empty());
    let claimed = spool.claim(ticket(1), 10).await.unwrap();
    assert!(matches!(&claimed[0], Claimed::Packet(row) if row.pub_id == 5), "{claimed:?}");
    let refused = |claimed: &Claimed| matches!(claimed, Claimed::Refused { reason, .. } if reason == "no");
    assert!(claimed[1..].iter().all(refused) && claimed.len() == 3, "{claimed:?}");
}

#[tokio::test]
async fn refuses_beyond_its_bound_and_takes_again() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    let fitting = usize::try_from(BOUND / ROW_BYTES).unwrap();
    let kept = spool.put(vec![packet(None, 1.0); fitting + 1], None).await.unwrap();
    assert_eq!(kept.iter().filter(|kept| **kept == Kept::Full).count(), 1);
    assert!(!spool.has_room());
    assert_eq!(spool.put(vec![packet(None, 1.0)], None).await.unwrap(), [Kept::Full]);
    let size = fs::metadata(dir.path().join(FILE)).unwrap().len()
        + fs::metadata(dir.path().join(format!("{FILE}-wal"))).unwrap().len();
    assert!(size < 4 * BOUND, "{size}");
    spool.claim(ticket(1), 100).await.unwrap();
    spool.finish(ticket(1)).await.unwrap();
    assert!(spool.has_room());
    assert_eq!(spool.put(vec![packet(None, 1.0)], None).await.unwrap(), [Kept::Stored]);
}

#[tokio::test]
async fn a_value_that_changed_in_the_file_is_not_taken_for_what_was_sent() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    spool.put(vec![packet(Some(1), 1.0), packet(Some(2), 2.0)], None).await.unwrap();
    drop(spool);
    let file = Connection::open(dir.path().join(FILE)).unwrap();
    file.execute("UPDATE packet SET voltage = 3.0 WHERE seq = 2", []).unwrap();
    drop(file);
    let claimed = open(&dir).claim(ticket(1), 10).await.unwrap();
    assert_eq!(claimed[0], Claimed::Packet(packet(Some(1), 1.0).row));
    assert!(
        matches!(&claimed[1], Claimed::Refused { reason, .. } if reason.contains("damaged")),
        "{claimed:?}"
    );
}

#[tokio::test]
async fn saves_around_every_page_that_is_damaged() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    spool.learn((0..100).map(|id| (id, Some(Some(id)))).collect()).await.unwrap();
    let node = spool.node();
    spool.put((0..5000).map(|seq| packet(Some(seq), 1.0)).collect(), None).await.unwrap();
    spool.claim(ticket(1), 10).await.unwrap();
    drop(spool);
    let path = dir.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    // One page at a time, but those that hold everything together: header and schema.
    for page in (16..pages).step_by(pages / 12) {
        let mut bytes = whole.clone();
        bytes[page * 4096..][..4096].fill(0xab);
        fs::write(&path, bytes).unwrap();
        let spool = open(&dir);
        let lost = 5000 - spool.rows();
        assert!(lost < 100, "page {page} of {pages}: {lost} lost");
        assert_eq!(spool.node(), node);
        assert_eq!(spool.known().await.unwrap().len(), 100);
        drop(spool);
        fs::remove_file(&path).unwrap();
    }
    let kept = fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("damaged"));
    assert!(kept.count() >= 12, "never deleted");
}

#[test]
fn is_one_servers_at_a_time() {
    let dir = TempDir::new().unwrap();
    let spool = open(&dir);
    let error = SpoolFile::open(dir.path(), BOUND).err().unwrap();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("another m0v")), "{error}");
    drop(spool);
    drop(open(&dir));
}

#[test]
fn refuses_the_file_of_a_newer_m0v() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir));
    let file = Connection::open(dir.path().join(FILE)).unwrap();
    file.pragma_update(None, "user_version", 9).unwrap();
    drop(file);
    let error = SpoolFile::open(dir.path(), BOUND).err().unwrap();
    assert!(matches!(error, StoreError::SchemaTooNew { found: 9, known: 1 }), "{error}");
}
