//! Several instances on one store.

use order_tests::{Broker, Deployment, PATIENCE, Service, accounting::settled_by, eventually};

async fn partitions(service: &Service) -> usize {
    service.get("/partitions").await.as_array().map_or(0, Vec::len)
}

pub(crate) async fn several_share_the_work(broker: &Broker) {
    let deployment = Deployment::with_partitions(broker, 6).await.with("APP_RETRY_MAX_ELAPSED", "1s");
    let further = ["--seed", "11", "--bad-rate", "0.02", "--duplicate-rate", "0.02", "--rate", "3000"];
    let publish = deployment.publish_sample(3000, &further);
    let work = async {
        // Instances join while others work, and one leaves meanwhile.
        let first = deployment.start_ready().await;
        let second = deployment.start_ready().await;
        eventually("two share", PATIENCE, async || partitions(&first).await == 3 && partitions(&second).await == 3)
            .await;
        let third = deployment.start_ready().await;
        eventually("three share", PATIENCE, async || partitions(&third).await == 2).await;
        assert!(first.terminate().await.success());
        eventually("the others take over", PATIENCE, async || {
            partitions(&second).await + partitions(&third).await == 6
        })
        .await;
        [second, third]
    };
    let ((), services) = tokio::join!(publish, work);
    let all: Vec<&Service> = services.iter().collect();
    let expected = settled_by(&deployment, &all, PATIENCE).await;
    assert_eq!(expected.orders.len(), 3000);
    for service in services {
        assert!(service.terminate().await.success());
    }
}

pub(crate) async fn killed_ones_are_replaced(broker: &Broker) {
    const KILLS: usize = 3;
    let deployment = Deployment::with_partitions(broker, 6).await.with("APP_RETRY_MAX_ELAPSED", "1s");
    let further = ["--seed", "12", "--bad-rate", "0.02", "--duplicate-rate", "0.02", "--rate", "2000"];
    let publish = deployment.publish_sample(3000, &further);
    let work = async {
        let survivor = deployment.start_ready().await;
        for _ in 0..KILLS {
            let victim = deployment.start_ready().await;
            eventually("it works", PATIENCE, async || {
                victim.stat("consumed").await > 0 || survivor.get("/stats").await["lag"] == 0
            })
            .await;
            victim.kill();
        }
        eventually("the survivor has all", PATIENCE, async || partitions(&survivor).await == 6).await;
        survivor
    };
    let ((), survivor) = tokio::join!(publish, work);
    let expected = settled_by(&deployment, &[&survivor], PATIENCE).await;
    assert_eq!(expected.orders.len(), 3000);
    assert!(survivor.terminate().await.success());
}
