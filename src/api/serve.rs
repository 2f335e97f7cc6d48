//! One connection: HTTP/1.1 or HTTP/2, as the client begins, within bounds and to its end.
//!
//! hyper frames; here are the bounds it does not know: a first request in time, an end to
//! idleness on HTTP/2 too, a peer that does not read, and the stop of the server.

use super::{ApiService, Word, body};
use crate::device::{self, Identity};
use crate::net::remote::Remote;
use crate::net::write_deadline::WriteDeadline;
use crate::ops::events;
use crate::ops::party::Party;
use crate::session::{End, Tally};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::{Service, service_fn};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// From one request to the next on HTTP/1.1, and for the head of the first: longer than a
/// slow phone needs, shorter than anyone should hold a connection for nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Header fields of a request; browsers send about twenty.
const MAX_HEADERS: usize = 64;

/// Bytes of all header fields together.
const MAX_HEAD_BYTES: u16 = 16 * 1024;

/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 32;

/// Streams a client opened and reset before they were looked at (rapid reset,
/// CVE-2023-44487), and those reset by us for its errors, before the connection is ended.
const MAX_RESETS: usize = 20;

/// What an HTTP/2 client may send unread, for one request: the longest body.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// Answers kept for one HTTP/2 request that does not fetch them.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// A silent HTTP/2 client is asked so often whether it is there …
const PING_EVERY: Duration = Duration::from_secs(20);

/// … and has this long to answer.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the answers under way may take to leave once the certificate is revoked.
const REVOKED_TIMEOUT: Duration = Duration::from_millis(500);

/// Who is at the other end; an extension of every request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address whose quota a request is counted on.
    pub ip: IpAddr,
    /// Its port there; a proxy's header of HTTP may not tell it.
    pub port: Option<u16>,
    /// The proxy that named it.
    pub via: Option<SocketAddr>,
    /// The connection's number in the log.
    pub connection: u64,
    /// What came of the certificate that was shown, if one was. If it was refused, so is every
    /// request, and the connection is closed after the first.
    pub certificate: Option<Result<Arc<Identity>, device::Refused>>,
    /// What headers may change of the two above.
    pub word: Word,
}

impl Peer {
    /// The address and what is known of the port.
    #[must_use]
    pub const fn remote(&self) -> Remote {
        Remote { ip: self.ip, port: self.port }
    }

    pub(super) const fn party(&self) -> Party {
        Party { number: self.connection, port: "api", peer: self.remote(), via: self.via }
    }
}

/// The deadlines of `[limits]` that count here.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest time without a request.
    pub idle_timeout: Duration,
    /// Longest time for what is sent to make no progress.
    pub write_timeout: Duration,
}

/// Where the tasks go that HTTP/2 needs, one for each request: their owner awaits them, and
/// can end them.
#[derive(Clone)]
pub struct Tasks {
    /// Awaits them.
    pub tracker: TaskTracker,
    /// Ends them.
    pub abort: CancellationToken,
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let abort = self.abort.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = task => {}
                () = abort.cancelled() => {}
            }
        });
    }
}

/// What goes on on one connection.
#[derive(Clone, Copy, Default)]
struct Activity {
    running: usize,
    tally: Tally,
}

