// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mappings of page frames by page-table entries of all sizes: of a device's memory, and of DMA memory.

use crate::driver::{get, put};
use crate::folder::Folder;
use crate::memory;
use crate::pagemap;
use crate::pagetable::PageTables;
use crate::pci::Pci;
use crate::scale::scaled;
use crate::sys::{Child, End, Map, HUGE, HUGE_PAGES, PAGE, PAGE64};
use libc::{MAP_SHARED, PROT_NONE, PROT_READ, PROT_WRITE};
use rustix::thread::disable_transparent_huge_pages;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

crate::tests! {
    each_frame_is_where_it_belongs
    each_frame_is_where_it_belongs_without_huge_pages
    parts_go_and_change_and_the_rest_stays
    a_gigabyte_is_mapped_and_split
    huge_pages_are_switched_off_and_on_meanwhile
    a_debugger_sees_all_of_it
    dma_memory_is_given_back_whole
}

crate::tests! {
    in SEEN_IN_PAGE_TABLES:
    large_entries_map_what_is_large
    addresses_fit_to_the_frames
    dma_memory_begins_where_large_entries_fit
    small_entries_map_what_does_not_fit
    one_entry_maps_a_gigabyte
    stores_are_noted
}

const LIMIT: Duration = Duration::from_secs(60);
const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// A gigabyte, which one page-table entry can map on x86-64.
const GIANT: usize = 1 << 30;

/// The modes of a device's memory.
const CACHES: [&str; 3] = ["cached", "writecombine", "noncached"];

/// A window over so many bytes of a device's memory, from `skipped` bytes on.
fn physical(cache: &str, skipped: usize, size: usize) -> String {
    let start = Pci::find(0x1af4, 0x1110).bar(2).start + skipped as u64;
    format!("memory=physical cache={cache} address={start:#x} size={size}")
}

/// A device with one window.
fn one(settings: &str) -> Folder {
    Folder::live("test", &[("one", settings)])
}

/// Runs a test on a device of each kind that has page frames, of [`PAGES`], in which each page starts with its number.
fn on_each_kind(test: impl Fn(&OwnedFd)) {
    let dma = format!("memory=dma size={SIZE}");
    let all = CACHES.map(|cache| physical(cache, 0, SIZE));
    // There is not always so much DMA memory.
    let dma = (DMA_SIZE == SIZE).then_some(&dma);
    for settings in all.iter().chain(dma) {
        let folder = one(settings);
        let fd = folder.open();
        for page in 0..PAGES {
            put(&fd, (page * PAGE) as u64, &name(page));
        }
        test(&fd);
        assert_eq!(folder.shown().mappings.0, 0);
    }
}

/// What page `page` starts with.
fn name(page: usize) -> [u8; 8] {
    (page as u64 + 1_000_000).to_le_bytes()
}

/// Asserts that a mapping shows the device's pages from `first` on.
fn check(map: &Map, first: usize) {
    for page in 0..map.len() / PAGE {
        let start = page * PAGE;
        let bytes = map.read(start..start + 8);
        assert_eq!(bytes, name(first + page), "page {page} from {first}");
    }
}

/// Maps pages of the device.
fn map(fd: &OwnedFd, first: usize, pages: usize) -> Map {
    Map::shared_at(fd, (first * PAGE) as u64, pages * PAGE).expect("a mapping")
}

/// Two huge entries.
const SIZE: usize = 2 * HUGE;
const PAGES: usize = SIZE / PAGE;

/// Bytes of DMA memory: as much as the kernel has in one run where none was set aside at boot. With pages of 4 KiB that are
/// two huge entries, else one.
const DMA_SIZE: usize = match PAGE {
    4096 => SIZE,
    _ => HUGE,
};

fn each_frame_is_where_it_belongs() {
    on_each_kind(|fd| {
        let whole = map(fd, 0, PAGES);
        check(&whole, 0);
        for page in 0..PAGES {
            whole.write(page * PAGE + 100, &name(page));
        }
        for page in 0..PAGES {
            assert_eq!(get(fd, (page * PAGE) as u64 + 100, 8), name(page));
        }
        for (first, pages) in [
            (1, PAGES - 1),
            (HUGE_PAGES - 1, 2),
            (HUGE_PAGES, HUGE_PAGES),
            (3, PAGES - 24),
            (HUGE_PAGES + 188, 100),
        ] {
            check(&map(fd, first, pages), first);
        }
        let flags = MAP_SHARED | libc::MAP_POPULATE;
        let populated = Map::new(Some(fd.as_fd()), 0, SIZE, READ_WRITE, flags);
        check(&populated.expect("a mapping"), 0);
        // Where no large entry fits, whatever the kernel would choose.
        let mut moved = map(fd, 0, PAGES);
        let (odd, place) = Map::anonymous(SIZE + PAGE).split(PAGE);
        moved.move_onto(place).expect("a move");
        drop(odd);
        check(&moved, 0);
    });
}

