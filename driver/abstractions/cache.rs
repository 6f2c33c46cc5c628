// SPDX-License-Identifier: GPL-2.0

//! How the processor caches memory, in every mapping of it alike.
//!
//! Two mappings of the same memory with different modes (an alias) are undefined on most
//! processors. So the kernel's own mapping changes first, and user space gets the same.
//!
//! C header: [`include/linux/pgtable.h`](srctree/include/linux/pgtable.h)

use kernel::{
    bindings,
    prelude::*, //
};

use super::{
    arch,
    folio::{
        FolioPage,
        Folios,
        Run, //
    },
    helpers,
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

impl Cache {
    /// Whether RAM can have this mode.
    pub(crate) fn is_for_ram(self) -> bool {
        self == Cache::Cached || arch::CAN_SET_CACHE
    }

    /// A page protection with this mode, as the kernel maps registers and memory of devices.
    // ANCHOR: protect
    pub(super) fn protect(self, protection: bindings::pgprot_t) -> bindings::pgprot_t {
        match self {
            Cache::Cached => protection,
            Cache::WriteCombine => helpers::pgprot_writecombine(protection),
            Cache::NonCached => helpers::pgprot_device(protection),
        }
    }
    // ANCHOR_END: protect

    /// The protection of the kernel's own memory, with this mode.
    pub(super) fn kernel_protection(self) -> bindings::pgprot_t {
        self.protect(helpers::page_kernel())
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
    /// with `EINTR` if the task is killed before it is done, and with `EOPNOTSUPP` where RAM cannot have this mode.
    pub(crate) fn new(folios: Folios, cache: Cache) -> Result<Self> {
        if cache == Cache::Cached {
            return Err(EINVAL);
        }
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
            // SAFETY: Nobody else has seen the pages.
            unsafe { arch::set_cache(piece, cache) }?;
        }
        Ok(this)
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
        for piece in self
            .folios
            .as_array()
            .and_then(|pages| pages.get(..self.changed))
            .unwrap_or_default()
            .chunks(PIECE)
        {
            // SAFETY: No process has mapped the pages any more: a mapping borrows them.
            let _ = unsafe { arch::set_cache(piece, Cache::Cached) };
        }
    }
}

/// Pages whose mode is changed at a time: to be killed, a task waits no longer than for these.
const PIECE: usize = 4096;
