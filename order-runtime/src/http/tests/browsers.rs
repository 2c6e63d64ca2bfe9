//! Headers for browsers, and compression.

use super::*;

async fn allowed(served: &Served, origin: &str) -> String {
    let answer = served.send(empty(get("/stats").header(header::ORIGIN, origin))).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.header("access-control-allow-origin").to_owned()
}

#[tokio::test]
async fn in_development_pages_of_this_machine_may_read() {
    let served = Served::with(&[]).await;
    for origin in ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:3000"] {
        assert_eq!(allowed(&served, origin).await, origin);
    }
    for origin in ["null", "http://evil.example", "http://localhost.evil.example", "file://localhost", "localhost"] {
        assert_eq!(allowed(&served, origin).await, "", "{origin}");
    }
    let off = Served::with(&[("APP_MIDDLEWARE_CORS", "false")]).await;
    assert_eq!(allowed(&off, "http://localhost:5173").await, "");
}

#[tokio::test]
async fn whole_origins_are_compared() {
    let served = Served::with(&[("APP_CORS_ORIGINS", "https://ok.example")]).await;
    assert_eq!(allowed(&served, "https://ok.example").await, "https://ok.example");
    for origin in ["https://ok.example.evil.org", "http://ok.example", "https://ok.example:444", "http://localhost"] {
        assert_eq!(allowed(&served, origin).await, "", "{origin}");
    }
    let any_origin = Served::with(&[("APP_CORS_ORIGINS", "*")]).await;
    assert_eq!(allowed(&any_origin, "http://any.example").await, "*");
}

#[tokio::test]
async fn preflights_name_methods_and_headers_and_vary() {
    let served = Served::with(&[]).await;
    let preflight = get("/events")
        .method(Method::OPTIONS)
        .header(header::ORIGIN, "http://localhost:5173")
        .header("access-control-request-method", "POST");
    let answer = served.send(empty(preflight)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-methods"), "GET,POST,DELETE", "every method that a route has");
    assert_eq!(answer.header("access-control-allow-headers"), "content-type,authorization");
    assert_eq!(answer.header("access-control-max-age"), "600");
    assert!(answer.header("vary").contains("origin"), "{}", answer.header("vary"));
    assert_eq!(answer.header("access-control-allow-credentials"), "", "never with credentials");
}

#[tokio::test]
async fn every_answer_has_security_headers() {
    let served = Served::with(&[]).await;
    let untrusted = Request::builder().uri("/").header(header::HOST, "evil.example");
    for answer in [served.get("/").await, served.get("/nothing").await, served.send(empty(untrusted)).await] {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(answer.header("x-request-id").len(), 36, "each has an id to find it in the log");
    }
    let answer = served.send(empty(get("/stats").header("x-request-id", "mine"))).await;
    assert_eq!(answer.header("x-request-id"), "mine");
}

#[tokio::test]
async fn answers_are_compressed_if_requested_and_large_enough() {
    let served = Served::with(&[("APP_MIDDLEWARE_GZIP", "true")]).await;
    let encoding = async |target: &str, accepted: &str| {
        let answer = served.send(empty(get(target).header(header::ACCEPT_ENCODING, accepted))).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.header("content-encoding").to_owned()
    };
    assert_eq!(encoding("/", "gzip").await, "gzip");
    for refused in ["identity", "gzip;q=0", "br"] {
        assert_eq!(encoding("/", refused).await, "", "{refused}");
    }
    assert_eq!(encoding("/health", "gzip").await, "", "too small to be worth it");
    let vary = served.send(empty(get("/").header(header::ACCEPT_ENCODING, "gzip"))).await;
    assert!(vary.header("vary").contains("accept-encoding"), "{}", vary.header("vary"));

    let off = Served::with(&[]).await;
    let plain = off.send(empty(get("/").header(header::ACCEPT_ENCODING, "gzip"))).await;
    assert_eq!(plain.header("content-encoding"), "");
}
