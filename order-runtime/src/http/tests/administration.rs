//! Access control and the audit.

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

async fn pause(served: &Served, request: request::Builder) -> Answer {
    served.send(empty(request)).await
}

fn asked() -> request::Builder {
    post("/consumer/pause")
}

#[tokio::test]
async fn consumption_is_paused_and_resumed() {
    let served = Served::with(&[]).await;
    assert_eq!(served.post("/consumer/pause", "").await.json(), serde_json::json!({"paused": true}));
    assert!(served.shown.paused.load(Ordering::Relaxed));
    assert_eq!(served.post("/consumer/resume", "").await.json(), serde_json::json!({"paused": false}));
    assert!(!served.shown.paused.load(Ordering::Relaxed));
}

#[tokio::test]
async fn selected_waiting_keys_are_released() {
    let served = Served::with(&[]).await;
    assert_eq!(served.get("/waiting").await.json(), serde_json::json!([]));
    assert_eq!(served.post("/waiting/retry", r#"{"all": true}"#).await.json(), serde_json::json!({"released": 1}));
    for body in ["", "{}", r#"{"partition": 1}"#, r#"{"keys": "a"}"#] {
        assert!(served.post("/waiting/dead-letter", body).await.problem(400).contains("\"all\": true"), "{body}");
    }
    let stranger = served.send(empty(from_elsewhere(get("/waiting")))).await;
    stranger.problem(403);
}

#[tokio::test]
async fn operators_actions_are_recorded() {
    let served = Served::with(&[("APP_ADMIN_TOKEN", TOKEN)]).await;
    let ask = async |target: &str, body: &str, operator: Option<&str>| {
        let mut request = post(target).header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
        if let Some(operator) = operator {
            request = request.header("x-operator", operator);
        }
        served.send(request.body(Body::from(body.to_owned())).expect("a request")).await
    };
    ask("/consumer/pause", "", None).await;
    ask("/consumer/resume", "", Some("cli:somebody")).await;
    ask("/waiting/retry", r#"{"all": true}"#, None).await;
    ask("/waiting/dead-letter", r#"{"key": "k-1", "topic": "things"}"#, Some(&"x".repeat(65))).await;
    ask("/waiting/dead-letter", r#"{"topic": "orphaned"}"#, None).await;
    ask("/waiting/retry", "{}", None).await.problem(400);
    let audit =
        served.send(empty(get("/dlq/audit").header(header::AUTHORIZATION, format!("Bearer {TOKEN}")))).await.json();
    let rows: Vec<_> = audit.as_array().expect("a list").iter().rev().collect();
    let field = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("action"), ["pause", "resume", "waiting_retry", "waiting_dead_letter", "waiting_dead_letter"]);
    let itself = "token@127.0.0.1";
    let for_somebody = format!("cli:somebody via {itself}");
    assert_eq!(field("by"), [itself, &for_somebody, itself, itself, itself], "a name that is too long is ignored");
    assert_eq!(
        field("selection"),
        ["{}", "{}", r#"{"all":true}"#, r#"{"key":"k-1","topic":"things"}"#, r#"{"topic":"orphaned"}"#]
    );
    assert_eq!(field("letters"), [0, 0, 1, 0, 41], "how many keys, or events of a topic, were found");
}

#[tokio::test]
async fn without_a_token_only_this_machine_may_act() {
    let served = Served::with(&[]).await;
    let stranger = pause(&served, from_elsewhere(asked())).await;
    assert!(stranger.problem(403).contains("only clients on the same machine"));
    for name in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
        let passed_on = pause(&served, asked().header(name, "192.0.2.7")).await;
        passed_on.problem(403);
    }
    assert!(!served.shown.paused.load(Ordering::Relaxed));
    let reading = served.send(empty(from_elsewhere(get("/stats")))).await;
    assert_eq!(reading.status, StatusCode::OK, "every client may read");
}

#[tokio::test]
async fn with_a_configured_token_every_action_needs_it() {
    let served = Served::with(&[("APP_ADMIN_TOKEN", TOKEN)]).await;
    let none = pause(&served, asked()).await;
    let said = none.problem(401);
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let prefix = format!("Bearer {}", &TOKEN[1..]);
    for wrong in ["Bearer wrong", "Bearer", "", "Basic abc", &prefix, TOKEN] {
        let answer = pause(&served, asked().header(header::AUTHORIZATION, wrong)).await;
        assert_eq!(answer.problem(401), said, "missing and wrong tokens get the same answer: {wrong}");
    }
    for scheme in ["Bearer", "bearer"] {
        let right = from_elsewhere(asked()).header(header::AUTHORIZATION, format!("{scheme} {TOKEN}"));
        assert_eq!(pause(&served, right).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn production_needs_a_token() {
    let production = [("PRODUCTION_ENV", "true"), ("KAFKA_BROKER_URL", "localhost:9092"), ("APP_HOST", "127.0.0.1")];
    let served = Served::with(&production).await;
    assert!(pause(&served, asked()).await.problem(403).contains("APP_ADMIN_TOKEN"));
    served.post("/events", "{}").await.problem(403);
}

const VIEWER: &str = "fedcba9876543210fedcba9876543210";
const PRODUCTION: (&str, &str) = ("PRODUCTION_ENV", "true");
const READS: [&str; 7] =
    ["/counters", "/counters/c-1", "/counters/c-1/events", "/page/live", "/stats", "/processors", "/partitions"];

/// The status of an answer, without its body, which may be endless.
async fn status(served: &Served, request: request::Builder) -> u16 {
    let answer = served.router.clone().oneshot(empty(request)).await.unwrap_or_else(|never| match never {});
    answer.status().as_u16()
}

#[tokio::test]
async fn in_production_reading_needs_a_token_unless_it_is_public() {
    let closed = Served::with(&[PRODUCTION]).await;
    let tokens = Served::with(&[PRODUCTION, ("APP_ADMIN_TOKEN", TOKEN), ("APP_VIEWER_TOKEN", VIEWER)]).await;
    let opened = Served::with(&[PRODUCTION, ("APP_PUBLIC_READS", "true")]).await;
    for target in READS {
        assert_eq!(status(&closed, get(target)).await, 403, "{target}");
        assert_eq!(status(&tokens, get(target)).await, 401, "{target}");
        for token in [TOKEN, VIEWER] {
            let request = get(target).header(header::AUTHORIZATION, format!("Bearer {token}"));
            // No event of this counter is stored.
            let expected = if target.ends_with("/events") { 404 } else { 200 };
            assert_eq!(status(&tokens, request).await, expected, "{target}");
        }
        assert_ne!(status(&opened, from_elsewhere(get(target))).await, 403, "{target}");
    }
    let detail = closed.get("/counters").await.problem(403);
    assert!(detail.contains("APP_VIEWER_TOKEN") && detail.contains("APP_PUBLIC_READS"), "{detail}");
    for target in ["/", "/health", "/metrics", "/docs", "/openapi.json"] {
        assert_eq!(status(&closed, get(target)).await, 200, "{target}");
    }
    opened.get("/dlq").await.problem(403);
}

#[tokio::test]
async fn a_viewer_reads_everything_and_changes_nothing() {
    let served = Served::with(&[("APP_ADMIN_TOKEN", TOKEN), ("APP_VIEWER_TOKEN", VIEWER)]).await;
    let viewer = |request: request::Builder| request.header(header::AUTHORIZATION, format!("Bearer {VIEWER}"));
    for target in ["/waiting", "/dlq", "/dlq/audit", "/dlq/jobs"] {
        assert_eq!(status(&served, viewer(get(target))).await, 200, "{target}");
    }
    for target in ["/events", "/consumer/pause", "/waiting/retry", "/dlq/purge"] {
        let answer = served.send(empty(viewer(post(target)))).await;
        assert_eq!(answer.problem(403), "the viewer's token may only read; this needs APP_ADMIN_TOKEN", "{target}");
    }
    assert!(!served.shown.paused.load(Ordering::Relaxed));
}

#[tokio::test]
async fn reading_can_be_restricted_in_development_too() {
    let served = Served::with(&[("APP_PUBLIC_READS", "false")]).await;
    assert_eq!(status(&served, get("/counters")).await, 200);
    let stranger = served.send(empty(from_elsewhere(get("/counters")))).await;
    assert!(stranger.problem(403).contains("only clients on the same machine"), "{}", stranger.body);
}

#[tokio::test]
async fn several_credentials_are_refused() {
    let served = Served::with(&[("APP_ADMIN_TOKEN", TOKEN)]).await;
    let right = format!("Bearer {TOKEN}");
    for [first, second] in [[right.as_str(), "Bearer wrong"], ["Basic abc", right.as_str()], [&right, &right]] {
        let request = asked().header(header::AUTHORIZATION, first).header(header::AUTHORIZATION, second);
        assert_eq!(pause(&served, request).await.problem(400), "the request has several Authorization headers");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_guesses_tokens_is_blocked_for_a_while() {
    let served = Served::with(&[("APP_ADMIN_TOKEN", TOKEN)]).await;
    let with = |token: &str| asked().header(header::AUTHORIZATION, format!("Bearer {token}"));
    for _ in 0..30 {
        pause(&served, from_elsewhere(with("wrong"))).await.problem(401);
    }
    let stopped = pause(&served, from_elsewhere(with(TOKEN))).await;
    assert_eq!(stopped.problem(429), "too many wrong tokens came from this address");
    assert_eq!(stopped.header("retry-after"), "60");
    assert_eq!(pause(&served, with(TOKEN)).await.status, StatusCode::OK, "another address is not blocked");
    let of = |client: &str| with("wrong").header("x-forwarded-for", format!("10.0.0.1, {client}"));
    for _ in 0..30 {
        pause(&served, of("198.51.100.1")).await.problem(401);
    }
    pause(&served, of("198.51.100.1")).await.problem(429);
    pause(&served, of("198.51.100.2")).await.problem(401);
    let metrics = served.get("/metrics").await.body;
    for line in
        ["counters_http_refused_total{reason=\"token\"} 61", "counters_http_refused_total{reason=\"guessing\"} 2"]
    {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    assert_eq!(pause(&served, from_elsewhere(with(TOKEN))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_token_no_page_of_another_origin_reads_protected_routes() {
    let served = Served::with(&[]).await;
    for target in ["/dlq", "/waiting", "/dlq/audit"] {
        let answer = served.send(empty(get(target).header("origin", "http://localhost:5173"))).await;
        assert_eq!(answer.problem(403), "the request comes from a page of another origin", "{target}");
    }
    let open = get("/counters").header("origin", "http://localhost:5173");
    assert_eq!(status(&served, open).await, 200);
    let own = get("/dlq").header("origin", "http://localhost:8000").header("sec-fetch-site", "same-origin");
    assert_eq!(status(&served, own).await, 200);
}

#[tokio::test(start_paused = true)]
async fn events_that_were_sent_are_in_the_audit() {
    let served = Served::with(&[]).await;
    let event = r#"{"eventName": "Added", "data": {}}"#;
    let letters = async || {
        let audit = served.get("/dlq/audit").await.json();
        let rows: Vec<_> = audit.as_array().expect("a list").iter().filter(|row| row["action"] == "publish").collect();
        assert!(rows.iter().all(|row| row["by"] == "http@127.0.0.1"), "{audit}");
        rows.iter().map(|row| row["letters"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    served.post("/events", event).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(letters().await, [1]);
    for _ in 0..3 {
        served.post("/events", event).await;
    }
    tokio::time::sleep(std::time::Duration::from_mins(1)).await;
    assert_eq!(letters().await, [4], "later events within a minute are recorded together");
}

#[tokio::test]
async fn pages_of_other_origins_may_not_act() {
    let served = Served::with(&[("APP_ADMIN_TOKEN", TOKEN)]).await;
    let with_token = || asked().header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:9999"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = pause(&served, with_token().header(name, value)).await;
        assert_eq!(answer.problem(403), "the request comes from a page of another origin", "{name}: {value}");
    }
    for (name, value) in [("origin", "http://localhost:8000"), ("sec-fetch-site", "same-origin")] {
        assert_eq!(pause(&served, with_token().header(name, value)).await.status, StatusCode::OK, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_act_only_with_a_token() {
    let served = Served::with(&[("APP_ADMIN_TOKEN", TOKEN), ("APP_CORS_ORIGINS", "https://ops.example")]).await;
    let from = |origin: &str| asked().header("origin", origin).header("sec-fetch-site", "cross-site");
    let bearer = format!("Bearer {TOKEN}");
    let listed = pause(&served, from("https://ops.example").header(header::AUTHORIZATION, &bearer)).await;
    assert_eq!(listed.status, StatusCode::OK);
    pause(&served, from("https://ops.example")).await.problem(403);
    pause(&served, from("https://other.example").header(header::AUTHORIZATION, &bearer)).await.problem(403);
}

#[tokio::test]
async fn the_list_of_waiting_keys_is_bounded() {
    let served = Served::with(&[]).await;
    assert_eq!(served.get("/waiting?limit=1").await.body, "[]");
    for target in ["/waiting?limit=0", "/waiting?limit=10001", "/waiting?limit=x", "/waiting?most=1"] {
        let problem = served.get(target).await.problem(400);
        assert!(problem.contains("a number of events from 1 to 10000"), "{target}: {problem}");
    }
}

#[tokio::test]
async fn an_orphaned_topic_is_dead_lettered_by_its_name() {
    let served = Served::with(&[]).await;
    let given_up = served.post("/waiting/dead-letter", r#"{"topic": "orphaned"}"#).await;
    assert_eq!((given_up.status, given_up.body.as_str()), (StatusCode::OK, r#"{"events":41}"#));
    let refused = served.post("/waiting/dead-letter", r#"{"topic": "things"}"#).await.problem(409);
    assert!(refused.contains("the topic has no orphaned partition with waiting events"), "{refused}");
    let keys = served.post("/waiting/dead-letter", r#"{"topic": "things", "all": true}"#).await;
    assert_eq!(keys.body, r#"{"released":1}"#, "keys that have an owner are released as usual");
    served.post("/waiting/retry", r#"{"topic": "orphaned"}"#).await.problem(400);
}
