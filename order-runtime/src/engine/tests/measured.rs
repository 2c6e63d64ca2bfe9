//! Metrics of a partition's events.

use std::sync::Arc;

use super::rig::Rig;
use crate::exposition::{Sources, text};

/// The metrics of the rig, as Prometheus reads them.
fn exposition(rig: &Rig) -> String {
    let sources = Sources {
        name: "things",
        version: "1.2.3",
        group: "group".to_owned(),
        registry: Arc::clone(&rig.registry),
        metrics: Arc::clone(&rig.metrics),
        operations: rig.engine.operations(),
    };
    text::negotiated(sources.read(), "").1
}

#[tokio::test]
async fn every_event_is_counted_with_its_outcome() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "");
    rig.send("Added", "b", 1, "skip");
    rig.send("Added", "c", 1, "reject");
    rig.send("Added", "d", 1, "fail_once");
    rig.send("Nobody", "e", 1, "");
    rig.send_as("event-1", "Added", "a", 1, "");
    rig.settled().await;
    let text = exposition(&rig);
    for line in [
        r#"things_events_total{event="Added",version="1",outcome="ok"} 2"#,
        r#"things_events_total{event="Added",version="1",outcome="skipped"} 1"#,
        r#"things_events_total{event="Added",version="1",outcome="dead_lettered"} 1"#,
        r#"things_events_total{event="Added",version="1",outcome="retried"} 1"#,
        r#"things_events_total{event="unknown",version="",outcome="dead_lettered"} 1"#,
        r#"things_events_total{event="unknown",version="",outcome="repeated"} 1"#,
        r#"things_dead_letters_total{reason="rejected"} 1"#,
        r#"things_dead_letters_total{reason="unknown_event"} 1"#,
        r#"things_consumer_lag{topic="things",partition="0"} 0"#,
        r#"things_partitions{state="running"} 1"#,
        r#"things_rebalances_total{kind="assigned"} 1"#,
        r#"messaging_client_consumed_messages_total{messaging_system="kafka",messaging_destination_name="things",messaging_consumer_group_name="group",messaging_operation_name="poll"} 6"#,
        // The memory broker's timestamps are offsets, so all are implausible.
        r#"things_event_age_seconds_count{topic="things"} 0"#,
        r#"things_event_implausible_times_total{topic="things"} 6"#,
        r#"things_build_info{version="1.2.3",runtime_version="0.1.0"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains("Nobody"), "an unknown name becomes no label:\n{text}");
}

#[tokio::test]
async fn the_time_of_a_slow_processor_is_measured() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "dawdle");
    rig.settled().await;
    let text = exposition(&rig);
    let series = r#"messaging_process_duration_seconds_sum{messaging_system="kafka",messaging_destination_name="things",messaging_consumer_group_name="group",messaging_operation_name="process",event="Added"} "#;
    let sum = text.lines().find_map(|line| line.strip_prefix(series)).expect("the series is there");
    assert!(sum.parse::<f64>().is_ok_and(|seconds| seconds >= 0.150), "{sum}: the processor took 150 ms");
}
