// SPDX-License-Identifier: MIT OR Apache-2.0

//! An open file of any kind: what it is called, how long it is, what may become of it.

use crate::error::{Error, Result};
use crate::info::{Info, Window};
use crate::raw::{self, Backing};
use chrmem_uapi::abi;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{
    fcntl_get_seals, fcntl_getfl, fstat, fstatfs, major, seek, FileType, OFlags, SealFlags,
    SeekFrom, Stat,
};
use rustix::io::Errno;
use rustix::param::page_size;
use std::fmt::Display;

/// The file systems, by their magic numbers, whose regular files are memory of devices: they can be
/// mapped, but the kernel keeps no pages of them.
const DEVICES_FILES: [u32; 3] = [
    0x6265_6572, // sysfs: a PCI device's BARs
    0x9fa0,      // proc: the same, in an older place
    0x444d_4142, // dma-bufs
];

/// The magic number of the file system of memfds.
const TMPFS: u32 = 0x0102_1994;

/// The magic number of the file system of files of huge pages, memfds among them.
const HUGETLBFS: u32 = 0x9584_58f6;

/// The magic number of the file system of `memfd_secret`.
const SECRETMEM: u32 = 0x5345_434d;

/// How a file is mapped.
pub(crate) struct Paging {
    /// Bytes of a page: a mapping is of whole ones.
    pub(crate) page: u64,
    /// What is behind a mapping.
    pub(crate) backing: Backing,
}

/// An open file.
#[derive(Clone, Copy)]
pub(crate) struct File<'a>(pub(crate) BorrowedFd<'a>);

