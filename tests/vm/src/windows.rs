// SPDX-License-Identifier: MIT OR Apache-2.0

//! Several windows behind one device: where they lie, and what calls do where one ends and where
//! there is none.

use crate::driver::{fdinfo, get, in_bytes, pattern, put};
use crate::folder::{Folder, RAM_HAS_MODES};
use crate::memory;
use crate::plan::END_MAX;
use crate::sys::{pread, pwrite, readv, seek, writev, Buffer, Child, End, Map, PAGE, PAGE64};
use chrmem::Device;
use libc::{MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ, PROT_WRITE};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::time::Duration;

crate::tests! {
    windows_lie_back_to_back
    windows_lie_where_the_user_says
    the_order_is_that_of_the_offsets
    a_read_or_write_ends_with_its_window
    there_is_nothing_in_a_hole
    a_mapping_lies_in_one_window
    seeking_finds_windows_and_holes
    clear_of_a_range_spans_windows
    clear_and_reset_are_for_all_windows
    a_read_only_window_is_not_written
    a_device_that_nobody_may_write
    a_window_is_filled
    a_thousand_windows
    windows_that_cannot_be
    windows_that_overlap
    a_bad_window_takes_the_others_with_it
    the_largest_offset
    a_mapping_at_a_high_offset_in_pieces
}

const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// What a device tells of its windows, which INFO, WINDOW, fdinfo and debugfs agree on.
fn told(folder: &Folder) -> Vec<String> {
    let device = folder.device();
    let (info, shown) = (device.info().expect("INFO"), folder.shown());
    assert_eq!(
        (info.size, info.windows as usize),
        (shown.size, shown.windows.len())
    );
    let windows = device.windows().expect("WINDOW");
    for (window, line) in windows.iter().zip(&shown.windows) {
        let told = format!(
            "{} {} {} {} {} {} {}",
            window.index,
            window.name,
            window.offset,
            window.size,
            window.memory,
            window.cache,
            window.access
        );
        assert_eq!(told, *line);
    }
    assert_eq!(fdinfo(&device).windows, shown.windows);
    assert_eq!(fdinfo(&device).size, shown.size);
    shown.windows
}

/// The error of a call of the library.
fn errno<T>(answer: chrmem::Result<T>) -> Option<Errno> {
    answer
        .err()
        .map(|error| error.errno().expect("the kernel's"))
}

fn windows_lie_back_to_back() {
    let folder = Folder::live(
        "test",
        &[
            ("a", "size=1page"),
            ("b", "size=2pages"),
            ("c", "size=1page"),
        ],
    );
    assert_eq!(
        told(&folder),
        [
            "0 a 0 1page pages cached rw",
            "1 b 1page 2pages pages cached rw",
            "2 c 3pages 1page pages cached rw",
        ]
        .map(in_bytes)
    );
    let device = folder.device();
    for index in [3, 4, 1000, u32::MAX] {
        assert_eq!(errno(device.window(index)), Some(Errno::INVAL));
    }
    // Each has memory of its own.
    for (offset, byte) in [(0, 1), (PAGE64, 2), (2 * PAGE64, 3), (3 * PAGE64, 4)] {
        put(&device, offset, &[byte; PAGE]);
    }
    for (offset, byte) in [(0, 1), (PAGE64, 2), (2 * PAGE64, 3), (3 * PAGE64, 4)] {
        assert_eq!(get(&device, offset, PAGE), [byte; PAGE]);
        let map = Map::shared_at(&device, offset, PAGE).expect("a mapping");
        assert_eq!(map.read(0..PAGE), [byte; PAGE]);
    }
}

/// The lesson's own driver: two buffers and a start page, each at an offset that means it.
fn windows_lie_where_the_user_says() {
    const BUF0_OFF: u64 = 0x1_0000;
    const BUF1_OFF: u64 = 0x140_0000;
    const START_OFF: u64 = 0;
    let folder = Folder::live(
        "lesson",
        &[
            (
                "buf0",
                "offset=0x10000 size=64K memory=contiguous cache=noncached",
            ),
            (
                "buf1",
                "offset=0x1400000 size=64K memory=contiguous cache=noncached",
            ),
            ("start", "offset=0 size=1page cache=noncached"),
        ],
    );
    let mode = if RAM_HAS_MODES { "noncached" } else { "cached" };
    assert_eq!(
        told(&folder),
        [
            format!("0 start 0 {PAGE} pages {mode} rw"),
            format!("1 buf0 65536 65536 contiguous {mode} rw"),
            format!("2 buf1 20971520 65536 contiguous {mode} rw"),
        ]
    );
    let fd = folder.open();
    let all = [(BUF0_OFF, 65536), (BUF1_OFF, 65536), (START_OFF, PAGE)];
    let maps = all.map(|(offset, len)| Map::shared_at(&fd, offset, len).expect("a mapping"));
    for ((offset, len), map) in all.iter().zip(&maps) {
        map.write(0, &offset.to_ne_bytes());
        map.write(len - 8, &(!offset).to_ne_bytes());
    }
    for (offset, len) in all {
        assert_eq!(get(&fd, offset, 8), offset.to_ne_bytes());
        assert_eq!(
            get(&fd, offset + len as u64 - 8, 8),
            (!offset).to_ne_bytes()
        );
        assert_eq!(get(&fd, offset + 8, len - 16), vec![0; len - 16]);
    }
}

