//! The keeper: late CAs, forced renewals, chains held back, restarts.

use crate::{
    node::{Listeners, PACE, Recorder, options},
    pebble::{Mischief, Pebble, Site},
};
use m0v::acme::{Ambient, Cache, FileCache, Handle, Issuer, Keeper, Options, State, Why};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

struct Kept {
    handle: Handle,
    cache: Arc<FileCache>,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A keeper that waits as short as it ever does after a failure.
fn keep(options: Options, dir: &Path) -> Kept {
    let cache = Arc::new(FileCache::open(dir).unwrap());
    let recorder = Arc::<Recorder>::default();
    let now = || chrono::Utc::now().timestamp();
    let ambient = Ambient::new(now, || 0.0);
    let issuer =
        Issuer::new(options.check().unwrap(), cache.clone(), recorder.clone(), ambient, PACE).unwrap();
    let (keeper, handle) = Keeper::new(issuer, "test".to_owned());
    let stop = CancellationToken::new();
    let task = tokio::spawn(keeper.run(stop.clone()));
    Kept { handle, cache, recorder, stop, task }
}

impl Kept {
    async fn until(&self, what: &str, wanted: impl Fn(&State) -> bool) -> State {
        let mut state = self.handle.state();
        let waited = timeout(Duration::from_secs(60), state.wait_for(|state| wanted(state))).await;
        match waited {
            Ok(state) => state.unwrap().clone(),
            Err(_) => panic!("not {what} in time: {:?}", self.handle.state().borrow()),
        }
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(Duration::from_secs(5), self.task).await.expect("ends when told").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_a_ca_that_is_down_at_start_then_renews_when_asked() {
    let site = Site::new();
    let dir = site.dir.path().join("acme");
    let pinned = Options { reuse_key: true, ..options(&site) };
    let kept = keep(pinned.clone(), &dir);
    let now = chrono::Utc::now().timestamp();

    let state = kept.until("failing", |state| state.failure.is_some()).await;
    assert!(!state.is_serving(now));
    let words = state.in_words(now);
    assert!(words.starts_with("no ACME certificate yet; the last try failed"), "{words}");
    assert!(words.contains("cannot reach the ACME server") && words.contains("next try"), "{words}");

    let _listeners = Listeners::open(&site, &kept.cache).await;
    let pebble = site.start(&Mischief::default());
    let state = kept.until("serving", |state| state.serving.is_some() && !state.ordering).await;
    assert!(state.is_serving(now) && state.failure.is_none());
    let (plan, serving) = (state.next.unwrap(), state.serving.unwrap());
    assert_eq!(plan.why, Why::Lifetime);
    let due = serving.not_after - plan.at;
    assert!((2_592_000 - 2..2_592_000 + 86_400).contains(&due), "{due} s before the end");

    kept.handle.renew_now();
    kept.until("renewed", |state| state.serving.as_ref().is_some_and(|serving| serving.version == 2)).await;
    {
        let installed = kept.recorder.installed.lock().unwrap();
        assert_eq!(installed.len(), 2);
        assert_eq!(installed[0].key_pem, installed[1].key_pem);
        assert_ne!(installed[0].chain_pem, installed[1].chain_pem);
    }
    kept.end().await;

    // A restart serves what is there and orders nothing.
    let kept = keep(pinned, &dir);
    let state = kept.until("serving", |state| state.serving.is_some() && state.next.is_some()).await;
    assert_eq!(state.serving.unwrap().version, 2);
    kept.end().await;
    assert_eq!((pebble.accounts(), pebble.orders()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_a_chain_whose_root_is_not_known_until_it_is() {
    let pebble = Pebble::start();
    let kept = keep(options(&pebble.site), &pebble.site.dir.path().join("acme"));
    *kept.recorder.only_root.lock().unwrap() = Some("another".to_owned());
    let _listeners = Listeners::open(&pebble.site, &kept.cache).await;
    let state = kept.until("held back", |state| state.held_back.is_some() && !state.ordering).await;
    assert!(state.serving.is_none());
    let words = state.in_words(chrono::Utc::now().timestamp());
    assert!(words.contains("is not in chains/"), "{words}");

    // The folder changed.
    *kept.recorder.only_root.lock().unwrap() = None;
    kept.handle.look_again();
    let state = kept.until("serving", |state| state.serving.is_some()).await;
    assert_eq!(state.held_back, None);
    kept.end().await;
    assert_eq!(pebble.orders(), 1, "nothing was ordered again");
}

#[tokio::test(flavor = "multi_thread")]
async fn honours_the_back_off_of_the_process_before_unless_the_options_changed() {
    let pebble = Pebble::start();
    pebble.point("meter.example.org", "127.0.0.9");
    let dir = pebble.site.dir.path().join("acme");
    let kept = keep(options(&pebble.site), &dir);
    let _listeners = Listeners::open(&pebble.site, &kept.cache).await;
    let mut backoff = kept.until("failing", |state| state.failure.is_some()).await.failure.unwrap();
    kept.end().await;

    let cache = Arc::new(FileCache::open(&dir).unwrap());
    let lease = cache.take_lease("test").await.unwrap().unwrap();
    backoff.not_before += 3600;
    cache.keep_backoff(&lease, &backoff).await.unwrap();
    drop(lease);
    let orders = pebble.orders();
    let kept = keep(options(&pebble.site), &dir);
    let state = kept.until("planned", |state| state.next.is_some()).await;
    assert_eq!(state.next.unwrap().at, backoff.not_before);
    assert!(state.failure.unwrap().sentence.contains("could not validate meter.example.org"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pebble.orders(), orders, "no order during back-off");
    kept.end().await;

    let other = Options { domains: vec!["alive.example.org".to_owned()], ..options(&pebble.site) };
    let kept = keep(other, &dir);
    let _answers = kept.until("ordering", |state| state.ordering).await;
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_a_process_beside_it_how_things_stand() {
    let pebble = Pebble::start();
    let node = crate::node::Node::new(&pebble.site, options(&pebble.site)).await;
    let checked = options(&pebble.site).check().unwrap();
    let state = |newest: Option<_>, backoff| State::of_cache(newest.as_ref(), &checked, backoff);
    let now = chrono::Utc::now().timestamp();
    let words = state(None, node.cache.backoff().await.unwrap()).in_words(now);
    assert_eq!(words, "no ACME certificate yet; next try now: there is no certificate yet");
    node.issue().await.unwrap();
    let newest = node.cache.certificate().await.unwrap();
    let words = state(newest, node.cache.backoff().await.unwrap()).in_words(now);
    assert!(words.starts_with("certificate for meter.example.org under `Pebble Root CA"), "{words}");
    assert!(words.ends_with("a third of its lifetime is left"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replaces_a_damaged_certificate() {
    let pebble = Pebble::start();
    let dir = pebble.site.dir.path().join("acme");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("certificate.pem"), "# m0v {torn").unwrap();
    let kept = keep(options(&pebble.site), &dir);
    let _listeners = Listeners::open(&pebble.site, &kept.cache).await;
    kept.until("serving", |state| state.serving.is_some()).await;
    kept.end().await;
}
