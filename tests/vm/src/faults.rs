// SPDX-License-Identifier: MIT OR Apache-2.0

//! Everything that the driver is asked to do, with each of its allocations and each of its copies to and from a process failed
//! in turn: it is refused with the right error or done all the same, nothing is left behind, and the next try works.

use crate::dmabuf::{buffers, vgem, ANNOUNCE, GEM_CLOSE, PRIME_FD_TO_HANDLE};
use crate::driver::{self, get, open_node, pattern, put, NODE, SIZE};
use crate::fault::{Fault, Kind};
use crate::folder::Folder;
use crate::held::{self, leaving_nothing, nothing_more_after};
use crate::load::nothing_is_left;
use crate::pci::Pci;
use crate::report::fact;
use crate::sys::{
    ioctl, ioctl_fd, pread, pwrite, readv, Buffer, Child, End, Map, HUGE, PAGE, PAGE64,
};
use chrmem_uapi::abi::{self, SYNC_READ};
use libc::{
    MADV_POPULATE_READ, MADV_POPULATE_WRITE, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE,
};
use rustix::event::epoll;
use rustix::fs::{sendfile, OFlags};
use rustix::io::Errno;
use rustix::pipe::{pipe, splice, SpliceFlags};
use rustix::system::finit_module;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

crate::tests! {
    loading
    unloading
    making_folders
    settings
    building_of_pages
    building_of_one_run
    building_of_other_memory
    the_first_dma_memory
    destroying
    opening
    mapping
    touching
    touching_a_buffer_that_is_no_whole_huge_pages
    changing_mappings
    forking
    reading_and_writing
    commands
    exporting
    importing
    looking
    nothing_is_lost
}

const LIMIT: Duration = Duration::from_secs(20);

/// What a try answers: what it did is undone again.
type Answer = Result<(), Errno>;

/// Has each fault of a kind happen in a try of its own, until there is none any more, and has each that was refused for it
/// tried again. Gives how many there were.
fn each(kind: Kind, what: &str, attempt: impl Fn(&Fault) -> Answer) -> u32 {
    kind.choose();
    each_chosen(kind, what, |fault| {
        let answer = attempt(fault);
        if answer.is_err() {
            assert_eq!(attempt(&Fault::none()), Ok(()), "{what}, again");
        }
        answer
    })
}

/// The same with those faults that were chosen. Each try is the next one after that with the fault before, and gets further.
fn each_chosen(kind: Kind, what: &str, attempt: impl Fn(&Fault) -> Answer) -> u32 {
    // What is done once only, and what is mapped late, is out of the way then.
    assert_eq!(attempt(&Fault::none()), Ok(()), "{what}");
    let (mut refused, mut done) = (0, 0);
    for nth in 1.. {
        let fault = Fault::nth(nth);
        let answer = attempt(&fault);
        if !fault.happened() {
            assert_eq!(answer, Ok(()), "{what}, fault {nth}");
            break;
        }
        match answer {
            Ok(()) => done += 1,
            Err(errno) => {
                assert_eq!(errno, kind.errno(), "{what}, fault {nth}");
                refused += 1;
            }
        }
    }
    let total = refused + done;
    println!("{what}: {total} faults of {kind:?}, {refused} refused");
    if total > 0 {
        let (told, not_told) = match kind {
            Kind::Memory => ("ENOMEM", "done without the memory"),
            Kind::Copy => ("EFAULT", "done as far as copied"),
        };
        fact("faults", &format!("{what} × {told}"), refused);
        fact("faults", &format!("{what} × {not_told}"), done);
        fact("faults", "faults", total);
    }
    total
}

/// The same with what a function of the kernel's allocates, where a try takes long.
fn each_allocation_in(function: &str, what: &str, attempt: impl Fn(&Fault) -> Answer) {
    Kind::Memory.choose_in_function(function);
    assert_ne!(each_chosen(Kind::Memory, what, attempt), 0, "{what}");
}

