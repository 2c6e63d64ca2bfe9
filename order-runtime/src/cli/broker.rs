//! `broker`.

use std::process::ExitCode;

use super::{Context, Failure};
use crate::{
    broker::embedded::{self, EmbeddedBroker, PARTITIONS},
    service::Stop,
};

pub(super) fn run(context: &Context) -> Result<ExitCode, Failure> {
    let kafka = &context.config.kafka;
    let Some(address) = embedded::loopback_address(&kafka.brokers) else {
        return Err(Failure::wrong_use(format!(
            "the embedded broker needs one loopback address, but KAFKA_BROKER_URL is `{}`; set it to localhost:9092",
            kafka.brokers
        )));
    };
    super::block_on(async {
        // Before the broker starts: once it is reachable, a signal must not kill the process.
        let mut stop = Stop::listen().map_err(Failure::failed)?;
        let broker = EmbeddedBroker::start(address, &embedded::topics(kafka))
            .await
            .map_err(|error| Failure::failed(format!("the embedded broker cannot listen at {address}: {error}")))?;
        context.output.hint(format!(
            "embedded broker at {}: in memory, {PARTITIONS} partitions a topic and about 5 MB each, gone on exit",
            broker.address()
        ));
        stop.asked().await;
        Ok(ExitCode::SUCCESS)
    })
}
