// SPDX-License-Identifier: GPL-2.0

//! What is counted and logged of a device's mappings.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use kernel::{
    fmt,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed, //
        },
        Mutex, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// The mappings of a device: VMAs, not calls of mmap. A split or a fork makes one more.
pub(crate) struct Mappings {
    opened: Atomic<u64>,
    closed: Atomic<u64>,
}

impl Mappings {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            opened: Atomic::new(0),
            closed: Atomic::new(0),
        }
    }

    /// Counts a mapping that has come to be.
    pub(crate) fn opened(&self) {
        self.opened.add(1, Relaxed);
    }

    /// Counts a mapping that goes.
    pub(crate) fn closed(&self) {
        self.closed.add(1, Relaxed);
    }
}

impl fmt::Display for Mappings {
    /// How many there are now, and how many there ever were.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In this order: each was opened before it was closed.
        let closed = self.closed.load(Acquire);
        let opened = self.opened.load(Relaxed);
        write!(f, "{} {opened}", opened.saturating_sub(closed))
    }
}

/// So many log lines in so long: what user space causes must not flood the log.
const LINES: u32 = 20;
const PERIOD: Delta = Delta::from_secs(5);

/// Lets [`LINES`] lines through in each [`PERIOD`].
#[pin_data]
pub(crate) struct RateLimit {
    #[pin]
    state: Mutex<Period>,
}

struct Period {
    start: Instant<Monotonic>,
    lines: u32,
    suppressed: u32,
}

impl RateLimit {
    /// A limit that nothing has been counted against.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(Period {
                start: Instant::now(),
                lines: 0,
                suppressed: 0,
            }, "RateLimit::state"),
        })
    }

    /// Whether one more line may be logged; if so, how many were not since the last that was.
    pub(crate) fn allow(&self) -> Option<u32> {
        let mut period = self.state.lock();
        if period.start.elapsed() > PERIOD {
            period.start = Instant::now();
            period.lines = 0;
        }
        if period.lines < LINES {
            period.lines = period.lines.saturating_add(1);
            Some(core::mem::take(&mut period.suppressed))
        } else {
            period.suppressed = period.suppressed.saturating_add(1);
            None
        }
    }
}
