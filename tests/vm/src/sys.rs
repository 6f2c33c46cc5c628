// SPDX-License-Identifier: MIT OR Apache-2.0

//! System calls with arguments that no safe interface lets through: all unsafe code of these tests.
//!
//! What makes them safe here: an address that is handed to the kernel lies in a [`Map`] or [`Buffer`]
//! of the test's own, or is one where nothing can be; memory that the kernel or another process
//! writes is only ever copied, by volatile accesses; and a process forks only while it has one
//! thread. To touch memory that is not there ends the process by a signal, which is no worse here
//! than a failed assertion: every test is a process of its own.
#![allow(
    unsafe_code,
    reason = "the one file that has it; everything it gives out is safe"
)]

use rustix::io::Errno;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// What a system call answers.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// Bytes of a page: those of the kernel that the tests are compiled for.
pub(crate) const PAGE: usize = match option_env!("CHRMEM_PAGE_SIZE") {
    Some(text) => match usize::from_str_radix(text, 10) {
        Ok(size) => size,
        Err(_) => panic!("CHRMEM_PAGE_SIZE is no number"),
    },
    None => 4096,
};

/// The same, where offsets and sizes of files are counted.
pub(crate) const PAGE64: u64 = PAGE as u64;

/// Bytes that one page-table entry maps in the place of a table of pages.
pub(crate) const HUGE: usize = PAGE / 8 * PAGE;

/// Pages that such an entry maps.
pub(crate) const HUGE_PAGES: usize = HUGE / PAGE;

/// Which the `libc` crate does not know everywhere.
const SYS_MSEAL: libc::c_long = 462;

/// Makes a system call.
///
/// # Safety
///
/// As that system call asks.
unsafe fn call(number: libc::c_long, [a, b, c, d, e, f]: [usize; 6]) -> Result<usize> {
    // SAFETY: the caller knows what this call does with these arguments.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if answer == -1 {
        Err(last_errno())
    } else {
        Ok(answer as usize)
    }
}

fn last_errno() -> Errno {
    let code = std::io::Error::last_os_error().raw_os_error();
    Errno::from_raw_os_error(code.expect("a call has just failed"))
}

fn number(fd: impl AsFd) -> usize {
    fd.as_fd().as_raw_fd() as usize
}

/// Pages that this process has mapped, until dropped.
///
/// # Invariants
///
/// The pages from `address` on, `len` bytes of them, are mapped for this `Map` or for nobody.
#[derive(Debug)]
pub(crate) struct Map {
    address: usize,
    len: usize,
}

impl Map {
    /// `mmap` at an address of the kernel's choice: any offset, length, protection and flags, but
    /// for the flags that choose an address.
    pub(crate) fn new(
        fd: Option<BorrowedFd<'_>>,
        offset: u64,
        len: usize,
        protection: i32,
        flags: i32,
    ) -> Result<Self> {
        assert_eq!(flags & (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE), 0);
        // SAFETY: no address is asked for, so that nothing that is mapped changes.
        let address = unsafe { mmap(0, fd, offset, len, protection, flags) }?;
        // INVARIANT: the kernel has just mapped these pages, where nothing was.
        Ok(Self {
            address,
            len: len.next_multiple_of(PAGE),
        })
    }

    /// `len` bytes of a file from its start, shared, for reading and writing.
    pub(crate) fn shared(fd: impl AsFd, len: usize) -> Result<Self> {
        Self::shared_at(fd, 0, len)
    }

    /// `len` bytes of a file from `offset` on, shared, for reading and writing.
    pub(crate) fn shared_at(fd: impl AsFd, offset: u64, len: usize) -> Result<Self> {
        Self::new(
            Some(fd.as_fd()),
            offset,
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
        )
    }

