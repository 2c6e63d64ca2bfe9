//! Records of one partition, copied once from the client's buffers into one allocation per batch.
//!
//! A batch can move to another thread; a client's message cannot. Keys, payloads and headers lie one after the other in one
//! buffer and are borrowed from it, so a record needs no allocation of its own.

use std::{fmt, ops::Range, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use parking_lot::Mutex;

/// Consecutive records of one partition, in offset order.
#[derive(Default, Clone)]
pub struct RecordBatch {
    bytes: Vec<u8>,
    records: Vec<Meta>,
    /// The pool that gets its memory back when it is dropped.
    home: Option<Arc<Pool>>,
}

/// Memory of dropped batches, for reuse: otherwise the system would clear pages for each new batch.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Vec<(Vec<u8>, Vec<Meta>)>>);

impl Pool {
    /// The most batches whose memory is kept.
    const BATCHES: usize = 32;
    /// The most bytes that are kept of one batch; larger ones are rare.
    const BYTES: usize = 512 * 1024;

    /// An empty batch whose memory returns to this pool.
    pub(crate) fn batch(self: &Arc<Self>) -> RecordBatch {
        let (bytes, records) = self.0.lock().pop().unwrap_or_default();
        RecordBatch { bytes, records, home: Some(Arc::clone(self)) }
    }
}

impl Drop for RecordBatch {
    fn drop(&mut self) {
        let Some(home) = self.home.take() else { return };
        if self.bytes.capacity() > Pool::BYTES {
            return;
        }
        let mut kept = home.0.lock();
        if kept.len() < Pool::BATCHES {
            self.bytes.clear();
            self.records.clear();
            kept.push((std::mem::take(&mut self.bytes), std::mem::take(&mut self.records)));
        }
    }
}

#[derive(Debug, Clone)]
struct Meta {
    offset: i64,
    /// Milliseconds since the epoch; `None` when the broker gave none.
    timestamp: Option<i64>,
    key: Option<Range<usize>>,
    payload: Option<Range<usize>>,
    headers: Range<usize>,
}

impl RecordBatch {
    /// Adds a record after the others.
    pub fn push<'h>(
        &mut self,
        offset: i64,
        timestamp: Option<i64>,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    ) {
        let key = key.map(|key| self.append(key));
        let payload = payload.map(|payload| self.append(payload));
        let start = self.bytes.len();
        for (name, value) in headers {
            write_header(&mut self.bytes, name, value);
        }
        let headers = start..self.bytes.len();
        self.records.push(Meta { offset, timestamp, key, payload, headers });
    }

    /// Adds a copy of `record` after the others.
    pub fn push_record(&mut self, record: &RecordRef<'_>) {
        self.push(record.offset, record.timestamp, record.key, record.payload, record.headers());
    }

    /// Moves the records of `later` to the end of this batch.
    pub fn append_batch(&mut self, later: &mut Self) {
        if self.records.is_empty() {
            std::mem::swap(self, later);
            return;
        }
        let shift = self.bytes.len();
        let shifted = |range: &Range<usize>| range.start + shift..range.end + shift;
        self.bytes.append(&mut later.bytes);
        self.records.extend(later.records.drain(..).map(|meta| Meta {
            key: meta.key.as_ref().map(shifted),
            payload: meta.payload.as_ref().map(shifted),
            headers: shifted(&meta.headers),
            ..meta
        }));
    }

    /// Takes the first `count` records out, or all if there are fewer.
    #[must_use]
    pub fn split_front(&mut self, count: usize) -> Self {
        if count >= self.records.len() {
            return std::mem::take(self);
        }
        let mut front = Self::default();
        for index in 0..count {
            if let Some(record) = self.get(index) {
                front.push_record(&record);
            }
        }
        let mut rest = Self::default();
        for index in count..self.len() {
            if let Some(record) = self.get(index) {
                rest.push_record(&record);
            }
        }
        *self = rest;
        front
    }

    /// Drops every record and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes of keys, payloads and headers together.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The record at `index`, counted from 0.
    pub fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        let meta = self.records.get(index)?;
        Some(RecordRef {
            offset: meta.offset,
            timestamp: meta.timestamp,
            key: meta.key.clone().and_then(|range| self.bytes.get(range)),
            payload: meta.payload.clone().and_then(|range| self.bytes.get(range)),
            headers: self.bytes.get(meta.headers.clone()).unwrap_or_default(),
        })
    }

    /// The records in offset order.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

