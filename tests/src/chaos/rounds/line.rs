//! The line between the service and what it needs: slow, narrow, silent, cut, corrupt.

use std::time::Duration;

use super::{Shape, fault};
use crate::{
    broker::Broker,
    chaos::{Report, Run},
    kafka::Kafka,
    postgres::Postgres,
    proxy::{Proxy, Weather},
    service::Service,
};

/// How long bad weather lasts; in silence, longer than a session.
const SHOWER: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(8);

/// All of it between the service and Kafka.
pub async fn bad_line_to_kafka(kafka: &'static Kafka, shape: Shape) -> Report {
    let _alone = kafka.alone().await;
    let mut run = Run::new(&Broker::fragile(kafka), shape.recipe, shape.rate).await;
    let service = run.start(0).await;
    // The byte that changes is a digit of the ledger's name, so that an event taken in spite of it shows.
    let corrupt = Weather { corrupt_after: Some(b"\"ledgerId\":\"ledger-000"), ..Weather::default() };
    let showers = [("flips bytes", corrupt)];
    weather(&mut run, &service, kafka.proxy(), &showers).await;
    run.finish("the line to Kafka is slow, narrow, cut, silent and corrupt", vec![service]).await
}

/// All of it, but for corruption, between the service and PostgreSQL, whose protocol has no checksums.
pub async fn bad_line_to_postgres(broker: &Broker, server: &'static Postgres, shape: Shape) -> Report {
    let _alone = server.alone().await;
    let mut run = Run::new(&broker.clone().with_postgres(server), shape.recipe, shape.rate).await;
    let service = run.start(0).await;
    weather(&mut run, &service, server.proxy(), &[]).await;
    run.finish("the line to PostgreSQL is slow, narrow, cut and silent", vec![service]).await
}

async fn weather(run: &mut Run, service: &Service, proxy: &Proxy, further: &[(&str, Weather)]) {
    let fair = Weather::default();
    let slow = Weather { delay: Duration::from_millis(250), ..fair };
    let narrow = Weather { bytes_per_second: 50_000, ..fair };
    let short = Weather { cut_after: 20_000, ..fair };
    let mut showers = vec![("is slow", slow), ("is narrow", narrow), ("is cut in mid-message", short)];
    showers.extend_from_slice(further);
    let share = run.plan.order.len() / (showers.len() + 3);
    for (what, shower) in showers {
        fault(run, service, &format!("the line {what}"), share, async || {
            proxy.weather(shower);
            tokio::time::sleep(SHOWER).await;
            proxy.weather(fair);
        })
        .await;
    }
    fault(run, service, "the line is cut", share, async || {
        for _ in 0..20 {
            proxy.cut();
            tokio::time::sleep(SHOWER / 20).await;
        }
    })
    .await;
    fault(run, service, "the line is silent", share, async || {
        proxy.weather(Weather { silent: true, ..fair });
        tokio::time::sleep(SILENCE).await;
        // What was under way arrives late, on connections that both sides may have given up.
        proxy.weather(fair);
    })
    .await;
}
