//! Partitions that are revoked or assigned again while events or batches run. Time is virtual.

use std::time::Duration;

use super::rig::{Rig, partition};

/// A slow event takes 150 ms; the drain, 5 s.
#[tokio::test(start_paused = true)]
async fn a_slow_event_counts_once_when_its_partition_is_revoked_meanwhile() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "dawdle");
    rig.send("Added", "a", 2, "");
    tokio::time::sleep(Duration::from_millis(10)).await;
    rig.broker.revoke(&[partition()], false).await;
    rig.broker.assign(&[partition()]).await;
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12, 2)), "in order, and each once");
    assert_eq!(rig.stats().consumed, 2, "no record was taken twice");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_outlasts_the_drain_counts_once() {
    let (rig, gate) = Rig::behind_a_gate().await;
    gate.shut();
    rig.send("Added", "a", 1, "");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let begun = tokio::time::Instant::now();
    rig.broker.revoke(&[partition()], false).await;
    let drained = begun.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&drained), "{drained:?}");
    gate.reopen();
    rig.broker.assign(&[partition()]).await;
    rig.send("Added", "a", 2, "");
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12, 2)));
}

/// The direct call to the store stands for a process that was frozen during an earlier assignment and continues late.
#[tokio::test(start_paused = true)]
async fn an_owner_that_is_superseded_takes_its_partition_over_unless_it_is_revoked() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "");
    rig.settled().await;
    let late = rig.store.assigned(&[partition()]).await.expect("memory answers").remove(0).expect("a position");
    rig.send("Added", "a", 2, "");
    let begun = tokio::time::Instant::now();
    rig.settled().await;
    let waited = begun.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(7)).contains(&waited), "{waited:?}");
    assert_eq!(rig.counter("a").await, Some((12, 2)));
    let stored = rig.store.reload(&partition()).await.expect("memory answers").expect("a position");
    assert_eq!(stored.assignment, late.assignment + 1);
    rig.broker.revoke(&[partition()], false).await;
    let stored = rig.store.reload(&partition()).await.expect("memory answers").expect("a position");
    assert_eq!(stored.starts, 0, "the later assignment ended in order, and its commits are a proof of life");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_assigned_again_while_it_drains_continues_at_its_position() {
    for lost in [false, true] {
        let (rig, gate) = Rig::behind_a_gate().await;
        rig.send("Added", "a", 1, "");
        rig.settled().await;
        gate.shut();
        rig.send("Added", "a", 2, "");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let partitions = [partition()];
        tokio::join!(rig.broker.revoke(&partitions, lost), rig.broker.assign(&partitions), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            gate.reopen();
        });
        rig.send("Added", "a", 3, "");
        rig.settled().await;
        assert_eq!(rig.counter("a").await, Some((123, 3)), "lost: {lost}");
    }
}
