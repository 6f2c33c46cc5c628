// SPDX-License-Identifier: GPL-2.0

//! Pages of RAM that the kernel shares with user space.
//!
//! C headers: [`include/linux/gfp.h`](srctree/include/linux/gfp.h),
//! [`include/linux/highmem.h`](srctree/include/linux/highmem.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

use super::iov::{
    Destination,
    Source, //
};

/// How folios are allocated: zeroed, charged to the memory cgroup of the current task, and failing
/// where otherwise the kernel would kill a process or fill its log.
const GFP: bindings::gfp_t = bindings::GFP_KERNEL_ACCOUNT
    | bindings::__GFP_ZERO
    | bindings::__GFP_NOWARN
    | 1 << bindings::___GFP_RETRY_MAYFAIL_BIT;

/// One zeroed page of ordinary memory that user space may map while the kernel reads and writes it.
///
/// Because others write it at any time, its bytes are never a slice: they are copied by the C
/// functions that the kernel has for that, or with volatile accesses.
///
/// # Invariants
///
/// The pointer is to a page of order 0 of which `self` owns one reference.
#[repr(transparent)]
pub(crate) struct Folio(NonNull<bindings::page>);

// SAFETY: A page belongs to no thread: its last reference can be put anywhere.
unsafe impl Send for Folio {}

// SAFETY: What can be done with `&Folio` is done by C functions that may run at the same time, or
// by volatile copies of bytes.
unsafe impl Sync for Folio {}

impl Folio {
    /// Allocates a zeroed page.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The flags allow sleeping, and this is called in process context only.
        let page = unsafe { bindings::alloc_pages(GFP, 0) };
        // INVARIANT: `alloc_pages` gives null or a page with one reference, which is now ours.
        Ok(Self(NonNull::new(page).ok_or(ENOMEM)?))
    }

    /// Takes another reference, for a page table entry that is being made.
    pub(super) fn get(&self) -> *mut bindings::page {
        let page = self.0.as_ptr();
        // SAFETY: The page is valid, and its reference count is only ever changed atomically.
        let count = unsafe { Atomic::from_ptr(&raw mut (*page)._refcount.counter) };
        // `self` holds a reference, so that the count is not zero. This is `get_page()`, which is
        // inline in C.
        count.add(1, Relaxed);
        page
    }

    /// Copies `len` bytes from `start` on into `to`; gives how many it took before a fault.
    pub(crate) fn copy_to(&self, start: usize, len: usize, to: &mut Destination<'_>) -> usize {
        let (start, len) = clamp(start, len);
        // SAFETY: The page is valid, the range lies in it, and the iterator is a valid destination.
        unsafe { bindings::copy_page_to_iter(self.0.as_ptr(), start, len, to.as_raw()) }
    }

    /// Copies `len` bytes from `from` to `start`; gives how many there were before a fault.
    pub(crate) fn copy_from(&self, start: usize, len: usize, from: &mut Source<'_>) -> usize {
        let (start, len) = clamp(start, len);
        // SAFETY: The page is valid, the range lies in it, and the iterator is a valid source.
        unsafe { bindings::copy_page_from_iter(self.0.as_ptr(), start, len, from.as_raw()) }
    }

    /// Sets `len` bytes from `start` on to `byte`.
    pub(crate) fn fill(&self, start: usize, len: usize, byte: u8) {
        let (start, len) = clamp(start, len);
        self.with_address(|address| {
            // SAFETY: `address` is that of the page, and the range lies in it. `memset` is the
            // kernel's, which may run while others use the memory.
            unsafe { bindings::memset(address.add(start).cast(), c_int::from(byte), len) };
        });
    }

    /// Puts `bytes` at `start`, as many as the page has room for.
    pub(crate) fn write(&self, start: usize, bytes: &[u8]) {
        let (start, len) = clamp(start, bytes.len());
        self.with_address(|address| {
            for (index, byte) in (0..len).zip(bytes) {
                // SAFETY: `clamp` keeps `start + index` inside the page at `address`. Volatile,
                // because user space may use the same byte at the same time.
                unsafe { address.add(start).add(index).write_volatile(*byte) };
            }
        });
    }

    /// Reads the bytes at `start` into `bytes`, as many as the page has.
    pub(crate) fn read(&self, start: usize, bytes: &mut [u8]) {
        let (start, len) = clamp(start, bytes.len());
        self.with_address(|address| {
            for (index, byte) in (0..len).zip(bytes) {
                // SAFETY: `clamp` keeps `start + index` inside the page at `address`. Volatile,
                // because user space may use the same byte at the same time.
                *byte = unsafe { address.add(start).add(index).read_volatile() };
            }
        });
    }

    /// Calls `f` with the page's address in the kernel.
    fn with_address(&self, f: impl FnOnce(*mut u8)) {
        // SAFETY: The page is valid.
        let address = unsafe { bindings::kmap_local_page(self.0.as_ptr()) };
        f(address.cast());
        // SAFETY: `address` is what `kmap_local_page` gave in this very function, and nothing
        // mapped after it is left.
        unsafe { bindings::kunmap_local(address) };
    }
}

impl Drop for Folio {
    fn drop(&mut self) {
        // SAFETY: The reference is ours by the type's invariant, and nobody uses it after this.
        unsafe { bindings::__free_pages(self.0.as_ptr(), 0) };
    }
}

/// The part of a range that lies inside a page.
fn clamp(start: usize, len: usize) -> (usize, usize) {
    let start = start.min(PAGE_SIZE);
    (start, len.min(PAGE_SIZE.saturating_sub(start)))
}

/// Pages that can be allocated without driving the system into swapping or killing.
pub(crate) fn available_pages() -> u64 {
    // SAFETY: Only reads counters.
    let pages = unsafe { bindings::si_mem_available() };
    u64::try_from(pages).unwrap_or(0)
}