/// The same with both kinds, of each of which there must be some.
fn each_of_both(what: &str, attempt: impl Fn(&Fault) -> Answer) {
    for kind in [Kind::Memory, Kind::Copy] {
        assert_ne!(each(kind, what, &attempt), 0, "{what}: {kind:?}");
    }
}

/// The same with allocations, of which there must be some.
fn each_allocation(what: &str, attempt: impl Fn(&Fault) -> Answer) {
    assert_ne!(each(Kind::Memory, what, attempt), 0, "{what}");
}

/// The same with copies, of which there must be some; and no allocation.
fn each_copy_and_no_allocation(what: &str, attempt: impl Fn(&Fault) -> Answer) {
    assert_eq!(each(Kind::Memory, what, &attempt), 0, "{what}");
    assert_ne!(each(Kind::Copy, what, attempt), 0, "{what}");
}

/// Asserts that a device can be used.
fn is_usable(node: &str) {
    let fd = open_node(node, OFlags::RDWR).expect(node);
    put(&fd, 7, b"usable");
    assert_eq!(get(&fd, 7, 6), b"usable");
}

/// What the kernel does before it runs the module's code is not looked at, nor is it shy of warnings.
fn loading() {
    let module = driver::stripped();
    driver::without(|| {
        nothing_more_after(|| {
            each_allocation_in("do_init_module", "load", |fault| {
                let file = File::open(&module).expect("the module");
                let loaded = fault.hits(|| finit_module(&file, c"", 0));
                if loaded.is_ok() {
                    is_usable(NODE);
                    driver::unload_soon().expect("unload");
                }
                nothing_is_left();
                loaded
            });
        });
    });
}

fn unloading() {
    let module = driver::stripped();
    driver::without(|| {
        nothing_more_after(|| {
            each_allocation("unload", |fault| {
                driver::load_from(&module, "").expect("load");
                let unloaded = fault.hits(driver::unload);
                if unloaded.is_err() {
                    is_usable(NODE);
                    driver::unload_soon().expect("unload");
                }
                nothing_is_left();
                unloaded
            });
        });
    });
}

fn making_folders() {
    leaving_nothing(|| {
        // The other name has more than the 19 characters that there is room for without an allocation.
        for name in ["test", "a-name-of-27-characters-all"] {
            each_of_both("make a device's folder", |fault| {
                fault.hits(|| Folder::make(name)).map(drop)
            });
        }
        let folder = Folder::new("test");
        each_of_both("make a window's folder", |fault| {
            fault.hits(|| folder.make_window("one"))?;
            folder.remove_window("one").expect("rmdir");
            Ok(())
        });
        // Nor does the device think that it has a window.
        folder.cannot_be_built(Errno::INVAL, &["it has no windows"]);
    });
}

fn settings() {
    const SETTINGS: [(&str, &str, &str); 8] = [
        ("offset", "auto", "8192"),
        ("size", "4096", "12288"),
        ("memory", "pages", "contiguous"),
        ("cache", "cached", "noncached"),
        ("access", "rw", "ro"),
        ("address", "none", "0x1000"),
        ("device", "none", "0000:00:01.0"),
        ("fill", "0", "42"),
    ];
    leaving_nothing(|| {
        let folder = Folder::new("test");
        folder.make_window("one").expect("a window");
        for (setting, old, new) in SETTINGS {
            each_of_both("change a setting", |fault| {
                folder.set("one", setting, old).expect(setting);
                let set = fault.hits(|| folder.set("one", setting, new));
                let expected = if set.is_ok() { new } else { old };
                assert_eq!(folder.get("one", setting), expected);
                set
            });
            let path = folder.path_of("one").join(setting);
            each_of_both("read a setting", |fault| {
                let mut text = [0; 64];
                let len = fault.hits(|| {
                    let file = open_node(&path, OFlags::RDONLY)?;
                    rustix::io::read(&file, &mut text)
                })?;
                assert_eq!(text[..len], *format!("{new}\n").as_bytes());
                Ok(())
            });
        }
    });
}

/// Builds a device with this window.
fn build(what: &str, settings: &str) {
    leaving_nothing(|| {
        let folder = Folder::new("test");
        folder.window("one", settings);
        each_allocation(&format!("build: {what}"), |fault| {
            build_once(&folder, fault)
        });
    });
}

