//! Who may change something.

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
async fn waiting_keys_are_released_when_they_are_named() {
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
async fn what_operators_do_is_recorded() {
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
    assert_eq!(field("by"), [itself, &for_somebody, itself, itself, itself], "a name that is too long is none");
    assert_eq!(
        field("selection"),
        ["{}", "{}", r#"{"all":true}"#, r#"{"key":"k-1","topic":"things"}"#, r#"{"topic":"orphaned"}"#]
    );
    assert_eq!(field("letters"), [0, 0, 1, 0, 41], "how many keys, or events of a topic, were found");
}

#[tokio::test]
async fn without_a_token_only_this_machine_may() {
    let served = Served::with(&[]).await;
    let stranger = pause(&served, from_elsewhere(asked())).await;
    assert!(stranger.problem(403).contains("clients of the same machine only"));
    for name in ["forwarded", "x-forwarded-for", "x-real-ip"] {
        let passed_on = pause(&served, asked().header(name, "192.0.2.7")).await;
        passed_on.problem(403);
    }
    assert!(!served.shown.paused.load(Ordering::Relaxed));
    let reading = served.send(empty(from_elsewhere(get("/stats")))).await;
    assert_eq!(reading.status, StatusCode::OK, "reading is for everybody who may connect");
}

#[tokio::test]
async fn with_a_token_only_who_has_it_may() {
    let served = Served::with(&[("APP_ADMIN_TOKEN", TOKEN)]).await;
    let none = pause(&served, asked()).await;
    let said = none.problem(401);
    assert_eq!(none.header("www-authenticate"), "Bearer");
    let prefix = format!("Bearer {}", &TOKEN[1..]);
    for wrong in ["Bearer wrong", "Bearer", "", "Basic abc", &prefix, TOKEN] {
        let answer = pause(&served, asked().header(header::AUTHORIZATION, wrong)).await;
        assert_eq!(answer.problem(401), said, "missing and wrong are told alike: {wrong}");
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

#[tokio::test]
async fn pages_of_others_may_not() {
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
async fn the_list_of_waiting_keys_is_bounded() {
    let served = Served::with(&[]).await;
    assert_eq!(served.get("/waiting?limit=1").await.body, "[]");
    for target in ["/waiting?limit=0", "/waiting?limit=10001", "/waiting?limit=x", "/waiting?most=1"] {
        let problem = served.get(target).await.problem(400);
        assert!(problem.contains("a number of events from 1 to 10000"), "{target}: {problem}");
    }
}

#[tokio::test]
async fn an_orphaned_topic_is_shown_and_given_up_by_its_name() {
    let served = Served::with(&[]).await;
    let given_up = served.post("/waiting/dead-letter", r#"{"topic": "orphaned"}"#).await;
    assert_eq!((given_up.status, given_up.body.as_str()), (StatusCode::OK, r#"{"events":41}"#));
    let refused = served.post("/waiting/dead-letter", r#"{"topic": "things"}"#).await.problem(409);
    assert!(refused.contains("no event of the topic waits without an owner"), "{refused}");
    let keys = served.post("/waiting/dead-letter", r#"{"topic": "things", "all": true}"#).await;
    assert_eq!(keys.body, r#"{"released":1}"#, "keys that have an owner are released as ever");
    served.post("/waiting/retry", r#"{"topic": "orphaned"}"#).await.problem(400);
}
