//! The deduplication window of a key: its last events, as the bytes that a store keeps.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::model::cut;

/// The outcome of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EventOutcome {
    /// A processor handled it.
    Handled,
    /// It needed no work.
    Skipped,
    /// It became a dead letter.
    DeadLettered,
}

impl EventOutcome {
    /// Its name, as users see it.
    pub(crate) const fn as_str(self) -> &'static str {
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

    const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Handled),
            2 => Some(Self::Skipped),
            3 => Some(Self::DeadLettered),
            _ => None,
        }
    }
}

/// The hashes that a window keeps of an event, to compare it with later events of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fingerprint {
    /// Hashes of its source and its content.
    Content {
        /// The hash of a `CloudEvent`'s `source`; 0 for an event without one.
        source: u64,
        /// The hash of its name, version and data: see the module `content`.
        content: u64,
    },
    /// The hash of its payload's bytes; only for an event that an earlier release settled, which stored nothing else.
    Payload(u128),
}

impl Fingerprint {
    /// Whether it may belong to an event of that source. An earlier release did not store sources, so its entries match any.
    fn is_of(self, wanted: u64) -> bool {
        match self {
            Self::Content { source, .. } => source == wanted,
            Self::Payload(_) => true,
        }
    }

    const fn to_bytes(self) -> [u8; 16] {
        match self {
            Self::Content { source, content } => (((source as u128) << 64) | content as u128).to_le_bytes(),
            Self::Payload(hash) => hash.to_le_bytes(),
        }
    }

    const fn of(is_payload: bool, bytes: [u8; 16]) -> Self {
        let hash = u128::from_le_bytes(bytes);
        if is_payload {
            return Self::Payload(hash);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the halves of the number")]
        Self::Content { source: (hash >> 64) as u64, content: hash as u64 }
    }
}

/// One event in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DedupEntry<'a> {
    /// Its id.
    pub(crate) id: Cow<'a, str>,
    /// The fingerprint that distinguishes it from other events of this id.
    pub(crate) print: Fingerprint,
    /// Its outcome.
    pub(crate) outcome: EventOutcome,
    /// Its name; empty if the event could not be decoded.
    pub(crate) name: &'a str,
    /// When it was settled.
    pub(crate) at: Timestamp,
}

impl DedupEntry<'_> {
    /// The hash of its source; 0 if it has none or the source is unknown.
    pub(crate) fn source(&self) -> u64 {
        match self.print {
            Fingerprint::Content { source, .. } => source,
            Fingerprint::Payload(_) => 0,
        }
    }
}

/// Why a window cannot be read. It is then unknown which events of the key were applied, so none of them may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnreadableWindow {
    /// A newer release wrote it in an unknown layout.
    #[error(
        "the key's deduplication window was written by a newer release (layout {0}, this one knows {VERSION}); run that release"
    )]
    Newer(u8),
    /// Its bytes end too early or do not follow the layout.
    #[error(
        "the key's deduplication window is damaged; restore the store from a backup, or give up the events of this key"
    )]
    Damaged,
}

/// The deduplication window of one key: its last events, as the bytes that a store keeps.
///
/// Layout: a version byte, then the entries, oldest first. An entry is: kind of the fingerprint, form of the id and outcome (1
/// byte), length of the name (1), fingerprint (16), microseconds since the epoch (8), id, name; numbers are little-endian. A UUID
/// is stored as 16 bytes, any other id as its length (2) and its text. The layout is compact because windows are half of the
/// bytes that the store writes for an event. Look-ups search these bytes in place; one without a match allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DedupWindow {
    /// Empty if there are no entries.
    bytes: Vec<u8>,
    entries: usize,
}

/// The current layout. A new layout needs a migration of the store's schema, so that releases that cannot read it refuse the
/// store when they start.
///
/// Version 2 has the same layout without the bit [`PAYLOAD`]: all its fingerprints are hashes of payloads.
const VERSION: u8 = 3;
/// The bit of an entry's first byte that marks a fingerprint of the payload's bytes.
const PAYLOAD: u8 = 0x40;
/// The bytes of an entry before its id.
const FIXED: usize = 1 + 1 + 16 + 8;

impl DedupWindow {
    /// The number of events in a full window; a further event replaces the oldest.
    pub(crate) const CAPACITY: usize = 512;

