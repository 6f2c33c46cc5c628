// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory of every kind, to be imported.

use crate::dmabuf::export;
use crate::driver::open_node;
use crate::folder::Folder;
use crate::pagemap::frames;
use crate::pci::Pci;
use crate::sys::{ioctl_fd, ioctl_fd_at, Buffer, Map, Span};
use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The kinds that this kernel has: Debian's for arm64 has no DMA heaps.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    let has_heaps = !cfg!(target_arch = "aarch64");
    KINDS
        .into_iter()
        .filter(move |kind| has_heaps || *kind != "DMA heap")
}

/// The kinds: the columns of the matrix.
pub(super) const KINDS: [&str; 9] = [
    "udmabuf",
    "DMA heap",
    "pages",
    "contiguous",
    "write-combining",
    "noncached",
    "dma",
    "physical",
    "read-only",
];

/// Bytes that are to be imported.
pub(super) const SIZE: usize = 128 << 10;

/// Bytes before and behind them that are of the same memory, and of no concern to the importer.
const GUARD: usize = 16 << 10;

/// What these bytes hold.
const UNTOUCHED: u8 = 0xa5;

/// Memory of which a range is exported.
pub(super) struct Memory {
    /// All of it, for reading and writing.
    whole: Map,
    /// The same, as the importing program has it mapped.
    user: Option<Map>,
    /// The exported range.
    range: Range<usize>,
    /// A dma-buf of the range.
    buffer: Result<OwnedFd, Errno>,
    /// The file that the importing program maps.
    file: OwnedFd,
    /// What makes the device.
    _folder: Option<Folder>,
}

impl Memory {
    /// Memory of one of [`KINDS`].
    pub(super) fn new(kind: &str) -> Self {
        let mut rejected = Vec::new();
        loop {
            let memory = Self::make(kind, rejected.len());
            // Whether an importer that needs one run of memory takes it must not depend on luck.
            let is_run = match kind {
                "udmabuf" | "pages" | "write-combining" | "noncached" => {
                    let frames = frames(&memory.whole);
                    frames.windows(2).all(|two| two[0] + 1 == two[1])
                }
                _ => false,
            };
            if !is_run {
                let len = memory.whole.len();
                memory.whole.write(0, &vec![UNTOUCHED; len]);
                return memory;
            }
            rejected.push(memory);
            assert!(rejected.len() < 100, "{kind}: always one run of memory");
        }
    }

    fn make(kind: &str, number: usize) -> Self {
        match kind {
            "udmabuf" => Self::udmabuf(),
            "DMA heap" => Self::heap(),
            "pages" => Self::window("", number),
            "contiguous" => Self::window("memory=contiguous", number),
            "write-combining" => Self::window("cache=writecombine", number),
            "noncached" => Self::window("cache=noncached", number),
            "dma" => Self::window("memory=dma", number),
            "physical" => {
                let bar = Pci::find(0x1af4, 0x1110).bar(2).start;
                Self::window(&format!("memory=physical address={bar:#x}"), number)
            }
            "read-only" => Self::read_only(number),
            other => panic!("no kind {other:?}"),
        }
    }

    /// A range of a file in memory, exported by udmabuf.
    fn udmabuf() -> Self {
        const CREATE: u32 = 0x4018_7542;
        let file = memfd_create("imported", MemfdFlags::ALLOW_SEALING).expect("a memfd");
        ftruncate(&file, (SIZE + 2 * GUARD) as u64).expect("a size");
        fcntl_add_seals(&file, SealFlags::SHRINK).expect("a seal");
        let udmabuf = open_node("/dev/udmabuf", OFlags::RDWR).expect("/dev/udmabuf");
        // memfd, flags, offset, size
        let argument = Buffer::new(24);
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        argument.write(0, &number.to_ne_bytes());
        argument.write(8, &(GUARD as u64).to_ne_bytes());
        argument.write(16, &(SIZE as u64).to_ne_bytes());
        let buffer = ioctl_fd(&udmabuf, CREATE, argument.span(0, 24)).expect("a dma-buf");
        Self {
            whole: Map::shared(&file, SIZE + 2 * GUARD).expect("a mapping"),
            user: None,
            range: GUARD..GUARD + SIZE,
            buffer: Ok(buffer),
            file,
            _folder: None,
        }
    }

