// SPDX-License-Identifier: GPL-2.0

//! Pages that go into a pipe as they are, without a copy.
//!
//! The bindings lack the C headers: [`include/linux/pipe_fs_i.h`](srctree/include/linux/pipe_fs_i.h),
//! [`include/linux/splice.h`](srctree/include/linux/splice.h)

use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

use super::folio::FolioPage;

/// `struct pipe_buffer`.
#[repr(C)]
struct PipeBuffer {
    page: *mut bindings::page,
    offset: c_uint,
    len: c_uint,
    ops: *const PipeBufOperations,
    flags: c_uint,
    private: c_ulong,
}

/// `struct pipe_buf_operations`, of which only the address is needed.
#[repr(C)]
struct PipeBufOperations {
    _private: [u8; 0],
}

extern "C" {
    /// Takes a [`PipeBuffer`], whose reference to its page goes to the pipe or is dropped.
    fn add_to_pipe(pipe: *mut bindings::pipe_inode_info, buffer: *mut c_void) -> isize;

    /// Pages that nobody may take for their own, as they are in use elsewhere.
    static nosteal_pipe_buf_ops: PipeBufOperations;
}

/// Puts a part of a page, which lies in it, into a pipe; fails with `EAGAIN` if the pipe is full.
///
/// # Safety
///
/// `pipe` must be valid, and locked or only used by the caller.
pub(super) unsafe fn put(
    pipe: *mut bindings::pipe_inode_info,
    page: &FolioPage<'_>,
    offset: u32,
    len: u32,
) -> Result {
    let mut buffer = PipeBuffer {
        page: page.get(),
        offset,
        len,
        ops: &raw const nosteal_pipe_buf_ops,
        flags: 0,
        private: 0,
    };
    // SAFETY: The caller promises the pipe. The buffer is copied; the reference that `get` took is its own,
    // which these operations drop.
    let count = unsafe { add_to_pipe(pipe, (&raw mut buffer).cast()) };
    to_result(count.min(0) as c_int)
}
