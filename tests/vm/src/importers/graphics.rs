// SPDX-License-Identifier: MIT OR Apache-2.0

//! Graphics drivers, which import dma-bufs by PRIME.

use super::memory::{Memory, SIZE};
use super::{argument, field, Outcome, PASS, READS};
use crate::driver::open_node;
use crate::sys::{ioctl, ioctl_fd_at, Map};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd};

/// `DRM_IOCTL_PRIME_FD_TO_HANDLE`: the handle that the driver has the dma-buf by.
fn import(node: impl AsFd, memory: &Memory) -> Result<u32, Errno> {
    let number = memory.buffer()?.as_raw_fd();
    let argument = argument([(8, number as u32)]);
    ioctl(
        node,
        crate::dmabuf::PRIME_FD_TO_HANDLE,
        argument.span(0, 12),
    )?;
    Ok(field(&argument, 0))
}

/// Imports, exports the import, and reads and writes through that.
pub(super) fn import_and_export(node: &str, memory: &Memory) -> Outcome {
    const PRIME_HANDLE_TO_FD: u32 = 0xc00c_642d;
    let gem = open_node(node, OFlags::RDWR).expect("a node");
    let handle = import(&gem, memory)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let argument = argument([(0, handle), (4, flags.bits())]);
    let again = ioctl_fd_at(&gem, PRIME_HANDLE_TO_FD, &argument, 8).expect("a descriptor");
    let expected = memory.fill(2);
    let new = |protection| Map::new(Some(again.as_fd()), 0, SIZE, protection, libc::MAP_SHARED);
    let map = new(libc::PROT_READ).expect("a mapping");
    assert!(map.read(0..SIZE) == expected, "read");
    // The driver asked for a descriptor that may write. It is the file that was imported.
    let map = new(libc::PROT_READ | libc::PROT_WRITE);
    if !memory.is_writable() {
        assert_eq!(map.err(), Some(Errno::ACCESS));
        return Ok(READS);
    }
    let bytes = super::memory::bytes(3);
    map.expect("a mapping").write(0, &bytes);
    assert!(memory.read() == bytes, "written");
    Ok(PASS)
}
