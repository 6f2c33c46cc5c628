// SPDX-License-Identifier: MIT OR Apache-2.0

//! All unsafe code of this library: the calls that take pointers, and the accesses to memory that
//! others write at the same time.
#![allow(
    unsafe_code,
    reason = "the one file that has it; everything it gives out is safe"
)]

mod guard;

pub(crate) use guard::Guard;

use crate::device::Device;
use crate::error::Error;
use crate::file::File;
use crate::map_options::MapOptions;
use crate::mapping::Mapping;
use crate::view::View;
use chrmem_uapi::abi;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::ioctl::{ioctl, opcode, Getter, Ioctl, IoctlOutput, NoArg, Opcode, Setter, Updater};
use rustix::mm::{mlock, mmap, mmap_anonymous, munmap, MapFlags, ProtFlags};
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The device's description.
pub(crate) fn info(fd: BorrowedFd<'_>) -> Result<abi::Info, Errno> {
    // SAFETY: INFO's argument is one `abi::Info` that the driver fills; it is made of integers only,
    // so whatever another kind of file may write into it is a value.
    unsafe { ioctl(fd, Getter::<{ abi::INFO as Opcode }, abi::Info>::new()) }
}

/// The description of window `index`.
pub(crate) fn window(fd: BorrowedFd<'_>, index: u32) -> Result<abi::Window, Errno> {
    let mut window = abi::Window {
        index,
        ..Default::default()
    };
    // SAFETY: WINDOW's argument is one `abi::Window`, read and then filled by the driver; it is made
    // of integers only, so every outcome is a value.
    unsafe {
        ioctl(
            fd,
            Updater::<{ abi::WINDOW as Opcode }, abi::Window>::new(&mut window),
        )
    }?;
    Ok(window)
}

/// Zeroes every window.
pub(crate) fn clear(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: MEM_CLEAR takes no argument and touches no memory of this process but mappings of the
    // device, which this library reads by volatile loads only.
    unsafe { ioctl(fd, NoArg::<{ abi::MEM_CLEAR as Opcode }>::new()) }
}

/// Zeroes a range of the device's offsets.
pub(crate) fn clear_range(fd: BorrowedFd<'_>, range: abi::Range) -> Result<(), Errno> {
    // SAFETY: CLEAR's argument is one `abi::Range`, which the driver only reads.
    unsafe {
        ioctl(
            fd,
            Setter::<{ abi::CLEAR as Opcode }, abi::Range>::new(range),
        )
    }
}

/// Zeroes every window and puts the greeting at the start of the first.
pub(crate) fn reset(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: RESET takes no argument and touches no memory of this process but mappings of the
    // device, which this library reads by volatile loads only.
    unsafe { ioctl(fd, NoArg::<{ abi::RESET as Opcode }>::new()) }
}

/// Adds one to the generation.
pub(crate) fn notify(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: NOTIFY takes no argument and touches no memory of this process.
    unsafe { ioctl(fd, NoArg::<{ abi::NOTIFY as Opcode }>::new()) }
}

/// The generation, from now on seen by this open file.
pub(crate) fn seen(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: SEEN's argument is one `u64` that the driver fills; every value of it is valid.
    unsafe { ioctl(fd, Getter::<{ abi::SEEN as Opcode }, u64>::new()) }
}

/// Begins or ends an access by the processor, as the range's flags say.
pub(crate) fn sync(fd: BorrowedFd<'_>, range: abi::Range) -> Result<(), Errno> {
    // SAFETY: SYNC's argument is one `abi::Range`, which the driver only reads.
    unsafe {
        ioctl(
            fd,
            Setter::<{ abi::SYNC as Opcode }, abi::Range>::new(range),
        )
    }
}

/// A range as a dma-buf.
pub(crate) fn export(fd: BorrowedFd<'_>, range: abi::Range) -> Result<OwnedFd, Errno> {
    // SAFETY: EXPORT's argument is one `abi::Range`, which the driver only reads, and its result is
    // a file descriptor that is the caller's: `Export` says so.
    unsafe { ioctl(fd, Export(range)) }
}

/// What has changed, as `look` asks: puts changes into `found`, and says in `look` what is left to ask. Gives how many they are.
pub(crate) fn changes(
    fd: BorrowedFd<'_>,
    look: &mut abi::Changes,
    found: &mut [abi::Change],
) -> Result<usize, Errno> {
    look.changes = found.as_mut_ptr().expose_provenance() as u64;
    look.room = u32::try_from(found.len()).unwrap_or(u32::MAX);
    // SAFETY: CHANGES's argument is one `abi::Changes`, read and then filled by the driver, which also fills at most
    // `room` elements of the array at `changes`: that is `found`, which is borrowed mutably and has as many. Both are made
    // of integers only, so every outcome is a value.
    unsafe {
        ioctl(
            fd,
            Updater::<{ abi::CHANGES as Opcode }, abi::Changes>::new(look),
        )
    }?;
    Ok(found.len().min(look.count as usize))
}

/// EXPORT, whose result is a file descriptor.
struct Export(abi::Range);

// SAFETY: the opcode is EXPORT's, which reads the one `abi::Range` behind the pointer, changes nothing
// of this process but its table of files, and answers with a new file descriptor.
unsafe impl Ioctl for Export {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        abi::EXPORT as Opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::from_mut(&mut self.0).cast()
    }

    unsafe fn output_from_ptr(fd: IoctlOutput, _: *mut c_void) -> Result<OwnedFd, Errno> {
        if fd < 0 {
            // No driver answers so; what is not a descriptor must not become one.
            return Err(Errno::BADF);
        }
        // SAFETY: by this function's contract EXPORT succeeded with this result. The file is a chrmem
        // device, or has no ioctl of this number: a `Device` is made of nothing else. So the result is a new
        // file descriptor that nobody else knows of.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl Device {
    /// Takes a file for a device without looking, such as a memfd in a test: it can be read, written and mapped.
    ///
    /// ```
    /// use chrmem::Device;
    /// use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
    ///
    /// let file = memfd_create("device", MemfdFlags::CLOEXEC)?;
    /// ftruncate(&file, 4096)?;
    /// // SAFETY: a memfd has no ioctls.
    /// let device = unsafe { Device::from_fd_unchecked(file) };
    /// let memory = device.map(0..4096)?;
    /// device.write_at(1, b"written")?;
    /// assert_eq!(memory.c_string(1)?, b"written");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    ///
    /// The file is a chrmem device, or knows none of chrmem's ioctls, so that it refuses them. Another driver
    /// could take one for its own, and do anything.
    #[must_use]
    pub unsafe fn from_fd_unchecked(fd: OwnedFd) -> Self {
        Self::assume(fd)
    }
}

impl MapOptions {
    /// Maps a file that does not become shorter, with one system call: nothing is asked of the file before,
    /// unless a [`window`](Self::window) was named.
    ///
    /// For many short mappings; [`map_file`](Self::map_file) finds out itself whether a file can become
    /// shorter. Of a file of huge pages (hugetlbfs), the range must be whole ones: the kernel refuses another
    /// start, and does not unmap what has another end before the process has ended.
    ///
    /// ```
    /// use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, SealFlags};
    ///
    /// let file = memfd_create("file", MemfdFlags::ALLOW_SEALING)?;
    /// ftruncate(&file, 4096)?;
    /// fcntl_add_seals(&file, SealFlags::SHRINK)?;
    /// // SAFETY: the file has 4096 bytes, and is sealed against shrinking.
    /// let memory = unsafe { chrmem::MapOptions::new().range(5..9).map_plain(&file) }?;
    /// memory.copy_from(0, b"text")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// ```compile_fail,E0133
    /// let file = tempfile::tempfile()?;
    /// let memory = chrmem::MapOptions::new().range(5..9).map_plain(&file)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSize`](crate::Error::UnknownSize) if the range has no end,
    /// [`EmptyRange`](crate::Error::EmptyRange) if it has no bytes. `ACCESS` if the file is not open for reading
    /// and writing, or for reading with [`read_only`](Self::read_only); else as [`map`](Self::map).
    ///
    /// # Safety
    ///
    /// The range lies in the file for as long as it is mapped. Where the file ends before it, or the hardware goes that it
    /// is memory of, an access raises `SIGBUS`, which ends the process.
    pub unsafe fn map_plain(&self, file: impl AsFd) -> Result<Mapping, Error> {
        self.map_without_asking(&File(file.as_fd()))
    }
}