    /// `len` bytes of fresh memory.
    pub(crate) fn anonymous(len: usize) -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        Self::new(None, 0, len, libc::PROT_READ | libc::PROT_WRITE, flags).expect("memory")
    }

    /// A page of fresh memory that this process shares with those that it starts from now on.
    pub(crate) fn common() -> Self {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        Self::new(None, 0, PAGE, libc::PROT_READ | libc::PROT_WRITE, flags).expect("memory")
    }

    /// A number at the start, for several processes to use at the same time.
    pub(crate) fn number(&self) -> &AtomicU32 {
        // SAFETY: the first bytes are of this map, aligned, and there as long as the map is. No plain
        // reference to them exists.
        unsafe { AtomicU32::from_ptr(self.address as *mut u32) }
    }

    /// Bytes, a whole number of pages.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where it starts.
    pub(crate) fn address(&self) -> usize {
        self.address
    }

    /// Copies bytes out. Ends the process if they cannot be read.
    pub(crate) fn read(&self, range: Range<usize>) -> Vec<u8> {
        assert!(range.end <= self.len);
        let mut bytes = vec![0; range.len()];
        let address = self.address + range.start;
        let (head, body, tail) = words(address, bytes.len());
        let byte = |at: usize| {
            // SAFETY: the byte is of this map; an integer read by volatile access is a value, whoever
            // writes it at the same time.
            unsafe { ((address + at) as *const u8).read_volatile() }
        };
        head.for_each(|at| bytes[at] = byte(at));
        tail.for_each(|at| bytes[at] = byte(at));
        for (at, to) in body.clone().step_by(8).zip(bytes[body].chunks_exact_mut(8)) {
            // SAFETY: as above, and the word is aligned.
            let word = unsafe { ((address + at) as *const u64).read_volatile() };
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Copies bytes in. Ends the process if they cannot be written.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.len);
        let address = self.address + at;
        let (head, body, tail) = words(address, bytes.len());
        let put = |at: usize| {
            // SAFETY: the byte is of this map, to which no reference exists.
            unsafe { ((address + at) as *mut u8).write_volatile(bytes[at]) }
        };
        head.for_each(put);
        for (at, from) in body.clone().step_by(8).zip(bytes[body].chunks_exact(8)) {
            let word = u64::from_ne_bytes(from.try_into().expect("eight bytes"));
            // SAFETY: as above, and the word is aligned.
            unsafe { ((address + at) as *mut u64).write_volatile(word) };
        }
        tail.for_each(put);
    }

    /// Loads 32 bits at once, as registers want it. Ends the process if they cannot be read.
    pub(crate) fn load(&self, at: usize) -> u32 {
        assert!(at % 4 == 0 && at < self.len);
        // SAFETY: the word is of this map, and aligned.
        unsafe { ((self.address + at) as *const u32).read_volatile() }
    }

    /// Stores 32 bits at once. Ends the process if they cannot be written.
    pub(crate) fn store(&self, at: usize, word: u32) {
        assert!(at % 4 == 0 && at < self.len);
        // SAFETY: the word is of this map, to which no reference exists, and aligned.
        unsafe { ((self.address + at) as *mut u32).write_volatile(word) };
    }

    /// Parts the map in two at a page's start: to drop one is a partial `munmap`.
    pub(crate) fn split(self, at: usize) -> (Self, Self) {
        assert!(
            at % PAGE == 0 && 0 < at && at < self.len,
            "split of {self:?} at {at}"
        );
        let (address, len) = (self.address, self.len);
        std::mem::forget(self);
        // INVARIANT: the pages of `self`, which is forgotten, each in one of the two.
        (
            Self { address, len: at },
            Self {
                address: address + at,
                len: len - at,
            },
        )
    }

    /// `mprotect`.
    pub(crate) fn protect(&self, protection: i32) -> Result<()> {
        // SAFETY: the pages are of this map.
        unsafe { self.call(libc::SYS_mprotect, protection as usize) }
    }

    /// `madvise`.
    pub(crate) fn advise(&self, advice: i32) -> Result<()> {
        // SAFETY: the pages are of this map, and whatever becomes of their bytes is a value.
        unsafe { self.call(libc::SYS_madvise, advice as usize) }
    }

    /// `madvise` of one of the pages.
    pub(crate) fn advise_page(&self, page: usize, advice: i32) -> Result<()> {
        let at = page * PAGE;
        assert!(at < self.len);
        let advice = advice as usize;
        // SAFETY: the page is of this map, and whatever becomes of its bytes is a value.
        unsafe {
            call(
                libc::SYS_madvise,
                [self.address + at, PAGE, advice, 0, 0, 0],
            )
        }
        .map(drop)
    }

    /// `msync`.
    pub(crate) fn sync(&self, flags: i32) -> Result<()> {
        // SAFETY: writes memory back, if anything.
        unsafe { self.call(libc::SYS_msync, flags as usize) }
    }

    /// `mlock2`.
    pub(crate) fn lock(&self, flags: u32) -> Result<()> {
        // SAFETY: keeps memory where it is, if anything.
        unsafe { self.call(libc::SYS_mlock2, flags as usize) }
    }

    /// `mseal`.
    pub(crate) fn seal(&self) -> Result<()> {
        // SAFETY: the pages stay as they are.
        unsafe { self.call(SYS_MSEAL, 0) }
    }

    /// `munlock`.
    pub(crate) fn unlock(&self) -> Result<()> {
        // SAFETY: ends `lock`, if anything.
        unsafe { self.call(libc::SYS_munlock, 0) }
    }

    /// A call that takes address, length and one more argument.
    ///
    /// # Safety
    ///
    /// As that system call asks.
    unsafe fn call(&self, number: libc::c_long, argument: usize) -> Result<()> {
        // SAFETY: the caller knows what this call does to the pages of this map.
        unsafe { call(number, [self.address, self.len, argument, 0, 0, 0]) }.map(drop)
    }

    /// `munmap`, which can fail where that parts what the kernel has in one piece.
    pub(crate) fn unmap(self) -> std::result::Result<(), (Self, Errno)> {
        // SAFETY: the pages are of this map.
        match unsafe { self.call(libc::SYS_munmap, 0) } {
            Ok(()) => {
                std::mem::forget(self);
                Ok(())
            }
            Err(errno) => Err((self, errno)),
        }
    }

    /// `mremap` of the whole map to another length; `flags` say whether it may move.
    pub(crate) fn resize(&mut self, len: usize, flags: i32) -> Result<()> {
        assert_eq!(flags & !libc::MREMAP_MAYMOVE, 0);
        // SAFETY: the pages are of this map; whether they move or some go, nobody refers to them.
        let address = unsafe { self.remap(self.len, len, flags, 0) }?;
        // INVARIANT: what the kernel says is mapped now.
        (self.address, self.len) = (address, len.next_multiple_of(PAGE));
        Ok(())
    }

    /// `mremap` of the whole map to the place of another one of the same length.
    pub(crate) fn move_onto(&mut self, place: Self) -> Result<()> {
        assert_eq!(self.len, place.len);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: both the pages that move and those that they replace are ours.
        self.address = unsafe { self.remap(self.len, self.len, flags, place.address) }?;
        // INVARIANT: the pages of `place` are now those of `self`.
        std::mem::forget(place);
        Ok(())
    }

    /// `mremap` that moves the pages and leaves empty ones in their place.
    pub(crate) fn move_out(&self) -> Result<Self> {
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
        // SAFETY: the pages are of this map, and what is left of them still is.
        let address = unsafe { self.remap(self.len, self.len, flags, 0) }?;
        Ok(Self {
            address,
            len: self.len,
        })
    }

    /// `mremap` of nothing to something, which maps the same pages a second time.
    pub(crate) fn duplicate(&self) -> Result<Self> {
        // SAFETY: the kernel picks a new address, so that nothing that is mapped changes.
        let address = unsafe { self.remap(0, self.len, libc::MREMAP_MAYMOVE, 0) }?;
        Ok(Self {
            address,
            len: self.len,
        })
    }

    /// `mremap`.
    ///
    /// # Safety
    ///
    /// What it maps anew must belong to this map or to nobody.
    unsafe fn remap(&self, from: usize, to: usize, flags: i32, place: usize) -> Result<usize> {
        // SAFETY: the caller knows what this call does to the pages of this map.
        unsafe {
            call(
                libc::SYS_mremap,
                [self.address, from, to, flags as usize, place, 0],
            )
        }
    }

    /// Maps a file in the place of this map. If that fails, nothing is left there.
    pub(crate) fn replace(
        self,
        fd: BorrowedFd<'_>,
        offset: u64,
        protection: i32,
        flags: i32,
    ) -> Result<Self> {
        let flags = flags | libc::MAP_FIXED;
        // SAFETY: the pages that are replaced are of this map. If it fails, dropping `self` unmaps
        // what the kernel may have left of them.
        unsafe { mmap(self.address, Some(fd), offset, self.len, protection, flags) }?;
        Ok(self)
    }

    /// Maps a file anew in the place of this map, shared, while others use it: at once, what they see is that.
    pub(crate) fn renew(&self, fd: impl AsFd, offset: u64) -> Result<()> {
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let fd = Some(fd.as_fd());
        // SAFETY: the pages that are replaced are of this map, which nobody but the methods here accesses.
        unsafe { mmap(self.address, fd, offset, self.len, protection, flags) }?;
        Ok(())
    }

    /// `mmap` with MAP_FIXED_NOREPLACE in the place of this map, which cannot succeed.
    pub(crate) fn map_over(&self, fd: impl AsFd) -> Result<usize> {
        let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: these flags replace nothing that is mapped.
        unsafe {
            mmap(
                self.address,
                Some(fd.as_fd()),
                0,
                self.len,
                libc::PROT_READ,
                flags,
            )
        }
    }

    /// `remap_file_pages`: from page `page` of the file on, in the place of this map. If that fails,
    /// nothing is left there.
    pub(crate) fn show_page(self, page: usize) -> Result<Self> {
        // SAFETY: the pages that are replaced are of this map. If it fails, dropping `self` unmaps
        // what the kernel may have left of them.
        unsafe {
            call(
                libc::SYS_remap_file_pages,
                [self.address, self.len, 0, page, 0, 0],
            )
        }?;
        Ok(self)
    }

    /// Bytes of this map, to hand to the kernel.
    pub(crate) fn span(&self, at: usize, len: usize) -> Span<'_> {
        assert!(at <= self.len && len <= self.len - at);
        Span {
            address: self.address + at,
            len,
            of: PhantomData,
        }
    }
}

