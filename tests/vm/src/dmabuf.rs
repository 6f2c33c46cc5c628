// SPDX-License-Identifier: MIT OR Apache-2.0

//! EXPORT and SYNC: ranges of a device as buffers that other drivers take.

use crate::driver::{self, get, in_bytes, open_node, pattern, put};
use crate::folder::{Folder, RAM_HAS_MODES};
use crate::kinds::Cgroup;
use crate::kmsg::Mark;
use crate::memory;
use crate::modprobe::Module;
use crate::pci::Pci;
use crate::sys::{
    self, ioctl, ioctl_fd, ioctl_fd_at, process_vm, seek, Buffer, Child, End, Map, PAGE, PAGE64,
};
use chrmem_uapi::abi::{self, SYNC_END, SYNC_READ, SYNC_WRITE};
use libc::{MAP_PRIVATE, MAP_SHARED, MREMAP_MAYMOVE, PROT_EXEC, PROT_READ, PROT_WRITE};
use rustix::fs::OFlags;
use rustix::io::{fcntl_getfd, Errno, FdFlags};
use rustix::process::{getrlimit, setrlimit, Resource};
use std::fs;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

crate::tests! {
    a_part_of_each_kind_is_a_buffer
    a_buffer_is_a_buffer
    a_buffer_is_mapped_as_its_window
    a_buffer_outlives_file_device_and_folder
    a_buffer_keeps_memory_and_driver
    a_buffer_is_no_more_than_file_and_window
    what_cannot_be_exported
    no_descriptor_no_buffer
    many_buffers_lose_no_memory
    access_to_a_buffer_is_announced
    access_to_a_range_is_announced
    a_driver_takes_a_buffer
    a_driver_maps_a_buffer
    a_camera_writes_into_buffers
    a_webcam_writes_into_buffers
    no_driver_writes_to_a_read_only_buffer
    only_announced_bytes_are_copied
    tables_of_an_import_are_charged
    memory_that_failed_is_not_imported
}

