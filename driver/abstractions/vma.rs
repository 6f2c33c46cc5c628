// SPDX-License-Identifier: GPL-2.0

//! What a mapping does after it was made: splits, forks, faults, the end.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use core::marker::PhantomData;
use kernel::{
    bindings,
    mm::virt::{
        VmaNew,
        VmaRef, //
    },
    page::PAGE_SIZE,
    prelude::*, //
};

use super::{
    cache::Cache,
    folio::{
        has_failed_memory,
        has_failed_page,
        page_of_frame,
        FolioPage,
        HUGE,
        HUGE_BYTES, //
    },
    helpers,
    inode::Inode,
    revocable::Revocable, //
};

/// What is mapped at a page.
pub(crate) enum Page<'a> {
    /// A page of RAM.
    Folio(FolioPage<'a>),
    /// A page frame about which the memory manager knows nothing more.
    Frame(Frame<'a>),
}

impl Page<'_> {
    /// How the processor caches it.
    pub(super) fn cache(&self) -> Cache {
        match self {
            Self::Folio(page) => page.cache(),
            Self::Frame(frame) => frame.cache,
        }
    }

    /// Whether its bytes are lost, because the memory of the machine failed. It must not be accessed.
    pub(crate) fn has_failed(&self) -> bool {
        match self {
            Self::Folio(page) => page.has_failed(),
            Self::Frame(frame) => frame.has_failed(),
        }
    }

    /// Whether it was taken away: it must not be accessed.
    pub(super) fn is_revoked(&self) -> bool {
        matches!(self, Self::Frame(frame) if frame.access.is_revoked())
    }

    /// Whether a VMA that [`install`] has set up is for pages of this kind and cache mode.
    fn fits(&self, vma: &VmaRef) -> bool {
        let is_frame = matches!(self, Self::Frame(_));
        is_frame == has_frames(vma) && self.cache() == cache_of(vma)
    }
}

/// A page frame that belongs to some memory, which is borrowed.
///
/// # Invariants
///
/// User space may map the frame while the memory lives, with this cache mode: the kernel's own mapping, if
/// there is one, has the same.
pub(crate) struct Frame<'a> {
    number: u64,
    /// Frames from this one on that may be mapped as it may be.
    run: u64,
    cache: Cache,
    /// The right to map it. Whoever makes a huge page-table entry has it alone, so that nobody makes small ones for the same
    /// frames meanwhile.
    access: &'a Revocable,
}

impl<'a> Frame<'a> {
    /// The frame with this number, the first of a run of so many.
    ///
    /// # Safety
    ///
    /// While the memory that the result borrows lives, user space may have the frames of the run mapped, and every
    /// mapping of them must have this cache mode.
    pub(super) unsafe fn new(number: u64, run: u64, cache: Cache, access: &'a Revocable) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            number,
            run,
            cache,
            access,
        }
    }

    /// Its number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether its bytes are lost, because the memory of the machine failed.
    fn has_failed(&self) -> bool {
        has_failed_memory() && has_failed_frame(self.number)
    }

    /// Whether one page-table entry of this order can map what begins with it.
    fn fits_entry(&self, order: u32) -> bool {
        let pages = 1_u64.wrapping_shl(order);
        let all = self.number..self.number.saturating_add(pages);
        self.number & pages.wrapping_sub(1) == 0
            && self.run >= pages
            && !(has_failed_memory() && { all }.any(has_failed_frame))
    }

    /// Whether a huge page-table entry can map some of the frames from it on.
    pub(super) fn has_huge(&self) -> bool {
        self.has_entry(HUGE, self.run)
    }

    /// Whether an entry of order [`GIANT`] can map some of the `pages` frames from it on.
    pub(super) fn has_giant(&self, pages: u64) -> bool {
        self.has_entry(GIANT, pages.min(self.run)) && helpers::has_pud_entries()
    }

    /// Whether a page-table entry of this order can map some of the `pages` frames from it on.
    fn has_entry(&self, order: u32, pages: u64) -> bool {
        let entry = 1_u64.wrapping_shl(order);
        let skipped = self.number.wrapping_neg() & entry.wrapping_sub(1);
        skipped.saturating_add(entry) <= pages
    }
}

/// Whether the bytes of a page frame are lost. It must be one that a [`Frame`] was made for.
fn has_failed_frame(number: u64) -> bool {
    // SAFETY: The page of a frame of RAM is valid.
    page_of_frame(number).is_some_and(|page| unsafe { has_failed_page(page, 1) })
}

/// How a mapping is set up.
pub(crate) struct Setup {
    /// Whether it is worth trying to map it by huge page-table entries.
    pub(crate) huge: bool,
    /// Whether [`VmOperations::stored`] is to be called, if it is a shared mapping of cached folios. Each folio should be a single page: of a
    /// larger one, a store is told of once for all that one fault maps.
    pub(crate) track: bool,
}