fn build_once(folder: &Folder, fault: &Fault) -> Answer {
    let built = fault.hits(|| folder.set_live("1"));
    if built.is_ok() {
        is_usable(&folder.node());
        folder.destroy();
    }
    assert!(!folder.is_live());
    built
}

fn building_of_pages() {
    build("pages", "size=10pages");
    build("huge pages", "size=5M");
    build("pages, write-combined", "size=10pages cache=writecombine");
    build("tracked pages", "size=10pages track=1");
}

fn building_of_one_run() {
    build("one run", "size=10pages memory=contiguous");
    build(
        "one run, not cached",
        "size=10pages memory=contiguous cache=noncached",
    );
}

fn building_of_other_memory() {
    build("DMA memory", "size=10pages memory=dma");
    let edu = Pci::find(0x1234, 0x11e8);
    let device = format!("size=10pages memory=dma device={}", edu.address());
    build("DMA memory of a device", &device);
    let bar = Pci::find(0x1af4, 0x1110).bar(2).start;
    build(
        "physical",
        &format!("size=10pages memory=physical address={bar:#x}"),
    );
}

fn the_first_dma_memory() {
    let module = driver::stripped();
    driver::without(|| {
        nothing_more_after(|| {
            each_allocation_in(
                "faux_device_create",
                "build: the first DMA memory",
                |fault| {
                    driver::load_from(&module, "").expect("load");
                    let folder = Folder::new("test");
                    folder.window("one", "size=2pages memory=dma");
                    let built = build_once(&folder, fault);
                    drop(folder);
                    driver::unload_soon().expect("unload");
                    built
                },
            );
        });
    });
}

fn destroying() {
    leaving_nothing(|| {
        let folder = Folder::new("test");
        folder.window("one", "size=10pages");
        each_of_both("destroy", |fault| {
            folder.build();
            let destroyed = fault.hits(|| folder.set_live("0"));
            if destroyed.is_err() {
                is_usable(&folder.node());
                folder.destroy();
            }
            assert!(!folder.is_live());
            destroyed
        });
        each_of_both("remove a live device", |fault| {
            let folder = Folder::live("other", &[("one", "size=2pages memory=dma")]);
            folder.remove_window("one").expect("rmdir");
            let removed = fault.hits(|| folder.remove());
            if removed.is_err() {
                is_usable(&folder.node());
            }
            removed
        });
    });
}

fn opening() {
    leaving_nothing(|| {
        each_of_both("open", |fault| {
            let fd = fault.hits(|| open_node(NODE, OFlags::RDWR))?;
            assert_eq!(get(&fd, 0, SIZE).len(), SIZE);
            Ok(())
        });
    });
}

const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// Devices with one window each, their sizes, and whether they can be mapped privately.
const WINDOWS: [(&str, usize, bool); 5] = [
    ("memory=pages size=10pages", 10 * PAGE, true),
    ("memory=pages size=10pages track=1", 10 * PAGE, true),
    ("memory=pages size=5M", 5 << 20, true),
    (
        "memory=contiguous cache=writecombine size=1M",
        1 << 20,
        false,
    ),
    ("memory=dma size=1M", 1 << 20, false),
];

/// Does something with each of [`WINDOWS`] and with each way of mapping it.
fn with_each_window(act: impl Fn(&Folder, &OwnedFd, usize, i32)) {
    leaving_nothing(|| {
        for (settings, size, private) in WINDOWS {
            let folder = Folder::live("test", &[("one", settings)]);
            let fd = folder.open();
            put(&fd, 0, &pattern(PAGE));
            act(&folder, &fd, size, MAP_SHARED);
            if private {
                act(&folder, &fd, size, MAP_PRIVATE);
            }
            assert_eq!(folder.shown().mappings.0, 0);
        }
    });
}