/// What handles SIGBUS in this process.
pub(crate) fn bus_handler() -> usize {
    // SAFETY: the call only fills the structure, which may be all zeroes.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let answer = libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut action);
        assert_eq!(answer, 0);
        action.sa_sigaction
    }
}

/// The status that [`end_by_bus_error`] has a process end with.
pub(crate) const BUS_ERROR: i32 = 57;

/// Has SIGBUS end this process with [`BUS_ERROR`].
pub(crate) fn end_by_bus_error() {
    extern "C" fn end(_: libc::c_int) {
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(BUS_ERROR) };
    }
    let handler: extern "C" fn(_) = end;
    // SAFETY: the handler takes one argument, as it does without flags, and does what handlers may do.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        let answer = libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
        assert_eq!(answer, 0);
    }
}

/// Of `len` bytes at an address: those before the first aligned word, whole words, those after.
fn words(address: usize, len: usize) -> (Range<usize>, Range<usize>, Range<usize>) {
    let head = (address.next_multiple_of(8) - address).min(len);
    let tail = head + (len - head) / 8 * 8;
    (0..head, head..tail, tail..len)
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the pages are of this map, which goes.
        let unmapped = unsafe { self.call(libc::SYS_munmap, 0) };
        assert_eq!(unmapped, Ok(()));
    }
}

