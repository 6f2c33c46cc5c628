// SPDX-License-Identifier: MIT OR Apache-2.0

//! How much memory the machine has, and has left.

use crate::boot;
use std::collections::BTreeMap;
use std::fs;

/// Bytes of memory in all.
pub(crate) fn total() -> u64 {
    meminfo("MemTotal:")
}

/// Bytes that nobody uses: free pages, those in the lists of each processor, and what can be had
/// back at once.
///
/// Exact to about a megabyte, where `MemFree` alone swings by tens of them.
pub(crate) fn free() -> u64 {
    fs::write("/proc/sys/vm/drop_caches", "3").expect("drop caches");
    // Where each processor's lists end: "    count: 123", twice for each processor and zone.
    let zones = fs::read_to_string("/proc/zoneinfo").expect("/proc");
    let listed: u64 = zones
        .lines()
        .filter_map(|line| line.trim().strip_prefix("count:"))
        .map(|count| count.trim().parse::<u64>().expect("a number"))
        .sum();
    // With sanitizers, what was freed stays in its cache a while. What is lost there, kmemleak finds.
    let cached = if boot::has_sanitizers() {
        meminfo("Slab:")
    } else {
        0
    };
    meminfo("MemFree:") + listed * 4096 + cached
}

/// How many objects there are in each of the kernel's caches.
pub(crate) fn objects() -> BTreeMap<String, u64> {
    if boot::has_sanitizers() {
        // To see whether it is still used, KASAN keeps what was freed, until its cache is to shrink.
        for cache in fs::read_dir("/sys/kernel/slab").expect("/sys") {
            let path = cache.expect("/sys").path().join("shrink");
            fs::write(&path, "1").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    let text = fs::read_to_string("/proc/slabinfo").expect("/proc");
    let lines = text.lines().skip(2);
    // "kmalloc-64  1792  1856 …": those in use come first.
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().expect("a name").to_owned();
            let used = words.next().expect("a count").parse().expect("a number");
            (name, used)
        })
        .collect()
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("/proc");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .expect(key);
    let kilobytes = line.trim().strip_suffix(" kB").expect("kilobytes");
    kilobytes.parse::<u64>().expect("a number") * 1024
}
