// SPDX-License-Identifier: MIT OR Apache-2.0

//! How much memory the machine has, and has left.

use crate::boot;
use crate::sys::{Child, End, PAGE64};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Bytes of memory in all.
pub(crate) fn total() -> u64 {
    meminfo("MemTotal:")
}

/// Less than this many bytes cannot be told from what the rest of the system does meanwhile.
pub(crate) const SWING: u64 = 1 << 20;

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
    meminfo("MemFree:") + listed * PAGE64 + cached
}

/// The same, once the kernel has freed what it frees late: when it has not become more for half a second.
pub(crate) fn settled() -> u64 {
    let (mut most, mut calm) = (free(), 0);
    while calm < 5 {
        std::thread::sleep(Duration::from_millis(100));
        let now = free();
        calm = if now > most { 0 } else { calm + 1 };
        most = most.max(now);
    }
    most
}

/// Fills up to 256 MiB of the free memory with `byte`, and frees it: whoever gets memory next gets some of that.
pub(crate) fn dirty(byte: u8) {
    let half = (free() as usize / 2).min(256 << 20);
    // Nothing else reads it: without the black box, the compiler would leave out the vector and its memory.
    let mut child = Child::start(|| drop(std::hint::black_box(vec![byte; half])));
    assert_eq!(child.wait(Duration::from_secs(60)), End::Status(0));
}

/// How many objects there are in each of the kernel's caches.
pub(crate) fn objects() -> BTreeMap<String, u64> {
    // Each processor has free objects of its own, which count as used, and KASAN keeps freed ones: until the cache is to shrink.
    for cache in fs::read_dir("/sys/kernel/slab").expect("/sys") {
        let path = cache.expect("/sys").path().join("shrink");
        // A merged cache that went with its module leaves its link behind.
        if !path.exists() {
            continue;
        }
        fs::write(&path, "1").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
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

/// Who has allocated most of what is in a cache, where the kernel keeps such a list: `slab_debug=U`.
pub(crate) fn allocators(cache: &str) -> String {
    let file = format!("/sys/kernel/debug/slab/{cache}/alloc_traces");
    let text = fs::read_to_string(file).unwrap_or_default();
    // One allocator a paragraph, those with most objects first.
    text.split("\n\n").take(8).collect::<Vec<_>>().join("\n\n")
}

/// A line of `/proc/meminfo`, in bytes.
pub(crate) fn meminfo(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("/proc");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .expect(key);
    let kilobytes = line.trim().strip_suffix(" kB").expect("kilobytes");
    kilobytes.parse::<u64>().expect("a number") * 1024
}
