//! Which events of a key were applied already: the ring of the key's last events, and the ids that it compares.
//!
//! The ring lies in one row with its key and is loaded and written with the batch, because one global index of random ids
//! is what would cost. It excludes repeats and replays of an id among the key's last [`Ring::CAPACITY`] events; that a record
//! is delivered twice is excluded by the partition's position.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::broker::PartitionId;

/// The id of an event whose producer gave it none: where its record lies, which no other record shares.
pub(crate) fn id_of_place(partition: &PartitionId, offset: i64) -> String {
    format!("{}/{}/{}/{offset}", partition.cluster, partition.topic_id, partition.partition)
}

/// The id of the dead letter of the record that lies there: 32 hexadecimal digits, the same after every repetition.
pub(crate) fn dead_letter_id(partition: &PartitionId, offset: i64) -> String {
    let mut id = String::with_capacity(32);
    // Writing to a string cannot fail.
    let _ = write!(id, "{:032x}", xxh3_128(id_of_place(partition, offset).as_bytes()));
    id
}

/// The id of the `index`-th event that the event `cause` has emitted: 32 hexadecimal digits, the same after every repetition.
pub(crate) fn emitted_id(cause: &str, index: usize) -> String {
    format!("{:032x}", xxh3_128(format!("{cause}/{index}").as_bytes()))
}

/// The hash that tells a repeat of an event from another event under the same id.
pub(crate) fn payload_hash(payload: Option<&[u8]>) -> u128 {
    xxh3_128(payload.unwrap_or_default())
}

/// The key of the ring of a partition's records without a key.
pub(crate) fn ring_key_without_key(partition: &PartitionId) -> Vec<u8> {
    let mut name = vec![0];
    name.extend_from_slice(format!("{}/{}/{}", partition.cluster, partition.topic_id, partition.partition).as_bytes());
    name
}

/// The longest Kafka key whose ring is named by the key itself; PostgreSQL's index takes no row of more than 2,704 bytes.
pub(crate) const LONGEST_KEY: usize = 1024;

/// The key of the ring of a Kafka key; unless it is that long, the name of its lane too.
pub fn ring_key_of(key: &[u8]) -> Vec<u8> {
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

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It was handled.
    Handled,
    /// It needed nothing.
    Skipped,
    /// It was dead-lettered.
    DeadLettered,
}

impl Fate {
    /// Its name, as it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::Skipped => "skipped",
            Self::DeadLettered => "dead_lettered",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Handled => 1,
            Self::Skipped => 2,
            Self::DeadLettered => 3,
        }
    }

    const fn of(code: u8) -> Self {
        match code {
            2 => Self::Skipped,
            3 => Self::DeadLettered,
            _ => Self::Handled,
        }
    }
}

/// One event in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingEntry<'a> {
    /// Its id.
    pub id: &'a str,
    /// The hash of its payload.
    pub hash: u128,
    /// What became of it.
    pub fate: Fate,
    /// Its name; empty where it could not be decoded.
    pub name: &'a str,
    /// When it was settled.
    pub at: Timestamp,
}

/// The last events of one key, as the bytes that a store keeps.
///
/// Layout: a version byte, then the entries, oldest first: hash of the id (16), hash of the payload (16), fate (1),
/// microseconds since the epoch (8), length of the name (1), length of the id (2), name, id; numbers little-endian. It is searched in
/// place, by the hash of the id, so a look-up allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    bytes: Vec<u8>,
    entries: usize,
}

const VERSION: u8 = 1;
const FIXED: usize = 16 + 16 + 1 + 8 + 1 + 2;

impl Default for Ring {
    fn default() -> Self {
        Self { bytes: vec![VERSION], entries: 0 }
    }
}

impl Ring {
    /// The events that a ring holds; the oldest leaves when one more comes.
    pub const CAPACITY: usize = 512;

