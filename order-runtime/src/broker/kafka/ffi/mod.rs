//! Functions of librdkafka that `rdkafka` does not offer, or offers with a panic. This is the only `unsafe` code besides the
//! embedded broker. Every function reads from a live client or message, and copies before it returns.
#![allow(unsafe_code, reason = "librdkafka's C interface; each block states why it is sound")]

use std::{
    ffi::{CStr, CString, c_char, c_void},
    ptr, slice,
};

use rdkafka::{
    TopicPartitionList, bindings as sys,
    client::{Client, ClientContext},
    message::{BorrowedMessage, OwnedHeaders},
};

mod admin;
mod event_queue;
mod fetch_queue;
mod notice;

pub(super) use admin::{Described, cluster_id, describe_topics, group_members};
pub(super) use event_queue::EventQueue;
pub(super) use fetch_queue::{FetchQueue, Fetched, set_apart};

const NO_ERROR: sys::rd_kafka_resp_err_t = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// The headers of a message, with names as bytes: `rdkafka` panics on a name that is not UTF-8, and any producer may send one.
pub(super) struct MessageHeaders<'m> {
    list: *const sys::rd_kafka_headers_t,
    next: usize,
    message: std::marker::PhantomData<&'m ()>,
}

impl<'m> MessageHeaders<'m> {
    pub(super) fn of(message: &'m BorrowedMessage<'_>) -> Self {
        // SAFETY: the message is alive for 'm.
        Self::of_message(unsafe { &*message.ptr() })
    }

    fn of_message(message: &'m sys::rd_kafka_message_t) -> Self {
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive for 'm and owns the list; a message without headers leaves it null.
        let error = unsafe { sys::rd_kafka_message_headers(message, &raw mut list) };
        if error != NO_ERROR {
            list = ptr::null_mut();
        }
        Self { list, next: 0, message: std::marker::PhantomData }
    }
}

impl<'m> Iterator for MessageHeaders<'m> {
    type Item = (&'m [u8], Option<&'m [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.list.is_null() {
            return None;
        }
        let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list belongs to the message, which outlives 'm; an index after the last returns an error.
        let error =
            unsafe { sys::rd_kafka_header_get_all(self.list, self.next, &raw mut name, &raw mut value, &raw mut size) };
        if error != NO_ERROR {
            return None;
        }
        self.next += 1;
        // SAFETY: a name ends with NUL; a value that is not null has `size` bytes; both live as long as the message.
        unsafe {
            let name = CStr::from_ptr(name).to_bytes();
            let value = (!value.is_null()).then(|| slice::from_raw_parts(value.cast::<u8>(), size));
            Some((name, value))
        }
    }
}

/// Adds a header to an outgoing record. Its name may be any bytes, whereas `rdkafka` accepts text only.
pub(super) fn add_header(headers: &mut OwnedHeaders, name: &[u8], value: Option<&[u8]>) {
    let length = |bytes: &[u8]| isize::try_from(bytes.len()).unwrap_or(isize::MAX);
    let (place, size) = value.map_or((ptr::null(), 0), |value| (value.as_ptr().cast::<c_void>(), length(value)));
    // The `BorrowedHeaders` of `rdkafka` are the list itself.
    let list = ptr::from_ref(headers.as_borrowed()).cast::<sys::rd_kafka_headers_t>().cast_mut();
    // SAFETY: the list is alive and nothing else uses it; name and value are copied before the call returns.
    let error = unsafe { sys::rd_kafka_header_add(list, name.as_ptr().cast(), length(name), place, size) };
    debug_assert_eq!(error, NO_ERROR, "an unsent list accepts headers");
}

/// A partition with its committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommittedOffset {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// `None` if the group has none.
    pub(super) offset: Option<i64>,
    /// Bytes that are not UTF-8 are replaced: another program has written them.
    pub(super) metadata: String,
}

/// The elements of a list. `rdkafka` panics on metadata that is not UTF-8, and any member of the group may write such metadata.
pub(super) fn committed(list: &TopicPartitionList) -> Vec<CommittedOffset> {
    // SAFETY: the list is alive; its elements are `cnt` consecutive structs whose topic is a C string and whose
    // metadata is null or `metadata_size` bytes.
    unsafe {
        let list = &*list.ptr();
        let Ok(count) = usize::try_from(list.cnt) else { return Vec::new() };
        if list.elems.is_null() {
            return Vec::new();
        }
        let elements = slice::from_raw_parts(list.elems, count);
        elements
            .iter()
            .map(|element| {
                let metadata = if element.metadata.is_null() {
                    &[]
                } else {
                    slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size)
                };
                CommittedOffset {
                    topic: CStr::from_ptr(element.topic).to_string_lossy().into_owned(),
                    partition: element.partition,
                    offset: (element.offset >= 0 && element.err == NO_ERROR).then_some(element.offset),
                    metadata: String::from_utf8_lossy(metadata).into_owned(),
                }
            })
            .collect()
    }
}

/// The log's end as the last fetch reported it, without a request. `None` before the first fetch.
pub(super) fn known_log_end<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive; the topic is a C string; both results are written before the call returns.
    let error = unsafe {
        sys::rd_kafka_get_watermark_offsets(client.native_ptr(), topic.as_ptr(), partition, &raw mut low, &raw mut high)
    };
    (error == NO_ERROR && high >= 0).then_some(high)
}

/// The number of events that wait to be polled.
pub(super) fn waiting_events<C: ClientContext>(client: &Client<C>) -> usize {
    // SAFETY: the client is alive; the reference to its queue is released. A client without a group has none.
    unsafe {
        let queue = sys::rd_kafka_queue_get_consumer(client.native_ptr());
        if queue.is_null() {
            return 0;
        }
        let events = sys::rd_kafka_queue_length(queue);
        sys::rd_kafka_queue_destroy(queue);
        events
    }
}

/// Whether the client has a member id in its group. In the classic protocol, it loses the id when it requests to leave.
pub(super) fn has_member_id<C: ClientContext>(client: &Client<C>) -> bool {
    // SAFETY: the client is alive; the text is read before it is freed, by librdkafka's own function.
    unsafe {
        let id = sys::rd_kafka_memberid(client.native_ptr());
        if id.is_null() {
            return false;
        }
        let has_one = !CStr::from_ptr(id).to_bytes().is_empty();
        sys::rd_kafka_mem_free(client.native_ptr(), id.cast());
        has_one
    }
}
