// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every command, and every way to get one wrong.

use crate::driver::{self, generation, get, pattern, put, SIZE};
use crate::sys::{ioctl, ioctl32, ioctl_fd, Buffer, Map, Span, PAGE, PAGE64};
use chrmem_uapi::abi::{
    self, CLEAR, EXPORT, INFO, MEM_CLEAR, MEM_RESET, NOTIFY, RESET, SEEN, SYNC, SYNC_END,
    SYNC_READ, SYNC_WRITE, WINDOW,
};
use rustix::io::Errno;
use std::mem::offset_of;
use std::os::fd::{AsFd, OwnedFd};

crate::tests! {
    clear_zeroes_and_reset_greets
    info_tells_the_device
    window_tells_the_window
    window_refuses_what_is_not_zero
    clear_of_a_range
    clear_refuses_bad_ranges
    sync_of_a_range
    export_of_a_range
    notify_and_seen_count
    bad_pointers
    an_argument_may_lie_in_the_device_itself
    unknown_commands
    commands_of_other_devices
    a_read_only_file_changes_nothing
    a_write_only_file_may_ask
    callers_of_32_bits
}

/// Every command, and the bytes of its argument.
const COMMANDS: [(u32, usize); 11] = [
    (MEM_CLEAR, 0),
    (MEM_RESET, 0),
    (INFO, size_of::<abi::Info>()),
    (WINDOW, size_of::<abi::Window>()),
    (CLEAR, size_of::<abi::Range>()),
    (RESET, 0),
    (NOTIFY, 0),
    (SEEN, size_of::<u64>()),
    (SYNC, size_of::<abi::Range>()),
    (EXPORT, size_of::<abi::Range>()),
    (abi::CHANGES, size_of::<abi::Changes>()),
];

/// The commands that change something.
const CHANGES: [u32; 5] = [MEM_CLEAR, MEM_RESET, CLEAR, RESET, NOTIFY];

