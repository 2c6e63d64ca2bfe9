//! A broker with authentication and access control.

use order_tests::{Deployment, PATIENCE, Service, eventually};
use serde_json::json;

use super::stops::{entry, holds};

async fn guarded(user: &str, password: &str) -> Option<Deployment> {
    let broker = super::kafka().await?;
    let address = broker.guarded_address()?;
    let deployment = Deployment::of_scripts(&broker, 2).await;
    Some(
        deployment
            .with("KAFKA_BROKER_URL", &address)
            .with("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
            .with("KAFKA_SASL_MECHANISM", "PLAIN")
            .with("KAFKA_SASL_USERNAME", user)
            .with("KAFKA_SASL_PASSWORD", password),
    )
}

/// Waits until the service is live and not ready for this reason.
async fn reports(service: &Service, why: &str) {
    eventually(&format!("readiness reports {why}"), PATIENCE, async || {
        let ready = service.ask("/health/ready").await;
        ready.status == 503 && ready.body.to_string().contains(why)
    })
    .await;
    assert_eq!(service.ask("/health/live").await.status, 200, "a restart would not help");
}

#[tokio::test]
async fn authenticated_clients_are_accepted() {
    let Some(deployment) = guarded("service", "right").await else { return };
    let service = deployment.start_ready().await;
    deployment.events().produce([entry("ledger", 1, json!("apply"))]).await;
    holds(&service, "ledger", &[1]).await;
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn a_wrong_password_is_reported_and_not_logged() {
    let Some(deployment) = guarded("service", "not-the-right-one").await else { return };
    let mut service = deployment.start();
    eventually("it serves HTTP", PATIENCE, async || service.try_get("/stats").await.is_some()).await;
    reports(&service, "KAFKA_SASL_PASSWORD").await;
    let log = service.log();
    assert!(!log.contains("not-the-right-one"), "{log}");
    assert!(log.lines().count() < 60, "no storm of lines: {log}");
    service.ask_to_stop();
    assert!(service.wait_ended(PATIENCE).await.success(), "{}", service.log());
}

#[tokio::test]
async fn missing_rights_are_reported() {
    let Some(deployment) = guarded("stranger", "right").await else { return };
    let service = deployment.start();
    eventually("it serves HTTP", PATIENCE, async || service.try_get("/stats").await.is_some()).await;
    reports(&service, "grant it").await;
}
