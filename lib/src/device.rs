// SPDX-License-Identifier: MIT OR Apache-2.0

//! One character device.

use crate::changes::{Changes, WatchChanges};
use crate::cpu_access::{CpuAccess, Direction};
use crate::error::{Error, Result};
use crate::file::{File, Paging};
use crate::info::{Info, Window};
use crate::map_options::{limits, MapOptions};
use crate::mapping::Mapping;
use crate::raw::{self, Backing};
use crate::wait;
use chrmem_uapi::abi;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::param::page_size;
use std::fmt::Display;
use std::ops::{Range, RangeBounds};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// An open chrmem device.
///
/// Offsets are those of the device, in bytes, the same for every method.
///
/// [`AsFd`] lends its file descriptor, to wait for changes with `poll` or `epoll` for example: it is
/// readable while the device's generation is newer than what [`seen`](Self::seen) last answered.
///
/// A `Device` is always a chrmem device: [`open`](Self::open) and [`TryFrom`] refuse any other file.
///
/// ```
/// use chrmem::{Device, Error};
///
/// let error = Device::open("/dev/null").unwrap_err();
/// assert!(matches!(error, Error::NotADevice { .. }));
/// ```
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
    /// Whether it is a chrmem device, and not a file that stands in for one.
    checked: bool,
    /// What is behind which of its offsets, once that was asked for: an open file's windows stay what they are.
    backings: OnceLock<Vec<(Range<u64>, Backing)>>,
}

