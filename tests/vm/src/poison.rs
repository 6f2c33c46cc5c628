// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that has failed: a page of which the kernel knows that its bytes are lost is never accessed again. Others are as before.

use crate::driver::{get, pattern, put};
use crate::folder::Folder;
use crate::sys::{
    pread, process_vm, pwrite, Buffer, Child, End, Map, HUGE, HUGE_PAGES, PAGE, PAGE64,
};
use crate::{kmsg, memory, pagemap};
use libc::{MADV_DONTNEED, MADV_HWPOISON};
use rustix::io::Errno;
use rustix::pipe::{pipe, splice, SpliceFlags};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

crate::tests! {
    a_page_that_failed_is_not_accessed
    a_huge_page_is_mapped_around_a_page_that_failed
    a_page_that_failed_by_its_address
    memory_that_failed_is_not_used_again
}

const LIMIT: Duration = Duration::from_secs(20);

/// The bit of `/proc/kpageflags` that says that a page has failed, and the one that says that it is free.
const FAILED: u64 = 1 << 19;
const FREE: u64 = 1 << 10;

/// Windows of each kind of ordinary pages: how many pages, other settings, and the page of them that fails.
const WINDOWS: [(usize, &str, usize); 4] = [
    (64, "", 20),
    (2 * HUGE_PAGES, "", HUGE_PAGES + 188),
    (64, "memory=contiguous", 20),
    (64, "cache=writecombine", 20),
];

/// What the kernel knows of a page frame.
fn flags(frame: u64) -> u64 {
    let file = fs::File::open("/proc/kpageflags").expect("/proc");
    u64::from_ne_bytes(get(file, frame * 8, 8).try_into().expect("8 bytes"))
}

/// Has a page fail, as far as the kernel knows; gives its frame. The kernel says that it cannot do anything about pages that are in
/// no file's cache, but notes that the page has failed.
pub(crate) fn fail(map: &Map, page: usize) -> u64 {
    let frame = pagemap::frames(map)[page];
    let answer = map.advise_page(page, MADV_HWPOISON);
    assert!(matches!(answer, Ok(()) | Err(Errno::BUSY)), "{answer:?}");
    assert_ne!(flags(frame) & FAILED, 0);
    // What is mapped stays; whoever faults from now on finds out.
    assert_eq!(map.advise(MADV_DONTNEED), Ok(()));
    frame
}

/// A device with one window of so many pages that [`pattern`] fills.
fn device(pages: usize, settings: &str) -> (Folder, OwnedFd, usize) {
    let settings = format!("size={} {settings}", pages * PAGE);
    let folder = Folder::live("poison", &[("a", &settings)]);
    let fd = folder.open();
    let size = folder.shown().size as usize;
    put(&fd, 0, &pattern(size));
    (folder, fd, size)
}

/// Asserts that this ends a child by SIGBUS, which says that memory failed.
fn fails(body: impl FnOnce()) {
    let log = kmsg::Mark::now();
    let end = Child::start(body).wait(LIMIT);
    assert_eq!(end, End::Signal(libc::SIGBUS));
    let lines = log.all();
    // Only on x86 does the kernel tell it in its log as well.
    let told = |line: &String| line.contains("due to hardware memory corruption");
    let is_told = lines.iter().any(told);
    assert!(is_told || !cfg!(target_arch = "x86_64"), "{lines:#?}");
}

/// Asserts that nothing but page `page` of a device can be accessed, in any way.
fn is_left_out(folder: &Folder, fd: &OwnedFd, size: usize, page: usize) {
    let bytes = pattern(size);
    let (start, end) = (page * PAGE, (page + 1) * PAGE);
    let buffer = Buffer::new(size);
    let read = |offset: usize, len| pread(fd, buffer.span(0, len), offset as i64);
    assert_eq!(read(start, PAGE), Err(Errno::IO));
    assert_eq!(read(end - 1, PAGE), Err(Errno::IO));
    assert_eq!(read(start - 3 * PAGE, 8 * PAGE), Ok(3 * PAGE));
    assert_eq!(read(start - 1, 2), Ok(1));
    assert_eq!(read(end, PAGE), Ok(PAGE));
    assert_eq!(buffer.read(0..PAGE), bytes[end..][..PAGE]);
    assert_eq!(read(0, size), Ok(start));
    assert!(buffer.read(0..start) == bytes[..start]);

    let changes = folder.shown().generation;
    let write = |offset: usize, len| {
        buffer.write(0, &bytes[offset..][..len]);
        pwrite(fd, buffer.span(0, len), offset as i64)
    };
    assert_eq!(write(start, PAGE), Err(Errno::IO));
    assert_eq!(folder.shown().generation, changes);
    assert_eq!(write(start - PAGE, 3 * PAGE), Ok(PAGE));
    assert_eq!(write(end, PAGE), Ok(PAGE));

    let (out, into) = pipe().expect("a pipe");
    let spliced = |offset: usize, len| {
        splice(
            fd,
            Some(&mut (offset as u64)),
            &into,
            None,
            len,
            SpliceFlags::empty(),
        )
    };
    assert_eq!(spliced(start, PAGE), Err(Errno::IO));
    assert_eq!(spliced(start - PAGE, 3 * PAGE), Ok(PAGE));
    let mut through = vec![0; PAGE];
    assert_eq!(rustix::io::read(&out, &mut through[..]), Ok(PAGE));
    assert_eq!(through, bytes[start - PAGE..start]);

    let device = folder.device();
    for range in [start..end, 0..size] {
        let refused = device.export(range.start as u64..range.end as u64);
        assert_eq!(refused.expect_err("a buffer").errno(), Some(Errno::IO));
    }
    let buffer = device.export(end as u64..).expect("EXPORT");
    let map = Map::shared(&buffer, PAGE).expect("a mapping");
    assert_eq!(map.read(0..PAGE), bytes[end..][..PAGE]);
}

