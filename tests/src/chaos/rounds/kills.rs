//! SIGKILLs at random instants, each during an open transaction.

use std::time::Duration;

use rand::random_range;

use crate::{
    broker::Broker,
    chaos::{Recipe, Report, Run},
    wait::{PATIENCE, eventually},
};

/// The shape of a round of kills.
#[derive(Debug, Clone, Copy)]
pub struct Kills {
    /// The events.
    pub recipe: Recipe,
    /// The number of SIGKILLs.
    pub kills: usize,
    /// The number of instances; one with SQLite.
    pub instances: usize,
    /// The production rate, in records per second.
    pub rate: u32,
}

/// Kills one instance after the other, each during an open transaction, and accounts for all events.
///
/// Events are produced in one part for each run of a process. A third of a part is a backlog at the start of the run; the rest is
/// produced during the run, so that no kill hits an idle process.
pub async fn kills(broker: &Broker, shape: Kills) -> Report {
    let Kills { recipe, kills, instances, rate } = shape;
    let mut run = Run::new(broker, recipe, rate).await;
    let mut services = Vec::new();
    for number in 0..instances {
        services.push(run.start(number).await);
    }
    let part = run.plan.order.len() / (kills + 1);
    for kill in 0..kills {
        run.producer.release(part / 3);
        run.all_work(&mut services).await;
        run.producer.release(part - part / 3);
        let number = kill % instances;
        eventually("it works", PATIENCE, async || {
            run.revive(&mut services).await;
            services[number].try_get("/stats").await.is_some_and(|stats| stats["consumed"].as_u64() > Some(0))
        })
        .await;
        // The moment of the kill is random.
        let milliseconds = part as u64 * 1000 / u64::from(rate);
        let working = Duration::from_millis(milliseconds / 2);
        tokio::time::sleep(working.mul_f64(random_range(0.0..0.9))).await;
        run.revive(&mut services).await;
        let victim = services.remove(number);
        run.kill(victim, number).await;
        services.insert(number, run.start(number).await);
    }
    let what = format!("{kills} kills, {instances} instance(s), {}", run.store_name());
    run.finish(&what, services).await
}