/// Locks byte `at` of a file, for the open file: until that is closed for the last time.
pub(crate) fn lock_byte(fd: BorrowedFd<'_>, at: u64) -> Result<(), Errno> {
    let mut lock = lock_of(at)?;
    // SAFETY: F_OFD_SETLK reads the one `flock` behind the pointer.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) };
    match result {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Whether another open file has locked byte `at` of a file.
pub(crate) fn is_byte_locked(fd: BorrowedFd<'_>, at: u64) -> Result<bool, Errno> {
    let mut lock = lock_of(at)?;
    // SAFETY: F_OFD_GETLK reads and fills the one `flock` behind the pointer.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    match result {
        0 => Ok(i32::from(lock.l_type) != libc::F_UNLCK),
        _ => Err(last_errno()),
    }
}

/// A lock of byte `at` that no other one goes with.
fn lock_of(at: u64) -> Result<libc::flock, Errno> {
    Ok(libc::flock {
        // CAST: one of a few small numbers.
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: at.try_into().map_err(|_| Errno::OVERFLOW)?,
        l_len: 1,
        l_pid: 0,
    })
}

/// How many bytes a block device has.
pub(crate) fn block_device_size(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
    // SAFETY: BLKGETSIZE64 fills one `u64`, despite the `size_t` in its number, and every value of it
    // is valid.
    unsafe { ioctl(fd, Getter::<BLKGETSIZE64, u64>::new()) }
}

/// What is behind pages, which says how they may be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// RAM that stays: any instruction will do.
    Ram,
    /// Memory of a device, or what could be: aligned loads and stores of 1, 2, 4 or 8 bytes. A register must be
    /// read as a whole, and some processors refuse any other access to such memory.
    Device,
    /// RAM that is taken away when its hardware goes: as [`Ram`](Self::Ram), and after each access it is looked
    /// whether it was there.
    RevocableRam,
    /// Memory of a device that is taken away when the device goes: the same, as [`Device`](Self::Device).
    RevocableDevice,
    /// What can go away while it is mapped, because a file becomes shorter or a disk fails: the kernel does
    /// every access, and tells, where a plain one would end the process.
    Fleeting,
}

impl Backing {
    /// Whether it is taken away when hardware goes.
    #[inline]
    pub(crate) fn is_revocable(self) -> bool {
        matches!(self, Self::RevocableRam | Self::RevocableDevice)
    }
}

/// How pages are to be mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// They can be written.
    pub(crate) writable: bool,
    /// What is written stays in this process.
    pub(crate) private: bool,
    /// They are there before the first access.
    pub(crate) populate: bool,
    /// They stay in memory.
    pub(crate) lock: bool,
    /// What is behind them.
    pub(crate) backing: Backing,
}

/// Why an access was not done, or not to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// It does not lie in the span; nothing was accessed.
    Outside,
    /// The memory was taken away; what was loaded is nothing.
    Revoked,
    /// It was broken off: the first `done` bytes were copied.
    Broken { done: usize, errno: Errno },
}

/// Whole pages, mapped into this process until dropped, and a range of their bytes.
///
/// # Invariants
///
/// `base` is the start of `size` bytes that `mmap` gave and that nothing but `drop` unmaps: no more than
/// `isize::MAX`. The `len` bytes from `first` on lie in them. They can be read and, if their `nature` says so, written, in
/// the ways of their backing. If that is revocable, they may become zeroes of this process's own at any time. A guard in
/// `nature` is a `Box` of these pages' own.
///
/// They are no Rust allocation: no reference to them exists but for what [`View::as_slice`] gives out, on its caller's
/// promise.
#[derive(Debug)]
pub(crate) struct Pages {
    base: NonNull<u8>,
    size: usize,
    first: NonNull<u8>,
    len: usize,
    nature: Nature,
}

// SAFETY: the pages belong to the process, not to a thread: any thread may use or unmap them.
unsafe impl Send for Pages {}

// SAFETY: nothing can be done with a shared `Pages` but to make spans of it, which are `Sync` themselves.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps `size` bytes of the file, from its offset `offset` on, which is a multiple of the page
    /// size.
    pub(crate) fn map(
        fd: BorrowedFd<'_>,
        offset: u64,
        size: usize,
        terms: Terms,
    ) -> Result<Self, Errno> {
        check_size(size)?;
        let mut flags = if terms.private {
            MapFlags::PRIVATE
        } else {
            MapFlags::SHARED
        };
        if terms.populate {
            flags |= MapFlags::POPULATE;
        }
        // SAFETY: without MAP_FIXED the kernel picks an address where nothing is mapped, so no memory
        // that Rust knows of changes.
        let base = unsafe {
            mmap(
                ptr::null_mut(),
                size,
                protection(terms.writable),
                flags,
                fd,
                offset,
            )
        }?;
        // Address 0 is never picked; if it were, this would be the honest answer.
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        // INVARIANT: `mmap` just gave these bytes, with this protection, to nobody else.
        let pages = Self {
            base,
            size,
            first: base,
            len: size,
            nature: Nature::new(terms.backing, terms.writable),
        };
        if terms.lock {
            // SAFETY: these are bytes that `mmap` gave; that they stay in memory changes none of them.
            unsafe { mlock(base.as_ptr().cast(), size) }?;
        }
        Ok(pages)
    }

    /// `size` bytes of zeroes that belong to this process alone.
    pub(crate) fn anonymous(size: usize) -> Result<Self, Errno> {
        check_size(size)?;
        // SAFETY: without MAP_FIXED the kernel picks an address where nothing is mapped, so no memory
        // that Rust knows of changes.
        let base =
            unsafe { mmap_anonymous(ptr::null_mut(), size, protection(true), MapFlags::PRIVATE) }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        // INVARIANT: `mmap_anonymous` just gave these bytes, to be read and written, to nobody else;
        // there is no file that could become shorter.
        Ok(Self {
            base,
            size,
            first: base,
            len: size,
            nature: Nature::new(Backing::Ram, true),
        })
    }

    /// The same pages, of a file with this name, with a guard. They must have one if their backing is revocable.
    pub(crate) fn guarded(mut self, file: String) -> Self {
        handle_bus_errors();
        // Its address is in the guard only, from which the handler makes a pointer again.
        let guard = Guard::new(self.base.as_ptr().expose_provenance(), self.size, file);
        // INVARIANT: from here on it is owned by these pages, which have not had any.
        self.nature = self.nature.with(Box::into_raw(Box::new(guard)));
        self
    }

    /// The same pages, of which only the `len` bytes behind the first `lead` ones are wanted.
    ///
    /// # Panics
    ///
    /// If they do not lie in the range.
    pub(crate) fn narrow(mut self, lead: usize, len: usize) -> Self {
        let Span { base, .. } = self.span().span(lead, len).expect("a part of the pages");
        // INVARIANT: they lie in the old range, and so in the pages.
        (self.first, self.len) = (base, len);
        self
    }

    /// The range.
    #[inline]
    pub(crate) fn span(&self) -> Span<'_> {
        // INVARIANT: by the type's invariant the bytes lie in the pages, which stay while `self` is borrowed.
        Span {
            base: self.first,
            len: self.len,
            nature: self.nature,
            pages: PhantomData,
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let guard = self.nature.guard();
        if !guard.is_null() {
            // Before the addresses can be another's.
            // SAFETY: by the type's invariant, it came from a `Box` and is owned by these pages, of which there are no spans
            // any more.
            drop(unsafe { Box::from_raw(guard.cast_mut()) });
        }
        // SAFETY: `base` and `size` are what `mmap` gave, nothing else has unmapped it, and no
        // reference or pointer into it is used by this library after this.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.size) };
        // It refuses part of a huge page, which only a plain mapping can be of.
        debug_assert!(matches!(unmapped, Ok(()) | Err(Errno::INVAL)));
    }
}

/// What is known of pages: whether they can be written, what is behind them, and the guard, if there is one. It is one
/// word, in which the lowest bits of the guard's address are something else, as no access to RAM is to pay for what others
/// need.
#[derive(Clone, Copy, Debug)]
struct Nature(*const Guard);

impl Nature {
    const WRITABLE: usize = 1;
    /// It is a device's memory, and not RAM.
    const DEVICE: usize = 2;
    const REVOCABLE: usize = 4;
    const FLEETING: usize = 8;
    const ALL: usize = 15;

    /// Without a guard.
    fn new(backing: Backing, writable: bool) -> Self {
        let bits = match backing {
            Backing::Ram => 0,
            Backing::Device => Self::DEVICE,
            Backing::RevocableRam => Self::REVOCABLE,
            Backing::RevocableDevice => Self::REVOCABLE | Self::DEVICE,
            Backing::Fleeting => Self::FLEETING,
        };
        Self(ptr::without_provenance(bits | usize::from(writable)))
    }

