// SPDX-License-Identifier: MIT OR Apache-2.0

//! A file's memory in this process.

use crate::array::Array;
use crate::atomic::Atomic;
use crate::error::{Error, Result};
use crate::raw::{Pages, Word};
use crate::view::View;
use rustix::fd::AsFd;
use std::ops::RangeBounds;
use std::sync::atomic::Ordering;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A range of a device's or another file's bytes, mapped into this process until it is dropped.
/// [`Device::map`](crate::Device::map) and [`MapOptions`](crate::MapOptions) make it.
///
/// What is stored here is in the device at once, and what others do to the device is seen here at
/// once: there is no copy of the bytes, unless the mapping was asked to be
/// [`private`](crate::MapOptions::private). Closing the [`Device`](crate::Device) does not end a mapping.
///
/// Others may write at any time, so the bytes of one copy can be a mixture of old and new ones, and
/// two copies of the same bytes can differ. Aligned integers of up to eight bytes are whole: in values that are
/// [`read`](Self::read) and [`written`](Self::write), and in all copies of a device's memory. Copies of RAM
/// ([`copy_to`](Self::copy_to), [`copy_from`](Self::copy_from)) are made in the quickest way, and promise nothing.
///
/// A mapping may be used by several threads at the same time. A child made by `fork` has it too.
///
/// ```
/// use chrmem::Mapping;
///
/// let memory = Mapping::anonymous(4096)?;
/// memory.copy_from(10, b"some bytes")?;
/// memory.write(20, &7_u32)?;
/// assert_eq!(memory.read::<u32>(20)?, 7);
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Debug)]
pub struct Mapping {
    pages: Pages,
    /// Where in the file the range starts, in bytes.
    offset: u64,
}

impl Mapping {
    /// The range of `pages`, which starts at `offset` in the file.
    pub(crate) fn new(pages: Pages, offset: u64) -> Self {
        Self { pages, offset }
    }

    /// `len` zeroes that belong to this process alone: memory for tests and examples, where there is
    /// no device.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyRange`] if `len` is zero, `NOMEM` if there is not that much memory.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// memory.copy_from(50, b"text")?;
    /// assert_eq!(memory.c_string(50)?, b"text");
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn anonymous(len: usize) -> Result<Self> {
        if len == 0 {
            return Err(Error::EmptyRange { start: 0, end: 0 });
        }
        match Pages::anonymous(len) {
            Ok(pages) => Ok(Self::new(pages, 0)),
            Err(errno) => Err(Error::Refused {
                tried: format!("map {len} bytes of memory"),
                errno,
            }),
        }
    }