fn the_order_is_that_of_the_offsets() {
    let folder = Folder::live(
        "test",
        &[
            ("third", "offset=16pages size=1page"),
            // Right after the one made before it, not after all that are there.
            ("fourth", "size=2pages"),
            ("first", "offset=1page size=1page"),
            ("second", "size=1page"),
        ],
    );
    let expected = [
        "0 first 1page 1page pages cached rw",
        "1 second 2pages 1page pages cached rw",
        "2 third 16pages 1page pages cached rw",
        "3 fourth 17pages 2pages pages cached rw",
    ];
    assert_eq!(told(&folder), expected.map(in_bytes));
    folder.destroy();
    // One made later takes the place that one left; the next goes on from the one before it.
    folder.remove_window("third").expect("rmdir");
    folder.window("fifth", "size=1page");
    folder.change("fourth", "offset=32pages");
    folder.build();
    let expected = [
        "0 first 1page 1page pages cached rw",
        "1 second 2pages 1page pages cached rw",
        "2 fifth 3pages 1page pages cached rw",
        "3 fourth 32pages 2pages pages cached rw",
    ];
    assert_eq!(told(&folder), expected.map(in_bytes));
}

/// Three windows: two that are neighbours, a hole, one more.
fn with_a_hole() -> Folder {
    let folder = Folder::live(
        "test",
        &[
            ("a", "offset=1page size=2pages"),
            ("b", "size=1page"),
            ("c", "offset=8pages size=1page"),
        ],
    );
    let fd = folder.open();
    put(&fd, PAGE64, &pattern(2 * PAGE));
    put(&fd, 3 * PAGE64, &[b'b'; PAGE]);
    put(&fd, 8 * PAGE64, &[b'c'; PAGE]);
    folder
}

fn a_read_or_write_ends_with_its_window() {
    let folder = with_a_hole();
    let fd = folder.open();
    let buffer = Buffer::new(8 * PAGE);
    let all = buffer.span(0, 8 * PAGE);
    for (offset, count) in [
        (PAGE, 2 * PAGE),
        (PAGE + 1, 2 * PAGE - 1),
        (3 * PAGE - 1, 1),
        (3 * PAGE, PAGE),
        (4 * PAGE - 1, 1),
        (8 * PAGE, PAGE),
        (9 * PAGE - 1, 1),
    ] {
        assert_eq!(pread(&fd, all, offset as i64), Ok(count), "at {offset}");
        assert_eq!(buffer.read(0..count), get(&fd, offset as u64, count));
        assert_eq!(pwrite(&fd, all, offset as i64), Ok(count), "at {offset}");
    }
    let parts = [
        buffer.span(0, PAGE),
        buffer.span(PAGE, 3000),
        buffer.span(2 * PAGE, PAGE),
    ];
    assert_eq!(readv(&fd, &parts, 3, PAGE as i64, 0), Ok(2 * PAGE));
    assert_eq!(writev(&fd, &parts, 3, PAGE as i64, 0), Ok(2 * PAGE));
    assert_eq!(readv(&fd, &parts, 3, 3 * PAGE as i64 - 1, 0), Ok(1));
    // Who asks for the rest gets it, window by window, up to the hole and the end.
    assert_eq!(seek(&fd, PAGE as i64, libc::SEEK_SET as u32), Ok(PAGE));
    for count in [2 * PAGE, PAGE] {
        assert_eq!(crate::sys::read(&fd, all), Ok(count));
    }
    assert_eq!(crate::sys::read(&fd, all), Err(Errno::NXIO));
    assert_eq!(
        seek(&fd, 8 * PAGE as i64, libc::SEEK_SET as u32),
        Ok(8 * PAGE)
    );
    assert_eq!(crate::sys::write(&fd, all), Ok(PAGE));
    assert_eq!(crate::sys::write(&fd, all), Err(Errno::NOSPC));
    assert_eq!(crate::sys::read(&fd, all), Ok(0));
}