/// What happens to mappings.
///
/// An implementation can be wrong without harm to memory. What [`page`](Self::page) gives is borrowed from
/// `self`, which outlives the mappings, and nothing that is borrowed from a shared reference can be taken
/// away or replaced; a page of another kind or cache mode than the mapping's first is a `SIGBUS`.
pub(crate) trait VmOperations: Send + Sync + Sized + 'static {
    /// A mapping came to be: by mmap, or by a split, a move or a fork of another one.
    fn opened(&self, vma: &VmaRef);

    /// A mapping is going away.
    fn closed(&self, vma: &VmaRef);

    /// Whose address space the mappings are in; always the same.
    fn inode(&self) -> &Inode;

    /// What is at page `page` of the address space; `None` gives the process a `SIGBUS`.
    fn page(&self, page: u64) -> Option<Page<'_>>;

    /// A process is about to store into page `page`, which was not writable in this mapping. The page's folio is locked, until an entry
    /// of the page table is writable. Called only where the mapping is set up so.
    fn stored(&self, page: u64);

    /// Reads the bytes at `offset` of the address space for a debugger, as many as there are; gives how many.
    fn peek(&self, offset: u64, to: &mut [u8]) -> usize;

    /// Writes the bytes at `offset` of the address space for a debugger, as many as there are; gives how many.
    fn poke(&self, offset: u64, from: &[u8]) -> usize;
}

/// Makes a new mapping use `this`, and tells it that the mapping came to be.
///
/// The mapping has the kind and the cache mode of its first page. It can then not be grown, and does not go
/// into core dumps. One of folios is not `VM_PFNMAP`: its pages are as good as any for `get_user_pages`. Nor
/// is it `VM_MIXEDMAP`: huge entries survive being split only so, and a fork has nothing to copy.
///
/// Fails with `EINVAL` where a process would get copies of its own of anything but cached folios: a copy is an
/// ordinary page, which must be cached, and frames cannot be copied.
///
/// The memory manager of 7.2 and 7.3 does not fail a mapping after this, nor do their importers of dma-bufs.
/// One that did so would leave a mapping counted: no callback tells of it. The mapped folios would be unmapped
/// nevertheless.
///
/// # Safety
///
/// `this` must live until the mapping's file is released.
// ANCHOR: install
pub(super) unsafe fn install<T: VmOperations>(this: &T, vma: &VmaNew, setup: &Setup) -> Result {
    let first = this.page(first_page(vma)).ok_or(ENXIO)?;
    let frames = matches!(first, Page::Frame(_));
    if !is_shared(vma) && (frames || first.cache() != Cache::Cached) {
        return Err(EINVAL);
    }
    vma.set_dontexpand();
    vma.set_dontdump();
    if frames {
        vma.set_io();
    }
    let is_cached_ram = !frames && first.cache() == Cache::Cached;
    let track = setup.track && is_cached_ram && is_shared(vma);
    // SAFETY: The mapping is being set up, so that nobody else uses it. The table lives for ever,
    // and `this` as long as the callbacks need it. `VM_PFNMAP` is right for frames, of which no
    // mapping has been made yet.
    unsafe {
        let vma = &mut *vma.as_ptr();
        if frames {
            vma.__bindgen_anon_2.vm_flags |= bindings::VM_PFNMAP;
        }
        if setup.huge {
            vma.__bindgen_anon_2.vm_flags |= bindings::VM_HUGEPAGE;
        }
        if track {
            // As the memory manager does for such a table, but only after this: some entries are made here.
            let flags = vma.__bindgen_anon_2.vm_flags & !bindings::VM_SHARED;
            vma.vm_page_prot = bindings::vm_get_page_prot(flags);
        }
        vma.vm_page_prot = first.cache().protect(vma.vm_page_prot);
        let operations = match track {
            true => &Table::<T>::TRACKED,
            false => Table::<T>::of(first.cache()),
        };
        vma.vm_ops = core::ptr::from_ref(operations).cast();
        vma.vm_private_data = core::ptr::from_ref(this).cast_mut().cast();
    }
    this.opened(vma);
    if let Page::Folio(page) = &first {
        // A single folio of more than a few pages is mapped by the first fault for less.
        let is_whole = bytes(vma) > EAGER && page.place().1.saturating_mul(PAGE) >= bytes(vma);
        if is_shared(vma) && bytes(vma) <= AROUND && !is_whole {
            map_now(this, vma, first.cache());
        }
    }
    Ok(())
}

/// Maps all of a small mapping of folios, which costs less than the first fault would, and that
/// is as much as one would map. What is not in the mapping's cache mode is left out.
fn map_now<T: VmOperations>(this: &T, vma: &VmaNew, cache: Cache) {
    let mut pages = [core::ptr::null_mut(); AROUND_PAGES];
    let mut count: usize = 0;
    let all = folio_pages(this, first_page(vma), cache).take((bytes(vma) / PAGE) as usize);
    for (slot, page) in pages.iter_mut().zip(all.map_while(|page| page)) {
        *slot = page;
        count = count.saturating_add(1);
    }
    // SAFETY: The VMA is being set up and write-locked. It is one of folios, so not `VM_PFNMAP`. It has as many pages as
    // there are; `this`, which is borrowed, keeps them. If it fails, faults will map what is missing.
    unsafe { insert(vma, vma.start(), pages.get_mut(..count).unwrap_or_default()) };
}

