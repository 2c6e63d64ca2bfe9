//! Notices of librdkafka that something has come into a queue: whoever waits in the queue itself, as `rdkafka` does, hears
//! nobody else meanwhile.

use std::{ffi::c_void, ptr};

use rdkafka::bindings as sys;

type Call = Box<dyn Fn() + Send + Sync>;

/// A queue of librdkafka that calls whenever something comes into it while it is empty.
pub(super) struct NoticedQueue {
    queue: *mut sys::rd_kafka_queue_t,
    /// Ours; librdkafka knows it as long as the queue gives notice.
    call: *mut Call,
}

// SAFETY: librdkafka's queues may be used from every thread, and so may the call.
unsafe impl Send for NoticedQueue {}

impl NoticedQueue {
    /// `call` is called on threads of librdkafka, under the lock of the queue: it must not block and not touch the queue.
    ///
    /// # Safety
    /// `queue` is a reference that nobody else gives back, and its client outlives this.
    pub(super) unsafe fn new(queue: *mut sys::rd_kafka_queue_t, call: impl Fn() + Send + Sync + 'static) -> Self {
        let call: *mut Call = Box::into_raw(Box::new(Box::new(call)));
        // SAFETY: the queue is alive; the call is freed after the queue no longer gives notice.
        unsafe { sys::rd_kafka_queue_cb_event_enable(queue, Some(notice), call.cast()) };
        Self { queue, call }
    }

    /// Alive as long as this.
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
        // SAFETY: librdkafka calls back under the lock of the queue, which it also takes to forget the callback; from then on
        // the call is ours alone. The reference to the queue is given back.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            drop(Box::from_raw(self.call));
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// # Safety
/// `call` is what [`NoticedQueue::new`] gave, and alive.
unsafe extern "C" fn notice(_client: *mut sys::rd_kafka_t, call: *mut c_void) {
    // SAFETY: the caller's promise.
    (unsafe { &*call.cast::<Call>() })();
}
