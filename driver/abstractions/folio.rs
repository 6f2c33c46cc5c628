// SPDX-License-Identifier: GPL-2.0

//! Pages of RAM that the kernel shares with user space.
//!
//! C headers: [`include/linux/gfp.h`](srctree/include/linux/gfp.h),
//! [`include/linux/highmem.h`](srctree/include/linux/highmem.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

use super::{
    iov::{
        Destination,
        Source, //
    },
    memory::{
        clamp,
        read_bytes,
        write_bytes,
        SharedMemory, //
    }, //
};

/// How folios are allocated: zeroed, and failing where otherwise the kernel would kill a process
/// or fill its log.
const GFP: bindings::gfp_t = bindings::GFP_KERNEL
    | bindings::__GFP_ZERO
    | bindings::__GFP_NOWARN
    | 1 << bindings::___GFP_RETRY_MAYFAIL_BIT;

/// Bytes of a `struct page`.
const STRUCT_PAGE: usize = size_of::<bindings::page>();

/// One zeroed page of ordinary memory that user space may map while the kernel reads and writes it.
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
    /// Allocates `count` pages, wherever they are, charged to the current memory cgroup.
    pub(crate) fn scattered(count: usize) -> Result<KVVec<Self>> {
        let mut folios = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        for _ in 0..count {
            // SAFETY: The flags allow sleeping, and this is called in process context only.
            let page = unsafe { bindings::alloc_pages(GFP | bindings::GFP_KERNEL_ACCOUNT, 0) };
            // INVARIANT: A page that is not null comes with one reference, which is now ours.
            folios.push(Self(NonNull::new(page).ok_or(ENOMEM)?), GFP_KERNEL)?;
        }
        Ok(folios)
    }

    /// Allocates `count` pages, more than zero, one physical run, by moving others out of the way.
    ///
    /// They are not charged to a memory cgroup: the kernel has no way to.
    pub(crate) fn contiguous(count: usize) -> Result<KVVec<Self>> {
        let mut folios = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        // The node to start at: there must be one, and `numa_mem_id()` is inline in C.
        let node = Page::alloc_page(GFP_KERNEL)?.nid();
        // SAFETY: As in `scattered`; the node has memory, and no other is left out.
        let first =
            unsafe { bindings::alloc_contig_pages_noprof(count, GFP, node, core::ptr::null_mut()) };
        let first = NonNull::new(first).ok_or(ENOMEM)?;
        for index in 0..count {
            // INVARIANT: The run is of `count` pages of order 0, each with a reference that is now
            // ours, whose `struct page`s are an array.
            // SAFETY: `index` is inside the run. There is room in the vector, so that this loop
            // always reaches the end of the run.
            folios.push(Self(unsafe { first.add(index) }), GFP_KERNEL)?;
        }
        Ok(folios)
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

    /// Its page, without another reference.
    pub(super) fn as_raw(&self) -> *mut bindings::page {
        self.0.as_ptr()
    }

    /// Its physical address.
    pub(crate) fn address(&self) -> u64 {
        // SAFETY: Set at boot, and never changed.
        let first = unsafe { bindings::vmemmap_base };
        let index = (self.0.as_ptr() as usize).wrapping_sub(first) / STRUCT_PAGE;
        // This is `page_to_phys()`, which is inline in C, of the one memory model of x86-64.
        (index as u64).wrapping_mul(PAGE_SIZE as u64)
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

impl SharedMemory for Folio {
    fn copy_to(&self, start: usize, len: usize, to: &mut Destination<'_>) -> usize {
        let (start, len) = clamp(PAGE_SIZE, start, len);
        // SAFETY: The page is valid, the range lies in it, and the iterator is a valid destination.
        unsafe { bindings::copy_page_to_iter(self.0.as_ptr(), start, len, to.as_raw()) }
    }

    fn copy_from(&self, start: usize, len: usize, from: &mut Source<'_>) -> usize {
        let (start, len) = clamp(PAGE_SIZE, start, len);
        // SAFETY: The page is valid, the range lies in it, and the iterator is a valid source.
        unsafe { bindings::copy_page_from_iter(self.0.as_ptr(), start, len, from.as_raw()) }
    }

    fn fill(&self, start: usize, len: usize, byte: u8) {
        let (start, len) = clamp(PAGE_SIZE, start, len);
        self.with_address(|address| {
            // SAFETY: `address` is that of the page, and the range lies in it. `memset` is the
            // kernel's, which may run while others use the memory.
            unsafe { bindings::memset(address.add(start).cast(), c_int::from(byte), len) };
        });
    }

    fn write(&self, start: usize, bytes: &[u8]) {
        let (start, len) = clamp(PAGE_SIZE, start, bytes.len());
        let bytes = bytes.get(..len).unwrap_or_default();
        // SAFETY: `address` is that of the page, and the range lies in it.
        self.with_address(|address| unsafe { write_bytes(address.add(start), bytes) });
    }

    fn read(&self, start: usize, bytes: &mut [u8]) {
        let (start, len) = clamp(PAGE_SIZE, start, bytes.len());
        let bytes = bytes.get_mut(..len).unwrap_or_default();
        // SAFETY: `address` is that of the page, and the range lies in it.
        self.with_address(|address| unsafe { read_bytes(address.add(start), bytes) });
    }
}

impl Drop for Folio {
    fn drop(&mut self) {
        // SAFETY: The reference is ours by the type's invariant, and nobody uses it after this.
        unsafe { bindings::__free_pages(self.0.as_ptr(), 0) };
    }
}

/// The page of a page frame of RAM; `None` if the frame is of something else.
///
/// The pointer is to be followed only by who knows that the page is not freed.
pub(super) fn page_of_frame(frame: u64) -> Option<*mut bindings::page> {
    // SAFETY: Takes any frame number.
    if unsafe { bindings::page_is_ram(frame as usize) } == 0 {
        return None;
    }
    // SAFETY: Set at boot, and never changed.
    let first = unsafe { bindings::vmemmap_base };
    // This is `pfn_to_page()`, which is a macro in C, of the one memory model of x86-64.
    let offset = (frame as usize).wrapping_mul(STRUCT_PAGE);
    Some(first.wrapping_add(offset) as *mut bindings::page)
}

/// Pages that can be allocated without driving the system into swapping or killing.
pub(crate) fn available_pages() -> u64 {
    // SAFETY: Only reads counters.
    let pages = unsafe { bindings::si_mem_available() };
    u64::try_from(pages).unwrap_or(0)
}
