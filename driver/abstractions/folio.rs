// SPDX-License-Identifier: GPL-2.0

//! Pages of RAM that the kernel shares with user space.
//!
//! C headers: [`include/linux/gfp.h`](srctree/include/linux/gfp.h),
//! [`include/linux/highmem.h`](srctree/include/linux/highmem.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed, //
    }, //
};

use super::{
    cache::Cache,
    iov::{
        Destination,
        Source, //
    },
    memory::{
        clamp,
        read_bytes,
        write_bytes,
        SharedMemory, //
    },
    task, //
};

#[cfg(CONFIG_HIGHMEM)]
compile_error!("folios of more than one page need all memory in the kernel's direct mapping");

/// How folios are allocated: zeroed, and failing where otherwise the kernel would fill its log.
const GFP: bindings::gfp_t = bindings::GFP_KERNEL | bindings::__GFP_ZERO | bindings::__GFP_NOWARN;

/// Where otherwise the kernel would kill a process.
const GFP_MAYFAIL: bindings::gfp_t = GFP | 1 << bindings::___GFP_RETRY_MAYFAIL_BIT;

/// Only if it takes little work.
const GFP_EASY: bindings::gfp_t = GFP | 1 << bindings::___GFP_NORETRY_BIT;

/// Charged to the memory cgroup of the current task.
const ACCOUNT: bindings::gfp_t = bindings::GFP_KERNEL_ACCOUNT & !bindings::GFP_KERNEL;

/// Bytes of a `struct page`.
const STRUCT_PAGE: usize = size_of::<bindings::page>();

/// The order of the folios that one huge page-table entry maps.
pub(crate) const HUGE: u32 = 9;

/// Pages of such a folio.
pub(crate) const HUGE_PAGES: usize = 1 << HUGE;

/// 2 to the `ORDER` zeroed pages in one run that user space may map while the kernel reads and
/// writes them.
///
/// # Invariants
///
/// The pointer is to the first page of a folio of this order of which `self` owns one reference.
#[repr(transparent)]
pub(crate) struct Folio<const ORDER: u32>(NonNull<bindings::page>);

// SAFETY: A folio belongs to no thread: its last reference can be put anywhere.
unsafe impl<const ORDER: u32> Send for Folio<ORDER> {}

// SAFETY: What can be done with `&Folio` is done by C functions that may run at the same time, or
// by volatile copies of bytes.
unsafe impl<const ORDER: u32> Sync for Folio<ORDER> {}

impl<const ORDER: u32> Folio<ORDER> {
    /// Allocates a folio, charged to the current memory cgroup. One of more than a page is only
    /// given if it takes little work.
    pub(crate) fn new() -> Result<Self> {
        let gfp = match ORDER {
            0 => GFP_MAYFAIL,
            _ => GFP_EASY | 1 << bindings::___GFP_COMP_BIT,
        };
        // Not `folio_alloc`, which marks a folio of several pages as one that the memory manager may split:
        // debugfs's `split_huge_pages` then follows its `mapping`, which is null.
        // SAFETY: The flags allow sleeping, and this is called in process context only.
        let page = unsafe { bindings::alloc_pages(gfp | ACCOUNT, ORDER) };
        // INVARIANT: What is not null has this order and one reference, which is now ours. Pages that are
        // allocated as a compound page are one folio.
        Ok(Self(NonNull::new(page).ok_or(ENOMEM)?))
    }

    /// One of its pages; `None` if it has not so many.
    pub(crate) fn page(&self, index: usize) -> Option<FolioPage<'_>> {
        if index >= 1 << ORDER {
            return None;
        }
        Some(FolioPage {
            head: self.0,
            // SAFETY: The `struct page`s of a folio are an array, and `index` is inside it.
            page: unsafe { self.0.add(index) },
            order: ORDER,
            cache: Cache::Cached,
            _folio: PhantomData,
        })
    }
}

impl Folio<0> {
    /// Allocates `count` pages, wherever they are but in runs of up to 2 to the `most` where that takes little
    /// work, charged to the current memory cgroup.
    pub(crate) fn scattered(count: usize, most: u32) -> Result<KVVec<Self>> {
        let mut folios = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        let mut order = most;
        while folios.len() < count {
            if task::is_killed() {
                return Err(EINTR);
            }
            let left = count.saturating_sub(folios.len());
            order = order.min(left.ilog2());
            if order == 0 {
                folios.push(Self::new()?, GFP_KERNEL)?;
            } else if Self::run(order, &mut folios).is_err() {
                // None so long is free; nor will be the next.
                order = order.saturating_sub(1);
            }
        }
        Ok(folios)
    }