/// # Safety
///
/// With MAP_FIXED, the pages at `address` must be the caller's.
unsafe fn mmap(
    address: usize,
    fd: Option<BorrowedFd<'_>>,
    offset: u64,
    len: usize,
    protection: i32,
    flags: i32,
) -> Result<usize> {
    let fd = fd.map_or(usize::MAX, number);
    let (protection, flags) = (protection as usize, flags as usize);
    // SAFETY: as the caller promises.
    unsafe {
        call(
            libc::SYS_mmap,
            [address, len, protection, flags, fd, offset as usize],
        )
    }
}

/// An address and a length that are handed to the kernel.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Span<'a> {
    address: usize,
    len: usize,
    of: PhantomData<&'a Map>,
}

impl Span<'_> {
    /// Where it starts, and its length: for a pointer within an argument.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.address, self.len)
    }
}

impl Span<'static> {
    /// Where nothing is: page zero, the end of what the kernel gives to those who do not ask for
    /// more, behind that end, in the kernel's half, at the end of it.
    pub(crate) fn nowhere(len: usize) -> [Self; 5] {
        [
            0,
            USER_END - PAGE,
            USER_END,
            KERNEL,
            0_usize.wrapping_sub(PAGE),
        ]
        .map(|address| Self {
            address,
            len,
            of: PhantomData,
        })
    }

    /// Page zero.
    pub(crate) fn null(len: usize) -> Self {
        Self::nowhere(len)[0]
    }
}

