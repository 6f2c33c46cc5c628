// SPDX-License-Identifier: GPL-2.0

//! When which page changed: a clock, and stamps of its time.
//!
//! A page is *open* while a process may be able to store into it without a fault, and *closed* else. A look closes the open pages,
//! then reads the clock, and then tells of each page with a later stamp than what was read at the last look, and of each that is
//! open again. That misses nothing, and tells of no page twice that did not change:
//!
//! - A page is opened before a process can store into it, and closed only when none can any more. The stamp that it then gets is later
//!   than all these stores, and earlier than all that come. So each store is before a stamp, or into a page that is open.
//! - A stamp is put on its pages in the same step in which it is taken, so that whoever reads the clock and then stamps finds each
//!   that is not later than what the clock showed.
//! - What is stored after a page was closed opens it, which is later than when the clock was read, or found.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use core::ops::Range;
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        SpinLock, //
    }, //
};

use crate::abstractions::atomic::read_once;

/// Pages that are stamped in one step: no processor waits longer for the clock.
const STEP: usize = 512;

/// What a device's changes are counted by.
#[pin_data]
pub(crate) struct Clock {
    /// The generation: when the last change was.
    generation: Atomic<u64>,
    /// The last stamp, if there are any. It is not before the generation, and later where pages were closed since.
    #[pin]
    last: SpinLock<u64>,
    /// Whether there are stamps.
    has_stamps: bool,
}

impl Clock {
    /// A clock that shows zero.
    pub(crate) fn new(has_stamps: bool) -> impl PinInit<Self> {
        pin_init!(Self {
            generation: Atomic::new(0),
            last <- new_spinlock!(0, "Clock::last"),
            has_stamps,
        })
    }

    /// The generation.
    pub(crate) fn generation(&self) -> u64 {
        read_once(&self.generation)
    }

    /// Counts a change.
    pub(crate) fn count(&self) {
        if self.has_stamps {
            self.step(true, |_| {});
        } else {
            // Ordered after the change itself, and before the wake-up.
            self.generation.fetch_add(1, Full);
        }
    }

    /// What it shows: the last stamp, which is not zero after this, and the generation.
    pub(crate) fn now(&self) -> (u64, u64) {
        let mut last = self.last.lock();
        *last = (*last).max(1);
        (*last, self.generation())
    }

    /// Takes the next stamp, and has `put` put it on pages. If it `is_change`, it is the new generation.
    fn step(&self, is_change: bool, put: impl FnOnce(u64)) {
        let mut last = self.last.lock();
        *last = last.wrapping_add(1);
        put(*last);
        if is_change {
            self.generation.store(*last, Release);
        }
    }
}

/// The bit of a stamp that says that the page is open. No clock gets so far.
const OPEN: u64 = 1 << 63;

/// The stamps of a window's pages, by number in the window.
pub(crate) struct Stamps(KVVec<Atomic<u64>>);

impl Stamps {
    /// Those of `count` pages, which are closed and have not changed.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let mut stamps = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        for _ in 0..count {
            // There is room.
            stamps.push(Atomic::new(0), GFP_KERNEL)?;
        }
        Ok(Self(stamps))
    }

    /// The stamp of `page`; none where there is no such page.
    fn of(&self, page: u64) -> Option<&Atomic<u64>> {
        self.0.get(usize::try_from(page).ok()?)
    }

    /// Opens `page`, which a process is about to store into. It is a change.
    pub(crate) fn open(&self, page: u64, clock: &Clock) {
        clock.step(true, |now| {
            if let Some(stamp) = self.of(page) {
                stamp.store(now | OPEN, Release);
            }
        });
    }

    /// Closes `page`, into which no process can store any more.
    pub(crate) fn close(&self, page: u64, clock: &Clock) {
        clock.step(false, |now| {
            if let Some(stamp) = self.of(page) {
                stamp.store(now, Release);
            }
        });
    }

    /// Whether `page` is open.
    pub(crate) fn is_open(&self, page: u64) -> bool {
        let stamp = self.of(page).map_or(0, |stamp| stamp.load(Acquire));
        stamp & OPEN != 0
    }

    /// The first of `pages` that may have changed after `since`, because it is open or has a later stamp, and those behind it that
    /// may have, too.
    pub(crate) fn later(&self, mut pages: Range<u64>, since: u64) -> Option<Range<u64>> {
        // An open one is later than any time.
        let is_later = |page: &u64| {
            let stamp = self.of(*page).map_or(0, |stamp| stamp.load(Acquire));
            stamp > since
        };
        let start = pages.find(is_later)?;
        let end = pages.find(|page| !is_later(page)).unwrap_or(pages.end);
        Some(start..end)
    }

    /// Stamps `pages`, which the driver has changed. Each step is a change.
    pub(crate) fn stamp(&self, pages: Range<usize>, clock: &Clock) {
        for step in self.0.get(pages).unwrap_or_default().chunks(STEP) {
            clock.step(true, |now| {
                for stamp in step {
                    // Only whoever has the clock changes a stamp.
                    let is_open = stamp.load(Relaxed) & OPEN;
                    stamp.store(now | is_open, Release);
                }
            });
        }
    }
}
