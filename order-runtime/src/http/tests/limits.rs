//! Limits of requests, and the answers of failed ones.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;

use super::*;

#[tokio::test]
async fn long_targets_are_refused() {
    let served = Served::with(&[]).await;
    let target = |length: usize| format!("/{}", "a".repeat(length - 1));
    served.get(&target(8 * 1024)).await.problem(404);
    assert_eq!(served.get(&target(8 * 1024 + 1)).await.problem(414), "the target is longer than 8 KiB");
}

#[tokio::test]
async fn large_bodies_are_refused_on_every_route() {
    let served = Served::with(&[]).await;
    let megabyte = Bytes::from(vec![b' '; 1024 * 1024]);
    for target in ["/events", "/consumer/pause"] {
        let announced = post(target).header(header::CONTENT_LENGTH, megabyte.len() + 1);
        served
            .send(announced.body(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())).unwrap())
            .await
            .problem(413);
        // Without a length, in chunks.
        let chunks = [megabyte.clone(), Bytes::from_static(b" ")].map(Ok::<_, Infallible>);
        let chunked = post(target).body(Body::from_stream(stream::iter(chunks))).expect("a request");
        assert_eq!(served.send(chunked).await.problem(413), "the body is larger than 1 MiB", "{target}");
    }
    let fits = served.send(post("/events").body(Body::from(megabyte)).expect("a request")).await;
    fits.problem(400);
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_are_aborted() {
    let served = Served::with(&[]).await;
    let drip = stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_secs(4)).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
    });
    let began = tokio::time::Instant::now();
    let answer = served.send(post("/events").body(Body::from_stream(drip)).expect("a request")).await;
    assert_eq!(answer.problem(408), "the body took more than 10 s");
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn the_body_of_a_refused_request_is_not_read() {
    let served = Served::with(&[("APP_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")]).await;
    for (target, status) in [("/events", 401), ("/dlq/purge", 401), ("/stats", 405), ("/nothing", 404)] {
        let read = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&read);
        let body = stream::poll_fn(move |_| {
            noted.store(true, Ordering::Relaxed);
            std::task::Poll::<Option<Result<Bytes, Infallible>>>::Pending
        });
        served.send(post(target).body(Body::from_stream(body)).expect("a request")).await.problem(status);
        assert!(!read.load(Ordering::Relaxed), "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_bodies_together_are_limited() {
    let served = Served::with(&[]).await;
    let slow = || {
        let pending = stream::pending::<Result<Bytes, Infallible>>();
        served.send(post("/events").body(Body::from_stream(pending)).expect("a request"))
    };
    let (answers, later) = tokio::join!(futures_util::future::join_all((0..32).map(|_| slow())), async {
        tokio::task::yield_now().await;
        (slow().await, served.post("/consumer/pause", "").await)
    });
    assert!(answers.iter().all(|answer| answer.status == StatusCode::REQUEST_TIMEOUT));
    assert_eq!(later.0.problem(503), "too many bodies are being received; send it again later");
    assert_eq!(later.1.status, StatusCode::OK, "a request without a body needs no memory");
}

#[tokio::test]
async fn compressed_bodies_are_refused() {
    let served = Served::with(&[]).await;
    let packed = post("/events").header(header::CONTENT_ENCODING, "gzip");
    served.send(empty(packed)).await.problem(415);
}

#[tokio::test]
async fn long_headers_are_refused() {
    let served = Served::with(&[]).await;
    let with =
        |sizes: &[usize]| {
            let headers = sizes.iter().enumerate();
            empty(headers.fold(get("/stats"), |request, (number, size)| {
                request.header(format!("x-{number}"), "a".repeat(*size))
            }))
        };
    assert_eq!(served.send(with(&[16_000])).await.status, StatusCode::OK);
    served.send(with(&[16_385])).await.problem(431);
    served.send(with(&[16_000, 16_000, 1_000])).await.problem(431);
}

#[tokio::test]
async fn a_panic_of_a_handler_is_answered() {
    let served = Served::showing(Shown { panics: true, ..Shown::default() }, &[]).await;
    let answer = served.get("/stats").await;
    assert_eq!(answer.problem(500), "the request failed; its id is in x-request-id");
    assert!(!answer.body.contains("the test makes"), "a panic's message is not sent: {}", answer.body);
    assert_eq!(answer.header("x-request-id").len(), 36);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(served.get("/partitions").await.status, StatusCode::OK, "other requests are answered");
}