    /// Reads the bytes that [`as_bytes`](Self::as_bytes) returned, also in the layouts of earlier releases.
    ///
    /// # Errors
    /// If a part cannot be read. A shortened window would forget events, and their repeats would be applied.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Result<Self, UnreadableWindow> {
        let is_version_2 = match bytes.first() {
            None => return Ok(Self::default()),
            Some(&VERSION) => false,
            Some(2) => true,
            Some(1) => return Self::from_version_1(&bytes[1..]),
            Some(&version) if version > VERSION => return Err(UnreadableWindow::Newer(version)),
            Some(_) => return Err(UnreadableWindow::Damaged),
        };
        let mut window = Self { bytes, entries: 0 };
        let mut end = 1;
        while let Some(raw) = window.raw(end) {
            let start = end;
            end += raw.bytes.len();
            window.entries += 1;
            if is_version_2 {
                window.bytes[start] |= PAYLOAD;
            }
        }
        if is_version_2 {
            window.bytes[0] = VERSION;
        }
        if end == window.bytes.len() { Ok(window) } else { Err(UnreadableWindow::Damaged) }
    }

    /// Reads the first layout, which stored each id as text: hash of the id (16), hash of the payload (16), outcome (1),
    /// microseconds (8), length of the name (1), length of the id (2), name, id.
    fn from_version_1(mut bytes: &[u8]) -> Result<Self, UnreadableWindow> {
        let mut window = Self::default();
        while let Some((fixed, rest)) = bytes.split_first_chunk::<44>()
            && let Some((name, rest)) = rest.split_at_checked(usize::from(fixed[41]))
            && let Some((id, rest)) = rest.split_at_checked(usize::from(u16::from_le_bytes([fixed[42], fixed[43]])))
            && let Some(outcome) = EventOutcome::of(fixed[32])
        {
            window.push(&DedupEntry {
                id: String::from_utf8_lossy(id),
                print: Fingerprint::Payload(u128::from_le_bytes(part(fixed, 16))),
                outcome,
                name: std::str::from_utf8(name).unwrap_or_default(),
                at: time(part(fixed, 33)),
            });
            bytes = rest;
        }
        if bytes.is_empty() { Ok(window) } else { Err(UnreadableWindow::Damaged) }
    }

    /// The bytes that a store keeps.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Like [`as_bytes`](Self::as_bytes), but consumes the window.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The entry of an event with that id and source; see [`Fingerprint`].
    pub(crate) fn find(&self, id: &str, source: u64) -> Option<DedupEntry<'_>> {
        if self.entries == 0 {
            return None;
        }
        self.place(&Id::of(id), source).map(|raw| raw.entry())
    }

    /// Adds an event; a full window drops the oldest.
    pub(crate) fn push(&mut self, entry: &DedupEntry<'_>) {
        self.append(entry, &Id::of(&entry.id));
    }

    fn append(&mut self, entry: &DedupEntry<'_>, id: &Id<'_>) {
        if self.entries == Self::CAPACITY
            && let Some(oldest) = self.raw(1)
        {
            let end = 1 + oldest.bytes.len();
            self.bytes.drain(1..end);
            self.entries -= 1;
        }
        // The envelope bounds names to 256 bytes; a name of exactly 256 is cut by one character at most.
        let name = cut(entry.name, usize::from(u8::MAX));
        self.bytes.reserve(1 + FIXED + 2 + id.as_bytes().len() + name.len());
        if self.bytes.is_empty() {
            self.bytes.push(VERSION);
        }
        let is_payload = matches!(entry.print, Fingerprint::Payload(_));
        self.bytes.push(if is_payload { PAYLOAD } else { 0 } | id.form() << 4 | entry.outcome.code());
        self.bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(&entry.print.to_bytes());
        self.bytes.extend_from_slice(&entry.at.as_microsecond().to_le_bytes());
        if let Id::Text(text) = id {
            self.bytes.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
        }
        self.bytes.extend_from_slice(id.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.entries += 1;
    }

    /// Removes the entry of that id and source, if there is one, and adds this one as the newest. Replays use it.
    pub(crate) fn replace(&mut self, entry: &DedupEntry<'_>) {
        let id = Id::of(&entry.id);
        if let Some(raw) = self.place(&id, entry.source()) {
            let (start, end) = (raw.start, raw.start + raw.bytes.len());
            self.bytes.drain(start..end);
            self.entries -= 1;
        }
        self.append(entry, &id);
    }

    /// The entries, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = DedupEntry<'_>> {
        self.raws().map(|raw| raw.entry())
    }

    fn place(&self, wanted: &Id<'_>, source: u64) -> Option<Raw<'_>> {
        self.raws().find(|raw| raw.id == *wanted && raw.print().is_of(source))
    }

    fn raws(&self) -> impl Iterator<Item = Raw<'_>> {
        let mut at = 1;
        std::iter::from_fn(move || {
            let raw = self.raw(at)?;
            at += raw.bytes.len();
            Some(raw)
        })
    }

    fn raw(&self, start: usize) -> Option<Raw<'_>> {
        let bytes = self.bytes.get(start..)?;
        let (fixed, rest) = bytes.split_first_chunk::<FIXED>()?;
        let outcome = EventOutcome::of(fixed[0] & 0xf)?;
        let (id, rest) = Id::read((fixed[0] & !PAYLOAD) >> 4, rest)?;
        let name = rest.get(..usize::from(fixed[1]))?;
        let length = bytes.len() - rest.len() + name.len();
        Some(Raw { start, bytes: &bytes[..length], fixed, outcome, id, name })
    }
}