    /// The same with a guard.
    fn with(self, guard: *const Guard) -> Self {
        const { assert!(align_of::<Guard>() > Self::ALL) };
        Self(guard.map_addr(|it| it | self.0.addr() & Self::ALL))
    }

    /// The guard; null if there is none.
    #[inline]
    fn guard(self) -> *const Guard {
        self.0.map_addr(|it| it & !Self::ALL)
    }

    #[inline]
    fn has(self, bits: usize) -> bool {
        self.0.addr() & bits != 0
    }

    #[inline]
    fn is_writable(self) -> bool {
        self.has(Self::WRITABLE)
    }

    /// Whether an access needs nothing but itself.
    #[inline]
    fn is_plain(self) -> bool {
        !self.has(Self::REVOCABLE | Self::FLEETING)
    }

    /// Whether it is RAM that stays.
    #[inline]
    fn is_ram(self) -> bool {
        !self.has(Self::DEVICE | Self::REVOCABLE | Self::FLEETING)
    }

    #[inline]
    fn backing(self) -> Backing {
        match (self.has(Self::REVOCABLE), self.has(Self::DEVICE)) {
            _ if self.has(Self::FLEETING) => Backing::Fleeting,
            (false, false) => Backing::Ram,
            (false, true) => Backing::Device,
            (true, false) => Backing::RevocableRam,
            (true, true) => Backing::RevocableDevice,
        }
    }
}

/// Some bytes of [`Pages`]. Others may write to them at any time: other processes, the kernel, a device, other
/// threads of this process.
///
/// So nothing here rests on what Rust says of its own memory, where that would be a data race. The bytes are
/// outside of all Rust allocations, and each access has one of these rules to rest on:
///
/// - **A volatile load or store** of an integer, aligned. Outside of all allocations these are allowed wherever the
///   hardware gives them a meaning ([`std::ptr::read_volatile`]), and compilers make one instruction of each.
///   It gives whole integers, old or new ones, and no order.
/// - **Assembly**, for atomic accesses ([`Word`]), and **foreign code**, for large copies: the C library's
///   `memcpy`, and the kernel's `process_vm_readv`. Both may access what is no Rust allocation as they like. What
///   comes of racing accesses, of different sizes as well, is the processor's rule: on x86-64 an aligned access
///   of up to eight bytes is done as a whole, and a copy can be a mixture of old and new bytes.
///
/// References to atomics of the standard library are never made: they would be of Rust's memory model, which
/// forbids racing accesses of different sizes, volatile ones at the same time, and most atomic loads of
/// read-only pages.
///
/// # Invariants
///
/// The `len` bytes from `base` on lie in [`Pages`] that are mapped for `'a`; `nature` is theirs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    base: NonNull<u8>,
    len: usize,
    nature: Nature,
    pages: PhantomData<&'a Pages>,
}

// SAFETY: the pages are mapped in the whole process.
unsafe impl Send for Span<'_> {}

// SAFETY: threads that share a span can only access its bytes in the ways that the type's documentation lists,
// each of which is allowed while others write to the same bytes.
unsafe impl Sync for Span<'_> {}

/// The elements of a [`Span`] as an array, each loaded by one access when it is asked for.
///
/// # Invariants
///
/// From `next` on, `left` elements lie in pages that are mapped for `'a`; one access loads each of them.
pub(crate) struct Wholes<'a, T> {
    next: NonNull<u8>,
    left: usize,
    elements: PhantomData<(&'a Pages, T)>,
}

impl<T: FromBytes> Iterator for Wholes<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: by the type's invariant there was an element at `next`, which one access loads.
        let element = unsafe { load_whole(self.next) };
        // SAFETY: what follows that element lies in the pages, or directly behind them.
        // INVARIANT: one element less is left behind it.
        self.next = unsafe { self.next.add(size_of::<T>()) };
        element
    }
}

/// Whether one access can load or store a whole `T` at `place`.
#[inline]
fn is_aligned<T>(place: NonNull<u8>) -> bool {
    matches!(size_of::<T>(), 1 | 2 | 4 | 8) && place.addr().get() % size_of::<T>() == 0
}

/// Loads a `T` by one access; `None` if it has another size than 1, 2, 4 and 8 bytes.
///
/// # Safety
///
/// The bytes must lie in [`Pages`] that stay mapped and are not [`Backing::Fleeting`]; `source` must be aligned to
/// their number.
#[inline]
unsafe fn load_whole<T: FromBytes>(source: NonNull<u8>) -> Option<T> {
    macro_rules! load {
        ($word:ty) => {{
            // SAFETY: the caller promises the bytes and their alignment. They are outside of all Rust allocations,
            // where volatile loads are allowed.
            let word = unsafe { <$word>::load_plain(source.as_ptr().cast()) };
            T::read_from_bytes(&word.to_ne_bytes()).ok()
        }};
    }
    match size_of::<T>() {
        1 => load!(u8),
        2 => load!(u16),
        4 => load!(u32),
        8 => load!(u64),
        _ => None,
    }
}

/// From how many bytes on a copy of RAM is the C library's `memcpy`; below, the call costs more than it saves.
const LARGE: usize = 64;

// By value, so that a span needs no memory where its accesses need none.
impl<'a> Span<'a> {
    /// Bytes.
    #[inline]
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// Whether they can be written.
    #[inline]
    pub(crate) fn writable(self) -> bool {
        self.nature.is_writable()
    }

    /// What is behind them.
    #[inline]
    pub(crate) fn backing(self) -> Backing {
        self.nature.backing()
    }

