//! Instances come, go, and sleep.

use std::time::Duration;

use rand::random_range;

use super::Shape;
use crate::{
    broker::Broker,
    chaos::{Report, Run},
    wait::{PATIENCE, eventually},
};

/// How often a member comes and goes, at least.
const COMINGS: usize = 6;
/// Longer than a session.
const SLEEP: Duration = Duration::from_secs(8);

/// One instance stays, two others come and go while events come: most leave in order, every third is killed.
pub async fn members_come_and_go(broker: &Broker, shape: Shape) -> Report {
    let mut run = Run::new(broker, shape.recipe, shape.rate).await;
    let mut stays = run.start(0).await;
    run.all_work(std::slice::from_mut(&mut stays)).await;
    let share = run.plan.order.len() / (COMINGS + 2);
    for coming in 0..COMINGS {
        run.producer.release(share);
        let mut guests = Vec::new();
        for number in 1..=2 {
            guests.push((number, run.start(number).await));
            tokio::time::sleep(Duration::from_millis(random_range(0..500))).await;
        }
        for (number, mut guest) in guests {
            guest.wait_ready(PATIENCE).await;
            tokio::time::sleep(Duration::from_millis(random_range(0..500))).await;
            if coming % 3 == 2 && number == 1 {
                run.producer.release(share / 2);
                run.kill(guest, number).await;
            } else {
                assert!(guest.terminate().await.success(), "a guest leaves in order");
                run.check_now().await;
            }
        }
    }
    run.finish("two instances come and go beside a third", vec![stays]).await
}

/// Of two instances one sleeps for longer than its session lasts, and wakes as a former owner.
pub async fn sleeper(broker: &Broker, shape: Shape) -> Report {
    let mut run = Run::new(broker, shape.recipe, shape.rate).await;
    let mut services = vec![run.start(0).await, run.start(1).await];
    run.all_work(&mut services).await;
    let share = run.plan.order.len() / 2;
    for sleeper in 0..2 {
        run.producer.release(share);
        let before = run.progress().await;
        eventually("they work", PATIENCE, async || run.progress().await > before).await;
        services[sleeper].pause().await;
        tokio::time::sleep(SLEEP).await;
        // The other one has taken over, and goes on while the former owner wakes with old work in its hands.
        run.check_now().await;
        services[sleeper].go_on();
        run.caught_up("an instance has slept").await;
        run.check_now().await;
        run.all_work(&mut services).await;
    }
    run.finish("an instance sleeps for longer than a session, twice", services).await
}
