// SPDX-License-Identifier: MIT OR Apache-2.0

//! What only benchmarks need: other memory that can be shared, and a way to have memory pinned.
//!
//! Behind the feature `measure`; no part of what versions promise.

use crate::error::{Error, Result};
use crate::file::{File, Paging};
use crate::map_options::MapOptions;
use crate::mapping::Mapping;
use crate::raw::{peers, Backing};
use crate::view::View;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::ops::Range;

/// A dma-buf of `size` bytes of a heap's memory; `heap` is `/dev/dma_heap/system`, or another.
///
/// # Errors
///
/// What the kernel says.
pub fn dma_heap(heap: impl AsFd, size: u64) -> Result<OwnedFd> {
    peers::dma_heap(heap.as_fd(), size).map_err(|errno| refused("allocate from a dma-heap", errno))
}

/// A dma-buf of the first `size` bytes of a memfd that is sealed against shrinking; `driver` is
/// `/dev/udmabuf`.
///
/// # Errors
///
/// What the kernel says.
pub fn udmabuf(driver: impl AsFd, memfd: impl AsFd, size: u64) -> Result<OwnedFd> {
    peers::udmabuf(driver.as_fd(), memfd.as_fd(), size)
        .map_err(|errno| refused("make a udmabuf", errno))
}

/// A file whose first bytes stay, which was found out once: mapping them takes one system call.
#[derive(Debug)]
pub struct Fixed {
    file: OwnedFd,
    size: u64,
    page: u64,
}

impl Fixed {
    /// Looks whether the first `size` bytes of a file stay.
    ///
    /// # Errors
    ///
    /// [`Error::CanShrink`] if the file can become shorter.
    pub fn new(file: OwnedFd, size: u64) -> Result<Self> {
        let Paging { page, backing } = File(file.as_fd()).paging(size)?;
        if backing == Backing::Fleeting {
            return Err(Error::CanShrink);
        }
        Ok(Self { file, size, page })
    }

    /// Maps a range of bytes, at most those that stay.
    ///
    /// # Errors
    ///
    /// [`Error::PastEnd`] if they are more. Else as [`MapOptions::map`].
    pub fn map(&self, options: &MapOptions, bytes: Range<u64>) -> Result<Mapping> {
        if bytes.end > self.size {
            return Err(Error::PastEnd {
                start: bytes.start,
                end: bytes.end,
                place: File(self.file.as_fd()).name(),
                size: self.size,
            });
        }
        options.map_known(&File(self.file.as_fd()), bytes, self.page)
    }
}

impl AsFd for Fixed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Stores a byte into the first of every `step` bytes of a view, by nothing but a store each.
///
/// # Panics
///
/// If the view cannot be written, or [can shrink](View::can_shrink).
#[inline]
pub fn touch(view: &View<'_>, step: usize) {
    view.touch(step);
}

/// An `io_uring` that pins memory, as for its fixed buffers.
#[derive(Debug)]
pub struct Ring(OwnedFd);

impl Ring {
    /// A new one.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn new() -> Result<Self> {
        peers::ring()
            .map(Self)
            .map_err(|errno| refused("make an io_uring", errno))
    }

    /// Pins the pages of a view.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn pin(&self, view: &View<'_>) -> Result<()> {
        peers::register(self.0.as_fd(), (view.as_ptr(), view.len()))
            .map_err(|errno| refused("register a buffer with io_uring", errno))
    }

    /// Lets go of them.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn unpin(&self) -> Result<()> {
        peers::unregister(self.0.as_fd())
            .map_err(|errno| refused("take a buffer back from io_uring", errno))
    }
}

fn refused(tried: &str, errno: Errno) -> Error {
    Error::Refused {
        tried: tried.to_owned(),
        errno,
    }
}