    /// Adds 2 to the `order` pages, at least two, in one physical run, each with a life of its own.
    fn run(order: u32, folios: &mut KVVec<Self>) -> Result {
        // SAFETY: The flags allow sleeping, and this is called in process context only.
        let first = unsafe { bindings::alloc_pages(GFP_EASY | ACCOUNT, order) };
        let first = NonNull::new(first).ok_or(ENOMEM)?;
        // SAFETY: The pages were just allocated in one, not as a compound page, and are ours.
        unsafe { bindings::split_page(first.as_ptr(), order) };
        for index in 0..1 << order {
            // INVARIANT: Since they were split, the pages are of order 0, each with a reference that
            // is now ours.
            // SAFETY: The `struct page`s of the run are an array, and `index` is inside it.
            let page = Self(unsafe { first.add(index) });
            folios.push(page, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Allocates `count` pages, more than zero, one physical run, by moving others out of the way.
    ///
    /// They are not charged to a memory cgroup: the kernel has no way to.
    pub(crate) fn contiguous(count: usize) -> Result<KVVec<Self>> {
        let mut folios = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        // The node to start at: there must be one, and `numa_mem_id()` is inline in C.
        let node = Page::alloc_page(GFP_KERNEL)?.nid();
        // SAFETY: The flags allow sleeping, and this is called in process context only; the node has memory, and
        // no other is left out.
        let first = unsafe {
            bindings::alloc_contig_pages_noprof(count, GFP_MAYFAIL, node, core::ptr::null_mut())
        };
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
}

/// Memory that has an address in the kernel for as long as something is done with it.
///
/// # Safety
///
/// What `first` gives is the first of pages in one run, of `bytes` bytes in all, that stay while `self`
/// is borrowed.
unsafe trait Addressed {
    /// The first page.
    fn first(&self) -> *mut bindings::page;

    /// Bytes of all pages.
    fn bytes(&self) -> usize;

    /// Calls `f` with the address.
    fn with_address<R>(&self, f: impl FnOnce(*mut u8) -> R) -> R {
        // SAFETY: The page is valid. Without high memory, what follows its address is the rest of
        // the run.
        let address = unsafe { bindings::kmap_local_page(self.first()) };
        let result = f(address.cast());
        // SAFETY: `address` is what `kmap_local_page` gave in this very function, and nothing
        // mapped after it is left.
        unsafe { bindings::kunmap_local(address) };
        result
    }
}

// SAFETY: By the type's invariant, the pages of a folio, which has that order.
unsafe impl<const ORDER: u32> Addressed for Folio<ORDER> {
    fn first(&self) -> *mut bindings::page {
        self.0.as_ptr()
    }

    fn bytes(&self) -> usize {
        PAGE_SIZE << ORDER
    }
}

// SAFETY: By the type's invariant, the pages are in one run; those who own them are borrowed.
unsafe impl Addressed for Run<'_> {
    fn first(&self) -> *mut bindings::page {
        self.0
            .first()
            .map_or(core::ptr::null_mut(), |folio| folio.0.as_ptr())
    }

    fn bytes(&self) -> usize {
        self.size()
    }
}

impl<T: Addressed> SharedMemory for T {
    fn copy_to(&self, start: usize, len: usize, to: &mut Destination<'_>) -> usize {
        let (start, len) = clamp(self.bytes(), start, len);
        // SAFETY: `address` is that of the memory, the range lies in it, and the iterator is a valid
        // destination.
        self.with_address(|address| unsafe {
            bindings::_copy_to_iter(address.add(start).cast(), len, to.as_raw())
        })
    }

    fn copy_from(&self, start: usize, len: usize, from: &mut Source<'_>) -> usize {
        let (start, len) = clamp(self.bytes(), start, len);
        // SAFETY: `address` is that of the memory, the range lies in it, and the iterator is a valid
        // source.
        self.with_address(|address| unsafe {
            bindings::_copy_from_iter(address.add(start).cast(), len, from.as_raw())
        })
    }

    fn fill(&self, start: usize, len: usize, byte: u8) {
        let (start, len) = clamp(self.bytes(), start, len);
        // SAFETY: `address` is that of the memory, and the range lies in it. `memset` is the
        // kernel's, which may run while others use the memory.
        self.with_address(|address| unsafe {
            bindings::memset(address.add(start).cast(), c_int::from(byte), len);
        });
    }

    fn write(&self, start: usize, bytes: &[u8]) {
        let (start, len) = clamp(self.bytes(), start, bytes.len());
        let bytes = bytes.get(..len).unwrap_or_default();
        // SAFETY: `address` is that of the memory, and the range lies in it.
        self.with_address(|address| unsafe { write_bytes(address.add(start), bytes) });
    }

    fn read(&self, start: usize, bytes: &mut [u8]) {
        let (start, len) = clamp(self.bytes(), start, bytes.len());
        let bytes = bytes.get_mut(..len).unwrap_or_default();
        // SAFETY: `address` is that of the memory, and the range lies in it.
        self.with_address(|address| unsafe { read_bytes(address.add(start), bytes) });
    }
}

impl<const ORDER: u32> Drop for Folio<ORDER> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, the folio has so many pages.
        if ORDER > 0 && unsafe { has_failed_page(self.0.as_ptr(), 1 << ORDER) } {
            // The kernel keeps a single page that has failed from being used again, but not one inside of a
            // folio, nor can a folio be split that is in no file's cache.
            pr_warn!(
                "{} bytes are lost: memory in them has failed\n",
                PAGE_SIZE << ORDER
            );
            return;
        }
        // SAFETY: The reference is ours by the type's invariant, and nobody uses it after this.
        unsafe { bindings::__free_pages(self.0.as_ptr(), ORDER) };
    }
}

/// Pages that lie behind each other in memory.
///
/// # Invariants
///
/// There is a page, and each is the one after the one before it.
pub(crate) struct Run<'a>(&'a [Folio<0>]);