    /// Whether an access needs nothing but itself.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.nature.is_plain()
    }

    /// What tells whether they were taken away, if they can be.
    #[inline]
    pub(crate) fn guard(self) -> Option<&'a Guard> {
        // SAFETY: by the type's invariant, the guard is owned by pages that are there for `'a`.
        unsafe { self.nature.guard().as_ref() }
    }

    /// Fails if an access up to now found that the memory was taken away.
    #[inline]
    fn check(self) -> Result<(), Failure> {
        match self.guard() {
            Some(guard) if guard.is_revoked() => Err(Failure::Revoked),
            _ => Ok(()),
        }
    }

    /// Accesses revocable memory, and looks whether it was there. A store fails only if that was known before: hardware does not
    /// say that it got one.
    fn watch(self, access: impl FnOnce()) -> Result<(), Failure> {
        self.check()?;
        access();
        self.check()
    }

    /// Where they start.
    #[inline]
    pub(crate) fn as_ptr(self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The `len` bytes from `start` on, if they lie in the span.
    #[inline]
    pub(crate) fn span(self, start: usize, len: usize) -> Option<Self> {
        // INVARIANT: they lie in this span, hence in the same pages.
        Some(Self {
            base: self.at(start, len)?,
            len,
            ..self
        })
    }

    /// Where byte `offset` is, if `length` bytes from there on lie in the span.
    #[inline]
    fn at(self, offset: usize, length: usize) -> Option<NonNull<u8>> {
        if length > self.len || offset > self.len - length {
            return None;
        }
        // SAFETY: the byte lies in the span or directly behind it, as was just checked, hence in the pages.
        Some(unsafe { self.base.add(offset) })
    }

    /// Where element `index` of an array of `T` is, if it lies in the span.
    #[inline]
    fn element<T>(self, index: usize) -> Option<NonNull<u8>> {
        if index >= self.len.checked_div(size_of::<T>())? {
            return None;
        }
        // SAFETY: the element starts in the span, as there are more than `index` of them in it: hence in the
        // pages, and the product does not overflow.
        Some(unsafe { self.base.add(index * size_of::<T>()) })
    }

    /// The value at `offset`, if it lies there and can be loaded by one access.
    #[inline]
    pub(crate) fn read_whole<T: FromBytes>(self, offset: usize) -> Option<T> {
        self.whole_at(self.at(offset, size_of::<T>())?)
    }

    /// Element `index` of an array of `T`, if it lies there and can be loaded by one access.
    #[inline]
    pub(crate) fn get_whole<T: FromBytes>(self, index: usize) -> Option<T> {
        self.whole_at(self.element::<T>(index)?)
    }

    /// The elements of an array of `T` from `first` on, if there is one and each can be loaded by one access.
    #[inline]
    pub(crate) fn wholes<T: FromBytes>(self, first: usize) -> Option<Wholes<'a, T>> {
        let next = self.element::<T>(first)?;
        // INVARIANT: the span has this element and those behind it. Where one is aligned to its size, all are.
        self.is_whole::<T>(next).then(|| Wholes {
            next,
            left: self.len / size_of::<T>() - first,
            elements: PhantomData,
        })
    }

    /// Whether one access loads or stores a whole `T` at `place`, and nothing else is to be done.
    #[inline]
    fn is_whole<T>(self, place: NonNull<u8>) -> bool {
        is_aligned::<T>(place) && self.is_plain()
    }

    /// The value at `offset`, if it lies there, in revocable memory, and can be loaded by one access.
    #[inline]
    pub(crate) fn read_revocable<T: FromBytes>(self, offset: usize) -> Option<Result<T, Failure>> {
        let source = self.at(offset, size_of::<T>())?;
        if !is_aligned::<T>(source) || !self.backing().is_revocable() {
            return None;
        }
        // SAFETY: `at` found these bytes in the span, and one access loads them.
        let value = unsafe { load_whole(source) }?;
        Some(self.check().map(|()| value))
    }

    /// The value at `source`, where the span has that many bytes, if it can be loaded by one access.
    #[inline]
    fn whole_at<T: FromBytes>(self, source: NonNull<u8>) -> Option<T> {
        if !self.is_whole::<T>(source) {
            return None;
        }
        // SAFETY: the caller found these bytes in the span, and one access loads them.
        unsafe { load_whole(source) }
    }

    /// Stores a value at `offset`, as [`load`](Self::load) says.
    ///
    /// # Panics
    ///
    /// If the span cannot be written.
    #[inline]
    pub(crate) fn write<T: IntoBytes + Immutable + ?Sized>(
        self,
        offset: usize,
        value: &T,
    ) -> Result<(), Failure> {
        let bytes = value.as_bytes();
        match self.at(offset, bytes.len()) {
            Some(target) => self.write_at(target, bytes),
            None => Err(Failure::Outside),
        }
    }

    /// Stores a value as element `index` of an array, as [`load`](Self::load) says.
    ///
    /// # Panics
    ///
    /// If the span cannot be written.
    #[inline]
    pub(crate) fn set<T: IntoBytes + Immutable>(
        self,
        index: usize,
        value: &T,
    ) -> Result<(), Failure> {
        match self.element::<T>(index) {
            Some(target) => self.write_at(target, value.as_bytes()),
            None => Err(Failure::Outside),
        }
    }

    /// Stores bytes at `target`, where the span has that many.
    #[inline]
    fn write_at(self, target: NonNull<u8>, bytes: &[u8]) -> Result<(), Failure> {
        macro_rules! whole {
            ($word:ty) => {
                if let Ok(bytes) = bytes.try_into() {
                    let value = <$word>::from_ne_bytes(bytes);
                    if !self.is_whole::<$word>(target) {
                        // A copy, so that a value which is stored as a whole needs no memory.
                        return self.store_at(target, &value.to_ne_bytes());
                    }
                    assert!(self.writable());
                    // SAFETY: the caller found these bytes in the span, which can be written, as was asserted, and
                    // whose backing allows volatile stores; the address is aligned. It is outside of all Rust
                    // allocations.
                    unsafe { value.store_plain(target.as_ptr().cast()) };
                    return Ok(());
                }
            };
        }
        match bytes.len() {
            1 => whole!(u8),
            2 => whole!(u16),
            4 => whole!(u32),
            8 => whole!(u64),
            _ => {}
        }
        self.store_at(target, bytes)
    }

    /// Stores a 1 into the first of every `step` bytes.
    ///
    /// # Panics
    ///
    /// If the span cannot be written, or can go away.
    #[cfg(feature = "measure")]
    #[inline]
    pub(crate) fn touch(self, step: usize) {
        assert!(self.writable() && self.backing() != Backing::Fleeting);
        for offset in (0..self.len).step_by(step) {
            // SAFETY: the byte lies in the span, which can be written and whose backing allows volatile stores, as
            // was asserted. It is outside of all Rust allocations.
            unsafe { self.base.add(offset).write_volatile(1) };
        }
    }

    /// Copies bytes from `offset` on, by the largest aligned loads that there are in them, of eight bytes at most:
    /// a value of 1, 2, 4 or 8 bytes that is aligned to as many by one. So each aligned integer in it is copied as
    /// a whole.
    ///
    /// What can go away is copied by the kernel, which promises nothing of that.
    pub(crate) fn load(self, offset: usize, target: &mut [u8]) -> Result<(), Failure> {
        match self.at(offset, target.len()) {
            Some(source) => self.load_at(source, target),
            None => Err(Failure::Outside),
        }
    }

    /// Copies bytes from `source` on, where the span has as many as `target`.
    #[inline(never)]
    fn load_at(self, source: NonNull<u8>, target: &mut [u8]) -> Result<(), Failure> {
        if !self.is_plain() {
            return self.load_other(source, target);
        }
        // SAFETY: the caller found that many bytes from `source` on in the span, whose backing allows volatile
        // loads.
        unsafe { load_words(source.as_ptr(), target) };
        Ok(())
    }

    /// The same, where more is to be done.
    #[cold]
    fn load_other(self, source: NonNull<u8>, target: &mut [u8]) -> Result<(), Failure> {
        if self.backing() == Backing::Fleeting {
            return kernel_read(source, target);
        }
        // SAFETY: the caller found that many bytes from `source` on in the span, whose backing allows volatile
        // loads.
        self.watch(|| unsafe { load_words(source.as_ptr(), target) })
    }

    /// Copies bytes to where they start at `offset`, as [`load`](Self::load) does.
    ///
    /// # Panics
    ///
    /// If the span cannot be written.
    pub(crate) fn store(self, offset: usize, source: &[u8]) -> Result<(), Failure> {
        match self.at(offset, source.len()) {
            Some(target) => self.store_at(target, source),
            None => Err(Failure::Outside),
        }
    }

    /// Copies bytes to `target`, where the span has as many as `source`.
    ///
    /// # Panics
    ///
    /// If the span cannot be written.
    #[inline(never)]
    fn store_at(self, target: NonNull<u8>, source: &[u8]) -> Result<(), Failure> {
        assert!(self.writable());
        if !self.is_plain() {
            return self.store_other(target, source);
        }
        // SAFETY: the caller found that many bytes from `target` on in the span, which can be written, as was
        // asserted, and whose backing allows volatile stores.
        unsafe { store_words(source, target.as_ptr()) };
        Ok(())
    }

    /// The same, where more is to be done.
    #[cold]
    fn store_other(self, target: NonNull<u8>, source: &[u8]) -> Result<(), Failure> {
        assert!(self.writable());
        if self.backing() == Backing::Fleeting {
            // SAFETY: the caller found that many bytes from `target` on in the span, which can be written, as was
            // asserted.
            return unsafe { kernel_write(target, source) };
        }
        // SAFETY: the caller found that many bytes from `target` on in the span, which can be written, as was
        // asserted, and whose backing allows volatile stores.
        self.watch(|| unsafe { store_words(source, target.as_ptr()) })
    }

    /// Copies the bytes from `offset` on into `target`: of RAM, in any way; of a device, as
    /// [`load`](Self::load).
    #[inline]
    pub(crate) fn copy_to(self, offset: usize, target: &mut [u8]) -> Result<(), Failure> {
        if target.len() < LARGE || cfg!(miri) {
            return self.load(offset, target);
        }
        if !self.nature.is_ram() {
            return self.copy_other_to(offset, target);
        }
        let Some(source) = self.at(offset, target.len()) else {
            return Err(Failure::Outside);
        };
        // SAFETY: `at` found as many bytes as `target` has from `source` on, in RAM that stays; `target` is
        // no part of the pages, to which there are no mutable references.
        unsafe { foreign_copy(target.as_mut_ptr(), source.as_ptr(), target.len()) };
        Ok(())
    }

    /// The same of many bytes, where more is to be done.
    #[inline(never)]
    fn copy_other_to(self, offset: usize, target: &mut [u8]) -> Result<(), Failure> {
        if self.backing() != Backing::RevocableRam {
            return self.load(offset, target);
        }
        let Some(source) = self.at(offset, target.len()) else {
            return Err(Failure::Outside);
        };
        self.watch(|| {
            // SAFETY: `at` found as many bytes as `target` has from `source` on, in RAM that stays, or whose place
            // is taken by zeroes; `target` is no part of the pages, to which there are no mutable references.
            unsafe { foreign_copy(target.as_mut_ptr(), source.as_ptr(), target.len()) }
        })
    }

    /// Copies `source` over the bytes from `offset` on: of RAM, in any way; of a device, as
    /// [`store`](Self::store).
    ///
    /// # Panics
    ///
    /// If the span cannot be written.
    #[inline]
    pub(crate) fn copy_from(self, offset: usize, source: &[u8]) -> Result<(), Failure> {
        if source.len() < LARGE || cfg!(miri) {
            return self.store(offset, source);
        }
        if !self.nature.is_ram() {
            return self.copy_from_other(offset, source);
        }
        assert!(self.writable());
        let Some(target) = self.at(offset, source.len()) else {
            return Err(Failure::Outside);
        };
        // SAFETY: `at` found as many bytes as `source` has from `target` on, in RAM that stays and that can be
        // written, as was asserted; `source` is no part of the pages, or its owner promised by `as_slice` that
        // nobody writes to it.
        unsafe { foreign_copy(target.as_ptr(), source.as_ptr(), source.len()) };
        Ok(())
    }

    /// The same of many bytes, where more is to be done.
    ///
    /// # Panics
    ///
    /// If the span cannot be written.
    #[inline(never)]
    fn copy_from_other(self, offset: usize, source: &[u8]) -> Result<(), Failure> {
        if self.backing() != Backing::RevocableRam {
            return self.store(offset, source);
        }
        assert!(self.writable());
        let Some(target) = self.at(offset, source.len()) else {
            return Err(Failure::Outside);
        };
        self.watch(|| {
            // SAFETY: `at` found as many bytes as `source` has from `target` on, in RAM that stays, or whose place
            // is taken by zeroes, and that can be written, as was asserted; `source` is no part of the pages, or its
            // owner promised by `as_slice` that nobody writes to it.
            unsafe { foreign_copy(target.as_ptr(), source.as_ptr(), source.len()) }
        })
    }

    /// Whether a copy must be made of them by [`load`](Self::load) before the kernel takes them: of a device's memory, which is
    /// accessed by words, and of what may be taken away, as the kernel would take the zeroes in its place.
    pub(crate) fn is_copied_first(self) -> bool {
        self.backing() == Backing::Device || self.backing().is_revocable()
    }

    /// Has the kernel write the bytes from `offset` on to a file, with one `write(2)`: how many it
    /// took. Where pages have gone away, that is `FAULT`.
    ///
    /// # Panics
    ///
    /// If they do not all lie in the span.
    pub(crate) fn write_to(self, fd: BorrowedFd<'_>, offset: usize) -> Result<usize, Errno> {
        let length = self.len.checked_sub(offset).expect("a part of the span");
        let source = self.base.as_ptr().wrapping_add(offset).cast_const();
        // SAFETY: the kernel only reads from the bytes, of which it needs no promise.
        let count = unsafe { libc::write(fd.as_raw_fd(), source.cast(), length) };
        usize::try_from(count).map_err(|_| last_errno())
    }

    /// The integer at `offset`, to be accessed atomically, if it lies in the span and is aligned.
    ///
    /// # Panics
    ///
    /// If only the kernel may access the span.
    #[inline]
    pub(crate) fn word<W: Word>(self, offset: usize) -> Option<Place<'a, W>> {
        assert!(self.backing() != Backing::Fleeting);
        let place = self.at(offset, size_of::<W>())?.cast::<W>();
        // INVARIANT: its bytes lie in the span, and so in pages that are mapped for `'a`; they do not go away,
        // as was asserted.
        place.is_aligned().then_some(Place {
            place,
            writable: self.writable(),
            pages: PhantomData,
        })
    }
}

