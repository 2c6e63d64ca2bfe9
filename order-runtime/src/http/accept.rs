//! The accept loop: connections are bounded in number (see [`Places`]) and in time.
//!
//! `axum::serve` has no time limit for a request head and no limit of connections.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::{
    LOG_PERIOD,
    layers::{HEAD_BYTES, is_probe},
    places::{ConnectionSlot, Places},
    problem::Problem,
};
use crate::{
    model::LogThrottle,
    telemetry::metrics::{Metrics, Refusal},
};

/// Time limit for a request head, and for an idle connection.
const HEAD: Duration = Duration::from_secs(10);
/// Time limit for a request head in the reserve; a probe sends its head at once.
const RESERVE_HEAD: Duration = Duration::from_secs(2);
/// Time limit for a write that the client does not read.
const WRITE: Duration = Duration::from_secs(20);
/// Maximum number of headers; a head with more is answered with 431.
const HEADERS: usize = 64;
/// Time limit for running requests when the service stops.
const SHUTDOWN: Duration = Duration::from_secs(3);

/// The remote address of a request's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Cancelled when the service stops. An endless answer, such as a stream of events, ends then.
#[derive(Debug, Clone)]
pub(super) struct Ending(pub(super) CancellationToken);

/// Answers requests until `ended` is cancelled; then waits at most three seconds for running requests.
pub(crate) async fn serve(listener: TcpListener, router: Router, metrics: Arc<Metrics>, ended: CancellationToken) {
    let places = Arc::new(Places::default());
    let (too_many, refused) = (LogThrottle::new(LOG_PERIOD), LogThrottle::new(LOG_PERIOD));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // For example out of file descriptors: wait until other connections are closed, instead of spinning.
                if let Some(held_back) = refused.pass() {
                    warn!(%error, held_back, "cannot accept a connection; retrying every 100 ms");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let place = places.take(peer.ip());
        if place.reserve().is_some() {
            metrics.refused(Refusal::Connections);
            if let Some(held_back) = too_many.pass() {
                warn!(
                    %peer,
                    held_back,
                    "too many HTTP connections; new ones are answered for health and metrics only"
                );
            }
        }
        let (router, ended) = (router.clone(), ended.clone());
        tasks.spawn(async move {
            let Some(given_up) = place.reserve() else { return connection(stream, peer, router, &place, ended).await };
            tokio::select! {
                () = connection(stream, peer, router, &place, ended) => {}
                () = given_up.cancelled() => {}
            }
        });
    }
    tasks.close();
    if tokio::time::timeout(SHUTDOWN, tasks.wait()).await.is_err() {
        debug!("running requests are aborted");
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    place: &ConnectionSlot,
    ended: CancellationToken,
) {
    let is_reserve = place.reserve().is_some();
    // Send small answers without delay.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE));
    let ending = Ending(ended.clone());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(ending.clone());
        let router = router.clone();
        async move {
            if is_reserve && !is_probe(request.uri().path()) {
                return Ok::<Response, Infallible>(too_many());
            }
            router.oneshot(request).await
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(if is_reserve { RESERVE_HEAD } else { HEAD })
        .keep_alive(!is_reserve)
        .max_buf_size(HEAD_BYTES)
        .max_header_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = ended.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%peer, %error, "connection ended early");
    }
}

fn too_many() -> Response {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many connections are open; try again later")
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
        .into_response()
}
