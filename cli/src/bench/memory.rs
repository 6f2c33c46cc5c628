// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that can be shared, from whoever gives some.

use crate::configfs::{Folder, Tree};
use crate::stderr;
use anyhow::{Context, Result};
use chrmem::measure;
use chrmem::{Device, MapOptions, Mapping};
use rustix::fs::{
    fcntl_add_seals, ftruncate, memfd_create, open, MemfdFlags, Mode, OFlags, SealFlags,
};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes between two touches: no page is smaller.
pub(crate) const PAGE: usize = 4096;

/// Who gives memory.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Who {
    Chrmem,
    Memfd,
    /// The same, mapped with `MAP_POPULATE`.
    Populated,
    Hugetlb,
    DmaHeap,
    Udmabuf,
}

impl Who {
    /// As reports say it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chrmem => "chrmem",
            Self::Memfd => "memfd",
            Self::Populated => "memfd, populated",
            Self::Hugetlb => "memfd, hugetlb",
            Self::DmaHeap => "dma-heap",
            Self::Udmabuf => "udmabuf",
        }
    }
}

/// Some memory, behind an open file.
pub(crate) struct Memory {
    pub(crate) who: Who,
    pub(crate) size: u64,
    file: measure::Fixed,
    /// What it is a part of; goes after the file.
    _made: Option<Made>,
}

impl Memory {
    /// Has `size` bytes, all of them touched, so that they are there.
    pub(crate) fn new(who: Who, size: u64) -> Result<Self> {
        let mut made = None;
        let context = || format!("{} of {size} bytes", who.name());
        let fd = match who {
            Who::Chrmem => {
                let device = Made::new(size)?;
                let file = device.open()?;
                made = Some(device);
                file.into()
            }
            Who::Memfd | Who::Populated => {
                memfd(size, MemfdFlags::empty()).with_context(context)?
            }
            Who::Hugetlb => {
                memfd(size, MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB).with_context(context)?
            }
            Who::DmaHeap => measure::dma_heap(node("/dev/dma_heap/system")?, size)?,
            Who::Udmabuf => measure::udmabuf(
                node("/dev/udmabuf")?,
                memfd(size, MemfdFlags::empty())?,
                size,
            )?,
        };
        let memory = Self {
            who,
            size,
            file: measure::Fixed::new(fd, size)?,
            _made: made,
        };
        // Where it cannot be had, that is an error here, and not a signal at the first touch.
        let mapped = memory.file.map(&MapOptions::new().populate(), 0..size);
        touch(&mapped.with_context(context)?);
        Ok(memory)
    }

    /// A device's first `size` bytes.
    pub(crate) fn of(made: Made, size: u64) -> Result<Self> {
        Ok(Self {
            who: Who::Chrmem,
            size,
            file: measure::Fixed::new(made.open()?.into(), size)?,
            _made: Some(made),
        })
    }

    /// Maps the first `size` bytes.
    pub(crate) fn map(&self, size: u64) -> Result<Mapping> {
        self.map_range(0..size)
    }

    /// Maps some bytes.
    pub(crate) fn map_range(&self, bytes: Range<u64>) -> Result<Mapping> {
        let mut options = MapOptions::new();
        if self.who == Who::Populated {
            options = options.populate();
        }
        Ok(self.file.map(&options, bytes)?)
    }

    /// The file, as that of a device.
    pub(crate) fn device(&self) -> Result<Device> {
        Ok(self.as_fd().try_clone_to_owned()?.try_into()?)
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Writes a byte into each page.
pub(crate) fn touch(mapping: &Mapping) {
    measure::touch(&mapping.all(), PAGE);
}

/// The sum of a mapping's words, which stay.
pub(crate) fn sum(mapping: &Mapping) -> u64 {
    let words = mapping.array::<u64>().iter();
    let words = words.map(|word| word.expect("memory that stays"));
    words.fold(0, u64::wrapping_add)
}

/// A memfd that does not become shorter.
fn memfd(size: u64, flags: MemfdFlags) -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | flags;
    let memfd = memfd_create("chrmem-bench", flags)?;
    ftruncate(&memfd, size)?;
    fcntl_add_seals(&memfd, SealFlags::SHRINK)?;
    Ok(memfd)
}

/// A node of another driver.
pub(crate) fn node(path: &str) -> Result<OwnedFd> {
    open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("cannot open {path}"))
}

/// What the names of the devices here begin with.
const PREFIX: &str = "bench-";

/// A device with one window of pages, until this is dropped.
pub(crate) struct Made(Folder);

impl Made {
    /// Makes one of `size` bytes.
    pub(crate) fn new(size: u64) -> Result<Self> {
        Self::with(size, &[])
    }

    /// The same, tracked.
    pub(crate) fn tracked(size: u64) -> Result<Self> {
        Self::with(size, &[("track", "1")])
    }

    /// Makes one with these settings.
    pub(crate) fn with(size: u64, settings: &[(&'static str, &str)]) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let made = Self(Tree::open()?.device(&name));
        made.0.make()?;
        made.0.make_window("memory")?;
        made.0.set("memory", "size", &size.to_string())?;
        for (setting, value) in settings {
            made.0.set("memory", setting, value)?;
        }
        made.0.set_live(true)?;
        Ok(made)
    }

    /// Its node.
    pub(crate) fn node(&self) -> PathBuf {
        format!("/dev/{}", self.0.node()).into()
    }

    /// Opens it.
    pub(crate) fn open(&self) -> Result<Device> {
        Ok(Device::open(self.node())?)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(folder: &Folder) {
    // One that was not finished is not live.
    let _ = folder.set_live(false);
    if let Err(error) = folder.remove() {
        stderr::say(format_args!("note: {error:#}"));
    }
}

/// Removes what a run left that was ended in the middle.
pub(crate) fn remove_leftovers() {
    let folders = Tree::find().and_then(|tree| tree.devices().ok());
    for folder in folders.unwrap_or_default() {
        let owner = folder
            .name()
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            remove(&folder);
        }
    }
}