/// Pages of the address space from `first` on, each with what is mapped there if it is of a folio, in this cache mode, and has not
/// failed.
fn folio_pages<T: VmOperations>(
    this: &T,
    first: u64,
    cache: Cache,
) -> impl Iterator<Item = Option<*mut bindings::page>> + use<'_, T> {
    let has_failed = has_failed_memory();
    // What is left of the last folio.
    let (mut next, mut end) = (core::ptr::null_mut(), core::ptr::null_mut());
    (first..).map(move |page| {
        if next == end {
            match this.page(page)? {
                Page::Folio(page) if page.cache() == cache => (next, end) = page.rest(),
                _ => return None,
            }
        }
        let page = next;
        next = page.wrapping_add(1);
        // SAFETY: It is one of a folio, which `this` keeps.
        (!(has_failed && unsafe { has_failed_page(page, 1) })).then_some(page)
    })
}

/// Maps `pages` from `address` on, as `vm_page_prot` says; whether all of them were mapped by this. It stops where something
/// is mapped already, and where there is no memory for a page table.
///
/// Unlike `vm_insert_pages`, this does not make the mapping `VM_MIXEDMAP`, which a fork would copy entry by entry, and in
/// which no huge entry fits.
///
/// # Safety
///
/// The VMA must be locked, not be `VM_PFNMAP`, and have the addresses. The pages must be valid ones of folios, which stay
/// for the call; the entries take references of their own.
unsafe fn insert(vma: &VmaRef, address: usize, pages: &mut [*mut bindings::page]) -> bool {
    let mut action: bindings::mmap_action = pin_init::zeroed();
    action.__bindgen_anon_1.map_kernel = bindings::mmap_action__bindgen_ty_1__bindgen_ty_3 {
        start: address,
        pages: pages.as_mut_ptr(),
        nr_pages: pages.len(),
        pgoff: 0,
    };
    // SAFETY: As the caller promises.
    unsafe { bindings::map_kernel_pages_complete(vma.as_ptr(), &mut action) == 0 }
}
// ANCHOR_END: install

/// What a VMA's `vm_ops` points at: one for each way that a mapping can be.
#[repr(C)]
struct Operations {
    table: bindings::vm_operations_struct,
    /// How the processor caches what the VMA maps.
    cache: Cache,
}

impl Operations {
    /// The same, with this cache mode.
    const fn with(self, cache: Cache) -> Self {
        Self { cache, ..self }
    }
}

struct Table<T>(PhantomData<T>);

impl<T: VmOperations> Table<T> {
    const OPERATIONS: Operations = Operations {
        table: bindings::vm_operations_struct {
            open: Some(open::<T>),
            close: Some(close::<T>),
            may_split: Some(may_split),
            fault: Some(fault::<T>),
            map_pages: Some(map_pages),
            huge_fault: Some(huge_fault::<T>),
            access: Some(access::<T>),
            ..pin_init::zeroed()
        },
        cache: Cache::Cached,
    };

    /// The same, and it is told of stores. Because `page_mkwrite` is there, the memory manager makes writable entries only after it has
    /// asked.
    const TRACKED: Operations = Operations {
        table: bindings::vm_operations_struct {
            page_mkwrite: Some(page_mkwrite::<T>),
            ..Self::OPERATIONS.table
        },
        cache: Cache::Cached,
    };

    /// The table for a mapping with this cache mode.
    fn of(cache: Cache) -> &'static Operations {
        match cache {
            Cache::Cached => &const { Self::OPERATIONS.with(Cache::Cached) },
            Cache::WriteCombine => &const { Self::OPERATIONS.with(Cache::WriteCombine) },
            Cache::NonCached => &const { Self::OPERATIONS.with(Cache::NonCached) },
        }
    }
}

/// The first page of its address space that a VMA maps.
pub(crate) fn first_page(vma: &VmaRef) -> u64 {
    // SAFETY: A `VmaRef` is valid and at least read-locked.
    unsafe { (*vma.as_ptr()).vm_pgoff as u64 }
}

/// The bytes that a VMA maps.
pub(crate) fn bytes(vma: &VmaRef) -> u64 {
    vma.end().saturating_sub(vma.start()) as u64
}

/// `VM_MAYSHARE`. The one of the `kernel` crate of 7.2 is the number of `VM_MAYEXEC`, by a slip in
/// `bindings_helper.h`.
const MAYSHARE: bindings::vm_flags_t = 1 << bindings::VMA_MAYSHARE_BIT;

