//! What the service takes of its machine, and what it does when the machine has no more.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use order_tests::{Deployment, NewRecord, PATIENCE, events, eventually, until};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// The most that the process may take while 320 MB lie in its topic, in KiB.
const MOST_MEMORY: u64 = 200 * 1024;

#[tokio::test]
async fn a_backlog_stays_on_the_broker() {
    const EVENTS: usize = 40_000;
    let Some(broker) = super::broker().await else { return };
    let deployment = Deployment::with_partitions(&broker, 4).await;
    let pad: String =
        (0_u64..1_000).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect::<Vec<_>>().concat();
    let records = (0..EVENTS).map(|number| {
        let order = format!("order-{number}");
        let mut event = events::created(&order);
        let from = number % 8_000;
        event["nobodyReadsThis"] = pad[from..from + 8_000].into();
        NewRecord::json(&order, &event)
    });
    deployment.events().produce_all(records).await;
    // Fetching is far faster than handling.
    let service = deployment.start_ready().await;
    let deadline = Duration::from_mins(3);
    eventually("all is handled", deadline, async || service.stat("ok").await == EVENTS as u64).await;
    let peak = service.peak_memory();
    assert!(peak < MOST_MEMORY, "{peak} KiB while {EVENTS} events of {EVENTS} keys were handled");
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn without_file_descriptors_it_goes_on_and_answers_again() {
    let Some(broker) = super::broker().await else { return };
    let deployment = Deployment::new(&broker).await;
    let service = deployment.start_ready().await;
    let folder = format!("/proc/{}/fd", service.process_id());
    let open = || std::fs::read_dir(&folder).expect("the process lives").count() as u64;
    // A few more than it has, as if something had taken the rest.
    let limit = Rlimit { current: Some(open() + 8), maximum: Some(open() + 8) };
    let process = Pid::from_raw(service.process_id());
    prlimit(process, Resource::Nofile, limit).expect("a child of ours may be limited");

    let address: SocketAddr = service.address().trim_start_matches("http://").parse().expect("an address");
    let crowd: Vec<TcpStream> = (0..64).filter_map(|_| TcpStream::connect(address).ok()).collect();
    eventually("it is told", PATIENCE, async || service.log().contains("no connection is accepted")).await;
    // Events come over connections that are there already.
    deployment.events().produce([NewRecord::json("order-1", &events::created("order-1"))]).await;
    drop(crowd);
    until("the order is there", PATIENCE, async || {
        let order = service.try_get("/orders/order-1").await;
        if order.is_some() { Ok(()) } else { Err("no answer yet".to_owned()) }
    })
    .await;
    assert!(service.terminate().await.success());
}
