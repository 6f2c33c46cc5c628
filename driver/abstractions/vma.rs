// SPDX-License-Identifier: GPL-2.0

//! What a mapping does after it was made: splits, forks, faults, the end.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use kernel::{
    bindings,
    mm::virt::{
        flags,
        vm_flags_t,
        VmaNew,
        VmaRef, //
    }, //
};

use super::{
    chrdev::{
        private,
        FileOperations, //
    },
    folio::Folio, //
};

/// What happens to the mappings of a file whose private data is `Self`.
///
/// A mapping keeps its file open, so that `Self` outlives it.
pub(crate) trait VmOperations: FileOperations {
    /// A mapping came to be by a split, a move or a fork of another one.
    ///
    /// Making the first one is [`FileOperations::mmap`]'s doing and not told here.
    fn opened(&self, vma: &VmaRef);

    /// A mapping is going away.
    fn closed(&self, vma: &VmaRef);

    /// The folio of page `page` of the device; `None` gives the process a `SIGBUS`.
    fn folio(&self, page: u64) -> Option<&Folio>;
}

/// Mapping memory that has a `struct page`, by faults.
///
/// The VMA is neither `VM_PFNMAP` nor `VM_MIXEDMAP`, so that its pages are as good as any for
/// `get_user_pages`, and huge entries, once there are any, survive being split.
pub(crate) struct Operations<T>(core::marker::PhantomData<T>);

impl<T: VmOperations> Operations<T> {
    const TABLE: bindings::vm_operations_struct = bindings::vm_operations_struct {
        open: Some(open::<T>),
        close: Some(close::<T>),
        fault: Some(fault::<T>),
        ..pin_init::zeroed()
    };

    /// Makes `vma`, a mapping of a file whose private data is a `T`, use these operations.
    ///
    /// It can then not be grown, and does not go into core dumps.
    pub(crate) fn install(_private: &T, vma: &VmaNew) {
        vma.set_dontexpand();
        vma.set_dontdump();
        // SAFETY: The VMA is being set up, so that nobody else uses it, and the table lives for
        // ever. `_private` shows that its file's private data is a `T`, which the callbacks need.
        unsafe { (*vma.as_ptr()).vm_ops = &Self::TABLE };
    }
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
    has(vma, flags::SHARED)
}

fn has(vma: &VmaRef, flag: vm_flags_t) -> bool {
    vma.flags() & flag != 0
}

/// # Safety
///
/// Called by the memory manager only, for a VMA of [`Operations<T>`] that it holds locked.
unsafe extern "C" fn open<T: VmOperations>(vma: *mut bindings::vm_area_struct) {
    // SAFETY: `install` had a `T` as the private data of the VMA's file, which the VMA keeps open.
    let this: &T = unsafe { private((*vma).vm_file) };
    // SAFETY: The VMA is valid and locked for the call.
    this.opened(unsafe { VmaRef::from_raw(vma) });
}

/// # Safety
///
/// Called by the memory manager only, for a VMA of [`Operations<T>`] that it holds locked.
unsafe extern "C" fn close<T: VmOperations>(vma: *mut bindings::vm_area_struct) {
    // SAFETY: As in `open`; the reference to the file is dropped after this call.
    let this: &T = unsafe { private((*vma).vm_file) };
    // SAFETY: The VMA is valid and locked for the call.
    this.closed(unsafe { VmaRef::from_raw(vma) });
}

/// # Safety
///
/// Called by the memory manager only, for a VMA of [`Operations<T>`] that it holds locked.
unsafe extern "C" fn fault<T: VmOperations>(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
    // SAFETY: The fault is valid for the call, and so is its VMA.
    let (file, page) = unsafe {
        let about = &(*vmf).__bindgen_anon_1;
        ((*about.vma).vm_file, about.pgoff as u64)
    };
    // SAFETY: As in `open`.
    let this: &T = unsafe { private(file) };
    match this.folio(page) {
        Some(folio) => {
            // SAFETY: The fault is ours to answer. The memory manager takes over the reference.
            unsafe { (*vmf).page = folio.get() };
            0
        }
        None => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
    }
}
