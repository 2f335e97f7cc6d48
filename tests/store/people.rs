//! The suite, continued: users, conflicts, and waking those who wait.

use crate::contract::{Bench, T0, confirmation, query};
use m0v::store::{Registration, Resolution, Resolved, Topic, Unresolved, Window};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

fn registration(email: &str) -> Registration {
    Registration { email: email.into(), name: Some("Ann".into()), phone: None }
}

pub(crate) async fn registers_and_deregisters_keeping_the_id(bench: &dyn Bench) {
    let store = bench.store();
    store.confirm(&confirmation(5, Some("Seen@before.org")), T0).await.unwrap();
    let seen: i64 = bench.sql("SELECT sub_id FROM csub").parse().unwrap();
    let sub = store.add_sub(&registration("seen@BEFORE.org"), "root").await.unwrap().unwrap();
    assert_eq!((sub.sub_id, sub.email.as_str(), sub.name.as_deref()), (seen, "seen@BEFORE.org", Some("Ann")));
    assert_eq!(bench.sql("SELECT count(*) FROM csub"), "0");
    let again = store.add_sub(&registration("SEEN@before.org"), "root").await.unwrap();
    assert_eq!(again, Err(sub.clone()), "who is there already");
    let other = store.add_sub(&registration("other@x.org"), "root").await.unwrap().unwrap();
    assert!(other.sub_id > seen);
    assert_eq!(store.list_subs(0, 10).await.unwrap(), [sub.clone(), other.clone()]);
    assert_eq!(store.list_subs(seen, 10).await.unwrap(), [other]);

    store.confirm(&confirmation(6, Some("seen@before.org")), T0).await.unwrap();
    assert_eq!(store.remove_sub("Seen@Before.Org", "root").await.unwrap(), Some(seen));
    assert_eq!(store.remove_sub("Seen@Before.Org", "root").await.unwrap(), None);
    assert_eq!(bench.sql("SELECT sub_id, email FROM csub"), format!("{seen}|seen@BEFORE.org"));
    assert_eq!(bench.sql("SELECT creator FROM pub WHERE hash = 6"), seen.to_string(), "owners keep the id");
    assert_eq!(
        bench.sql("SELECT who, what, subject FROM audit ORDER BY id"),
        format!("root|sub add|sub {seen}\nroot|sub add|sub {}\nroot|sub remove|sub {seen}", seen + 1)
    );
}

pub(crate) async fn resolves_a_conflict(bench: &dyn Bench) {
    let store = bench.store();
    let a = store.add_sub(&registration("a@x.org"), "root").await.unwrap().unwrap().sub_id;
    let b = store.add_sub(&registration("b@x.org"), "root").await.unwrap().unwrap().sub_id;
    let owned = store.confirm(&confirmation(5, Some("a@x.org")), T0).await.unwrap();
    let conflict = store.confirm(&confirmation(5, Some("b@x.org")), T0 + 1).await.unwrap();
    assert!(conflict.conflict);
    store.confirm(&confirmation(6, None), T0 - 1).await.unwrap();

    let conflicts = store.list_confirmations(true, 0, 10).await.unwrap();
    assert_eq!(conflicts.len(), 1);
    let [kept] = &conflicts[..] else { panic!("{conflicts:?}") };
    assert_eq!((kept.hash, kept.saved_at, kept.conflict), (5, T0 + 1, true));
    assert_eq!((kept.email.as_deref(), kept.owner.as_deref()), (Some("b@x.org"), Some("a@x.org")));
    let all = store.list_confirmations(false, 0, 10).await.unwrap();
    assert_eq!(all.iter().map(|kept| kept.hash).collect::<Vec<_>>(), [5, 5, 6], "by id");
    assert_eq!(store.list_confirmations(false, all[0].id, 1).await.unwrap(), [all[1].clone()]);

    let resolution = |hash, owner: &str| Resolution { hash, owner: owner.into() };
    let unknown = store.resolve(&resolution(7, "b@x.org"), "root").await.unwrap();
    assert_eq!(unknown, Err(Unresolved::UnknownHash));
    let unknown = store.resolve(&resolution(5, "c@x.org"), "root").await.unwrap();
    assert_eq!(unknown, Err(Unresolved::UnknownOwner));
    let resolved = store.resolve(&resolution(5, "B@x.org"), "root").await.unwrap();
    let pub_id = owned.pub_id.unwrap();
    assert_eq!(resolved, Ok(Resolved { pub_id, before: Some(a), creator: b, settled: 1 }));
    assert_eq!(store.list_confirmations(true, 0, 10).await.unwrap(), []);
    let found =
        store.find_confirmation(&query(Some(5)), Window { since: 0, after: 0 }).await.unwrap().unwrap();
    assert_eq!((found.pub_id, found.conflict), (Some(pub_id), false));
    assert_eq!(
        bench.sql("SELECT who, what, subject FROM audit WHERE what LIKE 'confo%'"),
        format!("root|confo resolve|hash 5: pub {pub_id} from sub {a} to sub {b}, 1 conflicts settled")
    );
    let again = store.confirm(&confirmation(5, Some("b@x.org")), T0 + 2).await.unwrap();
    assert!(!again.conflict);
    assert!(store.confirm(&confirmation(5, Some("a@x.org")), T0 + 3).await.unwrap().conflict);
}

pub(crate) async fn wakes_those_who_wait_wherever_it_was_stored(bench: &dyn Bench) {
    let (here, there) = (bench.store(), bench.another());
    let hearing = std::sync::Arc::clone(&here);
    let hearing = tokio::spawn(async move { hearing.hear().await });
    let topic = |token| Topic::of("Movprov", "M0V", token);
    let mut any = here.bell().listen(topic(None));
    let mut exact = here.bell().listen(topic(Some(5)));
    here.confirm(&confirmation(5, None), T0).await.unwrap();
    timeout(PATIENCE, any.rung()).await.unwrap();
    timeout(PATIENCE, exact.rung()).await.unwrap();

    // Until the listening is up, whatever was missed is rung for at once.
    let heard = async {
        loop {
            there.confirm(&confirmation(5, None), T0).await.unwrap();
            if timeout(Duration::from_secs(1), exact.rung()).await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, heard).await.unwrap();
    hearing.abort();
}

pub(crate) async fn tells_later_confirmations_from_earlier_ones(bench: &dyn Bench) {
    let store = bench.store();
    assert_eq!(store.last_confirmation(&query(None)).await.unwrap(), 0);
    store.confirm(&confirmation(5, None), T0).await.unwrap();
    let after = store.last_confirmation(&query(Some(9))).await.unwrap();
    assert!(after > 0, "whatever the token");
    let later = Window { since: 0, after };
    assert_eq!(store.find_confirmation(&query(None), later).await.unwrap(), None);
    // Another node's clock is behind: what it saves now is later all the same.
    let stored = store.confirm(&confirmation(6, None), T0 - 1000).await.unwrap();
    assert_eq!(store.find_confirmation(&query(None), later).await.unwrap(), Some(stored));
    assert!(store.last_confirmation(&query(None)).await.unwrap() > after);
}
