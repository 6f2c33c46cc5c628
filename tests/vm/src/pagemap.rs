// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/proc/self/pagemap`: which page frames this process has mapped.

use crate::driver::get;
use crate::sys::{Map, PAGE};
use std::fs::File;

/// The frame numbers of a mapping's pages, all of which are brought in.
pub(crate) fn frames(map: &Map) -> Vec<u64> {
    let pages = map.len() / PAGE;
    for page in 0..pages {
        map.read(page * PAGE..page * PAGE + 8);
    }
    let pagemap = File::open("/proc/self/pagemap").expect("/proc");
    let entries = get(pagemap, (map.address() / PAGE * 8) as u64, pages * 8);
    let entries = entries
        .chunks(8)
        .map(|entry| entry.try_into().expect("8 bytes"));
    let frame = |entry: u64| {
        const PRESENT: u64 = 1 << 63;
        const FRAME: u64 = (1 << 55) - 1;
        assert!(entry & PRESENT != 0, "a page that was read is not there");
        entry & FRAME
    };
    entries
        .map(|entry| frame(u64::from_ne_bytes(entry)))
        .collect()
}