/// An integer that one instruction loads or stores, at an address that is aligned.
trait Plain: Sized {
    /// Loads it.
    ///
    /// # Safety
    ///
    /// Its bytes, from `place` on, can be loaded, and are aligned.
    unsafe fn load_plain(place: *const Self) -> Self;

    /// Stores it.
    ///
    /// # Safety
    ///
    /// Its bytes, from `place` on, can be stored, and are aligned.
    unsafe fn store_plain(self, place: *mut Self);
}

#[cfg(not(all(target_arch = "aarch64", not(miri))))]
macro_rules! plain {
    ($($word:ty, $modifier:literal, $suffix:literal;)*) => {$(
        impl Plain for $word {
            #[inline]
            unsafe fn load_plain(place: *const Self) -> Self {
                // SAFETY: the caller promises the bytes and their alignment.
                unsafe { place.read_volatile() }
            }

            #[inline]
            unsafe fn store_plain(self, place: *mut Self) {
                // SAFETY: the caller promises the bytes and their alignment.
                unsafe { place.write_volatile(self) };
            }
        }
    )*};
}

/// Of a volatile access in a loop the compiler may make an instruction that also moves the address on. A hypervisor cannot
/// emulate such a one where the memory is a device that it emulates.
#[cfg(all(target_arch = "aarch64", not(miri)))]
macro_rules! plain {
    ($($word:ty, $modifier:literal, $suffix:literal;)*) => {$(
        impl Plain for $word {
            #[inline]
            unsafe fn load_plain(place: *const Self) -> Self {
                let value: $word;
                // SAFETY: the caller promises the bytes and their alignment.
                unsafe {
                    std::arch::asm!(
                        concat!("ldr", $suffix, " {value", $modifier, "}, [{place}]"),
                        place = in(reg) place,
                        value = lateout(reg) value,
                        options(nostack, preserves_flags)
                    );
                }
                value
            }

            #[inline]
            unsafe fn store_plain(self, place: *mut Self) {
                // SAFETY: the caller promises the bytes and their alignment.
                unsafe {
                    std::arch::asm!(
                        concat!("str", $suffix, " {value", $modifier, "}, [{place}]"),
                        place = in(reg) place,
                        value = in(reg) self,
                        options(nostack, preserves_flags)
                    );
                }
            }
        }
    )*};
}

plain! {
    u8, ":w", "b";
    u16, ":w", "h";
    u32, ":w", "";
    u64, ":x", "";
}

/// Copies bytes by the largest aligned loads that there are in them, of eight bytes at most.
///
/// # Safety
///
/// As many bytes as `target` has can be loaded from `source` on, in pieces that are aligned.
#[allow(unused_assignments, reason = "the last piece moves on like the others")]
unsafe fn load_words(mut source: *const u8, mut target: &mut [u8]) {
    macro_rules! piece {
        ($word:ty) => {
            let (piece, rest) = std::mem::take(&mut target).split_at_mut(size_of::<$word>());
            // SAFETY: these bytes are some of those that the caller promises, as `split_at_mut` would have
            // panicked else. The address is a multiple of the integer's size: what is smaller was taken
            // before, up to such a multiple, or comes after.
            unsafe {
                let word = <$word>::load_plain(source.cast());
                piece.copy_from_slice(&word.to_ne_bytes());
                source = source.add(piece.len());
            }
            target = rest;
        };
    }
    if source.addr() & 1 != 0 && !target.is_empty() {
        piece!(u8);
    }
    if source.addr() & 2 != 0 && target.len() >= 2 {
        piece!(u16);
    }
    if source.addr() & 4 != 0 && target.len() >= 4 {
        piece!(u32);
    }
    while target.len() >= 8 {
        piece!(u64);
    }
    if target.len() >= 4 {
        piece!(u32);
    }
    if target.len() >= 2 {
        piece!(u16);
    }
    if !target.is_empty() {
        piece!(u8);
    }
}

/// Copies bytes by the largest aligned stores that there are in them, of eight bytes at most.
///
/// # Safety
///
/// As many bytes as `source` has can be stored from `target` on, in pieces that are aligned.
#[allow(unused_assignments, reason = "the last piece moves on like the others")]
unsafe fn store_words(mut source: &[u8], mut target: *mut u8) {
    macro_rules! piece {
        ($word:ty) => {
            let (piece, rest) = source
                .split_first_chunk::<{ size_of::<$word>() }>()
                .expect("enough bytes");
            // SAFETY: these bytes are some of those that the caller promises, as there are as many left. The
            // address is a multiple of the integer's size: what is smaller was stored before, up to such a
            // multiple, or comes after.
            unsafe {
                <$word>::from_ne_bytes(*piece).store_plain(target.cast());
                target = target.add(piece.len());
            }
            source = rest;
        };
    }
    if target.addr() & 1 != 0 && !source.is_empty() {
        piece!(u8);
    }
    if target.addr() & 2 != 0 && source.len() >= 2 {
        piece!(u16);
    }
    if target.addr() & 4 != 0 && source.len() >= 4 {
        piece!(u32);
    }
    while source.len() >= 8 {
        piece!(u64);
    }
    if source.len() >= 4 {
        piece!(u32);
    }
    if source.len() >= 2 {
        piece!(u16);
    }
    if !source.is_empty() {
        piece!(u8);
    }
}