fn each_frame_is_where_it_belongs_without_huge_pages() {
    disable_transparent_huge_pages(true).expect("prctl");
    each_frame_is_where_it_belongs();
}

fn parts_go_and_change_and_the_rest_stays() {
    on_each_kind(|fd| {
        let whole = map(fd, 0, PAGES);
        check(&whole, 0);
        let (head, rest) = whole.split(100 * PAGE);
        let (hole, rest) = rest.split(PAGE);
        drop(hole);
        let (read_only, rest) = rest.split(PAGE);
        read_only.protect(PROT_READ).expect("mprotect");
        let (middle, tail) = rest.split(HUGE);
        middle.renew(fd, 102 * PAGE as u64).expect("a mapping");
        check(&head, 0);
        check(&read_only, 101);
        check(&tail, HUGE_PAGES + 102);
        let mut child = Child::start(|| {
            check(&middle, 102);
            check(&tail, HUGE_PAGES + 102);
            tail.write(8, b"child");
        });
        assert_eq!(child.wait(LIMIT), End::Status(0));
        assert_eq!(tail.read(8..13), b"child");
        check(&middle, 102);
        let (before, rest) = middle.split(300 * PAGE);
        let (other, after) = rest.split(PAGE);
        let other = other.replace(fd.as_fd(), 0, READ_WRITE, MAP_SHARED);
        check(&other.expect("a mapping"), 0);
        check(&before, 102);
        check(&after, 403);
        drop((head, read_only, before, after, tail));
        // All of it is forbidden for a while.
        let whole = map(fd, 0, PAGES);
        check(&whole, 0);
        for protection in [PROT_NONE, PROT_READ, READ_WRITE] {
            whole.protect(protection).expect("mprotect");
        }
        whole.write(16, b"again");
        check(&whole, 0);
        assert_eq!(get(fd, 16, 5), b"again");
    });
}

/// Places in a gigabyte: at both ends, and around where smaller entries begin.
fn places() -> Vec<usize> {
    [0, HUGE, GIANT / 2, GIANT - HUGE, GIANT]
        .iter()
        .flat_map(|border| [border.wrapping_sub(PAGE), *border])
        .filter(|at| *at < GIANT)
        .collect()
}

fn a_gigabyte_is_mapped_and_split() {
    for cache in CACHES {
        let folder = one(&physical(cache, 0, GIANT));
        let fd = folder.open();
        let whole = Map::shared(&fd, GIANT).expect("a mapping");
        for at in places() {
            whole.write(at, &name(at));
            assert_eq!(get(&fd, at as u64, 8), name(at));
        }
        let look = |map: &Map, start: usize| {
            let inside = |at: &usize| (start..start + map.len()).contains(at);
            for at in places().into_iter().filter(inside) {
                assert_eq!(map.read(at - start..at - start + 8), name(at), "{at:#x}");
            }
        };
        let mut child = Child::start(|| {
            look(&whole, 0);
            whole.write(GIANT / 2 + 8, b"child");
        });
        assert_eq!(child.wait(LIMIT), End::Status(0));
        assert_eq!(whole.read(GIANT / 2 + 8..GIANT / 2 + 13), b"child");
        whole.renew(&fd, 0).expect("a mapping");
        look(&whole, 0);
        whole.protect(PROT_READ).expect("mprotect");
        look(&whole, 0);
        whole.protect(READ_WRITE).expect("mprotect");
        whole.write(16, b"again");
        // A page of it goes, another changes, half of it moves.
        let (head, rest) = whole.split(7 * PAGE);
        let (hole, rest) = rest.split(PAGE);
        drop(hole);
        look(&head, 0);
        look(&rest, 8 * PAGE);
        let (middle, mut tail) = rest.split(GIANT / 2 - 8 * PAGE);
        let (read_only, middle) = middle.split(PAGE);
        read_only.protect(PROT_READ).expect("mprotect");
        look(&middle, 9 * PAGE);
        tail.move_onto(Map::anonymous(GIANT / 2)).expect("a move");
        look(&tail, GIANT / 2);
        tail.write(8, b"moved");
        assert_eq!(get(&fd, GIANT as u64 / 2 + 8, 5), b"moved");
        assert_eq!(get(&fd, 16, 5), b"again");
    }
}

