//! SIGKILL at random instants, each while a transaction is open.

use order_tests::{
    Broker, Postgres,
    chaos::{
        Recipe,
        rounds::{self, Kills},
    },
};

const SHORT: Kills =
    Kills { recipe: Recipe { events: 12_000, keys: 300, seed: 1, hostile: true }, kills: 4, instances: 1, rate: 3_000 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_on_sqlite() {
    let Some(broker) = Broker::kafka() else { return };
    let report = rounds::kills(&broker, SHORT).await;
    report.print();
    assert!(report.in_flight > 0, "no kill has found a transaction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_of_three_on_postgres() {
    let (Some(broker), Some(server)) = (Broker::kafka(), Postgres::server()) else { return };
    let report = rounds::kills(&broker.with_postgres(server), Kills { instances: 3, ..SHORT }).await;
    report.print();
    assert!(report.in_flight > 0, "no kill has found a transaction");
}
