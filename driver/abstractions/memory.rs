// SPDX-License-Identifier: GPL-2.0

//! What all memory that is shared with user space or a device has in common.

use super::iov::{
    Destination,
    Source, //
};

/// Memory that others write at any time.
///
/// Its bytes are never a slice: they are copied by the C functions that the kernel has for that,
/// or with volatile accesses. What of a range lies beyond the end of the memory is left out.
pub(crate) trait SharedMemory {
    /// Copies `len` bytes from `start` on into `to`; gives how many it took before a fault.
    fn copy_to(&self, start: usize, len: usize, to: &mut Destination<'_>) -> usize;

    /// Copies `len` bytes from `from` to `start`; gives how many there were before a fault.
    fn copy_from(&self, start: usize, len: usize, from: &mut Source<'_>) -> usize;

    /// Sets `len` bytes from `start` on to `byte`.
    fn fill(&self, start: usize, len: usize, byte: u8);

    /// Puts `bytes` at `start`.
    fn write(&self, start: usize, bytes: &[u8]);

    /// Reads the bytes at `start` into `bytes`.
    fn read(&self, start: usize, bytes: &mut [u8]);
}

/// The part of a range that lies inside memory of `size` bytes.
pub(super) fn clamp(size: usize, start: usize, len: usize) -> (usize, usize) {
    let start = start.min(size);
    (start, len.min(size.saturating_sub(start)))
}

/// Puts `bytes` at `to`.
///
/// # Safety
///
/// As many bytes as `bytes` has must be valid for volatile writes at `to`.
pub(super) unsafe fn write_bytes(to: *mut u8, bytes: &[u8]) {
    for (index, byte) in (0..bytes.len()).zip(bytes) {
        // SAFETY: The caller promises room for all of `bytes`.
        unsafe { to.add(index).write_volatile(*byte) };
    }
}

/// Reads the bytes at `from` into `bytes`.
///
/// # Safety
///
/// As many bytes as `bytes` has must be valid for volatile reads at `from`.
pub(super) unsafe fn read_bytes(from: *const u8, bytes: &mut [u8]) {
    for (index, byte) in (0..bytes.len()).zip(bytes) {
        // SAFETY: The caller promises as many bytes as `bytes` has.
        *byte = unsafe { from.add(index).read_volatile() };
    }
}
