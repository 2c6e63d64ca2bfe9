//! Requests the log ends that no fetch reports: those of partitions that are paused or held, and of partitions whose records have
//! not arrived for a while. So the lag stays correct while nothing is fetched, and a silent stop of fetching is detected.

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

/// The interval between requests for log ends.
const EVERY: Duration = Duration::from_secs(5);
/// The interval between requests for the members of the group.
const GROUP_EVERY: Duration = Duration::from_secs(30);

/// Sends requests until the other end of the channel is dropped: one per broker, whatever the number of partitions.
fn ask(shared: &MemberShared, metadata: &MetadataClient, config: &KafkaConfig, ended: &mpsc::Receiver<()>) {
    let mut group_asked: Option<Instant> = None;
    while ended.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
        if shared.connected() && group_asked.is_none_or(|asked| asked.elapsed() >= GROUP_EVERY) {
            group_asked = Some(Instant::now());
            ask_group(shared, metadata, config);
        }
        let quiet: Vec<_> = shared.inboxes.lock().values().filter(|inbox| inbox.is_quiet()).cloned().collect();
        // Without a connected broker, each request would only time out.
        if quiet.is_empty() || !shared.connected() {
            continue;
        }
        match wanted(&quiet).and_then(|wanted| metadata.ends(wanted)) {
            Ok(ends) => tell(&quiet, &ends),
            Err(error) => debug!(%error, "the ends of logs are unknown; asking again"),
        }
    }
}

/// Starts the thread that sends the requests. It ends when the returned sender is dropped.
///
/// # Errors
/// When the system cannot start a thread.
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

/// Looks for members that are not instances of this service.
fn ask_group(shared: &MemberShared, metadata: &MetadataClient, config: &KafkaConfig) {
    let strangers = match metadata.group() {
        Ok(group) => group.and_then(|group| group.strangers(config)),
        Err(error) => {
            debug!(%error, "the members of the group are unknown; asking again");
            return;
        }
    };
    if let Some(strangers) = &strangers
        && shared.log_throttle.due("strangers")
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
