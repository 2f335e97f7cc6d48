//! Connections over an in-memory pipe under paused time, the target within the process: deadlines
//! without waiting for them, and both ways of every end.

use super::{Allowed, Bounds, End, Entered, Gateway, Halves, Outcome, Surroundings, TunnelService, serve};
use crate::net::authority::Authority;
use crate::ops::metrics::Metrics;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const BOUNDS: Bounds =
    Bounds { idle_timeout: Duration::from_secs(900), write_timeout: Duration::from_secs(30) };
const GATEWAY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), 40000);
const PIPE: usize = 1024;
const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// Port 1 is ours, port 2 ours and closed, port 3 full; others are not ours.
#[derive(Clone, Default)]
struct Process(Arc<Mutex<Vec<(DuplexStream, SocketAddr)>>>);

impl Surroundings for Process {
    fn enter(&self, address: SocketAddr, gateway: SocketAddr) -> Entered {
        match address.port() {
            1 => {
                let (near, far) = duplex(PIPE);
                self.0.lock().unwrap().push((far, gateway));
                Entered::Here(near)
            }
            2 => Entered::Closed("is closed"),
            3 => Entered::Full,
            _ => Entered::NotOurs,
        }
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        None
    }
}

struct Run {
    gateway: DuplexStream,
    task: JoinHandle<Outcome>,
    process: Process,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    revoked: CancellationToken,
}

fn start() -> Run {
    start_with(Halves::Apart)
}

fn start_with(halves: Halves) -> Run {
    let (gateway, stream) = duplex(PIPE);
    let process = Process::default();
    let metrics = Arc::new(Metrics::default());
    let allow = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4"];
    let service = TunnelService {
        allowed: Allowed::new(allow.iter().map(|target| Authority::parse(target).unwrap()).collect()),
        around: Box::new(process.clone()),
        max_per_device: 1,
        bounds: BOUNDS,
        metrics: Arc::clone(&metrics),
    };
    let (stop, revoked) = (CancellationToken::new(), CancellationToken::new());
    let tokens = (stop.clone(), revoked.clone());
    let task = tokio::spawn(async move {
        let gateway = Gateway { device: "gw", address: GATEWAY, halves };
        serve(stream, gateway, &service, &tokens.0, &tokens.1).await
    });
    Run { gateway, task, process, metrics, stop, revoked }
}

/// A tunnel to port 1, and its far end.
async fn open() -> (Run, DuplexStream) {
    open_with(Halves::Apart).await
}

async fn open_with(halves: Halves) -> (Run, DuplexStream) {
    let mut run = start_with(halves);
    run.gateway.write_all(&request("10.0.0.1:1")).await.unwrap();
    assert_eq!(read(&mut run.gateway, ESTABLISHED.len()).await, ESTABLISHED);
    let (target, address) = run.process.0.lock().unwrap().pop().unwrap();
    assert_eq!(address, GATEWAY);
    (run, target)
}

fn request(target: &str) -> Vec<u8> {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").into_bytes()
}

