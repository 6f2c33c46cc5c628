// SPDX-License-Identifier: GPL-2.0

//! Wait queues for polling.
//!
//! The `kernel` crate's `PollCondVar` may go away while files are still polled on it, and pays for
//! that with an RCU grace period whenever one is dropped. A [`WaitQueue`] is only ever polled
//! through an open file that owns it (see `FileOperations::wait_queue`), so it need not.
//!
//! C headers: [`include/linux/wait.h`](srctree/include/linux/wait.h),
//! [`include/linux/poll.h`](srctree/include/linux/poll.h)

use kernel::{
    bindings,
    prelude::*,
    sync::LockClassKey,
    types::Opaque, //
};

/// A queue of those who wait for an event.
///
/// # Invariants
///
/// `queue` is initialized. Nobody waits in it when `self` is dropped.
#[pin_data]
pub(crate) struct WaitQueue {
    #[pin]
    queue: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A wait queue belongs to no thread.
unsafe impl Send for WaitQueue {}

// SAFETY: A wait queue locks itself.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// A queue with nobody in it.
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            queue <- Opaque::ffi_init(|queue| {
                // SAFETY: `queue` has room for a queue head; name and key live for ever.
                unsafe {
                    bindings::__init_waitqueue_head(queue, name.as_char_ptr(), key.as_ptr());
                }
            }),
        })
    }

    /// Wakes all who wait for any of `events` (`POLL*`).
    pub(crate) fn wake(&self, events: u32) {
        // SAFETY: The queue is initialized. A key is the events as a pointer, never followed; zero
        // waiters means all.
        unsafe {
            bindings::__wake_up(
                self.queue.get(),
                bindings::TASK_NORMAL,
                0,
                core::ptr::without_provenance_mut(events as usize),
            );
        }
    }

    /// Registers a caller of poll.
    ///
    /// # Safety
    ///
    /// `file` must be valid, `table` null or valid, and `self` must live until `file` is released:
    /// until then a poller may stay in the queue.
    pub(super) unsafe fn register(
        &self,
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) {
        // SAFETY: As the caller promises.
        unsafe { bindings::poll_wait(file, self.queue.get(), table) };
    }
}
