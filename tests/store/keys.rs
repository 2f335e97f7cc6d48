//! The suite, continued: the keys of the API.

use crate::contract::Bench;
use m0v::store::ApiKey;

pub(crate) async fn adds_and_retires_keys(bench: &dyn Bench) {
    let store = bench.store();
    assert_eq!(store.list_keys().await.unwrap(), []);
    let added = store.add_key("office", "aa", "root").await.unwrap().unwrap();
    assert_eq!((added.name.as_str(), added.key_hash.as_str(), added.retired_at), ("office", "aa", None));
    for (name, hash) in [("office", "bb"), ("other", "aa")] {
        assert_eq!(store.add_key(name, hash, "root").await.unwrap(), Err(added.clone()), "{name} {hash}");
    }
    let broker = store.add_key("broker", "cc", "root").await.unwrap().unwrap();
    assert_eq!(store.list_keys().await.unwrap(), [broker.clone(), added.clone()], "by name");

    assert_eq!(store.retire_key("nobody", "root").await.unwrap(), None);
    let retired = store.retire_key("office", "root").await.unwrap().unwrap();
    assert!(retired.retired_at.is_some_and(|at| at >= added.created_at), "{retired:?}");
    assert_eq!(store.retire_key("office", "root").await.unwrap(), Some(retired.clone()), "once and for all");
    let again = store.add_key("office", "dd", "root").await.unwrap();
    assert_eq!(again, Err(retired.clone()), "its name stays its own in the audit");
    let keys: Vec<ApiKey> = bench.another().list_keys().await.unwrap();
    assert_eq!(keys, [broker, retired], "as another process sees it");
    assert_eq!(
        bench.sql("SELECT who, what, subject FROM audit ORDER BY id"),
        "root|key add|office\nroot|key add|broker\nroot|key retire|office"
    );
}