fn there_is_nothing_in_a_hole() {
    let folder = with_a_hole();
    let fd = folder.open();
    let before = folder.shown().generation;
    let buffer = Buffer::new(PAGE);
    for offset in [0, 1, PAGE - 1, 4 * PAGE, 5 * PAGE - 480, 8 * PAGE - 1] {
        for len in [1, PAGE] {
            let span = buffer.span(0, len);
            assert_eq!(
                pread(&fd, span, offset as i64),
                Err(Errno::NXIO),
                "{offset}"
            );
            assert_eq!(
                pwrite(&fd, span, offset as i64),
                Err(Errno::NXIO),
                "{offset}"
            );
        }
        // To ask for nothing is no error anywhere.
        assert_eq!(pread(&fd, buffer.span(0, 0), offset as i64), Ok(0));
        assert_eq!(pwrite(&fd, buffer.span(0, 0), offset as i64), Ok(0));
        assert_eq!(seek(&fd, offset as i64, libc::SEEK_SET as u32), Ok(offset));
        assert_eq!(crate::sys::read(&fd, buffer.span(0, 1)), Err(Errno::NXIO));
        assert_eq!(crate::sys::write(&fd, buffer.span(0, 1)), Err(Errno::NXIO));
        assert_eq!(seek(&fd, 0, libc::SEEK_CUR as u32), Ok(offset));
    }
    assert_eq!(folder.shown().generation, before);
}

fn a_mapping_lies_in_one_window() {
    let folder = with_a_hole();
    let fd = folder.open();
    for (offset, len, expected) in [
        (PAGE64, 2 * PAGE, Ok(())),
        (PAGE64, PAGE, Ok(())),
        (2 * PAGE64, PAGE, Ok(())),
        (3 * PAGE64, PAGE, Ok(())),
        (8 * PAGE64, PAGE, Ok(())),
        (8 * PAGE64, 1, Ok(())),
        // In the hole before the first, between two, after the last.
        (0, PAGE, Err(Errno::NXIO)),
        (0, 2 * PAGE, Err(Errno::NXIO)),
        (4 * PAGE64, PAGE, Err(Errno::NXIO)),
        (7 * PAGE64, 2 * PAGE, Err(Errno::NXIO)),
        (9 * PAGE64, PAGE, Err(Errno::NXIO)),
        // Past the window's end: into the next, into the hole, to the device's end.
        (PAGE64, 3 * PAGE, Err(Errno::INVAL)),
        (2 * PAGE64, 2 * PAGE, Err(Errno::INVAL)),
        (3 * PAGE64, PAGE + 1, Err(Errno::INVAL)),
        (3 * PAGE64, 6 * PAGE, Err(Errno::INVAL)),
        (8 * PAGE64, 2 * PAGE, Err(Errno::INVAL)),
    ] {
        for flags in [MAP_SHARED, MAP_PRIVATE] {
            let map = Map::new(Some(fd.as_fd()), offset, len, READ_WRITE, flags);
            let map = map.map(|map| {
                let bytes = get(&fd, offset, map.len());
                assert_eq!(map.read(0..map.len()), bytes);
            });
            assert_eq!(map, expected, "{len} at {offset}");
        }
    }
    assert_eq!(folder.shown().mappings.0, 0);
}