impl File<'_> {
    /// What it is called, as far as can be told.
    pub(crate) fn name(&self) -> String {
        let fd = self.0.as_raw_fd();
        match std::fs::read_link(format!("/proc/self/fd/{fd}")) {
            Ok(path) => path.display().to_string(),
            Err(_) => format!("file descriptor {fd}"),
        }
    }

    /// The error of a call that was to do `tried` with the file.
    pub(crate) fn refused(&self, tried: impl Display, errno: Errno) -> Error {
        Error::Refused {
            tried: format!("{tried} {}", self.name()),
            errno,
        }
    }

    /// An error unless it is a chrmem device: nothing else is to get its commands, which could mean something
    /// else there.
    ///
    /// The kernel's list of drivers says whose a node's number is. It is the same in every container, and to
    /// read it does nothing to the device.
    pub(crate) fn check_is_device(&self) -> Result<()> {
        match self.driver()?.as_deref() {
            Some(abi::REGION_NAME) => Ok(()),
            _ => Err(Error::NotADevice { file: self.name() }),
        }
    }

    /// Whether it is a character device, of whatever driver.
    pub(crate) fn is_character_device(&self) -> Result<bool> {
        let mode = self.stat()?.st_mode;
        Ok(FileType::from_raw_mode(mode) == FileType::CharacterDevice)
    }

    /// The name of the driver of a character device; `None` for another file, and if no driver has the device's
    /// number. Where several share it, it is the first.
    pub(crate) fn driver(&self) -> Result<Option<String>> {
        const DRIVERS: &str = "/proc/devices";
        if !self.is_character_device()? {
            return Ok(None);
        }
        let drivers = std::fs::read_to_string(DRIVERS).map_err(|error| {
            let tried = format_args!("read {DRIVERS}, which tells the driver of").to_string();
            self.refused(tried, Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })?;
        let major = major(self.stat()?.st_rdev).to_string();
        let found = drivers
            .lines()
            .take_while(|line| !line.starts_with("Block"))
            .find_map(|line| line.trim_start().strip_prefix(&major)?.strip_prefix(' '));
        Ok(found.map(str::to_owned))
    }

    /// What a device tells of itself.
    pub(crate) fn info(&self) -> Result<Info> {
        raw::info(self.0)
            .map(Info::from)
            .map_err(|errno| self.refused("ask for the description of", errno))
    }

    /// What a device tells of window `index`.
    pub(crate) fn window(&self, index: u32) -> Result<Window> {
        raw::window(self.0, index)
            .map(Window::from)
            .map_err(|errno| self.refused(format_args!("ask for window {index} of"), errno))
    }

    /// What a device tells of all its windows.
    pub(crate) fn windows(&self) -> Result<Vec<Window>> {
        (0..self.info()?.windows)
            .map(|index| self.window(index))
            .collect()
    }

    /// Whether it is open for reading and writing.
    pub(crate) fn is_writable(&self) -> Result<bool> {
        match fcntl_getfl(self.0) {
            Ok(flags) => Ok(flags.contains(OFlags::RDWR)),
            Err(errno) => Err(self.refused("ask for the access mode of", errno)),
        }
    }

    /// How many bytes a regular file or block device has, and whether it is one.
    pub(crate) fn content(&self) -> Result<Option<u64>> {
        let stat = self.stat()?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if !self.is_devices_file()? => Ok(Some(size(&stat))),
            FileType::BlockDevice => match raw::block_device_size(self.0) {
                Ok(size) => Ok(Some(size)),
                Err(errno) => Err(self.refused("ask for the size of", errno)),
            },
            _ => Ok(None),
        }
    }

    /// How many bytes there are in any file that can be mapped.
    pub(crate) fn size(&self) -> Result<u64> {
        if let Some(size) = self.content()? {
            return Ok(size);
        }
        // A few that are neither say it all the same: dma-bufs, PCI devices' files in sysfs.
        let size = match size(&self.stat()?) {
            0 => self.end().unwrap_or(0),
            size => size,
        };
        match size {
            0 => Err(Error::UnknownSize { file: self.name() }),
            size => Ok(size),
        }
    }

    /// Where the file ends, found by seeking there and back.
    fn end(&self) -> rustix::io::Result<u64> {
        let position = seek(self.0, SeekFrom::Current(0))?;
        let end = seek(self.0, SeekFrom::End(0))?;
        seek(self.0, SeekFrom::Start(position))?;
        Ok(end)
    }

    /// How the file is mapped up to `end`.
    pub(crate) fn paging(&self, end: u64) -> Result<Paging> {
        let stat = self.stat()?;
        let mut page = page_size() as u64;
        let backing = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let (file_system, block) = self.file_system()?;
                if file_system == HUGETLBFS {
                    page = block;
                }
                let keeps_its_size = match file_system {
                    TMPFS | HUGETLBFS => {
                        fcntl_get_seals(self.0).is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
                    }
                    // It is given a size once.
                    SECRETMEM => true,
                    _ => false,
                };
                if keeps_its_size {
                    // Asked for after that was known: it does not become less any more.
                    let pages = size(&self.stat()?).div_ceil(page);
                    if end.div_ceil(page) <= pages {
                        Backing::Ram
                    } else {
                        Backing::Fleeting
                    }
                } else if DEVICES_FILES.contains(&file_system) {
                    Backing::RevocableDevice
                } else {
                    Backing::Fleeting
                }
            }
            FileType::BlockDevice => Backing::Fleeting,
            _ => Backing::RevocableDevice,
        };
        Ok(Paging { page, backing })
    }

    /// Whether the file, which is a regular one, is a device's memory.
    fn is_devices_file(&self) -> Result<bool> {
        Ok(DEVICES_FILES.contains(&self.file_system()?.0))
    }

    /// The magic number of the file's file system, and the bytes of a block in it.
    fn file_system(&self) -> Result<(u32, u64)> {
        match fstatfs(self.0) {
            // CAST: the numbers have 32 bits, in a field that has more; blocks are no less than a byte.
            Ok(file_system) => Ok((file_system.f_type as u32, file_system.f_bsize as u64)),
            Err(errno) => Err(self.refused("ask for the file system of", errno)),
        }
    }

    fn stat(&self) -> Result<Stat> {
        fstat(self.0).map_err(|errno| self.refused("ask for the metadata of", errno))
    }
}

/// How many bytes a regular file has.
fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}
