// SPDX-License-Identifier: MIT OR Apache-2.0

//! What goes wrong in drivers like this one, each as a test that it does not here. Those that other
//! files have are listed in `docs/reliability.md`, with the driver that has the defect.

use crate::driver::{self, get, open_node, pattern, put};
use crate::folder::{Folder, RAM_HAS_MODES};
use crate::pci::Pci;
use crate::sys::{ioctl, ioctl_fd, pread, pwrite, Buffer, Child, End, Map, PAGE, PAGE64};
use chrmem_uapi::abi;
use libc::{MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{getrlimit, setrlimit, Resource};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

crate::tests! {
    a_private_mapping_that_is_touched_is_no_bug
    no_range_wraps_around
    a_split_mapping_still_shows_its_own_window
    a_touch_ends_in_a_page_or_a_signal
    what_has_no_meaning_yet_is_refused
    a_file_opened_anew_may_no_more_than_before
    an_argument_that_changes_meanwhile_is_read_once
    nobody_handles_faults_for_the_driver
    a_sealed_mapping_stays
    limits_of_a_process_hold
}

const LIMIT: Duration = Duration::from_secs(60);
const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// Windows of every kind, 16 pages each, back to back.
fn of_every_kind() -> Folder {
    let bar = Pci::find(0x1af4, 0x1110).bar(2).start;
    let windows = [
        ("pages", "size=16pages".to_owned()),
        ("run", "size=16pages memory=contiguous".to_owned()),
        ("noncached", "size=16pages cache=noncached".to_owned()),
        ("dma", "size=16pages memory=dma".to_owned()),
        (
            "bar",
            format!("size=16pages memory=physical address={bar:#x}"),
        ),
    ];
    let windows = windows
        .each_ref()
        .map(|(name, settings)| (*name, settings.as_str()));
    let folder = Folder::live("test", &windows);
    for start in STARTS {
        put(folder.open(), start, &pattern(16 * PAGE));
    }
    folder
}

/// Where they start.
const STARTS: [u64; 5] = [0, 16 * PAGE64, 32 * PAGE64, 48 * PAGE64, 64 * PAGE64];

/// u-dma-buf maps page frames copy-on-write: a touch is a BUG of the kernel.
fn a_private_mapping_that_is_touched_is_no_bug() {
    let folder = of_every_kind();
    let fd = folder.open();
    for (number, start) in STARTS.into_iter().enumerate() {
        for flags in [MAP_PRIVATE, MAP_PRIVATE | libc::MAP_POPULATE] {
            let answer = Map::new(Some(fd.as_fd()), start, 16 * PAGE, READ_WRITE, flags);
            if number > 2 || number == 2 && RAM_HAS_MODES {
                assert_eq!(answer.err(), Some(Errno::INVAL), "{number}");
                continue;
            }
            let map = answer.expect("a mapping");
            map.write(0, b"mine");
            assert_eq!(map.read(4..16 * PAGE), pattern(16 * PAGE)[4..]);
            let mut child = Child::start(|| map.write(PAGE, b"the child's"));
            assert_eq!(child.wait(LIMIT), End::Status(0));
            assert_eq!(map.read(PAGE..16 * PAGE), pattern(16 * PAGE)[PAGE..]);
            assert_eq!(get(&fd, start, 16 * PAGE), pattern(16 * PAGE));
        }
    }
}

/// u-dma-buf adds offset and size of an export without a check, and those of a sync.
fn no_range_wraps_around() {
    let folder = of_every_kind();
    let fd = folder.open();
    let page = PAGE64;
    let argument = Buffer::new(24);
    for (offset, size) in [
        (page.wrapping_neg(), 2 * page),
        (page.wrapping_neg(), page),
        (page.wrapping_neg(), page + 16 * PAGE64),
        (page, page.wrapping_neg()),
        (2 * page, page.wrapping_neg()),
        (16 * PAGE64, 0_u64.wrapping_sub(16 * PAGE64)),
        (1 << 63, 1 << 63),
        ((1 << 63) - page, (1 << 63) + page),
        (u64::MAX - page + 1, u64::MAX - page + 1),
    ] {
        for command in [abi::EXPORT, abi::SYNC, abi::CLEAR] {
            let flags = if command == abi::SYNC {
                abi::SYNC_READ
            } else {
                0
            };
            argument.write(0, &offset.to_ne_bytes());
            argument.write(8, &size.to_ne_bytes());
            argument.write(16, &flags.to_ne_bytes());
            argument.write(20, &[0; 4]);
            let answer = ioctl(&fd, command, argument.span(0, 24));
            assert!(
                matches!(answer, Err(Errno::INVAL | Errno::NXIO)),
                "{command:#x} of {size:#x} at {offset:#x}: {answer:?}"
            );
        }
        let len = size as usize;
        let answer = Map::new(Some(fd.as_fd()), offset, len, PROT_READ, MAP_SHARED);
        assert!(answer.is_err(), "{size:#x} at {offset:#x}");
    }
    for start in STARTS {
        assert_eq!(get(&fd, start, 16 * PAGE), pattern(16 * PAGE));
    }
}

/// UIO tells its maps apart by the mapping's offset, which changes when the first page is unmapped.
fn a_split_mapping_still_shows_its_own_window() {
    let folder = of_every_kind();
    let fd = folder.open();
    for (number, start) in (1_u8..).zip(STARTS) {
        put(&fd, start, &[number; 16 * PAGE]);
    }
    for (number, start) in (1_u8..).zip(STARTS) {
        // Nothing of it is touched before it is split.
        let map = Map::shared_at(&fd, start, 16 * PAGE).expect("a mapping");
        let (first, rest) = map.split(PAGE);
        drop(first);
        let (second, mut rest) = rest.split(3 * PAGE);
        drop(second);
        rest.move_onto(Map::anonymous(12 * PAGE)).expect("a move");
        let (rest, last) = rest.split(11 * PAGE);
        drop(last);
        assert_eq!(rest.read(0..11 * PAGE), vec![number; 11 * PAGE]);
        rest.write(0, &[number ^ 0xff]);
        assert_eq!(get(&fd, start + 4 * PAGE64, 1), [number ^ 0xff]);
    }
}

/// scullp answers a fault in a hole by trying again, for ever.
fn a_touch_ends_in_a_page_or_a_signal() {
    let folder = Folder::live(
        "test",
        &[("one", "size=2pages"), ("two", "offset=4pages size=1page")],
    );
    let fd = folder.open();
    for (offset, len, errno) in [
        (2 * PAGE64, PAGE, Errno::NXIO),
        (PAGE64, 2 * PAGE, Errno::INVAL),
        (0, 5 * PAGE, Errno::INVAL),
        (5 * PAGE64, PAGE, Errno::NXIO),
    ] {
        assert_eq!(Map::shared_at(&fd, offset, len).err(), Some(errno));
    }
    // Nor does a page of it ever come to lie elsewhere.
    let map = Map::shared(&fd, 2 * PAGE).expect("a mapping");
    for page in 0..8 {
        let answer = Map::shared(&fd, 2 * PAGE)
            .expect("a mapping")
            .show_page(page);
        assert_eq!(answer.is_ok(), page == 0, "page {page}");
    }
    map.protect(libc::PROT_NONE).expect("mprotect");
    let start = Instant::now();
    let mut child = Child::start(|| drop(map.read(0..8)));
    assert_eq!(child.wait(LIMIT), End::Signal(libc::SIGSEGV));
    assert!(start.elapsed() < LIMIT / 2);
}

/// udmabuf takes unknown flags and never looks at its padding, so that neither can get a meaning.
fn what_has_no_meaning_yet_is_refused() {
    let fd = driver::open();
    let argument = Buffer::new(PAGE);
    let size = size_of::<abi::Window>();
    let known = |command, at: usize, bit: u32| match (command, at, bit) {
        (abi::SYNC, 16, bit) => 1 << bit & (abi::SYNC_READ | abi::SYNC_WRITE | abi::SYNC_END) != 0,
        _ => false,
    };
    for command in [abi::CLEAR, abi::SYNC, abi::EXPORT] {
        for at in [16, 20] {
            for bit in (0..32).filter(|bit| !known(command, at, *bit)) {
                argument.write(0, &[0; 24]);
                argument.write(8, &PAGE64.to_ne_bytes());
                if command == abi::SYNC {
                    argument.write(16, &abi::SYNC_READ.to_ne_bytes());
                }
                let old = argument.read(at..at + 4);
                let word = u32::from_ne_bytes(old.try_into().expect("4 bytes")) | 1 << bit;
                argument.write(at, &word.to_ne_bytes());
                let answer = ioctl(&fd, command, argument.span(0, 24));
                assert_eq!(answer, Err(Errno::INVAL), "{command:#x}, bit {bit} at {at}");
            }
        }
    }
    // What WINDOW is asked with.
    let reserved = std::mem::offset_of!(abi::Window, reserved);
    for at in (4..8).chain(reserved..reserved + 20) {
        argument.write(0, &vec![0; size]);
        argument.write(at, &[1]);
        let answer = ioctl(&fd, abi::WINDOW, argument.span(0, size));
        assert_eq!(answer, Err(Errno::INVAL), "byte {at}");
    }
}

/// A file, or a window, for reading stays so, whatever way it is opened again.
fn a_file_opened_anew_may_no_more_than_before() {
    let folder = Folder::live(
        "test",
        &[("ro", "size=1page access=ro fill=7"), ("rw", "size=1page")],
    );
    let reader = folder.open_as(OFlags::RDONLY);
    // By root, whose node it is: a new open is asked anew, and the window is as it was.
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let both = open_node(path, OFlags::RDWR).expect("a file");
    let at =
        |offset, protection| Map::new(Some(both.as_fd()), offset, PAGE, protection, MAP_SHARED);
    assert_eq!(at(0, READ_WRITE).err(), Some(Errno::ACCESS));
    let map = at(0, PROT_READ).expect("a mapping");
    assert_eq!(map.protect(READ_WRITE), Err(Errno::ACCESS));
    let buffer = Buffer::new(8);
    assert_eq!(pwrite(&both, buffer.span(0, 8), 0), Err(Errno::ACCESS));
    assert_eq!(pwrite(&both, buffer.span(0, 8), PAGE as i64), Ok(8));
    assert_eq!(get(&both, 0, 8), [7; 8]);
    // A path is no file that was opened for anything.
    let path = folder.open_as(OFlags::PATH);
    assert_eq!(Map::shared(&path, PAGE).err(), Some(Errno::BADF));
    assert_eq!(pread(&path, buffer.span(0, 8), 0), Err(Errno::BADF));
    assert_eq!(ioctl(&path, abi::INFO, buffer.span(0, 8)), Err(Errno::BADF));
}

/// Another thread changes the argument all the time: what was checked is what is done.
fn an_argument_that_changes_meanwhile_is_read_once() {
    let folder = Folder::live(
        "test",
        &[("one", "size=16pages"), ("two", "offset=1M size=16pages")],
    );
    let fd = folder.open();
    // No mixture of the offsets below leads to the twelfth page of a window.
    let kept = [12 * PAGE64, (1 << 20) + 12 * PAGE64];
    for at in kept {
        put(&fd, at, &pattern(PAGE));
    }
    let argument = Buffer::new(PAGE);
    argument.write(8, &PAGE64.to_ne_bytes());
    let (stop, argument) = (AtomicBool::new(false), &argument);
    let (mut done, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let offsets = [0_u64, 1 << 20, 1 << 63, 70000, u64::MAX - PAGE64 + 1];
            for offset in offsets.into_iter().cycle() {
                // Byte by byte: the worst mixtures are seen as well.
                argument.write(0, &offset.to_ne_bytes());
                argument.write(20, &[(offset >> 63) as u8]);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for round in 0..20_000 {
            let command = if round % 8 == 0 {
                abi::EXPORT
            } else {
                abi::CLEAR
            };
            let answer = if command == abi::EXPORT {
                ioctl_fd(&fd, command, argument.span(0, 24)).map(drop)
            } else {
                ioctl(&fd, command, argument.span(0, 24)).map(drop)
            };
            match answer {
                Ok(()) => done += 1,
                Err(Errno::INVAL | Errno::NXIO) => refused += 1,
                Err(error) => panic!("{command:#x}: {error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(done > 0 && refused > 0, "{done} done, {refused} refused");
    for at in kept {
        assert_eq!(get(&fd, at, PAGE), pattern(PAGE));
    }
}

/// userfaultfd would stop whoever touches a page, in the kernel as well: it is for memory that can be
/// given pages from outside.
fn nobody_handles_faults_for_the_driver() {
    const NEW: u32 = 0xaa00;
    const API: u32 = 0xc018_aa3f;
    const REGISTER: u32 = 0xc020_aa00;
    let folder = of_every_kind();
    let control = open_node("/dev/userfaultfd", OFlags::RDWR).expect("/dev/userfaultfd");
    let handler = ioctl_fd(&control, NEW, crate::sys::Span::null(0)).expect("a descriptor");
    let argument = Buffer::new(PAGE);
    argument.write(0, &0xaa_u64.to_ne_bytes());
    assert_eq!(ioctl(&handler, API, argument.span(0, 24)), Ok(0));
    for start in STARTS {
        let map = Map::shared_at(folder.open(), start, 16 * PAGE).expect("a mapping");
        // Missing pages, write protection, minor faults.
        for mode in [1_u64, 2, 4] {
            let fields = [map.address() as u64, 16 * PAGE64, mode, 0].map(u64::to_ne_bytes);
            argument.write(0, &fields.concat());
            let answer = ioctl(&handler, REGISTER, argument.span(0, 32));
            assert_eq!(answer, Err(Errno::INVAL), "mode {mode} at {start:#x}");
        }
        assert_eq!(map.read(0..16 * PAGE), pattern(16 * PAGE));
    }
}

/// mseal: neither unmapped nor changed any more, till the process ends.
fn a_sealed_mapping_stays() {
    let folder = of_every_kind();
    for start in STARTS {
        let fd = folder.open();
        let mut child = Child::start(|| {
            let map = Map::shared_at(&fd, start, 16 * PAGE).expect("a mapping");
            map.seal().expect("mseal");
            assert_eq!(map.protect(PROT_READ), Err(Errno::PERM));
            let mut map = std::mem::ManuallyDrop::new(map);
            assert_eq!(map.resize(PAGE, 0), Err(Errno::PERM));
            assert_eq!(map.read(0..16 * PAGE), pattern(16 * PAGE));
        });
        assert_eq!(child.wait(LIMIT), End::Status(0));
    }
    assert_eq!(folder.shown().mappings.0, 0);
}

/// The address space that a process may have, and the number of its mappings.
fn limits_of_a_process_hold() {
    const MOST: &str = "/proc/sys/vm/max_map_count";
    let fd = driver::open();
    let usual = std::fs::read_to_string(MOST).expect("/proc");
    let most = 2000;
    std::fs::write(MOST, most.to_string()).expect("/proc");
    let mut child = Child::start(|| {
        let mut limit = getrlimit(Resource::As);
        limit.current = Some(1);
        let mut maps = Vec::with_capacity(most);
        // Every other one for reading only, so that they do not become one.
        let error = loop {
            let protection = if maps.len() % 2 == 0 {
                PROT_READ
            } else {
                READ_WRITE
            };
            match Map::new(Some(fd.as_fd()), 0, PAGE, protection, MAP_SHARED) {
                Ok(map) => maps.push(map),
                Err(error) => break error,
            }
        };
        assert_eq!(error, Errno::NOMEM);
        assert!(
            maps.len() > most - 200 && maps.len() <= most,
            "{}",
            maps.len()
        );
        assert_eq!(driver::mappings(), maps.len() as i64);
        drop(maps);
        setrlimit(Resource::As, limit).expect("a limit");
        assert_eq!(Map::shared(&fd, PAGE).err(), Some(Errno::NOMEM));
    });
    let end = child.wait(LIMIT);
    std::fs::write(MOST, usual).expect("/proc");
    assert_eq!(end, End::Status(0));
    assert_eq!(driver::mappings(), 0);
}
