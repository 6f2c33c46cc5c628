// SPDX-License-Identifier: GPL-2.0

//! Pages that go into a pipe as they are, without a copy.
//!
//! The bindings lack the C header: [`include/linux/splice.h`](srctree/include/linux/splice.h)

use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

use super::folio::FolioPage;

/// As many as a pipe takes, if nobody has changed its size.
const MOST: usize = 16;

/// `struct partial_page`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Part {
    offset: c_uint,
    len: c_uint,
    private: c_ulong,
}

/// `struct splice_pipe_desc`.
#[repr(C)]
struct Descriptor {
    pages: *mut *mut bindings::page,
    parts: *mut Part,
    count: c_int,
    most: c_uint,
    operations: *const Operations,
    release: unsafe extern "C" fn(*mut Descriptor, c_uint),
}

/// `struct pipe_buf_operations`, of which only the address is needed.
#[repr(C)]
struct Operations {
    _private: [u8; 0],
}

extern "C" {
    /// Takes a [`Descriptor`].
    fn splice_to_pipe(pipe: *mut bindings::pipe_inode_info, pages: *mut c_void) -> isize;

    /// Pages that nobody may take for their own, as they are in use elsewhere.
    static nosteal_pipe_buf_ops: Operations;
}

/// Parts of pages on their way into a pipe.
///
/// # Invariants
///
/// The first `count` pages are valid, and `self` owns a reference to each.
pub(super) struct Parts {
    pages: [*mut bindings::page; MOST],
    parts: [Part; MOST],
    count: usize,
}

impl Parts {
    pub(super) fn new() -> Self {
        let none = Part {
            offset: 0,
            len: 0,
            private: 0,
        };
        // INVARIANT: There are none.
        Self {
            pages: [core::ptr::null_mut(); MOST],
            parts: [none; MOST],
            count: 0,
        }
    }

    /// Adds a part of a page, which lies in it; whether there was room.
    pub(super) fn push(&mut self, page: &FolioPage<'_>, offset: u32, len: u32) -> bool {
        let slots = (
            self.pages.get_mut(self.count),
            self.parts.get_mut(self.count),
        );
        let (Some(slot), Some(part)) = slots else {
            return false;
        };
        // INVARIANT: `get` takes a reference, which is now ours.
        *slot = page.get();
        *part = Part {
            offset,
            len,
            private: 0,
        };
        self.count = self.count.saturating_add(1);
        true
    }

    /// Puts them into a pipe, as many as it has room for, and says how many bytes that were.
    ///
    /// # Safety
    ///
    /// `pipe` must be valid, and locked or only used by the caller.
    pub(super) unsafe fn put(mut self, pipe: *mut bindings::pipe_inode_info) -> Result<usize> {
        let mut descriptor = Descriptor {
            pages: self.pages.as_mut_ptr(),
            parts: self.parts.as_mut_ptr(),
            count: self.count as c_int,
            most: MOST as c_uint,
            operations: &raw const nosteal_pipe_buf_ops,
            release,
        };
        // INVARIANT: The pipe or `release` takes over each reference.
        self.count = 0;
        // SAFETY: The caller promises the pipe. The arrays have as many pages as the descriptor says, whose
        // references are ours to give.
        let count = unsafe { splice_to_pipe(pipe, (&raw mut descriptor).cast()) };
        to_result(count.min(0) as c_int)?;
        Ok(count as usize)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        put(&mut self.pages, self.count);
    }
}

/// Drops the references to the first `count` pages.
fn put(pages: &mut [*mut bindings::page], count: usize) {
    if count == 0 {
        return;
    }
    let pages = bindings::release_pages_arg {
        pages: pages.as_mut_ptr(),
    };
    // SAFETY: Callers own a reference to each of them, and do not use them after this.
    unsafe { bindings::release_pages(pages, count as c_int) };
}

/// # Safety
///
/// Called by `splice_to_pipe` only, for a page of a valid descriptor that is not in the pipe.
unsafe extern "C" fn release(descriptor: *mut Descriptor, index: c_uint) {
    // SAFETY: The index is one of the descriptor's pages, to which it owns a reference.
    let page = unsafe { &mut *(*descriptor).pages.add(index as usize) };
    put(core::slice::from_mut(page), 1);
}
