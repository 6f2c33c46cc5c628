// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waiting for a file.

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fd::AsFd;
use rustix::io::{Errno, Result};
use std::time::{Duration, Instant};

/// Waits until a file can be read or has failed; `false` if `timeout` is over before that. Without
/// one, waits forever.
pub(crate) fn readable(file: &impl AsFd, timeout: Option<Duration>) -> Result<bool> {
    // What is too long for a clock is forever.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(file, PollFlags::IN)], left.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
