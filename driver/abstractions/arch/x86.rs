// SPDX-License-Identifier: GPL-2.0

//! x86: the kernel can change how its own mapping of RAM is cached.
//!
//! C header: `arch/x86/include/asm/set_memory.h`

use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

use super::super::cache::Cache;

/// Whether [`set_cache`] can do anything: the kernel's own mapping of RAM always has the mode of the pages.
pub(crate) const CAN_SET_CACHE: bool = true;

// `set_memory.h` is not among the headers that the kernel makes bindings of.
#[allow(improper_ctypes)] // An empty struct inside `page` is as it is in C.
extern "C" {
    fn set_pages_array_uc(pages: *mut *mut bindings::page, count: c_int) -> c_int;
    fn set_pages_array_wc(pages: *mut *mut bindings::page, count: c_int) -> c_int;
    fn set_pages_array_wb(pages: *mut *mut bindings::page, count: c_int) -> c_int;
}

/// Changes how pages are cached in the kernel's own mapping. If it fails, it has changed some of them.
///
/// To change them back, all of them or some, needs no memory and always works: what has to be split is.
///
/// # Safety
///
/// These must be pages of RAM, which nobody else has mapped.
pub(crate) unsafe fn set_cache(pages: &[*mut bindings::page], cache: Cache) -> Result {
    let set = match cache {
        Cache::Cached => set_pages_array_wb,
        Cache::WriteCombine => set_pages_array_wc,
        Cache::NonCached => set_pages_array_uc,
    };
    let count = c_int::try_from(pages.len())?;
    // SAFETY: The array is only read, and has so many pages. The caller promises the pages.
    to_result(unsafe { set(pages.as_ptr().cast_mut(), count) })
        // It stops where it finds no memory to split a huge entry of the direct mapping, which it calls `EINVAL`, and
        // leaves the entries before that one as it has changed them.
        .map_err(|_| ENOMEM)
}
