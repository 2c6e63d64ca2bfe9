//! The answers of routes.

use serde_json::json;

use super::*;
use crate::broker::PublishError;

#[tokio::test]
async fn entities_are_read_one_by_one_and_in_pages() {
    let served = Served::with(&[]).await;
    let one = served.get("/counters/c-1").await;
    assert_eq!(one.status, StatusCode::OK, "{}", one.body);
    assert_eq!((&one.json()["id"], &one.json()["version"]), (&json!("c-1"), &json!(1)));
    let ids = |answer: Answer| {
        let counters = answer.json();
        counters.as_array().expect("a list").iter().map(|c| c["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(served.get("/counters").await), ["c-1", "c-2"]);
    assert_eq!(ids(served.get("/counters?limit=1").await), ["c-1"]);
    assert_eq!(ids(served.get("/counters?after=c-1").await), ["c-2"]);
    assert_eq!(ids(served.get("/counters?status=even").await), ["c-2"]);
}

#[tokio::test]
async fn a_page_of_large_entities_ends_early_and_links_to_the_next() {
    let served = Served::showing(Shown { large: 60, ..Shown::default() }, &[]).await;
    let mut target = "/counters?limit=1000&after=c-2".to_owned();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let answer = served.get(&target).await;
        assert!(answer.body.len() < 1024 * 1024 + 50_000, "{}", answer.body.len());
        assert_eq!(answer.header("content-type"), "application/json");
        let page = answer.json();
        let ids = page.as_array().expect("a list").iter().map(|counter| counter["id"].as_str().expect("an id"));
        seen.extend(ids.map(ToOwned::to_owned));
        let link = answer.header("link");
        let Some(next) = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")) else {
            assert_eq!(link, "");
            break;
        };
        target = next.to_owned();
    }
    let expected: Vec<String> = (0..60).map(|number| format!("large-{number:03}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_page_links_to_the_next() {
    let served = Served::with(&[]).await;
    let link = async |target: &str| served.get(target).await.header("link").to_owned();
    assert_eq!(link("/counters").await, "");
    assert_eq!(link("/counters?limit=1&status=odd").await, "</counters?limit=1&after=c-1&status=odd>; rel=\"next\"");
}

#[tokio::test]
async fn unknown_and_out_of_range_parameters_are_refused() {
    let served = Served::with(&[]).await;
    for (target, expected) in [
        ("/counters?limit=0", "`limit` must be a number from 1 to 1000"),
        ("/counters?limit=1001", "`limit` must be a number from 1 to 1000"),
        ("/counters?limit=x", "`limit` must be a number from 1 to 1000"),
        ("/counters?limit=1&limit=2", "the parameter `limit` is given twice"),
        ("/counters?colour=red", "the query has an unknown parameter; known ones are limit, after, status"),
    ] {
        assert_eq!(served.get(target).await.problem(400), expected, "{target}");
    }
}

#[tokio::test]
async fn unknown_entities_and_routes_are_not_found() {
    let served = Served::with(&[]).await;
    assert_eq!(served.get("/counters/c-9").await.problem(404), "counters has no entity with this id");
    assert_eq!(served.get("/counters/c-9/events").await.problem(404), "counters has no entity with this id");
    for target in ["/nothing", "/..", "/%2e%2e/etc/passwd", "//counters", "/%00", "/counters/a/b/c", "/page/assets/.."]
    {
        served.get(target).await.problem(404);
    }
    served.get("/counters/%ff").await.problem(400);
}

#[tokio::test]
async fn an_unknown_method_is_answered_with_the_known_ones() {
    let served = Served::with(&[]).await;
    for method in ["PUT", "DELETE", "TRACE", "BREW"] {
        let answer = served.send(empty(get("/stats").method(method))).await;
        assert_eq!(answer.problem(405), "the route does not have this method", "{method}");
        assert_eq!(answer.header("allow"), "GET,HEAD", "{method}");
    }
}

#[tokio::test]
async fn events_are_checked_and_published() {
    let served = Served::with(&[]).await;
    let event = json!({"eventId": "e-1", "eventName": "Added", "data": {"counterId": "c-1"}});
    let answer = served.post("/events", &event.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    assert_eq!(answer.json(), json!({"ids": ["e-1"]}));
    let several = json!([{"eventName": "Added", "data": {}}, {"eventName": "Added", "data": {}}]);
    let answer = served.post("/events?key=k", &several.to_string()).await;
    assert_eq!(answer.json()["ids"].as_array().map(Vec::len), Some(2), "{}", answer.body);
    let published = served.broker.published();
    let keys: Vec<&[u8]> = published.iter().map(|record| record.key.as_deref().unwrap_or_default()).collect();
    assert_eq!(keys, [&b"c-1"[..], b"k", b"k"]);
    let written: Value = serde_json::from_slice(published[0].payload.as_deref().expect("a payload")).expect("JSON");
    assert_eq!(written["eventId"], "e-1");
}

/// A header of a published record, as text.
fn header(record: &OutgoingRecord, name: &str) -> Option<String> {
    record.headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

#[tokio::test]
async fn a_cloud_event_in_binary_mode_is_published_as_one() {
    let served = Served::with(&[]).await;
    let binary = |specversion: &str, data: &str| {
        let request = get("/events")
            .method("POST")
            .header("content-type", "application/json; charset=utf-8")
            .header("ce-specversion", specversion)
            .header("ce-id", "1")
            .header("ce-source", "/shops/caf%C3%A9")
            .header("ce-type", "Added")
            .header("ce-tenant", "north")
            .body(Body::from(data.to_owned()));
        request.expect("a request")
    };
    let data = r#"{"counterId":"c-1","n":1.0}"#;
    let answer = served.send(binary("1.0", data)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    assert_eq!(answer.json(), json!({"ids": ["1"]}));
    let published = served.broker.published();
    let record = &published[0];
    assert_eq!((record.key.as_deref(), record.payload.as_deref()), (Some(&b"c-1"[..]), Some(data.as_bytes())));
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_id", "1"),
        ("ce_source", "/shops/café"),
        ("ce_type", "Added"),
        ("ce_tenant", "north"),
    ] {
        assert_eq!(header(record, name).as_deref(), Some(value), "{name}");
    }
    assert!(header(record, "ce_time").is_some(), "a time is added");

    let answer = served.send(binary("1.0", "[1]")).await;
    answer.problem(422);
    let answer = served.send(binary("0.3", data)).await;
    assert!(
        answer.problem(422).starts_with("nothing is published") && answer.body.contains("specversion"),
        "{}",
        answer.body
    );
    let without = get("/events").method("POST").header("content-type", "application/json").header("ce-type", "Added");
    let answer = served.send(without.body(Body::from(data)).expect("a request")).await;
    answer.problem(422);
    assert!(answer.body.contains("ce-specversion is missing"), "{}", answer.body);
    let text = binary("1.0", data);
    let (mut parts, body) = text.into_parts();
    parts.headers.insert("content-type", "text/plain".parse().expect("a media type"));
    served.send(Request::from_parts(parts, body)).await.problem(415);
    assert_eq!(served.broker.published().len(), 1);
}

#[tokio::test]
async fn cloud_events_in_structured_mode_and_in_batches_keep_their_source() {
    let served = Served::with(&[]).await;
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/shops/one", "type": "Added", "tenant": "north", "data": {"counterId": "c-1"}});
    let send = async |kind: &str, body: Value| {
        let request = get("/events").method("POST").header("content-type", kind).body(Body::from(body.to_string()));
        served.send(request.expect("a request")).await
    };
    for (kind, body) in [
        ("application/cloudevents+json; charset=UTF-8", event("1")),
        ("application/json", event("2")),
        ("application/cloudevents-batch+json", json!([event("3"), event("4")])),
    ] {
        let answer = send(kind, body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{kind}: {}", answer.body);
    }
    let published = served.broker.published();
    assert_eq!(published.len(), 4);
    for (id, record) in ["1", "2", "3", "4"].into_iter().zip(&published) {
        let written: Value = serde_json::from_slice(record.payload.as_deref().expect("a payload")).expect("JSON");
        assert_eq!(
            (&written["id"], &written["source"], &written["tenant"]),
            (&json!(id), &json!("/shops/one"), &json!("north"))
        );
        assert!(written["time"].is_string(), "{written}");
        assert_eq!(header(record, "content-type").as_deref(), Some("application/cloudevents+json; charset=UTF-8"));
        assert_eq!(record.key.as_deref(), Some(&b"c-1"[..]));
    }
    let mut nameless = event("5");
    nameless.as_object_mut().expect("an object").remove("id");
    let answer = send("application/cloudevents+json", nameless).await;
    assert_eq!(answer.json()["ids"].as_array().map(Vec::len), Some(1), "an id is added: {}", answer.body);
}

#[tokio::test]
async fn a_body_in_another_character_set_is_refused() {
    let served = Served::with(&[]).await;
    let status = async |target: &str, kind: &str| {
        let request = get(target).method("POST").header("content-type", kind);
        let body = Body::from(r#"{"eventName": "Added", "data": {}, "key": "a"}"#);
        served.send(request.body(body).expect("a request")).await.status
    };
    for kind in ["application/json; charset=utf-16", "application/json; a=b;Charset = \"latin1\""] {
        for target in ["/events", "/waiting/retry", "/dlq/park"] {
            assert_eq!(status(target, kind).await, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{target}: {kind}");
        }
    }
    for kind in ["application/json", "application/json; charset=UTF-8", "application/json;charset=\"utf-8\""] {
        assert_eq!(status("/events", kind).await, StatusCode::ACCEPTED, "{kind}");
    }
}

#[tokio::test]
async fn a_request_with_an_invalid_event_is_refused_as_a_whole() {
    let served = Served::with(&[]).await;
    let one = json!({"eventName": "Adde", "data": {}});
    let answer = served.post("/events", &one.to_string()).await;
    assert_eq!(answer.problem(422), "nothing is published; `errors` has the violations of each event");
    let expected = json!({"path": "$.eventName", "message": "no processor handles `Adde`; did you mean Added?"});
    assert_eq!(answer.json()["errors"], json!([expected]));

    let several = json!([{"eventName": "Added", "data": {}}, one, {"eventName": "Added", "version": 7, "data": {}}]);
    let answer = served.post("/events", &several.to_string()).await;
    answer.problem(422);
    let errors = answer.json()["errors"].clone();
    assert_eq!((&errors[0]["index"], &errors[1]["index"]), (&json!(1), &json!(2)), "{errors}");
    assert_eq!(errors[1]["message"], "no processor handles version 7 of Added; known versions: 1");
    assert_eq!(served.broker.published(), []);
}

#[tokio::test]
async fn a_malformed_body_is_refused_without_an_echo() {
    let served = Served::with(&[]).await;
    let detail = served.post("/events", "{\"secret\": 1,").await.problem(400);
    assert_eq!(detail, "the body is not JSON: line 1, column 13");
    for body in ["", "[", "nul"] {
        served.post("/events", body).await.problem(400);
    }
    for body in ["1", "\"secret\"", "{\"secret\":1}"] {
        let answer = served.post("/events", body).await;
        answer.problem(422);
        assert!(!answer.body.contains("secret"), "{}", answer.body);
    }
    let deep = "[".repeat(100_000);
    served.post("/events", &deep).await.problem(400);
    served.post("/events?colour=red", "{}").await.problem(400);
    let many = format!("[{}]", vec!["{}"; 1001].join(","));
    assert_eq!(served.post("/events", &many).await.problem(413), "send at most 1000 events at once");
    let text = post("/events").header("content-type", "text/plain");
    assert_eq!(served.send(empty(text)).await.status, StatusCode::BAD_REQUEST, "two content types, the first counts");
    let text = get("/events").method("POST").header("content-type", "text/plain");
    served.send(empty(text)).await.problem(415);
}

#[tokio::test]
async fn a_broker_that_does_not_accept_events_is_reported() {
    let served = Served::with(&[]).await;
    let event = r#"{"eventName": "Added", "data": {}}"#;
    served.broker.fail_publish(PublishError::Transient { topic: "t".into(), reason: "inside".into() });
    let answer = served.post("/events", event).await;
    assert!(answer.problem(503).contains("send them again with the same ids"), "{}", answer.body);
    assert!(!answer.body.contains("inside"), "the reason stays in the log: {}", answer.body);

    let patterns = Served::with(&[("KAFKA_TOPIC", "^events-.*"), ("KAFKA_EMBEDDED", "never")]).await;
    assert!(patterns.post("/events", event).await.problem(503).contains("KAFKA_TOPIC has patterns only"));
}

#[tokio::test]
async fn health_gives_its_reasons() {
    let served = Served::with(&[]).await;
    for (target, expected) in [
        ("/health/live", json!({"status": "ok", "reasons": []})),
        ("/health/ready", json!({"status": "ok", "reasons": [], "warnings": []})),
        ("/health", json!({"status": "ok", "reasons": [], "warnings": []})),
    ] {
        let answer = served.get(target).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, expected));
    }
    let health = Health { warnings: vec!["events wait".into()], ..Health::default() };
    let answer = Served::showing(Shown { health, ..Shown::default() }, &[]).await.get("/health/ready").await;
    let expected = json!({"status": "ok", "reasons": [], "warnings": ["events wait"]});
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, expected), "a warning does not affect readiness");
    let health = Health { not_live: vec!["stuck".into()], not_ready: vec!["paused".into()], ..Health::default() };
    let served = Served::showing(Shown { health, ..Shown::default() }, &[]).await;
    for (target, reasons) in [
        ("/health/live", json!(["stuck"])),
        ("/health/ready", json!(["paused"])),
        ("/health", json!(["stuck", "paused"])),
    ] {
        let answer = served.get(target).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((&answer.json()["status"], &answer.json()["reasons"]), (&json!("unavailable"), &reasons));
    }
}

#[tokio::test]
async fn documents_are_made_from_the_declarations() {
    let served = Served::with(&[]).await;
    let openapi = served.get("/openapi.json").await.json();
    assert_eq!(openapi["paths"]["/counters/{id}"]["get"]["parameters"][0]["in"], "path");
    let asyncapi = served.get("/asyncapi.json").await.json();
    assert_eq!(asyncapi["channels"]["events1"]["address"], "order-events");
    assert_eq!(asyncapi["components"]["messages"]["Added.v1"]["name"], "Added");
    let page = served.get("/docs").await;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.body.contains("GET /counters/{id}/events") && page.body.contains("Adds &lt;b&gt;."), "{}", page.body);
}

#[tokio::test]
async fn counters_are_shown_to_people_and_programs() {
    let served = Served::with(&[]).await;
    let stats = served.get("/stats").await.json();
    assert_eq!((&stats["consumed"], &stats["ok"], &stats["lag"]), (&json!(3), &json!(2), &Value::Null));
    let processors = served.get("/processors").await.json();
    assert_eq!((&processors[0]["event"], &processors[0]["retried"]), (&json!("Added"), &json!(1)), "{processors}");
    let partitions = served.get("/partitions").await.json();
    assert_eq!((&partitions[0]["state"], &partitions[0]["lag"]), (&json!("running"), &json!(2)), "{partitions}");
    let metrics = served.get("/metrics").await;
    for line in [
        r#"counters_events_total{event="Added",version="1",outcome="ok"} 2"#,
        r#"counters_consumer_lag{topic="things",partition="0"} 2"#,
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{line} in\n{}", metrics.body);
    }
}
