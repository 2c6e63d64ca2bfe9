//! Dead letters over HTTP.

use serde_json::json;

use super::*;

const THINGS: (&str, &str) = ("KAFKA_TOPIC", "things");

fn id(number: u32) -> String {
    format!("{number:032x}")
}

#[tokio::test]
async fn letters_are_listed_and_shown() {
    let served = Served::with(&[THINGS]).await;
    let list = served.get("/dlq").await.json();
    assert_eq!((&list["matching"], list["letters"].as_array().map(Vec::len)), (&json!(2), Some(2)));
    assert_eq!(list["counts"][0], json!({"reason": "invalid", "event": "Added", "errorCode": "", "letters": 1}));
    assert!(!list.to_string().contains("\"n\""), "a list holds no payloads");
    let filtered = served.get("/dlq?reason=rejected&since=1970-01-01T00:00:00Z").await.json();
    assert_eq!(filtered["letters"][0]["id"], id(1));
    for target in ["/dlq?reasons=x", "/dlq?max=1001", "/dlq?since=yesterday"] {
        served.get(target).await.problem(400);
    }
    let shown = served.get(&format!("/dlq/{}", id(1))).await.json();
    assert_eq!(shown["payload"]["data"], json!({"n": 1}));
    assert_eq!(shown["trial"], json!({"outcome": "handled", "processor": "EventProcessor_Added"}));
    assert!(shown["payloadText"].as_str().is_some_and(|text| text.contains("    \"n\": 1\n")), "{shown}");
    served.get(&format!("/dlq/{}", id(9))).await.problem(404);
}

#[tokio::test]
async fn a_list_goes_on_where_another_has_ended() {
    let served = Served::with(&[THINGS]).await;
    let whole = served.get("/dlq").await.json();
    assert_eq!((&whole["partial"], &whole["read"], &whole["of"]), (&json!(false), &json!(2), &json!(2)));
    assert_eq!(whole.get("next"), None);
    let older = served.get("/dlq?before=1").await.json();
    assert_eq!(
        (&older["partial"], &older["matching"], &older["letters"][0]["id"]),
        (&json!(true), &json!(1), &json!(id(1)))
    );
    for target in ["/dlq?before=last", "/dlq/1?before=-1", "/dlq/1?after=1"] {
        served.get(target).await.problem(400);
    }
    assert_eq!(served.get(&format!("/dlq/{}?before=1", id(1))).await.status, StatusCode::OK);
    served.get(&format!("/dlq/{}?before=1", id(2))).await.problem(404);
    let correction = r#"{"event": {"eventName": "Added", "data": {"n": 5}}, "dryRun": true}"#;
    served.post(&format!("/dlq/{}/edit?before=1", id(2)), correction).await.problem(404);
    assert_eq!(served.post(&format!("/dlq/{}/edit?before=1", id(1)), correction).await.status, StatusCode::OK);
}

#[tokio::test]
async fn letters_are_replayed_once() {
    let served = Served::with(&[THINGS]).await;
    served.get("/dlq/replay").await.problem(404);
    let dry = served.post("/dlq/replay", r#"{"reason": "rejected", "dryRun": true}"#).await;
    assert_eq!((dry.status, &dry.json()["replayed"]), (StatusCode::OK, &json!(1)));
    let begun = served.post("/dlq/replay", r#"{"max": 1}"#).await;
    assert_eq!((begun.status, &begun.json()["by"]), (StatusCode::ACCEPTED, &json!("http@127.0.0.1")));
    let ended = loop {
        let state = served.get("/dlq/replay").await.json();
        if state["state"] != "running" {
            break state;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&ended["state"], &ended["summary"]["replayed"]), (&json!("done"), &json!(1)));
    assert_eq!(served.broker.published().len(), 1);
    let stopped = served.send(empty(get("/dlq/replay").method(Method::DELETE))).await;
    assert_eq!(stopped.json()["state"], "done", "there was nothing left to stop");
    let left = served.post("/dlq/replay", r#"{"dryRun": true}"#).await.json();
    assert_eq!((&left["replayed"], &left["leftOut"]), (&json!(1), &json!({"replayed": 1})));
    for body in [r#"{"reasons": "x"}"#, r#"{"rate": 0}"#, r#"{"ids": 1}"#, "[", r#"{"since": "x"}"#] {
        served.post("/dlq/replay", body).await.problem(400);
    }
    assert_eq!(served.get("/dlq/audit").await.json()[0]["letters"], 1);
}

#[tokio::test]
async fn a_letter_is_corrected() {
    let served = Served::with(&[THINGS]).await;
    let target = format!("/dlq/{}/edit", id(1));
    let wrong = served.post(&target, r#"{"event": {"eventName": "Unheard", "data": {}}}"#).await;
    wrong.problem(422);
    assert_eq!(wrong.json()["errors"][0]["path"], "$.eventName");
    served.post(&target, r#"{"events": {}}"#).await.problem(400);
    let right = r#"{"event": {"eventName": "Added", "data": {"n": 5}}}"#;
    let edited = served.post(&target, right).await.json();
    assert!(edited["diff"].as_str().is_some_and(|diff| diff.contains("+    \"n\": 5")), "{edited}");
    assert_eq!(served.broker.published().len(), 1);
    assert!(served.post(&target, right).await.problem(409).contains("replayed already"));
}

#[tokio::test]
async fn letters_are_set_aside() {
    let served = Served::with(&[THINGS]).await;
    for body in ["", "{}", r#"{"note": "n"}"#, r#"{"reasons": "x"}"#] {
        served.post("/dlq/purge", body).await.problem(400);
    }
    let park = json!({"ids": [id(1)], "note": "later"}).to_string();
    assert_eq!(served.post("/dlq/park", &park).await.json(), json!({"letters": 1, "dryRun": false}));
    assert_eq!(served.get("/dlq").await.json()["others"], json!({"parked": 1}));
    assert_eq!(served.get("/dlq?parked=true").await.json()["letters"][0]["mark"]["note"], "later");
    assert_eq!(served.post("/dlq/unpark", &park).await.json()["letters"], 1);
    assert_eq!(served.post("/dlq/purge", r#"{"all": true}"#).await.json()["letters"], 2);
    assert_eq!(served.get("/dlq").await.json()["matching"], 0);
}

#[tokio::test]
async fn letters_are_for_administrators() {
    let served = Served::with(&[THINGS]).await;
    for target in ["/dlq", "/dlq/1", "/dlq/audit", "/dlq/replay"] {
        served.send(empty(from_elsewhere(get(target)))).await.problem(403);
    }
    for target in ["/dlq/replay", "/dlq/1/edit", "/dlq/park", "/dlq/unpark", "/dlq/purge"] {
        served.send(empty(from_elsewhere(post(target)))).await.problem(403);
    }
}
