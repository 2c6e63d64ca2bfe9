//! The queue of what librdkafka has to tell its user, with a thread that is woken when something comes: `rdkafka` can only wait
//! there for a time, and whoever waits there hears nobody else.

use std::{ffi::c_void, marker::PhantomData, ptr, thread::Thread};

use rdkafka::{
    bindings as sys,
    client::{Client, ClientContext},
};

/// The main queue of a client.
pub(in crate::broker::kafka) struct EventQueue<'c> {
    queue: *mut sys::rd_kafka_queue_t,
    /// Ours; librdkafka knows it as long as the queue tells of events.
    thread: *mut Thread,
    /// The client must outlive its queue.
    client: PhantomData<&'c ()>,
}

impl<'c> EventQueue<'c> {
    /// Has `thread` be unparked whenever something comes into the empty queue.
    pub(in crate::broker::kafka) fn waking<C: ClientContext>(client: &'c Client<C>, thread: Thread) -> Self {
        let thread = Box::into_raw(Box::new(thread));
        // SAFETY: the client is alive for 'c; the thread's handle is freed after the queue no longer tells of events.
        let queue = unsafe {
            let queue = sys::rd_kafka_queue_get_main(client.native_ptr());
            sys::rd_kafka_queue_cb_event_enable(queue, Some(unpark), thread.cast());
            queue
        };
        Self { queue, thread, client: PhantomData }
    }

    pub(in crate::broker::kafka) fn is_empty(&self) -> bool {
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_length(self.queue) == 0 }
    }
}

impl Drop for EventQueue<'_> {
    fn drop(&mut self) {
        // SAFETY: librdkafka calls back under the lock of the queue, which it also takes to forget the callback; from then on
        // the handle is ours alone. The reference to the queue is given back.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            drop(Box::from_raw(self.thread));
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// # Safety
/// `thread` is the handle that [`EventQueue::waking`] gave, and alive.
unsafe extern "C" fn unpark(_client: *mut sys::rd_kafka_t, thread: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { &*thread.cast::<Thread>() }.unpark();
}