/// Whether a VMA that [`install`] has set up is one of frames.
fn has_frames(vma: &VmaRef) -> bool {
    vma.flags() & bindings::VM_PFNMAP != 0
}

/// The cache mode of a VMA that [`install`] has set up.
fn cache_of(vma: &VmaRef) -> Cache {
    // SAFETY: A `VmaRef` is valid and at least read-locked, and `install` has set its table, which is the first field of an
    // `Operations` and a pointer to all of it.
    unsafe { (*(*vma.as_ptr()).vm_ops.cast::<Operations>()).cache }
}

/// Whether a VMA is a shared mapping.
pub(crate) fn is_shared(vma: &VmaRef) -> bool {
    // Not `VM_SHARED`, which the shared mapping of a file that was opened only for reading lacks.
    vma.flags() & MAYSHARE != 0
}

/// Whether `page_mkwrite` is called for a VMA that [`install`] has set up.
fn is_tracked(vma: &VmaRef) -> bool {
    // SAFETY: A `VmaRef` is valid and at least read-locked, and `install` has set its table.
    unsafe { (*(*vma.as_ptr()).vm_ops).page_mkwrite.is_some() }
}

/// What is at page `page` of the address space that `vma`, which [`install`] has set up, maps. A page that does not fit to
/// the VMA is left out: it would be a mapping with another cache mode, or a BUG in the memory manager.
fn page_for<'a, T: VmOperations>(this: &'a T, vma: &VmaRef, page: u64) -> Option<Page<'a>> {
    this.page(page).filter(|page| page.fits(vma))
}

/// What [`install`] was given for a VMA.
///
/// # Safety
///
/// `vma` must be valid and one that [`install`] of the same `T` was called for, or a descendant of
/// such a one, for `'a`.
unsafe fn private<'a, T: VmOperations>(vma: *const bindings::vm_area_struct) -> &'a T {
    // SAFETY: `install` stored it there, and its caller promised that it outlives the file, which
    // the VMA keeps.
    unsafe { &*(*vma).vm_private_data.cast::<T>() }
}

/// # Safety
///
/// Called by the memory manager only, for a VMA of [`Table<T>`] that it holds locked.
unsafe extern "C" fn open<T: VmOperations>(vma: *mut bindings::vm_area_struct) {
    // SAFETY: The VMA is valid, and has this table from `install`.
    let this: &T = unsafe { private(vma) };
    // SAFETY: The VMA is valid and locked for the call.
    this.opened(unsafe { VmaRef::from_raw(vma) });
}

/// # Safety
///
/// Called by the memory manager only, for a VMA of [`Table<T>`] that it holds locked.
unsafe extern "C" fn close<T: VmOperations>(vma: *mut bindings::vm_area_struct) {
    // SAFETY: The VMA is valid, has this table from `install`, and keeps its file until after this call.
    let this: &T = unsafe { private(vma) };
    // SAFETY: The VMA is valid and locked for the call.
    this.closed(unsafe { VmaRef::from_raw(vma) });
}

/// Takes an entry of order [`GIANT`] away that lies across the place where a VMA is to be split: the memory manager of 7.2 and
/// 7.3 would take what it points at for a page table (`mm_find_pmd`).
///
/// # Safety
///
/// Called by the memory manager only, for a VMA of a [`Table`] and an address in it, with all of the process's mappings
/// locked for writing.
unsafe extern "C" fn may_split(vma: *mut bindings::vm_area_struct, address: c_ulong) -> c_int {
    const BYTES: usize = PAGE_SIZE << GIANT;
    let start = address & !(BYTES - 1);
    // SAFETY: The VMA is valid and locked for the call.
    if start != address && has_frames(unsafe { VmaRef::from_raw(vma) }) {
        // SAFETY: As above. It does nothing where the range is not in the VMA.
        unsafe { bindings::zap_special_vma_range(vma, start, BYTES) };
    }
    0
}

/// Reads or writes frames for a debugger, which cannot have their pages. It may read what the process could have
/// mapped for reading, and write what it has mapped so, as with pages (`check_vma_flags` of `mm/gup.c`).
///
/// # Safety
///
/// Called by the memory manager only, for a VMA of [`Table<T>`] that it holds locked and an address in it, with a
/// buffer of `len` bytes that nobody else uses.
unsafe extern "C" fn access<T: VmOperations>(
    vma: *mut bindings::vm_area_struct,
    address: c_ulong,
    buffer: *mut c_void,
    len: c_int,
    write: c_int,
) -> c_int {
    // SAFETY: The VMA is valid, locked for the call, and has this table from `install`.
    let (this, vma): (&T, _) = unsafe { (private(vma), VmaRef::from_raw(vma)) };
    let right = match write {
        0 => bindings::VM_MAYREAD,
        _ => bindings::VM_WRITE,
    };
    // Of folios, what is refused is refused for a reason.
    if !has_frames(vma) || vma.flags() & right == 0 {
        return EFAULT.to_errno();
    }
    let start = address.saturating_sub(vma.start());
    let len = usize::try_from(len).unwrap_or(0);
    let len = len.min((bytes(vma) as usize).saturating_sub(start));
    let offset = first_page(vma)
        .saturating_mul(PAGE)
        .saturating_add(start as u64);
    let buffer = buffer.cast::<u8>();
    let count = match write {
        // SAFETY: The caller promises a buffer of so many bytes, or more. Whatever the kernel has in it is bytes.
        0 => this.peek(offset, unsafe {
            core::slice::from_raw_parts_mut(buffer, len)
        }),
        // SAFETY: The caller promises a buffer of so many bytes, or more, which nobody writes.
        _ => this.poke(offset, unsafe { core::slice::from_raw_parts(buffer, len) }),
    };
    // CAST: No more than `len`, which was one.
    count.min(len) as c_int
}