/// An id as a window stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id<'a> {
    Text(&'a [u8]),
    /// With hyphens, in lower case.
    Hyphenated(Uuid),
    /// Of 32 digits, in lower case.
    Simple(Uuid),
}

impl<'a> Id<'a> {
    fn of(id: &'a str) -> Self {
        // Only a UUID in lower case can be restored from its bytes exactly as it was written.
        let uuid = || Uuid::try_parse(id).ok().filter(|_| !id.bytes().any(|byte| byte.is_ascii_uppercase()));
        match id.len() {
            36 => uuid().map(Self::Hyphenated),
            32 => uuid().map(Self::Simple),
            _ => None,
        }
        // The envelope bounds ids to 256 bytes.
        .unwrap_or_else(|| Self::Text(cut(id, usize::from(u16::MAX)).as_bytes()))
    }

    /// The id at the beginning of `bytes`, and the bytes after it.
    fn read(form: u8, bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if form == Self::TEXT {
            let (length, rest) = bytes.split_first_chunk()?;
            let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            return Some((Self::Text(text), rest));
        }
        let id = match form {
            Self::SIMPLE => Self::Simple,
            Self::HYPHENATED => Self::Hyphenated,
            _ => return None,
        };
        let (uuid, rest) = bytes.split_first_chunk()?;
        Some((id(Uuid::from_bytes(*uuid)), rest))
    }

    const TEXT: u8 = 0;
    const HYPHENATED: u8 = 1;
    const SIMPLE: u8 = 2;

    const fn form(&self) -> u8 {
        match self {
            Self::Text(_) => Self::TEXT,
            Self::Hyphenated(_) => Self::HYPHENATED,
            Self::Simple(_) => Self::SIMPLE,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text,
            Self::Hyphenated(uuid) | Self::Simple(uuid) => uuid.as_bytes(),
        }
    }

    fn to_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => String::from_utf8_lossy(text),
            Self::Hyphenated(uuid) => uuid.hyphenated().to_string().into(),
            Self::Simple(uuid) => uuid.simple().to_string().into(),
        }
    }
}

/// The `N` bytes at `start` of the fixed part of an entry.
fn part<const N: usize>(fixed: &[u8], start: usize) -> [u8; N] {
    fixed.get(start..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn time(microseconds: [u8; 8]) -> Timestamp {
    Timestamp::from_microsecond(i64::from_le_bytes(microseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// One entry in the bytes of its window, which it begins at `start`.
struct Raw<'a> {
    start: usize,
    bytes: &'a [u8],
    fixed: &'a [u8; FIXED],
    outcome: EventOutcome,
    id: Id<'a>,
    name: &'a [u8],
}

impl<'a> Raw<'a> {
    fn print(&self) -> Fingerprint {
        Fingerprint::of(self.fixed[0] & PAYLOAD != 0, part(self.fixed, 2))
    }

    fn entry(&self) -> DedupEntry<'a> {
        DedupEntry {
            id: self.id.to_text(),
            print: self.print(),
            outcome: self.outcome,
            name: std::str::from_utf8(self.name).unwrap_or_default(),
            at: time(part(self.fixed, 18)),
        }
    }
}

#[cfg(test)]
mod tests;
