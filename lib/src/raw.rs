// SPDX-License-Identifier: MIT OR Apache-2.0

//! All unsafe code of this library: the calls that take pointers, and the accesses to memory that
//! others write at the same time.
#![allow(
    unsafe_code,
    reason = "the one file that has it; everything it gives out is safe"
)]

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
use std::ptr::{self, NonNull};
use std::sync::atomic::{
    AtomicI16, AtomicI32, AtomicI64, AtomicI8, AtomicIsize, AtomicU16, AtomicU32, AtomicU64,
    AtomicU8, AtomicUsize, Ordering,
};
use zerocopy::FromBytes;

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
    /// The range lies in the file for as long as it is mapped. Where the file ends before it, an access raises
    /// `SIGBUS`, which ends the process.
    pub unsafe fn map_plain(&self, file: impl AsFd) -> Result<Mapping, Error> {
        self.map_without_asking(&File(file.as_fd()))
    }
}

/// How many bytes a block device has.
pub(crate) fn block_device_size(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
    // SAFETY: BLKGETSIZE64 fills one `u64`, despite the `size_t` in its number, and every value of it
    // is valid.
    unsafe { ioctl(fd, Getter::<BLKGETSIZE64, u64>::new()) }
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
    /// They can go away while they are mapped, because their file becomes shorter: the kernel does
    /// every access, and tells, where a plain one would end the process.
    pub(crate) guarded: bool,
}

/// An access that was broken off: the first so many bytes were copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken {
    pub(crate) done: usize,
    pub(crate) errno: Errno,
}

/// Whole pages, mapped into this process until dropped.
///
/// # Invariants
///
/// `base` is the start of `size` bytes that `mmap` gave and that nothing but `drop` unmaps: no more than
/// `isize::MAX`. They can be read, and written if `writable`, by whatever means unless `guarded`, else by
/// the kernel only. No reference to them exists, ever, but to atomics.
#[derive(Debug)]
pub(crate) struct Pages {
    base: NonNull<u8>,
    size: usize,
    writable: bool,
    guarded: bool,
}

// SAFETY: the pages belong to the process, not to a thread: any thread may use or unmap them.
unsafe impl Send for Pages {}

