//! Clean stops and crashes.

use std::time::Duration;

use order_tests::{Broker, Deployment, PATIENCE, accounting::settled, eventually};

pub(crate) async fn a_clean_stop_loses_nothing(broker: &Broker) {
    let deployment = Deployment::new(broker).await.with("APP_RETRY_MAX_ELAPSED", "1s");
    let service = deployment.start_ready().await;
    let publish = deployment.publish_sample(400, &["--seed", "4", "--bad-rate", "0.02", "--rate", "1000"]);
    let stop = async {
        eventually("it has begun", PATIENCE, async || service.stat("consumed").await > 0).await;
        service.terminate().await
    };
    let (status, ()) = tokio::join!(stop, publish);
    assert!(status.success(), "SIGTERM under load ends with 0, not {status}");
    let service = deployment.start_ready().await;
    let expected = settled(&deployment, &service, PATIENCE).await;
    assert_eq!(expected.orders.len(), 400);
    // No event is left, so a restart finds no work.
    assert!(service.terminate().await.success());
    assert_eq!(deployment.events().lag(deployment.group()), 0, "a clean stop leaves the group's offsets at the end");
    let service = deployment.start_ready().await;
    settled(&deployment, &service, PATIENCE).await;
    assert_eq!(service.stat("ok").await, 0, "nothing is applied again");
}

pub(crate) async fn kills_under_load_lose_nothing(broker: &Broker) {
    const KILLS: usize = 3;
    let deployment = Deployment::new(broker).await.with("APP_RETRY_MAX_ELAPSED", "1s");
    let further = ["--seed", "5", "--bad-rate", "0.02", "--duplicate-rate", "0.02", "--rate", "2000"];
    let publish = deployment.publish_sample(1500, &further);
    let kills = async {
        for _ in 0..KILLS {
            // Killed as soon as it does something; the moment differs from run to run.
            let service = deployment.start_ready().await;
            eventually("it works, or there is nothing left", PATIENCE, async || {
                service.stat("consumed").await > 0 || service.get("/stats").await["lag"] == 0
            })
            .await;
            service.kill();
        }
    };
    tokio::join!(kills, publish);
    let service = deployment.start_ready().await;
    let expected = settled(&deployment, &service, PATIENCE).await;
    assert_eq!(expected.orders.len(), 1500);
    assert!(service.terminate().await.success());
}

pub(crate) async fn a_deleted_store_ends_the_service(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    let mut service = deployment.start_ready().await;
    deployment.publish_sample(20, &[]).await;
    eventually("it has worked", PATIENCE, async || service.stat("ok").await > 0).await;
    for file in std::fs::read_dir(deployment.folder()).expect("the folder") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "db") {
            std::fs::remove_file(path).expect("deleted");
        }
    }
    let status = service.wait_ended(Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(1), "it ends by itself with an error, not {status}");
    let log = service.log();
    assert!(
        log.contains("orders.db was deleted or moved") && log.contains("restore a backup"),
        "the error names the cause: {log}"
    );
}

pub(crate) async fn a_second_instance_is_refused(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    let first = deployment.start_ready().await;
    let mut second = deployment.start();
    let status = second.wait_ended(Duration::from_secs(20)).await;
    assert!(matches!(status.code(), Some(1 | 2)), "it ends by itself with an error, not {status}");
    let log = second.log();
    assert!(log.contains("orders.db"), "the error names the file that is in use: {log}");
    first.get("/stats").await;
    assert!(first.terminate().await.success(), "the first one is not disturbed");
}