fn seeking_finds_windows_and_holes() {
    const SEEK_DATA: u32 = libc::SEEK_DATA as u32;
    const SEEK_HOLE: u32 = libc::SEEK_HOLE as u32;
    let folder = with_a_hole();
    let fd = folder.open();
    for (offset, data, hole) in [
        (0, Ok(PAGE), Ok(0)),
        (1, Ok(PAGE), Ok(1)),
        (PAGE - 1, Ok(PAGE), Ok(PAGE - 1)),
        (PAGE, Ok(PAGE), Ok(4 * PAGE)),
        (PAGE + 1, Ok(PAGE + 1), Ok(4 * PAGE)),
        // One window ends and the next begins: no hole.
        (3 * PAGE - 1, Ok(3 * PAGE - 1), Ok(4 * PAGE)),
        (3 * PAGE, Ok(3 * PAGE), Ok(4 * PAGE)),
        (4 * PAGE - 1, Ok(4 * PAGE - 1), Ok(4 * PAGE)),
        (4 * PAGE, Ok(8 * PAGE), Ok(4 * PAGE)),
        (8 * PAGE - 1, Ok(8 * PAGE), Ok(8 * PAGE - 1)),
        (8 * PAGE, Ok(8 * PAGE), Ok(9 * PAGE)),
        (9 * PAGE - 1, Ok(9 * PAGE - 1), Ok(9 * PAGE)),
        (9 * PAGE, Err(Errno::NXIO), Err(Errno::NXIO)),
        (9 * PAGE + 1, Err(Errno::NXIO), Err(Errno::NXIO)),
        (usize::MAX, Err(Errno::NXIO), Err(Errno::NXIO)),
    ] {
        assert_eq!(
            seek(&fd, offset as i64, SEEK_DATA),
            data,
            "data from {offset}"
        );
        assert_eq!(
            seek(&fd, offset as i64, SEEK_HOLE),
            hole,
            "hole from {offset}"
        );
    }
    assert_eq!(seek(&fd, 0, libc::SEEK_END as u32), Ok(9 * PAGE));
    assert_eq!(seek(&fd, -9 * PAGE as i64, libc::SEEK_END as u32), Ok(0));
    assert_eq!(seek(&fd, 1, libc::SEEK_END as u32), Err(Errno::INVAL));
    assert_eq!(
        seek(&fd, 9 * PAGE as i64 + 1, libc::SEEK_SET as u32),
        Err(Errno::INVAL)
    );
    // A program that copies sparse files copies the windows.
    let copy = std::process::Command::new("python3")
        .args(["-c", COPY, &folder.node()])
        .output()
        .expect("python3 runs");
    let printed = String::from_utf8_lossy(&copy.stdout).into_owned();
    assert_eq!(
        printed,
        in_bytes("1page 3pages\n8pages 1page\n"),
        "{copy:?}"
    );
}

/// Prints where a file has data: offset and size of each run.
const COPY: &str = "
import errno, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
at = 0
while True:
    try:
        at = os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        assert error.errno == errno.ENXIO
        break
    end = os.lseek(fd, at, os.SEEK_HOLE)
    print(at, end - at)
    at = end
";

fn clear_of_a_range_spans_windows() {
    let folder = with_a_hole();
    let device = folder.device();
    for (start, end) in [
        (PAGE64, 4 * PAGE64),
        (3 * PAGE64 - 1, 3 * PAGE64 + 1),
        (PAGE64 + 904, PAGE64 + 1904),
        (8 * PAGE64, 9 * PAGE64),
        (PAGE64, PAGE64 + 1),
    ] {
        put(&device, PAGE64, &[1; 2 * PAGE]);
        put(&device, 3 * PAGE64, &[1; PAGE]);
        put(&device, 8 * PAGE64, &[1; PAGE]);
        let before = folder.shown().generation;
        device.clear_range(start..end).expect("CLEAR");
        assert_eq!(folder.shown().generation, before + 1);
        let bytes = [
            get(&device, PAGE64, 2 * PAGE),
            get(&device, 3 * PAGE64, PAGE),
            get(&device, 8 * PAGE64, PAGE),
        ];
        for (offset, byte) in (PAGE64..4 * PAGE64)
            .chain(8 * PAGE64..9 * PAGE64)
            .zip(bytes.concat())
        {
            let expected = u8::from(!(start..end).contains(&offset));
            assert_eq!(byte, expected, "byte {offset} after {start}..{end}");
        }
    }
    let before = folder.shown().generation;
    for (start, end, error) in [
        (0, 1, Errno::NXIO),
        (PAGE64 - 1, PAGE64 + 1, Errno::NXIO),
        (0, 9 * PAGE64, Errno::NXIO),
        (4 * PAGE64 - 1, 4 * PAGE64 + 1, Errno::NXIO),
        (4 * PAGE64, 4 * PAGE64 + 1, Errno::NXIO),
        (PAGE64, 9 * PAGE64, Errno::NXIO),
        (8 * PAGE64 - 1, 8 * PAGE64 + 1, Errno::NXIO),
        (8 * PAGE64, 9 * PAGE64 + 1, Errno::INVAL),
        (9 * PAGE64, 9 * PAGE64 + 1, Errno::INVAL),
        (PAGE64, 1 << 63, Errno::INVAL),
        (PAGE64, PAGE64, Errno::INVAL),
        (0, 0, Errno::INVAL),
        (4 * PAGE64, 4 * PAGE64, Errno::INVAL),
    ] {
        assert_eq!(
            errno(device.clear_range(start..end)),
            Some(error),
            "{start}..{end}"
        );
    }
    assert_eq!(folder.shown().generation, before);
    // What could not be cleared whole was not cleared at all.
    assert_eq!(get(&device, 3 * PAGE64, PAGE), [1; PAGE]);
}

