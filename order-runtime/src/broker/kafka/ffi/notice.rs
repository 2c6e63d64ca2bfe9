//! Notifications by librdkafka that a queue has become non-empty. A thread that blocks on the queue itself, as in `rdkafka`,
//! cannot be woken by anything else.

use std::{ffi::c_void, ptr};

use rdkafka::bindings as sys;

type Call = Box<dyn Fn() + Send + Sync>;

/// A queue of librdkafka that calls a function when it becomes non-empty.
pub(super) struct NoticedQueue {
    queue: *mut sys::rd_kafka_queue_t,
    /// Owned by this value; librdkafka has a pointer to it while notifications are enabled.
    call: *mut Call,
}

// SAFETY: librdkafka's queues may be used from any thread, and so may the call.
unsafe impl Send for NoticedQueue {}

impl NoticedQueue {
    /// Enables notifications. librdkafka calls `call` on its own threads and under the queue's lock: it must not block, and must
    /// not use the queue.
    ///
    /// # Safety
    /// `queue` is an owned reference, and its client outlives this value.
    pub(super) unsafe fn new(queue: *mut sys::rd_kafka_queue_t, call: impl Fn() + Send + Sync + 'static) -> Self {
        let call: *mut Call = Box::into_raw(Box::new(Box::new(call)));
        // SAFETY: the queue is alive; the call is freed after notifications are disabled.
        unsafe { sys::rd_kafka_queue_cb_event_enable(queue, Some(notice), call.cast()) };
        Self { queue, call }
    }

    /// The raw queue, which lives as long as this value.
    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue
    }

    pub(super) fn is_empty(&self) -> bool {
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_length(self.queue) == 0 }
    }
}

impl Drop for NoticedQueue {
    fn drop(&mut self) {
        // SAFETY: librdkafka calls back under the lock of the queue, which it also takes to remove the callback; after that,
        // nothing else uses the call. The owned reference to the queue is released.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            drop(Box::from_raw(self.call));
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// # Safety
/// `call` is the pointer that [`NoticedQueue::new`] has passed, and is alive.
unsafe extern "C" fn notice(_client: *mut sys::rd_kafka_t, call: *mut c_void) {
    // SAFETY: the caller's promise.
    (unsafe { &*call.cast::<Call>() })();
}
