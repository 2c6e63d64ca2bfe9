//! `APP_RELOAD` under `cargo run`: changed files while the service runs.

use std::time::Duration;

use order_tests::{
    PATIENCE, Service,
    domain::{Domain, processor},
    eventually, free_port,
};

/// The time limit of a build, which may have to wait for another test's cargo in the same target folder.
const BUILT: Duration = Duration::from_mins(5);

async fn handles(service: &Service, event: &str) -> bool {
    let Some(processors) = service.try_get("/processors").await else { return false };
    processors.as_array().is_some_and(|list| list.iter().any(|processor| processor["event"] == event))
}

#[tokio::test]
async fn a_new_file_is_loaded_and_a_broken_one_changes_nothing() {
    let domain = Domain::new("reloaded");
    // The first build happens here, before the time limits.
    assert_eq!(domain.events(), ["ThingDone"]);
    let (port, broker) = (free_port(), free_port());
    let mut service = Service::spawn(
        domain
            .cargo(&["run", "--offline", "--quiet"])
            .env("APP_RELOAD", "True")
            .env("APP_PORT", port.to_string())
            .env("KAFKA_BROKER_URL", format!("127.0.0.1:{broker}"))
            .env("STORE_URL", "memory"),
        port,
    );
    service.wait_ready(PATIENCE).await;
    assert!(handles(&service, "ThingDone").await);

    domain.write("src/events/thing_seen.rs", &processor("ThingSeen"));
    eventually("the new processor runs", BUILT, async || handles(&service, "ThingSeen").await).await;

    domain.write("src/events/thing_lost.rs", &processor("thing_lost"));
    // The two lines are written to different streams, so either may be read first.
    let reported = ["the build has failed", "the event `thing_lost` must be named in UpperCamelCase"];
    eventually("the compiler's error is shown", BUILT, async || {
        let log = service.log();
        reported.iter().all(|words| log.contains(words))
    })
    .await;
    assert!(handles(&service, "ThingSeen").await, "the running service stays as it is");

    domain.remove("src/events/thing_lost.rs");
    domain.write(".env", "APP_NAME=Renamed\n");
    eventually("the new setting applies", BUILT, async || service.try_text("/").await.contains("Renamed")).await;

    let status = service.terminate().await;
    assert_eq!(status.code(), Some(0), "both end cleanly");
}
