//! The identity of events: the deduplication window of each key, and the ids and fingerprints that it compares.
//!
//! A deduplication window is one row of the store, loaded and written with the batch, because a global index of random ids
//! would be expensive. It excludes repeats and replays of an id among the key's last [`DedupWindow::CAPACITY`] events. The
//! partition's position excludes a second delivery of the same record.

mod content;
mod window;

use uuid::Uuid;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

pub(crate) use crate::identity::window::{DedupEntry, DedupWindow, EventOutcome, Fingerprint, UnreadableWindow};
use crate::{
    decode::Envelope,
    model::{DeadLetterId, PartitionId},
};

/// The name of a partition. It includes the topic's id, so it differs from that of a topic created again under the same name.
pub(crate) fn name_of(partition: &PartitionId) -> String {
    format!("{}/{}/{}", partition.cluster, partition.topic_id, partition.partition)
}

/// The id of an event whose producer gave it none: the partition and offset of its record, which are unique.
pub(crate) fn id_of_place(partition_name: &str, offset: i64) -> String {
    [partition_name, "/", itoa::Buffer::new().format(offset)].concat()
}

/// The id of the `index`-th event that the event `cause` emits: 32 hexadecimal digits, the same in every attempt.
pub(crate) fn emitted_id(cause: &str, index: usize) -> String {
    // The hash is not a UUID; `Uuid` only writes its 32 digits, which is faster than `format!`.
    let id = Uuid::from_u128(xxh3_128(format!("{cause}/{index}").as_bytes())).simple();
    id.encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

/// The id of the dead letter of the record at this offset, the same in every attempt.
pub(crate) fn dead_letter_id(partition_name: &str, offset: i64) -> DeadLetterId {
    xxh3_128(id_of_place(partition_name, offset).as_bytes()).into()
}

/// The hash of a `CloudEvent`'s source; 0 for an event without one.
pub(crate) fn source_hash(envelope: &Envelope<'_>) -> u64 {
    envelope.source.as_ref().map_or(0, |source| xxh3_64(source.as_bytes()))
}

/// The fingerprint that distinguishes an event from others of the same id: hashes of its source and its content.
pub(crate) fn fingerprint(envelope: &Envelope<'_>) -> Fingerprint {
    let content = content::hash(&envelope.name, envelope.version, &envelope.data);
    Fingerprint::Content { source: source_hash(envelope), content }
}

/// The hash of a record's payload, byte for byte.
pub(crate) fn payload_hash(payload: Option<&[u8]>) -> u128 {
    xxh3_128(payload.unwrap_or_default())
}

/// The window key for a partition's records without a Kafka key.
pub(crate) fn window_key_without_key(partition_name: &str) -> Vec<u8> {
    let mut name = vec![0];
    name.extend_from_slice(partition_name.as_bytes());
    name
}

/// The longest Kafka key, in bytes, that is part of its window key; of a longer one the window key has the hash. PostgreSQL's
/// index accepts no row of more than 2,704 bytes.
pub(crate) const LONGEST_KEY: usize = 1024;

/// The key of the deduplication window of a Kafka key. For a Kafka key of at most 1,024 bytes it also names the key queue.
pub(crate) fn window_key_of(key: &[u8]) -> Vec<u8> {
    if key.len() > LONGEST_KEY {
        let mut name = vec![2];
        name.extend_from_slice(&xxh3_128(key).to_be_bytes());
        return name;
    }
    let mut name = Vec::with_capacity(key.len() + 1);
    name.push(1);
    name.extend_from_slice(key);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_windows_are_short_and_never_the_same() {
        let key = |length: usize| window_key_of(&vec![b'k'; length]);
        assert!((0..5_000).all(|length| key(length).len() <= LONGEST_KEY + 1));
        let names: std::collections::HashSet<_> = (0..5_000).map(key).collect();
        assert_eq!(names.len(), 5_000);
    }
}
