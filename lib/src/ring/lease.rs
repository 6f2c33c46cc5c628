// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether an end of a ring lives: the kernel releases a dead one's locks.

use crate::raw;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{fstat, open, Mode, OFlags};

/// A lock on one byte of a file that both ends have, held until this is dropped or the process has ended,
/// however it ended. It is of an open file of its own, which nobody else shares but children made by `fork`.
#[derive(Debug)]
pub(super) struct Lease {
    file: OwnedFd,
    /// The file's device and inode number. Locks are seen by those who lock the same inode: the nodes of one
    /// device in two containers can be two inodes.
    pub(super) inode: [u64; 2],
}

impl Lease {
    /// Locks byte `at` of a file; `None` if that cannot be, because another one has, or there is no `/proc`.
    pub(super) fn take(file: BorrowedFd<'_>, at: u64) -> Option<Self> {
        let again = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = open(again, flags, Mode::empty()).ok()?;
        raw::lock_byte(file.as_fd(), at).ok()?;
        let stat = fstat(&file).ok()?;
        let inode = [stat.st_dev, stat.st_ino];
        Some(Self { file, inode })
    }

    /// Whether another open file has locked byte `at`; also if that cannot be told.
    pub(super) fn is_held(&self, at: u64) -> bool {
        raw::is_byte_locked(self.file.as_fd(), at).unwrap_or(true)
    }
}