    /// How many bytes are mapped: exactly the range that was asked for, never zero.
    ///
    /// ```
    /// assert_eq!(chrmem::Mapping::anonymous(100)?.len(), 100);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether nothing is mapped, which is never the case.
    ///
    /// ```
    /// assert!(!chrmem::Mapping::anonymous(100)?.is_empty());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where in the device or file the mapping starts, in bytes.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// assert_eq!(device.map(100..200)?.offset(), 100);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether [`copy_from`](Self::copy_from) is possible: not if the device was opened read-only, or
    /// the mapping was asked to be.
    ///
    /// ```
    /// assert!(chrmem::Mapping::anonymous(100)?.is_writable());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.all().is_writable()
    }

    /// Whether the mapping's bytes can go away, because its file can become shorter or its disk can fail. Then
    /// every access is a system call, and atomic ones are not possible:
    /// [`MapOptions::map_file`](crate::MapOptions::map_file) says more, also of devices that are unplugged.
    ///
    /// ```
    /// assert!(!chrmem::Mapping::anonymous(100)?.can_shrink());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    pub fn can_shrink(&self) -> bool {
        self.all().can_shrink()
    }

    /// All of it, as a view.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// assert_eq!(memory.all().len(), 100);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn all(&self) -> View<'_> {
        View::new(self.pages.span())
    }

    /// A part of it. The bounds are checked here, and not again.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if the range does not lie in the mapping, or ends before it starts.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(100)?;
    /// assert_eq!(memory.view(10..20)?.len(), 10);
    /// assert!(memory.view(10..101).is_err());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn view(&self, range: impl RangeBounds<usize>) -> Result<View<'_>> {
        self.all().view(range)
    }

    /// Copies the bytes of the mapping from `offset` on into `target`, filling it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if that many bytes do not follow `offset`; nothing is copied then.
    /// [`Error::Gone`] if the file has become shorter.
    ///
    /// ```no_run
    /// let memory = chrmem::Device::open("/dev/chrmem0")?.map(..)?;
    /// let mut header = [0; 16];
    /// memory.copy_to(0, &mut header)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn copy_to(&self, offset: usize, target: &mut [u8]) -> Result<()> {
        self.all().copy_to(offset, target)
    }

    /// Copies `source` over the bytes of the mapping from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if that many bytes do not follow `offset`; [`Error::ReadOnly`] if the
    /// device was opened read-only; nothing is copied then. [`Error::Gone`] if the file has become
    /// shorter.
    ///
    /// ```no_run
    /// let memory = chrmem::Device::open("/dev/chrmem0")?.map(..)?;
    /// memory.copy_from(100, b"at byte one hundred")?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn copy_from(&self, offset: usize, source: &[u8]) -> Result<()> {
        self.all().copy_from(offset, source)
    }

    /// The bytes from `offset` on up to the first NUL, without it, or up to the end of the mapping
    /// if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if `offset` lies behind the end of the mapping, [`Error::Gone`] if the
    /// file has become shorter.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// device.reset()?;
    /// assert_eq!(device.map(..)?.c_string(0)?, b"hello, user!");
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn c_string(&self, offset: usize) -> Result<Vec<u8>> {
        self.all().c_string(offset)
    }

    /// The value at `offset`: see [`View::read`].
    ///
    /// # Errors
    ///
    /// As [`copy_to`](Self::copy_to).
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.read::<[f32; 2]>(8)?, [0.0, 0.0]);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn read<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        self.all().read(offset)
    }

    /// Stores a value at `offset`: see [`View::write`].
    ///
    /// # Errors
    ///
    /// As [`copy_from`](Self::copy_from).
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.write(8, &1.5_f64)?;
    /// assert_eq!(memory.read::<f64>(8)?, 1.5);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn write<T: IntoBytes + Immutable + ?Sized>(&self, offset: usize, value: &T) -> Result<()> {
        self.all().write(offset, value)
    }

    /// The bytes as an array of `T`: see [`View::array`].
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let samples = memory.array::<i16>();
    /// samples.set(100, &-1)?;
    /// assert_eq!(samples.get(100)?, -1);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn array<T: FromBytes + IntoBytes + Immutable>(&self) -> Array<'_, T> {
        self.all().array()
    }

    /// Loads the integer at `offset` as a whole: see [`View::load`].
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`], [`Error::Misaligned`], [`Error::CanShrink`].
    ///
    /// # Panics
    ///
    /// If `order` is none for a load, as those of [`std::sync::atomic`].
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.load::<u32>(64, Ordering::Acquire)?, 0);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn load<W: Word>(&self, offset: usize, order: Ordering) -> Result<W> {
        self.all().load(offset, order)
    }

    /// Stores an integer at `offset` as a whole: see [`View::store`].
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and [`Error::ReadOnly`].
    ///
    /// # Panics
    ///
    /// If `order` is none for a store, as those of [`std::sync::atomic`].
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.store(64, -7_i64, Ordering::Release)?;
    /// assert_eq!(memory.read::<i64>(64)?, -7);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn store<W: Word>(&self, offset: usize, value: W, order: Ordering) -> Result<()> {
        self.all().store(offset, value, order)
    }

    /// The integer at `offset`, for atomic accesses: see [`View::atomic`].
    ///
    /// # Errors
    ///
    /// As [`store`](Self::store).
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert!(!memory.atomic::<u8>(3)?.swap(1, Ordering::AcqRel) == 255);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn atomic<W: Word>(&self, offset: usize) -> Result<Atomic<'_, W>> {
        self.all().atomic(offset)
    }

    /// Writes all bytes to a file, without a copy in this process but of a device: see [`View::write_to`].
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if the mapping's file has become shorter, or what `write(2)` answers.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(7)?;
    /// memory.copy_from(0, b"Hello!\n")?;
    /// memory.write_to(std::io::stdout())?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn write_to(&self, file: impl AsFd) -> Result<()> {
        self.all().write_to(file)
    }

    /// Where in this process the mapping's first byte is.
    ///
    /// For what this library does not offer: to hand the address to a system call, or to code that
    /// can promise more about who writes when. It is valid for [`len`](Self::len) bytes until the
    /// mapping is dropped. To make a reference from it is wrong as long as anyone may write;
    /// [`View::as_slice`] says what has to be promised.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert!(!memory.as_ptr().is_null());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.all().as_ptr()
    }
}