    /// Reads what [`as_bytes`](Self::as_bytes) gave. A damaged tail is dropped.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        if bytes.first() != Some(&VERSION) {
            return Self::default();
        }
        let mut ring = Self { bytes, entries: 0 };
        let mut end = 1;
        while let Some(raw) = ring.raw(end) {
            end = raw.end;
            ring.entries += 1;
        }
        ring.bytes.truncate(end);
        ring
    }

    /// The bytes for a store to keep.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, of a ring that is not needed any more.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The entry of that id.
    pub fn find(&self, id: &str) -> Option<RingEntry<'_>> {
        if self.entries == 0 {
            return None;
        }
        self.place(hash_of_id(id)).and_then(|raw| self.entry(&raw))
    }

    /// Adds an event; when the ring is full the oldest leaves.
    pub fn push(&mut self, entry: &RingEntry<'_>) {
        self.append(entry, hash_of_id(entry.id));
    }

    fn append(&mut self, entry: &RingEntry<'_>, hash_of_id: [u8; 16]) {
        if self.entries == Self::CAPACITY
            && let Some(oldest) = self.raw(1)
        {
            self.bytes.drain(1..oldest.end);
            self.entries -= 1;
        }
        // The envelope bounds names and ids to 256 bytes; a name of exactly 256 is cut by one character at most.
        let name = cut(entry.name, usize::from(u8::MAX));
        let id = cut(entry.id, usize::from(u16::MAX));
        self.bytes.extend_from_slice(&hash_of_id);
        self.bytes.extend_from_slice(&entry.hash.to_le_bytes());
        self.bytes.push(entry.fate.code());
        self.bytes.extend_from_slice(&entry.at.as_microsecond().to_le_bytes());
        self.bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(&u16::try_from(id.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(id.as_bytes());
        self.entries += 1;
    }

    /// Replaces the entry of that id, as a replay does.
    pub fn replace(&mut self, entry: &RingEntry<'_>) {
        let hash_of_id = hash_of_id(entry.id);
        if let Some(raw) = self.place(hash_of_id) {
            self.bytes.drain(raw.start..raw.end);
            self.entries -= 1;
        }
        self.append(entry, hash_of_id);
    }

    /// The entries, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = RingEntry<'_>> {
        let mut at = 1;
        std::iter::from_fn(move || {
            let raw = self.raw(at)?;
            at = raw.end;
            self.entry(&raw)
        })
    }

    /// The entries as JSON, oldest first: the body of `GET /{name}/{id}/events`.
    pub fn history(&self) -> serde_json::Value {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct View<'a> {
            event_id: &'a str,
            event_name: &'a str,
            outcome: Fate,
            at: Timestamp,
        }
        let views: Vec<_> = self
            .iter()
            .map(|entry| View { event_id: entry.id, event_name: entry.name, outcome: entry.fate, at: entry.at })
            .collect();
        serde_json::to_value(views).unwrap_or_default()
    }

    fn place(&self, wanted: [u8; 16]) -> Option<Raw> {
        let mut at = 1;
        while let Some(raw) = self.raw(at) {
            if self.bytes.get(raw.start..raw.start + 16) == Some(&wanted) {
                return Some(raw);
            }
            at = raw.end;
        }
        None
    }

    fn raw(&self, start: usize) -> Option<Raw> {
        let fixed = self.bytes.get(start..start + FIXED)?;
        let name = usize::from(fixed[41]);
        let id = usize::from(u16::from_le_bytes([fixed[42], fixed[43]]));
        let end = start + FIXED + name + id;
        (end <= self.bytes.len()).then_some(Raw { start, name: start + FIXED, id: start + FIXED + name, end })
    }

    fn entry(&self, raw: &Raw) -> Option<RingEntry<'_>> {
        let fixed = self.bytes.get(raw.start..raw.name)?;
        let hash = u128::from_le_bytes(fixed.get(16..32)?.try_into().ok()?);
        let at = i64::from_le_bytes(fixed.get(33..41)?.try_into().ok()?);
        Some(RingEntry {
            id: std::str::from_utf8(self.bytes.get(raw.id..raw.end)?).unwrap_or_default(),
            hash,
            fate: Fate::of(*fixed.get(32)?),
            name: std::str::from_utf8(self.bytes.get(raw.name..raw.id)?).unwrap_or_default(),
            at: Timestamp::from_microsecond(at).unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }
}

fn hash_of_id(id: &str) -> [u8; 16] {
    xxh3_128(id.as_bytes()).to_le_bytes()
}

/// The places of one entry's parts.
struct Raw {
    start: usize,
    name: usize,
    id: usize,
    end: usize,
}

/// The first `limit` bytes of a text at most, never half a character.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, fate: Fate) -> RingEntry<'_> {
        RingEntry { id, hash: 7, fate, name: "ThingHappened", at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn an_event_is_found_by_its_id_after_a_round_trip() {
        let mut ring = Ring::default();
        ring.push(&entry("a", Fate::Handled));
        ring.push(&entry("b", Fate::DeadLettered));
        let ring = Ring::from_bytes(ring.as_bytes().to_vec());
        assert_eq!(ring.find("b"), Some(entry("b", Fate::DeadLettered)));
        assert_eq!(ring.find("c"), None);
        assert_eq!(ring.iter().map(|entry| entry.id).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_full_ring_forgets_the_oldest() {
        let mut ring = Ring::default();
        for number in 0..=Ring::CAPACITY {
            ring.push(&entry(&number.to_string(), Fate::Handled));
        }
        assert_eq!(ring.find("0"), None);
        assert!(ring.find("1").is_some());
        assert_eq!(ring.iter().count(), Ring::CAPACITY);
        assert_eq!(Ring::from_bytes(ring.as_bytes().to_vec()), ring);
    }

    #[test]
    fn a_replay_replaces_its_entry() {
        let mut ring = Ring::default();
        ring.push(&entry("a", Fate::DeadLettered));
        ring.push(&entry("b", Fate::Handled));
        ring.replace(&entry("a", Fate::Handled));
        assert_eq!(ring.find("a").map(|entry| entry.fate), Some(Fate::Handled));
        assert_eq!(ring.iter().count(), 2);
    }

    #[test]
    fn damage_never_panics_and_keeps_what_is_whole() {
        let mut ring = Ring::default();
        ring.push(&entry("a", Fate::Handled));
        ring.push(&entry("b", Fate::Handled));
        let bytes = ring.as_bytes();
        for length in 0..bytes.len() {
            let read = Ring::from_bytes(bytes[..length].to_vec());
            assert!(read.iter().count() <= 2);
        }
        assert_eq!(Ring::from_bytes(bytes[..bytes.len() - 1].to_vec()).iter().count(), 1);
    }

    #[test]
    fn names_of_rings_are_short_and_never_the_same() {
        let key = |length: usize| ring_key_of(&vec![b'k'; length]);
        assert!((0..5_000).all(|length| key(length).len() <= LONGEST_KEY + 1));
        let names: std::collections::HashSet<_> = (0..5_000).map(key).collect();
        assert_eq!(names.len(), 5_000);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
