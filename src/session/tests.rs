//! Sessions over an in-memory pipe under paused time: deadlines without waiting for them.

use super::{Bounds, End, Ends, Room, Tally, run};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Answers each line with `<length>`, and one that begins with `w` after [`HELD`].
#[derive(Default)]
struct Lengths {
    taken: VecDeque<(usize, bool)>,
    tally: Tally,
}

impl Room for Lengths {
    fn take(&mut self, line: &[u8]) {
        self.taken.push_back((line.len(), line.starts_with(b"w")));
    }

    async fn settle(&mut self, out: &mut Vec<u8>) {
        while !self.is_held()
            && let Some((length, _)) = self.taken.pop_front()
        {
            self.tally.thanked += 1;
            out.extend_from_slice(format!("{length}\n").as_bytes());
        }
    }

    fn is_held(&self) -> bool {
        self.taken.front().is_some_and(|(_, held)| *held)
    }

    async fn settle_held(&mut self, out: &mut Vec<u8>, hurry: &CancellationToken) {
        self.taken.pop_front();
        let answer = tokio::select! {
            () = sleep(HELD) => "waited\n",
            () = hurry.cancelled() => "hurried\n",
        };
        out.extend_from_slice(answer.as_bytes());
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

const HELD: Duration = Duration::from_secs(60);

const BOUNDS: Bounds =
    Bounds { max_line: 64, idle_timeout: Duration::from_secs(900), write_timeout: Duration::from_secs(30) };

fn start(pipe: usize) -> (DuplexStream, JoinHandle<(End, Tally)>, CancellationToken) {
    let (peer, session, stop, _) = start_revocable(pipe);
    (peer, session, stop)
}

type Revocable = (DuplexStream, JoinHandle<(End, Tally)>, CancellationToken, CancellationToken);

fn start_revocable(pipe: usize) -> Revocable {
    let (peer, mut stream) = duplex(pipe);
    let (stop, revoked) = (CancellationToken::new(), CancellationToken::new());
    let (stopping, revoking) = (stop.clone(), revoked.clone());
    let session = tokio::spawn(async move {
        let mut room = Lengths::default();
        let ends = Ends { stop: &stopping, revoked: Some(&revoking) };
        let end = run(&mut stream, &mut room, BOUNDS, ends).await;
        (end, room.tally())
    });
    (peer, session, stop, revoked)
}

async fn everything(mut peer: DuplexStream) -> String {
    let mut text = String::new();
    peer.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn answers_a_burst_in_order() {
    let (mut peer, session, _) = start(4096);
    peer.write_all(b"a\nbb\r\n\n\r\nccc\n").await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(everything(peer).await, "1\n2\n3\n");
    assert!(matches!(session.await.unwrap(), (End::PeerClosed, Tally { thanked: 3, refused: 0 })));
}

#[tokio::test(start_paused = true)]
async fn takes_one_object_without_line_end_after_silence_only() {
    let (mut peer, _session, _) = start(4096);
    peer.write_all(b"{\"a\":1}").await.unwrap();
    let sent = Instant::now();
    let mut reply = [0; 2];
    peer.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"7\n");
    assert_eq!(sent.elapsed(), super::OBJECT_SILENCE);
}

#[tokio::test(start_paused = true)]
async fn waits_when_something_follows_the_object() {
    let (mut peer, session, _) = start(4096);
    peer.write_all(b"{\"a\":1}").await.unwrap();
    sleep(Duration::from_millis(200)).await;
    peer.write_all(b"{").await.unwrap();
    sleep(Duration::from_secs(5)).await;
    peer.write_all(b"}\n").await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(everything(peer).await, "9\n");
    assert!(matches!(session.await.unwrap().0, End::PeerClosed));
}

#[tokio::test(start_paused = true)]
async fn hands_on_half_an_object_at_end_of_stream() {
    let (mut peer, _session, _) = start(4096);
    peer.write_all(b"{\"a\":").await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(everything(peer).await, "5\n");
}

#[tokio::test(start_paused = true)]
async fn ends_with_a_reason_after_a_line_that_is_too_long() {
    for line_end in [&b"\n"[..], b""] {
        let (mut peer, session, _) = start(1 << 16);
        peer.write_all(b"ok\n").await.unwrap();
        peer.write_all(&[b'x'; 66]).await.unwrap();
        peer.write_all(line_end).await.unwrap();
        assert_eq!(everything(peer).await, "2\n!OK line too long\n");
        assert!(matches!(session.await.unwrap().0, End::LineTooLong));
    }
}

#[tokio::test(start_paused = true)]
async fn ends_without_a_complete_line_in_time_even_if_bytes_trickle() {
    let (mut peer, session, _) = start(4096);
    let started = Instant::now();
    let trickle = tokio::spawn(async move {
        while peer.write_all(b" ").await.is_ok() {
            sleep(Duration::from_secs(30)).await;
        }
    });
    assert!(matches!(session.await.unwrap().0, End::Idle));
    assert_eq!(started.elapsed(), BOUNDS.idle_timeout);
    trickle.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ends_a_peer_that_does_not_read() {
    let (mut peer, session, _) = start(16);
    let writer = tokio::spawn(async move { while peer.write_all(b"a\n").await.is_ok() {} });
    assert!(matches!(session.await.unwrap().0, End::NotReading));
    writer.abort();
}

#[tokio::test(start_paused = true)]
async fn stops_although_the_peer_never_pauses() {
    let (peer, session, stop) = start(64);
    let (mut replies, mut lines) = tokio::io::split(peer);
    let reader = tokio::spawn(async move { tokio::io::copy(&mut replies, &mut tokio::io::sink()).await });
    let writer = tokio::spawn(async move { while lines.write_all(b"a\n").await.is_ok() {} });
    // Not a sleep: the paused clock stands still while the peer is busy.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    assert!(matches!(session.await.unwrap().0, End::Stopping));
    writer.await.unwrap();
    reader.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn answers_what_was_read_when_it_must_stop() {
    let (mut peer, session, stop) = start(4096);
    peer.write_all(b"a\n{\"b\":2}").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    stop.cancel();
    assert_eq!(everything(peer).await, "1\n7\n");
    assert!(matches!(session.await.unwrap().0, End::Stopping));
}

#[tokio::test(start_paused = true)]
async fn holds_an_answer_past_the_idle_timeout_and_sends_what_came_before() {
    let (mut peer, session, _) = start(4096);
    let started = Instant::now();
    peer.write_all(&b"a\n".repeat(2)).await.unwrap();
    for _ in 0..20 {
        peer.write_all(b"bb\nw\nccc\n").await.unwrap();
        let mut early = [0; 2];
        while &early != b"2\n" {
            peer.read_exact(&mut early).await.unwrap();
        }
        let mut late = [0; 9];
        peer.read_exact(&mut late).await.unwrap();
        assert_eq!(&late, b"waited\n3\n");
    }
    assert_eq!(started.elapsed(), HELD * 20);
    peer.shutdown().await.unwrap();
    assert!(matches!(session.await.unwrap().0, End::PeerClosed));
}

#[tokio::test(start_paused = true)]
async fn holds_nothing_for_a_peer_that_closed() {
    let (mut peer, session, _) = start(4096);
    let started = Instant::now();
    peer.write_all(b"w\n").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    peer.write_all(b"dddd\nw\neeeee").await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(everything(peer).await, "hurried\n4\nhurried\n5\n");
    assert!(matches!(session.await.unwrap().0, End::PeerClosed));
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn holds_nothing_when_it_must_stop() {
    let (mut peer, session, stop) = start(4096);
    peer.write_all(b"w\nw\n").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    peer.write_all(b"read ahead\n").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    stop.cancel();
    assert_eq!(everything(peer).await, "hurried\nhurried\n10\n");
    assert!(matches!(session.await.unwrap().0, End::Stopping));
}

#[tokio::test(start_paused = true)]
async fn does_not_read_without_bound_while_it_holds_an_answer() {
    let (mut peer, session, _) = start(64);
    let writer = tokio::spawn(async move {
        peer.write_all(b"w\n").await.unwrap();
        let sent = tokio::time::timeout(HELD / 2, peer.write_all(&b"a\n".repeat(1000))).await;
        (peer, sent.is_err())
    });
    let (peer, was_held_up) = writer.await.unwrap();
    assert!(was_held_up);
    drop(peer);
    session.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_revoked_peer_is_closed_while_it_is_idle() {
    let (mut peer, session, _stop, revoked) = start_revocable(4096);
    peer.write_all(b"abc\n").await.unwrap();
    let mut reply = [0; 2];
    peer.read_exact(&mut reply).await.unwrap();
    revoked.cancel();
    assert_eq!(everything(peer).await, "");
    let (end, tally) = session.await.unwrap();
    assert!(matches!(end, End::Revoked), "{end}");
    assert_eq!(tally.thanked, 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_peer_is_closed_though_it_never_pauses_or_waits_for_an_answer() {
    let (mut peer, session, _stop, revoked) = start_revocable(4096);
    peer.write_all(b"wait\n").await.unwrap();
    tokio::task::yield_now().await;
    revoked.cancel();
    peer.write_all(b"after\n").await.unwrap();
    let said = everything(peer).await;
    assert!(["hurried\n", ""].contains(&said.as_str()), "{said:?}");
    assert!(matches!(session.await.unwrap().0, End::Revoked));
}
