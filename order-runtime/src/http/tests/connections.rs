//! The accept loop, over sockets. The runtime's time is paused: it jumps to the next deadline when every task waits.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::*;

struct Loop {
    address: SocketAddr,
    ended: CancellationToken,
    task: JoinHandle<()>,
}

impl Loop {
    async fn start() -> Self {
        let served = Served::with(&[]).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let ended = CancellationToken::new();
        let task = tokio::spawn(super::super::serve(listener, served.router, served.metrics, ended.clone()));
        Self { address, ended, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Sends a text, and reads until the connection is closed.
    async fn exchange(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        // The other side may have closed before everything was sent.
        let _ = stream.write_all(text.as_bytes()).await;
        rest(&mut stream).await
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset ends the connection as well.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

#[tokio::test]
async fn requests_of_one_connection_are_answered_in_turn() {
    let served = Loop::start().await;
    let request = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let last = "GET /stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answers = served.exchange(&format!("{request}{last}")).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.contains("\"consumed\":3"), "{answers}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_complete_head_is_closed() {
    let served = Loop::start().await;
    for sent in ["", "GET /health HTTP/1.1\r\nhost: local"] {
        let began = Instant::now();
        let answer = served.exchange(sent).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert_eq!(began.elapsed().as_secs(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_closed_at_the_same_deadline() {
    let served = Loop::start().await;
    let (mut reader, mut writer) = served.connect().await.into_split();
    let began = Instant::now();
    let dripping = tokio::spawn(async move {
        for letter in b"GET /health HTTP/1.1\r\n" {
            tokio::time::sleep(Duration::from_secs(3)).await;
            if writer.write_all(&[*letter]).await.is_err() {
                break;
            }
        }
    });
    let mut answer = Vec::new();
    let _ = reader.read_to_end(&mut answer).await;
    assert_eq!(began.elapsed().as_secs(), 10, "a byte does not extend the deadline");
    dripping.abort();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let served = Loop::start().await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("an open connection");
    let began = Instant::now();
    let answer = rest(&mut stream).await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn heads_are_limited() {
    let served = Loop::start().await;
    let close = "host: localhost\r\nconnection: close\r\n\r\n";
    let many: Vec<String> = (0..64).map(|number| format!("x-{number}: 1\r\n")).collect();
    let many = many.concat();
    let answer = served.exchange(&format!("GET /health HTTP/1.1\r\n{many}{close}")).await;
    assert!(status(&answer).starts_with("HTTP/1.1 431"), "{answer}");
    let long = format!("x-long: {}\r\n", "a".repeat(16 * 1024));
    let answer = served.exchange(&format!("GET /health HTTP/1.1\r\n{long}{close}")).await;
    assert!(status(&answer).starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let served = Loop::start().await;
    let rest_of_head = "connection: close\r\n\r\n";
    for head in [
        "GET /health HTTP/1.1\r\n",
        "GET /health HTTP/1.1\r\nhost: a\r\nhost: a\r\n",
        "GET /health HTTP/1.1\r\nhost: localhost\r\n folded\r\n",
        "GET /health HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n",
        "POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n",
        "GARBAGE\r\n",
    ] {
        let answer = served.exchange(&format!("{head}{rest_of_head}")).await;
        assert!(status(&answer).starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
    }
}

#[tokio::test]
async fn a_length_beside_chunks_ends_the_connection() {
    let served = Loop::start().await;
    let smuggled = "GET /stats HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for lengths in
        ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"]
    {
        let first = format!("POST /consumer/resume HTTP/1.1\r\nhost: localhost\r\n{lengths}\r\n\r\n0\r\n\r\n");
        let answers = served.exchange(&format!("{first}{smuggled}")).await;
        assert_eq!(answers.matches("HTTP/1.1").count(), 1, "the second request is not answered: {answers}");
        assert!(answers.contains("connection: close"), "{answers}");
    }
}

#[tokio::test]
async fn idle_connections_of_one_address_cannot_keep_a_probe_out() {
    let served = Loop::start().await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(served.connect().await);
    }
    let asked = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    for _ in 0..20 {
        let answer = served.exchange(&asked("/health/live")).await;
        assert_eq!(status(&answer), "HTTP/1.1 200 OK", "{answer}");
    }
    let answer = served.exchange(&asked("/stats")).await;
    assert_eq!(status(&answer), "HTTP/1.1 503 Service Unavailable", "{answer}");
    assert!(answer.contains("retry-after: 5") && answer.contains("too many connections are open"), "{answer}");
    let counted = served.exchange(&asked("/metrics")).await;
    let refused =
        counted.lines().find_map(|line| line.strip_prefix("counters_http_refused_total{reason=\"connections\"} "));
    assert!(refused.is_some_and(|count| count.trim().parse::<u32>().is_ok_and(|count| count >= 65)), "{counted}");

    drop(idle);
    let answered = async || loop {
        let answer = served.exchange(&asked("/stats")).await;
        if status(&answer) == "HTTP/1.1 200 OK" {
            break;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answered()).await.expect("closed connections free their places");
}

#[tokio::test]
async fn a_probe_of_http_1_0_needs_no_host() {
    let served = Loop::start().await;
    let answer = served.exchange("GET /health/live HTTP/1.0\r\n\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.0 200 OK", "{answer}");
    let answer = served.exchange("GET /stats HTTP/1.0\r\n\r\n").await;
    assert!(status(&answer).ends_with("400 Bad Request"), "{answer}");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_idle_connections() {
    let served = Loop::start().await;
    let mut idle = served.connect().await;
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("an open connection");
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.expect("an answer");
    served.ended.cancel();
    served.task.await.expect("the loop ends");
    rest(&mut idle).await;
    assert!(TcpStream::connect(served.address).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn a_stop_ends_open_pages() {
    let served = Loop::start().await;
    let mut page = served.connect().await;
    page.write_all(b"GET /page/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("an open connection");
    let mut first = [0; 12];
    page.read_exact(&mut first).await.expect("an answer");
    let began = Instant::now();
    served.ended.cancel();
    served.task.await.expect("the loop ends");
    assert!(began.elapsed() < Duration::from_secs(2), "the stop does not wait for the abort of a stream");
    let rest = rest(&mut page).await;
    assert!(rest.contains("event: hello") && rest.ends_with("0\r\n\r\n"), "the stream ends properly: {rest}");
}
