//! Instances that start, stop and hang.

use std::time::Duration;

use rand::random_range;

use super::Shape;
use crate::{
    broker::Broker,
    chaos::{Report, Run},
    wait::{PATIENCE, eventually},
};

/// The minimum number of times that a member joins and leaves.
const COMINGS: usize = 6;
/// Longer than a session.
const SLEEP: Duration = Duration::from_secs(8);

/// One instance stays while two others start and stop: most stop cleanly, every third is killed.
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
                assert!(guest.terminate().await.success(), "a guest stops cleanly");
                run.check_now().await;
            }
        }
    }
    run.finish("two instances come and go beside a third", vec![stays]).await
}

/// One of two instances hangs for longer than its session, and continues after its partitions were reassigned.
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
        // The other instance has taken over, and continues while the former owner wakes up with outdated work.
        run.check_now().await;
        services[sleeper].go_on();
        run.caught_up("an instance has slept").await;
        run.check_now().await;
        run.all_work(&mut services).await;
    }
    run.finish("an instance sleeps for longer than a session, twice", services).await
}
