//! The accept loop: connections are bounded in number (see [`Places`]) and in time.
//!
//! axum's own `serve` waits without end for a head that does not come, and knows no cap.

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
    layers::{HEAD_BYTES, is_probe},
    places::{ConnectionSlot, Places},
    problem::Problem,
    throttle::LogThrottle,
};
use crate::telemetry::metrics::{Metrics, Refusal};

/// How long a whole head may take, and how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);
/// How long a head may take in the reserve; a probe sends it at once.
const RESERVE_HEAD: Duration = Duration::from_secs(2);
/// How long a client may not read what it is sent.
const WRITE: Duration = Duration::from_secs(20);
/// A head of more headers is answered with 431.
const HEADERS: usize = 64;
/// How long requests under way may take when the service ends.
const SHUTDOWN: Duration = Duration::from_secs(3);

/// Who is at the other end of a request's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer(pub(super) SocketAddr);

/// LogThrottle when the service ends: an answer without an end of its own, as a stream of events is, ends then.
#[derive(Debug, Clone)]
pub(super) struct Ending(pub(super) CancellationToken);

/// Answers requests until `ended`; then waits, for at most three seconds, for those under way.
pub(crate) async fn serve(listener: TcpListener, router: Router, metrics: Arc<Metrics>, ended: CancellationToken) {
    let places = Arc::new(Places::default());
    let throttle = LogThrottle::default();
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, say: others will be closed, and busy waiting would not help.
                warn!(%error, "no connection is accepted for a moment");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let place = places.take(peer.ip());
        if place.reserve().is_some() {
            metrics.refused(Refusal::Connections);
            if let Some(held_back) = throttle.pass() {
                warn!(
                    %peer,
                    held_back,
                    "too many HTTP connections; new ones get answers about health and metrics only"
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
        debug!("requests under way are cut off");
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
    // A small answer must not wait for another.
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
        debug!(%peer, %error, "a connection has ended early");
    }
}

fn too_many() -> Response {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many connections are open; try again later")
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("5"))
        .into_response()
}