impl<'a> Run<'a> {
    /// The first of `folios` and those of the next that follow it in memory: no more than `most` in
    /// all.
    pub(crate) fn new(folios: &'a [Folio<0>], most: usize) -> Option<Self> {
        let first = folios.first()?.0.as_ptr();
        let follows = |&(index, folio): &(usize, &Folio<0>)| {
            // The `struct page`s of pages behind each other are, too: the one memory model of x86-64.
            folio.0.as_ptr() == first.wrapping_add(index)
        };
        let pages = folios.iter().take(most.max(1)).enumerate();
        let count = pages.take_while(follows).count();
        // INVARIANT: The first is always taken, and the others were compared with it.
        Some(Self(folios.get(..count)?))
    }

    /// Bytes of the run.
    pub(crate) fn size(&self) -> usize {
        self.0.len().saturating_mul(PAGE_SIZE)
    }
}

/// A page of a folio that cannot go away.
///
/// # Invariants
///
/// `page` is one of the pages of the folio of this order that starts at `head`, which has a
/// reference for `'a`. The kernel's mapping of it has the mode `cache`.
pub(crate) struct FolioPage<'a> {
    head: NonNull<bindings::page>,
    page: NonNull<bindings::page>,
    order: u32,
    cache: Cache,
    _folio: PhantomData<&'a ()>,
}

