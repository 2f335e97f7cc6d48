//! Answering the CA's questions: http-01 by hand on port 80, and the door both challenges
//! share. Strangers ask here too, so reads, time and company are bounded, and everything but
//! a published token gets 404 and no log line above debug.

use super::cache::{Cache, ChallengeKind};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// From accept to closed; a CA is done in a fraction of it.
pub(crate) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections served at a time; a CA comes from about five places per name.
const CONNECTIONS_MAX: usize = 128;
/// Pause after a failed accept (out of descriptors, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request that are read; a CA sends about 300.
const REQUEST_MAX: usize = 4096;
/// The path of RFC 8555 §8.3.
const WELL_KNOWN: &str = "/.well-known/acme-challenge/";
/// Lengths a token can have: 128 bits at least (RFC 8555 §8.1), and no novel.
const TOKEN_LENGTHS: std::ops::RangeInclusive<usize> = 22..=128;

/// Answers http-01 on a bound listener until `stop`. Owns its connections.
pub async fn serve_http_01(listener: TcpListener, cache: Arc<dyn Cache>, stop: CancellationToken) {
    serve(listener, stop, move |stream, peer| {
        let cache = cache.clone();
        async move {
            if let Err(error) = answer_http(stream, &*cache).await {
                log::debug!("http-01 connection from {peer}: {error}");
            }
        }
    })
    .await;
}

/// Accepts until `stop`; each connection is one bounded task, and all end with this future.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    stop: CancellationToken,
    handle: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let work = handle(stream, peer);
                connections.spawn(async move {
                    if timeout(CONNECTION_TIMEOUT, work).await.is_err() {
                        log::debug!("challenge connection from {peer}: out of time");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                log::debug!("accept on a challenge port: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn answer_http(mut stream: TcpStream, cache: &dyn Cache) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    let mut ended = false;
    while !ended && request.len() < REQUEST_MAX {
        let length = stream.read(&mut part).await?;
        request.extend_from_slice(part.get(..length).unwrap_or_default());
        ended = length == 0 || request.windows(4).any(|window| window == b"\r\n\r\n");
    }
    let found = match token(&request) {
        Some(token) => cache.challenge(ChallengeKind::Http01, token).await.unwrap_or_else(|error| {
            log::debug!("an http-01 challenge could not be looked up: {error}");
            None
        }),
        None => None,
    };
    let (status, body) = match &found {
        Some(key_authorization) => ("200 OK", key_authorization.expose()),
        None => ("404 Not Found", "Not found\n"),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The token a request asks for; `None` for all that is no such request.
fn token(request: &[u8]) -> Option<&str> {
    let line = request.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, path, version) = (words.next()?, words.next()?, words.next()?);
    if method != "GET" || !version.starts_with("HTTP/1.") {
        return None;
    }
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let token = path.strip_prefix(WELL_KNOWN)?;
    let sound = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    (sound && TOKEN_LENGTHS.contains(&token.len())).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_token_out_of_a_request_and_nothing_else() {
        let token_43 = "a".repeat(43);
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        for (request, found) in [
            (get(&format!("{WELL_KNOWN}{token_43}")), true),
            (get(&format!("{WELL_KNOWN}{token_43}?x=1")), true),
            (get(&format!("{WELL_KNOWN}../{token_43}")), false),
            (get(&format!("{WELL_KNOWN}short")), false),
            (get(&format!("{WELL_KNOWN}{}", "a".repeat(129))), false),
            (get("/"), false),
            (format!("POST {WELL_KNOWN}{token_43} HTTP/1.1\r\n\r\n"), false),
            (format!("GET {WELL_KNOWN}{token_43}"), false),
            (String::new(), false),
        ] {
            assert_eq!(token(request.as_bytes()).is_some(), found, "{request:?}");
        }
        assert_eq!(token(b"\xff\xfe\r\n"), None);
    }
}