    /// The system's DMA heap, which has no more memory than it exports: more than the range, and one run, as the heap
    /// allocates a mebibyte in one piece where it can.
    fn heap() -> Self {
        const ALLOCATE: u32 = 0xc018_4800;
        const LEN: usize = 1 << 20;
        std::fs::write("/proc/sys/vm/compact_memory", "1").expect("/proc");
        let heap = open_node("/dev/dma_heap/system", OFlags::RDWR).expect("/dev/dma_heap/system");
        // size, descriptor, its flags, flags of the heap
        let argument = Buffer::new(24);
        argument.write(0, &(LEN as u64).to_ne_bytes());
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        argument.write(12, &flags.bits().to_ne_bytes());
        let buffer = ioctl_fd_at(&heap, ALLOCATE, &argument, 8).expect("a dma-buf");
        Self {
            whole: Map::shared(&buffer, LEN).expect("a mapping"),
            user: None,
            range: 0..SIZE,
            file: buffer.try_clone().expect("a descriptor"),
            buffer: Ok(buffer),
            _folder: None,
        }
    }

    /// A range of a window.
    fn window(settings: &str, number: usize) -> Self {
        let folder = Self::folder(settings, number);
        let file = folder.open();
        Self {
            whole: Map::shared(&file, SIZE + 2 * GUARD).expect("a mapping"),
            user: None,
            range: GUARD..GUARD + SIZE,
            buffer: export(&file, GUARD as u64, SIZE as u64),
            file,
            _folder: Some(folder),
        }
    }

    /// A range of a window, for those who may only read it.
    fn read_only(number: usize) -> Self {
        let folder = Self::folder("memory=contiguous", number);
        let file = folder.open_as(OFlags::RDONLY);
        let len = SIZE + 2 * GUARD;
        let user = Map::new(
            Some(file.as_fd()),
            0,
            len,
            libc::PROT_READ,
            libc::MAP_SHARED,
        );
        Self {
            whole: Map::shared(folder.open(), len).expect("a mapping"),
            user: Some(user.expect("a mapping")),
            range: GUARD..GUARD + SIZE,
            buffer: export(&file, GUARD as u64, SIZE as u64),
            file,
            _folder: Some(folder),
        }
    }

    fn folder(settings: &str, number: usize) -> Folder {
        let settings = format!("size={} {settings}", SIZE + 2 * GUARD);
        Folder::live(&format!("imported{number}"), &[("one", &settings)])
    }

    /// The dma-buf, if there is one.
    pub(super) fn buffer(&self) -> Result<BorrowedFd<'_>, Errno> {
        match &self.buffer {
            Ok(buffer) => Ok(buffer.as_fd()),
            Err(errno) => Err(*errno),
        }
    }

    /// The file that the importing program maps, and where in it the range begins.
    pub(super) fn file(&self) -> (BorrowedFd<'_>, usize) {
        (self.file.as_fd(), self.range.start)
    }

    /// Whether the importing program may write to it.
    pub(super) fn is_writable(&self) -> bool {
        self.user.is_none()
    }

    /// Where the importing program has the range mapped.
    pub(super) fn address(&self) -> u64 {
        (self.user_map().address() + self.range.start) as u64
    }

    /// Bytes of the range as the importing program has it mapped.
    pub(super) fn span(&self, at: usize, len: usize) -> Span<'_> {
        assert!(at + len <= SIZE);
        self.user_map().span(self.range.start + at, len)
    }

    fn user_map(&self) -> &Map {
        self.user.as_ref().unwrap_or(&self.whole)
    }

    /// Writes bytes into the range that depend on `seed`; gives them.
    pub(super) fn fill(&self, seed: u8) -> Vec<u8> {
        let bytes = bytes(seed);
        self.whole.write(self.range.start, &bytes);
        bytes
    }

    /// The bytes of the range.
    pub(super) fn read(&self) -> Vec<u8> {
        self.whole.read(self.range.clone())
    }

    /// Asserts that the bytes before and behind the range are as they were.
    pub(super) fn check_outside(&self) {
        for outside in [0..self.range.start, self.range.end..self.whole.len()] {
            let bytes = self.whole.read(outside.clone());
            let changed = bytes.iter().position(|byte| *byte != UNTOUCHED);
            assert_eq!(changed, None, "a byte in {outside:?} changed");
        }
    }
}

/// [`SIZE`] bytes that depend on `seed`, no page like another.
pub(super) fn bytes(seed: u8) -> Vec<u8> {
    let mut bytes = crate::driver::pattern(SIZE);
    bytes
        .iter_mut()
        .for_each(|byte| *byte = byte.wrapping_add(seed));
    bytes
}
