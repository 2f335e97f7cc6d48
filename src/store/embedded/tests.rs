//! What only the inside can provoke.

use super::Embedded;
use crate::{
    protocol::packet::PubRef,
    store::{Outcome, PacketRow, Store, StoreError},
};

fn row(pub_id: i64, seq: i64) -> PacketRow {
    PacketRow {
        pub_id,
        created_at: 1_700_000_000_000_000,
        voltage: Some(230.0),
        frequency: None,
        protected: true,
        seq: Some(seq),
        extra: Some(format!("{{\"pad\":\"{}\"}}", "x".repeat(4000))),
    }
}

#[tokio::test]
async fn goes_on_when_a_full_disk_has_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path().join("m0v.sqlite")).unwrap();
    store.prepare().await.unwrap();
    let device = store.add_pub(PubRef::default()).await.unwrap().unwrap();
    let mut lane = store.lane(1, 0);
    let limit_pages = |more: i64| {
        store.write(move |connection| {
            let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            Ok(connection.pragma_update(None, "max_page_count", pages + more)?)
        })
    };

    limit_pages(2).await.unwrap();
    let rows: Vec<_> = (1..100).map(|seq| row(device.pub_id, seq)).collect();
    let error = lane.write(&rows).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    let count = |sql: &'static str| {
        store.read(move |connection| Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?))
    };
    assert_eq!(count("SELECT count(*) FROM packet").await.unwrap(), 0);
    assert_eq!(count("SELECT count(*) FROM ingest").await.unwrap(), 0);

    limit_pages(10_000).await.unwrap();
    assert_eq!(lane.write(&rows).await.unwrap(), vec![Outcome::Stored; rows.len()]);
    assert_eq!(count("SELECT count(*) FROM packet").await.unwrap(), 99);
}

#[tokio::test]
async fn answers_a_batch_that_was_dropped_when_it_is_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path().join("m0v.sqlite")).unwrap();
    store.prepare().await.unwrap();
    let device = store.add_pub(PubRef::default()).await.unwrap().unwrap();
    let mut lane = store.lane(1, 0);
    let rows = vec![PacketRow { seq: None, ..row(device.pub_id, 0) }; 3];
    let (release, held) = std::sync::mpsc::channel::<()>();
    let blocker = store.writer.send(move |_| Ok(held.recv().is_ok())).await.unwrap();
    let dropped = tokio::time::timeout(std::time::Duration::from_millis(20), lane.write(&rows)).await;
    assert!(dropped.is_err());
    release.send(()).unwrap();
    assert!(blocker.await.unwrap().unwrap());
    assert_eq!(lane.write(&rows).await.unwrap(), vec![Outcome::Stored; 3]);
    let count = store
        .read(|connection| {
            Ok(connection.query_row("SELECT count(*) FROM packet", [], |row| row.get::<_, i64>(0))?)
        })
        .await
        .unwrap();
    assert_eq!(count, 3);
}
