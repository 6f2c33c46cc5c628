// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/proc/self/pagemap`: which page frames this process has mapped, and which pages it has written.

use crate::driver::get;
use crate::sys::{Map, PAGE};
use std::fs::{self, File};

const PRESENT: u64 = 1 << 63;

/// The frame numbers of a mapping's pages, all of which are brought in.
pub(crate) fn frames(map: &Map) -> Vec<u64> {
    let pages = map.len() / PAGE;
    for page in 0..pages {
        map.read(page * PAGE..page * PAGE + 8);
    }
    let frame = |entry: u64| {
        const FRAME: u64 = (1 << 55) - 1;
        assert!(entry & PRESENT != 0, "a page that was read is not there");
        entry & FRAME
    };
    entries(map).into_iter().map(frame).collect()
}

/// Whether each of a mapping's pages is in the page table.
pub(crate) fn present(map: &Map) -> Vec<bool> {
    entries(map)
        .into_iter()
        .map(|entry| entry & PRESENT != 0)
        .collect()
}

/// Whether each of a mapping's pages was written since [`clear_soft_dirty`].
pub(crate) fn soft_dirty(map: &Map) -> Vec<bool> {
    const SOFT_DIRTY: u64 = 1 << 55;
    let is_dirty = |entry| entry & SOFT_DIRTY != 0;
    entries(map).into_iter().map(is_dirty).collect()
}

/// Has the kernel note from now on which pages this process writes.
pub(crate) fn clear_soft_dirty() {
    fs::write("/proc/self/clear_refs", "4").expect("/proc");
}

/// The entry of each of a mapping's pages.
fn entries(map: &Map) -> Vec<u64> {
    let pagemap = File::open("/proc/self/pagemap").expect("/proc");
    let bytes = get(
        pagemap,
        (map.address() / PAGE * 8) as u64,
        map.len() / PAGE * 8,
    );
    let entries = bytes
        .chunks(8)
        .map(|entry| entry.try_into().expect("8 bytes"));
    entries.map(u64::from_ne_bytes).collect()
}
