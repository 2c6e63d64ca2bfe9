//! The lifetime of the poll thread: it waits for a cluster, joins the group, and polls until the service stops.
//!
//! A librdkafka client was observed to stay disconnected for minutes after the brokers were available again, while other clients
//! of the same process were connected. Such a client is abandoned, and a new one joins the group in its place.

use std::{
    sync::{Arc, atomic::Ordering, mpsc as commands},
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use rdkafka::{
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
};
use tokio::{runtime::Handle, sync::mpsc, time::Instant};
use tracing::{info, warn};

use super::{
    consumer::Command,
    member::{Member, MemberShared},
    metadata::{Identity, MetadataClient},
    poller::Polled,
    settings,
};
use crate::{
    broker::{BrokerError, ConsumerEvent},
    config::KafkaConfig,
    model::TopicPattern,
};

/// How long the member may stay disconnected while brokers answer another client. It retries every second, and one attempt at a
/// hanging broker takes up to ten seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The inputs of the poll thread.
pub(super) struct Membership {
    pub(super) config: KafkaConfig,
    pub(super) shared: Arc<MemberShared>,
    pub(super) metadata: Arc<MetadataClient>,
    pub(super) commands: Mutex<commands::Receiver<Command>>,
    pub(super) runtime: Handle,
    /// [`PATIENCE`], except in tests.
    pub(super) patience: Duration,
}

impl Membership {
    /// Joins the group and polls until the member is closed.
    pub(super) fn run(self: &Arc<Self>, events: &mpsc::UnboundedSender<ConsumerEvent>) {
        let Some(identity) = self.connect() else { return };
        let mut given_up: Option<JoinHandle<()>> = None;
        loop {
            let consumer = match self.join(&identity, events) {
                Ok(consumer) => Arc::new(consumer),
                Err(error) => {
                    let reason = BrokerError::creation(&error, &self.config).to_string();
                    let _ = events.send(ConsumerEvent::Fatal(reason));
                    return;
                }
            };
            let may_give_up = given_up.as_ref().is_none_or(JoinHandle::is_finished);
            if self.poll(&consumer, may_give_up, settings::shows_leaving(&self.config, identity.embedded)) {
                // librdkafka may wait for its broker here; the caller that waits for this thread has a limit. The engine sees the
                // end of the events only after the drop.
                drop(consumer);
                return;
            }
            warn!(
                "the client stays disconnected although brokers answer another client; a new client joins the group instead"
            );
            consumer.context().give_up();
            given_up = thread::Builder::new().name("kafka-given-up".to_owned()).spawn(move || drop(consumer)).ok();
        }
    }

    /// The next command to the poll thread.
    pub(super) fn next_command(&self) -> Option<Command> {
        self.commands.lock().try_recv().ok()
    }

    /// Waits for a cluster; `None` when the service stops first.
    fn connect(&self) -> Option<Identity> {
        loop {
            self.shared.beat();
            match self.metadata.identity() {
                Ok(identity) => {
                    *self.shared.trouble.lock() = None;
                    return Some(identity);
                }
                Err(error) => {
                    if self.shared.log_throttle.due("connect") {
                        warn!(%error, "waiting for Kafka");
                    }
                    *self.shared.trouble.lock() = Some(error.to_string());
                }
            }
            if self.shared.closing.load(Ordering::Relaxed) {
                return None;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn join(
        &self,
        identity: &Identity,
        events: &mpsc::UnboundedSender<ConsumerEvent>,
    ) -> KafkaResult<BaseConsumer<Member>> {
        let member = Member::new(
            Arc::clone(&self.shared),
            Arc::clone(&self.metadata),
            Arc::clone(&identity.cluster),
            events.downgrade(),
            self.runtime.clone(),
            settings::rebalance_limits(&self.config),
        );
        let topics: Vec<&str> = self.config.topics.iter().map(TopicPattern::as_str).collect();
        let consumer: BaseConsumer<Member> =
            settings::member(&self.config, identity.embedded).create_with_context(member)?;
        consumer.subscribe(&topics)?;
        info!(cluster = %identity.cluster, group = %self.config.group_id, ?topics, "joining the group");
        Ok(consumer)
    }

    /// Polls. Returns true when the member was closed and has left its group, and false when its client must be replaced; the
    /// caller then has the only reference to the client.
    fn poll(self: &Arc<Self>, consumer: &Arc<BaseConsumer<Member>>, may_give_up: bool, shows_leaving: bool) -> bool {
        let mut polled = Polled::new(consumer, self);
        let mut doubt = Doubt::new(self.patience);
        while !self.shared.closing.load(Ordering::Relaxed) {
            self.shared.beat();
            polled.round();
            let answers = || self.metadata.answers(&self.config.topics);
            if may_give_up && doubt.is_right(self.shared.away(), answers) {
                return false;
            }
        }
        polled.leave(shows_leaving);
        true
    }
}

/// Detects a stuck client: it is connected to no broker, while brokers answer another client.
struct Doubt {
    patience: Duration,
    asked: Option<Instant>,
    /// Since when brokers have answered every check.
    answered: Option<Instant>,
}

impl Doubt {
    fn new(patience: Duration) -> Self {
        Self { patience, asked: None, answered: None }
    }

    /// Whether the client is stuck. `away` is how long it has been connected to no broker.
    fn is_right(&mut self, away: Option<Duration>, answers: impl FnOnce() -> bool) -> bool {
        if away.is_none_or(|away| away < self.patience) {
            self.answered = None;
            return false;
        }
        if self.asked.is_some_and(|asked| asked.elapsed() < self.patience / 6) {
            return false;
        }
        let answers = answers();
        let now = Instant::now();
        self.asked = Some(now);
        if !answers {
            self.answered = None;
            return false;
        }
        now.duration_since(*self.answered.get_or_insert(now)) >= self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many seconds the client counts as stuck, if brokers answer in the seconds that `answers` selects.
    async fn seconds(doubt: &mut Doubt, answers: impl Fn(u32) -> bool) -> Option<u32> {
        for second in 0..300 {
            if doubt.is_right(Some(Duration::from_secs(second.into())), || answers(second)) {
                return Some(second);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stays_disconnected_while_brokers_answer_others_is_stuck() {
        let new = || Doubt::new(Duration::from_secs(30));
        assert_eq!(seconds(&mut new(), |_| true).await, Some(60));
        assert_eq!(seconds(&mut new(), |_| false).await, None, "another client would not end an outage");
        assert_eq!(seconds(&mut new(), |second| second >= 100).await, Some(130), "its time begins when they answer");
        assert_eq!(seconds(&mut new(), |second| second % 20 < 10).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_connected_is_not_stuck() {
        let mut doubt = Doubt::new(Duration::ZERO);
        assert!(!doubt.is_right(None, || panic!("no broker is asked")));
    }
}
