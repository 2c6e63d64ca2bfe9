//! `APP_RELOAD` under `cargo run`: what a developer sees who writes a file while the service runs.

use std::time::Duration;

use order_tests::{
    PATIENCE, Service,
    domain::{Domain, processor},
    eventually, free_port,
};

/// How long a build may take: it waits while another test's cargo holds the folder that both build in.
const BUILT: Duration = Duration::from_mins(5);

async fn handles(service: &Service, event: &str) -> bool {
    let Some(processors) = service.try_get("/processors").await else { return false };
    processors.as_array().is_some_and(|list| list.iter().any(|processor| processor["event"] == event))
}

#[tokio::test]
async fn a_file_that_comes_runs_and_a_broken_one_changes_nothing() {
    let domain = Domain::new("reloaded");
    // Built before: the first build is not what is waited for here.
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
    // The two are written to different streams, so either may be read first.
    let told = ["the build has failed", "the event `thing_lost` must be named in UpperCamelCase"];
    eventually("the mistake is told in the compiler's words", BUILT, async || {
        let log = service.log();
        told.iter().all(|words| log.contains(words))
    })
    .await;
    assert!(handles(&service, "ThingSeen").await, "the running service stays as it is");

    domain.remove("src/events/thing_lost.rs");
    domain.write(".env", "APP_NAME=Renamed\n");
    eventually("the new setting holds", BUILT, async || service.try_text("/").await.contains("Renamed")).await;

    let status = service.terminate().await;
    assert_eq!(status.code(), Some(0), "both end cleanly");
}