// SAFETY: threads that share a `Pages` can only copy plain integers in and out, by volatile accesses,
// by atomic ones, or by the kernel. Others, outside of this process, write the same bytes anyway:
// mixed bytes are a possible outcome of every copy, and each mixture of bytes is a valid value.
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
            writable: terms.writable,
            guarded: terms.guarded,
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
            writable: true,
            guarded: false,
        })
    }

    /// Where the pages start.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Whether the pages can be written.
    pub(crate) fn writable(&self) -> bool {
        self.writable
    }

    /// Whether only the kernel may touch the pages, because they can go away.
    pub(crate) fn guarded(&self) -> bool {
        self.guarded
    }

    /// Copies the bytes from `offset` on into `target`.
    ///
    /// # Errors
    ///
    /// `FAULT` where guarded pages have gone away; what the kernel says if it will not copy.
    ///
    /// # Panics
    ///
    /// If they do not all lie in the pages.
    pub(crate) fn read(&self, offset: usize, target: &mut [u8]) -> Result<(), Broken> {
        let source = self.first_of(offset, target.len()).cast_const();
        if self.guarded {
            let here = libc::iovec {
                iov_base: target.as_mut_ptr().cast(),
                iov_len: target.len(),
            };
            let there = libc::iovec {
                iov_base: source.cast_mut().cast(),
                iov_len: target.len(),
            };
            // SAFETY: the kernel writes to nothing but `here`, which is `target`, and only reads from
            // `there`, of which it needs no promise.
            return unsafe { by_the_kernel(libc::process_vm_readv, here, there) };
        }
        let mut source = source;
        let (head, rest) = target.split_at_mut(bytes_to_word(source).min(target.len()));
        let Ok((words, tail)) = <[[u8; size_of::<u64>()]]>::mut_from_prefix(rest) else {
            unreachable!("bytes are aligned everywhere")
        };
        // SAFETY: `first_of` found `target.len()` bytes from `source` on, and the steps below add up
        // to that many; by the type's invariant they can be read. After `head`, `source` is aligned
        // for a `u64`.
        unsafe {
            for byte in head {
                *byte = source.read_volatile();
                source = source.add(1);
            }
            for word in words {
                *word = source.cast::<u64>().read_volatile().to_ne_bytes();
                source = source.add(word.len());
            }
            for byte in tail {
                *byte = source.read_volatile();
                source = source.add(1);
            }
        }
        Ok(())
    }

    /// Copies `source` over the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    ///
    /// # Panics
    ///
    /// If they do not all lie in the pages, or the pages cannot be written.
    pub(crate) fn write(&self, offset: usize, source: &[u8]) -> Result<(), Broken> {
        assert!(self.writable);
        let mut target = self.first_of(offset, source.len());
        if self.guarded {
            let here = libc::iovec {
                iov_base: source.as_ptr().cast_mut().cast(),
                iov_len: source.len(),
            };
            let there = libc::iovec {
                iov_base: target.cast(),
                iov_len: source.len(),
            };
            // SAFETY: the kernel only reads from `here`, which is `source`, and writes to `there`,
            // which is in the pages, to which no reference exists and which can be written.
            return unsafe { by_the_kernel(libc::process_vm_writev, here, there) };
        }
        let (head, rest) = source.split_at(bytes_to_word(target).min(source.len()));
        let Ok((words, tail)) = <[[u8; size_of::<u64>()]]>::ref_from_prefix(rest) else {
            unreachable!("bytes are aligned everywhere")
        };
        // SAFETY: `first_of` found `source.len()` bytes from `target` on, and the steps below add up
        // to that many; by the type's invariant and the assertion above they can be written. After
        // `head`, `target` is aligned for a `u64`.
        unsafe {
            for byte in head {
                target.write_volatile(*byte);
                target = target.add(1);
            }
            for word in words {
                target
                    .cast::<u64>()
                    .write_volatile(u64::from_ne_bytes(*word));
                target = target.add(word.len());
            }
            for byte in tail {
                target.write_volatile(*byte);
                target = target.add(1);
            }
        }
        Ok(())
    }

    /// Has the kernel write the bytes from `offset` on to a file, with one `write(2)`: how many it
    /// took. Where guarded pages have gone away, that is `FAULT`.
    ///
    /// # Panics
    ///
    /// If they do not all lie in the pages.
    pub(crate) fn write_to(
        &self,
        fd: BorrowedFd<'_>,
        offset: usize,
        length: usize,
    ) -> Result<usize, Errno> {
        let source = self.first_of(offset, length).cast_const();
        // SAFETY: the kernel only reads from the bytes, of which it needs no promise.
        let count = unsafe { libc::write(fd.as_raw_fd(), source.cast(), length) };
        usize::try_from(count).map_err(|_| last_errno())
    }

    /// The `count` words from `offset` on, to be accessed atomically.
    ///
    /// # Panics
    ///
    /// If they do not lie in the pages, are not aligned, or may be touched by the kernel only.
    pub(crate) fn atomics<W: Word>(&self, offset: usize, count: usize) -> &[W::Atomic] {
        assert!(!self.guarded);
        let bytes = count.checked_mul(size_of::<W>());
        let first = self.first_of(offset, bytes.expect("an array in memory"));
        let first = first.cast::<W::Atomic>();
        assert!(first.is_aligned());
        // SAFETY: as in `atomic`, for each of the `count` words, which are no more than a slice can have:
        // the pages are not.
        unsafe { std::slice::from_raw_parts(first, count) }
    }

    /// The `W` at `offset`, to be accessed atomically. Only loads may be done unless the pages can be
    /// written.
    ///
    /// # Panics
    ///
    /// If it does not lie in the pages, is not aligned, or may be touched by the kernel only.
    pub(crate) fn atomic<W: Word>(&self, offset: usize) -> &W::Atomic {
        assert!(!self.guarded);
        let word = self.first_of(offset, size_of::<W>()).cast::<W::Atomic>();
        assert!(word.is_aligned());
        // SAFETY: `first_of` found the bytes of a `W` there, which is as large as its atomic; they are
        // aligned and stay mapped for as long as `self` is borrowed. Any bytes are a value of an
        // atomic integer, and others may write to one.
        unsafe { &*word }
    }

    /// Where byte `offset` is, after a check that `length` bytes from there on lie in the pages.
    fn first_of(&self, offset: usize, length: usize) -> *mut u8 {
        assert!(offset <= self.size && length <= self.size - offset);
        // SAFETY: the byte lies in the pages or directly behind them, as was just checked.
        unsafe { self.base.as_ptr().add(offset) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `base` and `size` are what `mmap` gave, nothing else has unmapped it, and no
        // reference or pointer into it is used by this library after this.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.size) };
        // It refuses part of a huge page, which only a plain mapping can be of.
        debug_assert!(matches!(unmapped, Ok(()) | Err(Errno::INVAL)));
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
) -> Result<(), Broken> {
    // Asked for each time: after a fork it is another.
    let this = rustix::process::getpid().as_raw_pid();
    let mut done = 0;
    while here.iov_len > 0 {
        // SAFETY: both point to one `iovec`; what they describe is the caller's promise, and grows
        // only shorter below.
        let count = unsafe { transfer(this, &here, 1, &there, 1, 0) };
        let broken = |errno| Err(Broken { done, errno });
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

/// How many bytes lie between `address` and the next multiple of eight.
fn bytes_to_word(address: *const u8) -> usize {
    address.align_offset(align_of::<u64>())
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
///
/// # Safety
///
/// [`Atomic`](Self::Atomic) has the size of `Self`, any bytes are a value of it, and shared references to
/// it can be had while others write to it.
pub unsafe trait Word: Copy {
    /// The atomic integer of the same size.
    type Atomic;

    /// Loads the value.
    ///
    /// ```
    /// use chrmem::Word;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// assert_eq!(u32::load(&AtomicU32::new(7), Ordering::Acquire), 7);
    /// ```
    fn load(atomic: &Self::Atomic, order: Ordering) -> Self;

    /// Stores a value.
    ///
    /// ```
    /// use chrmem::Word;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let atomic = AtomicU32::new(7);
    /// 8_u32.store(&atomic, Ordering::Release);
    /// assert_eq!(atomic.into_inner(), 8);
    /// ```
    fn store(self, atomic: &Self::Atomic, order: Ordering);
}

macro_rules! words {
    ($($word:ty => $atomic:ty;)*) => {$(
        const _: () = assert!(size_of::<$word>() == size_of::<$atomic>());

        // SAFETY: an atomic integer has the size of its integer, and any bytes are a value of it.
        unsafe impl Word for $word {
            type Atomic = $atomic;

            fn load(atomic: &$atomic, order: Ordering) -> Self {
                atomic.load(order)
            }

            fn store(self, atomic: &$atomic, order: Ordering) {
                atomic.store(self, order);
            }
        }
    )*};
}

words! {
    u8 => AtomicU8;
    u16 => AtomicU16;
    u32 => AtomicU32;
    u64 => AtomicU64;
    usize => AtomicUsize;
    i8 => AtomicI8;
    i16 => AtomicI16;
    i32 => AtomicI32;
    i64 => AtomicI64;
    isize => AtomicIsize;
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
    /// become shorter. Where it does, to touch them ends the process with `SIGBUS`.
    #[must_use]
    pub unsafe fn as_slice(&self) -> &'a [u8] {
        // SAFETY: a view lies in its pages, which stay mapped for `'a` and are no more than a slice
        // can have; that nobody writes is the caller's promise.
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
