// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/proc/iomem`: what there is at physical addresses, and who has claimed it.

use std::fs;
use std::ops::Range;

/// A line of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The addresses.
    pub(crate) range: Range<u64>,
    /// What or who is there.
    pub(crate) name: String,
}

/// All lines, in order.
pub(crate) fn entries() -> Vec<Entry> {
    let text = fs::read_to_string("/proc/iomem").expect("/proc");
    text.lines().map(parse).collect()
}

/// `  fe000000-fe3fffff : 0000:00:05.0`.
fn parse(line: &str) -> Entry {
    let (range, name) = line.split_once(" : ").expect("a range and a name");
    let (start, last) = range.trim().split_once('-').expect("two addresses");
    let number = |text| u64::from_str_radix(text, 16).expect("an address");
    Entry {
        range: number(start)..number(last) + 1,
        name: name.to_owned(),
    }
}

/// The ranges that have this name.
pub(crate) fn called(name: &str) -> Vec<Range<u64>> {
    let found = entries().into_iter().filter(|entry| entry.name == name);
    found.map(|entry| entry.range).collect()
}