/// Asserts that a mapping shows all pages of a device but this one.
fn is_mapped_around(map: &Map, first: usize, page: usize) {
    let bytes = pattern(first * PAGE + map.len());
    for at in (0..map.len()).step_by(PAGE) {
        let place = first * PAGE + at;
        if place != page * PAGE {
            let expected = &bytes[place + 100..][..8];
            assert_eq!(
                map.read(at + 100..at + 108),
                expected,
                "page {}",
                place / PAGE
            );
            map.write(at + 100, expected);
        }
    }
    fails(|| drop(map.read((page - first) * PAGE..(page - first) * PAGE + 1)));
    fails(|| map.write((page - first) * PAGE, b"lost"));
    // Nor does the kernel for somebody else.
    let buffer = Buffer::new(PAGE);
    let at = (page - first) * PAGE;
    let own = std::process::id() as i32;
    let copied = process_vm(own, false, buffer.span(0, PAGE), map.span(at, PAGE));
    assert_eq!(copied, Err(Errno::FAULT));
    let memory = fs::File::open("/proc/self/mem").expect("/proc");
    let read = rustix::io::pread(memory, &mut [0; 8][..], (map.address() + at) as u64);
    assert_eq!(read, Err(Errno::IO));
}

fn a_page_that_failed_is_not_accessed() {
    for (pages, settings, page) in WINDOWS {
        let (folder, fd, size) = device(pages, settings);
        let map = Map::shared(&fd, size).expect("a mapping");
        fail(&map, page);
        is_left_out(&folder, &fd, size, page);
        is_mapped_around(&map, 0, page);
        drop(map);
        // It can still be mapped, from any page on, also where that is done at once.
        for (first, pages) in [(0, size / PAGE), (page, 1), (page, 8), (page - 3, 8)] {
            let map = Map::shared_at(&fd, (first * PAGE) as u64, pages * PAGE).expect("a mapping");
            is_mapped_around(&map, first, page);
        }
        // Uncached memory has no private mappings.
        if !settings.contains("cache=") {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let private = Map::new(Some(fd.as_fd()), 0, size, protection, libc::MAP_PRIVATE);
            is_mapped_around(&private.expect("a mapping"), 0, page);
        }
        // What cannot be cleared is told, what can is cleared.
        let device = folder.device();
        let changes = folder.shown().generation;
        let range = (page - 1) as u64 * PAGE64..(page + 2) as u64 * PAGE64;
        let refused = device.clear_range(range).expect_err("CLEAR");
        assert_eq!(refused.errno(), Some(Errno::IO));
        assert_eq!(folder.shown().generation, changes + 1);
        assert_eq!(get(&fd, (page - 1) as u64 * PAGE64, PAGE), [0; PAGE]);
        assert_eq!(get(&fd, (page + 1) as u64 * PAGE64, PAGE), [0; PAGE]);
        let refused = device.clear().expect_err("MEM_CLEAR");
        assert_eq!(refused.errno(), Some(Errno::IO));
        assert_eq!(get(&fd, size as u64 - PAGE64, PAGE), [0; PAGE]);
        let refused = device.reset().expect_err("RESET");
        assert_eq!(refused.errno(), Some(Errno::IO));
        assert_eq!(get(&fd, 0, 6), b"hello,");
    }
}

fn a_huge_page_is_mapped_around_a_page_that_failed() {
    let (_folder, fd, size) = device(2 * HUGE_PAGES, "");
    let map = Map::shared(&fd, size).expect("a mapping");
    fail(&map, 3);
    let (own, other) = map.split(HUGE);
    is_mapped_around(&own, 0, 3);
    // The other huge page is mapped as before.
    let bytes = pattern(size);
    assert!(other.read(0..other.len()) == bytes[HUGE..]);
}

/// Of memory that a device may have failed on, too.
fn a_page_that_failed_by_its_address() {
    for settings in ["memory=dma", "memory=contiguous"] {
        let (folder, fd, size) = device(16, settings);
        let start = folder.device().window(0).expect("WINDOW").address;
        let address = start.expect("an address") + 5 * PAGE64;
        let offline = "/sys/devices/system/memory/hard_offline_page";
        if let Err(error) = fs::write(offline, format!("{address:#x}")) {
            assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
        }
        assert_ne!(flags(address / PAGE64) & FAILED, 0);
        is_left_out(&folder, &fd, size, 5);
        is_mapped_around(&Map::shared(&fd, size).expect("a mapping"), 0, 5);
    }
}

fn memory_that_failed_is_not_used_again() {
    const MEMINFO: &str = "/proc/meminfo";
    let lost = || {
        let text = fs::read_to_string(MEMINFO).expect(MEMINFO);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("HardwareCorrupted:"));
        line.expect("a line").trim().to_owned()
    };
    for (pages, settings, page) in WINDOWS {
        let (folder, fd, size) = device(pages, settings);
        let map = Map::shared(&fd, size).expect("a mapping");
        let frame = fail(&map, page);
        let before = lost();
        drop((map, fd));
        drop(folder);
        // Others take what is free now.
        let others = Map::anonymous(64 << 20);
        (0..others.len())
            .step_by(PAGE)
            .for_each(|at| others.write(at, b"used"));
        drop(others);
        memory::free();
        let flags = flags(frame);
        assert!(
            flags & FAILED != 0 && flags & FREE == 0,
            "{settings}: {flags:#x}"
        );
        assert_eq!(lost(), before);
    }
}