/// Bytes of a page.
const PAGE: u64 = PAGE_SIZE as u64;

/// Pages that a fault maps at once, if huge entries do not, and bytes of them.
const AROUND_PAGES: usize = 16;
const AROUND: u64 = AROUND_PAGES as u64 * PAGE;

/// Bytes of a mapping that are mapped by mmap itself, wherever they are.
pub(super) const EAGER: u64 = 4 * PAGE;

/// Bytes that one page table maps.
const TABLE: u64 = HUGE_BYTES as u64;

/// What a fault is about.
struct Fault {
    vma: *mut bindings::vm_area_struct,
    /// The address, at the start of a page, and the page of the address space that belongs there.
    address: u64,
    page: u64,
    write: bool,
}

impl Fault {
    /// # Safety
    ///
    /// `vmf` must be a valid fault.
    unsafe fn new(vmf: *const bindings::vm_fault) -> Self {
        // SAFETY: The caller promises it.
        unsafe {
            let about = &(*vmf).__bindgen_anon_1;
            Self {
                vma: about.vma,
                address: about.address as u64,
                page: about.pgoff as u64,
                write: (*vmf).flags & bindings::fault_flag_FAULT_FLAG_WRITE != 0,
            }
        }
    }

    /// The VMA.
    ///
    /// # Safety
    ///
    /// It must still be valid and locked for `'a`.
    unsafe fn vma<'a>(&self) -> &'a VmaRef {
        // SAFETY: The caller promises it.
        unsafe { VmaRef::from_raw(self.vma) }
    }

    /// The page of the address space at `address`; `None` if the VMA does not map `bytes` from there.
    fn page_at(&self, vma: &VmaRef, address: u64, bytes: u64) -> Option<u64> {
        let end = address.checked_add(bytes)?;
        if address < vma.start() as u64 || end > vma.end() as u64 {
            return None;
        }
        let page = address.checked_sub(vma.start() as u64)? / PAGE;
        first_page(vma).checked_add(page)
    }

    /// Whether the memory manager, if it is given `page` for the fault, maps all of the page's folio, and as it should be.
    fn is_of_whole(&self, vma: &VmaRef, page: &FolioPage<'_>) -> bool {
        let (index, pages) = page.place();
        if pages == 1 {
            return false;
        }
        let bytes = pages.saturating_mul(PAGE);
        let start = self.address.wrapping_sub(index.saturating_mul(PAGE));
        // If these are as many as the folio has, and it begins where it is given to, that is also where a huge entry would
        // begin: the memory manager makes one without a look at where in the folio the page lies.
        let is_in_table = start % TABLE <= TABLE.saturating_sub(bytes);
        is_in_table
            && self.page_at(vma, start, bytes).is_some()
            && !(self.write && is_told_of_stores(vma))
            && !page.is_in_failed()
    }

    /// Whether it makes a copy of its own.
    fn is_copy(&self, vma: &VmaRef) -> bool {
        self.write && !is_shared(vma)
    }
}

/// # Safety
///
/// Called by the memory manager only, for a VMA of [`Table<T>`] that it holds locked.
// ANCHOR: fault
unsafe extern "C" fn fault<T: VmOperations>(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
    // SAFETY: The fault is valid for the call.
    let fault = unsafe { Fault::new(vmf) };
    // SAFETY: A fault's VMA is valid, locked for the call, and has this table from `install`.
    let (this, vma): (&T, _) = unsafe { (private(fault.vma), fault.vma()) };
    // SAFETY: The fault is ours to answer. The memory manager takes over the reference.
    let give = |page: &FolioPage<'_>| unsafe { (*vmf).page = page.get() };
    match page_for(this, vma, fault.page) {
        Some(Page::Folio(page)) if !fault.is_copy(vma) && fault.is_of_whole(vma, &page) => {
            give(&page);
            0
        }
        Some(page) if page.has_failed() => bindings::vm_fault_reason_VM_FAULT_HWPOISON,
        // The memory manager makes a copy only of a page that it is given, and calls `page_mkwrite` only for such a one.
        Some(Page::Folio(page)) if fault.is_copy(vma) || fault.write && is_tracked(vma) => {
            give(&page);
            0
        }
        // SAFETY: The fault is valid for the call, `fault` was made of it, and a folio fits only to a VMA of
        // folios.
        Some(Page::Folio(page)) => unsafe { fault_around(this, vmf, &fault, &page) },
        // SAFETY: The fault is valid for the call, `fault` was made of it, and a frame fits only to a VMA of frames. `this`
        // keeps the frame as long as the mapping lives.
        Some(Page::Frame(frame)) => unsafe { insert_frame(vmf, &fault, &frame) },
        None => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
    }
}
// ANCHOR_END: fault

