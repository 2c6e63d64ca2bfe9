//! Faults of the connections to Kafka and PostgreSQL: delay, low bandwidth, silence, cuts, corruption.

use std::time::Duration;

use super::{Shape, fault};
use crate::{
    broker::Broker,
    chaos::{Report, Run},
    kafka::Kafka,
    postgres::Postgres,
    proxy::{NetworkFaults, Proxy},
    service::Service,
};

/// The duration of a fault; silence lasts longer than a session.
const FAULT: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(8);

/// All faults on the connections between the service and Kafka, except corruption.
pub async fn bad_line_to_kafka(kafka: &'static Kafka, shape: Shape) -> Report {
    let _alone = kafka.alone().await;
    let mut run = Run::new(&Broker::fragile(kafka), shape.recipe, shape.rate).await;
    let service = run.start(0).await;
    network_faults(&mut run, &service, kafka.proxy()).await;
    run.finish("the line to Kafka is slow, narrow, cut and silent", vec![service]).await
}

/// Bytes are changed on the connections from Kafka, whose batches have checksums.
pub async fn flipped_bytes(kafka: &'static Kafka, shape: Shape) -> Report {
    let _alone = kafka.alone().await;
    let mut run = Run::new(&Broker::fragile(kafka), shape.recipe, shape.rate).await;
    let service = run.start(0).await;
    let share = run.plan.order.len() / 3;
    for _ in 0..3 {
        fault(&mut run, &service, "bytes are flipped", share, async || {
            // The byte is a digit of the ledger's name, so an accepted corrupt event would be visible.
            let corrupt_after: Option<&[u8]> = Some(b"\"ledgerId\":\"ledger-000");
            kafka.proxy().set_faults(NetworkFaults { corrupt_after, ..NetworkFaults::default() });
            tokio::time::sleep(FAULT).await;
            kafka.proxy().set_faults(NetworkFaults::default());
        })
        .await;
    }
    run.finish("bytes are flipped on the line from Kafka", vec![service]).await
}

/// The same faults on the connections between the service and PostgreSQL.
pub async fn bad_line_to_postgres(broker: &Broker, server: &'static Postgres, shape: Shape) -> Report {
    let _alone = server.alone().await;
    let mut run = Run::new(&broker.clone().with_postgres(server), shape.recipe, shape.rate).await;
    let service = run.start(0).await;
    network_faults(&mut run, &service, server.proxy()).await;
    run.finish("the line to PostgreSQL is slow, narrow, cut and silent", vec![service]).await
}

async fn network_faults(run: &mut Run, service: &Service, proxy: &Proxy) {
    let none = NetworkFaults::default();
    let slow = NetworkFaults { delay: Duration::from_millis(250), ..none };
    let narrow = NetworkFaults { bytes_per_second: 50_000, ..none };
    let short = NetworkFaults { cut_after: 20_000, ..none };
    let faults = [("is slow", slow), ("is narrow", narrow), ("is cut in mid-message", short)];
    let share = run.plan.order.len() / (faults.len() + 3);
    for (what, faulty) in faults {
        fault(run, service, &format!("the line {what}"), share, async || {
            proxy.set_faults(faulty);
            tokio::time::sleep(FAULT).await;
            proxy.set_faults(none);
        })
        .await;
    }
    fault(run, service, "the line is cut", share, async || {
        for _ in 0..20 {
            proxy.cut();
            tokio::time::sleep(FAULT / 20).await;
        }
    })
    .await;
    fault(run, service, "the line is silent", share, async || {
        proxy.set_faults(NetworkFaults { silent: true, ..none });
        tokio::time::sleep(SILENCE).await;
        // Delayed data arrives on connections that both sides may have closed.
        proxy.set_faults(none);
    })
    .await;
}
