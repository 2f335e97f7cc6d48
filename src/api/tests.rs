//! The description, and connections over an in-memory pipe under paused time.

use super::{
    ApiService, Bounds, Ground, Introduction, KeyHeader, Peer, Tasks, TelemetryOptions, TelemetrySink, Word,
    description, serve,
};
use crate::confirm::Lookup;
use crate::device::issue::Issuing;
use crate::device::{Identity, Onboarding, Passwords, Refused, Registry};
use crate::ops::{health::Health, metrics::Metrics};
use crate::protocol::confo::Answer;
use crate::session::{End, Tally};
use crate::store::embedded::Embedded;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const BOUNDS: Bounds =
    Bounds { idle_timeout: Duration::from_secs(900), write_timeout: Duration::from_secs(30) };

/// The preface of HTTP/2 and an empty SETTINGS frame.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

struct Connection {
    peer: DuplexStream,
    served: JoinHandle<(End, Tally)>,
    stop: CancellationToken,
    _folder: TempDir,
}

fn connect() -> Connection {
    connect_with(None)
}

fn connect_with(certificate: Option<Result<Arc<Identity>, Refused>>) -> Connection {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(folder.path().join("m0v.sqlite")).unwrap());
    let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::default()));
    let lookup = Lookup::new(store.clone(), Duration::ZERO, Arc::clone(&health), Arc::clone(&metrics));
    let stop = CancellationToken::new();
    let options = TelemetryOptions {
        node: 1,
        max_rows: 10,
        spool: None,
        health: Arc::clone(&health),
        metrics: Arc::clone(&metrics),
    };
    let mut tasks = JoinSet::new();
    let telemetry = TelemetrySink::start(store.clone(), options, &mut tasks);
    tasks.detach_all();
    let service = Arc::new(ApiService::new(Ground {
        lookup: Arc::new(lookup),
        registry: Arc::new(Registry::new(store.clone(), None, Arc::clone(&health), Arc::clone(&metrics))),
        issuing: Arc::new(Issuing::new(store.clone(), folder.path(), None)),
        telemetry,
        store: store.clone(),
        onboarding: Arc::new(Onboarding::new(store, Arc::new(Passwords::start().unwrap()), None)),
        brokers: None,
        key: KeyHeader::new("api-key-name", None).unwrap(),
        introduction: Introduction::default(),
        health,
        metrics,
        stop: stop.clone(),
    }));
    let (peer, stream) = duplex(4096);
    let tasks = Tasks { tracker: TaskTracker::new(), abort: CancellationToken::new() };
    let served = tokio::spawn(async move {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let peer = Peer { ip, port: Some(1), via: None, connection: 1, certificate, word: Word::default() };
        serve(stream, peer, &service, BOUNDS, tasks).await
    });
    Connection { peer, served, stop, _folder: folder }
}

async fn rest(peer: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn ends_who_asks_nothing() {
    for opening in [&b""[..], b"GET / HT", b"PRI * HTTP/2", HTTP2] {
        let Connection { mut peer, served, .. } = connect();
        let started = Instant::now();
        peer.write_all(opening).await.unwrap();
        rest(&mut peer).await;
        let (end, tally) = served.await.unwrap();
        let text = String::from_utf8_lossy(opening);
        assert!(matches!(end, End::Idle), "{end:?} for {text}");
        assert_eq!(tally, Tally::default(), "{text}");
        assert!(started.elapsed() <= Duration::from_secs(60), "{:?} for {text}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn answers_and_ends_an_idle_connection() {
    let Connection { mut peer, served, .. } = connect();
    peer.write_all(b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(rest(&mut peer).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(
        answer.ends_with("\"error\":\"Not Found\",\"message\":\"no such path; /openapi.json has them all\"}")
    );
    assert!(matches!(served.await.unwrap(), (End::Idle, Tally { thanked: 1, refused: 0 })));
}

#[tokio::test(start_paused = true)]
async fn tells_a_client_whose_body_is_late() {
    let Connection { mut peer, .. } = connect();
    let started = Instant::now();
    let request = b"POST /register HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
        connection: close\r\ncontent-length: 20\r\n\r\n{}";
    peer.write_all(request).await.unwrap();
    let answer = String::from_utf8(rest(&mut peer).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("\"message\":\"the body did not arrive in time\"}"), "{answer}");
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn ends_a_peer_that_does_not_read() {
    let Connection { mut peer, served, .. } = connect();
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";
    peer.write_all(request).await.unwrap();
    let started = Instant::now();
    assert!(matches!(served.await.unwrap().0, End::NotReading));
    assert_eq!(started.elapsed(), BOUNDS.write_timeout);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn ends_when_the_server_stops() {
    for opening in [&b""[..], b"GET / HT", HTTP2] {
        let Connection { mut peer, served, stop, .. } = connect();
        peer.write_all(opening).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        stop.cancel();
        rest(&mut peer).await;
        assert!(matches!(served.await.unwrap().0, End::Stopping));
    }
}

#[tokio::test(start_paused = true)]
async fn refuses_whatever_comes_with_a_refused_certificate_and_closes() {
    for (path, refused) in [("/openapi.json", Refused::Revoked), ("/nowhere", Refused::Pending)] {
        let Connection { mut peer, served, .. } = connect_with(Some(Err(refused.clone())));
        let started = Instant::now();
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nxyzGET / HTTP/1.1\r\n\r\n");
        peer.write_all(request.as_bytes()).await.unwrap();
        let answer = String::from_utf8(rest(&mut peer).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.contains(&format!("\"message\":\"{refused}\"")), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        assert!(matches!(served.await.unwrap().1, Tally { thanked: 0, refused: 1 }));
    }
}

#[test]
fn the_description_has_every_route_and_refusal() {
    let description: Value = serde_json::from_str(&description("x-key")).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in ["/confo/{deviceName}/{ssid}", "/api/confo/{deviceName}/{ssid}"] {
        let route = &description["paths"][path]["get"];
        let names: Vec<_> =
            route["parameters"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["deviceName", "ssid", "token", "wait"]);
        for status in ["200", "400", "405", "413", "429", "503"] {
            assert!(route["responses"][status].is_object(), "{path} {status}");
        }
    }
    let error = &description["components"]["schemas"]["ErrorBody"];
    assert_eq!(error["required"], serde_json::json!(["code", "error", "message"]));
}

#[test]
fn the_description_of_an_answer_is_the_answer() {
    let description: Value = serde_json::from_str(&description("x-key")).unwrap();
    let schema = &description["components"]["schemas"]["Found"];
    let answer = Answer { device_name: "a", timestamp: 1, ssid: "b", hash: 1, id: None, conflict: true };
    let answer: Value = serde_json::from_str(&answer.to_string()).unwrap();
    let mut described: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    let mut required: Vec<_> =
        schema["required"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let mut keys: Vec<_> = answer.as_object().unwrap().keys().collect();
    described.sort();
    required.sort_unstable();
    keys.sort();
    assert_eq!(described, keys);
    assert_eq!(required, keys);
    assert_eq!(schema["properties"]["id"]["type"], serde_json::json!(["integer", "null"]));
}