/// The C library's `memcpy`, as a function of which the compiler knows nothing: it would take a plain call for a
/// copy of Rust's memory, which nobody else may write to.
///
/// # Safety
///
/// As many bytes can be read from `source` on, and written from `target` on; the two do not overlap.
unsafe fn foreign_copy(target: *mut u8, source: *const u8, length: usize) {
    type Copy = unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> *mut c_void;
    static MEMCPY: Copy = libc::memcpy;
    // SAFETY: it is a static; to load it as a volatile keeps the compiler from knowing what is in it.
    let copy = unsafe { (&raw const MEMCPY).read_volatile() };
    // SAFETY: the caller's promise is what `memcpy` needs.
    unsafe { copy(target.cast(), source.cast(), length) };
}

/// Has the kernel copy bytes that can go away.
#[cold]
fn kernel_read(source: NonNull<u8>, target: &mut [u8]) -> Result<(), Failure> {
    let here = libc::iovec {
        iov_base: target.as_mut_ptr().cast(),
        iov_len: target.len(),
    };
    let there = libc::iovec {
        iov_base: source.as_ptr().cast(),
        iov_len: target.len(),
    };
    // SAFETY: the kernel writes to nothing but `here`, which is `target`, and only reads from `there`, of which
    // it needs no promise.
    unsafe { by_the_kernel(libc::process_vm_readv, here, there) }
}

/// Has the kernel copy bytes to where they can go away.
///
/// # Safety
///
/// As many bytes as `source` has may be overwritten from `target` on.
#[cold]
unsafe fn kernel_write(target: NonNull<u8>, source: &[u8]) -> Result<(), Failure> {
    let here = libc::iovec {
        iov_base: source.as_ptr().cast_mut().cast(),
        iov_len: source.len(),
    };
    let there = libc::iovec {
        iov_base: target.as_ptr().cast(),
        iov_len: source.len(),
    };
    // SAFETY: the kernel only reads from `here`, which is `source`, and writes to `there`, which may be
    // overwritten, as the caller promises.
    unsafe { by_the_kernel(libc::process_vm_writev, here, there) }
}

/// What was done about `SIGBUS` before [`handle_bus_errors`].
static PREVIOUS: Link<libc::sigaction> = Link::new();

/// Whether it is done now.
static IS_HANDLED: AtomicBool = AtomicBool::new(false);

/// Has `SIGBUS` handled from now on, by [`on_bus_error`], in the whole process. Nothing waits here: several threads may do it at
/// the same time, and so may a child that was made by `fork` meanwhile.
fn handle_bus_errors() {
    if cfg!(miri) || IS_HANDLED.load(Ordering::SeqCst) {
        return;
    }
    // SAFETY: these are integers and an address of a function that may be none.
    let (mut found, mut ours): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action, the call only fills the one structure.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut found) } != 0 {
        return;
    }
    ours.sa_sigaction = (on_bus_error as BusHandler) as usize;
    ours.sa_flags = libc::SA_SIGINFO
        | match found.sa_sigaction {
            // The stack may be a small one, of Go for example.
            libc::SIG_DFL | libc::SIG_IGN => libc::SA_ONSTACK | libc::SA_RESTART,
            // The other handler runs as it was to run.
            _ => found.sa_flags & (libc::SA_ONSTACK | libc::SA_RESTART | libc::SA_NODEFER),
        };
    ours.sa_mask = found.sa_mask;
    if found.sa_sigaction != ours.sa_sigaction {
        PREVIOUS.set(Box::leak(Box::new(found)));
        // SAFETY: the handler is one for SA_SIGINFO, and does nothing but what a handler may do.
        unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) };
    }
    IS_HANDLED.store(true, Ordering::SeqCst);
}

/// A handler of a signal, as SA_SIGINFO has it.
type BusHandler = unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void);

/// Puts zeroes in the place of a mapping whose memory was taken away, and has its guard tell that. The access that found it is then made
/// again, by the processor. All else is for what handled the signal before.
///
/// # Safety
///
/// Only the kernel calls it.
unsafe extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    // SAFETY: the kernel hands over what it tells of the signal. Of a fault, that has an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    // Memory that has failed is another matter: the rest of the mapping is still there.
    if code == libc::BUS_ADRERR {
        if let Some((slot, range)) = guard::find(address) {
            // First: who finds zeroes is to be told.
            slot.revoke();
            let base = ptr::with_exposed_provenance_mut(range.start);
            let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
            // SAFETY: there are guards of nothing but `Pages`, none of which is unmapped while it is accessed, as this one is
            // now; by that type's invariant they may become zeroes.
            if unsafe { mmap_anonymous(base, range.len(), protection(true), flags) }.is_ok() {
                return;
            }
        }
    }
    // SAFETY: these are what the kernel has called this function with.
    unsafe { pass_on(signal, info, context) };
}

/// Does about a signal what was done before.
///
/// # Safety
///
/// The arguments are those of a handler, which is called.
unsafe fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let as_usual = || {
        // SAFETY: a structure of zeroes is the default action.
        unsafe {
            let action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    };
    // SAFETY: as the caller says.
    let code = unsafe { (*info).si_code };
    let is_fault = matches!(
        code,
        libc::BUS_ADRALN | libc::BUS_ADRERR | libc::BUS_OBJERR | libc::BUS_MCEERR_AR
    );
    let (handler, flags) = match PREVIOUS.get() {
        Some(action) => (action.sa_sigaction, action.sa_flags),
        None => (libc::SIG_DFL, 0),
    };
    match handler {
        // A fault cannot be ignored. It comes again after the return, and ends the process.
        libc::SIG_DFL | libc::SIG_IGN if is_fault => as_usual(),
        libc::SIG_IGN => {}
        libc::SIG_DFL => {
            as_usual();
            // SAFETY: the signal comes once this handler has returned.
            unsafe { libc::raise(signal) };
        }
        handler => {
            if flags & libc::SA_RESETHAND != 0 {
                as_usual();
            }
            // SAFETY: the kernel had this function called for the signal, with these flags and so with these arguments.
            unsafe {
                if flags & libc::SA_SIGINFO != 0 {
                    std::mem::transmute::<usize, BusHandler>(handler)(signal, info, context);
                } else {
                    let handler: unsafe extern "C" fn(libc::c_int) = std::mem::transmute(handler);
                    handler(signal);
                }
            }
        }
    }
}

/// A reference that is set once, and then stays. Unlike with a `OnceLock`, nothing waits for it: that must not be in the handler of a
/// signal, nor in a child of a process with threads.
#[derive(Debug)]
pub(crate) struct Link<T: 'static>(AtomicPtr<T>);

