// SPDX-License-Identifier: MIT OR Apache-2.0

//! What any memory answers that can be mapped: asked of our windows and of the kernel's own `udmabuf` and
//! `dma_heap`, whose answers are known. A suite that says of those what is not so would be wrong about ours too.

use crate::driver::{get, open_node, pattern};
use crate::folder::Folder;
use crate::sys::{ioctl_fd, ioctl_fd_at, process_vm, Buffer, Map, Result, PAGE};
use libc::{MAP_PRIVATE, MAP_SHARED, MREMAP_MAYMOVE, PROT_EXEC, PROT_READ, PROT_WRITE};
use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

crate::tests! {
    pages_answer_as_ordinary_memory
    page_frames_answer_as_device_memory
    udmabuf_answers_as_it_is_known_to
    dma_heap_answers_as_it_is_known_to
}

/// Bytes of each memory.
const SIZE: usize = 16 * PAGE;

const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// Whether a call works.
const WORKS: Result<()> = Ok(());
const INVAL: Result<()> = Err(Errno::INVAL);
const NXIO: Result<()> = Err(Errno::NXIO);
const FAULT: Result<()> = Err(Errno::FAULT);
const ACCESS: Result<()> = Err(Errno::ACCESS);
const NODEV: Result<()> = Err(Errno::NODEV);
const IO: Result<()> = Err(Errno::IO);

