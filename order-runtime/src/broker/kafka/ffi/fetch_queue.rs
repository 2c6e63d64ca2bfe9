//! Fetches records in batches. `rdkafka` polls them one at a time, each as an event with a clock reading, a lock and an
//! allocation; `rd_kafka_consume_batch_queue` pays for these once per batch.
//!
//! It must not be used on the group member's queue, which also carries rebalances: it would handle these events itself. So
//! `rd_kafka_queue_forward` forwards the records of all partitions to a separate queue.

use std::{
    ffi::{CStr, CString, c_void},
    ptr, slice,
    sync::Arc,
};

use rdkafka::{
    bindings as sys,
    client::{Client, ClientContext},
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
};

use super::{MessageHeaders, NO_ERROR, notice::NoticedQueue};

/// The queue of the records of all partitions of a member.
pub(in crate::broker::kafka) struct FetchQueue<C: ConsumerContext + 'static> {
    queue: NoticedQueue,
    /// Outlives its queue.
    consumer: Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext> FetchQueue<C> {
    /// Creates the queue. `notice` is called when it becomes non-empty, and must not block.
    pub(in crate::broker::kafka) fn noticed(
        consumer: &Arc<BaseConsumer<C>>,
        notice: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        // SAFETY: the client lives as long as the consumer, and so longer than the queue, which is owned.
        let queue = unsafe { NoticedQueue::new(sys::rd_kafka_queue_new(consumer.client().native_ptr()), notice) };
        Self { queue, consumer: Arc::clone(consumer) }
    }

    /// Forwards a partition's records to this queue, including those that wait. It may be repeated at any time; librdkafka undoes
    /// it when it stops the partition.
    pub(in crate::broker::kafka) fn lead_here(&self, topic: &str, partition: i32) {
        forward(self.consumer.client().native_ptr(), topic, partition, self.queue.as_ptr());
    }

    /// Whether no records wait.
    pub(in crate::broker::kafka) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes at most `limit` waiting records, without blocking.
    pub(in crate::broker::kafka) fn fetch(&self, limit: usize) -> Fetch<C> {
        let mut messages = Vec::with_capacity(limit);
        let space = messages.spare_capacity_mut();
        let count = space.len().min(limit);
        // SAFETY: the queue is alive, and at most `count` pointers are written to space that the list has; the result is their
        // number, or negative.
        unsafe {
            let taken = sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, space.as_mut_ptr().cast(), count);
            messages.set_len(usize::try_from(taken).unwrap_or(0));
        }
        Fetch { messages, _consumer: Arc::clone(&self.consumer) }
    }
}

/// Keeps a partition's records in a queue of their own, until [`FetchQueue::lead_here`] forwards them. This must be done before
/// the partition is assigned; otherwise, its first records arrive among the events of the member.
pub(in crate::broker::kafka) fn set_apart<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) {
    forward(client.native_ptr(), topic, partition, ptr::null_mut());
}

fn forward(client: *mut sys::rd_kafka_t, topic: &str, partition: i32, queue: *mut sys::rd_kafka_queue_t) {
    let Ok(topic) = CString::new(topic) else { return };
    // SAFETY: client and queue are alive; the topic is a C string; the reference to the partition's queue is released.
    unsafe {
        let own = sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
        if !own.is_null() {
            sys::rd_kafka_queue_forward(own, queue);
            sys::rd_kafka_queue_destroy(own);
        }
    }
}

/// The records of one fetch, of all partitions; those of one partition are in order.
pub(in crate::broker::kafka) struct Fetch<C: ConsumerContext + 'static> {
    messages: Vec<*mut sys::rd_kafka_message_t>,
    /// Outlives its messages.
    _consumer: Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext> Fetch<C> {
    /// The records, and the errors of records that librdkafka could not read.
    pub(in crate::broker::kafka) fn iter(&self) -> impl Iterator<Item = Result<Fetched<'_>, KafkaError>> {
        self.messages.iter().map(|message| {
            // SAFETY: messages live until this is dropped.
            let message = unsafe { &**message };
            match message.err {
                NO_ERROR => Ok(Fetched { message }),
                error => Err(KafkaError::MessageConsumption(error.into())),
            }
        })
    }
}

impl<C: ConsumerContext> Drop for Fetch<C> {
    fn drop(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: the message is owned, and nothing borrows it any more.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }
}

/// A record as librdkafka holds it.
pub(in crate::broker::kafka) struct Fetched<'m> {
    message: &'m sys::rd_kafka_message_t,
}

impl<'m> Fetched<'m> {
    /// An identifier that all records of a partition share while it is assigned.
    pub(in crate::broker::kafka) fn handle(&self) -> (usize, i32) {
        (self.message.rkt as usize, self.message.partition)
    }

    pub(in crate::broker::kafka) fn topic(&self) -> &'m CStr {
        // SAFETY: a record has its topic, whose name ends with NUL and lives as long as the record.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.message.rkt)) }
    }

    pub(in crate::broker::kafka) fn partition(&self) -> i32 {
        self.message.partition
    }

    pub(in crate::broker::kafka) fn offset(&self) -> i64 {
        self.message.offset
    }

    /// Milliseconds since the epoch; `None` if the broker gave none.
    pub(in crate::broker::kafka) fn timestamp(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive.
        let time = unsafe { sys::rd_kafka_message_timestamp(self.message, &raw mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && time != -1).then_some(time)
    }

    pub(in crate::broker::kafka) fn key(&self) -> Option<&'m [u8]> {
        // SAFETY: as for `payload`.
        unsafe { bytes(self.message.key, self.message.key_len) }
    }

    pub(in crate::broker::kafka) fn payload(&self) -> Option<&'m [u8]> {
        // SAFETY: null, or that many bytes that live as long as the message.
        unsafe { bytes(self.message.payload, self.message.len) }
    }

    pub(in crate::broker::kafka) fn headers(&self) -> MessageHeaders<'m> {
        MessageHeaders::of_message(self.message)
    }
}

/// # Safety
/// `start` is null, or `length` bytes that live for 'm.
unsafe fn bytes<'m>(start: *mut c_void, length: usize) -> Option<&'m [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), length) })
}