const LIMIT: Duration = Duration::from_secs(20);
const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// Calls a command that takes a range.
fn call<T>(
    fd: impl AsFd,
    range: (u64, u64, u32, u32),
    act: impl FnOnce(&dyn AsFd, sys::Span<'_>) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let buffer = Buffer::new(size_of::<abi::Range>());
    let (offset, size, flags, reserved) = range;
    buffer.write(0, &offset.to_ne_bytes());
    buffer.write(8, &size.to_ne_bytes());
    buffer.write(16, &flags.to_ne_bytes());
    buffer.write(20, &reserved.to_ne_bytes());
    act(&fd, buffer.span(0, size_of::<abi::Range>()))
}

/// EXPORT.
pub(crate) fn export(fd: impl AsFd, offset: u64, size: u64) -> Result<OwnedFd, Errno> {
    export_with(fd, (offset, size, 0, 0))
}

/// EXPORT, with anything for flags and reserved.
fn export_with(fd: impl AsFd, range: (u64, u64, u32, u32)) -> Result<OwnedFd, Errno> {
    call(fd, range, |fd, span| {
        ioctl_fd(fd.as_fd(), abi::EXPORT, span)
    })
}

/// SYNC.
fn sync(fd: impl AsFd, offset: u64, size: u64, flags: u32) -> Result<usize, Errno> {
    sync_with(fd, (offset, size, flags, 0))
}

/// SYNC, with anything for reserved.
fn sync_with(fd: impl AsFd, range: (u64, u64, u32, u32)) -> Result<usize, Errno> {
    call(fd, range, |fd, span| ioctl(fd.as_fd(), abi::SYNC, span))
}

/// `DMA_BUF_IOCTL_SYNC`.
pub(crate) const ANNOUNCE: u32 = 0x4008_6200;

/// Announces an access to a buffer, or its end.
fn announce(buffer: impl AsFd, flags: u64) -> Result<usize, Errno> {
    let argument = Buffer::new(8);
    argument.write(0, &flags.to_ne_bytes());
    ioctl(buffer, ANNOUNCE, argument.span(0, 8))
}

/// A device of three windows of 16 pages of RAM, back to back: one of each kind.
fn of_each_kind() -> Folder {
    let folder = Folder::live(
        "test",
        &[
            ("pages", "size=16pages"),
            ("run", "size=16pages memory=contiguous"),
            ("dma", "size=16pages memory=dma"),
        ],
    );
    for offset in STARTS {
        put(folder.open(), offset, &pattern(16 * PAGE));
    }
    folder
}

/// Where its windows start.
const STARTS: [u64; 3] = [0, 16 * PAGE64, 32 * PAGE64];

fn a_part_of_each_kind_is_a_buffer() {
    let folder = of_each_kind();
    let fd = folder.open();
    for start in STARTS {
        for (offset, size) in [
            (0, 16 * PAGE64),
            (PAGE64, 2 * PAGE64),
            (15 * PAGE64, PAGE64),
        ] {
            let buffer = export(&fd, start + offset, size).expect("a buffer");
            assert_eq!(seek(&buffer, 0, libc::SEEK_END as u32), Ok(size as usize));
            let map = Map::shared(&buffer, size as usize).expect("a mapping");
            let expected = &pattern(16 * PAGE)[offset as usize..][..size as usize];
            assert_eq!(map.read(0..size as usize), expected);
            map.write(10, b"by the buffer");
            assert_eq!(get(&fd, start + offset + 10, 13), b"by the buffer");
            put(&fd, start + offset + 10, &expected[10..23]);
            assert_eq!(map.read(0..size as usize), expected);
            assert_eq!(folder.shown().mappings.0, 1);
            drop(map);
            // Its offsets are its own.
            let last = Map::shared_at(&buffer, size - PAGE64, PAGE).expect("a mapping");
            assert_eq!(last.read(0..PAGE), expected[size as usize - PAGE..]);
            for (offset, len) in [
                (0, size + 1),
                (size, 1),
                (size - PAGE64, 2 * PAGE64),
                (1 << 40, PAGE64),
            ] {
                let map = Map::shared_at(&buffer, offset, len as usize);
                assert_eq!(map.err(), Some(Errno::INVAL), "{len} at {offset}");
            }
        }
    }
    assert_eq!(folder.shown().mappings.0, 0);
}

fn a_buffer_is_a_buffer() {
    let folder = of_each_kind();
    let buffer = export(folder.open(), 16 * PAGE64, 2 * PAGE64).expect("a buffer");
    assert_eq!(fcntl_getfd(&buffer), Ok(FdFlags::CLOEXEC));
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", buffer.as_raw_fd()));
    let info = info.expect("/proc");
    for line in [in_bytes("size:\t2pages"), "exp_name:\tchrmem".into()] {
        assert!(info.lines().any(|it| it == line), "no {line:?} in {info}");
    }
    // Its size is all that seeking tells; bytes come and go by mapping alone.
    assert_eq!(seek(&buffer, 0, libc::SEEK_SET as u32), Ok(0));
    for (offset, whence) in [
        (1, libc::SEEK_SET),
        (-1, libc::SEEK_END),
        (0, libc::SEEK_CUR),
    ] {
        assert_eq!(seek(&buffer, offset, whence as u32), Err(Errno::INVAL));
    }
    assert_eq!(
        rustix::io::read(&buffer, &mut [0; 8][..]),
        Err(Errno::INVAL)
    );
    assert_eq!(rustix::io::write(&buffer, &[0; 8]), Err(Errno::INVAL));
    for command in [abi::INFO, abi::WINDOW, abi::EXPORT] {
        let argument = Buffer::new(128);
        let answer = ioctl(&buffer, command, argument.span(0, 128));
        assert_eq!(answer, Err(Errno::NOTTY));
    }
}

fn a_buffer_is_mapped_as_its_window() {
    let folder = Folder::live(
        "test",
        &[
            ("pages", "size=16pages"),
            ("noncached", "size=16pages cache=noncached"),
            ("dma", "size=16pages memory=dma"),
        ],
    );
    let fd = folder.open();
    for (number, start) in STARTS.into_iter().enumerate() {
        let buffer = export(&fd, start + PAGE64, 4 * PAGE64).expect("a buffer");
        let new =
            |len, protection, flags| Map::new(Some(buffer.as_fd()), 0, len, protection, flags);
        let private = new(4 * PAGE, READ_WRITE, MAP_PRIVATE);
        if number == 0 || number == 1 && !RAM_HAS_MODES {
            let private = private.expect("a private mapping");
            private.write(0, b"mine");
            assert_eq!(get(&fd, start + PAGE64, 4), [0; 4]);
        } else {
            assert_eq!(private.err(), Some(Errno::INVAL));
        }
        let exec = new(PAGE, PROT_READ | PROT_EXEC, MAP_SHARED);
        // Refused before we are asked: it is a file from where nothing is executed.
        assert_eq!(exec.err(), Some(Errno::PERM));
        let mut map = new(4 * PAGE, READ_WRITE, MAP_SHARED).expect("a mapping");
        assert_eq!(map.protect(READ_WRITE | PROT_EXEC), Err(Errno::ACCESS));
        map.protect(READ_WRITE).expect("mprotect");
        assert_eq!(map.resize(5 * PAGE, MREMAP_MAYMOVE), Err(Errno::FAULT));
        map.write(2 * PAGE, b"the third page");
        let (first, rest) = map.split(PAGE);
        let (hole, mut last) = rest.split(PAGE);
        drop(hole);
        last.move_onto(Map::anonymous(2 * PAGE)).expect("a move");
        assert_eq!(last.read(0..14), b"the third page");
        // Ordinary pages where the window's are.
        let to = Buffer::new(PAGE);
        let child = Child::start(|| std::thread::sleep(LIMIT));
        let copied = process_vm(child.id(), false, to.span(0, 14), last.span(0, 14));
        let expected = if number == 2 {
            Err(Errno::FAULT)
        } else {
            Ok(14)
        };
        assert_eq!(copied, expected);
        drop(first);
    }
}

fn a_buffer_outlives_file_device_and_folder() {
    let folder = of_each_kind();
    let fd = folder.open();
    let buffers =
        STARTS.map(|start| export(&fd, start + 2 * PAGE64, 4 * PAGE64).expect("a buffer"));
    let early = Map::shared(&buffers[0], 4 * PAGE).expect("a mapping");
    drop(fd);
    folder.destroy();
    assert!(early.read(0..4 * PAGE) == pattern(16 * PAGE)[2 * PAGE..6 * PAGE]);
    // Another device by the same name has nothing to do with it.
    folder.build();
    put(folder.open(), 2 * PAGE64, &[0xff; 4 * PAGE]);
    drop(folder);
    for buffer in &buffers {
        let map = Map::shared(buffer, 4 * PAGE).expect("a mapping");
        assert!(map.read(0..4 * PAGE) == pattern(16 * PAGE)[2 * PAGE..6 * PAGE]);
        map.write(0, b"alive");
        assert_eq!(announce(buffer, 3), Ok(0));
        let mut child = Child::start(|| {
            assert_eq!(map.read(0..5), b"alive");
            let own = Map::shared(buffer, PAGE).expect("a mapping");
            own.write(0, b"child");
        });
        assert_eq!(child.wait(LIMIT), End::Status(0));
        assert_eq!(map.read(0..5), b"child");
    }
    assert_eq!(early.read(0..5), b"child");
}

fn a_buffer_keeps_memory_and_driver() {
    const SIZE: u64 = 16 << 20;
    for memory in ["pages", "contiguous"] {
        let before = memory::free();
        let used = || before.saturating_sub(memory::free());
        let settings = format!("size={SIZE} memory={memory}");
        let folder = Folder::live("test", &[("one", &settings)]);
        // One page of it, which is all that is ever asked for again.
        let buffer = export(folder.open(), SIZE - PAGE64, PAGE64).expect("a buffer");
        drop(folder);
        assert!(used() > SIZE - (2 << 20), "{}", used());
        assert_eq!(driver::unload(), Err(Errno::AGAIN));
        let map = Map::shared(&buffer, PAGE).expect("a mapping");
        drop(buffer);
        assert!(used() > SIZE - (2 << 20), "{}", used());
        assert_eq!(driver::unload(), Err(Errno::AGAIN));
        drop(map);
        assert!(used() < 2 << 20, "{}", used());
        driver::without(|| ());
    }
}

fn a_buffer_is_no_more_than_file_and_window() {
    let windows = [
        ("rw", "size=16pages"),
        ("ro", "size=16pages access=ro fill=5"),
    ];
    let folder = Folder::live("test", &windows);
    let both = folder.open();
    let reader = folder.open_as(OFlags::RDONLY);
    for buffer in [
        export(&reader, 0, 2 * PAGE64).expect("a buffer"),
        export(&reader, 16 * PAGE64, 2 * PAGE64).expect("a buffer"),
        export(&both, 16 * PAGE64, 2 * PAGE64).expect("a buffer"),
    ] {
        let new =
            |protection, flags| Map::new(Some(buffer.as_fd()), 0, 2 * PAGE, protection, flags);
        for protection in [READ_WRITE, PROT_WRITE] {
            assert_eq!(new(protection, MAP_SHARED).err(), Some(Errno::ACCESS));
        }
        let map = new(PROT_READ, MAP_SHARED).expect("a mapping");
        assert_eq!(map.protect(READ_WRITE), Err(Errno::ACCESS));
        drop(map.read(0..2 * PAGE));
        let private = new(READ_WRITE, MAP_PRIVATE).expect("a private mapping");
        private.write(0, b"mine alone");
        // To open it anew gives no more.
        let path = format!("/proc/self/fd/{}", buffer.as_raw_fd());
        assert_eq!(open_node(path, OFlags::RDWR).err(), Some(Errno::NXIO));
    }
    assert_eq!(get(&both, 0, 2 * PAGE), [0; 2 * PAGE]);
    assert_eq!(get(&both, 16 * PAGE64, 2 * PAGE), [5; 2 * PAGE]);
    // What may not read has nothing to hand on.
    let writer = folder.open_as(OFlags::WRONLY);
    assert_eq!(export(writer, 0, 2 * PAGE64).err(), Some(Errno::ACCESS));
    let map = Map::shared(export(&both, 0, 2 * PAGE64).expect("a buffer"), 2 * PAGE);
    map.expect("a mapping").write(0, b"stored");
    assert_eq!(get(&reader, 0, 6), b"stored");
}

fn what_cannot_be_exported() {
    let bar = Pci::find(0x1af4, 0x1110).bar(2).start;
    let folder = Folder::live(
        "test",
        &[
            ("a", "offset=1page size=2pages"),
            ("b", "size=2pages"),
            (
                "bar",
                &format!("memory=physical address={bar:#x} offset=1M size=2pages"),
            ),
        ],
    );
    let fd = folder.open();
    let users = driver::users();
    for (range, errno) in [
        ((PAGE64, 0, 0, 0), Errno::INVAL),
        ((PAGE64 + 1, PAGE64, 0, 0), Errno::INVAL),
        ((PAGE64, PAGE64 + 1, 0, 0), Errno::INVAL),
        ((PAGE64, 1, 0, 0), Errno::INVAL),
        ((PAGE64, PAGE64, 1, 0), Errno::INVAL),
        ((PAGE64, PAGE64, SYNC_READ, 0), Errno::INVAL),
        ((PAGE64, PAGE64, 1 << 31, 0), Errno::INVAL),
        ((PAGE64, PAGE64, 0, 1), Errno::INVAL),
        // Over the end of a window, whatever follows.
        ((PAGE64, 3 * PAGE64, 0, 0), Errno::INVAL),
        ((2 * PAGE64, 2 * PAGE64, 0, 0), Errno::INVAL),
        ((3 * PAGE64, 3 * PAGE64, 0, 0), Errno::INVAL),
        ((PAGE64, 1 << 63, 0, 0), Errno::INVAL),
        ((PAGE64, 0_u64.wrapping_sub(PAGE64), 0, 0), Errno::INVAL),
        ((0, PAGE64, 0, 0), Errno::NXIO),
        ((0, 2 * PAGE64, 0, 0), Errno::NXIO),
        ((5 * PAGE64, PAGE64, 0, 0), Errno::NXIO),
        ((2 << 20, PAGE64, 0, 0), Errno::NXIO),
        ((1 << 63, PAGE64, 0, 0), Errno::NXIO),
        ((0_u64.wrapping_sub(PAGE64), 2 * PAGE64, 0, 0), Errno::NXIO),
        ((1 << 20, PAGE64, 0, 0), Errno::OPNOTSUPP),
        ((1 << 20, 2 * PAGE64, 0, 0), Errno::OPNOTSUPP),
        ((1 << 20, 3 * PAGE64, 0, 0), Errno::INVAL),
    ] {
        assert_eq!(export_with(&fd, range).err(), Some(errno), "{range:?}");
    }
    assert_eq!(driver::users(), users);
    folder.destroy();
    assert_eq!(export(&fd, PAGE64, PAGE64).err(), Some(Errno::NODEV));
}

fn no_descriptor_no_buffer() {
    let folder = of_each_kind();
    let fd = folder.open();
    let users = driver::users();
    let mut child = Child::start(|| {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(fd.as_raw_fd() as u64 + 1);
        setrlimit(Resource::Nofile, limit).expect("a limit");
        for _ in 0..100 {
            let answer = export(&fd, 0, 16 * PAGE64);
            assert_eq!(answer.err(), Some(Errno::MFILE));
        }
    });
    assert_eq!(child.wait(LIMIT), End::Status(0));
    assert_eq!(driver::users(), users);
    assert_eq!(buffers(), 0);
}

/// What the kernel tells of all buffers of ours.
fn listed() -> String {
    let text = fs::read_to_string("/sys/kernel/debug/dma_buf/bufinfo").expect("debugfs");
    let entries = text.split("\n\n").filter(|it| it.contains("\tchrmem\t"));
    entries.collect::<Vec<_>>().join("\n\n")
}

/// How many buffers of ours there are.
pub(crate) fn buffers() -> usize {
    listed().matches("\tchrmem\t").count()
}

fn many_buffers_lose_no_memory() {
    let folder = of_each_kind();
    let fd = folder.open();
    let all = || {
        let all: Vec<_> = (0..300)
            .map(|number| export(&fd, STARTS[number % 3], 16 * PAGE64).expect("a buffer"))
            .collect();
        assert_eq!(buffers(), 300);
        assert_eq!(sync(&fd, 0, 48 * PAGE64, SYNC_READ | SYNC_WRITE), Ok(0));
        let map = Map::shared(&all[299], 16 * PAGE).expect("a mapping");
        map.write(0, b"used");
    };
    all();
    let before = memory::free();
    (0..10).for_each(|_| all());
    assert_eq!(buffers(), 0);
    let after = memory::free();
    assert!(
        after + (1 << 20) > before,
        "{before} bytes free, then {after}"
    );
}

fn access_to_a_buffer_is_announced() {
    const READ: u64 = 1;
    const WRITE: u64 = 2;
    const END: u64 = 4;
    let folder = of_each_kind();
    let fd = folder.open();
    for start in STARTS {
        let buffer = export(&fd, start, 2 * PAGE64).expect("a buffer");
        for way in [READ, WRITE, READ | WRITE] {
            assert_eq!(announce(&buffer, way), Ok(0));
            assert_eq!(announce(&buffer, way | END), Ok(0));
        }
        // An end without a beginning has nothing to end.
        assert_eq!(announce(&buffer, READ | END), Ok(0));
        for bad in [0, END, 8, READ | 8, 1 << 63] {
            assert_eq!(announce(&buffer, bad), Err(Errno::INVAL), "{bad:#x}");
        }
    }
}

/// Every way that SYNC knows.
const WAYS: [u32; 6] = [
    SYNC_READ,
    SYNC_READ | SYNC_END,
    SYNC_WRITE,
    SYNC_WRITE | SYNC_END,
    SYNC_READ | SYNC_WRITE,
    SYNC_READ | SYNC_WRITE | SYNC_END,
];

fn access_to_a_range_is_announced() {
    let folder = Folder::live(
        "test",
        &[
            ("a", "offset=1page size=2pages"),
            ("b", "size=1page memory=dma"),
            ("c", "offset=16pages size=1page access=ro"),
        ],
    );
    let fd = folder.open();
    let ranges = [
        (PAGE64, 2 * PAGE64),
        (PAGE64 + 904, 1),
        (3 * PAGE64 - 1, 2),
        (3 * PAGE64, PAGE64),
        (PAGE64, 3 * PAGE64),
        (16 * PAGE64, PAGE64),
        (17 * PAGE64 - 1, 1),
    ];
    let check = || {
        // By those who may do what they announce, where it can be done.
        for (flags, fd) in [
            (OFlags::RDWR, &fd),
            (OFlags::RDONLY, &folder.open_as(OFlags::RDONLY)),
            (OFlags::WRONLY, &folder.open_as(OFlags::WRONLY)),
        ] {
            for (offset, size) in ranges {
                for way in WAYS {
                    let reads = way & SYNC_READ != 0;
                    let writes = way & SYNC_WRITE != 0;
                    let expected = match flags {
                        OFlags::RDONLY if writes => Err(Errno::BADF),
                        OFlags::WRONLY if reads => Err(Errno::BADF),
                        _ if writes && offset >= 16 * PAGE64 => Err(Errno::ACCESS),
                        _ => Ok(0),
                    };
                    let answer = sync(fd, offset, size, way);
                    assert_eq!(answer, expected, "{flags:?}: {way} of {size} at {offset}");
                }
            }
        }
        for way in WAYS {
            for ((offset, size), errno) in [
                ((0, 1), Errno::NXIO),
                ((0, 2 * PAGE64), Errno::NXIO),
                ((4 * PAGE64, 1), Errno::NXIO),
                ((4 * PAGE64 - 1, 2), Errno::NXIO),
                ((PAGE64, 16 * PAGE64), Errno::NXIO),
                ((16 * PAGE64 - 1, 2), Errno::NXIO),
                ((16 * PAGE64, PAGE64 + 1), Errno::INVAL),
                ((17 * PAGE64, 1), Errno::INVAL),
                ((PAGE64, 0), Errno::INVAL),
                ((PAGE64, u64::MAX), Errno::INVAL),
                ((u64::MAX, 2), Errno::INVAL),
            ] {
                assert_eq!(
                    sync(&fd, offset, size, way),
                    Err(errno),
                    "{size} at {offset}"
                );
            }
        }
        for (flags, reserved) in [(0, 0), (SYNC_END, 0), (SYNC_READ | 8, 0), (SYNC_READ, 1)] {
            let answer = sync_with(&fd, (PAGE64, PAGE64, flags, reserved));
            assert_eq!(answer, Err(Errno::INVAL), "{flags} {reserved}");
        }
    };
    let before = folder.shown().generation;
    check();
    let buffers = [
        (PAGE64, 2 * PAGE64),
        (2 * PAGE64, PAGE64),
        (3 * PAGE64, PAGE64),
        (16 * PAGE64, PAGE64),
    ]
    .map(|(offset, size)| export(&fd, offset, size).expect("a buffer"));
    check();
    // No change of what is in it.
    assert_eq!(folder.shown().generation, before);
    folder.destroy();
    assert_eq!(sync(&fd, PAGE64, 2 * PAGE64, SYNC_READ), Err(Errno::NODEV));
    drop(buffers);
}

/// A driver that takes buffers: its device node, and its module until it is dropped.
pub(crate) fn vgem() -> (Module, String) {
    let module = Module::load("vgem", &[]);
    let entries = fs::read_dir("/sys/bus/faux/devices/vgem/drm").expect("/sys");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names = names.map(|name| name.into_string().expect("text"));
    let name = names.find(|name| name.starts_with("renderD"));
    (module, format!("/dev/dri/{}", name.expect("a node")))
}

/// Has such a driver take a buffer: its descriptor in, a handle out.
pub(crate) const PRIME_FD_TO_HANDLE: u32 = 0xc00c_642e;

/// Has it give one back, by its handle.
pub(crate) const GEM_CLOSE: u32 = 0x4008_6409;

fn a_driver_takes_a_buffer() {
    const PRIME_HANDLE_TO_FD: u32 = 0xc00c_642d;
    let (module, node) = vgem();
    let folder = of_each_kind();
    let gem = open_node(&node, OFlags::RDWR).expect("a node");
    for start in STARTS {
        let buffer = export(folder.open(), start + PAGE64, 4 * PAGE64).expect("a buffer");
        // handle, flags, descriptor
        let argument = Buffer::new(16);
        argument.write(8, &buffer.as_raw_fd().to_ne_bytes());
        let answer = ioctl(&gem, PRIME_FD_TO_HANDLE, argument.span(0, 12));
        assert_eq!(answer, Ok(0));
        let handle = argument.read(0..4);
        assert!(
            listed().contains("Attached Devices:\n\tvgem\n"),
            "{}",
            listed()
        );
        // It keeps all that there is of ours, and gives it back.
        drop(buffer);
        folder.destroy();
        assert_eq!(buffers(), 1);
        let flags = (libc::O_RDWR | libc::O_CLOEXEC) as u32;
        argument.write(4, &flags.to_ne_bytes());
        let again = ioctl_fd_at(&gem, PRIME_HANDLE_TO_FD, &argument, 8).expect("a descriptor");
        let map = Map::shared(&again, 4 * PAGE).expect("a mapping");
        assert!(map.read(0..4 * PAGE) == pattern(16 * PAGE)[PAGE..5 * PAGE]);
        drop((again, map));
        argument.write(0, &[&handle[..], &[0; 4]].concat());
        assert_eq!(ioctl(&gem, GEM_CLOSE, argument.span(0, 8)), Ok(0));
        assert_eq!(buffers(), 0);
        folder.build();
        for start in STARTS {
            put(folder.open(), start, &pattern(16 * PAGE));
        }
    }
    drop((gem, module));
}

/// A driver that has its device write into buffers: a camera that does not exist.
struct Camera {
    node: OwnedFd,
    /// Bytes of a picture.
    size: u64,
    _module: Module,
}

/// How the camera's driver uses a buffer.
#[derive(Clone, Copy)]
enum Allocator {
    /// By the processor alone, as USB cameras do: `videobuf2-vmalloc`.
    Vmalloc,
    /// As one run of memory: `videobuf2-dma-contig`.
    DmaContig,
}

impl Camera {
    fn new(allocator: Allocator) -> Self {
        const GET_FORMAT: u32 = 0xc0d0_5604;
        const SET_FORMAT: u32 = 0xc0d0_5605;
        let allocator = format!("allocators={}", allocator as u32);
        // One device and one kind of node.
        let parameters = ["n_devs=1", "node_types=0x1", "num_inputs=1", &allocator];
        let module = Module::load("vivid", &parameters);
        let node = open_node("/dev/video0", OFlags::RDWR).expect("/dev/video0");
        let format = Buffer::new(208);
        format.write(0, &CAPTURE.to_ne_bytes());
        assert_eq!(ioctl(&node, GET_FORMAT, format.span(0, 208)), Ok(0));
        format.write(8, &[320_u32.to_ne_bytes(), 180_u32.to_ne_bytes()].concat());
        assert_eq!(ioctl(&node, SET_FORMAT, format.span(0, 208)), Ok(0));
        let size = u32::from_ne_bytes(format.read(28..32).try_into().expect("a size"));
        Self {
            node,
            size: size.into(),
            _module: module,
        }
    }

    /// Makes room for so many buffers; none gives all back.
    fn room_for(&self, count: u32) {
        const REQUEST_BUFFERS: u32 = 0xc014_5608;
        let request = Buffer::new(20);
        let fields = [count, CAPTURE, DMA_BUF, 0, 0].map(u32::to_ne_bytes);
        request.write(0, &fields.concat());
        assert_eq!(
            ioctl(&self.node, REQUEST_BUFFERS, request.span(0, 20)),
            Ok(0)
        );
    }

    /// Has a buffer mapped for the device.
    fn prepare(&self, index: u32, buffer: &OwnedFd) -> Result<usize, Errno> {
        const PREPARE: u32 = 0xc058_565d;
        self.call(PREPARE, index, buffer.as_raw_fd()).0
    }

    /// Queues a buffer for a picture.
    fn queue(&self, index: u32, buffer: &OwnedFd) -> Result<usize, Errno> {
        const QUEUE: u32 = 0xc058_560f;
        self.call(QUEUE, index, buffer.as_raw_fd()).0
    }

    /// Waits for a picture; gives the buffer's number and the bytes in it.
    fn picture(&self) -> (u32, u64) {
        const DEQUEUE: u32 = 0xc058_5611;
        let (answer, argument) = self.call(DEQUEUE, 0, 0);
        assert_eq!(answer, Ok(0));
        let number =
            |at| u32::from_ne_bytes(argument.read(at..at + 4).try_into().expect("four bytes"));
        const ERROR: u32 = 0x40;
        assert_eq!(number(12) & ERROR, 0, "a picture with an error");
        (number(0), number(8).into())
    }

    /// Calls a command that takes a buffer.
    fn call(&self, command: u32, index: u32, buffer: i32) -> (Result<usize, Errno>, Buffer) {
        let argument = Buffer::new(88);
        argument.write(0, &[index.to_ne_bytes(), CAPTURE.to_ne_bytes()].concat());
        argument.write(60, &DMA_BUF.to_ne_bytes());
        argument.write(64, &buffer.to_ne_bytes());
        let answer = ioctl(&self.node, command, argument.span(0, 88));
        (answer, argument)
    }

    /// Starts taking pictures, or stops.
    fn stream(&self, on: bool) {
        const ON: u32 = 0x4004_5612;
        const OFF: u32 = 0x4004_5613;
        let argument = Buffer::new(4);
        argument.write(0, &CAPTURE.to_ne_bytes());
        let command = if on { ON } else { OFF };
        assert_eq!(ioctl(&self.node, command, argument.span(0, 4)), Ok(0));
    }

    /// Bytes of a picture, in whole pages.
    fn whole_pages(&self) -> u64 {
        self.size.next_multiple_of(PAGE as u64)
    }

    /// Has pictures taken into exports of a device that start at `starts`, and looks at each.
    fn shoot(&self, fd: &OwnedFd, starts: &[u64]) {
        /// What no picture is full of.
        const BEFORE: u8 = 0xee;
        let size = self.whole_pages();
        let page = PAGE as u64;
        let buffers: Vec<_> = starts
            .iter()
            .map(|start| export(fd, *start, size).expect("a buffer"))
            .collect();
        for start in starts {
            put(fd, start - page, &vec![BEFORE; (size + 2 * page) as usize]);
        }
        self.room_for(buffers.len() as u32);
        for (index, buffer) in (0..).zip(&buffers) {
            assert_eq!(self.queue(index, buffer), Ok(0));
        }
        self.stream(true);
        for _ in 0..2 * buffers.len() {
            let (index, bytes) = self.picture();
            assert_eq!(bytes, self.size);
            let start = starts[index as usize];
            let picture = get(fd, start, self.size as usize);
            let same = picture.iter().filter(|byte| **byte == BEFORE).count();
            assert!(same < picture.len() / 4, "{same} bytes are as before");
            // Nothing but the picture was written.
            let around = [
                get(fd, start - page, PAGE),
                get(fd, start + self.size, (size - self.size) as usize + PAGE),
            ];
            assert!(around.concat().iter().all(|byte| *byte == BEFORE));
            put(fd, start, &vec![BEFORE; self.size as usize]);
            assert_eq!(self.queue(index, &buffers[index as usize]), Ok(0));
        }
        self.stream(false);
        self.room_for(0);
    }
}

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
const CAPTURE: u32 = 1;

/// `V4L2_MEMORY_DMABUF`.
const DMA_BUF: u32 = 4;

/// Mapped for a device and given back.
fn a_driver_maps_a_buffer() {
    let camera = Camera::new(Allocator::DmaContig);
    let size = camera.size.next_multiple_of(PAGE64);
    let settings = |kind: &str| format!("size={} memory={kind}", size + 2 * PAGE64);
    let folder = Folder::live(
        "test",
        &[
            ("run", &settings("contiguous")),
            ("dma", &settings("dma")),
            ("small", "size=1page"),
        ],
    );
    let fd = folder.open();
    let starts = [0, size + 2 * PAGE64];
    let buffers: Vec<_> = starts
        .iter()
        .map(|start| export(&fd, start + PAGE64, size).expect("a buffer"))
        .collect();
    camera.room_for(3);
    for (index, buffer) in (0..).zip(&buffers) {
        assert_eq!(camera.prepare(index, buffer), Ok(0));
        // Whatever is said of it goes to the device that has it mapped.
        for way in [1, 5, 2, 6, 3, 7] {
            assert_eq!(announce(buffer, way), Ok(0));
        }
    }
    assert_eq!(listed().matches("\tvivid").count(), 2, "{}", listed());
    for way in WAYS {
        assert_eq!(sync(&fd, 0, 2 * size + 5 * PAGE64, way), Ok(0));
    }
    // Twice is as good as once, and too small is refused.
    assert_eq!(camera.prepare(2, &buffers[0]), Ok(0));
    camera.room_for(0);
    assert_eq!(listed().matches("\tvivid").count(), 0, "{}", listed());
    camera.room_for(3);
    let small = export(&fd, 2 * size + 4 * PAGE64, PAGE64).expect("a buffer");
    assert_eq!(camera.prepare(0, &small), Err(Errno::INVAL));
    // Mapped for a device, it outlives all else.
    assert_eq!(camera.prepare(0, &buffers[0]), Ok(0));
    drop((buffers, small, fd, folder));
    assert_eq!(self::buffers(), 1);
    assert_eq!(driver::unload(), Err(Errno::AGAIN));
    camera.room_for(0);
    assert_eq!(self::buffers(), 0);
    // Pages that are not one run: the driver that needs one gives them back.
    let settings = format!("size={size}");
    let folder = Folder::live("test", &[("pages", &settings), ("more", &settings)]);
    let map = Map::shared(folder.open(), size as usize).expect("a mapping");
    let one_run = crate::pagemap::frames(&map)
        .windows(2)
        .all(|two| two[0] + 1 == two[1]);
    drop(map);
    let buffer = export(folder.open(), 0, size).expect("a buffer");
    camera.room_for(1);
    let expected = if one_run { Ok(0) } else { Err(Errno::FAULT) };
    assert_eq!(camera.prepare(0, &buffer), expected);
}

/// The settings of windows whose buffers a camera can write into.
const CAMERA_WINDOWS: [&str; 7] = [
    "memory=pages",
    "memory=pages cache=writecombine",
    "memory=pages cache=noncached",
    "memory=contiguous",
    "memory=contiguous cache=writecombine",
    "memory=contiguous cache=noncached",
    "memory=dma",
];

/// A device of one window of this size.
fn of_one(settings: &str, size: u64) -> Folder {
    Folder::live("test", &[("one", &format!("{settings} size={size}"))])
}

/// The runs of memory that a window consists of, as ranges of its pages.
fn runs(fd: &OwnedFd, size: u64) -> Vec<Range<u64>> {
    let map = Map::shared(fd, size as usize).expect("a mapping");
    let frames: Vec<_> = (0..).zip(crate::pagemap::frames(&map)).collect();
    let runs = frames.chunk_by(|one, next| one.1 + 1 == next.1);
    runs.map(|run| run[0].0..run[run.len() - 1].0 + 1).collect()
}

/// A driver that has its device write into buffers as one run of memory, and stores into them by itself.
fn a_camera_writes_into_buffers() {
    const SIZE: u64 = 8 << 20;
    let camera = Camera::new(Allocator::DmaContig);
    let size = camera.whole_pages();
    let page = PAGE as u64;
    for settings in CAMERA_WINDOWS {
        let is_scattered = settings.contains("pages");
        let folder = of_one(settings, if is_scattered { SIZE } else { 1 << 20 });
        let fd = folder.open();
        let first = if is_scattered {
            let runs = runs(&fd, SIZE);
            let mut runs = runs.iter().filter(|run| run.end - run.start >= 200);
            runs.next().expect("a run of memory").start * page
        } else {
            0
        };
        let starts = [1, 3, 5].map(|n| first + n * page + n / 2 * size);
        camera.shoot(&fd, &starts);
        // The buffers are all that is left of the device.
        let buffers = starts.map(|start| export(&fd, start, size).expect("a buffer"));
        camera.room_for(3);
        for (index, buffer) in (0..).zip(&buffers) {
            assert_eq!(camera.queue(index, buffer), Ok(0));
        }
        let map = Map::shared(&buffers[0], size as usize).expect("a mapping");
        drop((buffers, fd, folder));
        map.write(0, &vec![0xee; size as usize]);
        camera.stream(true);
        while camera.picture().0 != 0 {}
        assert!(map.read(0..camera.size as usize) != vec![0xee; camera.size as usize]);
        camera.stream(false);
        camera.room_for(0);
        drop(map);
        assert_eq!(self::buffers(), 0);
    }
}

/// A driver that stores into buffers by the processor alone, wherever their pages are.
fn a_webcam_writes_into_buffers() {
    let camera = Camera::new(Allocator::Vmalloc);
    let size = camera.whole_pages();
    let page = PAGE as u64;
    for settings in CAMERA_WINDOWS {
        let folder = of_one(settings, 1 << 20);
        camera.shoot(&folder.open(), &[page, size + 3 * page]);
        drop(folder);
        if settings.contains("pages") {
            let (_folders, fd, start) = scattered(settings, size);
            camera.shoot(&fd, &[start]);
        }
    }
    assert_eq!(buffers(), 0);
}

/// A device with a window of pages of which some are apart from each other: where such a part starts that has `size`
/// bytes and a page around them. What is not such a device is kept, so that the next is another.
fn scattered(settings: &str, size: u64) -> (Vec<Folder>, OwnedFd, u64) {
    // A large piece, and behind it what comes from smaller pieces.
    const SIZE: u64 = (2 << 20) + (256 << 10);
    let page = PAGE as u64;
    let mut folders = Vec::new();
    for number in 0..20 {
        let settings = format!("{settings} size={SIZE}");
        let folder = Folder::live(&format!("test{number}"), &[("one", &settings)]);
        let fd = folder.open();
        folders.push(folder);
        let ends = runs(&fd, SIZE).into_iter().map(|run| run.end * page);
        let mut starts = ends.filter_map(|end| end.checked_sub(5 * page));
        if let Some(start) = starts.find(|start| *start >= page && start + size + page <= SIZE) {
            return (folders, fd, start);
        }
    }
    panic!("{settings}: all pages are one run of memory, each time");
}

/// A buffer that may only be read is for processes, which map it: an importer does not say what it does by the
/// processor.
fn no_driver_writes_to_a_read_only_buffer() {
    const SIZE: u64 = 1 << 20;
    let windows = [
        ("rw", "size=1M memory=contiguous"),
        ("ro", "size=1M memory=contiguous access=ro fill=7"),
    ];
    let folder = Folder::live("test", &windows);
    let both = folder.open();
    let reader = folder.open_as(OFlags::RDONLY);
    let exports = || {
        [
            export(&reader, 0, SIZE).expect("a buffer"),
            export(&reader, SIZE, SIZE).expect("a buffer"),
            export(&both, SIZE, SIZE).expect("a buffer"),
        ]
    };
    let bytes = || {
        [
            get(&both, 0, SIZE as usize),
            get(&both, SIZE, SIZE as usize),
        ]
    };
    let before = bytes();
    let mark = Mark::now();
    // A driver that has processes map buffers by its own file, which can be written.
    let (module, node) = vgem();
    for buffer in exports() {
        let gem = open_node(&node, OFlags::RDWR).expect("a node");
        let argument = Buffer::new(16);
        argument.write(8, &buffer.as_raw_fd().to_ne_bytes());
        let answer = ioctl(&gem, PRIME_FD_TO_HANDLE, argument.span(0, 12));
        assert_eq!(answer, Ok(0));
        /// Where DRM maps the first buffer that a device has.
        const FIRST: u64 = 1 << 32;
        let map = |protection| Map::new(Some(gem.as_fd()), FIRST, PAGE, protection, MAP_SHARED);
        let writable = map(READ_WRITE);
        if let Ok(map) = &writable {
            map.write(0, b"stored by a reader");
        }
        assert_eq!(bytes(), before, "a reader stored");
        assert_eq!(writable.err(), Some(Errno::ACCESS));
        let map = map(PROT_READ).expect("a mapping");
        assert_eq!(map.protect(READ_WRITE), Err(Errno::ACCESS));
        drop(map.read(0..PAGE));
    }
    drop(module);
    // One that has its device write into them, and one that does so by the processor.
    for (allocator, errno) in [
        (Allocator::DmaContig, Errno::INVAL),
        (Allocator::Vmalloc, Errno::FAULT),
    ] {
        let camera = Camera::new(allocator);
        camera.room_for(1);
        for buffer in exports() {
            assert_eq!(camera.prepare(0, &buffer), Err(errno));
        }
    }
    assert_eq!(bytes(), before);
    let log = mark.all();
    let warnings = log.iter().filter(|line| line.contains("WARNING"));
    assert_eq!(warnings.collect::<Vec<_>>(), Vec::<&String>::new());
}

/// With `swiotlb=force` on the kernel's command line, devices have copies of the pages, which SYNC brings up to date: then it
/// can be seen what it does. Without, it has nothing to do.
fn only_announced_bytes_are_copied() {
    const HEAD: usize = 64 << 10;
    const ALL: usize = 4 * HEAD;
    let command_line = fs::read_to_string("/proc/cmdline").expect("/proc");
    let mut words = command_line.split_whitespace();
    let has_copies = words.any(|word| word == "swiotlb=force");
    let folder = of_one("memory=contiguous", ALL as u64);
    let fd = folder.open();
    let all = |byte: u8| put(&fd, 0, &vec![byte; ALL]);
    let say = |range: Range<usize>, flags: u32| {
        let (offset, size) = (range.start as u64, range.len() as u64);
        assert_eq!(sync(&fd, offset, size, flags), Ok(0));
    };
    // A device that only writes, and has delivered "a".
    let camera = Camera::new(Allocator::DmaContig);
    let size = camera.whole_pages();
    let buffer = HEAD..HEAD + size as usize;
    let export = export(&fd, HEAD as u64, size).expect("a buffer");
    all(b'a');
    camera.room_for(1);
    assert_eq!(camera.prepare(0, &export), Ok(0));
    // Does `act` where all is "b"; then "a" is in `range`, if there are copies, and nowhere else.
    let check = |what: &str, range: Range<usize>, act: &dyn Fn()| {
        all(b'b');
        act();
        let mut expected = vec![b'b'; ALL];
        if has_copies {
            expected[range].fill(b'a');
        }
        let got = get(&fd, 0, ALL);
        let wrong: Vec<_> = (0..ALL).filter(|at| got[*at] != expected[*at]).collect();
        if let (Some(first), Some(last)) = (wrong.first(), wrong.last()) {
            panic!(
                "{what}: {} bytes from {first} to {last} are wrong",
                wrong.len()
            );
        }
    };
    for range in [
        HEAD + 5000..HEAD + 15_000,
        HEAD..HEAD + 1,
        buffer.end - 1..buffer.end,
        HEAD + PAGE..HEAD + 3 * PAGE,
        buffer.clone(),
    ] {
        check("read", range.clone(), &|| say(range.clone(), SYNC_READ));
        for flags in [SYNC_READ | SYNC_END, SYNC_WRITE, SYNC_WRITE | SYNC_END] {
            check("nothing to read", 0..0, &|| say(range.clone(), flags));
        }
    }
    // Over its ends, and beside it.
    check("all", buffer.clone(), &|| say(0..ALL, SYNC_READ));
    check("start", HEAD..HEAD + 50, &|| {
        say(HEAD - 50..HEAD + 50, SYNC_READ)
    });
    check("end", buffer.end - 50..buffer.end, &|| {
        say(buffer.end - 50..ALL, SYNC_READ)
    });
    check("before", 0..0, &|| say(0..HEAD, SYNC_READ));
    check("behind", 0..0, &|| say(buffer.end..ALL, SYNC_READ));
    // The buffer's own command is for all of it.
    check("buffer", buffer.clone(), &|| {
        assert_eq!(announce(&export, SYNC_READ.into()), Ok(0));
    });
    // What the processor stored does not get to the device, which would not look at it: it would take the place of what the
    // device delivers.
    for flags in [SYNC_WRITE, SYNC_READ | SYNC_WRITE] {
        check("stored", buffer.clone(), &|| {
            say(0..ALL, flags | SYNC_END);
            say(0..ALL, SYNC_READ);
        });
    }
    camera.room_for(0);
}

fn tables_of_an_import_are_charged() {
    const SIZE: u64 = 128 << 20;
    /// What the list of its pages takes, while the table is made.
    const LIST: u64 = SIZE / PAGE as u64 * 8;
    let camera = Camera::new(Allocator::Vmalloc);
    let folder = of_one("", SIZE);
    let buffer = export(folder.open(), 0, SIZE).expect("a buffer");
    camera.room_for(1);
    let cgroup = Cgroup::new("32M");
    cgroup.run(|| {
        let before = cgroup.most();
        assert_eq!(camera.prepare(0, &buffer), Ok(0));
        let charged = cgroup.most() - before;
        assert!(charged >= LIST, "{charged} bytes of {LIST} are charged");
    });
    camera.room_for(0);
}

fn memory_that_failed_is_not_imported() {
    let camera = Camera::new(Allocator::DmaContig);
    let size = camera.whole_pages();
    let folder = of_one("memory=contiguous", size);
    let fd = folder.open();
    let buffer = export(&fd, 0, size).expect("a buffer");
    camera.room_for(1);
    assert_eq!(camera.prepare(0, &buffer), Ok(0));
    camera.room_for(0);
    let map = Map::shared(&fd, size as usize).expect("a mapping");
    crate::poison::fail(&map, 3);
    camera.room_for(1);
    // What the camera's driver makes of any refusal.
    assert_eq!(camera.prepare(0, &buffer), Err(Errno::INVAL));
    camera.room_for(0);
}
