// SPDX-License-Identifier: GPL-2.0

//! How the processor caches memory, in every mapping of it alike.
//!
//! Two mappings of the same memory with different modes (an alias) are undefined on most
//! processors. So the kernel's own mapping changes first, and user space gets the same.
//!
//! C headers: `arch/x86/include/asm/set_memory.h`, `arch/x86/include/asm/pgtable_types.h`

use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

use super::{
    folio::{
        FolioPage,
        Folios,
        Run, //
    },
    task, //
};

/// A cache mode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    /// As any memory.
    Cached,
    /// Not cached, stores combined.
    WriteCombine,
    /// Not cached.
    NonCached,
}

// `set_memory.h` is not among the headers that the kernel makes bindings of.
#[cfg(CONFIG_X86)]
#[allow(improper_ctypes)] // An empty struct inside `page` is as it is in C.
extern "C" {
    fn set_pages_array_uc(pages: *mut *mut bindings::page, count: c_int) -> c_int;
    fn set_pages_array_wc(pages: *mut *mut bindings::page, count: c_int) -> c_int;
    fn set_pages_array_wb(pages: *mut *mut bindings::page, count: c_int) -> c_int;
}

impl Cache {
    /// A page protection with this mode.
    #[cfg(CONFIG_X86)]
    // ANCHOR: protect
    pub(super) fn protect(self, mut protection: bindings::pgprot_t) -> bindings::pgprot_t {
        let mode = match self {
            Cache::Cached => return protection,
            Cache::WriteCombine => bindings::page_cache_mode__PAGE_CACHE_MODE_WC,
            Cache::NonCached => bindings::page_cache_mode__PAGE_CACHE_MODE_UC_MINUS,
        };
        // SAFETY: Takes any mode; only reads a table.
        protection.pgprot |= unsafe { bindings::cachemode2protval(mode) };
        protection
    }
    // ANCHOR_END: protect

    /// Whether a page protection has this mode.
    #[cfg(CONFIG_X86)]
    pub(super) fn is_of(self, protection: bindings::pgprot_t) -> bool {
        /// The bits of a page-table entry that hold the mode: PWT, PCD, PAT.
        const MODE: bindings::pgprotval_t = 0x98;
        let none = bindings::pgprot_t { pgprot: 0 };
        protection.pgprot & MODE == self.protect(none).pgprot
    }

    /// The protection of the kernel's own memory, with this mode.
    #[cfg(CONFIG_X86)]
    pub(super) fn kernel_protection(self) -> bindings::pgprot_t {
        // `PAGE_KERNEL`, a macro in C.
        const BITS: [u32; 6] = [
            bindings::_PAGE_BIT_PRESENT,
            bindings::_PAGE_BIT_RW,
            bindings::_PAGE_BIT_ACCESSED,
            bindings::_PAGE_BIT_DIRTY,
            bindings::_PAGE_BIT_GLOBAL,
            bindings::_PAGE_BIT_NX,
        ];
        let mut pgprot: bindings::pgprotval_t = 0;
        for bit in BITS {
            pgprot |= 1 << bit;
        }
        #[cfg(CONFIG_AMD_MEM_ENCRYPT)]
        {
            // SAFETY: Set at boot, and never changed.
            pgprot |= unsafe { bindings::sme_me_mask } as bindings::pgprotval_t;
        }
        // SAFETY: Set at boot, and never changed.
        pgprot &= unsafe { bindings::__default_kernel_pte_mask };
        self.protect(bindings::pgprot_t { pgprot })
    }

    /// No mode but the usual one is known here; [`Uncached::new`] refuses the others.
    #[cfg(not(CONFIG_X86))]
    pub(super) fn protect(self, protection: bindings::pgprot_t) -> bindings::pgprot_t {
        protection
    }

    /// There is only the usual mode.
    #[cfg(not(CONFIG_X86))]
    pub(super) fn is_of(self, _protection: bindings::pgprot_t) -> bool {
        self == Cache::Cached
    }
}

/// Pages whose mapping in the kernel is not cached, until this is dropped.
///
/// # Invariants
///
/// The kernel's mapping of the first `changed` pages of `folios`, which are all of them once [`Self::new`] has
/// ended, has the mode `cache`, which is not `Cached`. Nobody else changes it. All folios are single pages.
pub(crate) struct Uncached {
    folios: Folios,
    changed: usize,
    cache: Cache,
}

impl Uncached {
    /// Changes the mode of single pages that nobody else has seen yet; it must be another than cached. Fails
    /// with `EINTR` if the task is killed before it is done.
    #[cfg(CONFIG_X86)]
    pub(crate) fn new(folios: Folios, cache: Cache) -> Result<Self> {
        let set = match cache {
            Cache::Cached => return Err(EINVAL),
            Cache::WriteCombine => set_pages_array_wc,
            Cache::NonCached => set_pages_array_uc,
        };
        // INVARIANT: None is changed yet.
        let mut this = Self {
            folios,
            changed: 0,
            cache,
        };
        for piece in this.folios.as_array().ok_or(EINVAL)?.chunks(PIECE) {
            if task::is_killed() {
                return Err(EINTR);
            }
            // INVARIANT: If this fails, some of them have the mode, and the end is not reached.
            this.changed = this.changed.saturating_add(piece.len());
            // SAFETY: The array, which is only read, is of as many pages as `piece` has, which are in the kernel's direct
            // mapping.
            to_result(unsafe { set(piece.as_ptr().cast_mut(), piece.len() as c_int) })
                // It stops where it finds no memory to split a huge entry of the direct mapping, which it
                // calls `EINVAL`, and leaves the entries before that one as it has changed them.
                .map_err(|_| ENOMEM)?;
        }
        Ok(this)
    }

    /// Not done: each architecture has its own way, and only x86's has been tried.
    #[cfg(not(CONFIG_X86))]
    pub(crate) fn new(_folios: KVVec<Folio<0>>, _cache: Cache) -> Result<Self> {
        Err(super::errno::eopnotsupp())
    }

    /// Page `index`.
    pub(crate) fn page(&self, index: usize) -> Option<FolioPage<'_>> {
        let page = self.folios.page(index)?;
        // SAFETY: By the type's invariant, the kernel's own mapping of this page has this mode.
        Some(unsafe { page.with_cache(self.cache) })
    }

    /// The pages from `index` on that follow each other in memory, at most `most` of them.
    pub(crate) fn run(&self, index: usize, most: usize) -> Option<Run<'_>> {
        self.folios.run_at(index, most)
    }
}

impl Drop for Uncached {
    fn drop(&mut self) {
        #[cfg(CONFIG_X86)]
        for piece in self
            .folios
            .as_array()
            .and_then(|pages| pages.get(..self.changed))
            .unwrap_or_default()
            .chunks(PIECE)
        {
            // SAFETY: The array, which is only read, is of as many pages as `piece` has, which are in the kernel's direct mapping, and
            // which no process has mapped any more: a mapping borrows them. To change them back needs no
            // memory: what had to be split is.
            unsafe { set_pages_array_wb(piece.as_ptr().cast_mut(), piece.len() as c_int) };
        }
    }
}

/// Pages whose mode is changed at a time: to be killed, a task waits no longer than for these.
#[cfg(CONFIG_X86)]
const PIECE: usize = 4096;