fn clear_and_reset_are_for_all_windows() {
    let folder = Folder::live(
        "test",
        &[
            ("kept", "size=1page access=ro fill=7"),
            ("first", "offset=2pages size=2pages"),
            ("also-kept", "size=1page access=ro fill=8"),
            ("last", "offset=1M size=1page"),
        ],
    );
    let device = folder.device();
    let dirty = || {
        put(&device, 2 * PAGE64, &pattern(2 * PAGE));
        put(&device, 1 << 20, &pattern(PAGE));
    };
    let kept = || {
        assert_eq!(get(&device, 0, PAGE), [7; PAGE]);
        assert_eq!(get(&device, 4 * PAGE64, PAGE), [8; PAGE]);
    };
    dirty();
    let before = folder.shown().generation;
    device.clear().expect("MEM_CLEAR");
    assert_eq!(get(&device, 2 * PAGE64, 2 * PAGE), [0; 2 * PAGE]);
    assert_eq!(get(&device, 1 << 20, PAGE), [0; PAGE]);
    kept();
    dirty();
    device.reset().expect("RESET");
    assert_eq!(get(&device, 2 * PAGE64, 13), b"hello, user!\0");
    assert_eq!(
        get(&device, 2 * PAGE64 + 13, 2 * PAGE - 13),
        [0; 2 * PAGE - 13]
    );
    assert_eq!(get(&device, 1 << 20, PAGE), [0; PAGE]);
    kept();
    // Two writes, CLEAR, two writes, RESET.
    assert_eq!(folder.shown().generation, before + 4);
}

fn a_read_only_window_is_not_written() {
    let folder = Folder::live(
        "test",
        &[
            ("rw", "size=1page"),
            ("ro", "size=2pages access=ro fill=0x2a"),
            ("tail", "size=1page"),
        ],
    );
    let fd = folder.open();
    let device = folder.device();
    assert_eq!(
        told(&folder)[1],
        in_bytes("1 ro 1page 2pages pages cached ro")
    );
    let before = folder.shown().generation;
    for offset in [PAGE64, PAGE64 + 1, 3 * PAGE64 - 1] {
        let answer = rustix::io::pwrite(&fd, &[1], offset);
        assert_eq!(answer, Err(Errno::ACCESS), "at {offset}");
    }
    for (start, end) in [
        (PAGE64, PAGE64 + 1),
        (PAGE64 - 96, PAGE64 + 904),
        (3 * PAGE64 - 1, 3 * PAGE64 + 1),
        (0, 4 * PAGE64),
    ] {
        assert_eq!(errno(device.clear_range(start..end)), Some(Errno::ACCESS));
    }
    assert_eq!(folder.shown().generation, before);
    // A write that starts before it ends before it.
    assert_eq!(rustix::io::pwrite(&fd, &[1; 100], PAGE64 - 6), Ok(6));
    assert_eq!(get(&fd, PAGE64, 2 * PAGE), [0x2a; 2 * PAGE]);

    let map = |protection, flags| Map::new(Some(fd.as_fd()), PAGE64, 2 * PAGE, protection, flags);
    for protection in [READ_WRITE, PROT_WRITE] {
        assert_eq!(map(protection, MAP_SHARED).err(), Some(Errno::ACCESS));
    }
    for protection in [PROT_READ, PROT_NONE] {
        let shared = map(protection, MAP_SHARED).expect("a mapping");
        for more in [READ_WRITE, PROT_WRITE, PROT_READ | libc::PROT_EXEC] {
            assert_eq!(shared.protect(more), Err(Errno::ACCESS));
        }
        assert_eq!(shared.protect(PROT_READ), Ok(()));
        assert_eq!(shared.read(0..2 * PAGE), [0x2a; 2 * PAGE]);
    }
    let shared = map(PROT_READ, MAP_SHARED).expect("a mapping");
    let mut child = Child::start(|| shared.write(0, b"never"));
    assert_eq!(
        child.wait(Duration::from_secs(20)),
        End::Signal(libc::SIGSEGV)
    );
    // Nor by the kernel on behalf of anybody, nor by a debugger.
    assert_eq!(pread(&fd, shared.span(0, 16), 0), Err(Errno::FAULT));
    let memory = std::fs::File::options()
        .write(true)
        .open("/proc/self/mem")
        .expect("/proc");
    let answer = rustix::io::pwrite(&memory, b"never", shared.address() as u64);
    assert_eq!(answer, Err(Errno::IO));
    // A private copy is the process's own.
    let private = map(READ_WRITE, MAP_PRIVATE).expect("a mapping");
    private.write(0, b"mine");
    assert_eq!(private.read(0..5), b"mine\x2a");
    assert_eq!(get(&fd, PAGE64, 2 * PAGE), [0x2a; 2 * PAGE]);
    assert_eq!(shared.read(0..2 * PAGE), [0x2a; 2 * PAGE]);
}

