// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is to be mapped, and how.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::file::{File, Paging};
use crate::info::Window;
use crate::mapping::Mapping;
use crate::raw::{Backing, Pages, Terms};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::param::page_size;
use std::fmt;
use std::ops::{Bound, Range, RangeBounds};

/// What to map, and how: by default all of it, shared, and writable if the file was opened so.
///
/// Any offset and any length will do; that the kernel maps whole pages is dealt with.
///
/// ```no_run
/// use chrmem::{Device, MapOptions};
///
/// let device = Device::open("/dev/chrmem0")?;
/// let memory = MapOptions::new().window("buffer").range(100..200).map(&device)?;
/// assert_eq!((memory.offset(), memory.len()), (100, 100));
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct MapOptions {
    window: Option<WindowId>,
    range: (Bound<u64>, Bound<u64>),
    read_only: bool,
    private: bool,
    populate: bool,
    lock: bool,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self {
            window: None,
            range: (Bound::Unbounded, Bound::Unbounded),
            read_only: false,
            private: false,
            populate: false,
            lock: false,
        }
    }
}

impl MapOptions {
    /// All of a file, shared, and writable if the file was opened so.
    ///
    /// ```
    /// use std::io::{Seek, Write};
    ///
    /// let mut file = tempfile::tempfile()?;
    /// file.write_all(b"some text")?;
    /// let memory = chrmem::MapOptions::new().map_file(&file)?;
    /// assert_eq!(memory.len(), 9);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Only one window of a device, by its index or its name.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem-camera")?;
    /// let header = chrmem::MapOptions::new().window("header").map(&device)?;
    /// let second = chrmem::MapOptions::new().window(1).map(&device)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn window(mut self, window: impl Into<WindowId>) -> Self {
        self.window = Some(window.into());
        self
    }

    /// Only a range of bytes: of the window if there is one, else of the device or file. What has no
    /// end ends where that does.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let mut file = tempfile::tempfile()?;
    /// file.write_all(b"some text")?;
    /// let memory = chrmem::MapOptions::new().range(5..).map_file(&file)?;
    /// assert_eq!(memory.c_string(0)?, b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range(mut self, range: impl RangeBounds<u64>) -> Self {
        self.range = (range.start_bound().cloned(), range.end_bound().cloned());
        self
    }

    /// To be read only, also where the file can be written.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let mut file = tempfile::tempfile()?;
    /// file.write_all(b"some text")?;
    /// let memory = chrmem::MapOptions::new().read_only().map_file(&file)?;
    /// assert!(memory.copy_from(0, b"S").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// What is written stays in this process (copy on write); the file need not be open for writing.
    /// Until a page is written, it shows what others write to the file.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let mut file = tempfile::tempfile()?;
    /// file.write_all(b"some text")?;
    /// let memory = chrmem::MapOptions::new().private().map_file(&file)?;
    /// memory.copy_from(0, b"S")?;
    /// assert_eq!(chrmem::MapOptions::new().map_file(&file)?.c_string(0)?, b"some text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Maps every page at once, as far as they can be had, so that no first access has to wait.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// let memory = chrmem::MapOptions::new().populate().map(&device)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn populate(mut self) -> Self {
        self.populate = true;
        self
    }

    /// Keeps the pages in memory, also of a file on a disk. A device's are there anyway.
    ///
    /// ```no_run
    /// let file = std::fs::File::open("/usr/bin/env")?;
    /// let program = chrmem::MapOptions::new().lock().map_file(&file)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lock(mut self) -> Self {
        self.lock = true;
        self
    }

    /// Maps a device.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyRange`] if the range has no bytes, [`Error::NoWindow`] or `INVAL` if there is no
    /// such window, [`Error::PastEnd`] if the range leaves it. Without a window, `NXIO` if the range
    /// starts in none, `INVAL` if it runs past its window's end. `ACCESS` if the window cannot be
    /// written but the device was opened so; [`read_only`](Self::read_only) helps. `INVAL` for
    /// a private mapping of what is not cached RAM. `NODEV` if the window's hardware is gone, or the device was destroyed.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// let memory = chrmem::MapOptions::new().map(&device)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn map(&self, device: &Device) -> Result<Mapping> {
        let file = File(device.as_fd());
        let range = match self.find_window(&file)? {
            Some(window) => self.range_in(&file, &window)?,
            None => {
                let (start, end) = limits(&self.range);
                let end = match end {
                    None => file.info()?.size,
                    Some(end) => end,
                };
                start..end
            }
        };
        let start = range.start;
        self.map_as(&file, range, |end| {
            Ok((self.is_writable(&file)?, device.paging(start..end)?))
        })
    }

    /// Maps any file that can be mapped: a regular one, a block device, another device.
    ///
    /// Where a range has no end, the size is taken from the file's metadata, from the block device, or
    /// by seeking to the end and back, which moves the position of the open file for a moment.
    ///
    /// A regular file can become shorter, and a disk can fail, while they are mapped. Then an access
    /// is an error, [`Error::Gone`], where a plain one would end the process with `SIGBUS`; but up to the end of
    /// the page in which the file ends now, there are zeroes. The price: the kernel does each copy, which costs
    /// a system call of about half a microsecond, and there are no atomic accesses. Where a sandbox forbids
    /// `process_vm_readv`, such a copy answers `PERM` or `NOSYS`.
    ///
    /// Files that cannot become shorter are free of that: a memfd that was sealed against shrinking, secret
    /// memory (`memfd_secret`), a dma-buf, and the memory of devices, such as a PCI device's BAR in sysfs or
    /// another character device. But a device can be unplugged while its memory is mapped, and then its driver
    /// may take the memory away: an access is [`Error::Revoked`], as
    /// [`Mapping`] says. Only an access to RAM that has failed (a machine check) ends the process, with `SIGBUS`.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyRange`] if the range has no bytes, [`Error::PastEnd`] if it does not lie in the file,
    /// [`Error::UnknownSize`] if it has no end and the file has no known size. [`Error::NotADevice`] if a
    /// [`window`](Self::window) is asked for and the file is not a chrmem device. `ACCESS` if the file
    /// is not open for reading, `NODEV` if files of its kind cannot be mapped, `AGAIN` or `NOMEM` if
    /// more memory would be locked than the process may.
    ///
    /// ```no_run
    /// use std::fs::File;
    ///
    /// let file = File::open("/var/log/syslog")?;
    /// let memory = chrmem::MapOptions::new().range(1000..).map_file(&file)?;
    /// memory.write_to(std::io::stdout())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_file(&self, file: impl AsFd) -> Result<Mapping> {
        let file = File(file.as_fd());
        if let Some(window) = self.find_window(&file)? {
            return self.map_range(&file, self.range_in(&file, &window)?);
        }
        let (start, end) = limits(&self.range);
        let (end, size) = match end {
            Some(end) => (end, file.content()?),
            None => {
                let size = file.size()?;
                (size, Some(size))
            }
        };
        match size {
            Some(size) if start > size || end > size => Err(Error::PastEnd {
                start,
                end,
                place: file.name(),
                size,
            }),
            _ => self.map_range(&file, start..end),
        }
    }

    /// Maps a file without asking anything of it, but for a [`window`](Self::window).
    pub(crate) fn map_without_asking(&self, file: &File<'_>) -> Result<Mapping> {
        let range = match self.find_window(file)? {
            Some(window) => self.range_in(file, &window)?,
            None => {
                let (start, end) = limits(&self.range);
                start..end.ok_or_else(|| Error::UnknownSize { file: file.name() })?
            }
        };
        self.map_known(file, range, page_size() as u64)
    }

    /// Maps a file whose bytes in the range are known to stay, with pages of `page` bytes.
    pub(crate) fn map_known(
        &self,
        file: &File<'_>,
        range: Range<u64>,
        page: u64,
    ) -> Result<Mapping> {
        let paging = Paging {
            page,
            // Whatever it is, this is right: the caller promises that it stays.
            backing: Backing::Device,
        };
        self.map_as(file, range, |_| Ok((!self.read_only, paging)))
    }

    /// The window that was asked for, if one was.
    fn find_window(&self, file: &File<'_>) -> Result<Option<Window>> {
        let Some(id) = &self.window else {
            return Ok(None);
        };
        file.check_is_device()?;
        match id {
            WindowId::Index(index) => file.window(*index).map(Some),
            WindowId::Name(name) => {
                let found = file.windows()?.into_iter().find(|it| it.name == *name);
                let missing = || Error::NoWindow {
                    device: file.name(),
                    name: name.clone(),
                };
                found.ok_or_else(missing).map(Some)
            }
        }
    }

    /// The range, if it is one of a window, as one of its device.
    fn range_in(&self, file: &File<'_>, window: &Window) -> Result<Range<u64>> {
        let (start, end) = limits(&self.range);
        let end = end.unwrap_or(window.size);
        if start > window.size || end > window.size {
            return Err(Error::PastEnd {
                start,
                end,
                place: format!("window `{}` of {}", window.name, file.name()),
                size: window.size,
            });
        }
        let at = |offset: u64| window.offset.saturating_add(offset);
        Ok(at(start)..at(end))
    }

    /// Maps a range of a file.
    fn map_range(&self, file: &File<'_>, range: Range<u64>) -> Result<Mapping> {
        self.map_as(file, range, |end| {
            Ok((self.is_writable(file)?, file.paging(end)?))
        })
    }

    /// Whether the mapping is to be writable.
    fn is_writable(&self, file: &File<'_>) -> Result<bool> {
        Ok(!self.read_only && (self.private || file.is_writable()?))
    }

    /// Maps a range of a file; `known` says, of the range's end, whether the mapping is to be writable and
    /// how the file is mapped.
    fn map_as(
        &self,
        file: &File<'_>,
        range: Range<u64>,
        known: impl FnOnce(u64) -> Result<(bool, Paging)>,
    ) -> Result<Mapping> {
        let Range { start, end } = range;
        if start >= end {
            return Err(Error::EmptyRange { start, end });
        }
        let (writable, Paging { page, backing }) = known(end)?;
        // The kernel maps whole pages, counted from a page's start.
        let first_page = start - start % page;
        let whole = (end - first_page).checked_next_multiple_of(page);
        let refused = |errno| file.refused(format_args!("map bytes {start}..{end} of"), errno);
        // A length that this processor cannot address is no different from one that does not fit.
        let size = whole.and_then(|it| usize::try_from(it).ok());
        let size = size.ok_or_else(|| refused(Errno::NOMEM))?;
        // CAST: less than `size`, which fits.
        let (lead, length) = ((start - first_page) as usize, (end - start) as usize);
        let terms = Terms {
            writable,
            private: self.private,
            populate: self.populate,
            lock: self.lock,
            backing,
        };
        let mut pages = Pages::map(file.0, first_page, size, terms).map_err(refused)?;
        if backing.is_revocable() {
            pages = pages.guarded(file.name());
        }
        Ok(Mapping::new(pages.narrow(lead, length), start))
    }
}

/// Which window of a device: by index, counted from zero in order of offset, or by name.
///
/// ```
/// use chrmem::WindowId;
///
/// assert_eq!(WindowId::from(3), WindowId::Index(3));
/// assert_eq!(WindowId::from("frames").to_string(), "frames");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WindowId {
    /// By index.
    Index(u32),
    /// By name.
    Name(String),
}

impl From<u32> for WindowId {
    fn from(index: u32) -> Self {
        Self::Index(index)
    }
}

impl From<&str> for WindowId {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for WindowId {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl fmt::Display for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => index.fmt(f),
            Self::Name(name) => f.pad(name),
        }
    }
}

/// The first byte of a range and, if it has an end, the byte after its last.
pub(crate) fn limits(range: &impl RangeBounds<u64>) -> (u64, Option<u64>) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => Some(last.saturating_add(1)),
        Bound::Excluded(end) => Some(*end),
        Bound::Unbounded => None,
    };
    (start, end)
}