fn mapping() {
    with_each_window(|folder, fd, size, flags| {
        let is_mapped = |map: &Map| {
            assert_eq!(folder.shown().mappings.0, 1);
            assert_eq!(map.read(0..PAGE), pattern(PAGE));
        };
        each_allocation("mmap", |fault| {
            let map = fault.hits(|| Map::new(Some(fd.as_fd()), 0, size, READ_WRITE, flags))?;
            is_mapped(&map);
            Ok(())
        });
        each_allocation("mmap far from all else", |fault| {
            let (_before, place, _after) = far(size);
            let map = fault.hits(|| place.replace(fd.as_fd(), 0, READ_WRITE, flags))?;
            is_mapped(&map);
            Ok(())
        });
    });
}

/// A place for a mapping, and what keeps all else away from it: page tables are missing there too.
fn far(size: usize) -> (Map, Map, Map) {
    let all = Map::anonymous(size + 3 * TABLE);
    let before = TABLE - all.address() % TABLE;
    let (before, place) = all.split(before);
    let (place, after) = place.split(size);
    (before, place, after)
}

/// Bytes that the entries of one page of a page table map.
const TABLE: usize = HUGE;

fn touching() {
    with_each_window(|_, fd, size, flags| {
        let map = || Map::new(Some(fd.as_fd()), 0, size, READ_WRITE, flags).expect("a mapping");
        // The kernel lets the process try again.
        each(Kind::Memory, "touch", |fault| {
            let map = map();
            fault.hits(|| {
                map.write(size - 8, b"touched!");
                assert_eq!(map.read(0..PAGE), pattern(PAGE));
            });
            assert_eq!(map.read(size - 8..size), b"touched!");
            Ok(())
        });
        // Page frames cannot be brought in by this.
        if map().advise(MADV_POPULATE_READ) == Err(Errno::INVAL) {
            return;
        }
        for advice in [MADV_POPULATE_READ, MADV_POPULATE_WRITE] {
            // A copy of each of many pages is a fault of its own.
            if advice == MADV_POPULATE_WRITE && flags == MAP_PRIVATE && size > TABLE {
                continue;
            }
            each(Kind::Memory, "populate", |fault| {
                let map = map();
                let populated = fault.hits(|| map.advise(advice));
                assert_eq!(map.read(0..PAGE), pattern(PAGE));
                populated
            });
        }
    });
}

/// Huge entries fit to the buffer, but not to the memory in it, which begins a page later.
fn touching_a_buffer_that_is_no_whole_huge_pages() {
    const SIZE: usize = 4 * HUGE;
    leaving_nothing(|| {
        let folder = Folder::live("test", &[("one", &format!("size={SIZE}"))]);
        let fd = folder.open();
        let bytes = pattern(SIZE);
        put(&fd, 0, &bytes);
        let bytes = &bytes[PAGE..];
        let part = argument(
            &[
                PAGE64.to_ne_bytes(),
                (bytes.len() as u64).to_ne_bytes(),
                [0; 8],
            ]
            .concat(),
        );
        let buffer = ioctl_fd(&fd, abi::EXPORT, part.span(0, 24)).expect("a buffer");
        each_allocation("touch of a buffer between huge pages", |fault| {
            let (_before, place, _after) = far(bytes.len());
            let map = place.replace(buffer.as_fd(), 0, READ_WRITE, MAP_SHARED);
            let map = map.expect("a mapping");
            fault.hits(|| map.write(3 * TABLE, &bytes[3 * TABLE..][..8]));
            assert!(map.read(0..map.len()) == bytes);
            Ok(())
        });
    });
}

