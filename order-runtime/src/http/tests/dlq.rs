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
    // Programs read these names.
    assert!(["family", "eventFate"].iter().all(|name| shown.get(name).is_some()), "{shown}");
    served.get(&format!("/dlq/{}", id(9))).await.problem(404);
}

#[tokio::test]
async fn a_list_continues_at_a_cursor() {
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

/// Starts a job, and returns its view after its end.
async fn ended(served: &Served, target: &str, body: &str) -> Value {
    let begun = served.post(target, body).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.body);
    let place = begun.header("location").to_owned();
    assert_eq!(place, format!("/dlq/jobs/{}", begun.json()["id"].as_str().expect("an id")));
    loop {
        let job = served.get(&place).await.json();
        if job["state"] != "running" {
            return job;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn letters_are_replayed_once() {
    let served = Served::with(&[THINGS]).await;
    served.get("/dlq/replay").await.problem(404);
    let dry = ended(&served, "/dlq/replay", r#"{"reason": "rejected", "dryRun": true}"#).await;
    assert_eq!((&dry["state"], &dry["summary"]["replayed"], &dry["dryRun"]), (&json!("done"), &json!(1), &json!(true)));
    served.get("/dlq/replay").await.problem(404);
    let done = ended(&served, "/dlq/replay", r#"{"max": 1, "all": true}"#).await;
    assert_eq!((&done["state"], &done["summary"]["replayed"]), (&json!("done"), &json!(1)));
    assert_eq!((&done["action"], &done["by"]), (&json!("replay"), &json!("http@127.0.0.1")));
    assert_eq!(served.get("/dlq/replay").await.json(), done, "the last replay has a route of its own");
    assert_eq!(served.broker.published().len(), 1);
    let stopped = served.send(empty(get("/dlq/replay").method(Method::DELETE))).await;
    assert_eq!(stopped.json()["state"], "done", "there was nothing left to stop");
    let left = ended(&served, "/dlq/replay", r#"{"all": true, "dryRun": true}"#).await["summary"].clone();
    assert_eq!((&left["replayed"], &left["leftOut"]), (&json!(1), &json!({"replayed": 1})));
    for body in [r#"{"reasons": "x"}"#, r#"{"all": true, "rate": 0}"#, r#"{"ids": 1}"#, "[", r#"{"since": "x"}"#] {
        served.post("/dlq/replay", body).await.problem(400);
    }
    assert_eq!(served.get("/dlq/audit").await.json()[0]["letters"], 1);
}

#[tokio::test]
async fn a_body_that_selects_nothing_does_not_select_everything() {
    let served = Served::with(&[THINGS]).await;
    for target in ["/dlq/replay", "/dlq/park", "/dlq/unpark", "/dlq/purge"] {
        for body in ["", "{}", r#"{"ids": []}"#, r#"{"reason": null}"#, r#"{"all": false}"#, r#"{"dryRun": true}"#] {
            let problem = served.post(target, body).await.problem(400);
            assert!(problem.contains("ids"), "{target} {body}: {problem}");
        }
        served.post(target, r#"{"ids": [], "all": true}"#).await.problem(400);
        served.post(target, r#"{"all": 1}"#).await.problem(400);
    }
    assert_eq!(served.get("/dlq/jobs").await.json(), json!([]));
    assert_eq!(served.get("/dlq/audit").await.json(), json!([]));
    assert!(served.broker.published().is_empty());
}

#[tokio::test]
async fn jobs_are_listed_and_one_of_a_kind_runs_at_a_time() {
    let served = Served::with(&[THINGS]).await;
    let park = json!({"ids": [id(1), id(9)], "note": "later"}).to_string();
    let parking = served.post("/dlq/park", &park).await;
    // No job has run yet: the test has not yielded to other tasks.
    for (target, status) in [("/dlq/purge", 409), ("/dlq/replay", 202), ("/dlq/replay", 409)] {
        assert_eq!(served.post(target, r#"{"reason": "none"}"#).await.status, status, "{target}");
    }
    for status in [202, 202, 202, 202, 409] {
        assert_eq!(served.post("/dlq/purge", r#"{"all": true, "dryRun": true}"#).await.status, status);
    }
    let parked = loop {
        let job = served.get(parking.header("location")).await.json();
        if job["state"] != "running" {
            break job;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&parked["action"], &parked["read"], &parked["of"]), (&json!("park"), &json!(2), &json!(2)));
    assert_eq!(parked["summary"], json!({"dryRun": false, "letters": 1, "unknownIds": [id(9)]}));
    assert!(parked["endedAt"].is_string(), "{parked}");
    let jobs = served.get("/dlq/jobs").await.json();
    let actions: Vec<_> = jobs.as_array().expect("a list").iter().map(|job| job["action"].clone()).collect();
    assert_eq!(actions, ["purge", "purge", "purge", "purge", "replay", "park"], "the latest first");
    served.get("/dlq/jobs/1").await.problem(404);
    served.send(empty(get("/dlq/jobs/1").method(Method::DELETE))).await.problem(404);
}

#[tokio::test]
async fn a_stopped_job_keeps_its_results() {
    let served = Served::with(&[THINGS]).await;
    let place = served.post("/dlq/park", r#"{"all": true}"#).await.header("location").to_owned();
    // The job has not run yet: the test has not yielded to it.
    assert_eq!(served.send(empty(get(&place).method(Method::DELETE))).await.json()["state"], "running");
    let stopped = loop {
        let job = served.get(&place).await.json();
        if job["state"] != "running" {
            break job;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&stopped["state"], &stopped["summary"]["letters"]), (&json!("stopped"), &json!(2)), "one window");
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
    assert!(served.post(&target, right).await.problem(409).contains("already replayed"));
}

#[tokio::test]
async fn letters_are_set_aside() {
    let served = Served::with(&[THINGS]).await;
    for body in [r#"{"note": "n"}"#, r#"{"reasons": "x"}"#] {
        served.post("/dlq/purge", body).await.problem(400);
    }
    let park = json!({"ids": [id(1)], "note": "later"}).to_string();
    let parked = ended(&served, "/dlq/park", &park).await;
    assert_eq!(parked["summary"], json!({"letters": 1, "dryRun": false}));
    assert_eq!(served.get("/dlq").await.json()["others"], json!({"parked": 1}));
    assert_eq!(served.get("/dlq?parked=true").await.json()["letters"][0]["mark"]["note"], "later");
    assert_eq!(ended(&served, "/dlq/unpark", &park).await["summary"]["letters"], 1);
    let counted = ended(&served, "/dlq/purge", r#"{"all": true, "dryRun": true}"#).await;
    assert_eq!(counted["summary"], json!({"letters": 2, "dryRun": true}));
    assert_eq!(ended(&served, "/dlq/purge", r#"{"all": true}"#).await["summary"]["letters"], 2);
    assert_eq!(served.get("/dlq").await.json()["matching"], 0);
}

#[tokio::test]
async fn letters_are_for_administrators() {
    let served = Served::with(&[THINGS]).await;
    for target in ["/dlq", "/dlq/1", "/dlq/audit", "/dlq/replay", "/dlq/jobs", "/dlq/jobs/1"] {
        served.send(empty(from_elsewhere(get(target)))).await.problem(403);
    }
    for target in ["/dlq/replay", "/dlq/1/edit", "/dlq/park", "/dlq/unpark", "/dlq/purge"] {
        served.send(empty(from_elsewhere(post(target)))).await.problem(403);
    }
}