impl fmt::Debug for RecordBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads may be personal data, so only the shape is printed.
        f.debug_struct("RecordBatch").field("records", &self.len()).field("bytes", &self.size()).finish()
    }
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy)]
pub struct RecordRef<'a> {
    /// The record's offset in its partition.
    pub offset: i64,
    /// Milliseconds since the epoch; `None` when the broker gave none.
    pub timestamp: Option<i64>,
    /// The key; `None` for a record without one.
    pub key: Option<&'a [u8]>,
    /// The payload; `None` for a tombstone.
    pub payload: Option<&'a [u8]>,
    headers: &'a [u8],
}

impl<'a> RecordRef<'a> {
    /// The headers in their order. A name may be any bytes and may occur more than once.
    pub fn headers(&self) -> Headers<'a> {
        Headers { rest: self.headers }
    }

    /// The value of the last header of that name; `None` if there is none or its value is null.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        // Every record is asked for several headers, and most records have none.
        if self.headers.is_empty() {
            return None;
        }
        self.headers().last_of(name)
    }

    /// The record's time, if it has one within the range of dates.
    pub fn time(&self) -> Option<Timestamp> {
        self.timestamp.and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok())
    }

    /// The bytes of key, payload and headers together.
    pub fn size(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.payload.map_or(0, <[u8]>::len) + self.headers.len()
    }

    /// The headers as one block of bytes, for a store to keep; [`Headers::decode`] reads it.
    pub fn encoded_headers(&self) -> &'a [u8] {
        self.headers
    }
}

/// Appends a header to a block: the length of its name, the name, the length of its value or -1 for null, the value.
#[expect(clippy::inline_always, reason = "see `HeaderBlock::push_text`")]
#[inline(always)]
fn write_header(block: &mut impl BufMut, name: &[u8], value: Option<&[u8]>) {
    block.put_slice(&header_length(name.len()));
    block.put_slice(name);
    block.put_slice(&value.map_or((-1_i32).to_ne_bytes(), |value| header_length(value.len())));
    block.put_slice(value.unwrap_or_default());
}

fn header_length(length: usize) -> [u8; 4] {
    // A Kafka header is far below 2 GiB: the broker's own limit on a record is an i32.
    i32::try_from(length).unwrap_or(i32::MAX).to_ne_bytes()
}

/// The headers of a record to be published, in order, in one block of bytes, because a dead letter has more than fifteen.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderBlock(BytesMut);

impl HeaderBlock {
    /// Takes a block that [`as_bytes`](Self::as_bytes) or [`RecordRef::encoded_headers`] returned.
    pub fn from_bytes(block: Vec<u8>) -> Self {
        Self(BytesMut::from(Bytes::from(block)))
    }

    /// The block, for a store to keep.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds a header after the others. A name may be any bytes and may occur more than once.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: Option<&[u8]>) {
        write_header(&mut self.0, name.as_ref(), value);
    }

    /// Adds a header whose value is a text.
    #[expect(clippy::inline_always, reason = "a name that the caller writes out is copied without a call then")]
    #[inline(always)]
    pub(crate) fn push_text(&mut self, name: &str, value: &str) {
        write_header(&mut self.0, name.as_bytes(), Some(value.as_bytes()));
    }

    /// Adds a header whose value is a number, in decimal digits.
    pub(crate) fn push_number(&mut self, name: &str, value: impl itoa::Integer) {
        self.push_text(name, itoa::Buffer::new().format(value));
    }

    /// Adds the headers of another block after the others.
    pub(crate) fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// The headers in their order.
    pub fn iter(&self) -> Headers<'_> {
        Headers { rest: &self.0 }
    }

    /// The value of the last header of that name; `None` if there is none or its value is null.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().last_of(name)
    }

    /// The number of headers.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of names and values, and of their lengths.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Keeps the headers whose name is `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&[u8]) -> bool) {
        *self = self.iter().filter(|(name, _)| wanted(name)).collect();
    }
}

impl<'a> IntoIterator for &'a HeaderBlock {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = Headers<'a>;

