// SPDX-License-Identifier: MIT OR Apache-2.0

//! A part of a mapping.

use crate::array::Array;
use crate::atomic::Atomic;
use crate::error::{Error, Result};
use crate::raw::{Backing, Failure, Place, Span, Wholes, Word};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::ops::{Bound, Range, RangeBounds};
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
    span: Span<'a>,
}

impl<'a> View<'a> {
    #[inline]
    pub(crate) fn new(span: Span<'a>) -> Self {
        Self { span }
    }

    /// How many bytes there are.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// assert_eq!(memory.view(10..)?.len(), 90);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.span.len()
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
        self.len() == 0
    }

    /// Whether the bytes can be written.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// assert!(memory.view(10..)?.is_writable());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.span.writable()
    }

    /// Whether the bytes can go away: see [`Mapping::can_shrink`](crate::Mapping::can_shrink).
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// assert!(!memory.all().can_shrink());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn can_shrink(&self) -> bool {
        self.span.backing() == Backing::Fleeting
    }

    /// Fails if the memory was taken away: see [`Mapping::check`](crate::Mapping::check).
    ///
    /// # Errors
    ///
    /// [`Error::Revoked`].
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// memory.all().check()?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn check(&self) -> Result<()> {
        match self.span.guard() {
            Some(guard) if guard.is_revoked() => Err(self.revoked()),
            _ => Ok(()),
        }
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
            Bound::Unbounded => Some(self.len().max(start.unwrap_or(0))),
        };
        // What ends before it starts, or behind the largest number, is too long for any view.
        let start = start.unwrap_or(usize::MAX);
        let len = end
            .and_then(|end| end.checked_sub(start))
            .unwrap_or(usize::MAX);
        match self.span.span(start, len) {
            Some(span) => Ok(View::new(span)),
            None => Err(self.outside(start, len)),
        }
    }

    /// Copies the bytes from `offset` on into `target`, filling it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if that many bytes do not follow `offset`; nothing is copied then.
    /// [`Error::Gone`] if the file has become shorter, [`Error::Revoked`] if the hardware is gone.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let mut header = [0; 16];
    /// memory.view(16..)?.copy_to(0, &mut header)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn copy_to(&self, offset: usize, target: &mut [u8]) -> Result<()> {
        self.span
            .copy_to(offset, target)
            .map_err(|failure| self.failed("read from", offset, target.len(), failure))
    }

    /// Copies `source` over the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if that many bytes do not follow `offset`, [`Error::ReadOnly`] if the
    /// bytes cannot be written; nothing is copied then. [`Error::Gone`] if the file has become shorter,
    /// [`Error::Revoked`] if the hardware is gone.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.view(16..)?.copy_from(0, b"at byte sixteen")?;
    /// assert_eq!(memory.c_string(16)?, b"at byte sixteen");
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn copy_from(&self, offset: usize, source: &[u8]) -> Result<()> {
        self.check_writable()?;
        self.span
            .copy_from(offset, source)
            .map_err(|failure| self.failed("write to", offset, source.len(), failure))
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
        if offset > self.len() {
            return Err(self.outside(offset, 0));
        }
        let mut string = Vec::new();
        let mut chunk = [0; 64];
        loop {
            let start = offset + string.len();
            let chunk = &mut chunk[..(self.len() - start).min(64)];
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

    /// The value at `offset`, at any alignment. Others may write while it is copied: a larger value can be a
    /// mixture of old and new integers, each of them whole.
    ///
    /// A value of 1, 2, 4 or 8 bytes whose address is a multiple of its size is loaded by one access of that width,
    /// as a device's register wants it. Any other is copied by the largest aligned accesses that there are in
    /// it, of eight bytes at most. Only where the kernel has to copy
    /// ([`can_shrink`](crate::Mapping::can_shrink)), nothing is promised.
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
    #[inline]
    pub fn read<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        match self.span.read_whole(offset) {
            Some(value) => Ok(value),
            None => self.read_in_pieces(offset),
        }
    }

    /// The value at `offset`, if it lies there, when it cannot be loaded by one access, or more is to be done.
    #[inline(never)]
    fn read_in_pieces<T: FromBytes + IntoBytes>(self, offset: usize) -> Result<T> {
        if let Some(value) = self.span.read_revocable(offset) {
            return value
                .map_err(|failure| self.failed("read from", offset, size_of::<T>(), failure));
        }
        let mut value = T::new_zeroed();
        self.span
            .load(offset, value.as_mut_bytes())
            .map_err(|failure| self.failed("read from", offset, size_of::<T>(), failure))?;
        Ok(value)
    }

    /// Stores a value at `offset`, at any alignment, by the same accesses as [`read`](Self::read).
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
    #[inline]
    pub fn write<T: IntoBytes + Immutable + ?Sized>(&self, offset: usize, value: &T) -> Result<()> {
        self.check_writable()?;
        self.span
            .write(offset, value)
            .map_err(|failure| self.failed("write to", offset, size_of_val(value), failure))
    }

    /// The bytes as an array of as many `T` as fit; what is left over is no part of it.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.view(..100)?.array::<u64>().len(), 12);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn array<T: FromBytes + IntoBytes + Immutable>(&self) -> Array<'a, T> {
        Array::new(*self)
    }

    /// Loads the integer at `offset` as a whole: one access, of that width.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if it does not lie in the view, [`Error::Misaligned`] if its address is
    /// not a multiple of its size, [`Error::CanShrink`] if the mapping's file can become shorter,
    /// [`Error::Revoked`] if its hardware is gone.
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
    #[inline]
    pub fn load<W: Word>(&self, offset: usize, order: Ordering) -> Result<W> {
        if !self.span.is_plain() {
            return self.load_other(offset, order);
        }
        Ok(self.plain_word::<W>(offset)?.load(order))
    }

    /// The same, where more is to be done.
    #[inline(never)]
    fn load_other<W: Word>(self, offset: usize, order: Ordering) -> Result<W> {
        let value = self.word::<W>(offset)?.load(order);
        self.check()?;
        Ok(value)
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
    #[inline]
    pub fn store<W: Word>(&self, offset: usize, value: W, order: Ordering) -> Result<()> {
        self.check_writable()?;
        if !self.span.is_plain() {
            return self.store_other(offset, value, order);
        }
        self.plain_word::<W>(offset)?.store(value, order);
        Ok(())
    }

    /// The same, where more is to be done.
    #[inline(never)]
    fn store_other<W: Word>(self, offset: usize, value: W, order: Ordering) -> Result<()> {
        self.word::<W>(offset)?.store(value, order);
        self.check()
    }

    /// The integer at `offset`, for atomic accesses: those that read and write at once, and many to one place.
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
    ///
    /// It is not an atomic of the standard library, which must not be accessed with different sizes:
    ///
    /// ```compile_fail,E0308
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let counter: &std::sync::atomic::AtomicU64 = memory.all().atomic::<u64>(8)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn atomic<W: Word>(&self, offset: usize) -> Result<Atomic<'a, W>> {
        self.check_writable()?;
        self.word::<W>(offset).map(Atomic::new)
    }

    /// Writes the bytes to a file, all of them, where it stands. The kernel takes them from the
    /// mapping: they are not copied in this process, unless they are a device's, which must be read word by word, and
    /// may be taken away.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the mapping's file has become shorter: how far it came is
    /// [`offset`](Error::Gone::offset). [`Error::Revoked`] if the hardware is gone. Else what `write(2)` answers: `PIPE`
    /// if nobody reads any more, `NOSPC` if the disk is full. For non-blocking descriptors this polls until the file is writable.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.copy_from(0, b"Hello!\n")?;
    /// memory.view(..7)?.write_to(std::io::stdout())?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn write_to(&self, file: impl AsFd) -> Result<()> {
        let file = file.as_fd();
        if !self.span.is_copied_first() {
            return self.write_all(file, 0..self.len(), |at| self.span.write_to(file, at));
        }
        let mut buffer = vec![0; self.len().min(BUFFER)];
        for start in (0..self.len()).step_by(BUFFER) {
            let end = self.len().min(start + BUFFER);
            let part = &mut buffer[..end - start];
            self.copy_to(start, part)?;
            self.write_all(file, start..end, |at| {
                rustix::io::write(file, &part[at - start..])
            })?;
        }
        Ok(())
    }

    /// Writes a range of the bytes to a file by `write`, which is told from where on, and tells how many bytes it wrote.
    fn write_all(
        &self,
        file: BorrowedFd<'_>,
        range: Range<usize>,
        write: impl Fn(usize) -> rustix::io::Result<usize>,
    ) -> Result<()> {
        let mut done = range.start;
        while done < range.end {
            match write(done) {
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
                        size: self.len(),
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
        self.span.as_ptr()
    }

    /// The integer at `offset`; loads only unless the view can be written.
    #[inline]
    fn word<W: Word>(&self, offset: usize) -> Result<Place<'a, W>> {
        if !self.span.is_plain() {
            self.check_words()?;
        }
        self.plain_word(offset)
    }

    /// The same, where nothing keeps the processor from it.
    #[inline]
    fn plain_word<W: Word>(&self, offset: usize) -> Result<Place<'a, W>> {
        match self.span.word(offset) {
            Some(place) => Ok(place),
            None => Err(self.no_word(offset, size_of::<W>())),
        }
    }

    /// Whether the processor can access integers, where that is not plain.
    #[cold]
    fn check_words(self) -> Result<()> {
        match self.can_shrink() {
            true => Err(Error::CanShrink),
            false => self.check(),
        }
    }

    /// Why there is no integer of so many bytes at `offset`.
    #[cold]
    fn no_word(self, offset: usize, align: usize) -> Error {
        match self.span.span(offset, align) {
            Some(_) => Error::Misaligned { offset, align },
            None => self.outside(offset, align),
        }
    }

    /// The error of an access that leaves the view.
    #[cold]
    fn outside(self, offset: usize, length: usize) -> Error {
        Error::OutOfBounds {
            offset,
            length,
            size: self.len(),
        }
    }

    /// The error of an access to memory that was taken away.
    #[cold]
    fn revoked(self) -> Error {
        let file = self.span.guard().map_or("", |guard| guard.file());
        Error::Revoked { file: file.into() }
    }

    /// Whether the bytes can be written.
    #[inline]
    fn check_writable(&self) -> Result<()> {
        if self.is_writable() {
            Ok(())
        } else {
            Err(Error::ReadOnly)
        }
    }

    /// Element `index` of an array of `T`, if it lies there and can be loaded by one access.
    #[inline]
    pub(crate) fn get_whole<T: FromBytes>(&self, index: usize) -> Option<T> {
        self.span.get_whole(index)
    }

    /// Stores a 1 into the first of every `step` bytes.
    #[cfg(feature = "measure")]
    #[inline]
    pub(crate) fn touch(&self, step: usize) {
        self.span.touch(step);
    }

    /// The elements of an array of `T` from `first` on, if there is one and each can be loaded by one access.
    #[inline]
    pub(crate) fn wholes<T: FromBytes>(&self, first: usize) -> Option<Wholes<'a, T>> {
        self.span.wholes(first)
    }

    /// Stores an element of an array of `T`; `None` if there is none at `index`.
    #[inline]
    pub(crate) fn set<T: IntoBytes + Immutable>(
        &self,
        index: usize,
        element: &T,
    ) -> Option<Result<()>> {
        if let Err(error) = self.check_writable() {
            return Some(Err(error));
        }
        match self.span.set(index, element) {
            Ok(()) => Some(Ok(())),
            Err(Failure::Outside) => None,
            // The element is there: its place does not overflow.
            Err(failure) => {
                let (offset, size) = (index * size_of::<T>(), size_of::<T>());
                Some(Err(self.failed("write to", offset, size, failure)))
            }
        }
    }

    /// The error of a copy of `length` bytes that began at `offset`.
    #[cold]
    fn failed(self, tried: &str, offset: usize, length: usize, failure: Failure) -> Error {
        let size = self.len();
        match failure {
            Failure::Outside => self.outside(offset, length),
            Failure::Revoked => self.revoked(),
            Failure::Broken { done, errno } if errno == Errno::FAULT => Error::Gone {
                offset: offset + done,
                size,
                errno,
            },
            Failure::Broken { done, errno } => Error::Refused {
                tried: format!(
                    "{tried} a mapping of {size} bytes at offset {}",
                    offset + done
                ),
                errno,
            },
        }
    }

    /// The error of a write to a file that stopped after `done` bytes.
    fn not_written(&self, file: BorrowedFd<'_>, done: usize, errno: Errno) -> Error {
        let tried = format_args!("write bytes {done}..{} of a mapping to", self.len()).to_string();
        crate::file::File(file).refused(tried, errno)
    }
}

/// Bytes of a device's memory that are written to a file at a time.
const BUFFER: usize = 64 << 10;

/// Waits until a file takes bytes again.
fn wait_for(file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(file, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