/// Serves a connection from `peer` until it ends, is idle, or the server stops; then requests
/// that were read are answered first.
pub async fn serve<S>(
    stream: S,
    peer: Peer,
    service: &Arc<ApiService>,
    bounds: Bounds,
    tasks: Tasks,
) -> (End, Tally)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(watch::Sender::new(Activity::default()));
    let idle = match &peer.certificate {
        Some(Err(_)) => idle(activity.subscribe(), HEAD_TIMEOUT.min(bounds.idle_timeout), Duration::ZERO),
        _ => idle(activity.subscribe(), HEAD_TIMEOUT.min(bounds.idle_timeout), bounds.idle_timeout),
    };
    let identity = peer.certificate.as_ref().and_then(|it| it.as_ref().ok()).map(Arc::clone);
    let (answering, port) = (Arc::clone(&activity), Arc::clone(service));
    let answer =
        service_fn(move |request| answer(request, peer.clone(), Arc::clone(&answering), Arc::clone(&port)));
    let builder = builder(tasks);
    let io = TokioIo::new(WriteDeadline::new(stream, bounds.write_timeout));
    let mut connection = pin!(builder.serve_connection(io, answer));
    let end = tokio::select! {
        biased;
        ended = connection.as_mut() => Err(end_of(ended)),
        () = revoked(identity.as_deref()) => Ok(End::Revoked),
        () = service.stop.cancelled() => Ok(End::Stopping),
        () = idle => Ok(End::Idle),
    };
    if let Ok(end) = &end {
        connection.as_mut().graceful_shutdown();
        let patience = if matches!(end, End::Revoked) { REVOKED_TIMEOUT } else { bounds.write_timeout };
        // In time or not, well or not: the connection is dropped now.
        let _ended = timeout(patience, connection).await;
    }
    let (Ok(end) | Err(end)) = end;
    let tally = activity.borrow().tally;
    (end, tally)
}

/// Resolves when the certificate of the connection, if one was accepted, is revoked.
async fn revoked(identity: Option<&Identity>) {
    match identity {
        Some(identity) => identity.revoked().await,
        None => std::future::pending().await,
    }
}

fn builder(tasks: Tasks) -> Builder<Tasks> {
    let mut builder = Builder::new(tasks);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES.into());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .max_header_list_size(MAX_HEAD_BYTES.into());
    builder
}

async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    activity: Arc<watch::Sender<Activity>>,
    service: Arc<ApiService>,
) -> Result<Response, Infallible> {
    let running = Running::start(activity);
    let mut request = request.map(Body::new);
    let response = match service.introduction.client(request.headers_mut(), peer, &service.metrics).await {
        Ok((client, _place)) => {
            let party = client.party();
            request.extensions_mut().insert(client);
            let response = service.router.call(request).await?;
            party.answered(response.status());
            response
        }
        Err(refusal) => {
            body::drop_unread(request).await;
            refusal.into_response()
        }
    };
    events::request_answered(&service.metrics, response.status());
    running.answered(response.status());
    Ok(response)
}

/// One request in work; its `Drop` keeps the count honest when a client gives up.
struct Running(Arc<watch::Sender<Activity>>);

impl Running {
    fn start(activity: Arc<watch::Sender<Activity>>) -> Self {
        activity.send_modify(|activity| activity.running += 1);
        Self(activity)
    }

    /// `Not found` is an answer like any other.
    fn answered(&self, status: StatusCode) {
        let refused = status.is_client_error() || status.is_server_error();
        self.0.send_modify(|activity| match refused && status != StatusCode::NOT_FOUND {
            true => activity.tally.refused += 1,
            false => activity.tally.thanked += 1,
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|activity| activity.running -= 1);
    }
}

/// Resolves when nothing was asked for too long: before the first answer, and after it.
async fn idle(mut activity: watch::Receiver<Activity>, before: Duration, after: Duration) {
    loop {
        let Activity { running, tally } = *activity.borrow_and_update();
        let patience = if tally == Tally::default() { before } else { after };
        tokio::select! {
            () = sleep(patience), if running == 0 => return,
            changed = activity.changed() => if changed.is_err() { return },
        }
    }
}

fn end_of(ended: Result<(), Box<dyn Error + Send + Sync>>) -> End {
    let Err(error) = ended else { return End::PeerClosed };
    if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout) {
        return End::Idle;
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|it| it.kind() == std::io::ErrorKind::TimedOut)
        {
            return End::NotReading;
        }
        cause = error.source();
    }
    End::PeerLost(std::io::Error::other(error))
}
