// SPDX-License-Identifier: MIT OR Apache-2.0

//! Windows of every size that one folio can have, and of sizes that need several: a folio is mapped as a whole where that
//! fits, and page by page where it does not, and each page is where it belongs.

use crate::driver::{get, pattern, put};
use crate::folder::Folder;
use crate::pagemap;
use crate::sys::{pread, pwrite, Buffer, Child, End, Map, HUGE_PAGES, PAGE};
use libc::{MADV_DONTNEED, MAP_POPULATE, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

crate::tests! {
    one_touch_maps_a_folio
    a_folio_is_mapped_as_far_as_the_mapping_goes
    each_part_is_where_it_belongs
    at_an_odd_address
    parts_go_and_change_and_the_rest_stays
    a_fork_and_a_private_copy
    reads_and_writes_go_from_folio_to_folio
    pages_are_pinned_in_each
}

const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// Pages of one folio: of each order up to that of a huge page.
fn orders() -> impl Iterator<Item = usize> {
    (0..=HUGE_PAGES.ilog2()).map(|order| 1 << order)
}

/// Pages that are not those of one folio: several, each of another order, or many.
const MIXED: [usize; 6] = [3, 15, 100, 255, HUGE_PAGES + 1, 2 * HUGE_PAGES - 1];

/// The settings of the kinds of memory that are in folios.
const KINDS: [&str; 2] = ["", "memory=contiguous"];

/// What page `page` starts with.
fn name(page: usize) -> [u8; 8] {
    (page as u64 + 1_000_000).to_le_bytes()
}

/// Runs a test on a device of so many pages, of each kind, in which each page starts with its number.
fn on(pages: usize, test: impl Fn(&OwnedFd)) {
    for kind in KINDS {
        let size = pages * PAGE;
        // A window before it has the folios begin at another offset than the device.
        let windows = [
            ("before", "size=1page".to_owned()),
            ("a", format!("size={size} {kind}")),
        ];
        let windows: Vec<_> = windows
            .iter()
            .map(|(name, settings)| (*name, settings.as_str()))
            .collect();
        let folder = Folder::live("orders", &windows);
        let fd = folder.open();
        for page in 0..pages {
            put(&fd, START + (page * PAGE) as u64, &name(page));
        }
        test(&fd);
        assert_eq!(folder.shown().mappings.0, 0, "{pages} pages {kind}");
    }
}

/// Where the window begins.
const START: u64 = PAGE as u64;

/// Maps pages of the window.
fn map(fd: &OwnedFd, first: usize, pages: usize, flags: i32) -> Map {
    let offset = START + (first * PAGE) as u64;
    Map::new(Some(fd.as_fd()), offset, pages * PAGE, READ_WRITE, flags).expect("a mapping")
}

/// Asserts that a mapping shows the window's pages from `first` on.
fn check(map: &Map, first: usize) {
    for page in 0..map.len() / PAGE {
        let start = page * PAGE;
        assert_eq!(
            map.read(start..start + 8),
            name(first + page),
            "page {page} from {first} of {}",
            map.len() / PAGE
        );
    }
}

fn one_touch_maps_a_folio() {
    for pages in orders() {
        on(pages, |fd| {
            for touched in [0, pages / 2, pages - 1] {
                let map = map(fd, 0, pages, MAP_SHARED);
                assert_eq!(map.read(touched * PAGE..touched * PAGE + 8), name(touched));
                let present = pagemap::present(&map);
                assert!(present.iter().all(|it| *it), "{pages}: {present:?}");
                let frames = pagemap::frames(&map);
                let run: Vec<_> = (frames[0]..).take(pages).collect();
                assert_eq!(frames, run);
                check(&map, 0);
            }
        });
    }
}

fn a_folio_is_mapped_as_far_as_the_mapping_goes() {
    for pages in [32, 128, HUGE_PAGES] {
        on(pages, |fd| {
            // One mapping before and one behind it, in which nothing is to appear.
            let place = Map::anonymous(2 * pages * PAGE);
            let (before, rest) = place.split(pages / 2 * PAGE);
            let (place, behind) = rest.split((pages - 3) * PAGE);
            let offset = START + 2 * PAGE as u64;
            let map = place.replace(fd.as_fd(), offset, READ_WRITE, MAP_SHARED);
            let map = map.expect("a mapping");
            check(&map, 2);
            for around in [&before, &behind] {
                assert!(pagemap::present(around).iter().all(|present| !present));
                assert!(around.read(0..around.len()).iter().all(|byte| *byte == 0));
            }
        });
    }
}

fn each_part_is_where_it_belongs() {
    for pages in orders().chain(MIXED) {
        on(pages, |fd| {
            for flags in [MAP_SHARED, MAP_SHARED | MAP_POPULATE, MAP_PRIVATE] {
                check(&map(fd, 0, pages, flags), 0);
                for first in [1, pages / 3, pages / 2]
                    .into_iter()
                    .filter(|it| *it < pages)
                {
                    check(&map(fd, first, pages - first, flags), first);
                    check(&map(fd, 0, first.max(1), flags), 0);
                    check(&map(fd, first, 1, flags), first);
                }
            }
        });
    }
}

fn at_an_odd_address() {
    for pages in orders().chain(MIXED) {
        on(pages, |fd| {
            for odd in [1, 7, HUGE_PAGES - 1] {
                let (_odd, place) = Map::anonymous((pages + odd) * PAGE).split(odd * PAGE);
                let mut moved = map(fd, 0, pages, MAP_SHARED);
                // Some of it is mapped before, where it fits.
                check(&moved, 0);
                moved.move_onto(place).expect("a move");
                moved.advise(MADV_DONTNEED).expect("madvise");
                check(&moved, 0);
            }
        });
    }
}

fn parts_go_and_change_and_the_rest_stays() {
    for pages in [16, 64, 256, HUGE_PAGES, 2 * HUGE_PAGES - 1] {
        on(pages, |fd| {
            let whole = map(fd, 0, pages, MAP_SHARED);
            check(&whole, 0);
            let (head, rest) = whole.split(5 * PAGE);
            let (hole, rest) = rest.split(PAGE);
            drop(hole);
            let (read_only, tail) = rest.split(2 * PAGE);
            read_only.protect(PROT_READ).expect("mprotect");
            tail.advise_page(1, MADV_DONTNEED).expect("madvise");
            check(&head, 0);
            check(&read_only, 6);
            check(&tail, 8);
            // What is unmapped in the middle of a folio comes again alone.
            tail.advise(MADV_DONTNEED).expect("madvise");
            tail.write(2 * PAGE + 100, b"stored");
            let offset = START + (10 * PAGE) as u64 + 100;
            assert_eq!(get(fd, offset, 6), b"stored");
            check(&tail, 8);
        });
    }
}

fn a_fork_and_a_private_copy() {
    for pages in [16, 256, HUGE_PAGES, 255] {
        on(pages, |fd| {
            let (shared, private) = (
                map(fd, 0, pages, MAP_SHARED),
                map(fd, 0, pages, MAP_PRIVATE),
            );
            let page = pages / 2;
            let at = page * PAGE;
            private.write(at, b"private!");
            assert_eq!(shared.read(at..at + 8), name(page));
            let mut child = Child::start(|| {
                check(&shared, 0);
                shared.write(at + 8, b"child");
                private.write(0, b"childish");
                assert_eq!(private.read(at..at + 8), b"private!");
            });
            assert_eq!(child.wait(Duration::from_secs(60)), End::Status(0));
            assert_eq!(shared.read(at + 8..at + 13), b"child");
            assert_eq!(private.read(0..8), name(0));
            private.advise(MADV_DONTNEED).expect("madvise");
            check(&private, 0);
        });
    }
}

fn reads_and_writes_go_from_folio_to_folio() {
    for pages in orders().chain(MIXED) {
        on(pages, |fd| {
            let size = pages * PAGE;
            let buffer = Buffer::new(size);
            let bytes = pattern(size);
            buffer.write(0, &bytes);
            assert_eq!(pwrite(fd, buffer.span(0, size), START as i64), Ok(size));
            let map = map(fd, 0, pages, MAP_SHARED);
            assert!(map.read(0..size) == bytes);
            for (from, len) in [(1, size - 1), (size / 2 - 3, size / 3), (size - 1, 1)] {
                buffer.write(0, &vec![0; size]);
                let start = START as i64 + from as i64;
                assert_eq!(pread(fd, buffer.span(0, len), start), Ok(len));
                assert!(buffer.read(0..len) == bytes[from..from + len]);
            }
        });
    }
}

/// By a read from a disk past the page cache, which pins the pages that it goes to.
fn pages_are_pinned_in_each() {
    let disk = crate::map::Disk::new();
    let node = crate::driver::open_node("/dev/ram0", OFlags::RDWR | OFlags::DIRECT);
    let node = node.expect("the disk");
    for pages in [1, 8, 16, 64, 255, 256] {
        on(pages, |fd| {
            let size = pages * PAGE;
            let map = map(fd, 0, pages, MAP_SHARED);
            assert_eq!(pwrite(&node, map.span(0, size), 0), Ok(size));
            for page in 0..pages {
                put(fd, START + (page * PAGE) as u64, &[0; 8]);
            }
            assert_eq!(pread(&node, map.span(0, size), 0), Ok(size));
            check(&map, 0);
        });
    }
    drop(node);
    drop(disk);
}