async fn read(stream: &mut DuplexStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn rest(stream: &mut DuplexStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

fn bytes(outcome: &Outcome) -> (u64, u64) {
    let open = outcome.open.as_ref().unwrap();
    (open.bytes().to_target(), open.bytes().to_gateway())
}

#[tokio::test(start_paused = true)]
async fn what_follows_the_request_at_once_is_the_targets() {
    let mut run = start();
    let mut bytes = request("10.0.0.1:1");
    bytes.extend(b"early");
    run.gateway.write_all(&bytes).await.unwrap();
    run.gateway.write_all(b" and late").await.unwrap();
    assert_eq!(read(&mut run.gateway, ESTABLISHED.len()).await, ESTABLISHED);
    let (mut target, _) = run.process.0.lock().unwrap().pop().unwrap();
    assert_eq!(read(&mut target, 14).await, "early and late");
}

#[tokio::test(start_paused = true)]
async fn the_gateway_may_end_first_and_still_hear_the_answer() {
    let (mut run, mut target) = open().await;
    run.gateway.write_all(b"question").await.unwrap();
    run.gateway.shutdown().await.unwrap();
    assert_eq!(rest(&mut target).await, "question");
    tokio::time::sleep(BOUNDS.idle_timeout / 2).await;
    target.write_all(b"a late answer").await.unwrap();
    assert_eq!(read(&mut run.gateway, 13).await, "a late answer");
    target.shutdown().await.unwrap();
    assert_eq!(rest(&mut run.gateway).await, "");
    let outcome = run.task.await.unwrap();
    assert!(matches!(outcome.end, End::Closed), "{outcome:?}");
    assert_eq!(bytes(&outcome), (8, 13));
}

#[tokio::test(start_paused = true)]
async fn the_target_may_end_first_and_still_hear_the_rest() {
    let (mut run, mut target) = open().await;
    target.write_all(b"greeting").await.unwrap();
    target.shutdown().await.unwrap();
    assert_eq!(rest(&mut run.gateway).await, "greeting");
    run.gateway.write_all(b"a late word").await.unwrap();
    run.gateway.shutdown().await.unwrap();
    assert_eq!(rest(&mut target).await, "a late word");
    let outcome = run.task.await.unwrap();
    assert!(matches!(outcome.end, End::Closed), "{outcome:?}");
    assert_eq!(bytes(&outcome), (11, 8));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_ends_ends_both_ways_where_the_gateways_tls_knows_no_halves() {
    let (mut run, mut target) = open_with(Halves::Together).await;
    run.gateway.write_all(b"question").await.unwrap();
    assert_eq!(read(&mut target, 8).await, "question");
    target.write_all(b"answer").await.unwrap();
    target.shutdown().await.unwrap();
    assert_eq!(rest(&mut run.gateway).await, "answer");
    // Its goodbye in return; what else it said would not be heard.
    run.gateway.shutdown().await.unwrap();
    assert_eq!(rest(&mut target).await, "");
    let outcome = run.task.await.unwrap();
    assert!(matches!(outcome.end, End::Closed), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_answer_a_goodbye_keeps_no_target_waiting() {
    let (_run, mut target) = open_with(Halves::Together).await;
    let begun = Instant::now();
    target.shutdown().await.unwrap();
    assert_eq!((rest(&mut target).await.as_str(), begun.elapsed()), ("", Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_waits_for_what_the_gateway_has_said_before() {
    let (mut run, mut target) = open_with(Halves::Together).await;
    // Some waits in the target's pipe, some in the tunnel, and some in the gateway's pipe.
    let said = "x".repeat(3 * PIPE);
    run.gateway.write_all(said.as_bytes()).await.unwrap();
    target.write_all(b"answer").await.unwrap();
    target.shutdown().await.unwrap();
    tokio::time::sleep(BOUNDS.write_timeout / 2).await;
    assert_eq!(rest(&mut target).await, said);
    assert_eq!(rest(&mut run.gateway).await, "answer");
    let outcome = run.task.await.unwrap();
    assert!(matches!(outcome.end, End::Closed), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_ends_and_leaves_has_still_said_everything() {
    let (mut run, mut target) = open().await;
    let question = "x".repeat(3 * PIPE);
    let said = question.clone();
    let gateway = tokio::spawn(async move {
        run.gateway.write_all(said.as_bytes()).await.unwrap();
        run.gateway.shutdown().await.unwrap();
        drop(run.gateway);
        run.task.await.unwrap()
    });
    // Nobody takes this any more; the question is heard to its end all the same.
    target.write_all(b"greeting").await.unwrap();
    assert_eq!(rest(&mut target).await, question);
    target.write_all(&vec![0; 10 * PIPE]).await.unwrap_err();
    let outcome = gateway.await.unwrap();
    assert!(matches!(outcome.end, End::Closed), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_on_both_sides_ends_it_and_a_byte_on_either_keeps_it() {
    let (mut run, mut target) = open().await;
    let begun = Instant::now();
    for _ in 0..2 {
        tokio::time::sleep(BOUNDS.idle_timeout * 9 / 10).await;
        target.write_all(b"x").await.unwrap();
        assert_eq!(read(&mut run.gateway, 1).await, "x");
        tokio::time::sleep(BOUNDS.idle_timeout * 9 / 10).await;
        run.gateway.write_all(b"y").await.unwrap();
        assert_eq!(read(&mut target, 1).await, "y");
    }
    assert_eq!((rest(&mut run.gateway).await, rest(&mut target).await), (String::new(), String::new()));
    assert_eq!(begun.elapsed().as_secs(), (BOUNDS.idle_timeout * 46 / 10).as_secs());
    assert!(matches!(run.task.await.unwrap().end, End::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_side_that_does_not_read_ends_it() {
    let (mut run, _target) = open().await;
    let error = run.gateway.write_all(&vec![0; 1 << 20]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert!(matches!(run.task.await.unwrap().end, End::TargetNotReading));

    let (run, mut target) = open().await;
    target.write_all(&vec![0; 1 << 20]).await.unwrap_err();
    assert!(matches!(run.task.await.unwrap().end, End::GatewayNotReading));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_gateway_is_cut_off_wherever_it_is() {
    let (mut run, mut target) = open().await;
    run.revoked.cancel();
    assert_eq!((rest(&mut run.gateway).await, rest(&mut target).await), (String::new(), String::new()));
    let outcome = run.task.await.unwrap();
    assert!(matches!(outcome.end, End::Revoked) && outcome.open.is_some(), "{outcome:?}");

    let mut run = start();
    run.gateway.write_all(b"CONNECT ").await.unwrap();
    run.revoked.cancel();
    assert_eq!(rest(&mut run.gateway).await, "");
    assert!(matches!(run.task.await.unwrap().end, End::Revoked));
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_the_target_answer_what_it_was_asked() {
    let (mut run, mut target) = open().await;
    run.gateway.write_all(b"question").await.unwrap();
    assert_eq!(read(&mut target, 8).await, "question");
    run.stop.cancel();
    assert_eq!(rest(&mut target).await, "", "no more questions");
    target.write_all(b"answer").await.unwrap();
    drop(target);
    assert_eq!(rest(&mut run.gateway).await, "answer");
    assert!(matches!(run.task.await.unwrap().end, End::Stopping));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_target_that_stays() {
    let (run, _target) = open().await;
    let begun = Instant::now();
    run.stop.cancel();
    assert!(matches!(run.task.await.unwrap().end, End::Stopping));
    assert_eq!(begun.elapsed(), Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_request_must_come_in_time() {
    let mut run = start();
    run.gateway.write_all(b"CONNECT 10.0.0.1:1 HTTP/1.1\r\n").await.unwrap();
    let begun = Instant::now();
    let answer = rest(&mut run.gateway).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert_eq!(begun.elapsed(), Duration::from_secs(30));

    let mut run = start();
    assert_eq!(rest(&mut run.gateway).await, "", "who says nothing is told nothing");
    assert!(matches!(run.task.await.unwrap().end, End::NoRequest));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_request() {
    let mut run = start();
    run.gateway.write_all(b"CONNECT 10.0.0.1:1 HTTP/1.1\r\n").await.unwrap();
    run.stop.cancel();
    let answer = rest(&mut run.gateway).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("stopping"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_allowed_or_closed_or_full_is_told_apart() {
    for (target, status, word) in [
        ("10.0.0.1:5", "403 Forbidden", "not among"),
        ("10.0.0.1:2", "403 Forbidden", "10.0.0.1:2 is closed"),
        ("10.0.0.1:3", "503 Service Unavailable", "try again"),
        ("10.0.0.1:4", "503 Service Unavailable", "try again"),
    ] {
        let mut run = start();
        run.gateway.write_all(&request(target)).await.unwrap();
        let answer = rest(&mut run.gateway).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.contains(word), "{answer}");
        run.gateway.shutdown().await.unwrap();
        assert!(matches!(run.task.await.unwrap().end, End::Denied(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_has_only_so_many_tunnels() {
    let mut run = start();
    let _other = run.metrics.tunnels.open("gw", 1).unwrap();
    run.gateway.write_all(&request("10.0.0.1:1")).await.unwrap();
    let answer = rest(&mut run.gateway).await;
    assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
    assert!(answer.contains("\r\nretry-after: 5\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_asks_for_nothing_takes_its_devices_place() {
    let run = start();
    let taken = async {
        while run.metrics.tunnels.open("gw", 1).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), taken).await.unwrap();
    assert_eq!(run.task.await.unwrap().end.label(), "no request");
    assert!(run.metrics.tunnels.open("gw", 1).is_some(), "and gives it back");
}
