// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is shown of work that takes long.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::fs::FileType;
use std::io::{stderr, stdout, IsTerminal};
use std::time::{Duration, Instant};

/// Work that takes longer than this shows a bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// How far a copy is: a bar in the terminal, if there is one and the copy takes its time.
pub(crate) struct Progress {
    bar: ProgressBar,
    start: Option<Instant>,
}

impl Progress {
    /// A copy of `length` bytes.
    pub(crate) fn new(length: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(
            "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        ) {
            bar.set_style(style);
        }
        Self {
            bar,
            start: stderr().is_terminal().then(Instant::now),
        }
    }

    /// A copy of `length` bytes to standard output: shown only if that is a file. Whoever is at the
    /// other end of a pipe may use the terminal too.
    pub(crate) fn of_output(length: u64) -> Self {
        let mut progress = Self::new(length);
        let about = rustix::fs::fstat(stdout());
        if !about.is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::RegularFile) {
            progress.start = None;
        }
        progress
    }

    /// So many more bytes are copied.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bar.inc(bytes);
        if self.start.is_some_and(|start| start.elapsed() > PATIENCE) {
            self.start = None;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
