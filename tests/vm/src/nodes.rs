// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory of one node of the machine's (NUMA), of which the hardened boot has two.

use crate::boot;
use crate::folder::Folder;
use crate::memory;
use crate::sys::{Map, PAGE};
use rustix::io::Errno;
use std::fs;

crate::tests! {
    all_of_a_window_is_of_its_node
    a_node_that_is_not_there_is_refused
    what_has_no_node_refuses_one
}

/// The numbers of the nodes that have memory. A kernel that knows nothing of nodes has one.
pub(crate) fn nodes() -> Vec<u32> {
    let Ok(text) = fs::read_to_string("/sys/devices/system/node/has_memory") else {
        return vec![0];
    };
    let numbers = text.trim().split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u32>().expect("a number");
        number(first)..=number(last)
    });
    numbers.collect()
}

/// Bytes of a node's memory that are free.
pub(crate) fn free(node: u32) -> u64 {
    let path = format!("/sys/devices/system/node/node{node}/meminfo");
    let Ok(text) = fs::read_to_string(path) else {
        return memory::free();
    };
    // `Node 0 MemFree:          319764 kB`
    let line = text.lines().find(|line| line.contains("MemFree:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(3));
    kilobytes
        .and_then(|text| text.parse::<u64>().ok())
        .expect("a number")
        << 10
}

/// How many pages of a mapping, all of which are there, are of each node.
pub(crate) fn places(map: &Map) -> Vec<(String, usize)> {
    for page in 0..map.len() / PAGE {
        map.read(page * PAGE..page * PAGE + 1);
    }
    let text = fs::read_to_string("/proc/self/numa_maps").expect("/proc");
    let start = format!("{:x} ", map.address());
    let line = text.lines().find(|line| line.starts_with(&start));
    let words = line.expect("the mapping").split_whitespace();
    let of_node = |word: &str| {
        let (node, pages) = word.split_once('=')?;
        let number = node.strip_prefix('N')?;
        Some((number.to_owned(), pages.parse().ok()?))
    };
    words.filter_map(of_node).collect()
}

fn all_of_a_window_is_of_its_node() {
    let nodes = nodes();
    assert_eq!(nodes.len(), if boot::is_hardened() { 2 } else { 1 });
    for node in nodes {
        for settings in [
            "size=1page",
            "size=4pages",
            "size=255pages",
            "size=2M",
            "size=5M",
            "size=1M memory=contiguous",
            "size=3M memory=contiguous",
            "size=256K cache=noncached",
            "size=256K cache=writecombine memory=contiguous",
        ] {
            let settings = format!("{settings} node={node}");
            let folder = Folder::live("nodes", &[("a", &settings)]);
            assert_eq!(folder.get("a", "node"), node.to_string());
            let size = folder.shown().size as usize;
            let map = Map::shared(folder.open(), size).expect("a mapping");
            if !boot::has_sanitizers() {
                assert_eq!(
                    places(&map),
                    [(node.to_string(), size / PAGE)],
                    "{settings}"
                );
            }
        }
    }
}

fn a_node_that_is_not_there_is_refused() {
    for node in ["7", "1023", "1024", "0xffffffff"] {
        let folder = Folder::new("nodes");
        folder.window("a", &format!("size=1page node={node}"));
        folder.cannot_be_built(
            Errno::NODEV,
            &["window a", "no node", "/sys/devices/system/node"],
        );
    }
}

fn what_has_no_node_refuses_one() {
    for settings in ["memory=dma", "memory=physical address=0xfebd4000"] {
        let folder = Folder::new("nodes");
        folder.window("a", &format!("size=1page node=0 {settings}"));
        folder.cannot_be_built(Errno::INVAL, &["window a", "node"]);
    }
}
