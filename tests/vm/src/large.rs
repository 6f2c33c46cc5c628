// SPDX-License-Identifier: MIT OR Apache-2.0

//! A device of several megabytes, of which the kernel may map many at once.

use crate::driver::{self, get, mappings, put};
use crate::scale::scaled;
use crate::sys::{pread, pwrite, Buffer, Child, End, Map, HUGE, HUGE_PAGES, PAGE};
use chrmem::Device;
use libc::{MADV_DONTNEED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

crate::tests! {
    one_call_carries_it_all
    each_page_is_where_it_belongs
    each_page_is_where_it_belongs_in_a_mapping_of_a_part
    each_page_is_where_it_belongs_in_a_buffer_between_huge_pages
    parts_go_and_change_and_the_rest_stays
    private_stores_stay_private
    all_of_it_without_huge_pages
    a_mapping_that_is_made_at_once_is_like_any
    huge_pages_are_switched_off_and_on_meanwhile
    the_kernel_is_told_to_split_it
}

const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// Pages of the device: two such runs, and some.
const PAGES: usize = 2 * HUGE_PAGES + 200;

/// Bytes of the device.
const SIZE: usize = PAGES * PAGE;

/// Runs a test on such a device, in which each page starts with its number.
fn on_a_large_device(test: impl FnOnce(&OwnedFd)) {
    driver::with(&format!("size={SIZE}"), || {
        let fd = driver::open();
        for page in 0..PAGES {
            put(&fd, (page * PAGE) as u64, &name(page));
        }
        test(&fd);
        assert_eq!(mappings(), 0);
    });
}

/// What page `page` starts with.
fn name(page: usize) -> [u8; 8] {
    (page as u64 + 1_000_000).to_le_bytes()
}

/// Maps pages of the device.
fn map(fd: &OwnedFd, first: usize, pages: usize, flags: i32) -> Map {
    let offset = (first * PAGE) as u64;
    Map::new(Some(fd.as_fd()), offset, pages * PAGE, READ_WRITE, flags).expect("a mapping")
}

/// Asserts that a mapping shows the device's pages from `first` on.
fn check(map: &Map, first: usize) {
    for page in 0..map.len() / PAGE {
        let start = page * PAGE;
        assert_eq!(
            map.read(start..start + 8),
            name(first + page),
            "page {page} from {first}"
        );
    }
}

fn one_call_carries_it_all() {
    on_a_large_device(|fd| {
        let buffer = Buffer::new(SIZE);
        assert_eq!(pread(fd, buffer.span(0, SIZE + 1), 0), Ok(SIZE));
        for page in 0..PAGES {
            let start = page * PAGE;
            assert_eq!(buffer.read(start..start + 8), name(page));
            buffer.write(start + PAGE - 8, &name(page));
        }
        assert_eq!(pwrite(fd, buffer.span(0, SIZE + 1), 0), Ok(SIZE));
        for page in 0..PAGES {
            assert_eq!(get(fd, (page * PAGE) as u64, 8), name(page));
            assert_eq!(get(fd, ((page + 1) * PAGE - 8) as u64, 8), name(page));
        }
        // Across page borders, from an odd place.
        assert_eq!(
            pread(
                fd,
                buffer.span(0, 3 * PAGE),
                (HUGE_PAGES - 1) as i64 * PAGE as i64 - 4
            ),
            Ok(3 * PAGE)
        );
        assert_eq!(buffer.read(4..12), name(HUGE_PAGES - 1));
        assert_eq!(buffer.read(PAGE + 4..PAGE + 12), name(HUGE_PAGES));
    });
}

fn each_page_is_where_it_belongs() {
    on_a_large_device(|fd| {
        for flags in [MAP_SHARED, MAP_SHARED | libc::MAP_POPULATE, MAP_PRIVATE] {
            check(&map(fd, 0, PAGES, flags), 0);
        }
        let map = map(fd, 0, PAGES, MAP_SHARED);
        for page in 0..PAGES {
            map.write(page * PAGE + 100, &name(page));
        }
        for page in 0..PAGES {
            assert_eq!(get(fd, (page * PAGE) as u64 + 100, 8), name(page));
        }
    });
}

fn each_page_is_where_it_belongs_in_a_mapping_of_a_part() {
    on_a_large_device(|fd| {
        for (first, pages) in [
            (1, PAGES - 1),
            (HUGE_PAGES - 1, 2),
            (HUGE_PAGES, HUGE_PAGES),
            (HUGE_PAGES, HUGE_PAGES + 200),
            (3, 2 * HUGE_PAGES - 24),
            (2 * HUGE_PAGES - 1, 201),
        ] {
            check(&map(fd, first, pages, MAP_SHARED), first);
        }
        // At an address that is not where a huge page can start, whatever the kernel would choose.
        let mut moved = map(fd, 0, PAGES, MAP_SHARED);
        let (odd, place) = Map::anonymous(SIZE + PAGE).split(PAGE);
        moved.move_onto(place).expect("a move");
        drop(odd);
        check(&moved, 0);
    });
}

/// Huge entries fit to the buffer and its mapping, but not to the memory in it, which begins a page later.
fn each_page_is_where_it_belongs_in_a_buffer_between_huge_pages() {
    on_a_large_device(|_| {
        let device = Device::open(driver::NODE).expect("the device");
        let buffer = device.export(PAGE as u64..).expect("EXPORT");
        let len = SIZE - PAGE;
        let all = Map::anonymous(len + 2 * HUGE);
        let before = HUGE - all.address() % HUGE;
        let (_before, place) = all.split(before);
        let (place, _after) = place.split(len);
        let map = place.replace(buffer.as_fd(), 0, READ_WRITE, MAP_SHARED);
        check(&map.expect("a mapping"), 1);
    });
}

fn parts_go_and_change_and_the_rest_stays() {
    on_a_large_device(|fd| {
        // All of it is mapped and was touched, in pieces as large as the kernel makes them.
        let whole = map(fd, 0, PAGES, MAP_SHARED);
        check(&whole, 0);
        let (head, rest) = whole.split(100 * PAGE);
        let (hole, rest) = rest.split(PAGE);
        drop(hole);
        let (read_only, rest) = rest.split(PAGE);
        read_only.protect(PROT_READ).expect("mprotect");
        let (middle, tail) = rest.split(HUGE);
        assert_eq!(middle.advise(MADV_DONTNEED), Ok(()));
        check(&head, 0);
        check(&read_only, 101);
        check(&tail, HUGE_PAGES + 102);
        let mut child = Child::start(|| {
            check(&middle, 102);
            check(&tail, HUGE_PAGES + 102);
            tail.write(8, b"child");
        });
        assert_eq!(child.wait(Duration::from_secs(60)), End::Status(0));
        assert_eq!(tail.read(8..13), b"child");
        check(&middle, 102);
        // One page is replaced by another one of the device, inside what may be mapped at once.
        let (before, rest) = middle.split(300 * PAGE);
        let (other, after) = rest.split(PAGE);
        let other = other
            .replace(fd.as_fd(), 0, READ_WRITE, MAP_SHARED)
            .expect("a mapping");
        check(&other, 0);
        check(&before, 102);
        check(&after, 403);
        drop((head, read_only, before, other, after, tail));
        // What was unmapped in pieces maps as a whole again.
        check(&map(fd, 0, PAGES, MAP_SHARED), 0);
    });
}

fn private_stores_stay_private() {
    on_a_large_device(|fd| {
        let (private, shared) = (
            map(fd, 0, PAGES, MAP_PRIVATE),
            map(fd, 0, PAGES, MAP_SHARED),
        );
        for page in [
            0,
            1,
            HUGE_PAGES - 1,
            HUGE_PAGES,
            HUGE_PAGES + 188,
            PAGES - 1,
        ] {
            private.write(page * PAGE, b"private!");
            assert_eq!(shared.read(page * PAGE..page * PAGE + 8), name(page));
            assert_eq!(get(fd, (page * PAGE) as u64, 8), name(page));
            assert_eq!(private.read(page * PAGE..page * PAGE + 8), b"private!");
        }
        check(&shared, 0);
        private.advise(MADV_DONTNEED).expect("DONTNEED");
        check(&private, 0);
    });
}

fn all_of_it_without_huge_pages() {
    // Not by the system's setting, at which the memory manager does not look when it maps a folio as a whole.
    rustix::thread::disable_transparent_huge_pages(true).expect("prctl");
    one_call_carries_it_all();
    each_page_is_where_it_belongs();
    each_page_is_where_it_belongs_in_a_mapping_of_a_part();
    parts_go_and_change_and_the_rest_stays();
    private_stores_stay_private();
}

fn a_mapping_that_is_made_at_once_is_like_any() {
    on_a_large_device(|fd| {
        // In a huge folio, across the border of two, and where pages are single ones.
        for first in [0, 100, HUGE_PAGES - 7, 2 * HUGE_PAGES - 14, PAGES - 16] {
            for _ in 0..3 {
                let whole = map(fd, first, 16, MAP_SHARED);
                check(&whole, first);
                let (head, rest) = whole.split(3 * PAGE);
                let (hole, rest) = rest.split(PAGE);
                drop(hole);
                let (read_only, tail) = rest.split(2 * PAGE);
                read_only.protect(PROT_READ).expect("mprotect");
                assert_eq!(tail.advise(MADV_DONTNEED), Ok(()));
                let mut child = Child::start(|| {
                    check(&head, first);
                    check(&read_only, first + 4);
                    check(&tail, first + 6);
                    tail.write(8, b"child");
                });
                assert_eq!(child.wait(Duration::from_secs(60)), End::Status(0));
                assert_eq!(tail.read(8..13), b"child");
                let mut moved = tail;
                let (odd, place) = Map::anonymous(11 * PAGE).split(PAGE);
                moved.move_onto(place).expect("a move");
                drop(odd);
                check(&moved, first + 6);
                moved.write(3 * PAGE + 100, b"moved");
                let offset = ((first + 9) * PAGE + 100) as u64;
                assert_eq!(get(fd, offset, 5), b"moved");
                check(&head, first);
            }
            let private = map(fd, first, 16, MAP_PRIVATE);
            private.write(0, b"private!");
            assert_eq!(get(fd, (first * PAGE) as u64, 8), name(first));
        }
    });
}

/// Two threads touch the same huge page and take them out of the page table, and a third one has them mapped by huge
/// entries, by small ones, by huge ones: no two of them make different entries at the same time.
fn huge_pages_are_switched_off_and_on_meanwhile() {
    on_a_large_device(|fd| {
        let map = &map(fd, 0, PAGES, MAP_SHARED);
        let mut child = Child::start(|| {
            let done = &AtomicUsize::new(0);
            let touch = |first: usize| {
                move || {
                    for round in 0..scaled(20_000) {
                        let page = first + round % 64 * 8;
                        map.write(page * PAGE + 200, &name(page));
                        // What is done by huge entries, and what by small ones, is the same memory.
                        assert_eq!(map.read(page * PAGE + 200..page * PAGE + 208), name(page));
                        if round % 2 == first {
                            map.advise(MADV_DONTNEED).expect("madvise");
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
                        rustix::thread::disable_transparent_huge_pages(off).expect("prctl");
                    }
                });
            });
        });
        assert_eq!(child.wait(Duration::from_secs(120)), End::Status(0));
        check(map, 0);
    });
}

