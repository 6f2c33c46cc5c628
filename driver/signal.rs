// SPDX-License-Identifier: GPL-2.0

//! The changes of a device: how many there were, and those who wait for one.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use kernel::{
    bindings::{
        POLLERR,
        POLLHUP,
        POLLIN,
        POLLRDNORM, //
    },
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

use crate::{
    abstractions::{
        atomic::read_once,
        wait::WaitQueue, //
    },
    track::Clock, //
};

/// Tells of a device's changes.
#[pin_data]
pub(crate) struct Signal {
    /// Counts them.
    #[pin]
    pub(crate) clock: Clock,
    /// Whether there will be no more: nothing but mappings of the device works any more.
    has_ended: Atomic<bool>,
    /// Woken whenever the generation grows.
    #[pin]
    pub(crate) queue: WaitQueue,
}

impl Signal {
    /// There was no change yet.
    pub(crate) fn new(has_stamps: bool) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                clock <- Clock::new(has_stamps),
                has_ended: Atomic::new(false),
                queue <- WaitQueue::new(c"Signal::queue", static_lock_class!()),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Counts a change, and wakes those who wait for one.
    // ANCHOR: notify
    pub(crate) fn notify(&self) {
        self.clock.count();
        self.wake();
    }
    // ANCHOR_END: notify

    /// Wakes those who wait for a change.
    pub(crate) fn wake(&self) {
        self.queue.wake(POLLIN | POLLRDNORM);
    }

    /// Ends them, and wakes all who wait: there is nothing left to wait for.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Relaxed);
        self.queue.wake(POLLIN | POLLRDNORM | POLLERR | POLLHUP);
    }

    /// Whether they have ended.
    pub(crate) fn has_ended(&self) -> bool {
        read_once(&self.has_ended)
    }
}
