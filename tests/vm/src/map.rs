// SPDX-License-Identifier: MIT OR Apache-2.0

//! `mmap`, and all that can be done to a mapping.

use crate::driver::{self, get, mappings, open_node, pattern, put};
use crate::node::MadeByHand;
use crate::sys::{process_vm, Buffer, Child, End, Map, Span, PAGE, PAGE64, USER_END};
use libc::{MAP_PRIVATE, MAP_SHARED, MREMAP_MAYMOVE, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

crate::tests! {
    lengths_and_offsets
    flags
    a_file_gives_no_more_than_it_was_opened_for
    nothing_is_executable
    a_private_mapping_is_a_copy
    a_private_mapping_of_a_read_only_file_can_be_written
    growing_is_refused
    shrinking_and_moving_keep_the_bytes
    protection_changes_page_by_page
    parts_can_be_unmapped
    dont_need_loses_nothing
    advice_does_no_harm
    sync_and_lock_work
    replacing_a_mapping
    a_page_can_be_shown_elsewhere
    other_processes_and_the_debugger_can_look
    direct_io_goes_to_and_from_the_mapping
    a_thousand_mappings
}

const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// Bytes of the device that these tests mostly use.
const SIZE: usize = 16 * PAGE;

/// Runs a test on a device of [`SIZE`] bytes that [`pattern`] fills. Nothing may be mapped after it.
fn on_16_pages(test: impl FnOnce(&OwnedFd)) {
    driver::with(&format!("size={SIZE}"), || {
        let fd = driver::open();
        put(&fd, 0, &pattern(SIZE));
        test(&fd);
        assert_eq!(mappings(), 0);
    });
}

/// Maps any range of a device, shared, for reading and writing.
fn map(fd: impl AsFd, offset: u64, len: usize) -> Result<Map, Errno> {
    Map::new(Some(fd.as_fd()), offset, len, READ_WRITE, MAP_SHARED)
}

/// Whether a child that does this dies of this signal.
fn dies_of(signal: i32, body: impl FnOnce()) -> bool {
    Child::start(body).wait(Duration::from_secs(20)) == End::Signal(signal)
}

fn lengths_and_offsets() {
    on_16_pages(|fd| {
        let size = SIZE as u64;
        for (offset, len) in [
            (0, 1),
            (0, PAGE),
            (0, SIZE),
            (0, SIZE - 1),
            (size - PAGE64, 1),
            (size - PAGE64, PAGE),
            (PAGE64, SIZE - PAGE),
            (3 * PAGE64, 5 * PAGE),
        ] {
            let map = map(fd, offset, len).unwrap_or_else(|e| panic!("{len} at {offset}: {e}"));
            let bytes = &pattern(SIZE)[offset as usize..][..len];
            assert_eq!(map.read(0..len), bytes, "{len} at {offset}");
        }
        for (offset, len, errno) in [
            // Past the end of the window.
            (0, SIZE + 1, Errno::INVAL),
            (0, SIZE + PAGE, Errno::INVAL),
            (size - PAGE64, 2 * PAGE, Errno::INVAL),
            (PAGE64, SIZE, Errno::INVAL),
            (0, 1 << 32, Errno::INVAL),
            (0, 1 << 46, Errno::INVAL),
            // In no window. The largest ones are where a check that wraps would say yes.
            (size, 1, Errno::NXIO),
            (size, PAGE, Errno::NXIO),
            (size + PAGE64, PAGE, Errno::NXIO),
            (1 << 32, PAGE, Errno::NXIO),
            ((1 << 63) - PAGE64, PAGE, Errno::NXIO),
            (1 << 63, PAGE, Errno::NXIO),
            (u64::MAX - 2 * PAGE64 + 1, PAGE, Errno::NXIO),
            // What the kernel refuses before the driver is asked.
            (u64::MAX - PAGE64 + 1, PAGE, Errno::OVERFLOW),
            (u64::MAX - 2 * PAGE64 + 1, 2 * PAGE, Errno::OVERFLOW),
            (0, 0, Errno::INVAL),
            (1, PAGE, Errno::INVAL),
            (PAGE64 - 1, PAGE, Errno::INVAL),
            (u64::MAX, PAGE, Errno::INVAL),
            (0, USER_END, Errno::NOMEM),
            (0, usize::MAX, Errno::NOMEM),
            (0, 1 << 63, Errno::NOMEM),
        ] {
            assert_eq!(
                map(fd, offset, len).err(),
                Some(errno),
                "{len:#x} at {offset:#x}"
            );
        }
    });
}

fn flags() {
    let fd = driver::open();
    put(&fd, 0, &pattern(PAGE));
    let with = |flags| Map::new(Some(fd.as_fd()), 0, PAGE, READ_WRITE, flags);
    for flags in [
        MAP_SHARED,
        libc::MAP_SHARED_VALIDATE,
        MAP_SHARED | libc::MAP_POPULATE,
        MAP_SHARED | libc::MAP_LOCKED,
        MAP_SHARED | libc::MAP_NORESERVE,
        MAP_PRIVATE,
        MAP_PRIVATE | libc::MAP_POPULATE,
    ] {
        let map = with(flags).unwrap_or_else(|error| panic!("{flags:#x}: {error}"));
        assert_eq!(map.read(0..PAGE), pattern(PAGE), "{flags:#x}");
    }
    for (flags, errno) in [
        (0, Errno::INVAL),
        (MAP_SHARED | libc::MAP_GROWSDOWN, Errno::INVAL),
        (MAP_SHARED | libc::MAP_HUGETLB, Errno::INVAL),
        (libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC, Errno::OPNOTSUPP),
    ] {
        assert_eq!(with(flags).err(), Some(errno), "{flags:#x}");
    }
    let taken = with(MAP_SHARED).expect("a mapping");
    assert_eq!(taken.map_over(&fd), Err(Errno::EXIST));
    assert_eq!(mappings(), 1);
}

fn a_file_gives_no_more_than_it_was_opened_for() {
    let with =
        |fd: &OwnedFd, protection| Map::new(Some(fd.as_fd()), 0, PAGE, protection, MAP_SHARED);
    let reader = driver::open_read_only();
    assert_eq!(with(&reader, READ_WRITE).err(), Some(Errno::ACCESS));
    assert_eq!(with(&reader, PROT_WRITE).err(), Some(Errno::ACCESS));
    let map = with(&reader, PROT_READ).expect("a mapping");
    assert_eq!(map.protect(READ_WRITE), Err(Errno::ACCESS));
    assert!(dies_of(libc::SIGSEGV, || map.write(0, b"x")));
    // Nor by way of another open file of the same node.
    let writer = driver::open_write_only();
    for protection in [PROT_READ, PROT_WRITE, READ_WRITE] {
        assert_eq!(with(&writer, protection).err(), Some(Errno::ACCESS));
    }
    assert_eq!(mappings(), 1);
}

fn nothing_is_executable() {
    // Not through /dev, which may be mounted so that nothing in it is.
    let node = MadeByHand::new("/tmp/executable_memdev", 0);
    let fd = node.open(OFlags::RDWR).expect("a device");
    for flags in [MAP_SHARED, MAP_PRIVATE] {
        let with = |protection| Map::new(Some(fd.as_fd()), 0, PAGE, protection, flags);
        assert_eq!(with(PROT_READ | PROT_EXEC).err(), Some(Errno::ACCESS));
        assert_eq!(with(READ_WRITE | PROT_EXEC).err(), Some(Errno::ACCESS));
        assert_eq!(with(PROT_EXEC).err(), Some(Errno::ACCESS));
        let map = with(PROT_READ).expect("a mapping");
        assert_eq!(map.protect(PROT_READ | PROT_EXEC), Err(Errno::ACCESS));
    }
    assert_eq!(mappings(), 0);
}

fn a_private_mapping_is_a_copy() {
    on_16_pages(|fd| {
        let map = Map::new(Some(fd.as_fd()), 0, SIZE, READ_WRITE, MAP_PRIVATE).expect("a mapping");
        assert_eq!(map.read(0..SIZE), pattern(SIZE));
        // What is stored is the process's own, whether the page was read before or not.
        map.write(10, b"private");
        assert_eq!(map.read(10..17), b"private");
        assert_eq!(get(fd, 0, SIZE), pattern(SIZE));
        // A page that was stored to has parted from the device; another one has not.
        put(fd, 100, b"device");
        put(fd, PAGE as u64, b"device");
        assert_eq!(map.read(100..106), pattern(SIZE)[100..106]);
        assert_eq!(map.read(PAGE..PAGE + 6), b"device");
        // The copy is let go.
        assert_eq!(map.advise(libc::MADV_DONTNEED), Ok(()));
        assert_eq!(map.read(10..17), pattern(SIZE)[10..17]);
        assert_eq!(map.read(100..106), b"device");
        // Written before it was ever read.
        let fresh =
            Map::new(Some(fd.as_fd()), 0, SIZE, READ_WRITE, MAP_PRIVATE).expect("a mapping");
        fresh.write(5 * PAGE, b"fresh");
        assert_eq!(
            fresh.read(5 * PAGE + 5..6 * PAGE),
            pattern(SIZE)[5 * PAGE + 5..6 * PAGE]
        );
        // Nor has what was brought in beside it another way to the device.
        fresh.write(6 * PAGE, b"beside");
        assert_eq!(
            get(fd, 4 * PAGE as u64, 4 * PAGE),
            pattern(SIZE)[4 * PAGE..8 * PAGE]
        );
        let mut child = Child::start(|| fresh.write(5 * PAGE, b"child"));
        assert_eq!(child.wait(Duration::from_secs(20)), End::Status(0));
        assert_eq!(fresh.read(5 * PAGE..5 * PAGE + 5), b"fresh");
        assert_eq!(
            get(fd, 5 * PAGE as u64, PAGE),
            pattern(SIZE)[5 * PAGE..6 * PAGE]
        );
    });
}

fn a_private_mapping_of_a_read_only_file_can_be_written() {
    put(driver::open(), 0, &pattern(PAGE));
    let fd = driver::open_read_only();
    let map = Map::new(Some(fd.as_fd()), 0, PAGE, READ_WRITE, MAP_PRIVATE).expect("a mapping");
    map.write(0, b"mine");
    assert_eq!(map.read(0..4), b"mine");
    assert_eq!(get(&fd, 0, PAGE), pattern(PAGE));
}

fn growing_is_refused() {
    on_16_pages(|fd| {
        for (offset, len) in [(0, PAGE), (0, SIZE), (PAGE64, 3 * PAGE)] {
            let mut map = map(fd, offset, len).expect("a mapping");
            for longer in [len + 1, len + PAGE, 2 * len, SIZE + PAGE, 1 << 40] {
                for flags in [0, MREMAP_MAYMOVE] {
                    assert_eq!(map.resize(longer, flags), Err(Errno::FAULT), "{longer:#x}");
                }
            }
            assert_eq!(map.duplicate().err(), Some(Errno::FAULT));
            assert_eq!(map.move_out().err(), Some(Errno::INVAL));
            assert_eq!(map.resize(0, MREMAP_MAYMOVE), Err(Errno::INVAL));
            let bytes = &pattern(SIZE)[offset as usize..][..len];
            assert_eq!(map.read(0..len), bytes);
            assert_eq!(mappings(), 1);
        }
    });
}

fn shrinking_and_moving_keep_the_bytes() {
    on_16_pages(|fd| {
        let mut map = map(fd, PAGE64, 8 * PAGE).expect("a mapping");
        let expected = |len| pattern(SIZE)[PAGE..PAGE + len].to_vec();
        let old = map.address();
        map.move_onto(Map::anonymous(8 * PAGE)).expect("a move");
        assert_ne!(map.address(), old);
        assert_eq!(map.read(0..8 * PAGE), expected(8 * PAGE));
        assert_eq!(mappings(), 1);
        map.resize(3 * PAGE, 0).expect("a shorter mapping");
        assert_eq!(map.read(0..3 * PAGE), expected(3 * PAGE));
        map.write(0, b"moved");
        assert_eq!(get(fd, PAGE64, 5), b"moved");
        // A part that moves is cut out of the rest, and still the same bytes.
        let (head, mut tail) = map.split(PAGE);
        tail.move_onto(Map::anonymous(2 * PAGE)).expect("a move");
        assert_eq!(tail.read(0..2 * PAGE), expected(3 * PAGE)[PAGE..]);
        assert_eq!(head.read(0..5), b"moved");
        assert_eq!(mappings(), 2);
    });
}

fn protection_changes_page_by_page() {
    on_16_pages(|fd| {
        let (head, rest) = map(fd, 0, 3 * PAGE).expect("a mapping").split(PAGE);
        let (middle, tail) = rest.split(PAGE);
        assert_eq!(middle.protect(PROT_READ), Ok(()));
        assert_eq!(mappings(), 3);
        assert_eq!(middle.read(0..PAGE), pattern(SIZE)[PAGE..2 * PAGE]);
        assert!(dies_of(libc::SIGSEGV, || middle.write(0, b"x")));
        head.write(PAGE - 1, b"h");
        tail.write(0, b"t");
        assert_eq!(middle.protect(PROT_NONE), Ok(()));
        assert!(dies_of(libc::SIGSEGV, || drop(middle.read(0..1))));
        assert_eq!(middle.protect(READ_WRITE), Ok(()));
        middle.write(0, b"m");
        assert_eq!(get(fd, PAGE as u64 - 1, 2), b"hm");
        assert_eq!(get(fd, 2 * PAGE as u64, 1), b"t");
    });
}

fn parts_can_be_unmapped() {
    on_16_pages(|fd| {
        let bytes = pattern(SIZE);
        // The middle, the head, the tail.
        let (head, rest) = map(fd, 0, SIZE).expect("a mapping").split(4 * PAGE);
        let (middle, tail) = rest.split(4 * PAGE);
        drop(middle);
        assert_eq!(mappings(), 2);
        assert_eq!(head.read(0..head.len()), bytes[..4 * PAGE]);
        assert_eq!(tail.read(0..tail.len()), bytes[8 * PAGE..]);
        let (gone, head) = head.split(PAGE);
        drop(gone);
        let (tail, gone) = tail.split(7 * PAGE);
        drop(gone);
        assert_eq!(mappings(), 2);
        head.write(0, b"head");
        tail.write(6 * PAGE, b"tail");
        assert_eq!(get(fd, PAGE as u64, 4), b"head");
        assert_eq!(get(fd, 14 * PAGE as u64, 4), b"tail");
        // The bytes that nobody maps any more are still there.
        assert_eq!(get(fd, 5 * PAGE as u64, PAGE), bytes[5 * PAGE..6 * PAGE]);
        assert_eq!(get(fd, 15 * PAGE as u64, PAGE), bytes[15 * PAGE..]);
    });
}

fn dont_need_loses_nothing() {
    on_16_pages(|fd| {
        let map = map(fd, 0, SIZE).expect("a mapping");
        for round in 0..3 {
            map.write(round * PAGE, b"stored");
            assert_eq!(map.advise(libc::MADV_DONTNEED), Ok(()));
            assert_eq!(map.read(round * PAGE..round * PAGE + 6), b"stored");
            assert_eq!(map.read(8 * PAGE..SIZE), pattern(SIZE)[8 * PAGE..]);
            assert_eq!(map.advise(libc::MADV_DONTNEED), Ok(()));
            map.write(round * PAGE, b"again");
            assert_eq!(get(fd, (round * PAGE) as u64, 5), b"again");
        }
    });
}

fn advice_does_no_harm() {
    /// These two damage memory on purpose.
    const POISON: [i32; 2] = [libc::MADV_HWPOISON, libc::MADV_SOFT_OFFLINE];
    let exact = [
        (libc::MADV_NORMAL, Ok(())),
        (libc::MADV_RANDOM, Ok(())),
        (libc::MADV_SEQUENTIAL, Ok(())),
        (libc::MADV_DONTNEED, Ok(())),
        (libc::MADV_DONTFORK, Ok(())),
        (libc::MADV_DONTDUMP, Ok(())),
        (libc::MADV_COLD, Ok(())),
        (libc::MADV_PAGEOUT, Ok(())),
        (libc::MADV_POPULATE_READ, Ok(())),
        (libc::MADV_POPULATE_WRITE, Ok(())),
        (libc::MADV_FREE, Err(Errno::INVAL)),
        (libc::MADV_DOFORK, Err(Errno::INVAL)),
        (libc::MADV_DODUMP, Err(Errno::INVAL)),
        (libc::MADV_WIPEONFORK, Err(Errno::INVAL)),
        (libc::MADV_COLLAPSE, Err(Errno::INVAL)),
        (libc::MADV_REMOVE, Err(Errno::NODEV)),
    ];
    on_16_pages(|fd| {
        for advice in (-1..=110).filter(|advice| !POISON.contains(advice)) {
            let map = map(fd, 0, SIZE).expect("a mapping");
            map.write(SIZE - 1, &[advice as u8]);
            let answer = map.advise(advice);
            match exact.iter().find(|(known, _)| *known == advice) {
                Some((_, expected)) => assert_eq!(answer, *expected, "advice {advice}"),
                None => assert!(
                    matches!(answer, Ok(()) | Err(Errno::INVAL)),
                    "{advice}: {answer:?}"
                ),
            }
            let mut expected = pattern(SIZE);
            expected[SIZE - 1] = advice as u8;
            assert_eq!(map.read(0..SIZE), expected, "advice {advice}");
            assert_eq!(get(fd, 0, SIZE), expected, "advice {advice}");
        }
    });
}

fn sync_and_lock_work() {
    on_16_pages(|fd| {
        let map = map(fd, 0, SIZE).expect("a mapping");
        for flags in [
            libc::MS_SYNC,
            libc::MS_ASYNC,
            libc::MS_SYNC | libc::MS_INVALIDATE,
        ] {
            assert_eq!(map.sync(flags), Ok(()), "{flags}");
        }
        assert_eq!(map.sync(libc::MS_SYNC | libc::MS_ASYNC), Err(Errno::INVAL));
        for flags in [0, libc::MLOCK_ONFAULT] {
            assert_eq!(map.lock(flags), Ok(()));
            assert_eq!(map.read(0..SIZE), pattern(SIZE));
            assert_eq!(map.unlock(), Ok(()));
        }
    });
}

fn replacing_a_mapping() {
    on_16_pages(|fd| {
        // With another part of the device, in the middle.
        let (head, rest) = map(fd, 0, 3 * PAGE).expect("a mapping").split(PAGE);
        let (middle, tail) = rest.split(PAGE);
        let ten = 10 * PAGE as u64;
        let middle = middle
            .replace(fd.as_fd(), ten, READ_WRITE, MAP_SHARED)
            .expect("a mapping");
        assert_eq!(middle.read(0..PAGE), pattern(SIZE)[10 * PAGE..11 * PAGE]);
        assert_eq!(head.read(0..PAGE), pattern(SIZE)[..PAGE]);
        assert_eq!(tail.read(0..PAGE), pattern(SIZE)[2 * PAGE..3 * PAGE]);
        assert_eq!(mappings(), 3);
        // With what cannot be mapped: the old mapping is gone, and counted so.
        let end = SIZE as u64;
        let failed = middle.replace(fd.as_fd(), end, READ_WRITE, MAP_SHARED);
        assert_eq!(failed.err(), Some(Errno::NXIO));
        assert_eq!(mappings(), 2);
    });
}

/// `remap_file_pages`, a way to `mmap` that few remember.
fn a_page_can_be_shown_elsewhere() {
    on_16_pages(|fd| {
        let map = map(fd, 0, 2 * PAGE).expect("a mapping");
        let map = map.show_page(7).expect("other pages");
        assert_eq!(map.read(0..2 * PAGE), pattern(SIZE)[7 * PAGE..9 * PAGE]);
        map.write(0, b"seven");
        assert_eq!(get(fd, 7 * PAGE as u64, 5), b"seven");
        assert_eq!(map.show_page(15).err(), Some(Errno::INVAL));
        assert_eq!(mappings(), 0);
        let map = self::map(fd, 0, 2 * PAGE).expect("a mapping");
        assert_eq!(map.show_page(1 << 40).err(), Some(Errno::NXIO));
    });
}

/// Ways to reach the pages themselves: they are ordinary ones.
fn other_processes_and_the_debugger_can_look() {
    on_16_pages(|fd| {
        let map = map(fd, 0, SIZE).expect("a mapping");
        // A child has the same addresses mapped; nothing in it has touched them.
        let child = Child::start(|| std::thread::sleep(Duration::from_secs(60)));
        let buffer = Buffer::new(SIZE);
        let all = map.span(0, SIZE);
        assert_eq!(
            process_vm(child.id(), false, buffer.span(0, SIZE), all),
            Ok(SIZE)
        );
        assert_eq!(buffer.read(0..SIZE), pattern(SIZE));
        buffer.write(0, b"from outside");
        let (local, remote) = (buffer.span(0, 12), map.span(5000, 12));
        assert_eq!(process_vm(child.id(), true, local, remote), Ok(12));
        assert_eq!(get(fd, 5000, 12), b"from outside");

        // As gdb does it.
        let memory = std::fs::File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{}/mem", child.id()))
            .expect("/proc");
        assert_eq!(
            get(&memory, map.address() as u64 + 5000, 12),
            b"from outside"
        );
        put(&memory, map.address() as u64 + 9000, b"by the debugger");
        assert_eq!(get(fd, 9000, 15), b"by the debugger");
    });
}

/// A disk of 256 pages in memory, until dropped.
pub(crate) struct Disk;

impl Disk {
    /// Makes the disk.
    pub(crate) fn new() -> Self {
        let modprobe = Command::new("modprobe")
            .args(["brd", "rd_nr=1", &format!("rd_size={}", 256 * PAGE / 1024)])
            .status();
        assert!(modprobe.expect("modprobe runs").success());
        Self
    }

    /// Opens it for reading and writing.
    pub(crate) fn open(&self, flags: OFlags) -> OwnedFd {
        open_node("/dev/ram0", OFlags::RDWR | flags).expect("/dev/ram0")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let modprobe = Command::new("modprobe").args(["-r", "brd"]).status();
        assert!(modprobe.expect("modprobe runs").success());
    }
}

fn direct_io_goes_to_and_from_the_mapping() {
    let disk = Disk::new();
    on_16_pages(|fd| {
        let map = map(fd, 0, SIZE).expect("a mapping");
        let direct = disk.open(OFlags::DIRECT);
        assert_eq!(
            crate::sys::pwrite(&direct, map.span(0, SIZE), 2 * PAGE as i64),
            Ok(SIZE)
        );
        assert_eq!(
            get(disk.open(OFlags::empty()), 2 * PAGE64, SIZE),
            pattern(SIZE)
        );
        put(fd, 0, &vec![0; SIZE]);
        assert_eq!(
            crate::sys::pread(&direct, map.span(PAGE, 8 * PAGE), 2 * PAGE as i64),
            Ok(8 * PAGE)
        );
        assert_eq!(get(fd, PAGE as u64, 8 * PAGE), pattern(SIZE)[..8 * PAGE]);
        assert_eq!(get(fd, 9 * PAGE as u64, PAGE), [0; PAGE]);
        // The device outlives its mapping in the disk's hands no more than in anybody's.
        assert_eq!(
            crate::sys::pread(&direct, Span::null(PAGE), 0),
            Err(Errno::FAULT)
        );
    });
}

fn a_thousand_mappings() {
    let fd = driver::open();
    put(&fd, 0, &pattern(PAGE));
    let mut maps: Vec<Map> = (0..1000)
        .map(|_| map(&fd, 0, PAGE).expect("a mapping"))
        .collect();
    assert_eq!(mappings(), 1000);
    maps[999].write(0, b"one");
    assert!(maps.iter().all(|map| map.read(0..3) == b"one"));
    maps.truncate(1);
    assert_eq!(mappings(), 1);
    drop(maps);
    assert_eq!(mappings(), 0);
}
