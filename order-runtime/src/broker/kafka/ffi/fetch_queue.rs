//! Records by the hundred. `rdkafka` polls them one at a time, each as an event with a clock, a lock and an allocation of its
//! own; `rd_kafka_consume_batch_queue` pays for these once a batch.
//!
//! It must not be used on the queue of the group member, where rebalances lie too: what is not a record it serves itself. So
//! the records of all partitions are led into a queue of their own, which is what `rd_kafka_queue_forward` is for.

use std::{
    ffi::{CStr, CString, c_void},
    marker::PhantomData,
    ptr, slice,
    time::Duration,
};

use rdkafka::{
    bindings as sys,
    client::{Client, ClientContext},
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
};

use super::{MessageHeaders, NO_ERROR};

/// The queue in which the records of a member's partitions come together.
pub(in crate::broker::kafka) struct FetchQueue<'c> {
    queue: *mut sys::rd_kafka_queue_t,
    client: *mut sys::rd_kafka_t,
    /// The member must outlive its queue.
    consumer: PhantomData<&'c ()>,
}

impl<'c> FetchQueue<'c> {
    pub(in crate::broker::kafka) fn new<C: ConsumerContext>(consumer: &'c BaseConsumer<C>) -> Self {
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive for 'c. The queue is destroyed when this is dropped.
        let queue = unsafe { sys::rd_kafka_queue_new(client) };
        Self { queue, client, consumer: PhantomData }
    }

    /// Has a partition's records come here, also those that wait. It may be done again at any time; librdkafka undoes it when
    /// it stops the partition.
    pub(in crate::broker::kafka) fn lead_here(&self, topic: &str, partition: i32) {
        forward(self.client, topic, partition, self.queue);
    }

    /// Takes at most `limit` records that are there; waits for the first one where there is none.
    pub(in crate::broker::kafka) fn fetch(&self, limit: usize, wait: Duration) -> Fetch<'c> {
        let mut messages = Vec::with_capacity(limit);
        self.take(&mut messages, limit);
        if messages.is_empty() {
            let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
            // SAFETY: the queue is alive.
            let first = unsafe { sys::rd_kafka_consume_queue(self.queue, wait) };
            if !first.is_null() {
                messages.push(first);
                // A batch is not waited for: librdkafka would wait until it is full.
                self.take(&mut messages, limit);
            }
        }
        Fetch { messages, consumer: PhantomData }
    }

    fn take(&self, messages: &mut Vec<*mut sys::rd_kafka_message_t>, limit: usize) {
        let space = messages.spare_capacity_mut();
        let count = space.len().min(limit);
        // SAFETY: the queue is alive, and at most `count` pointers are written to space that the list has; the answer says how
        // many, or is negative.
        unsafe {
            let taken = sys::rd_kafka_consume_batch_queue(self.queue, 0, space.as_mut_ptr().cast(), count);
            messages.set_len(messages.len() + usize::try_from(taken).unwrap_or(0));
        }
    }
}

impl Drop for FetchQueue<'_> {
    fn drop(&mut self) {
        // SAFETY: nobody has the queue any more; the member is alive for 'c, as librdkafka wants it. Records in it go with it.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) };
    }
}

/// Has a partition's records wait apart from everything else, until [`FetchQueue::lead_here`] leads them on. Done before the
/// partition is assigned, else its first records come among the events of the member.
pub(in crate::broker::kafka) fn set_apart<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) {
    forward(client.native_ptr(), topic, partition, ptr::null_mut());
}

fn forward(client: *mut sys::rd_kafka_t, topic: &str, partition: i32, queue: *mut sys::rd_kafka_queue_t) {
    let Ok(topic) = CString::new(topic) else { return };
    // SAFETY: client and queue are alive; the topic is a C string; the reference to the partition's queue is given back.
    unsafe {
        let own = sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
        if !own.is_null() {
            sys::rd_kafka_queue_forward(own, queue);
            sys::rd_kafka_queue_destroy(own);
        }
    }
}

/// What was taken at once, of all partitions, each in its order.
pub(in crate::broker::kafka) struct Fetch<'c> {
    messages: Vec<*mut sys::rd_kafka_message_t>,
    consumer: PhantomData<&'c ()>,
}

impl Fetch<'_> {
    /// The records, and what librdkafka could not read.
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

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: it was given to us, and nobody borrows it any more.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }
}

/// A record as librdkafka holds it.
pub(in crate::broker::kafka) struct Fetched<'m> {
    message: &'m sys::rd_kafka_message_t,
}

impl<'m> Fetched<'m> {
    /// The same for all records of a partition, as long as it is assigned.
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

    /// Milliseconds since the epoch; `None` where the broker gave none.
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
