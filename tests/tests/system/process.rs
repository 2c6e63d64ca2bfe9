//! The interface of the process to its supervisor: log, signals, output.

use order_tests::{Broker, Deployment, NewRecord, PATIENCE, events, until};

/// The text that must not be printed anywhere.
const SECRET: &str = "hunter2hunter2hunter2";

#[tokio::test]
async fn a_stalled_reader_of_the_log_stops_nothing() {
    const EVENTS: u64 = 760;
    let broker = Broker::embedded().await;
    // `trace` logs enough lines to fill any pipe.
    let deployment = Deployment::new(&broker).await.with("RUST_LOG", "trace");
    let mut service = deployment.start_unread();
    service.wait_ready(PATIENCE).await;
    let records = (0..EVENTS).map(|number| {
        let order = format!("order-{number}");
        NewRecord::json(&order, &events::created(&order))
    });
    deployment.events().produce(records).await;
    until("every event is handled", PATIENCE, async || match service.stat("ok").await {
        EVENTS => Ok(()),
        handled => Err(format!("{handled} of {EVENTS}")),
    })
    .await;
    until("health reports that the log is not read", PATIENCE, async || {
        let health = service.get("/health").await;
        match health["warnings"].as_array().and_then(|warnings| warnings.last()?.as_str()) {
            Some(note) if note.contains("the reader of the log has not read") => Ok(()),
            _ => Err(health.to_string()),
        }
    })
    .await;
    assert_eq!(service.terminate().await.code(), Some(0), "SIGTERM still ends it");
}

#[tokio::test]
async fn a_hangup_drains_like_a_termination() {
    let broker = Broker::embedded().await;
    let deployment = Deployment::new(&broker).await;
    deployment.publish_sample(20, &["--seed", "3"]).await;
    let service = deployment.start_ready().await;
    let (status, log) = service.hang_up().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("SIGHUP") && log.contains("everything under way is done"), "{log}");
}

#[tokio::test]
async fn a_result_that_cannot_be_written_is_an_error() {
    let broker = Broker::embedded().await;
    let deployment = Deployment::new(&broker).await;
    let publish = ["publish", "OrderPaid", r#"{"orderId": "order-1", "amount": "1.00"}"#];
    for arguments in [&["openapi"][..], &["config"], &["processors", "--output", "json"], &publish] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let failed = deployment.run_into(arguments, full).await.expect_code(1);
        assert!(failed.stderr.contains("cannot be written to standard output"), "{arguments:?}: {failed:?}");
        let (reader, gone) = std::io::pipe().unwrap();
        drop(reader);
        let finished = deployment.run_into(arguments, gone).await.expect_code(0);
        assert!(
            !finished.stderr.contains("error"),
            "a closed pipe, for example by `head`, is not an error: {finished:?}"
        );
    }
}

#[tokio::test]
async fn no_secret_is_printed_by_any_command() {
    let broker = Broker::embedded().await;
    // A port without a listener: each start ends with an error.
    let store = |rest: &str| format!("postgres://{rest}");
    for (name, value) in [
        ("APP_ADMIN_TOKEN", SECRET.to_owned()),
        ("APP_ADMIN_TOKEN", format!("{SECRET} {SECRET}")),
        ("APP_ADMIN_TOKEN_FILE", SECRET.to_owned()),
        ("STORE_URL", store(&format!("user:{SECRET}@127.0.0.1:1/orders"))),
        ("STORE_URL", store(&format!("127.0.0.1:1/orders?user=user&password={SECRET}"))),
        ("STORE_URL", store(&format!("user:{}{SECRET}@127.0.0.1:1/orders", "x".repeat(1_000)))),
        ("STORE_URL", store(&format!("user:p@{SECRET}@127.0.0.1:1/orders"))),
        ("STORE_URL", format!("host=127.0.0.1 port=1 user=user password={SECRET}")),
        ("KAFKA_SASL_PASSWORD", SECRET.to_owned()),
        ("KAFKA_BROKER_URL", format!("user:{SECRET}@127.0.0.1:1")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://user:{SECRET}@127.0.0.1:1")),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer {SECRET}")),
    ] {
        let deployment = Deployment::new(&broker).await.with(name, &value);
        let mut commands = vec![&["config"][..], &["config", "--output", "json"], &["check"]];
        if name == "STORE_URL" {
            commands.push(&["run"]);
        }
        for arguments in commands {
            let finished = deployment.run(arguments).await;
            let text = format!("{}{}", finished.stdout, finished.stderr);
            assert!(!text.contains("hunter2") && !text.contains("xxxx"), "{name}={value} {arguments:?}: {text}");
        }
    }
    let deployment = Deployment::new(&broker).await;
    for line in [format!("APP_ADMIN_TOKEN='{SECRET}"), format!("APP_ADMIN_TOKEN='a' {SECRET}"), SECRET.to_owned()] {
        std::fs::write(deployment.folder().join(".env"), &line).unwrap();
        let failed = deployment.run(["config"]).await.expect_code(2);
        assert!(failed.stderr.contains("line 1 of .env") && !failed.stderr.contains("hunter2"), "{line}: {failed:?}");
    }
}