/// A store to a page whose entry is read-only, or to one that [`fault`] has just given.
///
/// The folio stays locked until the entry is writable: whoever makes entries read-only holds that lock.
///
/// # Safety
///
/// Called by the memory manager only, for a VMA of [`Table<T>`] that it holds locked and a page that it maps, to which it has a
/// reference.
// ANCHOR: page_mkwrite
unsafe extern "C" fn page_mkwrite<T: VmOperations>(
    vmf: *mut bindings::vm_fault,
) -> bindings::vm_fault_t {
    // SAFETY: The fault is valid for the call.
    let fault = unsafe { Fault::new(vmf) };
    // SAFETY: A fault's VMA is valid, locked for the call, and has this table from `install`.
    let (this, vma): (&T, _) = unsafe { (private(fault.vma), fault.vma()) };
    // SAFETY: The fault is valid for the call.
    let asked = unsafe { (*vmf).page };
    match page_for(this, vma, fault.page) {
        // What is unlocked in the end is the folio of the page that the memory manager asks about.
        Some(Page::Folio(page)) if page.as_raw() == asked => {
            let locked = page.lock();
            this.stored(fault.page);
            locked.leave();
            bindings::vm_fault_reason_VM_FAULT_LOCKED
        }
        _ => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
    }
}
// ANCHOR_END: page_mkwrite

/// Maps nothing around a read, as [`fault`] does that itself.
///
/// Because it is there, the memory manager lets [`fault`] run while only the VMA is locked, and does not come back with all
/// of the process's mappings locked.
///
/// # Safety
///
/// Takes anything.
unsafe extern "C" fn map_pages(
    _vmf: *mut bindings::vm_fault,
    _first: c_ulong,
    _last: c_ulong,
) -> bindings::vm_fault_t {
    0
}

/// Whether the memory manager, or the kernel for somebody, notes the first store to each page of a shared mapping that can be
/// written (soft-dirty): entries are made read-only then.
fn is_told_of_stores(vma: &VmaRef) -> bool {
    // SAFETY: A `VmaRef` is valid and at least read-locked.
    let protection = unsafe { (*vma.as_ptr()).vm_page_prot };
    !helpers::pgprot_write(protection)
}

/// Maps the frame that a fault is about.
///
/// # Safety
///
/// `vmf` must be a valid fault, `fault` what it is about. The frame must fit to the VMA, which is locked, and stay while that
/// is mapped.
unsafe fn insert_frame(
    vmf: *mut bindings::vm_fault,
    fault: &Fault,
    frame: &Frame<'_>,
) -> bindings::vm_fault_t {
    let Some(_access) = frame.access.access() else {
        return bindings::vm_fault_reason_VM_FAULT_SIGBUS;
    };
    // SAFETY: The caller promises a valid fault.
    if unsafe { PmdState::of(vmf) } == PmdState::Huge {
        // Another thread was faster.
        return bindings::vm_fault_reason_VM_FAULT_NOPAGE;
    }
    // SAFETY: The VMA is `VM_PFNMAP` and shared, as the frame fits to it, and has the address. There is no huge entry, nor
    // does anybody make one.
    unsafe { bindings::vmf_insert_pfn(fault.vma, fault.address as usize, frame.number as usize) }
}