fn changing_mappings() {
    with_each_window(|folder, fd, size, flags| {
        let map = || Map::new(Some(fd.as_fd()), 0, size, READ_WRITE, flags).expect("a mapping");
        let middle = || {
            let (head, rest) = map().split(PAGE);
            let (middle, tail) = rest.split(2 * PAGE);
            (head, middle, tail)
        };
        each_allocation("munmap of the middle", |fault| {
            let (head, middle, tail) = middle();
            let unmapped = fault.hits(|| middle.unmap());
            assert_eq!(head.read(0..PAGE), pattern(PAGE));
            drop(tail);
            unmapped.map_err(|(middle, errno)| {
                drop(middle.read(0..PAGE));
                errno
            })
        });
        each_allocation("mprotect of the middle", |fault| {
            let (head, middle, _tail) = middle();
            let protected = fault.hits(|| middle.protect(PROT_READ));
            assert_eq!(head.read(0..PAGE), pattern(PAGE));
            drop(middle.read(0..PAGE));
            protected
        });
        each_allocation("mremap", |fault| {
            let mut map = map();
            map.write(0, b"moved");
            let place = Map::anonymous(size);
            let moved = fault.hits(|| map.move_onto(place));
            assert_eq!(map.read(0..5), b"moved");
            moved?;
            assert_eq!(folder.shown().mappings.0, 1);
            Ok(())
        });
        put(fd, 0, &pattern(PAGE));
    });
}

fn forking() {
    leaving_nothing(|| {
        let windows = [("pages", "size=1M"), ("frames", "size=1M memory=dma")];
        let folder = Folder::live("test", &windows);
        let fd = folder.open();
        let map = |offset, flags| {
            let map = Map::new(Some(fd.as_fd()), offset, 1 << 20, READ_WRITE, flags);
            let map = map.expect("a mapping");
            map.write(PAGE, b"mine");
            map
        };
        let maps = [
            map(0, MAP_SHARED),
            map(0, MAP_PRIVATE),
            map(1 << 20, MAP_SHARED),
        ];
        each_allocation("fork", |fault| {
            let child = fault.hits(Child::fork);
            let answer = child.map(|mut child| assert_eq!(child.wait(LIMIT), End::Status(0)));
            assert_eq!(folder.shown().mappings.0, 3);
            for map in &maps {
                assert_eq!(map.read(PAGE..PAGE + 4), b"mine");
            }
            answer
        });
    });
}

fn reading_and_writing() {
    // Copied at once, page by page, and through a buffer of the driver's.
    let bar = Pci::find(0x1af4, 0x1110).bar(2).start;
    let physical = format!("size=2pages memory=physical address={bar:#x}");
    leaving_nothing(|| {
        for settings in ["size=2pages", "size=2pages memory=dma", &physical] {
            let folder = Folder::live("test", &[("one", settings)]);
            let fd = folder.open();
            let len = 2 * PAGE;
            let bytes = pattern(len);
            let buffer = Buffer::new(len);
            let is_there = |read: Result<usize, Errno>| {
                let read = read?;
                assert!(read > 0 && buffer.read(0..read) == bytes[..read]);
                Ok(())
            };
            put(&fd, 0, &bytes);
            each_copy_and_no_allocation("read", |fault| {
                buffer.write(0, &vec![0; len]);
                is_there(fault.hits(|| pread(&fd, buffer.span(0, len), 0)))
            });
            each_copy_and_no_allocation("readv", |fault| {
                buffer.write(0, &vec![0; len]);
                let spans = [buffer.span(0, 5000), buffer.span(5000, len - 5000)];
                is_there(fault.hits(|| readv(&fd, &spans, 2, 0, 0)))
            });
            each_copy_and_no_allocation("write", |fault| {
                put(&fd, 0, &vec![0; len]);
                buffer.write(0, &bytes);
                let before = folder.shown().generation;
                let written = fault.hits(|| pwrite(&fd, buffer.span(0, len), 0));
                let changes = folder.shown().generation - before;
                let count = written.unwrap_or(0);
                let there = get(&fd, 0, len);
                assert!(there[..count] == bytes[..count] && there[count..] == vec![0; len - count]);
                assert_eq!(changes, u64::from(written.is_ok()));
                written.map(drop)
            });
        }
        splicing();
    });
}