impl FolioPage<'_> {
    /// The same page, known to have another cache mode.
    ///
    /// # Safety
    ///
    /// The kernel's mapping of the page must have this mode while `self` lives.
    pub(super) unsafe fn with_cache(self, cache: Cache) -> Self {
        // INVARIANT: The caller promises the mode.
        Self { cache, ..self }
    }

    /// How the processor caches it.
    pub(super) fn cache(&self) -> Cache {
        self.cache
    }

    /// Takes another reference, for a page table entry that is being made.
    pub(super) fn get(&self) -> *mut bindings::page {
        let head = self.head.as_ptr();
        // SAFETY: The page is valid, and its reference count is only ever changed atomically.
        let count = unsafe { Atomic::from_ptr(&raw mut (*head)._refcount.counter) };
        // By the type's invariant the count is not zero. This is `get_page()`, which is inline in
        // C: the references of a folio are counted in its first page.
        count.add(1, Relaxed);
        self.as_raw()
    }

    /// The page, without another reference.
    pub(super) fn as_raw(&self) -> *mut bindings::page {
        self.page.as_ptr()
    }

    /// Locks the folio, if a huge entry can map it: so does the memory manager while it makes
    /// page-table entries, so that nobody makes a small one where somebody else makes a huge one.
    pub(super) fn lock_huge(&self) -> Option<LockedFolio<'_>> {
        const LOCKED: usize = 1 << bindings::pageflags_PG_locked;
        if self.order != HUGE {
            return None;
        }
        let head = self.head.as_ptr();
        // SAFETY: The page is valid, and its flags are only ever changed atomically.
        let flags = unsafe { Atomic::from_ptr(&raw mut (*head).flags.f) };
        let free = flags.load(Relaxed) & !LOCKED;
        if flags.cmpxchg(free, free | LOCKED, Acquire).is_err() {
            // SAFETY: The folio is valid, and faults may sleep.
            unsafe { bindings::__folio_lock(head.cast()) };
        }
        // INVARIANT: It was locked here.
        Some(LockedFolio(self))
    }

    /// The folio, if a huge entry can map it: this is its first page, and none of its pages has failed.
    pub(super) fn huge(&self) -> Option<*mut bindings::folio> {
        let head = self.head.as_ptr();
        if self.order != HUGE || self.page != self.head {
            return None;
        }
        // SAFETY: By the type's invariant, the folio has so many pages.
        if unsafe { has_failed_page(head, HUGE_PAGES) } {
            return None;
        }
        Some(head.cast())
    }

    /// Whether its bytes are lost, because the memory of the machine failed. To access it could end in a panic.
    pub(super) fn has_failed(&self) -> bool {
        // SAFETY: By the type's invariant, the page is valid.
        unsafe { has_failed_page(self.page.as_ptr(), 1) }
    }

    /// Its physical address.
    pub(crate) fn address(&self) -> u64 {
        // SAFETY: Set at boot, and never changed.
        let first = unsafe { bindings::vmemmap_base };
        let index = (self.page.as_ptr() as usize).wrapping_sub(first) / STRUCT_PAGE;
        // This is `page_to_phys()`, which is inline in C, of the one memory model of x86-64.
        (index as u64).wrapping_mul(PAGE_SIZE as u64)
    }
}

/// A folio that is locked until this is dropped.
///
/// # Invariants
///
/// The folio of the page is locked by us.
pub(super) struct LockedFolio<'a>(&'a FolioPage<'a>);

impl Drop for LockedFolio<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::folio_unlock(self.0.head.as_ptr().cast()) };
    }
}

/// Whether some memory of the machine has failed since it was booted. Until then, no page need be looked at.
///
/// `memory_failure` marks the page before it counts it. A page that is looked at in between is as one that fails a
/// moment later.
#[inline]
pub(crate) fn has_failed_memory() -> bool {
    #[cfg(all(CONFIG_MEMORY_FAILURE, CONFIG_NUMA))]
    let failed = {
        let nodes = &raw const bindings::node_data;
        // SAFETY: Set at boot, and never changed.
        let count = unsafe { bindings::nr_node_ids } as usize;
        (0..count).any(|number| {
            // SAFETY: The array has an element for each number of a node, which is null or a node that stays. The
            // counter is only ever counted up.
            unsafe {
                let node = nodes.cast::<*const bindings::pglist_data>().add(number);
                let node = node.read_volatile();
                !node.is_null() && (&raw const (*node).mf_stats.total).read_volatile() != 0
            }
        })
    };
    #[cfg(all(CONFIG_MEMORY_FAILURE, not(CONFIG_NUMA)))]
    // SAFETY: The only node is there for ever; the counter is only ever counted up.
    let failed =
        unsafe { (&raw const bindings::contig_page_data.mf_stats.total).read_volatile() } != 0;
    #[cfg(not(CONFIG_MEMORY_FAILURE))]
    let failed = false;
    failed
}

/// Whether one of `count` pages from `first` on has failed.
///
/// # Safety
///
/// `first` must be the first of so many valid pages, whose `struct page`s are an array.
#[cfg(CONFIG_MEMORY_FAILURE)]
pub(super) unsafe fn has_failed_page(first: *mut bindings::page, count: usize) -> bool {
    const FAILED: usize = 1 << bindings::pageflags_PG_hwpoison;
    has_failed_memory()
        && (0..count).any(|index| {
            // SAFETY: The caller promises the page; its flags are only ever changed atomically.
            let flags = unsafe { Atomic::from_ptr(&raw mut (*first.add(index)).flags.f) };
            flags.load(Relaxed) & FAILED != 0
        })
}

/// Nobody notes here that pages have failed.
///
/// # Safety
///
/// Takes anything.
#[cfg(not(CONFIG_MEMORY_FAILURE))]
pub(super) unsafe fn has_failed_page(_first: *mut bindings::page, _count: usize) -> bool {
    false
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