/// Maps `page`, which a fault is about, and what lies around it.
///
/// The entries are as `vm_page_prot` says. Where the kernel notes who writes (soft-dirty), that is read-only: the first write
/// to each page is a fault of its own, which the memory manager answers.
///
/// # Safety
///
/// `vmf` must be a valid fault, `fault` what it is about: not a copy, in a VMA of folios that is locked.
unsafe fn fault_around<T: VmOperations>(
    this: &T,
    vmf: *mut bindings::vm_fault,
    fault: &Fault,
    page: &FolioPage<'_>,
) -> bindings::vm_fault_t {
    const DONE: bindings::vm_fault_t = bindings::vm_fault_reason_VM_FAULT_NOPAGE;
    // SAFETY: The caller promises a VMA that is valid and locked.
    let vma = unsafe { fault.vma() };
    let _lock = page.lock_huge();
    // SAFETY: The caller promises a valid fault.
    if unsafe { PmdState::of(vmf) } == PmdState::Huge {
        return DONE;
    }
    let start = (fault.address & !(AROUND - 1)).max(vma.start() as u64);
    let end = (fault.address | (AROUND - 1)).min(vma.end() as u64);
    let before = fault.address.saturating_sub(start) / PAGE;
    let around = folio_pages(this, fault.page.saturating_sub(before), page.cache());
    // Those that come without a gap, with the one that the fault is about among them.
    let mut pages = [core::ptr::null_mut(); AROUND_PAGES];
    let mut first = start;
    let mut count: usize = 0;
    for (address, page) in (start..end).step_by(PAGE_SIZE).zip(around) {
        match (page, pages.get_mut(count)) {
            (Some(raw), Some(slot)) => {
                *slot = raw;
                count = count.saturating_add(1);
            }
            _ if address > fault.address => break,
            _ => {
                first = address.saturating_add(PAGE);
                count = 0;
            }
        }
    }
    // SAFETY: The VMA is locked, has the addresses, and is not `VM_PFNMAP`, as `page` fits to it; `this`, which is borrowed,
    // keeps the pages.
    if unsafe {
        insert(
            vma,
            first as usize,
            pages.get_mut(..count).unwrap_or_default(),
        )
    } {
        return DONE;
    }
    // Some are mapped already, or there is no memory for the page table, or a huge entry has come up.
    // SAFETY: The caller promises a valid fault.
    let mut other = unsafe { core::ptr::read(vmf) };
    for (raw, address) in pages.iter().take(count).zip((first..).step_by(PAGE_SIZE)) {
        other.__bindgen_anon_1.address = address as usize;
        // SAFETY: The fault differs from a valid one in its address, which is in the same VMA; the callee
        // looks at nothing else in it. It takes a reference of its own. The VMA is not `VM_PFNMAP`, and the page has its
        // kind and cache mode.
        let result = unsafe { bindings::vmf_insert_page_mkwrite(&mut other, *raw, false) };
        if result != DONE {
            // There is no memory for the page table, which is the same for all of them, or it is a huge entry: the
            // memory manager tries again.
            return result;
        }
    }
    DONE
}

/// What the page table has for the addresses that one huge entry would map.
#[derive(PartialEq)]
enum PmdState {
    Nothing,
    /// Small entries.
    Table,
    Huge,
}

impl PmdState {
    /// What it has now, where a fault is. What is nothing becomes a table or a huge entry at any time, and the
    /// other way round.
    ///
    /// # Safety
    ///
    /// `vmf` must be a valid fault.
    unsafe fn of(vmf: *const bindings::vm_fault) -> Self {
        // SAFETY: The memory manager found this entry for the fault; page tables stay while the VMA is
        // locked.
        match unsafe { helpers::pmd_state(vmf) } {
            0 => Self::Nothing,
            1 => Self::Table,
            _ => Self::Huge,
        }
    }
}

/// # Safety
///
/// Called by the memory manager only, for a VMA of [`Table<T>`] that it holds locked.
// ANCHOR: huge
unsafe extern "C" fn huge_fault<T: VmOperations>(
    vmf: *mut bindings::vm_fault,
    order: c_uint,
) -> bindings::vm_fault_t {
    // SAFETY: The fault is valid for the call.
    let fault = unsafe { Fault::new(vmf) };
    // SAFETY: A fault's VMA is valid, locked for the call, and has this table from `install`.
    let (this, vma): (&T, _) = unsafe { (private(fault.vma), fault.vma()) };
    let bytes = PAGE.wrapping_shl(order);
    let start = fault.address & !bytes.wrapping_sub(1);
    let page = || {
        if fault.is_copy(vma) {
            return None;
        }
        page_for(this, vma, fault.page_at(vma, start, bytes)?)
    };
    match page() {
        // SAFETY: The fault is valid for the call, and the folio lies in the VMA as a huge entry does.
        Some(Page::Folio(page)) if order == HUGE => unsafe { insert_folio(vmf, &fault, &page) },
        // SAFETY: The fault is valid for the call, `fault` was made of it, and a frame fits only to a VMA of frames.
        Some(Page::Frame(frame)) if frame.fits_entry(order) => unsafe {
            insert_frames(vmf, &fault, &frame, order)
        },
        _ => bindings::vm_fault_reason_VM_FAULT_FALLBACK,
    }
}
// ANCHOR_END: huge