/// The end of the addresses that the kernel gives to those who do not ask for more, and one of its own.
#[cfg(target_arch = "x86_64")]
const KERNEL: usize = 0xffff_8880_0000_0000;
/// See above.
#[cfg(target_arch = "x86_64")]
pub(crate) const USER_END: usize = 1 << 47;
/// See above.
#[cfg(target_arch = "aarch64")]
const KERNEL: usize = 0xffff_0000_0000_0000;
/// See above.
#[cfg(target_arch = "aarch64")]
pub(crate) const USER_END: usize = 1 << 48;

/// Fresh memory with a page behind it that cannot be touched: no call can run over its end.
#[derive(Debug)]
pub(crate) struct Buffer {
    map: Map,
    len: usize,
}

impl Buffer {
    /// At least `len` bytes, and never none.
    pub(crate) fn new(len: usize) -> Self {
        Self::guarded(Map::anonymous(len.max(1).next_multiple_of(PAGE) + PAGE))
    }

    /// At least `len` bytes, for 32-bit calls where one program can make both: within the first four gigabytes.
    pub(crate) fn low(len: usize) -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | MAP_32BIT;
        let len = len.next_multiple_of(PAGE) + PAGE;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        Self::guarded(Map::new(None, 0, len, protection, flags).expect("memory"))
    }

    /// The first `len` bytes of a file, shared, with the same page behind them.
    pub(crate) fn of(fd: impl AsFd, len: usize) -> Self {
        let buffer = Self::new(len);
        let (data, guard) = buffer.map.split(buffer.len);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let data = data
            .replace(fd.as_fd(), 0, protection, libc::MAP_SHARED)
            .expect("a mapping");
        let map = Map {
            address: data.address,
            len: data.len + guard.len,
        };
        // INVARIANT: the two are neighbours, and now one.
        std::mem::forget((data, guard));
        Self {
            map,
            len: buffer.len,
        }
    }

    fn guarded(map: Map) -> Self {
        let len = map.len - PAGE;
        let (data, guard) = map.split(len);
        guard
            .protect(libc::PROT_NONE)
            .expect("a page that cannot be touched");
        let map = Map {
            address: data.address,
            len: data.len + guard.len,
        };
        // INVARIANT: the two are neighbours, and now one.
        std::mem::forget((data, guard));
        Self { map, len }
    }

    /// Bytes before the page that cannot be touched.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where it starts.
    pub(crate) fn address(&self) -> usize {
        self.map.address
    }

    /// Copies bytes out.
    pub(crate) fn read(&self, range: Range<usize>) -> Vec<u8> {
        self.map.read(range)
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        self.map.write(at, bytes);
    }

    /// Bytes from `at` on, to hand to the kernel: any number, also more than there are.
    pub(crate) fn span(&self, at: usize, len: usize) -> Span<'_> {
        assert!(at <= self.len);
        Span {
            address: self.map.address + at,
            len,
            of: PhantomData,
        }
    }
}