fn a_device_that_nobody_may_write() {
    let folder = Folder::live("test", &[("ro", "size=1page access=ro fill=9")]);
    let device = folder.device();
    let before = folder.shown().generation;
    // Each leaves all as it is, and is a change nevertheless.
    device.clear().expect("MEM_CLEAR");
    device.reset().expect("RESET");
    assert_eq!(folder.shown().generation, before + 2);
    assert_eq!(get(&device, 0, PAGE), [9; PAGE]);
    assert_eq!(errno(device.map(..)), Some(Errno::ACCESS));
    let reader = Device::open_read_only(folder.node()).expect("the node");
    let mut bytes = [0; PAGE];
    reader
        .map(..)
        .expect("a mapping")
        .copy_to(0, &mut bytes)
        .expect("bytes");
    assert_eq!(bytes, [9; PAGE]);
}

fn a_window_is_filled() {
    for kind in ["pages", "contiguous", "dma"] {
        let settings = |more: &str| format!("size=5pages memory={kind} {more}");
        let (zero, full, some) = (
            settings(""),
            settings("fill=255"),
            settings("fill=0x41 access=ro"),
        );
        let windows = [("zero", zero.as_str()), ("full", &full), ("some", &some)];
        let folder = Folder::live("test", &windows);
        let fd = folder.open();
        for (offset, byte) in [(0, 0), (5 * PAGE64, 0xff), (10 * PAGE64, 0x41)] {
            assert_eq!(get(&fd, offset, 5 * PAGE), [byte; 5 * PAGE], "{kind}");
        }
        // Filled once, not for each who opens it, and anew when it is built anew.
        put(&fd, 5 * PAGE64, b"changed");
        assert_eq!(get(folder.open(), 5 * PAGE64, 7), b"changed");
        folder.destroy();
        folder.build();
        assert_eq!(
            get(folder.open(), 5 * PAGE64, 5 * PAGE),
            [0xff; 5 * PAGE],
            "{kind}"
        );
    }
}

fn a_thousand_windows() {
    const COUNT: u64 = 1000;
    // A hole of a page before every hundredth.
    let offset_of = |number: u64| (number + number / 100) * PAGE64;
    let folder = Folder::new("test");
    for number in 0..COUNT {
        let name = format!("w{number}");
        folder.window(&name, "size=1page");
        if number % 100 == 0 {
            folder.change(&name, &format!("offset={}", offset_of(number)));
        }
    }
    folder.build();
    let lines = told(&folder);
    assert_eq!(lines.len(), COUNT as usize);
    for (number, line) in (0..COUNT).zip(&lines) {
        let offset = offset_of(number);
        assert_eq!(
            *line,
            format!("{number} w{number} {offset} {PAGE} pages cached rw")
        );
    }
    let fd = folder.open();
    for number in 0..COUNT {
        put(&fd, offset_of(number), &number.to_ne_bytes());
    }
    for number in 0..COUNT {
        let map = Map::shared_at(&fd, offset_of(number), PAGE).expect("a mapping");
        assert_eq!(map.read(0..8), number.to_ne_bytes());
    }
    let (mut at, mut runs) = (0, 0);
    while let Ok(data) = seek(&fd, at as i64, libc::SEEK_DATA as u32) {
        at = seek(&fd, data as i64, libc::SEEK_HOLE as u32).expect("a hole");
        assert_eq!(at - data, 100 * PAGE);
        runs += 1;
    }
    assert_eq!(runs, 10);
    folder.device().clear().expect("MEM_CLEAR");
    assert_eq!(get(&fd, offset_of(COUNT - 1), 8), [0; 8]);
}

