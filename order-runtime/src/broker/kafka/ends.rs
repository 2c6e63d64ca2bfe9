//! Asks where logs end of which no fetch tells: of partitions that are paused or held, and of those of which nothing has come
//! for a while. So the lag is true while nothing is fetched, and fetching that has stopped without a word is noticed.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use rdkafka::{Offset, TopicPartitionList, error::KafkaResult};
use tracing::debug;

use super::{inbox::Inbox, inquirer::Inquirer, member::Shared};

/// How often it asks.
const EVERY: Duration = Duration::from_secs(5);

/// Asks until the other end of the channel is dropped. One request a broker, whatever the number of partitions.
pub(super) fn ask(shared: &Shared, inquirer: &Inquirer, ended: &mpsc::Receiver<()>) {
    while ended.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
        let quiet: Vec<_> = shared.inboxes.lock().values().filter(|inbox| inbox.is_quiet()).cloned().collect();
        // Without a broker each question would only take its time.
        if quiet.is_empty() || !shared.connected() {
            continue;
        }
        match wanted(&quiet).and_then(|wanted| inquirer.ends(wanted)) {
            Ok(ends) => tell(&quiet, &ends),
            Err(error) => debug!(%error, "where logs end is not known; asking again"),
        }
    }
}

/// Starts the thread that asks; it ends when the sender is dropped.
///
/// # Errors
/// When the system refuses a thread.
pub(super) fn start(shared: &Arc<Shared>, inquirer: &Arc<Inquirer>) -> std::io::Result<mpsc::Sender<()>> {
    let (sender, ended) = mpsc::channel();
    let (shared, inquirer) = (Arc::clone(shared), Arc::clone(inquirer));
    thread::Builder::new().name("kafka-ends".to_owned()).spawn(move || ask(&shared, &inquirer, &ended))?;
    Ok(sender)
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
