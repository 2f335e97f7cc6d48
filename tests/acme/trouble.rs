//! Names that lead nowhere, servers that say no or nothing.

use crate::{
    node::{Node, PACE, Recorder, judge, options},
    pebble::{Pebble, Site, free_port},
};
use m0v::acme::{
    AcmeError, Ambient, Cache, ChallengeAnswer, ChallengeKind, Class, FileCache, Issuer, Kind, Options, Pace,
    Secret,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

#[tokio::test]
async fn recovers_when_a_dead_name_comes_to_life() {
    let pebble = Pebble::start();
    pebble.point("meter.example.org", "127.0.0.9");
    let node = Node::new(&pebble.site, options(&pebble.site)).await;
    let error = node.issue().await.unwrap_err();
    let AcmeError::Validation { domain, challenge, problem } = &error else { panic!("{error}") };
    assert_eq!((domain.as_str(), challenge.as_str()), ("meter.example.org", "http-01"));
    assert_eq!(problem.kind, Kind::Connection, "{error}");
    assert_eq!(error.class(), Class::Refused);
    assert!(error.to_string().contains("the CA must reach this host"), "{error}");
    assert_eq!(node.cache.pending().await.unwrap(), None, "a dead order is not gone on with");

    pebble.unpoint("meter.example.org");
    judge(&node.issue().await.unwrap(), &pebble.root(0), 2048);
    assert_eq!((pebble.accounts(), pebble.orders()), (1, 2));
}

#[tokio::test]
async fn never_quotes_a_key_authorization() {
    let pebble = Pebble::start();
    // Port 80 is answered by someone who knows nothing of the challenge.
    let stranger = TcpListener::bind(("127.0.0.1", pebble.site.http_port)).await.unwrap();
    let stranger = tokio::spawn(async move {
        loop {
            let (mut stream, _) = stranger.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nwrong").await;
        }
    });
    let cache = Arc::new(FileCache::open(&pebble.site.dir.path().join("acme")).unwrap());
    let issuer = crate::node::issuer(options(&pebble.site), &cache, &Arc::default());
    let lease = cache.take_lease("test").await.unwrap().unwrap();
    let error = Box::pin(issuer.issue(&lease)).await.unwrap_err();
    stranger.abort();
    let told = format!("{error} {error:?}");
    assert!(told.contains("[key authorization]"), "{told}");
    let is_thumbprint = |word: &str| word.len() == 43 && !told.contains(&format!("acme-challenge/{word}"));
    let words = || told.split(|letter: char| !(letter.is_ascii_alphanumeric() || "-_".contains(letter)));
    assert!(!words().any(is_thumbprint), "{told}");
    assert!(told.contains("what answers at this name is not this m0v"), "{told}");
}

/// Says `request` to the port and answers what came back until the end.
async fn say(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn tells_strangers_nothing_on_the_challenge_ports() {
    let site = Site::new();
    let node = Node::new(&site, options(&site)).await;
    let answer = ChallengeAnswer {
        kind: ChallengeKind::Http01,
        ident: "t".repeat(43),
        key_authorization: Secret::new("the answer".to_owned()),
        expires: i64::MAX,
    };
    node.cache.publish_challenge(&answer).await.unwrap();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    let path = format!("/.well-known/acme-challenge/{}", answer.ident);
    let known = say(site.http_port, &get(&path)).await;
    assert!(known.starts_with("HTTP/1.1 200 OK\r\n") && known.ends_with("\r\n\r\nthe answer"), "{known}");
    for request in [
        get("/"),
        get(&path.replace('t', "u")),
        b"\x16\x03\x01 what\r\n\r\n".to_vec(),
        get(&"/".repeat(4090)),
    ] {
        let answer = say(site.http_port, &request).await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    }
    assert!(!say(site.tls_port, &get(&path)).await.contains("the answer"));
    node.cache.withdraw_challenge(ChallengeKind::Http01, &answer.ident).await.unwrap();
    assert!(say(site.http_port, &get(&path)).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn says_which_name_the_ca_refuses() {
    let pebble = Pebble::start();
    let blocked = Options { domains: vec!["blocked.example".to_owned()], ..options(&pebble.site) };
    let node = Node::new(&pebble.site, blocked).await;
    let error = node.issue().await.unwrap_err();
    assert_eq!(error.class(), Class::Setup);
    let text = error.to_string();
    assert!(
        text.contains("blocked.example") && text.contains("take the name out of [acme] domains"),
        "{text}"
    );
}

#[tokio::test]
async fn gives_a_silent_server_its_time_and_no_more() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = at(&format!("https://localhost:{}/dir", silent.local_addr().unwrap().port())).await;
    assert!(matches!(error, AcmeError::Silent { call: "directory", .. }), "{error}");
    assert_eq!(error.class(), Class::Network);
}

#[tokio::test]
async fn says_that_nobody_is_there() {
    let error = at(&format!("https://localhost:{}/dir", free_port())).await;
    assert!(matches!(error, AcmeError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("check [acme] directory"), "{error}");
    let error = at("https://no-such-host.invalid/dir").await;
    assert!(matches!(error, AcmeError::Unreachable { .. }), "{error}");
}

async fn at(directory: &str) -> AcmeError {
    let site = Site::new();
    let checked = Options { directory: directory.to_owned(), ..options(&site) }.check().unwrap();
    let cache = Arc::new(FileCache::open(&site.dir.path().join("acme")).unwrap());
    let pace = Pace { call: Duration::from_millis(300), ..PACE };
    let recorder = Arc::<Recorder>::default();
    let issuer = Issuer::new(checked, cache.clone(), recorder, Ambient::system(), pace).unwrap();
    let lease = cache.take_lease("test").await.unwrap().unwrap();
    Box::pin(issuer.issue(&lease)).await.unwrap_err()
}
