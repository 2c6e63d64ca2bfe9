//! The accept loop: connections are bounded in number and in time.
//!
//! axum's own `serve` waits without end for a head that does not come, and knows no cap.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::layers::HEAD_BYTES;

/// Connections at once; further ones are closed.
const CONNECTIONS: usize = 512;
/// How long a whole head may take, and how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);
/// How long a client may not read what it is sent.
const WRITE: Duration = Duration::from_secs(20);
/// A head of more headers is answered with 431.
const HEADERS: usize = 64;
/// How long requests under way may take when the service ends.
const SHUTDOWN: Duration = Duration::from_secs(3);

/// Who is at the other end of a request's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Told when the service ends: an answer without an end of its own, as a stream of events is, ends then.
#[derive(Debug, Clone)]
pub(super) struct Ending(pub(super) CancellationToken);

/// Answers requests until `ended`; then waits, for at most three seconds, for those under way.
pub(crate) async fn serve(listener: TcpListener, router: Router, ended: CancellationToken) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
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
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            debug!(%peer, "too many connections; this one is closed");
            continue;
        };
        let (router, ended) = (router.clone(), ended.clone());
        tasks.spawn(async move {
            connection(stream, peer, router, ended).await;
            drop(permit);
        });
    }
    tasks.close();
    if tokio::time::timeout(SHUTDOWN, tasks.wait()).await.is_err() {
        debug!("requests under way are cut off");
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, ended: CancellationToken) {
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
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
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
