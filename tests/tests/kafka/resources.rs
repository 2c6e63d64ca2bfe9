//! Use of memory and file descriptors, and the behaviour when none are left.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use order_tests::{Deployment, NewRecord, PATIENCE, events, eventually, until};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// The maximum memory of the process while its topic has 320 MB, in KiB.
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
    // Fetching is much faster than handling.
    let service = deployment.start_ready().await;
    let deadline = Duration::from_mins(3);
    eventually("all is handled", deadline, async || service.stat("ok").await == EVENTS as u64).await;
    let peak = service.peak_memory();
    assert!(peak < MOST_MEMORY, "{peak} KiB while {EVENTS} events of {EVENTS} keys were handled");
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn without_file_descriptors_it_continues_and_answers_again() {
    let Some(broker) = super::broker().await else { return };
    let deployment = Deployment::new(&broker).await;
    let service = deployment.start_ready().await;
    let folder = format!("/proc/{}/fd", service.process_id());
    let open = || std::fs::read_dir(&folder).expect("the process lives").count() as u64;
    // Slightly above the current number, as if the other descriptors were in use.
    let limit = Rlimit { current: Some(open() + 8), maximum: Some(open() + 8) };
    let process = Pid::from_raw(service.process_id());
    prlimit(process, Resource::Nofile, limit).expect("the limit of a child process can be set");

    let address: SocketAddr = service.address().trim_start_matches("http://").parse().expect("an address");
    let crowd: Vec<TcpStream> = (0..64).filter_map(|_| TcpStream::connect(address).ok()).collect();
    eventually("it is logged", PATIENCE, async || service.log().contains("cannot accept a connection")).await;
    // Events arrive over existing connections.
    deployment.events().produce([NewRecord::json("order-1", &events::created("order-1"))]).await;
    drop(crowd);
    until("the order is there", PATIENCE, async || {
        let order = service.try_get("/orders/order-1").await;
        if order.is_some() { Ok(()) } else { Err("no answer yet".to_owned()) }
    })
    .await;
    assert!(service.terminate().await.success());
}