/// A number out of a structure that the driver has filled.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// A number out of a structure that the driver has filled.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The argument of CLEAR, SYNC and EXPORT.
fn range(offset: u64, size: u64, flags: u32, reserved: u32) -> Vec<u8> {
    let mut bytes = offset.to_ne_bytes().to_vec();
    bytes.extend(size.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(reserved.to_ne_bytes());
    assert_eq!(bytes.len(), size_of::<abi::Range>());
    bytes
}

/// Calls a command with these bytes for its argument: its answer, and the bytes afterwards.
fn call(fd: impl AsFd, command: u32, argument: &[u8]) -> Result<Vec<u8>, Errno> {
    let buffer = Buffer::new(argument.len());
    // At the very end of the memory, so that one byte too many is noticed.
    let start = buffer.len() - argument.len();
    buffer.write(start, argument);
    let answer = ioctl(fd, command, buffer.span(start, argument.len()));
    answer.map(|done| {
        assert_eq!(done, 0);
        buffer.read(start..buffer.len())
    })
}

fn clear_zeroes_and_reset_greets() {
    let fd = driver::open();
    let mut greeting = vec![0; SIZE];
    greeting[..12].copy_from_slice(b"hello, user!");
    // The textbook passes no argument: whatever is in the register.
    for argument in [Span::null(0)].into_iter().chain(Span::nowhere(0)) {
        for (command, expected) in [
            (MEM_CLEAR, &vec![0; SIZE]),
            (MEM_RESET, &greeting),
            (RESET, &greeting),
        ] {
            put(&fd, 0, &pattern(SIZE));
            let before = generation();
            assert_eq!(ioctl(&fd, command, argument), Ok(0));
            assert_eq!(get(&fd, 0, SIZE), *expected, "{command:#x}");
            assert_eq!(generation(), before + 1);
        }
    }
}

fn info_tells_the_device() {
    for fd in [driver::open(), driver::open_read_only()] {
        let info = call(&fd, INFO, &[0xff; size_of::<abi::Info>()]).expect("INFO");
        assert_eq!(u32_at(&info, offset_of!(abi::Info, version)), abi::VERSION);
        assert_eq!(u32_at(&info, offset_of!(abi::Info, windows)), 1);
        assert_eq!(u64_at(&info, offset_of!(abi::Info, size)), SIZE as u64);
        assert_eq!(
            u64_at(&info, offset_of!(abi::Info, generation)),
            generation()
        );
        let page_size = u64_at(&info, offset_of!(abi::Info, page_size));
        assert_eq!(page_size, rustix::param::page_size() as u64);
        assert_eq!(info[offset_of!(abi::Info, reserved)..], [0; 32]);
    }
}

fn window_tells_the_window() {
    let fd = driver::open_read_only();
    // What is for the driver to fill may hold anything.
    let mut asked = [0xff; size_of::<abi::Window>()];
    asked[..8].fill(0);
    let reserved = offset_of!(abi::Window, reserved);
    asked[reserved..reserved + 20].fill(0);
    let window = call(&fd, WINDOW, &asked).expect("WINDOW");
    assert_eq!(window[..8], [0; 8]);
    assert_eq!(u64_at(&window, offset_of!(abi::Window, offset)), 0);
    assert_eq!(u64_at(&window, offset_of!(abi::Window, size)), SIZE as u64);
    assert_eq!(
        u64_at(&window, offset_of!(abi::Window, address)),
        abi::ADDRESS_UNKNOWN
    );
    assert_eq!(
        u32_at(&window, offset_of!(abi::Window, memory)),
        abi::MEMORY_PAGES
    );
    assert_eq!(
        u32_at(&window, offset_of!(abi::Window, cache)),
        abi::CACHE_CACHED
    );
    assert_eq!(u32_at(&window, offset_of!(abi::Window, access)), 3);
    assert_eq!(window[reserved..reserved + 20], [0; 20]);
    let mut name = [0; abi::NAME_SIZE];
    name[..6].copy_from_slice(b"buffer");
    assert_eq!(window[offset_of!(abi::Window, name)..], name);
}

fn window_refuses_what_is_not_zero() {
    let fd = driver::open();
    let zero = [0; size_of::<abi::Window>()];
    assert!(call(&fd, WINDOW, &zero).is_ok());
    for index in [1, 2, 1 << 16, u32::MAX] {
        let mut asked = zero;
        asked[..4].copy_from_slice(&index.to_ne_bytes());
        assert_eq!(
            call(&fd, WINDOW, &asked),
            Err(Errno::INVAL),
            "window {index}"
        );
    }
    let reserved = offset_of!(abi::Window, reserved);
    for at in (offset_of!(abi::Window, flags)..8).chain(reserved..reserved + 20) {
        for bit in [1, 0x80] {
            let mut asked = zero;
            asked[at] = bit;
            assert_eq!(call(&fd, WINDOW, &asked), Err(Errno::INVAL), "byte {at}");
        }
    }
}

fn clear_of_a_range() {
    let fd = driver::open();
    let size = SIZE as u64;
    for (offset, len) in [
        (0, 1),
        (0, 40),
        (13, 100),
        (size - 1, 1),
        (100, size - 100),
        (0, size),
    ] {
        put(&fd, 0, &pattern(SIZE));
        let before = generation();
        assert!(call(&fd, CLEAR, &range(offset, len, 0, 0)).is_ok());
        let mut expected = pattern(SIZE);
        expected[offset as usize..(offset + len) as usize].fill(0);
        assert_eq!(get(&fd, 0, SIZE), expected, "{len} bytes at {offset}");
        assert_eq!(generation(), before + 1);
    }
}

fn clear_refuses_bad_ranges() {
    let fd = driver::open();
    put(&fd, 0, &pattern(SIZE));
    let (before, size) = (generation(), SIZE as u64);
    for (offset, len, flags, reserved) in [
        (0, 0, 0, 0),
        (100, 0, 0, 0),
        (size, 0, 0, 0),
        (size, 1, 0, 0),
        (size - 1, 2, 0, 0),
        (0, size + 1, 0, 0),
        (1, size, 0, 0),
        (0, u64::MAX, 0, 0),
        (1, u64::MAX, 0, 0),
        (u64::MAX, 1, 0, 0),
        (u64::MAX, u64::MAX, 0, 0),
        (1 << 63, 1 << 63, 0, 0),
        (u64::MAX - PAGE64 + 1, PAGE64, 0, 0),
        (0, 10, 1, 0),
        (0, 10, 1 << 31, 0),
        (0, 10, 0, 1),
        (0, 10, 0, 1 << 31),
    ] {
        let argument = range(offset, len, flags, reserved);
        assert_eq!(
            call(&fd, CLEAR, &argument),
            Err(Errno::INVAL),
            "{len} bytes at {offset}"
        );
    }
    assert_eq!(generation(), before);
    assert_eq!(get(&fd, 0, SIZE), pattern(SIZE));
}

fn sync_of_a_range() {
    let (fd, both, size) = (driver::open_read_only(), driver::open(), SIZE as u64);
    let before = generation();
    for flags in [SYNC_READ, SYNC_WRITE, SYNC_READ | SYNC_WRITE] {
        for (offset, len) in [(0, size), (1, 1), (size - 1, 1)] {
            for flags in [flags, flags | SYNC_END] {
                let argument = range(offset, len, flags, 0);
                call(&both, SYNC, &argument).expect("SYNC");
                // To write takes a file that can be written, as it does elsewhere.
                let expected = if flags & SYNC_WRITE == 0 {
                    Ok(())
                } else {
                    Err(Errno::BADF)
                };
                assert_eq!(call(&fd, SYNC, &argument).map(drop), expected);
            }
        }
    }
    for (offset, len, flags, reserved) in [
        (0, size, 0, 0),
        (0, size, SYNC_END, 0),
        (0, size, SYNC_READ | 8, 0),
        (0, size, SYNC_READ | 1 << 31, 0),
        (0, size, SYNC_READ, 1),
        (0, 0, SYNC_READ, 0),
        (0, size + 1, SYNC_READ, 0),
        (size, 1, SYNC_READ, 0),
        (u64::MAX, 1, SYNC_READ, 0),
        (1, u64::MAX, SYNC_READ, 0),
    ] {
        let argument = range(offset, len, flags, reserved);
        assert_eq!(
            call(&fd, SYNC, &argument),
            Err(Errno::INVAL),
            "{len} bytes at {offset}"
        );
    }
    // No change of what is in the device.
    assert_eq!(generation(), before);
}

fn export_of_a_range() {
    driver::with("size=4pages", || {
        let (fd, reader) = (driver::open(), driver::open_read_only());
        put(&fd, 0, &pattern(4 * PAGE));
        let buffer = Buffer::new(PAGE);
        let export = |fd: &OwnedFd, argument: &[u8]| {
            buffer.write(0, argument);
            ioctl_fd(fd, EXPORT, buffer.span(0, PAGE))
        };
        let part = export(&fd, &range(PAGE64, 2 * PAGE64, 0, 0)).expect("a dma-buf");
        let map = Map::shared(&part, 2 * PAGE).expect("a mapping");
        assert_eq!(map.read(0..2 * PAGE), pattern(4 * PAGE)[PAGE..3 * PAGE]);
        map.write(0, b"by the dma-buf");
        assert_eq!(get(&fd, PAGE64, 14), b"by the dma-buf");
        assert_eq!(Map::shared(&part, 3 * PAGE).err(), Some(Errno::INVAL));
        assert_eq!(driver::mappings(), 1);
        // What was opened for reading is exported so.
        let read_only = export(&reader, &range(0, PAGE64, 0, 0)).expect("a dma-buf");
        assert_eq!(Map::shared(&read_only, PAGE).err(), Some(Errno::ACCESS));
        let writer = driver::open_write_only();
        let answer = export(&writer, &range(0, PAGE64, 0, 0));
        assert_eq!(answer.err(), Some(Errno::ACCESS));
        drop(writer);
        // It keeps the driver by itself.
        drop((fd, map, read_only));
        let same = driver::open();
        drop(reader);
        for (offset, len, flags, reserved, errno) in [
            (0, 0, 0, 0, Errno::INVAL),
            (1, PAGE64, 0, 0, Errno::INVAL),
            (0, PAGE64 - 1, 0, 0, Errno::INVAL),
            (0, PAGE64, 1, 0, Errno::INVAL),
            (0, PAGE64, 0, 1, Errno::INVAL),
            (0, 5 * PAGE64, 0, 0, Errno::INVAL),
            (PAGE64, 4 * PAGE64, 0, 0, Errno::INVAL),
            (4 * PAGE64, PAGE64, 0, 0, Errno::NXIO),
            (1 << 63, PAGE64, 0, 0, Errno::NXIO),
            (0, 1 << 63, 0, 0, Errno::INVAL),
            (u64::MAX - PAGE64 + 1, PAGE64, 0, 0, Errno::NXIO),
        ] {
            let answer = export(&same, &range(offset, len, flags, reserved));
            assert_eq!(answer.err(), Some(errno), "{len} bytes at {offset}");
        }
        drop(same);
        assert_eq!(driver::unload(), Err(Errno::AGAIN));
        let map = Map::shared(&part, 2 * PAGE).expect("a mapping");
        drop(part);
        assert_eq!(map.read(0..14), b"by the dma-buf");
        assert_eq!(driver::unload(), Err(Errno::AGAIN));
    });
}

fn notify_and_seen_count() {
    let (fd, other) = (driver::open(), driver::open());
    let before = generation();
    let seen = |fd| u64_at(&call(fd, SEEN, &[0xff; 8]).expect("SEEN"), 0);
    assert_eq!(seen(&fd), before);
    for count in 1..=3 {
        assert!(call(&fd, NOTIFY, &[]).is_ok());
        assert_eq!(generation(), before + count);
    }
    assert_eq!(driver::fdinfo(&fd).seen, Some(before));
    assert_eq!(seen(&fd), before + 3);
    assert_eq!(driver::fdinfo(&fd).seen, Some(before + 3));
    // To ask and to have seen are no changes, and each open file's own.
    assert_eq!(driver::fdinfo(&other).seen, Some(before));
    assert_eq!(generation(), before + 3);
}

fn bad_pointers() {
    let fd = driver::open();
    put(&fd, 0, &pattern(SIZE));
    let before = (generation(), driver::fdinfo(&fd).seen);
    let buffer = Buffer::new(PAGE);
    for (command, size) in COMMANDS.into_iter().filter(|(_, size)| *size != 0) {
        let straddling = [1, size / 2, size - 1].map(|left| buffer.span(buffer.len() - left, size));
        for bad in Span::nowhere(size).into_iter().chain(straddling) {
            assert_eq!(
                ioctl(&fd, command, bad),
                Err(Errno::FAULT),
                "{command:#x} {bad:?}"
            );
        }
    }
    assert_eq!((generation(), driver::fdinfo(&fd).seen), before);
    assert_eq!(get(&fd, 0, SIZE), pattern(SIZE));
}

fn an_argument_may_lie_in_the_device_itself() {
    let fd = driver::open();
    let mapped = Buffer::of(&fd, SIZE);
    assert_eq!(ioctl(&fd, INFO, mapped.span(8, 64)), Ok(0));
    assert_eq!(u32_at(&get(&fd, 8, 64), 0), abi::VERSION);
    mapped.write(512, &range(0, SIZE as u64, 0, 0));
    assert_eq!(ioctl(&fd, CLEAR, mapped.span(512, 24)), Ok(0));
    assert_eq!(get(&fd, 0, SIZE), vec![0; SIZE]);
    // With its end outside.
    for (command, size) in COMMANDS.into_iter().filter(|(_, size)| *size != 0) {
        let straddling = mapped.span(SIZE - size + 1, size);
        assert_eq!(
            ioctl(&fd, command, straddling),
            Err(Errno::FAULT),
            "{command:#x}"
        );
    }
}

/// Whether the kernel serves a command itself, on any file.
fn is_everybody_s(command: u32) -> bool {
    /// The block size of the file's file system.
    const FIGETBSZ: u32 = 2;
    command == FIGETBSZ
}

fn unknown_commands() {
    let fd = driver::open();
    put(&fd, 0, &pattern(SIZE));
    let before = generation();
    let buffer = Buffer::new(PAGE);
    let unknown = |command| {
        let answer = ioctl(&fd, command, buffer.span(0, PAGE));
        assert_eq!(answer, Err(Errno::NOTTY), "{command:#x}");
    };
    let known = |command| COMMANDS.iter().any(|(known, _)| *known == command);
    // Each command with one bit wrong: in its size, its direction, its magic, its number.
    for (command, _) in COMMANDS {
        let wrong = (0..32).map(|bit| command ^ 1 << bit);
        wrong
            .filter(|command| !known(*command) && !is_everybody_s(*command))
            .for_each(unknown);
    }
    // The right size is part of the number: every number of ours with every small one.
    for number in 0..=255 {
        for direction in 0..4 {
            let command = direction << 30 | u32::from(abi::MAGIC) << 8 | number;
            if !known(command) {
                unknown(command);
            }
        }
    }
    [3, 0xff, 0xffff, 1 << 31, u32::MAX]
        .into_iter()
        .for_each(unknown);
    assert_eq!(generation(), before);
    assert_eq!(get(&fd, 0, SIZE), pattern(SIZE));
}

fn commands_of_other_devices() {
    const BLKRRPART: u32 = 0x125f;
    const BLKGETSIZE64: u32 = 0x8008_1272;
    let fd = driver::open();
    let buffer = Buffer::new(PAGE);
    for command in [
        libc::TCGETS as u32,
        libc::TIOCGWINSZ as u32,
        libc::FIONREAD as u32,
        BLKRRPART,
        BLKGETSIZE64,
    ] {
        let answer = ioctl(&fd, command, buffer.span(0, PAGE));
        assert_eq!(answer, Err(Errno::NOTTY), "{command:#x}");
    }
    // The kernel's own, which go by whether the driver can send signals.
    assert_eq!(
        ioctl(&fd, libc::FIONBIO as u32, buffer.span(0, PAGE)),
        Ok(0)
    );
    buffer.write(0, &[1; 4]);
    assert_eq!(
        ioctl(&fd, libc::FIOASYNC as u32, buffer.span(0, PAGE)),
        Err(Errno::NOTTY)
    );
}

fn a_read_only_file_changes_nothing() {
    let (fd, reader) = (driver::open(), driver::open_read_only());
    put(&fd, 0, &pattern(SIZE));
    let before = generation();
    for command in CHANGES {
        let answer = call(&reader, command, &range(0, 1, 0, 0));
        assert_eq!(answer, Err(Errno::BADF), "{command:#x}");
    }
    assert_eq!(generation(), before);
    assert_eq!(get(&fd, 0, SIZE), pattern(SIZE));
    assert!(call(&reader, SEEN, &[0; 8]).is_ok());
}

fn a_write_only_file_may_ask() {
    let writer = driver::open_write_only();
    for command in [INFO, WINDOW, SEEN] {
        assert!(call(&writer, command, &[0; 128]).is_ok(), "{command:#x}");
    }
    for command in CHANGES {
        assert!(
            call(&writer, command, &range(0, 1, 0, 0)).is_ok(),
            "{command:#x}"
        );
    }
}

fn callers_of_32_bits() {
    let fd = driver::open();
    let buffer = Buffer::low(PAGE);
    buffer.write(0, &[0; PAGE]);
    put(&fd, 0, &pattern(SIZE));
    assert_eq!(ioctl32(&fd, INFO, buffer.span(0, 64)), Ok(0));
    assert_eq!(Ok(buffer.read(0..64)), call(&fd, INFO, &[0; 64]));
    assert_eq!(ioctl32(&fd, WINDOW, buffer.span(512, 128)), Ok(0));
    assert_eq!(Ok(buffer.read(512..640)), call(&fd, WINDOW, &[0; 128]));
    buffer.write(0, &range(3, 4, 0, 0));
    assert_eq!(ioctl32(&fd, CLEAR, buffer.span(0, 24)), Ok(0));
    assert_eq!(get(&fd, 3, 5), [0, 0, 0, 0, pattern(SIZE)[7]]);
    for command in [MEM_CLEAR, MEM_RESET, RESET, NOTIFY] {
        assert_eq!(
            ioctl32(&fd, command, buffer.span(0, 0)),
            Ok(0),
            "{command:#x}"
        );
    }
    assert_eq!(ioctl32(&fd, SEEN, buffer.span(8, 8)), Ok(0));
    assert_eq!(u64_at(&buffer.read(8..16), 0), generation());
    assert_eq!(
        ioctl32(&fd, INFO, buffer.span(buffer.len() - 8, 64)),
        Err(Errno::FAULT)
    );
    assert_eq!(
        ioctl32(&fd, NOTIFY ^ 0x10, buffer.span(0, 8)),
        Err(Errno::NOTTY)
    );
}