fn windows_that_cannot_be() {
    let empty = "empty";
    let pages = "not a whole number of pages";
    let beyond = "beyond the largest offset";
    let (less, more) = (PAGE - 1, PAGE + 1);
    let (top, last) = (END_MAX - PAGE64, 0_u64.wrapping_sub(PAGE64));
    for (settings, why) in [
        ("", empty),
        ("size=0", empty),
        ("offset=1page size=0", empty),
        ("size=1", pages),
        (&format!("size={less}"), pages),
        (&format!("size={more}"), pages),
        ("size=18446744073709551615", pages),
        ("offset=1 size=1page", pages),
        (&format!("offset={less} size=1page"), pages),
        ("offset=18446744073709551615 size=1page", pages),
        ("size=0x8000000000000000", beyond),
        (&format!("size={END_MAX:#x} offset=1page"), beyond),
        (&format!("size={last:#x}"), beyond),
        (&format!("offset={END_MAX:#x} size=1page"), beyond),
        (&format!("offset={top:#x} size=2pages"), beyond),
        ("offset=0x8000000000000000 size=1page", beyond),
        (&format!("offset={last:#x} size=1page"), beyond),
        (&format!("offset={last:#x} size=2pages"), beyond),
        (&format!("offset={last:#x} size={last:#x}"), beyond),
        ("offset=0x8000000000000000 size=0x8000000000000000", beyond),
    ] {
        for kind in ["pages", "contiguous", "dma", "physical"] {
            let folder = Folder::new("test");
            folder.window("bad", settings);
            folder.change("bad", &format!("memory={kind}"));
            folder.cannot_be_built(Errno::INVAL, &["window bad", why]);
            // Also behind a good one, which makes it no better.
            folder.remove_window("bad").expect("rmdir");
            folder.window("good", "size=1page");
            folder.window("bad", settings);
            if !settings.contains("offset") && why == beyond {
                folder.change("bad", "offset=1page");
            }
            folder.cannot_be_built(Errno::INVAL, &["window bad", why]);
        }
    }
}

fn windows_that_overlap() {
    for (one, other) in [
        ("offset=0 size=1page", "offset=0 size=1page"),
        ("offset=0 size=2pages", "offset=1page size=2pages"),
        ("offset=1page size=2pages", "offset=1page size=1page"),
        ("offset=0 size=16pages", "offset=2pages size=1page"),
        (
            &format!("offset=0 size={END_MAX:#x}"),
            &format!("offset={:#x} size=1page", END_MAX - PAGE64),
        ),
        (
            &format!("offset={:#x} size=2pages", END_MAX - 2 * PAGE64),
            &format!("offset={:#x} size=1page", END_MAX - PAGE64),
        ),
    ] {
        // Whichever of them was made first, the one that lies behind is the one that overlaps.
        for made in [["one", "other"], ["other", "one"]] {
            let folder = Folder::new("test");
            for name in made {
                folder.window(name, if name == "one" { one } else { other });
            }
            let same = one.split(' ').next() == other.split(' ').next();
            let window = format!("window {}", if same { made[1] } else { "other" });
            folder.cannot_be_built(Errno::INVAL, &[&window, "overlaps"]);
        }
    }
    // One that lies over several; and one that follows the one made before it into another.
    let folder = Folder::new("test");
    folder.window("a", "offset=1page size=1page");
    folder.window("b", "offset=3pages size=1page");
    folder.window("c", "offset=0 size=16pages");
    folder.cannot_be_built(Errno::INVAL, &["window a", "overlaps"]);
    folder.change("c", "size=1page");
    folder.window("d", "size=1page");
    folder.cannot_be_built(Errno::INVAL, &["window d", "overlaps"]);
    folder.change("d", "offset=2pages");
    folder.build();
    assert_eq!(folder.shown().size, 4 * PAGE64);
}

fn a_bad_window_takes_the_others_with_it() {
    let folder = Folder::new("test");
    folder.window("large", "size=24M");
    folder.window("more", "size=16M memory=contiguous");
    folder.window("odd", "size=16M cache=noncached");
    folder.window("bad", "size=1page memory=physical");
    let before = memory::free();
    for _ in 0..2 {
        folder.cannot_be_built(Errno::INVAL, &["window bad", "needs an address"]);
    }
    let after = memory::free();
    assert!(
        after + (8 << 20) > before,
        "{before} bytes free, then {after}"
    );
    folder.remove_window("bad").expect("rmdir");
    folder.build();
    assert!(memory::free() + (54 << 20) < before);
}

/// Eight pages at the end of the largest device, and one at its start.
fn as_high_as_can_be() -> Folder {
    let high = format!("offset={} size=8pages", END_MAX - 8 * PAGE64);
    let folder = Folder::live("test", &[("low", "size=1page"), ("high", &high)]);
    put(folder.open(), END_MAX - 8 * PAGE64, &pattern(8 * PAGE));
    folder
}