/// A question: what it is about, how it is asked, and what the four memories answer, in the order of the tests.
type Question = (&'static str, fn(&OwnedFd) -> Result<()>, [Result<()>; 4]);

const QUESTIONS: &[Question] = &[
    ("all of it", |fd| map(fd, 0, SIZE), [WORKS; 4]),
    ("one byte", |fd| map(fd, 0, 1), [WORKS; 4]),
    (
        "the last page",
        |fd| map(fd, (SIZE - PAGE) as u64, PAGE),
        [WORKS; 4],
    ),
    ("nothing", |fd| map(fd, 0, 0), [INVAL; 4]),
    ("a byte more", |fd| map(fd, 0, SIZE + 1), [INVAL; 4]),
    (
        "a page more",
        |fd| map(fd, (SIZE - PAGE) as u64, 2 * PAGE),
        [INVAL; 4],
    ),
    ("far more", |fd| map(fd, 0, 1 << 40), [INVAL; 4]),
    ("an odd offset", |fd| map(fd, 1, PAGE), [INVAL; 4]),
    (
        "from the end on",
        |fd| map(fd, SIZE as u64, PAGE),
        [NXIO, NXIO, INVAL, INVAL],
    ),
    (
        "from far behind the end on",
        |fd| map(fd, 1 << 40, PAGE),
        [NXIO, NXIO, INVAL, INVAL],
    ),
    (
        "a private mapping",
        |fd| whole(fd, READ_WRITE, MAP_PRIVATE).map(drop),
        [WORKS, INVAL, INVAL, WORKS],
    ),
    (
        "to make it executable",
        |fd| shared(fd)?.protect(PROT_READ | PROT_EXEC),
        [ACCESS; 4],
    ),
    (
        "to make it read-only and back",
        |fd| {
            let map = shared(fd)?;
            map.protect(PROT_READ)?;
            map.protect(READ_WRITE)
        },
        [WORKS; 4],
    ),
    (
        "to grow it",
        |fd| shared(fd)?.resize(SIZE + PAGE, MREMAP_MAYMOVE),
        [FAULT; 4],
    ),
    (
        "to have it twice",
        |fd| shared(fd)?.duplicate().map(drop),
        [FAULT; 4],
    ),
    (
        "to leave an empty one behind",
        |fd| shared(fd)?.move_out().map(drop),
        [INVAL; 4],
    ),
    (
        "to move it",
        |fd| {
            let mut map = shared(fd)?;
            map.move_onto(Map::anonymous(SIZE))?;
            same(&map)
        },
        [WORKS; 4],
    ),
    (
        "to make it shorter",
        |fd| shared(fd)?.resize(PAGE, 0),
        [WORKS; 4],
    ),
    (
        "DONTNEED",
        |fd| advised(fd, libc::MADV_DONTNEED),
        [WORKS, INVAL, INVAL, INVAL],
    ),
    (
        "POPULATE_READ",
        |fd| advised(fd, libc::MADV_POPULATE_READ),
        [WORKS, INVAL, INVAL, INVAL],
    ),
    (
        "POPULATE_WRITE",
        |fd| advised(fd, libc::MADV_POPULATE_WRITE),
        [WORKS, INVAL, INVAL, INVAL],
    ),
    (
        "COLD",
        |fd| advised(fd, libc::MADV_COLD),
        [WORKS, INVAL, INVAL, INVAL],
    ),
    (
        "PAGEOUT",
        |fd| advised(fd, libc::MADV_PAGEOUT),
        [WORKS, INVAL, INVAL, INVAL],
    ),
    ("FREE", |fd| advised(fd, libc::MADV_FREE), [INVAL; 4]),
    ("DOFORK", |fd| advised(fd, libc::MADV_DOFORK), [INVAL; 4]),
    ("DODUMP", |fd| advised(fd, libc::MADV_DODUMP), [INVAL; 4]),
    (
        "WIPEONFORK",
        |fd| advised(fd, libc::MADV_WIPEONFORK),
        [INVAL; 4],
    ),
    (
        "COLLAPSE",
        |fd| advised(fd, libc::MADV_COLLAPSE),
        [INVAL; 4],
    ),
    ("REMOVE", |fd| advised(fd, libc::MADV_REMOVE), [NODEV; 4]),
    (
        "msync",
        |fd| shared(fd)?.sync(libc::MS_SYNC),
        [WORKS, WORKS, INVAL, INVAL],
    ),
    ("mlock", |fd| shared(fd)?.lock(0), [WORKS; 4]),
    (
        "process_vm_readv",
        |fd| {
            let (map, buffer) = (shared(fd)?, Buffer::new(PAGE));
            let id = std::process::id() as i32;
            process_vm(id, false, buffer.span(0, PAGE), map.span(0, PAGE)).map(drop)
        },
        [WORKS, FAULT, FAULT, FAULT],
    ),
    (
        "/proc/self/mem",
        |fd| {
            let map = shared(fd)?;
            let memory = open_node("/proc/self/mem", OFlags::RDONLY)?;
            rustix::io::pread(&memory, &mut [0; 8], map.address() as u64).map(drop)
        },
        [WORKS, WORKS, IO, IO],
    ),
    (
        "to write(2) from it",
        |fd| {
            let (map, file) = (shared(fd)?, memfd_create("copy", MemfdFlags::CLOEXEC)?);
            assert_eq!(crate::sys::write(&file, map.span(0, SIZE)), Ok(SIZE));
            assert_eq!(get(&file, 0, SIZE), pattern(SIZE));
            Ok(())
        },
        [WORKS; 4],
    ),
];

/// Maps a range, shared.
fn map(fd: &OwnedFd, offset: u64, len: usize) -> Result<()> {
    Map::shared_at(fd, offset, len).map(drop)
}

/// Maps all of it.
fn whole(fd: &OwnedFd, protection: i32, flags: i32) -> Result<Map> {
    Map::new(Some(fd.as_fd()), 0, SIZE, protection, flags)
}

/// Maps all of it, shared, and fills it.
fn shared(fd: &OwnedFd) -> Result<Map> {
    let map = whole(fd, READ_WRITE, MAP_SHARED)?;
    map.write(0, &pattern(SIZE));
    Ok(map)
}

/// Whether the bytes are still what [`shared`] put there.
fn same(map: &Map) -> Result<()> {
    assert!(map.read(0..SIZE) == pattern(SIZE), "the bytes have changed");
    Ok(())
}

/// Gives advice, which must not cost a byte whatever the answer is.
fn advised(fd: &OwnedFd, advice: i32) -> Result<()> {
    let map = shared(fd)?;
    let answer = map.advise(advice);
    same(&map)?;
    answer
}

/// Asks everything; `column` says whose answers are expected.
fn ask(fd: &OwnedFd, column: usize) {
    let wrong: Vec<_> = QUESTIONS
        .iter()
        .map(|(about, question, expected)| (about, question(fd), expected[column]))
        .filter(|(_, answer, expected)| answer != expected)
        .collect();
    assert!(wrong.is_empty(), "question, answer, expected: {wrong:#?}");
}

fn pages_answer_as_ordinary_memory() {
    for settings in ["size=16pages", "size=16pages memory=contiguous"] {
        ask(&Folder::live("oracle", &[("w", settings)]).open(), 0);
    }
}

fn page_frames_answer_as_device_memory() {
    ask(
        &Folder::live("oracle", &[("w", "size=16pages memory=dma")]).open(),
        1,
    );
}

/// A file in memory as a buffer.
fn udmabuf_answers_as_it_is_known_to() {
    /// `struct udmabuf_create`: memfd, flags, offset, size.
    const CREATE: u32 = 0x4018_7542;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("memory", flags).expect("a file");
    ftruncate(&file, SIZE as u64).expect("its size");
    fcntl_add_seals(&file, SealFlags::SHRINK).expect("a seal");
    let argument = Buffer::new(24);
    argument.write(0, &file.as_raw_fd().to_ne_bytes());
    argument.write(16, &SIZE.to_ne_bytes());
    let device = open_node("/dev/udmabuf", OFlags::RDWR).expect("/dev/udmabuf");
    ask(
        &ioctl_fd(&device, CREATE, argument.span(0, 24)).expect("a buffer"),
        2,
    );
}

/// The system's heap of buffers.
fn dma_heap_answers_as_it_is_known_to() {
    /// `struct dma_heap_allocation_data`: len, fd, fd_flags, heap_flags.
    const ALLOC: u32 = 0xc018_4800;
    let argument = Buffer::new(24);
    argument.write(0, &SIZE.to_ne_bytes());
    let flags = (OFlags::RDWR | OFlags::CLOEXEC).bits();
    argument.write(12, &flags.to_ne_bytes());
    let heap = open_node("/dev/dma_heap/system", OFlags::RDWR).expect("/dev/dma_heap/system");
    ask(
        &ioctl_fd_at(&heap, ALLOC, &argument, 8).expect("a buffer"),
        3,
    );
}