/// Bytes of a mapping that huge page-table entries map.
fn huge_bytes(map: &Map) -> usize {
    let smaps = fs::read_to_string("/proc/self/smaps").expect("/proc");
    let start = format!("{:x}-", map.address());
    let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&start));
    let line = lines.find_map(|line| line.strip_prefix("FilePmdMapped:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes
        .expect("kilobytes")
        .parse::<usize>()
        .expect("a number")
        * 1024
}

/// By debugfs and by advice for a part of a huge page. Nothing but this driver says how large its folios are: they stay whole.
fn the_kernel_is_told_to_split_it() {
    const SPLIT: &str = "/sys/kernel/debug/split_huge_pages";
    on_a_large_device(|fd| {
        let map = map(fd, 0, PAGES, MAP_SHARED);
        check(&map, 0);
        assert_eq!(huge_bytes(&map), 2 * HUGE);
        let (process, start) = (std::process::id(), map.address());
        let end = start + map.len();
        let commands = [
            format!("{process},{start:#x},{end:#x}"),
            format!("{process},{start:#x},{end:#x},3"),
            format!("{process},{start:#x},{end:#x},0,17"),
            format!("{},0x0,{PAGES:#x}", driver::NODE),
            "1".into(),
        ];
        for command in commands {
            fs::write(SPLIT, &command).unwrap_or_else(|error| panic!("{command}: {error}"));
            check(&map, 0);
            assert_eq!(huge_bytes(&map), 2 * HUGE, "{command}");
        }
        for advice in [libc::MADV_COLD, libc::MADV_PAGEOUT] {
            assert_eq!(map.advise_page(HUGE_PAGES + 88, advice), Ok(()));
            check(&map, 0);
        }
    });
}