/// `read`.
pub(crate) fn read(fd: impl AsFd, to: Span<'_>) -> Result<usize> {
    // SAFETY: a `Span` may be overwritten, and ends before anything else starts.
    unsafe { call(libc::SYS_read, [number(fd), to.address, to.len, 0, 0, 0]) }
}

/// `write`.
pub(crate) fn write(fd: impl AsFd, from: Span<'_>) -> Result<usize> {
    // SAFETY: memory of this process is only read.
    unsafe {
        call(
            libc::SYS_write,
            [number(fd), from.address, from.len, 0, 0, 0],
        )
    }
}

/// `pread`.
pub(crate) fn pread(fd: impl AsFd, to: Span<'_>, offset: i64) -> Result<usize> {
    let offset = offset as usize;
    // SAFETY: a `Span` may be overwritten, and ends before anything else starts.
    unsafe {
        call(
            libc::SYS_pread64,
            [number(fd), to.address, to.len, offset, 0, 0],
        )
    }
}

/// `pwrite`.
pub(crate) fn pwrite(fd: impl AsFd, from: Span<'_>, offset: i64) -> Result<usize> {
    let offset = offset as usize;
    // SAFETY: memory of this process is only read.
    unsafe {
        call(
            libc::SYS_pwrite64,
            [number(fd), from.address, from.len, offset, 0, 0],
        )
    }
}