impl<T: Sync> Link<T> {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// The reference, if it is set.
    pub(crate) fn get(&self) -> Option<&'static T> {
        // SAFETY: only `set` changes it, to a `&'static T` that any thread may have.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Sets the reference, unless it is set: what it is then.
    pub(crate) fn set(&self, value: &'static T) -> &'static T {
        let (new, orders) = (
            ptr::from_ref(value).cast_mut(),
            (Ordering::AcqRel, Ordering::Acquire),
        );
        match self
            .0
            .compare_exchange(ptr::null_mut(), new, orders.0, orders.1)
        {
            Ok(_) => value,
            // SAFETY: as in `get`; it was found not to be null.
            Err(found) => unsafe { &*found },
        }
    }
}

/// Whether pointers and slices can span so many bytes.
fn check_size(size: usize) -> Result<(), Errno> {
    match isize::try_from(size) {
        Ok(_) => Ok(()),
        Err(_) => Err(Errno::NOMEM),
    }
}

/// What can be done with pages.
fn protection(writable: bool) -> ProtFlags {
    if writable {
        ProtFlags::READ | ProtFlags::WRITE
    } else {
        ProtFlags::READ
    }
}

/// `process_vm_readv` or `process_vm_writev`.
type Transfer = unsafe extern "C" fn(
    libc::pid_t,
    *const libc::iovec,
    libc::c_ulong,
    *const libc::iovec,
    libc::c_ulong,
    libc::c_ulong,
) -> isize;

/// Has the kernel copy between two places of this process, as if it were another one. Where nothing
/// can be accessed any more, that is an error, and no race can make it a signal.
///
/// # Safety
///
/// Both places are equally long, and the one that the transfer writes to may be overwritten.
unsafe fn by_the_kernel(
    transfer: Transfer,
    mut here: libc::iovec,
    mut there: libc::iovec,
) -> Result<(), Failure> {
    // Asked for each time: after a fork it is another.
    let this = rustix::process::getpid().as_raw_pid();
    let mut done = 0;
    while here.iov_len > 0 {
        // SAFETY: both point to one `iovec`; what they describe is the caller's promise, and grows
        // only shorter below.
        let count = unsafe { transfer(this, &here, 1, &there, 1, 0) };
        let broken = |errno| Err(Failure::Broken { done, errno });
        match usize::try_from(count) {
            Ok(0) => return broken(Errno::FAULT),
            Ok(count) => {
                for place in [&mut here, &mut there] {
                    place.iov_base = place.iov_base.wrapping_byte_add(count);
                    place.iov_len -= count;
                }
                done += count;
            }
            Err(_) => match last_errno() {
                Errno::INTR => {}
                errno => return broken(errno),
            },
        }
    }
    Ok(())
}

/// Why the last call of the C library failed.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// An integer that the processor loads and stores as a whole: one of `u8` to `u64`, `i8` to `i64`,
/// `usize` and `isize`.
///
/// ```
/// fn is_a_word<W: chrmem::Word>() {}
///
/// is_a_word::<u32>();
/// is_a_word::<i64>();
/// ```
pub trait Word:
    Copy + PartialEq + FromBytes + IntoBytes + Immutable + instructions::Atomically
{
}

/// An integer in pages, aligned, for atomic accesses.
///
/// # Invariants
///
/// `place` is aligned, and lies in pages that are mapped for `'a`, can be written if `writable`, and do not go
/// away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a, W> {
    place: NonNull<W>,
    writable: bool,
    pages: PhantomData<&'a Pages>,
}

// SAFETY: the pages are mapped in the whole process.
unsafe impl<W> Send for Place<'_, W> {}

// SAFETY: threads that share a place can only access it atomically.
unsafe impl<W> Sync for Place<'_, W> {}

impl<W: Word> Place<'_, W> {
    /// Where it is.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut W {
        self.place.as_ptr()
    }

    #[inline]
    pub(crate) fn load(&self, order: Ordering) -> W {
        // SAFETY: by the type's invariant, an aligned integer can be loaded there.
        unsafe { W::load(self.place.as_ptr(), order) }
    }

    /// # Panics
    ///
    /// This and the following do, if the place cannot be written.
    #[inline]
    pub(crate) fn store(&self, value: W, order: Ordering) {
        assert!(self.writable);
        // SAFETY: by the type's invariant and the assertion, an aligned integer can be stored there.
        unsafe { W::store(self.place.as_ptr(), value, order) }
    }

    #[inline]
    pub(crate) fn swap(&self, value: W, order: Ordering) -> W {
        assert!(self.writable);
        // SAFETY: by the type's invariant and the assertion, an aligned integer can be loaded and stored there.
        unsafe { W::swap(self.place.as_ptr(), value, order) }
    }

    #[inline]
    pub(crate) fn fetch_add(&self, value: W, order: Ordering) -> W {
        assert!(self.writable);
        // SAFETY: by the type's invariant and the assertion, an aligned integer can be loaded and stored there.
        unsafe { W::fetch_add(self.place.as_ptr(), value, order) }
    }

    /// The value that was there: `current` if it was replaced.
    #[inline]
    pub(crate) fn compare_exchange(&self, current: W, new: W, orders: [Ordering; 2]) -> W {
        assert!(self.writable);
        // SAFETY: by the type's invariant and the assertion, an aligned integer can be loaded and stored there.
        unsafe { W::compare_exchange(self.place.as_ptr(), current, new, orders) }
    }
}

/// The instructions behind [`Word`].
mod instructions {
    use super::Word;
    use std::sync::atomic::Ordering;

    /// Atomic accesses to what is no Rust allocation.
    ///
    /// On x86-64, they are assembly. By `mov`, each load acquires and each store releases; what has a `lock` prefix,
    /// or is `xchg`, is in one order for all. The compiler takes each block for code that may access any
    /// memory, and so moves nothing across.
    ///
    /// Other processors, and Miri, get the standard library's atomics. There, accesses of different sizes to
    /// the same bytes must not race: no rule says what comes of that.
    ///
    /// Each function needs a pointer that is aligned for `Self`, to bytes that can be loaded, and that can be stored
    /// where it stores.
    pub trait Atomically: Sized {
        /// What is there.
        ///
        /// # Safety
        ///
        /// See the trait.
        unsafe fn load(place: *const Self, order: Ordering) -> Self;
        /// Stores a value.
        ///
        /// # Safety
        ///
        /// See the trait.
        unsafe fn store(place: *mut Self, value: Self, order: Ordering);
        /// Stores a value: what was there.
        ///
        /// # Safety
        ///
        /// See the trait.
        unsafe fn swap(place: *mut Self, value: Self, order: Ordering) -> Self;
        /// Adds a value, wrapping around: what was there.
        ///
        /// # Safety
        ///
        /// See the trait.
        unsafe fn fetch_add(place: *mut Self, value: Self, order: Ordering) -> Self;
        /// Stores `new` if `current` is there: what was there.
        ///
        /// # Safety
        ///
        /// See the trait.
        unsafe fn compare_exchange(
            place: *mut Self,
            current: Self,
            new: Self,
            orders: [Ordering; 2],
        ) -> Self;
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    macro_rules! words {
        ($($word:ty, $class:ident, $modifier:literal, $accumulator:tt;)*) => {$(
            impl Word for $word {}

            impl Atomically for $word {
                #[inline]
                unsafe fn load(place: *const Self, order: Ordering) -> Self {
                    super::check_load(order);
                    let value;
                    // SAFETY: one load of as many bytes as the register has, which the caller allows.
                    unsafe {
                        std::arch::asm!(
                            concat!("mov {value", $modifier, "}, [{place}]"),
                            place = in(reg) place,
                            value = lateout($class) value,
                            options(nostack, preserves_flags)
                        );
                    }
                    value
                }

                #[inline]
                unsafe fn store(place: *mut Self, value: Self, order: Ordering) {
                    super::check_store(order);
                    if order == Ordering::SeqCst {
                        // SAFETY: the caller allows to store; all bytes that can be stored can be loaded.
                        unsafe { Self::swap(place, value, order) };
                        return;
                    }
                    // SAFETY: one store of as many bytes as the register has, which the caller allows.
                    unsafe {
                        std::arch::asm!(
                            concat!("mov [{place}], {value", $modifier, "}"),
                            place = in(reg) place,
                            value = in($class) value,
                            options(nostack, preserves_flags)
                        );
                    }
                }

                #[inline]
                unsafe fn swap(place: *mut Self, mut value: Self, _: Ordering) -> Self {
                    // SAFETY: one load and one store of as many bytes as the register has, which the caller
                    // allows.
                    unsafe {
                        std::arch::asm!(
                            concat!("xchg [{place}], {value", $modifier, "}"),
                            place = in(reg) place,
                            value = inout($class) value,
                            options(nostack, preserves_flags)
                        );
                    }
                    value
                }

                #[inline]
                unsafe fn fetch_add(place: *mut Self, mut value: Self, _: Ordering) -> Self {
                    // SAFETY: one load and one store of as many bytes as the register has, which the caller
                    // allows.
                    unsafe {
                        std::arch::asm!(
                            concat!("lock xadd [{place}], {value", $modifier, "}"),
                            place = in(reg) place,
                            value = inout($class) value,
                            options(nostack)
                        );
                    }
                    value
                }

                #[inline]
                unsafe fn compare_exchange(
                    place: *mut Self,
                    mut current: Self,
                    new: Self,
                    orders: [Ordering; 2],
                ) -> Self {
                    super::check_load(orders[1]);
                    // SAFETY: one load and one store of as many bytes as the register has, which the caller
                    // allows.
                    unsafe {
                        std::arch::asm!(
                            concat!("lock cmpxchg [{place}], {new", $modifier, "}"),
                            place = in(reg) place,
                            new = in($class) new,
                            inout($accumulator) current,
                            options(nostack)
                        );
                    }
                    current
                }
            }
        )*};
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    words! {
        u8, reg_byte, "", "al";
        i8, reg_byte, "", "al";
        u16, reg, ":x", "ax";
        i16, reg, ":x", "ax";
        u32, reg, ":e", "eax";
        i32, reg, ":e", "eax";
        u64, reg, ":r", "rax";
        i64, reg, ":r", "rax";
        usize, reg, ":r", "rax";
        isize, reg, ":r", "rax";
    }

    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    macro_rules! words {
        ($($word:ty => $atomic:ident;)*) => {$(
            impl Word for $word {}

            impl Atomically for $word {
                #[inline]
                unsafe fn load(place: *const Self, order: Ordering) -> Self {
                    super::check_load(order);
                    // SAFETY: the caller says that the place is aligned and can be loaded; nothing is stored.
                    unsafe { std::sync::atomic::$atomic::from_ptr(place.cast_mut()) }.load(order)
                }

                #[inline]
                unsafe fn store(place: *mut Self, value: Self, order: Ordering) {
                    super::check_store(order);
                    // SAFETY: the caller says that the place is aligned and can be stored.
                    unsafe { std::sync::atomic::$atomic::from_ptr(place) }.store(value, order);
                }

                #[inline]
                unsafe fn swap(place: *mut Self, value: Self, order: Ordering) -> Self {
                    // SAFETY: the caller says that the place is aligned and can be loaded and stored.
                    unsafe { std::sync::atomic::$atomic::from_ptr(place) }.swap(value, order)
                }

                #[inline]
                unsafe fn fetch_add(place: *mut Self, value: Self, order: Ordering) -> Self {
                    // SAFETY: the caller says that the place is aligned and can be loaded and stored.
                    unsafe { std::sync::atomic::$atomic::from_ptr(place) }.fetch_add(value, order)
                }

                #[inline]
                unsafe fn compare_exchange(
                    place: *mut Self,
                    current: Self,
                    new: Self,
                    [success, failure]: [Ordering; 2],
                ) -> Self {
                    // SAFETY: the caller says that the place is aligned and can be loaded and stored.
                    let atomic = unsafe { std::sync::atomic::$atomic::from_ptr(place) };
                    match atomic.compare_exchange(current, new, success, failure) {
                        Ok(found) | Err(found) => found,
                    }
                }
            }
        )*};
    }

    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    words! {
        u8 => AtomicU8;
        i8 => AtomicI8;
        u16 => AtomicU16;
        i16 => AtomicI16;
        u32 => AtomicU32;
        i32 => AtomicI32;
        u64 => AtomicU64;
        i64 => AtomicI64;
        usize => AtomicUsize;
        isize => AtomicIsize;
    }
}

/// A panic unless loads can have this order, as the standard library's.
#[inline]
fn check_load(order: Ordering) {
    assert!(
        !matches!(order, Ordering::Release | Ordering::AcqRel),
        "there is no such thing as a load that releases"
    );
}

/// A panic unless stores can have this order, as the standard library's.
#[inline]
fn check_store(order: Ordering) {
    assert!(
        !matches!(order, Ordering::Acquire | Ordering::AcqRel),
        "there is no such thing as a store that acquires"
    );
}

impl<'a> View<'a> {
    /// The bytes, for those who can promise that nobody writes to them.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.copy_from(0, b"text")?;
    /// // SAFETY: the memory is this process's own, and `bytes` is gone before the next write.
    /// let bytes = unsafe { memory.view(..4)?.as_slice() };
    /// assert_eq!(bytes, b"text");
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// As long as the slice exists, nobody writes to these bytes, in this process or another, nor
    /// through the device (`write(2)`, clear, reset, hardware). And the bytes stay: their file does not
    /// become shorter, and their hardware is not unplugged, nor unbound from its driver. Where it does, to touch them ends the process with `SIGBUS`, or
    /// they become zeroes.
    #[must_use]
    pub unsafe fn as_slice(&self) -> &'a [u8] {
        // SAFETY: a view lies in its pages, which stay mapped for `'a` and are no more than a slice
        // can have. For as long as the slice exists, the caller makes them what a Rust allocation is: bytes
        // that nobody writes to.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

/// What only benchmarks need: other memory that can be shared, and a way to have memory pinned.
#[cfg(feature = "measure")]
pub(crate) mod peers {
    use super::{last_errno, ptr, AsRawFd, BorrowedFd, Errno, FromRawFd, OwnedFd};
    use rustix::ioctl::{ioctl, opcode, Ioctl, IoctlOutput, Opcode, Updater};
    use std::ffi::c_void;