    fn into_iter(self) -> Headers<'a> {
        self.iter()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Extend<(N, Option<V>)> for HeaderBlock {
    fn extend<I: IntoIterator<Item = (N, Option<V>)>>(&mut self, headers: I) {
        for (name, value) in headers {
            self.push(name, value.as_ref().map(AsRef::as_ref));
        }
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> From<Vec<(N, Option<V>)>> for HeaderBlock {
    fn from(headers: Vec<(N, Option<V>)>) -> Self {
        headers.into_iter().collect()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, Option<V>)> for HeaderBlock {
    fn from_iter<I: IntoIterator<Item = (N, Option<V>)>>(headers: I) -> Self {
        let mut block = Self::default();
        block.extend(headers);
        block
    }
}

impl fmt::Debug for HeaderBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be personal data, so only the names are printed.
        f.debug_list().entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

/// Memory that published records share. Otherwise the key, payload and headers of a dead letter would each be allocated here
/// and freed on another thread.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    rest: BytesMut,
    /// The bytes of the last piece that was allocated.
    size: usize,
}

impl Arena {
    /// The largest piece in bytes, except for a larger record. A piece is freed with the last of its records.
    const PIECE: usize = 64 * 1024;

    /// Reserves that number of bytes. The first piece fits one record; each further piece is twice as large, so that more
    /// records share it.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        if self.rest.capacity() < bytes {
            self.size = (2 * self.size).clamp(bytes, Self::PIECE.max(bytes));
            self.rest = BytesMut::with_capacity(self.size);
        }
    }

    /// A copy of these bytes.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        self.rest.extend_from_slice(bytes);
        self.rest.split().freeze()
    }

    /// The headers that `write` writes.
    pub(crate) fn headers(&mut self, write: impl FnOnce(&mut HeaderBlock)) -> HeaderBlock {
        let mut headers = HeaderBlock(std::mem::take(&mut self.rest));
        write(&mut headers);
        self.rest = headers.0.split_off(headers.0.len());
        headers
    }
}

/// The headers of a record: names and values as bytes, in order.
#[derive(Clone)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Reads a block that [`RecordRef::encoded_headers`] returned; a damaged part ends the list.
    pub fn decode(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    fn last_of(self, name: &str) -> Option<&'a [u8]> {
        self.filter(|(known, _)| *known == name.as_bytes()).last().and_then(|(_, value)| value)
    }

    fn take_length(&mut self) -> Option<i32> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        Some(i32::from_ne_bytes(*length))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let name_length = usize::try_from(self.take_length()?).ok()?;
        let name = self.take(name_length)?;
        let value = match usize::try_from(self.take_length()?) {
            Ok(length) => Some(self.take(length)?),
            Err(_negative) => None,
        };
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> RecordBatch {
        let mut batch = RecordBatch::default();
        batch.push(7, Some(1_000), Some(b"k1"), Some(b"first"), [(&b"a"[..], Some(&b"1"[..])), (b"a", None)]);
        batch.push(9, None, None, None, []);
        batch.push(12, Some(-1), Some(b""), Some(b""), [(&b"\xff"[..], Some(&b"\x00"[..]))]);
        batch
    }

    /// Offset, key, payload and number of headers.
    type Shape = (i64, Option<Vec<u8>>, Option<Vec<u8>>, usize);

    fn shape(batch: &RecordBatch) -> Vec<Shape> {
        batch
            .iter()
            .map(|r| (r.offset, r.key.map(<[u8]>::to_vec), r.payload.map(<[u8]>::to_vec), r.headers().count()))
            .collect()
    }

    #[test]
    fn a_batch_returns_the_records_that_were_pushed() {
        let batch = three();
        assert_eq!(
            shape(&batch),
            [
                (7, Some(b"k1".to_vec()), Some(b"first".to_vec()), 2),
                (9, None, None, 0),
                (12, Some(vec![]), Some(vec![]), 1),
            ]
        );
        let first = batch.get(0).expect("three records");
        assert_eq!(first.headers().collect::<Vec<_>>(), [(&b"a"[..], Some(&b"1"[..])), (b"a", None)]);
        assert_eq!(first.header("a"), None, "the last one of a name counts, and it is null");
    }

    #[test]
    fn appending_and_splitting_keep_every_record() {
        let mut batch = three();
        batch.append_batch(&mut three());
        let whole = shape(&batch);
        let front = batch.split_front(4);
        assert_eq!([shape(&front), shape(&batch)].concat(), whole);
        assert_eq!(front.len(), 4);
    }

    #[test]
    fn damaged_header_block_ends_the_list() {
        let batch = three();
        let block = batch.get(0).expect("three records").encoded_headers();
        assert_eq!(Headers::decode(&block[..block.len() - 1]).count(), 1);
    }
}