/// Maps the folio of which `page` is the first one, if it has the order of a huge entry.
///
/// # Safety
///
/// `vmf` must be a valid fault, `fault` what it is about. In the VMA, which is locked and of folios, the page must be where a
/// huge entry begins that has room, and fit.
unsafe fn insert_folio(
    vmf: *mut bindings::vm_fault,
    fault: &Fault,
    page: &FolioPage<'_>,
) -> bindings::vm_fault_t {
    let Some(folio) = page.huge() else {
        return bindings::vm_fault_reason_VM_FAULT_FALLBACK;
    };
    // SAFETY: The fault is valid for the call. The folio has the order of a huge entry, and lies in the VMA as one does. The
    // callee takes a reference of its own.
    let insert = |is_store| unsafe { bindings::vmf_insert_folio_pmd(vmf, folio, is_store) };
    // SAFETY: The fault is valid for the call.
    if unsafe { PmdState::of(vmf) } == PmdState::Nothing {
        // By the time that the callee looks, these may be small entries, for which it must not be told of a store.
        return insert(false);
    }
    // Small entries are not put where a huge one was while the folio is locked.
    let _lock = page.lock_huge();
    // SAFETY: The fault is valid for the call.
    match unsafe { PmdState::of(vmf) } {
        PmdState::Huge => insert(fault.write),
        // Another thread was faster, or huge entries are switched off.
        _ => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
    }
}

/// Maps frames by one entry of this order, if there can be such a one.
///
/// # Safety
///
/// `vmf` must be a valid fault, `fault` what it is about. The frames must fit to the VMA, which is locked, and to an entry of
/// this order where the fault is, and stay while the VMA is mapped.
#[cfg(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP)]
unsafe fn insert_frames(
    vmf: *mut bindings::vm_fault,
    fault: &Fault,
    frame: &Frame<'_>,
    order: u32,
) -> bindings::vm_fault_t {
    #[cfg(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP)]
    // SAFETY: The caller promises a valid fault.
    if order == GIANT && unsafe { is_of_locked_vma(vmf) } {
        // See `may_split`, which must come either before or after. This comes again with all mappings locked.
        // SAFETY: The VMA is locked for the fault alone, and nobody uses it after this.
        unsafe { bindings::vma_end_read(fault.vma) };
        return bindings::vm_fault_reason_VM_FAULT_RETRY;
    }
    let Some(_alone) = frame.access.access_alone() else {
        return bindings::vm_fault_reason_VM_FAULT_SIGBUS;
    };
    match order {
        // SAFETY: The caller promises a valid fault.
        HUGE => match unsafe { PmdState::of(vmf) } {
            PmdState::Table => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
            // SAFETY: The VMA is `VM_PFNMAP` and shared, as the frames fit to it, and the caller promises the rest. Nobody
            // makes small entries meanwhile.
            _ => unsafe { bindings::vmf_insert_pfn_pmd(vmf, frame.number as usize, fault.write) },
        },
        #[cfg(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP)]
        // SAFETY: The caller promises a valid fault, here for an entry of this order.
        GIANT => unsafe { insert_giant(vmf, fault, frame) },
        _ => bindings::vm_fault_reason_VM_FAULT_FALLBACK,
    }
}

/// There are no huge entries for frames.
///
/// # Safety
///
/// Takes anything.
#[cfg(not(CONFIG_ARCH_SUPPORTS_PMD_PFNMAP))]
unsafe fn insert_frames(
    _vmf: *mut bindings::vm_fault,
    _fault: &Fault,
    _frame: &Frame<'_>,
    _order: u32,
) -> bindings::vm_fault_t {
    bindings::vm_fault_reason_VM_FAULT_FALLBACK
}

/// Whether a fault holds the lock of a VMA, and not that of all of the process's mappings.
///
/// # Safety
///
/// `vmf` must be a valid fault.
#[cfg(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP)]
unsafe fn is_of_locked_vma(vmf: *const bindings::vm_fault) -> bool {
    // SAFETY: The caller promises it.
    unsafe { (*vmf).flags & bindings::fault_flag_FAULT_FLAG_VMA_LOCK != 0 }
}

/// Maps frames by one entry of order [`GIANT`].
///
/// # Safety
///
/// As for [`insert_frames`]. All of the process's mappings must be locked.
#[cfg(CONFIG_ARCH_SUPPORTS_PUD_PFNMAP)]
unsafe fn insert_giant(
    vmf: *mut bindings::vm_fault,
    fault: &Fault,
    frame: &Frame<'_>,
) -> bindings::vm_fault_t {
    // SAFETY: The memory manager found this entry for the fault; it stays while the VMA is locked. The caller promises
    // the VMA.
    let (is_none, vma) = unsafe { (helpers::pud_none(vmf), fault.vma()) };
    // A store to an entry that is read-only, now or once it is made: smaller ones take it.
    let is_noted = fault.write && is_told_of_stores(vma);
    if !is_none || is_noted || !helpers::has_pud_entries() {
        return bindings::vm_fault_reason_VM_FAULT_FALLBACK;
    }
    // The memory manager makes a table here whenever it likes. It then takes it for a defect if this is said to be a store.
    // SAFETY: As in `insert_frames`.
    unsafe { bindings::vmf_insert_pfn_pud(vmf, frame.number as usize, false) }
}

/// The order of the largest page-table entries, which not every processor has.
pub(super) const GIANT: u32 = 2 * HUGE;
