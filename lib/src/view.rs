// SPDX-License-Identifier: MIT OR Apache-2.0

//! A part of a mapping.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::raw::{Broken, Pages, Word};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::Ordering;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A part of a [`Mapping`](crate::Mapping), borrowed from it: its bounds are checked once, when it is made.
///
/// Everything that can be done with a mapping can be done with a view; offsets count from the view's
/// first byte.
///
/// ```
/// let memory = chrmem::Mapping::anonymous(4096)?;
/// let header = memory.view(..64)?;
/// header.copy_from(0, b"name")?;
/// assert!(header.copy_from(62, b"name").is_err());
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pages: &'a Pages,
    /// Where in the pages the view starts, in bytes.
    start: usize,
    /// Bytes, all of which lie in the pages.
    len: usize,
}

impl<'a> View<'a> {
    /// The `len` bytes of `pages` from `start` on, which lie in the pages.
    pub(crate) fn new(pages: &'a Pages, start: usize, len: usize) -> Self {
        Self { pages, start, len }
    }

    /// How many bytes there are.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// assert_eq!(memory.view(10..)?.len(), 90);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// assert!(memory.view(100..)?.is_empty());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the bytes can be written.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// assert!(memory.view(10..)?.is_writable());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.pages.writable()
    }

    /// A part of this part.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if the range does not lie in the view, or ends before it starts.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// let record = memory.view(20..40)?;
    /// assert_eq!(record.view(5..=9)?.len(), 5);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn view(&self, range: impl RangeBounds<usize>) -> Result<View<'a>> {
        let start = match range.start_bound() {
            Bound::Included(start) => Some(*start),
            Bound::Excluded(before) => before.checked_add(1),
            Bound::Unbounded => Some(0),
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.checked_add(1),
            Bound::Excluded(end) => Some(*end),
            Bound::Unbounded => Some(self.len.max(start.unwrap_or(0))),
        };
        // What ends before it starts, or behind the largest number, is too long for any view.
        let start = start.unwrap_or(usize::MAX);
        let len = end
            .and_then(|end| end.checked_sub(start))
            .unwrap_or(usize::MAX);
        self.check(start, len)?;
        Ok(View::new(self.pages, self.start + start, len))
    }

    /// Copies the bytes from `offset` on into `target`, filling it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if that many bytes do not follow `offset`; nothing is copied then.
    /// [`Error::Gone`] if the file has become shorter.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let mut header = [0; 16];
    /// memory.view(16..)?.copy_to(0, &mut header)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn copy_to(&self, offset: usize, target: &mut [u8]) -> Result<()> {
        self.check(offset, target.len())?;
        self.pages
            .read(self.start + offset, target)
            .map_err(|broken| self.broken("read from", offset, broken))
    }

    /// Copies `source` over the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if that many bytes do not follow `offset`, [`Error::ReadOnly`] if the
    /// bytes cannot be written; nothing is copied then. [`Error::Gone`] if the file has become shorter.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.view(16..)?.copy_from(0, b"at byte sixteen")?;
    /// assert_eq!(memory.c_string(16)?, b"at byte sixteen");
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn copy_from(&self, offset: usize, source: &[u8]) -> Result<()> {
        self.check_writable()?;
        self.check(offset, source.len())?;
        self.pages
            .write(self.start + offset, source)
            .map_err(|broken| self.broken("write to", offset, broken))
    }

    /// The bytes from `offset` on up to the first NUL, without it, or up to the end of the view if
    /// there is none.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if `offset` lies behind the end, [`Error::Gone`] if the file has become
    /// shorter.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.copy_from(0, b"one\0two\0")?;
    /// assert_eq!(memory.view(4..)?.c_string(0)?, b"two");
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn c_string(&self, offset: usize) -> Result<Vec<u8>> {
        self.check(offset, 0)?;
        let mut string = Vec::new();
        let mut chunk = [0; 64];
        loop {
            let start = offset + string.len();
            let chunk = &mut chunk[..(self.len - start).min(64)];
            self.copy_to(start, chunk)?;
            let text = chunk
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(chunk.len());
            string.extend_from_slice(&chunk[..text]);
            if text < 64 {
                return Ok(string);
            }
        }
    }

    /// The value at `offset`, at any alignment. Others may write while it is copied: what is larger
    /// than eight aligned bytes can be a mixture.
    ///
    /// # Errors
    ///
    /// As [`copy_to`](Self::copy_to).
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.copy_from(1, &[0x34, 0x12])?;
    /// assert_eq!(memory.all().read::<zerocopy::little_endian::U16>(1)?, 0x1234);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn read<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        let mut value = T::new_zeroed();
        self.copy_to(offset, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Stores a value at `offset`, at any alignment.
    ///
    /// # Errors
    ///
    /// As [`copy_from`](Self::copy_from).
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.all().write(8, &[1.5_f32, 2.5])?;
    /// assert_eq!(memory.read::<f32>(12)?, 2.5);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn write<T: IntoBytes + Immutable + ?Sized>(&self, offset: usize, value: &T) -> Result<()> {
        self.copy_from(offset, value.as_bytes())
    }

    /// The bytes as an array of as many `T` as fit; what is left over is no part of it.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.view(..100)?.array::<u64>().len(), 12);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn array<T: FromBytes + IntoBytes + Immutable>(&self) -> Array<'a, T> {
        Array::new(*self)
    }

    /// Loads the integer at `offset` as a whole: one access, of that width.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if it does not lie in the view, [`Error::Misaligned`] if its address is
    /// not a multiple of its size, [`Error::CanShrink`] if the mapping's file can become shorter.
    ///
    /// # Panics
    ///
    /// If `order` is none for a load, as those of [`std::sync::atomic`].
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.all().load::<u32>(64, Ordering::Acquire)?, 0);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn load<W: Word>(&self, offset: usize, order: Ordering) -> Result<W> {
        Ok(W::load(self.word::<W>(offset)?, order))
    }

    /// Stores an integer at `offset` as a whole: one access, of that width.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and [`Error::ReadOnly`] if the bytes cannot be written.
    ///
    /// # Panics
    ///
    /// If `order` is none for a store, as those of [`std::sync::atomic`].
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.all().store(64, 7_u32, Ordering::Release)?;
    /// assert_eq!(memory.read::<u32>(64)?, 7);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn store<W: Word>(&self, offset: usize, value: W, order: Ordering) -> Result<()> {
        self.check_writable()?;
        value.store(self.word::<W>(offset)?, order);
        Ok(())
    }

    /// The integer at `offset` as an atomic of the standard library, for everything those can do.
    ///
    /// # Errors
    ///
    /// As [`store`](Self::store).
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let counter = memory.all().atomic::<u64>(8)?;
    /// counter.fetch_add(2, Ordering::Relaxed);
    /// assert_eq!(memory.load::<u64>(8, Ordering::Relaxed)?, 2);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn atomic<W: Word>(&self, offset: usize) -> Result<&'a W::Atomic> {
        self.check_writable()?;
        self.word::<W>(offset)
    }

    /// As many integers as fit, as atomics of the standard library: the quickest way to go through many.
    ///
    /// # Errors
    ///
    /// [`Error::Misaligned`] if the view does not start at a multiple of the integer's size; else as
    /// [`store`](Self::store).
    ///
    /// ```
    /// use std::sync::atomic::Ordering::Relaxed;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let words = memory.all().atomics::<u64>()?;
    /// words[3].store(4, Relaxed);
    /// assert_eq!(words.iter().map(|word| word.load(Relaxed)).sum::<u64>(), 4);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn atomics<W: Word>(&self) -> Result<&'a [W::Atomic]> {
        self.check_writable()?;
        self.check_word::<W>(0)?;
        Ok(self
            .pages
            .atomics::<W>(self.start, self.len / size_of::<W>()))
    }

    /// Writes the bytes to a file, all of them, where it stands. The kernel takes them from the
    /// mapping: they are not copied in this process.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the mapping's file has become shorter: how far it came is
    /// [`offset`](Error::Gone::offset). Else what `write(2)` answers: `PIPE` if nobody reads any
    /// more, `NOSPC` if the disk is full. A file that does not want to wait (`O_NONBLOCK`) is waited for.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.copy_from(0, b"Hello!\n")?;
    /// memory.view(..7)?.write_to(std::io::stdout())?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn write_to(&self, file: impl AsFd) -> Result<()> {
        let file = file.as_fd();
        let mut done = 0;
        while done < self.len {
            let written = self
                .pages
                .write_to(file, self.start + done, self.len - done);
            match written {
                // No file answers so to a write of bytes; to go on would be to go on forever.
                Ok(0) => return Err(self.not_written(file, done, Errno::IO)),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    wait_for(file).map_err(|errno| self.not_written(file, done, errno))?
                }
                Err(errno @ Errno::FAULT) => {
                    return Err(Error::Gone {
                        offset: done,
                        size: self.len,
                        errno,
                    })
                }
                Err(errno) => return Err(self.not_written(file, done, errno)),
            }
        }
        Ok(())
    }

    /// Where in this process the first byte is.
    ///
    /// For what this library does not offer: to hand the address to a system call, or to code that
    /// can promise more about who writes when. It is valid for [`len`](Self::len) bytes until the
    /// mapping is dropped. To make a reference from it is wrong as long as anyone may write.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.view(8..)?.as_ptr(), memory.as_ptr().wrapping_add(8));
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.pages.as_ptr().wrapping_add(self.start)
    }

    /// The integer at `offset`; loads only unless the pages can be written.
    fn word<W: Word>(&self, offset: usize) -> Result<&'a W::Atomic> {
        self.check(offset, size_of::<W>())?;
        self.check_word::<W>(offset)?;
        Ok(self.pages.atomic::<W>(self.start + offset))
    }

    /// Whether there can be atomics of `W` at `offset`.
    fn check_word<W: Word>(&self, offset: usize) -> Result<()> {
        if self.pages.guarded() {
            return Err(Error::CanShrink);
        }
        let align = align_of::<W::Atomic>();
        // The pages start at a multiple of any such number.
        if (self.start + offset) % align != 0 {
            return Err(Error::Misaligned { offset, align });
        }
        Ok(())
    }

    /// Whether `length` bytes follow `offset`.
    fn check(&self, offset: usize, length: usize) -> Result<()> {
        match self.len.checked_sub(offset) {
            Some(rest) if length <= rest => Ok(()),
            _ => Err(Error::OutOfBounds {
                offset,
                length,
                size: self.len,
            }),
        }
    }

    /// Whether the bytes can be written.
    fn check_writable(&self) -> Result<()> {
        if self.is_writable() {
            Ok(())
        } else {
            Err(Error::ReadOnly)
        }
    }

    /// The error of a copy that began at `offset` and was broken off.
    fn broken(&self, tried: &str, offset: usize, broken: Broken) -> Error {
        let (offset, size) = (offset + broken.done, self.len);
        match broken.errno {
            errno @ Errno::FAULT => Error::Gone {
                offset,
                size,
                errno,
            },
            errno => Error::Refused {
                tried: format!("{tried} a mapping of {size} bytes at offset {offset}"),
                errno,
            },
        }
    }

    /// The error of a write to a file that stopped after `done` bytes.
    fn not_written(&self, file: BorrowedFd<'_>, done: usize, errno: Errno) -> Error {
        let tried = format_args!("write bytes {done}..{} of a mapping to", self.len).to_string();
        crate::file::File(file).refused(tried, errno)
    }
}

/// Waits until a file takes bytes again.
fn wait_for(file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(file, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
