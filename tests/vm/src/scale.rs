// SPDX-License-Identifier: MIT OR Apache-2.0

//! How much the tests do of what can be done any number of times.
//!
//! `CHRMEM_SLOWER` is the number by which the counts are divided. Without it, it is 1, or 10 where the
//! kernel looks for mistakes, which makes everything slow: the full counts are held once, by the plain boot.

use crate::boot;
use std::fs;

/// So many, or fewer on a slow kernel, but at least ten.
pub(crate) fn scaled(full: usize) -> usize {
    (full / slower()).max(full.min(10))
}

/// The number by which counts are divided.
fn slower() -> usize {
    match std::env::var("CHRMEM_SLOWER") {
        Ok(text) => text.parse().expect("a number"),
        Err(_) if boot::is_hardened() => 10,
        Err(_) if fs::exists("/sys/kernel/debug/kmemleak").expect("debugfs") => 10,
        Err(_) => 1,
    }
}
