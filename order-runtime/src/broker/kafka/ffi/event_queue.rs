//! The event queue of a librdkafka client.

use std::marker::PhantomData;

use rdkafka::{
    bindings as sys,
    client::{Client, ClientContext},
};

use super::notice::NoticedQueue;

/// The main queue of a client.
pub(in crate::broker::kafka) struct EventQueue<'c> {
    queue: NoticedQueue,
    /// The client must outlive its queue.
    client: PhantomData<&'c ()>,
}

impl<'c> EventQueue<'c> {
    /// Opens the queue. `notice` is called when it becomes non-empty, and must not block.
    pub(in crate::broker::kafka) fn noticed<C: ClientContext>(
        client: &'c Client<C>,
        notice: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        // SAFETY: the client is alive for 'c; the reference to its queue is owned.
        let queue = unsafe { NoticedQueue::new(sys::rd_kafka_queue_get_main(client.native_ptr()), notice) };
        Self { queue, client: PhantomData }
    }

    pub(in crate::broker::kafka) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