/// As for ordinary pages: no two threads make different entries at the same time.
fn huge_pages_are_switched_off_and_on_meanwhile() {
    for settings in [
        physical("noncached", 0, SIZE),
        physical("noncached", 0, GIANT),
        format!("memory=dma size={DMA_SIZE}"),
    ] {
        let folder = one(&settings);
        let size = folder.shown().size as usize;
        let fd = &folder.open();
        let map = &Map::shared(fd, size).expect("a mapping");
        let mut child = Child::start(|| {
            let done = &AtomicUsize::new(0);
            let touch = |first: usize| {
                move || {
                    for round in 0..scaled(2_000) {
                        let page = first + round % 64 * 8;
                        let at = page * PAGE + 200;
                        map.write(at, &name(page));
                        assert_eq!(map.read(at..at + 8), name(page));
                        if round % 2 == first {
                            map.renew(fd, 0).expect("a mapping");
                        }
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                }
            };
            std::thread::scope(|scope| {
                scope.spawn(touch(0));
                scope.spawn(touch(1));
                scope.spawn(|| {
                    let mut off = false;
                    while done.load(Ordering::SeqCst) < 2 {
                        off = !off;
                        disable_transparent_huge_pages(off).expect("prctl");
                    }
                });
            });
        });
        assert_eq!(child.wait(4 * LIMIT), End::Status(0), "{settings}");
    }
}

fn a_debugger_sees_all_of_it() {
    let memory = std::fs::File::open("/proc/self/mem").expect("/proc");
    on_each_kind(|fd| {
        let map = map(fd, 0, PAGES);
        check(&map, 0);
        for page in (0..PAGES).step_by(100) {
            let at = (map.address() + page * PAGE) as u64;
            assert_eq!(get(&memory, at, 8), name(page));
        }
    });
}

/// The sizes of the entries by which a mapping's pages are mapped, once each was read; asserts that they are the right ones.
fn sizes(tables: &PageTables, map: &Map, physical: u64) -> Vec<u64> {
    let step = (map.len() / 8).max(PAGE);
    let ends = [map.len() - PAGE];
    let size = |at: usize| {
        map.read(at..at + 1);
        let entry = tables.own(map.address() + at).expect("a page");
        assert_eq!(entry.physical, physical + at as u64);
        entry.size
    };
    let mut sizes: Vec<_> = (0..map.len()).step_by(step).chain(ends).map(size).collect();
    sizes.dedup();
    sizes
}

/// Where a device's only window is in the machine.
fn address(folder: &Folder) -> u64 {
    let window = folder.device().window(0).expect("WINDOW");
    window.address.expect("an address")
}

fn large_entries_map_what_is_large() {
    let tables = PageTables::new();
    let dma = format!("memory=dma size={SIZE}");
    let all = CACHES.map(|cache| physical(cache, 0, 32 * HUGE));
    let dma = (DMA_SIZE == SIZE).then_some(&dma);
    for settings in all.iter().chain(dma) {
        let folder = one(settings);
        let size = folder.shown().size as usize;
        let fd = folder.open();
        let map = Map::shared(&fd, size).expect("a mapping");
        let start = address(&folder);
        assert_eq!(sizes(&tables, &map, start), [HUGE as u64], "{settings}");
        // The first touch may also be a store.
        map.renew(&fd, 0).expect("a mapping");
        map.write(HUGE, b"stored");
        let entry = tables.own(map.address() + HUGE).expect("a page");
        assert_eq!(entry.size, HUGE as u64, "{settings}");
        // A part that goes leaves the other entries alone.
        let (map, rest) = map.split(HUGE + PAGE);
        let (hole, rest) = rest.split(PAGE);
        drop(hole);
        assert_eq!(
            sizes(&tables, &rest, start + (HUGE + 2 * PAGE) as u64)[0],
            PAGE64
        );
        let (map, _tail) = map.split(HUGE);
        assert_eq!(sizes(&tables, &map, start), [HUGE as u64], "{settings}");
    }
}

fn addresses_fit_to_the_frames() {
    let tables = PageTables::new();
    let skipped = HUGE - 3 * PAGE;
    let folder = one(&physical("writecombine", skipped, 4 * HUGE));
    let map = Map::shared(folder.open(), 4 * HUGE).expect("a mapping");
    let (head, rest) = map.split(3 * PAGE);
    assert_eq!(sizes(&tables, &head, address(&folder)), [PAGE64]);
    let (middle, _tail) = rest.split(3 * HUGE);
    let start = address(&folder) + 3 * PAGE as u64;
    assert_eq!(sizes(&tables, &middle, start), [HUGE as u64]);
}

fn dma_memory_begins_where_large_entries_fit() {
    let tables = PageTables::new();
    // Of memory that was set aside at boot, if any was, the next is given from an odd MiB on.
    let _before = Folder::live("before", &[("one", "memory=dma size=1M")]);
    let folder = one(&format!("memory=dma size={DMA_SIZE}"));
    let map = Map::shared(folder.open(), DMA_SIZE).expect("a mapping");
    assert_eq!(sizes(&tables, &map, address(&folder)), [HUGE as u64]);
}

fn dma_memory_is_given_back_whole() {
    // Where 32 MiB of memory were set aside (`cma=`), nothing else has runs of this size.
    let size = match memory::meminfo("CmaTotal:") {
        0 => DMA_SIZE,
        total => (2 * DMA_SIZE).min(total as usize / 4),
    };
    let _before = Folder::live("before", &[("one", "memory=dma size=1M")]);
    for _ in 0..80 {
        drop(one(&format!("memory=dma size={size}")));
    }
}

fn small_entries_map_what_does_not_fit() {
    let tables = PageTables::new();
    let folder = one(&physical("noncached", 0, SIZE));
    let mut map = Map::shared(folder.open(), SIZE).expect("a mapping");
    // A page behind where a huge entry begins.
    let all = Map::anonymous(SIZE + 2 * HUGE);
    let before = HUGE - all.address() % HUGE + PAGE;
    let (_before, place) = all.split(before);
    let (place, _behind) = place.split(SIZE);
    map.move_onto(place).expect("a move");
    assert_eq!(sizes(&tables, &map, address(&folder)), [PAGE64]);
    drop(map);
    disable_transparent_huge_pages(true).expect("prctl");
    let map = Map::shared(folder.open(), SIZE).expect("a mapping");
    assert_eq!(sizes(&tables, &map, address(&folder)), [PAGE64]);
}

fn one_entry_maps_a_gigabyte() {
    let tables = PageTables::new();
    // On arm64, Linux maps page frames by no larger entries.
    let giant = if cfg!(target_arch = "aarch64") {
        HUGE
    } else {
        GIANT
    } as u64;
    for cache in CACHES {
        let folder = one(&physical(cache, 0, GIANT));
        let fd = folder.open();
        let map = Map::shared(&fd, GIANT).expect("a mapping");
        let start = address(&folder);
        assert_eq!(sizes(&tables, &map, start), [giant], "{cache}");
        map.renew(&fd, 0).expect("a mapping");
        map.write(GIANT / 2, b"stored");
        assert_eq!(sizes(&tables, &map, start), [giant], "{cache}");
        let mut child = Child::start(|| {
            assert_eq!(sizes(&tables, &map, start), [giant], "{cache}");
        });
        assert_eq!(child.wait(LIMIT), End::Status(0));
        // What is left of it is mapped by the next smaller ones.
        let (map, rest) = map.split(GIANT / 2);
        drop(rest);
        assert_eq!(sizes(&tables, &map, start), [HUGE as u64], "{cache}");
    }
}

/// The kernel does not tell which page frames were stored to, but it makes all entries read-only.
fn stores_are_noted() {
    for (settings, size) in [
        (physical("cached", 0, SIZE), SIZE),
        (physical("noncached", 0, GIANT), GIANT),
        (format!("memory=dma size={DMA_SIZE}"), DMA_SIZE),
    ] {
        let folder = one(&settings);
        let fd = folder.open();
        let (map, fresh) = (Map::shared(&fd, size), Map::shared(&fd, size));
        let (map, fresh) = (map.expect("a mapping"), fresh.expect("a mapping"));
        map.write(0, b"before");
        for round in 0..3 {
            pagemap::clear_soft_dirty();
            for at in [0, 5 * PAGE, size / 2, size - PAGE] {
                let text = format!("{round} at {at}");
                // Where something is mapped, and where nothing is; by a load first, and at once.
                map.write(at, text.as_bytes());
                assert_eq!(fresh.read(at..at + text.len()), text.as_bytes());
                fresh.write(at + 64, text.as_bytes());
                assert_eq!(get(&fd, at as u64 + 64, text.len()), text.as_bytes());
            }
        }
    }
}