fn splicing() {
    let fd = driver::open();
    let bytes = pattern(SIZE);
    put(&fd, 0, &bytes);
    let (out, into) = pipe().expect("a pipe");
    let none = SpliceFlags::empty();
    // The pages go into the pipe as they are.
    let lent = each(Kind::Memory, "splice out", |fault| {
        let spliced = fault.hits(|| splice(&fd, Some(&mut 0), &into, None, SIZE, none))?;
        let mut there = vec![0; spliced];
        assert_eq!(rustix::io::read(&out, &mut there[..]), Ok(spliced));
        assert!(spliced > 0 && there == bytes[..spliced]);
        Ok(())
    });
    assert_eq!(lent, 0);
    each_allocation("splice in", |fault| {
        put(&fd, 0, &vec![0; SIZE]);
        assert_eq!(rustix::io::write(&into, &bytes), Ok(SIZE));
        let spliced = fault.hits(|| splice(&out, None, &fd, Some(&mut 0), SIZE, none));
        let count = spliced.unwrap_or(0);
        // What was not taken is still in the pipe.
        let mut rest = vec![0; SIZE - count];
        if count < SIZE {
            assert_eq!(rustix::io::read(&out, &mut rest[..]), Ok(SIZE - count));
        }
        assert!(get(&fd, 0, count) == bytes[..count] && rest == bytes[count..]);
        spliced.map(drop)
    });
    put(&fd, 0, &bytes);
    let file = rustix::fs::memfd_create("copy", rustix::fs::MemfdFlags::CLOEXEC).expect("a file");
    each_allocation("sendfile", |fault| {
        rustix::fs::ftruncate(&file, 0).expect("ftruncate");
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).expect("lseek");
        let sent = fault.hits(|| sendfile(&file, &fd, Some(&mut 0), SIZE))?;
        assert!(sent > 0 && get(&file, 0, sent) == bytes[..sent]);
        Ok(())
    });
}

/// An ioctl's argument.
fn argument(bytes: &[u8]) -> Buffer {
    let buffer = Buffer::new(128);
    buffer.write(0, bytes);
    buffer
}

/// The argument for a range from the start of a device.
fn range(size: u64, flags: u32) -> Buffer {
    let (size, flags) = (size.to_ne_bytes(), u64::from(flags).to_ne_bytes());
    argument(&[[0; 8], size, flags].concat())
}

fn commands() {
    leaving_nothing(|| {
        let fd = driver::open();
        let call = |command, argument: &Buffer, fault: &Fault| {
            fault.hits(|| ioctl(&fd, command, argument.span(0, 128)))
        };
        for (what, command, argument) in [
            ("INFO", abi::INFO, argument(&[])),
            ("WINDOW", abi::WINDOW, argument(&[])),
            ("CLEAR", abi::CLEAR, range(100, 0)),
            ("SYNC", abi::SYNC, range(100, SYNC_READ)),
            ("SEEN", abi::SEEN, argument(&[])),
        ] {
            each_copy_and_no_allocation(what, |fault| {
                argument.write(32, &[0; 96]);
                if what == "SEEN" {
                    assert_eq!(ioctl(&fd, abi::NOTIFY, argument.span(0, 128)), Ok(0));
                }
                let before = (driver::generation(), driver::fdinfo(&fd).seen);
                let answer = call(command, &argument, fault);
                let after = (driver::generation(), driver::fdinfo(&fd).seen);
                // What is refused has changed nothing.
                assert!(answer.is_ok() || after == before, "{before:?} {after:?}");
                answer.map(drop)
            });
        }
        for (what, command) in [
            ("MEM_CLEAR", abi::MEM_CLEAR),
            ("MEM_RESET", abi::MEM_RESET),
            ("RESET", abi::RESET),
            ("NOTIFY", abi::NOTIFY),
        ] {
            for kind in [Kind::Memory, Kind::Copy] {
                let nothing = argument(&[]);
                let attempt = |fault: &Fault| call(command, &nothing, fault).map(drop);
                assert_eq!(each(kind, what, attempt), 0, "{what}");
            }
        }
    });
}

/// A device of which [`BUFFER`] bytes can be exported.
fn exporter(kind: &str) -> Folder {
    let folder = Folder::live("test", &[("one", &format!("size=1M memory={kind}"))]);
    put(folder.open(), 0, &pattern(PAGE));
    folder
}

const BUFFER: usize = 1 << 20;

/// The kinds of memory that can be exported.
const KINDS: [&str; 3] = ["pages", "contiguous", "dma"];

