// SPDX-License-Identifier: GPL-2.0

//! Pages of RAM in order, from the largest folios to be had.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::{
    abstractions::{
        cache::{
            Cache,
            Uncached, //
        },
        folio::{
            FolioPage,
            Folios,
            Node,
            Run, //
        }, //
    },
    progress::Progress, //
};

/// Pages of RAM.
pub(crate) enum Pages {
    /// As the kernel has them.
    Cached(Folios),
    /// Single ones, which are not cached.
    Uncached(Uncached),
}

impl Pages {
    /// Allocates `count` pages; if `single`, each with a life of its own. If a node is given, all are of it.
    // ANCHOR: new
    pub(crate) fn new(
        count: usize,
        cache: Cache,
        single: bool,
        node: Option<Node>,
    ) -> Result<Self> {
        Ok(match cache {
            Cache::Cached if single => Self::Cached(Folios::single(count, node)?),
            Cache::Cached => Self::Cached(Folios::natural(count, node)?),
            _ => Self::Uncached(Uncached::new(Folios::single(count, node)?, cache)?),
        })
    }
    // ANCHOR_END: new

    /// The same, shared by all processors that the current task may use. Counts the pages in `progress`.
    pub(crate) fn shared(
        count: usize,
        cache: Cache,
        single: bool,
        node: Option<Node>,
        progress: &Progress,
    ) -> Result<Self> {
        let single = single || cache != Cache::Cached;
        let tell = |pages| progress.add(pages);
        let folios = Folios::shared(c"chrmem", count, single, node, &tell)?;
        Ok(match cache {
            Cache::Cached => Self::Cached(folios),
            _ => Self::Uncached(Uncached::new(folios, cache)?),
        })
    }

    /// Allocates `count` pages in one physical run; if `single`, each with a life of its own.
    pub(crate) fn contiguous(
        count: usize,
        cache: Cache,
        single: bool,
        node: Option<Node>,
    ) -> Result<Self> {
        Ok(match cache {
            Cache::Cached if single => Self::Cached(Folios::run(count, node)?),
            Cache::Cached => Self::Cached(Folios::contiguous(count, node)?),
            _ => Self::Uncached(Uncached::new(Folios::run(count, node)?, cache)?),
        })
    }

    /// Whether a huge page-table entry can map some of them.
    pub(crate) fn has_huge(&self) -> bool {
        matches!(self, Self::Cached(folios) if folios.has_huge())
    }

    /// Page `index`.
    #[inline]
    pub(crate) fn page(&self, index: usize) -> Option<FolioPage<'_>> {
        match self {
            Self::Cached(folios) => folios.page(index),
            Self::Uncached(folios) => folios.page(index),
        }
    }

    /// The memory at byte `start` that can be used in one go, and where in it that is. It is as long
    /// as can be, but does not go on behind `len` bytes where that would take work.
    pub(crate) fn piece(&self, start: usize, len: usize) -> Option<(Run<'_>, usize)> {
        let index = start / PAGE_SIZE;
        let within = start % PAGE_SIZE;
        let most = within.saturating_add(len).div_ceil(PAGE_SIZE);
        let run = match self {
            Self::Cached(folios) => folios.run_at(index, most),
            Self::Uncached(folios) => folios.run(index, most),
        };
        Some((run?, within))
    }
}
