//! The page, its files and its stream.

use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use serde_json::json;

use super::*;

/// Reads the events of an open page.
struct Listening {
    body: BodyDataStream,
    rest: String,
}

impl Listening {
    async fn to(served: &Served) -> Self {
        let response = served.router.clone().oneshot(empty(get("/page/live"))).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), rest: String::new() }
    }

    async fn next(&mut self) -> (String, Value) {
        loop {
            while let Some((event, rest)) = self.rest.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.rest = rest;
                // The first lines set the delay before a reconnect.
                if let Some((name, data)) = event.strip_prefix("event: ").and_then(|event| event.split_once("\ndata: "))
                {
                    return (name.to_owned(), serde_json::from_str(data).expect("JSON"));
                }
                assert_eq!(event, "retry: 2000");
            }
            let piece = self.body.next().await.expect("an open stream").expect("no error");
            self.rest.push_str(&String::from_utf8_lossy(&piece));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_gets_the_whole_state_first_and_then_changes() {
    let served = Served::with(&[]).await;
    let mut page = Listening::to(&served).await;
    let (event, hello) = page.next().await;
    assert_eq!(event, "hello");
    assert_eq!((&hello["version"], &hello["embeddedBroker"]), (&json!("1.2.3"), &json!(true)));
    assert_eq!(hello["declared"][0]["processor"], "EventProcessor_Added");
    let row = json!({"ok": 2, "deadLettered": 0, "retried": 1, "skipped": 0, "attempts": 0, "milliseconds": 0.0});
    assert_eq!(hello["processors"]["rows"][0][1], row);
    assert_eq!(hello["partitions"], json!({"whole": true, "rows": [[0, hello["partitions"]["rows"][0][1]]]}));
    assert_eq!(hello["partitions"]["rows"][0][1]["lag"], 2);
    let (event, tick) = page.next().await;
    assert_eq!(event, "tick");
    assert_eq!(tick["partitions"], json!({"whole": false, "rows": []}), "nothing has changed");
    assert_eq!((&tick["stats"]["consumed"], &tick["paused"]), (&json!(3), &json!(false)));
    served.shown.pause();
    assert_eq!(page.next().await.1["paused"], true);
}

#[tokio::test(start_paused = true)]
async fn the_greeting_says_what_access_the_page_needs() {
    let local = Served::with(&[]).await;
    assert_eq!(Listening::to(&local).await.next().await.1["access"], "open");
    let guarded = Served::with(&[("APP_ADMIN_TOKEN", "a-token-of-the-tests")]).await;
    assert_eq!(Listening::to(&guarded).await.next().await.1["access"], "token");
    let stranger = local.router.clone().oneshot(empty(from_elsewhere(get("/page/live")))).await.expect("an answer");
    let mut stranger = Listening { body: stranger.into_body().into_data_stream(), rest: String::new() };
    assert_eq!(stranger.next().await.1["access"], "closed");
}

#[tokio::test(start_paused = true)]
async fn a_new_page_gets_the_history() {
    let served = Served::with(&[]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (_, hello) = Listening::to(&served).await.next().await;
    let points = hello["history"].as_array().expect("points").len();
    assert!((29..=30).contains(&points), "{points}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_page_is_greeted_again_and_delays_no_other() {
    let served = Served::with(&[]).await;
    let mut slow = Listening::to(&served).await;
    assert_eq!(slow.next().await.0, "hello");
    let mut quick = Listening::to(&served).await;
    quick.next().await;
    for _ in 0..20 {
        assert_eq!(quick.next().await.0, "tick");
    }
    assert_eq!(slow.next().await.0, "hello", "missed ticks are not queued");
    assert_eq!(slow.next().await.0, "tick");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_open_pages_is_limited() {
    let served = Served::with(&[]).await;
    let mut open = Vec::new();
    // Clients on this machine are administrators here. They have 16 places beside the 64 common ones.
    for _ in 0..16 + 64 {
        open.push(Listening::to(&served).await);
    }
    let refused = served.get("/page/live").await;
    assert_eq!(refused.problem(503), "64 pages are open, which is the maximum; close one");
    open.pop();
    assert_eq!(Listening::to(&served).await.next().await.0, "hello", "a closed page frees its place");
}

#[tokio::test(start_paused = true)]
async fn anonymous_clients_cannot_keep_an_operator_out() {
    let served = Served::with(&[("APP_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")]).await;
    let live = async |request: request::Builder| {
        served.router.clone().oneshot(empty(request)).await.unwrap_or_else(|never| match never {})
    };
    let mut strangers = Vec::new();
    for _ in 0..64 {
        strangers.push(live(get("/page/live")).await);
    }
    assert!(strangers.iter().all(|answer| answer.status() == StatusCode::OK));
    assert_eq!(live(get("/page/live")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let operator = get("/page/live").header(header::AUTHORIZATION, "Bearer 0123456789abcdef0123456789abcdef");
    assert_eq!(live(operator).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_page_loads_its_own_files_only() {
    let served = Served::with(&[("APP_NAME", "<Things> & \"more\"")]).await;
    let page = served.get("/").await;
    assert!(page.body.contains("<title>&lt;Things&gt; &amp; &quot;more&quot;</title>"), "{}", page.body);
    assert!(
        !page.body.contains("{{") && !page.body.contains("http"),
        "every placeholder is filled, and no file is on another host"
    );
    for inline in ["<script>", "<style", " style=", " onclick="] {
        assert!(!page.body.contains(inline), "{inline} would be refused by the policy");
    }
    let policy = page.header("content-security-policy");
    for rule in ["default-src 'none'", "script-src 'self';", "require-trusted-types-for 'script'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    let files: Vec<&str> = page.body.split('"').filter(|text| text.starts_with("/page/assets/")).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let answer = served.get(file).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        let again = served.send(empty(get(file).header(header::IF_NONE_MATCH, answer.header("etag")))).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0), "{file}");
    }
}

#[tokio::test]
async fn imported_modules_exist() {
    let served = Served::with(&[]).await;
    let page = served.get("/").await.body;
    let (_, rest) = page.split_once("type=\"module\" src=\"").expect("a module");
    let entry = rest.split('"').next().expect("its address");
    let (folder, _) = entry.rsplit_once('/').expect("a folder");
    let (mut queue, mut seen) = (vec![entry.to_owned()], 0);
    while let Some(file) = queue.pop() {
        seen += 1;
        let answer = served.get(&file).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
        assert_eq!(answer.header("content-type"), "text/javascript; charset=utf-8");
        let imports = answer.body.lines().filter(|line| line.starts_with("import "));
        let names = imports.filter_map(|line| line.split("\"./").nth(1)?.split('"').next());
        queue.extend(names.map(|name| format!("{folder}/{name}")));
        assert!(seen < 200, "imports end");
    }
    assert!(seen >= 10, "{seen}");
}

#[tokio::test]
async fn files_of_another_build_are_not_found() {
    let served = Served::with(&[]).await;
    for target in ["/page/assets/0/app.js", "/page/assets/0000000000000000/app.js", "/page/assets/x/../../app.js"] {
        served.get(target).await.problem(404);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_are_not_compressed() {
    let served = Served::with(&[("APP_MIDDLEWARE_GZIP", "true")]).await;
    let request = empty(get("/page/live").header(header::ACCEPT_ENCODING, "gzip"));
    let response = served.router.clone().oneshot(request).await.expect("an answer");
    assert!(!response.headers().contains_key(header::CONTENT_ENCODING), "an event would wait in the compressor");
}