fn exporting() {
    leaving_nothing(|| {
        for kind in KINDS {
            let folder = exporter(kind);
            let fd = folder.open();
            let all = range(BUFFER as u64, 0);
            let export = || ioctl_fd(&fd, abi::EXPORT, all.span(0, 24));
            each_of_both("export", |fault| {
                let exported = fault.hits(export);
                assert_eq!(buffers(), usize::from(exported.is_ok()));
                exported.map(drop)
            });
            let buffer = export().expect("a buffer");
            each_allocation("mmap of a buffer", |fault| {
                let map = fault.hits(|| Map::shared(&buffer, BUFFER))?;
                assert_eq!(map.read(0..PAGE), pattern(PAGE));
                Ok(())
            });
            each_allocation("touch of a buffer", |fault| {
                let (_before, place, _after) = far(BUFFER);
                let map = place.replace(buffer.as_fd(), 0, READ_WRITE, MAP_SHARED);
                let map = map.expect("a mapping");
                fault.hits(|| map.write(BUFFER - 8, b"touched!"));
                assert_eq!(get(&fd, BUFFER as u64 - 8, 8), b"touched!");
                Ok(())
            });
            assert_eq!(folder.shown().mappings.0, 0);
            const READ: u64 = 1;
            let read = argument(&READ.to_ne_bytes());
            each_copy_and_no_allocation("announce to a buffer", |fault| {
                fault
                    .hits(|| ioctl(&buffer, ANNOUNCE, read.span(0, 8)))
                    .map(drop)
            });
        }
    });
}

/// By a driver that has the pages mapped for its device.
fn importing() {
    let (module, node) = vgem();
    let gem = open_node(&node, OFlags::RDWR).expect("a node");
    leaving_nothing(|| {
        for kind in KINDS {
            let folder = exporter(kind);
            let all = range(BUFFER as u64, 0);
            let fd = folder.open();
            let buffer = ioctl_fd(&fd, abi::EXPORT, all.span(0, 24)).expect("a buffer");
            each_allocation("import", |fault| {
                // handle, flags, descriptor
                let argument = argument(&[]);
                argument.write(8, &buffer.as_raw_fd().to_ne_bytes());
                fault.hits(|| ioctl(&gem, PRIME_FD_TO_HANDLE, argument.span(0, 12)))?;
                argument.write(4, &[0; 4]);
                assert_eq!(ioctl(&gem, GEM_CLOSE, argument.span(0, 8)), Ok(0));
                Ok(())
            });
            drop(buffer);
            assert_eq!(buffers(), 0);
        }
    });
    drop((gem, module));
}

/// What the driver shows, and polling.
fn looking() {
    leaving_nothing(|| {
        let fd = driver::open();
        let debugfs = "/sys/kernel/debug/chrmem/chrmem0";
        each_of_both("read debugfs", |fault| {
            let mut text = [0; 4096];
            let len = fault.hits(|| {
                let file = open_node(debugfs, OFlags::RDONLY)?;
                rustix::io::read(&file, &mut text)
            })?;
            assert!(text[..len].starts_with(b"size:"));
            Ok(())
        });
        let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
        each_of_both("read fdinfo", |fault| {
            // To open it is procfs's business alone.
            let file = open_node(&path, OFlags::RDONLY).expect("/proc");
            let mut text = [0; 4096];
            let len = fault.hits(|| rustix::io::read(&file, &mut text))?;
            assert!(text[..len].starts_with(b"pos:"));
            Ok(())
        });
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
        each_of_both("wait for news", |fault| {
            let (data, events) = (epoll::EventData::new_u64(1), epoll::EventFlags::IN);
            fault.hits(|| epoll::add(&epoll, &fd, data, events))?;
            epoll::delete(&epoll, &fd).expect("epoll");
            Ok(())
        });
    });
}

fn nothing_is_lost() {
    driver::without(|| {
        let lost = held::unreferenced();
        assert!(lost.is_empty(), "{lost}");
        let held = held::pages();
        assert!(held.is_empty(), "{held:#?}");
    });
}