impl Device {
    /// Opens a device for reading and writing.
    ///
    /// # Errors
    ///
    /// [`Error::NotADevice`] if the file is something else, which is found out without opening it. `NOENT` if
    /// there is no such file, `ACCESS` if the caller may not open it, `NXIO` if there is no device behind the
    /// node, and others of `open(2)`. An error of `/proc/devices`, which tells the drivers, if it cannot be read.
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
    ///
    /// ```no_run
    /// let device = chrmem::Device::open_read_only("/dev/chrmem0")?;
    /// assert!(device.clear().is_err());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), OFlags::RDONLY)
    }

    fn open_with(path: &Path, access: OFlags) -> Result<Self> {
        let refused = |errno| Error::Refused {
            tried: format!("open {}", path.display()),
            errno,
        };
        let open = |path: &Path, flags| {
            rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(refused)
        };
        // Looked at before it is opened: that alone does something to some devices, and waits at others.
        let place = open(path, OFlags::PATH)?;
        let file = File(place.as_fd());
        if !file.is_character_device()? || file.driver()?.is_some_and(|it| it != abi::REGION_NAME) {
            let file = path.display().to_string();
            return Err(Error::NotADevice { file });
        }
        // A number that no driver has is left to the kernel, which may load one, or say NXIO.
        let link = format!("/proc/self/fd/{}", place.as_raw_fd());
        open(link.as_ref(), access)?.try_into()
    }

    /// The device that a file is, which the caller promises it to be.
    pub(crate) fn assume(fd: OwnedFd) -> Self {
        Self {
            fd,
            checked: false,
            backings: OnceLock::new(),
        }
    }

    /// How a range is mapped.
    pub(crate) fn paging(&self, range: Range<u64>) -> Result<Paging> {
        if !self.checked {
            return self.file().paging(range.end);
        }
        // Where that cannot be told, mapping will fail, and tell why.
        let found = self.backings().ok().and_then(|backings| {
            let mut all = backings.iter();
            all.find(|(offsets, _)| offsets.contains(&range.start))
        });
        Ok(Paging {
            page: page_size() as u64,
            backing: found.map_or(Backing::RevocableDevice, |(_, backing)| *backing),
        })
    }

    /// What is behind its offsets.
    fn backings(&self) -> Result<&[(Range<u64>, Backing)]> {
        if let Some(known) = self.backings.get() {
            return Ok(known);
        }
        let windows = self.windows()?;
        let backing = |window: &Window| (window.range(), window.backing());
        Ok(self
            .backings
            .get_or_init(|| windows.iter().map(backing).collect()))
    }

    /// What the device tells of itself.
    ///
    /// # Errors
    ///
    /// `NODEV` if the device was destroyed.
    ///
    /// ```no_run
    /// let info = chrmem::Device::open("/dev/chrmem0")?.info()?;
    /// println!("{} windows in {} bytes", info.windows, info.size);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn info(&self) -> Result<Info> {
        self.file().info()
    }

    /// What the device tells of window `index`, counted from zero in order of offset: what it is, and whether its
    /// hardware is gone.
    ///
    /// # Errors
    ///
    /// `INVAL` if there is no such window, `NODEV` if the device was destroyed, or no window of it is left.
    ///
    /// ```no_run
    /// let first = chrmem::Device::open("/dev/chrmem0")?.window(0)?;
    /// println!("{} is {} memory", first.name, first.memory);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn window(&self, index: u32) -> Result<Window> {
        self.file().window(index)
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
        self.file().windows()
    }

    /// Copies bytes of the device from `offset` on into `target`: how many. That is fewer than fit
    /// where the device or a window ends, and 0 at the device's end and behind it.
    ///
    /// # Errors
    ///
    /// `NXIO` in a hole, `BADF` if the device was opened for writing only.
    ///
    /// ```no_run
    /// let mut start = [0; 16];
    /// let count = chrmem::Device::open("/dev/chrmem0")?.read_at(0, &mut start)?;
    /// assert_eq!(count, 16);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
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
    ///
    /// ```no_run
    /// let count = chrmem::Device::open("/dev/chrmem0")?.write_at(100, b"some bytes")?;
    /// assert_eq!(count, 10);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
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
    ///
    /// ```no_run
    /// chrmem::Device::open("/dev/chrmem0")?.clear()?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
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
        raw::clear_range(self.fd.as_fd(), range_of(start, end))
            .map_err(|errno| self.refused(format_args!("clear bytes {start}..{end} of"), errno))
    }

    /// Zeroes every window and puts `hello, user!` and a NUL at the start of the first.
    ///
    /// # Errors
    ///
    /// `BADF` if the device was opened read-only.
    ///
    /// ```no_run
    /// chrmem::Device::open("/dev/chrmem0")?.reset()?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn reset(&self) -> Result<()> {
        raw::reset(self.fd.as_fd()).map_err(|errno| self.refused("reset", errno))
    }

    /// Tells everyone who waits for the device that it has changed: adds one to its generation. For
    /// changes made through a mapping of a window that is not tracked, which the driver cannot see.
    ///
    /// # Errors
    ///
    /// `BADF` if the device was opened read-only.
    ///
    /// ```no_run
    /// chrmem::Device::open("/dev/chrmem0")?.notify()?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn notify(&self) -> Result<()> {
        raw::notify(self.fd.as_fd()).map_err(|errno| self.refused("notify the users of", errno))
    }

    /// The device's generation, which this open file has seen from now on: it is not readable to
    /// `poll` any more, until the next change.
    ///
    /// # Errors
    ///
    /// `NODEV` if the device was destroyed.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// let before = device.seen()?;
    /// device.notify()?;
    /// assert!(device.seen()? > before);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn seen(&self) -> Result<u64> {
        raw::seen(self.fd.as_fd()).map_err(|errno| self.refused("ask for the generation of", errno))
    }

    /// Waits until the device has changed since this open file last saw its generation, or for as long
    /// as `timeout` says, if it says: the new generation, which is seen from now on, or `None` if the
    /// time is over.
    ///
    /// A new open file has seen nothing: its first call answers at once.
    ///
    /// # Errors
    ///
    /// `NODEV` if the device was destroyed, also while waiting.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// device.seen()?;
    /// match device.wait(Some(Duration::from_secs(1)))? {
    ///     Some(generation) => println!("changed: now at generation {generation}"),
    ///     None => println!("no change in a second"),
    /// }
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<u64>> {
        match wait::readable(self, timeout) {
            Ok(true) => self.seen().map(Some),
            Ok(false) => Ok(None),
            Err(errno) => Err(self.file().refused("wait for a change of", errno)),
        }
    }

    /// What has changed in the tracked windows since generation `since`; zero is all since the device was made. Windows that are not
    /// tracked are left out.
    ///
    /// The generation is what the last look gave, or [`seen`](Self::seen). Stores through mappings count, [`write_at`](Self::write_at)
    /// and [`clear`](Self::clear) as well; nothing is missed, but a page can be told of once too often. Stores by
    /// hardware are not noticed, nor are those by a system call that pinned the page before the look, as `O_DIRECT` does.
    ///
    /// After a look, the device is readable to `poll` once something changes that the look may not have found. A page
    /// that was stored into is noticed again only after a look: look first, then wait.
    ///
    /// # Errors
    ///
    /// `OPNOTSUPP` if no window is tracked, `INVAL` if there has been no generation `since` yet, `BADF` if the device was opened
    /// for writing only.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem-frames")?;
    /// let memory = device.map(..)?;
    /// let before = device.changes(0)?.generation;
    /// memory.write(5000, &7u32)?;
    /// assert_eq!(device.changes(before)?.ranges, [4096..8192]);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn changes(&self, since: u64) -> Result<Changes> {
        self.changes_in(.., since)
    }

    /// The same, of a range. It lies in the device, and may have holes.
    ///
    /// # Errors
    ///
    /// As [`changes`](Self::changes). `OPNOTSUPP` if there is no tracked window in the range, `INVAL` if the range is empty or runs
    /// past the device's end.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem-frames")?;
    /// let window = device.window(0)?;
    /// let changes = device.changes_in(window.range(), 0)?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn changes_in(&self, range: impl RangeBounds<u64>, since: u64) -> Result<Changes> {
        let (start, end) = self.limits(&range)?;
        let mut found = [abi::Change::default(); 64];
        let mut look = abi::Changes {
            since,
            offset: start,
            size: end.saturating_sub(start),
            ..Default::default()
        };
        let mut ranges: Vec<Range<u64>> = Vec::new();
        loop {
            let count = raw::changes(self.as_fd(), &mut look, &mut found).map_err(|errno| {
                let tried =
                    format_args!("look for changes after {since} in bytes {start}..{end} of")
                        .to_string();
                self.refused(tried, errno)
            })?;
            for change in found.iter().take(count) {
                ranges.push(change.offset..change.offset.saturating_add(change.size));
            }
            if look.size == 0 {
                return Ok(Changes {
                    generation: look.generation,
                    ranges,
                });
            }
        }
    }

    /// Changes of the tracked windows as they come, first those since generation `since`.
    ///
    /// Waiting uses what this open file has seen: whoever else waits or looks opens the device anew.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem-frames")?;
    /// for changes in device.watch_changes(device.seen()?) {
    ///     println!("{:?}", changes?.ranges);
    /// }
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn watch_changes(&self, since: u64) -> WatchChanges<'_> {
        self.watch_changes_in(.., since)
    }

    /// The same, of a range. Errors are those of [`changes_in`](Self::changes_in), when it is looked at.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem-frames")?;
    /// let first = device.watch_changes_in(..4096, 0).next();
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn watch_changes_in(&self, range: impl RangeBounds<u64>, since: u64) -> WatchChanges<'_> {
        WatchChanges::new(self, limits(&range), since)
    }

    /// Begins an access by the processor to a range whose exported buffers devices use too: their caches
    /// are brought up to date, now and when what is returned is dropped. Without exported buffers there
    /// is nothing to do.
    ///
    /// # Errors
    ///
    /// `INVAL` if the range is empty or runs past the device's end, `NXIO` if there is a hole in it. `BADF` if the
    /// device is not open for such an access, `ACCESS` if it writes and there is a read-only window in the range.
    ///
    /// ```no_run
    /// use chrmem::{Device, Direction};
    ///
    /// let device = Device::open("/dev/chrmem0")?;
    /// let memory = device.map(..4096)?;
    /// let mut frame = [0; 4096];
    /// let access = device.sync(..4096, Direction::Read)?;
    /// memory.copy_to(0, &mut frame)?;
    /// access.end()?;
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn sync(
        &self,
        range: impl RangeBounds<u64>,
        direction: Direction,
    ) -> Result<CpuAccess<'_>> {
        CpuAccess::begin(self, self.limits(&range)?, direction)
    }

    /// Begins or ends an access by the processor, as the `SYNC_*` bits say.
    pub(crate) fn say_sync(&self, range: (u64, u64), flags: u32, what: &str) -> Result<()> {
        let (start, end) = range;
        let range = abi::Range {
            flags,
            ..range_of(start, end)
        };
        raw::sync(self.as_fd(), range).map_err(|errno| {
            let tried = format_args!("{what} an access to bytes {start}..{end} of").to_string();
            self.file().refused(tried, errno)
        })
    }

    /// Exports whole pages of one window as a dma-buf: a file descriptor that other drivers take, and that
    /// can be mapped by itself. It keeps the memory, whatever becomes of the device.
    ///
    /// # Errors
    ///
    /// `INVAL` if the range is not whole pages or runs past its window's end, `NXIO` if it starts in
    /// none, `ACCESS` if the device is not open for reading, `OPNOTSUPP` if the window's memory is a physical
    /// range.
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// let buffer = device.export(..4096)?;
    /// let memory = chrmem::MapOptions::new().map_file(&buffer)?;
    /// assert_eq!(memory.len(), 4096);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn export(&self, range: impl RangeBounds<u64>) -> Result<OwnedFd> {
        let (start, end) = self.limits(&range)?;
        raw::export(self.as_fd(), range_of(start, end)).map_err(|errno| {
            self.file()
                .refused(format_args!("export bytes {start}..{end} of"), errno)
        })
    }

    /// Maps a range of the device: any offset and any length inside of one window. What has no end
    /// ends where the device does. [`MapOptions`] has more to choose from.
    ///
    /// The mapping can be written if the device was opened for writing.
    ///
    /// # Errors
    ///
    /// As [`MapOptions::map`].
    ///
    /// ```no_run
    /// let device = chrmem::Device::open("/dev/chrmem0")?;
    /// let all = device.map(..)?;
    /// let some = device.map(1000..1010)?;
    /// assert_eq!(some.len(), 10);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn map(&self, range: impl RangeBounds<u64>) -> Result<Mapping> {
        MapOptions::new().range(range).map(self)
    }

    /// The first byte of a range and the byte after its last.
    fn limits(&self, range: &impl RangeBounds<u64>) -> Result<(u64, u64)> {
        let (start, end) = limits(range);
        let end = match end {
            Some(end) => end,
            None => self.info()?.size,
        };
        Ok((start, end))
    }

    /// The open file.
    fn file(&self) -> File<'_> {
        File(self.fd.as_fd())
    }

    /// The error of a call that was to do `tried` with the device.
    pub(crate) fn refused(&self, tried: impl Display, errno: Errno) -> Error {
        self.file().refused(tried, errno)
    }
}

/// A range as the driver takes it, without flags. What ends before it starts is empty.
fn range_of(start: u64, end: u64) -> abi::Range {
    abi::Range {
        offset: start,
        size: end.saturating_sub(start),
        ..Default::default()
    }
}

/// For a file descriptor that came from elsewhere: inherited, or received over a socket. If it is not that of a
/// chrmem device, this fails with [`Error::NotADevice`], and the descriptor is closed.
///
/// ```
/// use std::os::fd::OwnedFd;
///
/// let null = OwnedFd::from(std::fs::File::open("/dev/null")?);
/// assert!(chrmem::Device::try_from(null).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
impl TryFrom<OwnedFd> for Device {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        File(fd.as_fd()).check_is_device()?;
        Ok(Self {
            checked: true,
            ..Self::assume(fd)
        })
    }
}

/// As from an [`OwnedFd`].
impl TryFrom<std::fs::File> for Device {
    type Error = Error;

    fn try_from(file: std::fs::File) -> Result<Self> {
        OwnedFd::from(file).try_into()
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

/// For what wants a bare number, such as `tokio::io::unix::AsyncFd`.
impl AsRawFd for Device {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
