//! The engine's interface to the group member. Its methods send commands to the poll thread.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering, mpsc as commands},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::mpsc};
use tracing::error;

use super::{
    ends,
    inbox::Inbox,
    member::{MemberShared, UNREADABLE},
    membership::{Membership, PATIENCE},
    metadata::MetadataClient,
    settings,
};
use crate::{
    broker::{BrokerError, ClusterMetadata, ClusterTopics, Consumer, ConsumerEvent, InboxStatus},
    config::KafkaConfig,
    model::{Health, PartitionId, RecordBatch},
};

/// A member of the consumer group.
pub struct KafkaConsumer {
    pub(super) shared: Arc<MemberShared>,
    metadata: Arc<MetadataClient>,
    commands: commands::Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Dropped with the consumer, which ends the thread that requests the ends of logs.
    _ends: commands::Sender<()>,
}

/// A command to the poll thread.
pub(super) enum Command {
    Pause(PartitionId),
    Resume(PartitionId),
    /// Drop fetched records, and continue at this offset.
    Seek(Arc<Inbox>, i64),
}

impl KafkaConsumer {
    /// Starts the member. It joins its group when a broker answers; until then, [`Consumer::health`] gives the reason.
    ///
    /// # Errors
    /// When librdkafka rejects the properties. Nothing is started then.
    pub fn start(config: &KafkaConfig) -> Result<(Arc<Self>, mpsc::UnboundedReceiver<ConsumerEvent>), BrokerError> {
        Self::start_with(config, PATIENCE)
    }

    /// Like [`start`](Self::start), with another limit for a client that stays disconnected.
    pub(super) fn start_with(
        config: &KafkaConfig,
        patience: Duration,
    ) -> Result<(Arc<Self>, mpsc::UnboundedReceiver<ConsumerEvent>), BrokerError> {
        let metadata = Arc::new(MetadataClient::new(config)?);
        settings::check(config).map_err(|mut errors| errors.swap_remove(0))?;
        let (events, receiver) = mpsc::unbounded_channel();
        let (sender, commands) = commands::channel();
        let shared = MemberShared::new();
        let no_thread = |error| BrokerError::Client(format!("cannot start a thread: {error}"));
        let ends = ends::start(&shared, &metadata, config).map_err(no_thread)?;
        let membership = Membership {
            config: config.clone(),
            shared: Arc::clone(&shared),
            metadata: Arc::clone(&metadata),
            commands: Mutex::new(commands),
            runtime: Handle::current(),
            patience,
        };
        let thread = std::thread::Builder::new()
            .name("kafka-poll".to_owned())
            .spawn(move || Arc::new(membership).run(&events))
            .map_err(no_thread)?;
        let consumer = Self { shared, metadata, commands: sender, thread: Mutex::new(Some(thread)), _ends: ends };
        Ok((Arc::new(consumer), receiver))
    }

    /// Waits until the poll thread has ended, at most for `limit`. Returns whether it has ended.
    ///
    /// librdkafka may wait for a broker without limit. Records whose offsets it has not committed are then delivered again, and
    /// the store knows that they are handled.
    pub async fn joined(&self, limit: Duration) -> bool {
        let Some(thread) = self.thread.lock().take() else { return true };
        let deadline = Instant::now() + limit;
        while !thread.is_finished() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if thread.join().is_err() {
            error!("the poll thread has panicked");
        }
        true
    }

    fn send(&self, command: Command) {
        // A thread that has ended needs no commands.
        let _ = self.commands.send(command);
    }

    fn inbox(&self, partition: &PartitionId) -> Option<Arc<Inbox>> {
        self.shared.inboxes.lock().get(partition).cloned()
    }
}

impl Consumer for KafkaConsumer {
    fn take(&self, partition: &PartitionId, max_records: usize, max_bytes: usize) -> RecordBatch {
        let Some(inbox) = self.inbox(partition) else { return RecordBatch::default() };
        let records = inbox.take(max_records, max_bytes);
        self.shared.taken.notify();
        records
    }

    fn pause(&self, partition: &PartitionId) {
        if let Some(inbox) = self.inbox(partition) {
            inbox.set_paused(true);
            self.send(Command::Pause(partition.clone()));
        }
    }

    fn resume(&self, partition: &PartitionId) {
        if let Some(inbox) = self.inbox(partition) {
            inbox.set_paused(false);
            self.send(Command::Resume(partition.clone()));
            // The partition owner does not check for records while it is paused.
            inbox.tell_if_ready();
        }
    }

    fn seek(&self, partition: &PartitionId, offset: i64) {
        if let Some(inbox) = self.inbox(partition) {
            // Done here and not by the poll thread: the engine may take records before the thread handles the command.
            inbox.begin_seek(offset);
            self.send(Command::Seek(inbox, offset));
        }
    }

    fn store_offset(&self, partition: &PartitionId, offset: i64, metadata: &str) {
        self.shared.store(partition, offset, metadata);
    }

    fn inbox_status(&self, partition: &PartitionId) -> Option<InboxStatus> {
        Some(self.inbox(partition)?.inbox_status())
    }

    fn health(&self) -> Health {
        let mut health = Health::default();
        if let Some(overdue) = self.shared.overdue() {
            health.not_live.push(format!("the consumer has not polled in time: it is {} s overdue", overdue.as_secs()));
        }
        if !self.shared.connected() {
            let why =
                self.shared.log_throttle.unreached().map(|unreached| format!(": {unreached}")).unwrap_or_default();
            health.not_ready.push(format!("no broker is connected{why}"));
        }
        if let Some(time) = self.shared.rebalancing() {
            health.not_ready.push(format!("the group has reached no assignment for {} s", time.as_secs()));
        }
        if self.shared.rebalancing().is_some() || self.shared.has_nothing() {
            health.not_ready.extend(self.shared.strangers.lock().clone());
        }
        if self.shared.unreadable() {
            health.not_ready.push(UNREADABLE.to_owned());
        }
        health.not_ready.extend(self.shared.trouble.lock().clone());
        health.not_ready.extend(self.shared.forbidden.lock().clone());
        health.not_ready.extend(self.shared.missing.lock().clone());
        health
    }

    fn close(&self) {
        self.shared.closing.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl ClusterMetadata for KafkaConsumer {
    async fn topics(&self, names: BTreeSet<Arc<str>>) -> Result<ClusterTopics, BrokerError> {
        blocking(&self.metadata, move |metadata| metadata.cluster_topics(names)).await
    }

    async fn log_end(&self, partition: &PartitionId) -> Result<i64, BrokerError> {
        let (topic, number) = (Arc::clone(&partition.topic), partition.partition);
        blocking(&self.metadata, move |metadata| metadata.log(&topic, number).map(|(_, end)| end)).await
    }

    async fn readers(&self, topic: &str) -> Result<Vec<String>, BrokerError> {
        let topic = topic.to_owned();
        blocking(&self.metadata, move |metadata| metadata.readers(&topic)).await
    }
}

/// Sends a request to the cluster on a thread that may block.
async fn blocking<T: Send + 'static>(
    metadata: &Arc<MetadataClient>,
    ask: impl FnOnce(&MetadataClient) -> Result<T, BrokerError> + Send + 'static,
) -> Result<T, BrokerError> {
    let metadata = Arc::clone(metadata);
    let asked = tokio::task::spawn_blocking(move || ask(&metadata)).await;
    asked.unwrap_or_else(|error| Err(BrokerError::Client(error.to_string())))
}
