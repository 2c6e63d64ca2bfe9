//! The checks of hosts and schemes.

use super::*;

fn to_host(target: &str, host: &str) -> request::Builder {
    let peer: SocketAddr = PEER.parse().expect("an address");
    Request::builder().uri(target).header(header::HOST, host).extension(Peer(peer))
}

#[tokio::test]
async fn only_trusted_hosts_are_answered() {
    let served = Served::with(&[("APP_TRUSTED_HOSTS", "example.org,*.example.net")]).await;
    for host in ["example.org", "EXAMPLE.org.:8000", "a.example.net"] {
        assert_eq!(served.send(empty(to_host("/stats", host))).await.status, StatusCode::OK, "{host}");
    }
    for host in ["evil.example", "example.net", "example.org.evil.example", "badexample.org"] {
        let answer = served.send(empty(to_host("/stats", host))).await;
        assert_eq!(answer.problem(400), "the host is not one of APP_TRUSTED_HOSTS");
        assert!(!answer.body.contains(host), "the sender's text is not repeated");
    }
    for probe in ["/health", "/health/live", "/health/ready", "/metrics"] {
        let answer = served.send(empty(to_host(probe, "10.0.0.7:8000"))).await;
        assert_eq!(answer.status, StatusCode::OK, "probes connect by address: {probe}");
    }
    let open = Served::with(&[("APP_MIDDLEWARE_TRUSTEDHOST", "false")]).await;
    assert_eq!(open.send(empty(to_host("/stats", "evil.example"))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_names_one_host() {
    let served = Served::with(&[("APP_MIDDLEWARE_TRUSTEDHOST", "false")]).await;
    let none = Request::builder().uri("/stats");
    assert_eq!(served.send(empty(none)).await.problem(400), "the request has no Host header");
    let two = to_host("/stats", "a").header(header::HOST, "b");
    assert_eq!(served.send(empty(two)).await.problem(400), "the request has several Host headers");
    for host in ["a@b", "a/b", "a b", &"a".repeat(300)] {
        let answer = served.send(empty(to_host("/stats", host))).await;
        assert_eq!(answer.problem(400), "the Host header is malformed", "{host}");
    }
    let other = to_host("http://other/stats", "a");
    assert!(served.send(empty(other)).await.problem(400).contains("different hosts"));
}

#[tokio::test]
async fn plain_http_is_redirected_to_https() {
    let served = Served::with(&[("APP_MIDDLEWARE_HTTPSREDIRECT", "true")]).await;
    for (target, location) in [
        ("/stats?a=%0d%0a&b", "https://localhost:8000/stats?a=%0d%0a&b"),
        ("//evil.example/", "https://localhost:8000//evil.example/"),
        ("/", "https://localhost:8000/"),
    ] {
        let answer = served.get(target).await;
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT, "{}", answer.body);
        assert_eq!(answer.header("location"), location);
    }
    let untrusted = served.send(empty(to_host("/", "evil.example"))).await;
    untrusted.problem(400);
    let with_secret = get("/stats").header(header::AUTHORIZATION, "Bearer secret");
    assert_eq!(served.send(empty(with_secret)).await.problem(403), "send credentials by https only");
    assert_eq!(served.get("/health").await.status, StatusCode::OK, "probes are not redirected");
}

#[tokio::test]
async fn no_redirect_leads_to_an_unknown_host() {
    let served =
        Served::with(&[("APP_MIDDLEWARE_HTTPSREDIRECT", "true"), ("APP_MIDDLEWARE_TRUSTEDHOST", "false")]).await;
    let answer = served.send(empty(to_host("/", "evil.example"))).await;
    assert_eq!(answer.problem(400), "the host is not one of APP_TRUSTED_HOSTS");
    assert_eq!(served.get("/").await.status, StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn only_a_proxy_on_this_machine_is_trusted() {
    let served = Served::with(&[("APP_MIDDLEWARE_HTTPSREDIRECT", "true")]).await;
    let through = |request: request::Builder| empty(request.header("x-forwarded-proto", "https"));
    assert_eq!(served.send(through(get("/stats"))).await.status, StatusCode::OK);
    for (name, value) in [
        ("x-forwarded-proto", "https,http"),
        ("x-forwarded-proto", "HTTPS"),
        ("forwarded", "for=192.0.2.7;proto=https;by=a, for=192.0.2.8;proto=http"),
        ("forwarded", "Proto=\"HTTPS\""),
    ] {
        let answer = served.send(empty(get("/stats").header(name, value))).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {value}");
    }
    for (name, value) in [("x-forwarded-proto", "http,https"), ("forwarded", "proto=http"), ("forwarded", "for=https")]
    {
        let answer = served.send(empty(get("/stats").header(name, value))).await;
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT, "{name}: {value}");
    }
    let spoofed = served.send(through(from_elsewhere(get("/stats")))).await;
    assert_eq!(spoofed.status, StatusCode::TEMPORARY_REDIRECT);
}