fn the_largest_offset() {
    let folder = as_high_as_can_be();
    let device = folder.device();
    assert_eq!(device.info().expect("INFO").size, END_MAX);
    assert_eq!(
        told(&folder)[1],
        format!(
            "1 high {} {} pages cached rw",
            END_MAX - 8 * PAGE64,
            8 * PAGE
        )
    );
    assert_eq!(
        seek(&device, 0, libc::SEEK_END as u32),
        Ok(END_MAX as usize)
    );
    assert_eq!(
        seek(&device, PAGE as i64, libc::SEEK_DATA as u32),
        Ok(END_MAX as usize - 8 * PAGE)
    );
    assert_eq!(seek(&device, PAGE as i64, libc::SEEK_HOLE as u32), Ok(PAGE));
    let buffer = Buffer::new(2 * PAGE);
    let span = buffer.span(0, 100);
    assert_eq!(pread(&device, span, END_MAX as i64 - 100), Ok(100));
    assert_eq!(buffer.read(0..100), pattern(8 * PAGE)[8 * PAGE - 100..]);
    assert_eq!(
        pread(&device, buffer.span(0, PAGE), END_MAX as i64 - 100),
        Ok(100)
    );
    // Beyond what a position can be, no driver is asked.
    let beyond = pread(&device, buffer.span(0, 2 * PAGE), END_MAX as i64 - 100);
    assert_eq!(beyond, Err(Errno::INVAL));
    assert_eq!(pread(&device, span, END_MAX as i64), Ok(0));
    assert_eq!(pwrite(&device, span, END_MAX as i64), Err(Errno::NOSPC));
    assert_eq!(
        pread(&device, span, END_MAX as i64 - 8 * PAGE as i64 - 1),
        Err(Errno::NXIO)
    );
    device.clear_range(END_MAX - 10..END_MAX).expect("CLEAR");
    assert_eq!(
        get(&device, END_MAX - 11, 11),
        [&pattern(8 * PAGE)[8 * PAGE - 11..8 * PAGE - 10], &[0; 10]].concat()
    );
    assert_eq!(
        errno(device.clear_range(END_MAX - 1..END_MAX + 1)),
        Some(Errno::INVAL)
    );
    assert_eq!(
        errno(device.clear_range(PAGE64 - 1..END_MAX)),
        Some(Errno::NXIO)
    );
    for (offset, errno) in [
        (END_MAX, Errno::NXIO),
        (END_MAX - 9 * PAGE64, Errno::NXIO),
        (1 << 63, Errno::NXIO),
    ] {
        assert_eq!(
            Map::shared_at(&device, offset, PAGE).err(),
            Some(errno),
            "{offset:#x}"
        );
    }
    assert_eq!(
        Map::shared_at(&device, END_MAX - PAGE64, 2 * PAGE).err(),
        Some(Errno::INVAL)
    );
    device.clear().expect("MEM_CLEAR");
    assert_eq!(get(&device, END_MAX - 8 * PAGE64, 8 * PAGE), [0; 8 * PAGE]);
}

fn a_mapping_at_a_high_offset_in_pieces() {
    let folder = as_high_as_can_be();
    let fd = folder.open();
    let start = END_MAX - 8 * PAGE64;
    let whole = Map::shared_at(&fd, start, 8 * PAGE).expect("a mapping");
    assert_eq!(whole.read(0..8 * PAGE), pattern(8 * PAGE));
    let (first, rest) = whole.split(PAGE);
    let (hole, rest) = rest.split(PAGE);
    drop(hole);
    let (mut moved, rest) = rest.split(2 * PAGE);
    moved.move_onto(Map::anonymous(2 * PAGE)).expect("a move");
    let (changed, last) = rest.split(3 * PAGE);
    changed.protect(PROT_READ).expect("mprotect");
    let pieces = [(&first, 0), (&moved, 2), (&changed, 4), (&last, 7)];
    let check = |expected: &[u8]| {
        for (map, page) in pieces {
            let start = page * PAGE;
            assert_eq!(
                map.read(0..map.len()),
                expected[start..start + map.len()],
                "page {page}"
            );
        }
    };
    check(&pattern(8 * PAGE));
    // What is forgotten is fetched again, from the same place.
    for (map, _) in pieces {
        map.advise(libc::MADV_DONTNEED).expect("DONTNEED");
    }
    check(&pattern(8 * PAGE));
    let mut expected = pattern(8 * PAGE);
    for (page, text) in [(0, b"first"), (2, b"moved"), (7, b"last.")] {
        expected[page * PAGE + 9..page * PAGE + 14].copy_from_slice(text);
    }
    let mut child = Child::start(|| {
        check(&pattern(8 * PAGE));
        first.write(9, b"first");
        moved.write(9, b"moved");
        last.write(9, b"last.");
    });
    assert_eq!(child.wait(Duration::from_secs(20)), End::Status(0));
    check(&expected);
    assert_eq!(get(&fd, start, 8 * PAGE), expected);
    // One more page, in the place of another, by its number.
    let shown = last
        .show_page((start / PAGE64) as usize + 3)
        .expect("another page");
    assert_eq!(shown.read(0..PAGE), expected[3 * PAGE..4 * PAGE]);
    let low = shown.show_page(0).expect("another window");
    assert_eq!(low.read(0..PAGE), [0; PAGE]);
}
