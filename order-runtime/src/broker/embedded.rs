//! The embedded development broker: librdkafka's mock cluster behind a TCP front on a fixed port.
//!
//! For development and tests only: it keeps all records in memory, about 5 MB per partition, and loses them when the process
//! ends. The mock cluster chooses its own port. The front forwards the configured port to it, and the cluster advertises the
//! front. The mock interface is experimental in librdkafka, so the service uses it in this file alone.
#![allow(unsafe_code, reason = "the mock cluster's C interface; each block states why it is sound")]

use std::{
    ffi::CString,
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use rdkafka::{
    ClientContext, bindings as sys,
    config::{ClientConfig, RDKafkaLogLevel},
    error::KafkaError,
    producer::{BaseProducer, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tracing::debug;
use uuid::Uuid;

use crate::config::{Embedded, KafkaConfig};
use crate::model::TopicPattern;

/// The number of partitions of each topic.
pub(crate) const PARTITIONS: i32 = 4;

/// The prefix of the topic whose name carries the broker's id. The mock's own cluster id is a memory address, which may repeat.
pub(super) const NAME_TOPIC: &str = "__embedded-broker.";

/// The prefix of the cluster ids of embedded brokers; a UUID follows.
const CLUSTER: &str = "embedded-";

/// The cluster id that this topic's name carries; `None` for any other topic.
pub(crate) fn identity(topic: &str) -> Option<String> {
    topic.strip_prefix(NAME_TOPIC).map(|id| format!("{CLUSTER}{id}"))
}

/// Whether the cluster of this id is an embedded broker, whose data ends with its process. No other cluster has such an id:
/// Kafka's ids are 22 characters of base64.
pub(crate) fn is_embedded(cluster: &str) -> bool {
    cluster.strip_prefix(CLUSTER).is_some_and(|id| Uuid::parse_str(id).is_ok())
}

/// A running embedded broker. Dropping it stops it and discards its records.
pub(crate) struct EmbeddedBroker {
    front: JoinHandle<()>,
    address: SocketAddr,
    /// Owns the cluster.
    _host: BaseProducer<Silent>,
}

/// The client context of the host producer, which never connects, so that its errors and statistics do not matter.
#[derive(Clone)]
struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, kind: &str, line: &str) {
        debug!(target: "librdkafka", kind, "{line}");
    }

    fn error(&self, _: KafkaError, _: &str) {}

    fn stats_raw(&self, _: &[u8]) {}
}

impl ProducerContext<NoCustomPartitioner> for Silent {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl EmbeddedBroker {
    /// Starts a broker at `listen` with these topics, [`PARTITIONS`] partitions each. Producing to another topic creates it.
    ///
    /// # Errors
    /// When the address is in use, or the cluster cannot be created.
    pub(crate) async fn start(listen: SocketAddr, topics: &[&str]) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let host: BaseProducer<Silent> = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .create_with_context(Silent)
            .map_err(io::Error::other)?;
        let inner = {
            let cluster =
                host.client().mock_cluster().ok_or_else(|| io::Error::other("librdkafka has no mock cluster"))?;
            for topic in topics {
                cluster.create_topic(topic, PARTITIONS, 1).map_err(io::Error::other)?;
            }
            let name = format!("{NAME_TOPIC}{}", Uuid::new_v4());
            cluster.create_topic(&name, 1, 1).map_err(io::Error::other)?;
            cluster.bootstrap_servers()
        };
        let host_name = CString::new(address.ip().to_string()).map_err(io::Error::other)?;
        // SAFETY: `host` owns the cluster and outlives these calls; the name is a C string, copied by the callee.
        unsafe {
            let cluster = sys::rd_kafka_handle_mock_cluster(host.client().native_ptr());
            // The first member of a group need not wait 3 s for others.
            sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 100);
            sys::rd_kafka_mock_broker_set_host_port(cluster, 1, host_name.as_ptr(), address.port().into());
        }
        Ok(Self { front: tokio::spawn(forward(listener, inner)), address, _host: host })
    }

    /// The address that it listens at.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.front.abort();
    }
}

impl std::fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedBroker").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn forward(listener: TcpListener, inner: String) {
    // A failure affects one connection only; its client reconnects.
    loop {
        let Ok((mut client, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let inner = inner.clone();
        tokio::spawn(async move {
            let Ok(mut broker) = TcpStream::connect(inner).await else { return };
            // Without it, small requests would be delayed until the previous one is acknowledged.
            if client.set_nodelay(true).and_then(|()| broker.set_nodelay(true)).is_ok() {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
            }
        });
    }
}

/// The topics that a service with these settings needs.
pub(crate) fn topics(config: &KafkaConfig) -> Vec<&str> {
    let named = config.topics.iter().filter_map(TopicPattern::name);
    named.chain([config.dlq_topic.as_str()]).collect()
}

/// Starts the embedded broker if the configuration asks for it, and sets the broker address in `config` to it.
///
/// # Errors
/// When it is wanted and cannot start; the text contains a remedy.
pub(crate) async fn start_where_wanted(config: &mut KafkaConfig) -> Result<Option<EmbeddedBroker>, String> {
    let Some(address) = loopback_address(&config.brokers) else { return Ok(None) };
    let wanted = match config.embedded {
        Embedded::Never => false,
        Embedded::Always => true,
        Embedded::Auto => is_free(&config.brokers).await,
    };
    if !wanted {
        return Ok(None);
    }
    let broker = EmbeddedBroker::start(address, &topics(config)).await.map_err(|error| {
        format!("the embedded broker cannot listen at {address}: {error}; stop the program that listens there, or set KAFKA_EMBEDDED=never")
    })?;
    // A name may have two addresses, and the broker listens at one of them only.
    config.brokers = broker.address().to_string();
    Ok(Some(broker))
}

/// The loopback address of a broker address; `None` if it names several brokers or another machine.
///
/// `localhost` is 127.0.0.1 here: clients try both address families, so one listener is enough.
pub(crate) fn loopback_address(brokers: &str) -> Option<SocketAddr> {
    if brokers.contains(',') {
        return None;
    }
    let brokers = if brokers.contains(':') { brokers.to_owned() } else { format!("{brokers}:9092") };
    let addresses: Vec<_> = brokers.to_socket_addrs().ok()?.filter(|address| address.ip().is_loopback()).collect();
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
}

/// Whether nothing listens at the address: every address of the name refuses the connection.
pub(crate) async fn is_free(brokers: &str) -> bool {
    let Ok(addresses) = tokio::net::lookup_host(brokers).await else { return false };
    for address in addresses {
        match TcpStream::connect(address).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            // On a machine without IPv6, nothing listens at an IPv6 address either.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_id_of_an_embedded_broker_differs_from_that_of_a_real_one() {
        let own = identity(&format!("{NAME_TOPIC}{}", Uuid::new_v4())).expect("the topic carries an id");
        assert!(is_embedded(&own), "{own}");
        for real in ["5L6g3nShT-eMCtK--X86sw", "localhost:9092", "embedded-", "embedded-team-cluster"] {
            assert!(!is_embedded(real), "{real}");
        }
    }
}
