// SPDX-License-Identifier: MIT OR Apache-2.0

//! Soft-dirty bits, by which CRIU and garbage collectors find the pages that a process has written: those pages, no others and no
//! fewer.

use crate::driver::{get, pattern, put};
use crate::folder::Folder;
use crate::pagemap;
use crate::sys::{Map, HUGE, HUGE_PAGES, PAGE};
use libc::{MADV_DONTNEED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use std::os::fd::AsFd;

crate::tests! {
    a_written_page_is_dirty_and_its_neighbours_are_not
    a_page_whose_neighbour_was_written_is_dirty_once_written
    a_huge_page_is_dirty_as_a_whole
}

const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// Pages of the device: more than are mapped at mmap, fewer than a huge page.
const PAGES: usize = 64;

/// The settings of each kind of window that is mapped as ordinary pages.
const KINDS: [&str; 3] = ["", "memory=contiguous", "cache=noncached"];

/// The pages that are dirty.
fn dirty(map: &Map) -> Vec<usize> {
    let bits = pagemap::soft_dirty(map);
    (0..)
        .zip(bits)
        .filter(|(_, dirty)| *dirty)
        .map(|(page, _)| page)
        .collect()
}

/// Runs a test on a mapping of a device of [`PAGES`] pages, of each kind.
fn on_each_kind(test: impl Fn(&Map)) {
    for settings in KINDS {
        let size = PAGES * PAGE;
        let folder = Folder::live("dirty", &[("a", &format!("size={size} {settings}"))]);
        let fd = folder.open();
        put(&fd, 0, &pattern(size));
        test(&Map::shared(&fd, size).expect("a mapping"));
        if settings.is_empty() {
            let private = Map::new(Some(fd.as_fd()), 0, size, READ_WRITE, MAP_PRIVATE);
            test(&private.expect("a mapping"));
        }
        assert_eq!(get(&fd, 8, 8), pattern(16)[8..], "{settings}");
    }
}

fn a_written_page_is_dirty_and_its_neighbours_are_not() {
    on_each_kind(|map| {
        for page in [20, 20, 40, 63, 0] {
            pagemap::clear_soft_dirty();
            assert!(dirty(map).is_empty());
            // What was mapped before the bits were cleared, and what is not mapped at all.
            map.write(page * PAGE, b"written");
            map.read((page ^ 1) * PAGE..(page ^ 1) * PAGE + 1);
            assert_eq!(dirty(map), [page]);
        }
    });
}

fn a_page_whose_neighbour_was_written_is_dirty_once_written() {
    on_each_kind(|map| {
        for page in 16..32 {
            map.read(page * PAGE..page * PAGE + 1);
        }
        pagemap::clear_soft_dirty();
        // The neighbours of a page that is not mapped are.
        assert_eq!(map.advise_page(20, MADV_DONTNEED), Ok(()));
        map.write(20 * PAGE, b"written");
        map.write(21 * PAGE, b"written");
        assert_eq!(dirty(map), [20, 21]);
    });
}

fn a_huge_page_is_dirty_as_a_whole() {
    const SIZE: usize = 2 * HUGE;
    let folder = Folder::live("dirty", &[("a", &format!("size={SIZE}"))]);
    let map = Map::new(Some(folder.open().as_fd()), 0, SIZE, READ_WRITE, MAP_SHARED);
    let map = map.expect("a mapping");
    map.read(0..1);
    map.read(SIZE - 1..SIZE);
    pagemap::clear_soft_dirty();
    assert!(dirty(&map).is_empty());
    map.write(5 * PAGE, b"written");
    let dirty = dirty(&map);
    // As many as one entry of the page table has, which has one bit.
    let huge: Vec<_> = (0..HUGE_PAGES).collect();
    assert!(dirty == huge || dirty == [5], "{dirty:?}");
}
