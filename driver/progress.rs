// SPDX-License-Identifier: GPL-2.0

//! Progress of long work, in the log.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use kernel::{
    fmt,
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// Nanoseconds after which work is long. Shorter work is not reported.
const PATIENCE: i64 = 1_000_000_000;

/// Nanoseconds from one line about the same work to the next.
const PERIOD: i64 = 5_000_000_000;

/// Pages of 1 MiB.
const MIB: usize = (1 << 20) / PAGE_SIZE;

/// How many pages of a window are ready. Reports it in the log from time to time.
pub(crate) struct Progress {
    /// What the pages are for.
    what: CString,
    pages: usize,
    ready: Atomic<usize>,
    start: Instant<Monotonic>,
    /// Nanoseconds from the start to the next line.
    next: Atomic<i64>,
}

impl Progress {
    /// Begins: none of `pages` is ready.
    pub(crate) fn new(what: fmt::Arguments<'_>, pages: usize) -> Result<Self> {
        Ok(Self {
            what: CString::try_from_fmt(what)?,
            pages,
            ready: Atomic::new(0),
            start: Instant::now(),
            next: Atomic::new(PATIENCE),
        })
    }

    /// Counts more pages that are ready, and reports if it is time to. Any thread may call this.
    pub(crate) fn add(&self, pages: usize) {
        let before = self.ready.fetch_add(pages, Relaxed);
        let ready = before.saturating_add(pages);
        if before / MIB == ready / MIB {
            // Reading the clock for each small page would take as long as the page.
            return;
        }
        let now = self.start.elapsed().as_nanos();
        let next = self.next.load(Relaxed);
        let later = now.saturating_add(PERIOD);
        if now >= next && self.next.cmpxchg(next, later, Relaxed).is_ok() {
            self.report(ready);
        }
    }

    /// Reports that all pages are ready, if anything was reported before.
    pub(crate) fn finish(&self) {
        if self.next.load(Relaxed) != PATIENCE {
            self.report(self.pages);
        }
    }

    /// Writes a line.
    fn report(&self, ready: usize) {
        let Self { what, pages, .. } = self;
        pr_info!(
            "{}: {} of {} MiB ready\n",
            &**what,
            ready / MIB,
            pages.div_ceil(MIB)
        );
    }
}
