// SPDX-License-Identifier: GPL-2.0

//! Pages, wherever they are, as one range of the kernel's addresses.
//!
//! C header: [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*, //
};

use super::{
    cache::Cache,
    helpers, //
};

#[cfg(CONFIG_HIGHMEM)]
compile_error!("pages need an address in the kernel's direct mapping");

// `vmalloc.h` has them, of which the kernel makes no bindings.
extern "C" {
    fn vunmap(address: *const c_void);
}

/// Gives pages an address: the one that they have in the direct mapping if they are one run, which costs
/// nothing and cannot fail, or that of a mapping of their own.
///
/// # Safety
///
/// These must be pages of RAM, which stay until [`unmap`]. Where the kernel's direct mapping can have the mode `cache`, it must
/// have it; elsewhere, the kernel must have the pages mapped so for their device, and not use the direct mapping.
pub(super) unsafe fn map(
    pages: &mut [*mut bindings::page],
    cache: Cache,
) -> Result<NonNull<c_void>> {
    let first = *pages.first().ok_or(EINVAL)?;
    let mut numbered = pages.iter().enumerate();
    // The `struct page`s of pages behind each other are, too.
    let is_run = numbered.all(|(number, page)| *page == first.wrapping_add(number));
    let address = if is_run && cache.is_for_ram() {
        // SAFETY: The page is valid. Without high memory, this is its address for ever, and there is nothing to
        // undo; what follows is the rest of the run.
        unsafe { bindings::kmap_local_page(first) }
    } else {
        let count = c_uint::try_from(pages.len())?;
        // SAFETY: There are `count` valid pages in the array, which is only read. The protection has the cache
        // mode that they have elsewhere.
        unsafe { helpers::vmap(pages.as_mut_ptr(), count, cache.kernel_protection()) }
    };
    NonNull::new(address).ok_or(ENOMEM)
}

/// Takes the address back.
///
/// # Safety
///
/// It must be what [`map`] gave, and nobody may use it any more.
pub(super) unsafe fn unmap(address: *mut c_void) {
    // SAFETY: Takes any address.
    if unsafe { bindings::is_vmalloc_addr(address) } {
        // SAFETY: What `map` gave is in the range of vmalloc only where it is a mapping of its own.
        unsafe { vunmap(address) };
    }
}