/// `preadv2`, or `readv` where `offset` is -1, with `count` for the number of `to`.
pub(crate) fn readv(
    fd: impl AsFd,
    to: &[Span<'_>],
    count: usize,
    offset: i64,
    flags: i32,
) -> Result<usize> {
    // SAFETY: as for `vectors`; each `Span` may be overwritten, and ends before anything else starts.
    unsafe { vectors(libc::SYS_preadv2, fd, to, count, offset, flags) }
}

/// `pwritev2`, or `writev` where `offset` is -1, with `count` for the number of `from`.
pub(crate) fn writev(
    fd: impl AsFd,
    from: &[Span<'_>],
    count: usize,
    offset: i64,
    flags: i32,
) -> Result<usize> {
    // SAFETY: as for `vectors`; memory of this process is only read.
    unsafe { vectors(libc::SYS_pwritev2, fd, from, count, offset, flags) }
}

/// # Safety
///
/// As the call asks of each of `spans`.
unsafe fn vectors(
    number_: libc::c_long,
    fd: impl AsFd,
    spans: &[Span<'_>],
    count: usize,
    offset: i64,
    flags: i32,
) -> Result<usize> {
    // The kernel refuses more than 1024 before it looks at the first.
    assert!(count <= spans.len() || count > 1024);
    let (low, high) = (offset as usize, 0);
    // SAFETY: a `Span` starts like a `struct iovec`, and is as large, its `of` being nothing. All
    // that the kernel looks at are there.
    unsafe {
        let vectors = spans.as_ptr() as usize;
        call(
            number_,
            [number(fd), vectors, count, low, high, flags as usize],
        )
    }
}

/// `ioctl`, with the bytes of `argument` for whatever the command wants.
pub(crate) fn ioctl(fd: impl AsFd, command: u32, argument: Span<'_>) -> Result<usize> {
    // SAFETY: a `Span` may be overwritten, and ends before anything else starts.
    unsafe {
        call(
            libc::SYS_ioctl,
            [number(fd), command as usize, argument.address, 0, 0, 0],
        )
    }
}

/// `ioctl` whose answer is a new file descriptor.
pub(crate) fn ioctl_fd(fd: impl AsFd, command: u32, argument: Span<'_>) -> Result<OwnedFd> {
    let answer = ioctl(fd, command, argument)?;
    // SAFETY: the kernel has just made the descriptor for this caller.
    Ok(unsafe { OwnedFd::from_raw_fd(answer as i32) })
}

/// `ioctl` that puts a new file descriptor into its argument, at byte `at`.
pub(crate) fn ioctl_fd_at(
    fd: impl AsFd,
    command: u32,
    argument: &Buffer,
    at: usize,
) -> Result<OwnedFd> {
    ioctl(fd, command, argument.span(0, argument.len()))?;
    let bytes = argument.read(at..at + 4);
    let number = i32::from_ne_bytes(bytes.try_into().expect("four bytes"));
    // SAFETY: the kernel has just made the descriptor for this caller.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `ioctl` of a command that takes a small number.
pub(crate) fn ioctl_number(fd: impl AsFd, command: u32, argument: usize) -> Result<usize> {
    assert!(argument < PAGE);
    // SAFETY: a command that takes a pointer instead finds nothing: page zero is not mapped.
    unsafe {
        call(
            libc::SYS_ioctl,
            [number(fd), command as usize, argument, 0, 0, 0],
        )
    }
}

/// Has memory for this process come from one NUMA node only, or from wherever the kernel likes.
pub(crate) fn set_memory_policy(node: Option<u32>) {
    let (mode, nodes) = match node {
        Some(node) => (libc::MPOL_BIND, 1_u64 << node),
        None => (libc::MPOL_DEFAULT, 0),
    };
    let mask = node.map_or(0, |_| &raw const nodes as usize);
    // SAFETY: the mask has so many bits, which are only read.
    let answer = unsafe { call(libc::SYS_set_mempolicy, [mode as usize, mask, 64, 0, 0, 0]) };
    answer.expect("a policy");
}

/// `bpf`.
pub(crate) fn bpf(command: u32, argument: Span<'_>) -> Result<usize> {
    // SAFETY: a `Span` may be overwritten, and ends before anything else starts. What the kernel is given to run, it verifies.
    unsafe {
        call(
            libc::SYS_bpf,
            [command as usize, argument.address, argument.len, 0, 0, 0],
        )
    }
}

/// `bpf` whose answer is a new file descriptor.
pub(crate) fn bpf_fd(command: u32, argument: Span<'_>) -> Result<OwnedFd> {
    let answer = bpf(command, argument)?;
    // SAFETY: the kernel has just made the descriptor for this caller.
    Ok(unsafe { OwnedFd::from_raw_fd(answer as i32) })
}

/// `MAP_32BIT`, or nothing where there is none.
#[cfg(target_arch = "x86_64")]
pub(crate) const MAP_32BIT: i32 = libc::MAP_32BIT;
/// See above.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const MAP_32BIT: i32 = 0;

/// Only on x86-64 can a 64-bit program call like a 32-bit one.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn ioctl32(_fd: impl AsFd, _command: u32, _argument: Span<'_>) -> Result<usize> {
    panic!("this processor's 64-bit programs have no 32-bit calls");
}

/// `ioctl` as a 32-bit program calls it.
#[cfg(target_arch = "x86_64")]
pub(crate) fn ioctl32(fd: impl AsFd, command: u32, argument: Span<'_>) -> Result<usize> {
    const IOCTL: usize = 54;
    assert!(argument.address <= u32::MAX as usize);
    let mut answer = IOCTL;
    // SAFETY: the 32-bit gate takes the call's number in eax and its arguments in ebx, ecx and edx,
    // changes eax and r8 to r11 at most, and leaves the stack alone. A `Span` may be overwritten, and
    // ends before anything else starts. rbx, which the compiler keeps for itself, is put back.
    unsafe {
        std::arch::asm!(
            "xchg {fd}, rbx",
            "int 0x80",
            "xchg {fd}, rbx",
            fd = inout(reg) number(fd) => _,
            inout("rax") answer,
            in("rcx") command as usize,
            in("rdx") argument.address,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            options(nostack),
        );
    }
    match answer as u32 as i32 {
        error @ ..0 => Err(Errno::from_raw_os_error(-error)),
        done => Ok(done as usize),
    }
}

/// `lseek`, with any number for `whence`.
pub(crate) fn seek(fd: impl AsFd, offset: i64, whence: u32) -> Result<usize> {
    // SAFETY: no memory of this process is involved.
    unsafe {
        call(
            libc::SYS_lseek,
            [number(fd), offset as usize, whence as usize, 0, 0, 0],
        )
    }
}

/// `process_vm_readv` or, the other way, `process_vm_writev`: between memory of this process and of
/// another one that has the same addresses mapped.
pub(crate) fn process_vm(
    process: i32,
    write: bool,
    local: Span<'_>,
    remote: Span<'_>,
) -> Result<usize> {
    let number = if write {
        libc::SYS_process_vm_writev
    } else {
        libc::SYS_process_vm_readv
    };
    let (local, remote) = (&raw const local as usize, &raw const remote as usize);
    // SAFETY: a `Span` starts like a `struct iovec`, may be overwritten, and ends before anything else
    // starts.
    unsafe { call(number, [process as usize, local, 1, remote, 1, 0]) }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// Not at all: not even when it was killed.
    Stuck,
}

/// The status of a child that panicked, as of any Rust program.
const PANICKED: i32 = 101;

/// A copy of this process that does something. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    id: i32,
    end: Option<End>,
}

impl Child {
    /// Has a copy of this process run `body` and end. What `body` owns, both processes have, and drop.
    pub(crate) fn start(body: impl FnOnce()) -> Self {
        wait_for_other_threads_to_end();
        // SAFETY: this process has no other thread, so that its copy is whole: no lock is held by a
        // thread that the copy lacks.
        let id = unsafe { libc::fork() };
        assert_ne!(id, -1, "fork: {:?}", last_errno());
        if id == 0 {
            let status = match std::panic::catch_unwind(AssertUnwindSafe(body)) {
                Ok(()) => 0,
                Err(_) => PANICKED,
            };
            // SAFETY: ends the copy, without what the original still has to do at its end.
            unsafe { libc::_exit(status) };
        }
        Self { id, end: None }
    }

    /// Has a copy of this process end at once, if the kernel can make one.
    pub(crate) fn fork() -> Result<Self> {
        // SAFETY: the copy calls nothing but `_exit`, which needs nothing of what other threads may have had locked.
        let id = unsafe { libc::fork() };
        match id {
            -1 => Err(last_errno()),
            // SAFETY: ends the copy, without what the original still has to do at its end.
            0 => unsafe { libc::_exit(0) },
            _ => Ok(Self { id, end: None }),
        }
    }

    /// Its process number.
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: i32) {
        if self.end.is_none() {
            // SAFETY: the process is a child that was not waited for, so that its number is its own.
            unsafe { libc::kill(self.id, signal) };
        }
    }

    /// How it ended, if it has.
    pub(crate) fn end(&mut self) -> Option<End> {
        if self.end.is_some() {
            return self.end;
        }
        let mut status = 0;
        // SAFETY: the process is a child that was not waited for; `status` is written, and nothing else.
        let ended = unsafe { libc::waitpid(self.id, &mut status, libc::WNOHANG) };
        if ended == self.id {
            self.end = Some(if libc::WIFSIGNALED(status) {
                End::Signal(libc::WTERMSIG(status))
            } else {
                End::Status(libc::WEXITSTATUS(status))
            });
        }
        self.end
    }

    /// Waits for its end; kills it when `limit` is over.
    pub(crate) fn wait(&mut self, limit: Duration) -> End {
        let mut deadline = Instant::now() + limit;
        let mut killed = false;
        let mut pause = Duration::from_micros(50);
        loop {
            if let Some(end) = self.end() {
                return end;
            }
            if Instant::now() < deadline {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(5));
            } else if killed {
                return End::Stuck;
            } else {
                self.signal(libc::SIGKILL);
                (killed, deadline) = (true, Instant::now() + Duration::from_secs(5));
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        self.wait(Duration::from_secs(5));
    }
}

/// A thread that was joined is still listed for a moment.
fn wait_for_other_threads_to_end() {
    let deadline = Instant::now() + Duration::from_secs(5);
    while std::fs::read_dir("/proc/self/task").expect("/proc").count() != 1 {
        assert!(
            Instant::now() < deadline,
            "a process with threads cannot be copied"
        );
        std::thread::yield_now();
    }
}
