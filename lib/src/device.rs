// SPDX-License-Identifier: MIT OR Apache-2.0

//! One character device.

use crate::error::{Error, Result};
use crate::info::{Info, Window};
use crate::mapping::Mapping;
use crate::raw::{self, Pages};
use chrmem_uapi::abi;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{fcntl_getfl, Mode, OFlags};
use rustix::io::Errno;
use rustix::param::page_size;
use std::fmt::Display;
use std::ops::{Bound, RangeBounds};
use std::path::Path;

/// An open chrmem device.
///
/// Offsets are those of the device, in bytes, the same for every method.
///
/// [`AsFd`] lends its file descriptor, to wait for changes with `poll` or `epoll` for example: it is
/// readable while the device's generation is newer than what [`seen`](Self::seen) last answered.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
}

impl Device {
    /// Opens a device for reading and writing.
    ///
    /// # Errors
    ///
    /// `NOENT` if there is no such file, `ACCESS` if the caller may not open it, `NXIO` if there is no
    /// device behind the file, and others of `open(2)`.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// println!("{} bytes", device.info()?.size);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), OFlags::RDWR)
    }

    /// Opens a device for reading only: it can be read and mapped, not changed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), OFlags::RDONLY)
    }

    fn open_with(path: &Path, access: OFlags) -> Result<Self> {
        match rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Self { fd }),
            Err(errno) => Err(Error::Refused {
                tried: format!("open {}", path.display()),
                errno,
            }),
        }
    }

    /// What the device tells of itself.
    ///
    /// # Errors
    ///
    /// `NOTTY` if the file is no chrmem device.
    pub fn info(&self) -> Result<Info> {
        raw::info(self.fd.as_fd())
            .map(Info::from)
            .map_err(|errno| self.refused("ask for the description of", errno))
    }

    /// What the device tells of window `index`, counted from zero in order of offset.
    ///
    /// # Errors
    ///
    /// `INVAL` if there is no such window.
    pub fn window(&self, index: u32) -> Result<Window> {
        raw::window(self.fd.as_fd(), index)
            .map(Window::from)
            .map_err(|errno| self.refused(format_args!("ask for window {index} of"), errno))
    }

    /// What the device tells of all its windows, in order of offset.
    ///
    /// # Errors
    ///
    /// As [`info`](Self::info).
    ///
    /// ```no_run
    /// for window in chrmem::Device::open("/dev/chrmem0")?.windows()? {
    ///     println!("{} at {}: {} bytes", window.name, window.offset, window.size);
    /// }
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn windows(&self) -> Result<Vec<Window>> {
        (0..self.info()?.windows)
            .map(|index| self.window(index))
            .collect()
    }

    /// Copies bytes of the device from `offset` on into `target`: how many. That is fewer than fit
    /// where the device or a window ends, and 0 at the device's end and behind it.
    ///
    /// # Errors
    ///
    /// `NXIO` in a hole, `BADF` if the device was opened for writing only.
    pub fn read_at(&self, offset: u64, target: &mut [u8]) -> Result<usize> {
        rustix::io::pread(&self.fd, &mut *target, offset).map_err(|errno| {
            self.refused(
                format_args!("read {} bytes at {offset} of", target.len()),
                errno,
            )
        })
    }

    /// Copies `source` over the bytes of the device from `offset` on: how many. That is fewer than
    /// there are where the device or a window ends.
    ///
    /// # Errors
    ///
    /// `NOSPC` at the device's end and behind it, `NXIO` in a hole, `BADF` if the device was opened
    /// read-only.
    pub fn write_at(&self, offset: u64, source: &[u8]) -> Result<usize> {
        rustix::io::pwrite(&self.fd, source, offset).map_err(|errno| {
            self.refused(
                format_args!("write {} bytes at {offset} of", source.len()),
                errno,
            )
        })
    }

    /// Zeroes every window.
    ///
    /// # Errors
    ///
    /// `BADF` if the device was opened read-only.
    pub fn clear(&self) -> Result<()> {
        raw::clear(self.fd.as_fd()).map_err(|errno| self.refused("clear", errno))
    }

    /// Zeroes a range of the device.
    ///
    /// # Errors
    ///
    /// `INVAL` if the range is empty or runs past the device's end, `BADF` if the device was opened
    /// read-only.
    ///
    /// ```no_run
    /// chrmem::Device::open("/dev/chrmem0")?.clear_range(0..40)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn clear_range(&self, range: impl RangeBounds<u64>) -> Result<()> {
        let (start, end) = self.limits(&range)?;
        let range = abi::Range {
            offset: start,
            size: end.saturating_sub(start),
            ..Default::default()
        };
        raw::clear_range(self.fd.as_fd(), range)
            .map_err(|errno| self.refused(format_args!("clear bytes {start}..{end} of"), errno))
    }

    /// Zeroes every window and puts `hello, user!` and a NUL at the start of the first.
    ///
    /// # Errors
    ///
    /// `BADF` if the device was opened read-only.
    pub fn reset(&self) -> Result<()> {
        raw::reset(self.fd.as_fd()).map_err(|errno| self.refused("reset", errno))
    }

    /// Tells everyone who waits for the device that it has changed: adds one to its generation. For
    /// changes made through a mapping, which the driver cannot see.
    ///
    /// # Errors
    ///
    /// `BADF` if the device was opened read-only.
    pub fn notify(&self) -> Result<()> {
        raw::notify(self.fd.as_fd()).map_err(|errno| self.refused("notify the users of", errno))
    }

    /// The device's generation, which this open file has seen from now on: it is not readable to
    /// `poll` any more, until the next change.
    ///
    /// # Errors
    ///
    /// `NOTTY` if the file is no chrmem device.
    pub fn seen(&self) -> Result<u64> {
        raw::seen(self.fd.as_fd()).map_err(|errno| self.refused("ask for the generation of", errno))
    }

    /// Maps a range of the device: any offset and any length inside of one window. What has no end
    /// ends where the device does.
    ///
    /// The mapping can be written if the device was opened for writing.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyRange`] if the range has no bytes; `NXIO` if it starts in no window, `INVAL` if
    /// it runs past its window's end, `ACCESS` if the window cannot be written but the device was
    /// opened so.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// let all = device.map(..)?;
    /// let some = device.map(1000..1010)?;
    /// assert_eq!(some.len(), 10);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn map(&self, range: impl RangeBounds<u64>) -> Result<Mapping> {
        let (start, end) = self.limits(&range)?;
        if start >= end {
            return Err(Error::EmptyRange { start, end });
        }
        // The kernel maps whole pages, counted from a page's start.
        let first_page = start - start % page_size() as u64;
        let refused = |errno| self.refused(format_args!("map bytes {start}..{end} of"), errno);
        // A length that this processor cannot address is no different from one that does not fit.
        let size = usize::try_from(end - first_page).map_err(|_| refused(Errno::NOMEM))?;
        let lead = size - (end - start) as usize;
        let writable = fcntl_getfl(&self.fd)
            .map_err(refused)?
            .contains(OFlags::RDWR);
        let pages = Pages::map(self.fd.as_fd(), first_page, size, writable).map_err(refused)?;
        Ok(Mapping::new(pages, lead, size - lead))
    }

    /// The first byte of a range and the byte after its last.
    fn limits(&self, range: &impl RangeBounds<u64>) -> Result<(u64, u64)> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.info()?.size,
        };
        Ok((start, end))
    }

    /// The error of a call that was to do `tried` with the device.
    fn refused(&self, tried: impl Display, errno: Errno) -> Error {
        let fd = self.fd.as_raw_fd();
        let name = match std::fs::read_link(format!("/proc/self/fd/{fd}")) {
            Ok(path) => path.display().to_string(),
            Err(_) => format!("file descriptor {fd}"),
        };
        Error::Refused {
            tried: format!("{tried} {name}"),
            errno,
        }
    }
}

/// For a file descriptor that came from elsewhere: inherited, or received over a socket.
impl From<OwnedFd> for Device {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Device> for OwnedFd {
    fn from(device: Device) -> Self {
        device.fd
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
