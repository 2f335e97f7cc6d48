//! The admin port's connections: few, each with a deadline for its head, none in the way of the end.

use crate::net::accept::{AcceptError, PAUSE};
use crate::ops::admin::{self, Admin};
use crate::ops::events;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Connections at once on one listener: a scraper, probes and a few people. Each holds a
/// descriptor that a meter could have.
const MAX_CONNECTIONS: usize = 64;

/// Longest time for the head of a request; after it, and between requests, the connection ends.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time an answer may take to leave once the server stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves one listener until `stop`, and awaits its connections.
pub(super) async fn serve(listener: TcpListener, admin: Admin, stop: CancellationToken) {
    let metrics = Arc::clone(&admin.metrics);
    let service = TowerToHyperService::new(admin::router(admin));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Ok(place) = Arc::clone(&places).acquire_owned() => tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted.map(|(tcp, _)| (tcp, place)),
            },
        };
        match accepted {
            Ok((tcp, place)) => {
                let (service, stop) = (service.clone(), stop.clone());
                connections.spawn(async move {
                    answer(tcp, service, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                let kind = AcceptError::of(&error);
                events::accept_failed(&metrics, "admin", kind, &error);
                if kind != AcceptError::PeerGone {
                    sleep(PAUSE).await;
                }
            }
        }
        while connections.try_join_next().is_some() {}
    }
    connections.join_all().await;
}

async fn answer(tcp: TcpStream, service: TowerToHyperService<Router>, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(tcp), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(FAREWELL, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        log::debug!("a connection of the admin port ended: {error}");
    }
}
