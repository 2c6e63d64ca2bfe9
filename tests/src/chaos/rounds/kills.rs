//! SIGKILL at random instants, each while a transaction is open.

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
    /// How many SIGKILLs.
    pub kills: usize,
    /// How many instances; with SQLite it is one.
    pub instances: usize,
    /// The pace at which events are produced, in records per second.
    pub rate: u32,
}

/// SIGKILL of one instance after the other, each while it has a transaction open, and the accounting.
///
/// Events are produced in as many parts as there are lives. A third of a part is a backlog that the next life finds; the
/// rest comes while it works, so that no kill meets an idle process.
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
        // Where in its work it is met is left to chance.
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
