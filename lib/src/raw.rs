// SPDX-License-Identifier: MIT OR Apache-2.0

//! All unsafe code of this library: the calls that take pointers, and the accesses to memory that
//! others write at the same time.
#![allow(
    unsafe_code,
    reason = "the one file that has it; everything it gives out is safe"
)]

use chrmem_uapi::abi;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::ioctl::{ioctl, Getter, NoArg, Setter, Updater};
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};
use std::ptr::{self, NonNull};

/// The device's description.
pub(crate) fn info(fd: BorrowedFd<'_>) -> Result<abi::Info, Errno> {
    // SAFETY: INFO's argument is one `abi::Info` that the driver fills; it is made of integers only,
    // so whatever another kind of file may write into it is a value.
    unsafe { ioctl(fd, Getter::<{ abi::INFO }, abi::Info>::new()) }
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
            Updater::<{ abi::WINDOW }, abi::Window>::new(&mut window),
        )
    }?;
    Ok(window)
}

/// Zeroes every window.
pub(crate) fn clear(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: MEM_CLEAR takes no argument and touches no memory of this process but mappings of the
    // device, which this library reads by volatile loads only.
    unsafe { ioctl(fd, NoArg::<{ abi::MEM_CLEAR }>::new()) }
}

/// Zeroes a range of the device's offsets.
pub(crate) fn clear_range(fd: BorrowedFd<'_>, range: abi::Range) -> Result<(), Errno> {
    // SAFETY: CLEAR's argument is one `abi::Range`, which the driver only reads.
    unsafe { ioctl(fd, Setter::<{ abi::CLEAR }, abi::Range>::new(range)) }
}

/// Zeroes every window and puts the greeting at the start of the first.
pub(crate) fn reset(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: RESET takes no argument and touches no memory of this process but mappings of the
    // device, which this library reads by volatile loads only.
    unsafe { ioctl(fd, NoArg::<{ abi::RESET }>::new()) }
}

/// Adds one to the generation.
pub(crate) fn notify(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: NOTIFY takes no argument and touches no memory of this process.
    unsafe { ioctl(fd, NoArg::<{ abi::NOTIFY }>::new()) }
}

/// The generation, from now on seen by this open file.
pub(crate) fn seen(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: SEEN's argument is one `u64` that the driver fills; every value of it is valid.
    unsafe { ioctl(fd, Getter::<{ abi::SEEN }, u64>::new()) }
}

/// Whole pages of a file, mapped shared into this process until dropped.
///
/// # Invariants
///
/// `base` is the start of `size` bytes that `mmap` gave and that nothing but `drop` unmaps. They can
/// be read, and written if `writable`. No reference to them exists, ever.
#[derive(Debug)]
pub(crate) struct Pages {
    base: NonNull<u8>,
    size: usize,
    writable: bool,
}

// SAFETY: the pages belong to the process, not to a thread: any thread may use or unmap them.
unsafe impl Send for Pages {}

// SAFETY: threads that share a `Pages` can only copy plain integers in and out by volatile accesses.
// Others, outside of this process, write the same bytes anyway: mixed bytes are a possible outcome
// of every copy, and each mixture of bytes is a valid value.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps `size` bytes of the file, from its offset `offset` on, which is a multiple of the page
    /// size.
    pub(crate) fn map(
        fd: BorrowedFd<'_>,
        offset: u64,
        size: usize,
        writable: bool,
    ) -> Result<Self, Errno> {
        let protection = if writable {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        // SAFETY: without MAP_FIXED the kernel picks an address where nothing is mapped, so no memory
        // that Rust knows of changes.
        let base = unsafe {
            mmap(
                ptr::null_mut(),
                size,
                protection,
                MapFlags::SHARED,
                fd,
                offset,
            )
        }?;
        // Address 0 is never picked; if it were, this would be the honest answer.
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        // INVARIANT: `mmap` just gave these bytes, with this protection, to nobody else.
        Ok(Self {
            base,
            size,
            writable,
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

    /// Copies the bytes from `offset` on into `target`.
    ///
    /// # Panics
    ///
    /// If they do not all lie in the pages.
    pub(crate) fn read(&self, offset: usize, target: &mut [u8]) {
        let mut source = self.first_of(offset, target.len()).cast_const();
        let (head, rest) = target.split_at_mut(bytes_to_word(source).min(target.len()));
        let (words, tail) = rest.as_chunks_mut();
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
    }

    /// Copies `source` over the bytes from `offset` on.
    ///
    /// # Panics
    ///
    /// If they do not all lie in the pages, or the pages cannot be written.
    pub(crate) fn write(&self, offset: usize, source: &[u8]) {
        assert!(self.writable);
        let mut target = self.first_of(offset, source.len());
        let (head, rest) = source.split_at(bytes_to_word(target).min(source.len()));
        let (words, tail) = rest.as_chunks();
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
        debug_assert_eq!(unmapped, Ok(()));
    }
}

/// How many bytes lie between `address` and the next multiple of eight.
fn bytes_to_word(address: *const u8) -> usize {
    address.align_offset(align_of::<u64>())
}
