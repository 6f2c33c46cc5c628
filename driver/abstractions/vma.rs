// SPDX-License-Identifier: GPL-2.0

//! What a mapping does after it was made: splits, forks, faults, the end.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use core::marker::PhantomData;
use kernel::{
    bindings,
    mm::virt::{
        flags,
        VmaNew,
        VmaRef, //
    }, //
};

use super::{
    cache::Cache,
    folio::Folio, //
};

/// What is mapped at a page.
pub(crate) enum Page<'a> {
    /// A page of RAM.
    Folio(&'a Folio),
    /// The page frame with this number, about which the memory manager knows nothing more.
    Frame(u64),
}

/// How a mapping is set up.
pub(crate) struct Setup {
    /// Whether faults give [`Page::Frame`]s, or else [`Page::Folio`]s. A mapping has one kind only.
    pub(crate) frames: bool,
    /// How the processor caches it.
    pub(crate) cache: Cache,
}

/// What happens to mappings.
pub(crate) trait VmOperations: Send + Sync + Sized + 'static {
    /// A mapping came to be: by mmap, or by a split, a move or a fork of another one.
    fn opened(&self, vma: &VmaRef);

    /// A mapping is going away.
    fn closed(&self, vma: &VmaRef);

    /// What is at page `page` of the file; `None` gives the process a `SIGBUS`.
    fn page(&self, page: u64) -> Option<Page<'_>>;
}

/// Makes a new mapping use `this`, and tells it that the mapping came to be.
///
/// The mapping can then not be grown, and does not go into core dumps. One of folios is neither
/// `VM_PFNMAP` nor `VM_MIXEDMAP`: its pages are as good as any for `get_user_pages`, and huge
/// entries, once there are any, survive being split.
///
/// # Safety
///
/// `this` must live until the mapping's file is released. After this, nothing may fail the mapping.
pub(super) unsafe fn install<T: VmOperations>(this: &T, vma: &VmaNew, setup: &Setup) {
    vma.set_dontexpand();
    vma.set_dontdump();
    if setup.frames {
        vma.set_io();
    }
    // SAFETY: The mapping is being set up, so that nobody else uses it. The table lives for ever,
    // and `this` as long as the callbacks need it. `VM_PFNMAP` is right for frames, of which no
    // mapping has been made yet.
    unsafe {
        let vma = &mut *vma.as_ptr();
        if setup.frames {
            vma.__bindgen_anon_2.vm_flags |= bindings::VM_PFNMAP;
        }
        vma.vm_page_prot = setup.cache.protect(vma.vm_page_prot);
        vma.vm_ops = &Table::<T>::OPERATIONS;
        vma.vm_private_data = core::ptr::from_ref(this).cast_mut().cast();
    }
    this.opened(vma);
}

struct Table<T>(PhantomData<T>);

impl<T: VmOperations> Table<T> {
    const OPERATIONS: bindings::vm_operations_struct = bindings::vm_operations_struct {
        open: Some(open::<T>),
        close: Some(close::<T>),
        fault: Some(fault::<T>),
        ..pin_init::zeroed()
    };
}

/// The first page of its file that a VMA maps.
pub(crate) fn first_page(vma: &VmaRef) -> u64 {
    // SAFETY: A `VmaRef` is valid and at least read-locked.
    unsafe { (*vma.as_ptr()).vm_pgoff as u64 }
}

/// The bytes that a VMA maps.
pub(crate) fn bytes(vma: &VmaRef) -> u64 {
    vma.end().saturating_sub(vma.start()) as u64
}

/// Whether a VMA shares what is written through it.
pub(crate) fn is_shared(vma: &VmaRef) -> bool {
    vma.flags() & flags::SHARED != 0
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
    // SAFETY: As in `open`; the reference to the file is dropped after this call.
    let this: &T = unsafe { private(vma) };
    // SAFETY: The VMA is valid and locked for the call.
    this.closed(unsafe { VmaRef::from_raw(vma) });
}

/// # Safety
///
/// Called by the memory manager only, for a VMA of [`Table<T>`] that it holds locked.
unsafe extern "C" fn fault<T: VmOperations>(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
    // SAFETY: The fault is valid for the call.
    let (vma, page, address) = unsafe {
        let about = &(*vmf).__bindgen_anon_1;
        (about.vma, about.pgoff as u64, about.address)
    };
    // SAFETY: As in `open`.
    let this: &T = unsafe { private(vma) };
    match this.page(page) {
        Some(Page::Folio(folio)) => {
            // SAFETY: The fault is ours to answer. The memory manager takes over the reference.
            unsafe { (*vmf).page = folio.get() };
            0
        }
        // SAFETY: The VMA was set up for frames (`Setup::frames`), and the address is in it.
        Some(Page::Frame(frame)) => unsafe {
            bindings::vmf_insert_pfn(vma, address, frame as usize)
        },
        None => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
    }
}
