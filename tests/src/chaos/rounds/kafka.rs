//! The broker crashes, hangs, and recovers.

use std::time::Duration;

use super::{Shape, fault, shows_it};
use crate::{
    broker::Broker,
    chaos::{Report, Run},
    kafka::Kafka,
};

/// Longer than the session timeout, so that members must rejoin the group.
const OUTAGE: Duration = Duration::from_secs(8);

/// The broker is killed and restarted, and hangs for longer than a session.
pub async fn broker_dies(kafka: &'static Kafka, shape: Shape) -> Report {
    let _alone = kafka.alone().await;
    let mut run = Run::new(&Broker::fragile(kafka), shape.recipe, shape.rate).await;
    let service = run.start(0).await;
    let share = run.plan.order.len() / 3;
    for _ in 0..2 {
        fault(&mut run, &service, "the broker is killed", share / 2, async || {
            kafka.control("kill").await;
            shows_it(&service, "an unavailable broker").await;
            kafka.control("start").await;
        })
        .await;
        fault(&mut run, &service, "the broker hangs", share / 2, async || {
            kafka.control("pause").await;
            tokio::time::sleep(OUTAGE).await;
            let live = service.ask("/health/live").await.status;
            kafka.control("cont").await;
            assert!(live.is_success(), "a broker that hangs is no reason to restart the process: {live}");
        })
        .await;
    }
    run.finish("the broker is killed twice and hangs twice", vec![service]).await
}