    /// The argument of `DMA_HEAP_IOCTL_ALLOC`.
    #[repr(C)]
    #[derive(Default)]
    struct Allocation {
        len: u64,
        fd: u32,
        fd_flags: u32,
        heap_flags: u64,
    }

    /// A dma-buf of a heap's memory.
    pub(crate) fn dma_heap(heap: BorrowedFd<'_>, size: u64) -> Result<OwnedFd, Errno> {
        const ALLOC: Opcode = opcode::read_write::<Allocation>(b'H', 0);
        let mut allocation = Allocation {
            len: size,
            fd_flags: (libc::O_RDWR | libc::O_CLOEXEC) as u32,
            ..Allocation::default()
        };
        // SAFETY: the argument is the one structure that the ioctl of this number reads and fills.
        unsafe { ioctl(heap, Updater::<ALLOC, Allocation>::new(&mut allocation)) }?;
        let fd = i32::try_from(allocation.fd).map_err(|_| Errno::BADF)?;
        // SAFETY: the ioctl, which no other driver has, made this file descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The argument of `UDMABUF_CREATE`, whose result is a file descriptor.
    #[repr(C)]
    struct Create {
        memfd: u32,
        flags: u32,
        offset: u64,
        size: u64,
    }

    // SAFETY: the opcode is UDMABUF_CREATE's, which reads the one structure behind the pointer, changes
    // nothing of this process but its table of files, and answers with a new file descriptor.
    unsafe impl Ioctl for Create {
        type Output = OwnedFd;

        const IS_MUTATING: bool = false;

        fn opcode(&self) -> Opcode {
            opcode::write::<Create>(b'u', 0x42)
        }

        fn as_ptr(&mut self) -> *mut c_void {
            ptr::from_mut(self).cast()
        }

        unsafe fn output_from_ptr(fd: IoctlOutput, _: *mut c_void) -> Result<OwnedFd, Errno> {
            if fd < 0 {
                return Err(Errno::BADF);
            }
            // SAFETY: the ioctl, which no other driver has, made this file descriptor for us.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
    }

    /// A dma-buf of the first `size` bytes of a memfd that is sealed against shrinking.
    pub(crate) fn udmabuf(
        driver: BorrowedFd<'_>,
        memfd: BorrowedFd<'_>,
        size: u64,
    ) -> Result<OwnedFd, Errno> {
        let create = Create {
            memfd: memfd.as_raw_fd() as u32,
            flags: 1, // UDMABUF_FLAGS_CLOEXEC
            offset: 0,
            size,
        };
        // SAFETY: `Create` says what the ioctl of its number does.
        unsafe { ioctl(driver, create) }
    }

    /// An io_uring that nothing is submitted to.
    pub(crate) fn ring() -> Result<OwnedFd, Errno> {
        // `struct io_uring_params`: all zero asks for nothing special.
        let mut params = [0_u32; 30];
        // SAFETY: the kernel reads and fills 120 bytes of parameters, which are as many.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
        match i32::try_from(fd) {
            // SAFETY: a result that is not negative is a new file descriptor of ours.
            Ok(fd @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => Err(last_errno()),
        }
    }

    /// Has a ring pin these bytes, which are mapped.
    pub(crate) fn register(ring: BorrowedFd<'_>, bytes: (*mut u8, usize)) -> Result<(), Errno> {
        const IORING_REGISTER_BUFFERS: libc::c_uint = 0;
        let iovec = libc::iovec {
            iov_base: bytes.0.cast(),
            iov_len: bytes.1,
        };
        // SAFETY: the kernel reads one `iovec`, and takes references to the pages that it finds at the
        // bytes. They are used by what is submitted to the ring only.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                ring.as_raw_fd(),
                IORING_REGISTER_BUFFERS,
                &raw const iovec,
                1,
            )
        };
        if result < 0 {
            Err(last_errno())
        } else {
            Ok(())
        }
    }

    /// Has a ring let go of what it pinned.
    pub(crate) fn unregister(ring: BorrowedFd<'_>) -> Result<(), Errno> {
        const IORING_UNREGISTER_BUFFERS: libc::c_uint = 1;
        // SAFETY: the call has no argument, and the ring uses no buffer: nothing was submitted.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                ring.as_raw_fd(),
                IORING_UNREGISTER_BUFFERS,
                ptr::null::<c_void>(),
                0,
            )
        };
        if result < 0 {
            Err(last_errno())
        } else {
            Ok(())
        }
    }
}
