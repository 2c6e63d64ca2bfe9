//! Asks where logs end of which no fetch tells: of partitions that are paused or held, and of those of which nothing has come
//! for a while. So the lag is true while nothing is fetched, and fetching that has stopped without a word is noticed.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{Offset, TopicPartitionList, error::KafkaResult};
use tracing::{debug, warn};

use super::{inbox::Inbox, member::MemberShared, metadata::MetadataClient};
use crate::config::KafkaConfig;

/// How often it asks.
const EVERY: Duration = Duration::from_secs(5);
/// How often it asks who else is in the group.
const GROUP_EVERY: Duration = Duration::from_secs(30);

/// Asks until the other end of the channel is dropped. One request a broker, whatever the number of partitions.
fn ask(shared: &MemberShared, metadata: &MetadataClient, config: &KafkaConfig, ended: &mpsc::Receiver<()>) {
    let mut group_asked: Option<Instant> = None;
    while ended.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
        if shared.connected() && group_asked.is_none_or(|asked| asked.elapsed() >= GROUP_EVERY) {
            group_asked = Some(Instant::now());
            ask_group(shared, metadata, config);
        }
        let quiet: Vec<_> = shared.inboxes.lock().values().filter(|inbox| inbox.is_quiet()).cloned().collect();
        // Without a broker each question would only take its time.
        if quiet.is_empty() || !shared.connected() {
            continue;
        }
        match wanted(&quiet).and_then(|wanted| metadata.ends(wanted)) {
            Ok(ends) => tell(&quiet, &ends),
            Err(error) => debug!(%error, "where logs end is not known; asking again"),
        }
    }
}

/// Starts the thread that asks; it ends when the sender is dropped.
///
/// # Errors
/// When the system refuses a thread.
pub(super) fn start(
    shared: &Arc<MemberShared>,
    metadata: &Arc<MetadataClient>,
    config: &KafkaConfig,
) -> std::io::Result<mpsc::Sender<()>> {
    let (sender, ended) = mpsc::channel();
    let (shared, metadata, config) = (Arc::clone(shared), Arc::clone(metadata), config.clone());
    thread::Builder::new().name("kafka-ends".to_owned()).spawn(move || ask(&shared, &metadata, &config, &ended))?;
    Ok(sender)
}

/// Looks for members that are no instances of this service.
fn ask_group(shared: &MemberShared, metadata: &MetadataClient, config: &KafkaConfig) {
    let strangers = match metadata.group() {
        Ok(group) => group.and_then(|group| group.strangers(config)),
        Err(error) => {
            debug!(%error, "who is in the group is not known; asking again");
            return;
        }
    };
    if let Some(strangers) = &strangers
        && shared.voice.due("strangers")
    {
        warn!("{strangers}");
    }
    *shared.strangers.lock() = strangers;
}

fn wanted(inboxes: &[Arc<Inbox>]) -> KafkaResult<TopicPartitionList> {
    let mut wanted = TopicPartitionList::with_capacity(inboxes.len());
    for inbox in inboxes {
        wanted.add_partition_offset(&inbox.id.topic, inbox.id.partition, Offset::End)?;
    }
    Ok(wanted)
}

fn tell(inboxes: &[Arc<Inbox>], ends: &TopicPartitionList) {
    let ends: HashMap<(String, i32), Offset> = ends
        .elements()
        .iter()
        .filter(|element| element.error().is_ok())
        .map(|element| ((element.topic().to_owned(), element.partition()), element.offset()))
        .collect();
    for inbox in inboxes {
        if let Some(Offset::Offset(end)) = ends.get(&(inbox.id.topic.to_string(), inbox.id.partition)) {
            inbox.ends(*end);
        }
    }
}
