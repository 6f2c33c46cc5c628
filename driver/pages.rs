// SPDX-License-Identifier: GPL-2.0

//! Pages of RAM in order, from the largest folios to be had.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::abstractions::{
    cache::{
        Cache,
        Uncached, //
    },
    folio::{
        Folio,
        FolioPage,
        Run,
        HUGE,
        HUGE_PAGES, //
    },
    memory::SharedMemory,
    task, //
};

/// Pages of RAM.
pub(crate) enum Pages {
    /// One by one.
    Single(KVVec<Folio<0>>),
    /// One by one, and not cached.
    Uncached(Uncached),
    /// In chunks that a huge page-table entry can map. The last may have fewer pages.
    Chunks(KVVec<Chunk>),
}

/// [`HUGE_PAGES`] pages.
pub(crate) enum Chunk {
    /// In one folio.
    Huge(Folio<HUGE>),
    /// One by one, because there was no such folio, or because they are fewer.
    Single(KVVec<Folio<0>>),
}

impl Pages {
    /// Allocates `count` pages.
    // ANCHOR: new
    pub(crate) fn new(count: usize, cache: Cache) -> Result<Self> {
        if cache != Cache::Cached || count < HUGE_PAGES {
            return Self::of(Folio::scattered(count, HUGE)?, cache);
        }
        let mut chunks = KVVec::with_capacity(
            count.div_ceil(HUGE_PAGES),
            GFP_KERNEL_ACCOUNT | __GFP_NOWARN,
        )?;
        let mut left = count;
        while left > 0 {
            if task::is_killed() {
                return Err(EINTR);
            }
            let pages = left.min(HUGE_PAGES);
            let huge = (pages == HUGE_PAGES).then(Folio::new);
            let chunk = match huge {
                Some(Ok(folio)) => Chunk::Huge(folio),
                // A run of so many pages was just asked for in vain.
                _ => Chunk::Single(Folio::scattered(pages, HUGE - 1)?),
            };
            chunks.push(chunk, GFP_KERNEL)?;
            left = left.saturating_sub(pages);
        }
        Ok(Self::Chunks(chunks))
    }
    // ANCHOR_END: new

    /// Allocates `count` pages in one physical run.
    pub(crate) fn contiguous(count: usize, cache: Cache) -> Result<Self> {
        Self::of(Folio::contiguous(count)?, cache)
    }

    fn of(folios: KVVec<Folio<0>>, cache: Cache) -> Result<Self> {
        Ok(match cache {
            Cache::Cached => Self::Single(folios),
            _ => Self::Uncached(Uncached::new(folios, cache)?),
        })
    }

    /// Whether there are huge folios.
    pub(crate) fn has_huge(&self) -> bool {
        match self {
            Self::Chunks(chunks) => chunks.iter().any(|chunk| matches!(chunk, Chunk::Huge(_))),
            _ => false,
        }
    }

    /// Page `index`.
    pub(crate) fn page(&self, index: usize) -> Option<FolioPage<'_>> {
        match self {
            Self::Single(folios) => folios.get(index)?.page(0),
            Self::Uncached(folios) => folios.page(index),
            Self::Chunks(chunks) => {
                let within = index % HUGE_PAGES;
                match chunks.get(index / HUGE_PAGES)? {
                    Chunk::Huge(folio) => folio.page(within),
                    Chunk::Single(folios) => folios.get(within)?.page(0),
                }
            }
        }
    }

    /// The memory at byte `start` that can be used in one go, and where in it that is. It is as long
    /// as can be, but does not go on behind `len` bytes where that would take work.
    pub(crate) fn piece(&self, start: usize, len: usize) -> Option<(Piece<'_>, usize)> {
        let index = start / PAGE_SIZE;
        let within = start % PAGE_SIZE;
        let most = within.saturating_add(len).div_ceil(PAGE_SIZE);
        let run = match self {
            Self::Single(folios) => Run::new(folios.get(index..)?, most),
            Self::Uncached(folios) => folios.run(index, most),
            Self::Chunks(chunks) => match chunks.get(index / HUGE_PAGES)? {
                Chunk::Huge(folio) => {
                    return Some((Piece::Huge(folio), start % (HUGE_PAGES * PAGE_SIZE)));
                }
                Chunk::Single(folios) => Run::new(folios.get(index % HUGE_PAGES..)?, most),
            },
        };
        Some((Piece::Run(run?), within))
    }
}

/// Memory in one piece.
pub(crate) enum Piece<'a> {
    /// A huge folio.
    Huge(&'a Folio<HUGE>),
    /// Pages behind each other.
    Run(Run<'a>),
}

impl Piece<'_> {
    /// As memory.
    pub(crate) fn memory(&self) -> &dyn SharedMemory {
        match self {
            Self::Huge(folio) => *folio,
            Self::Run(run) => run,
        }
    }

    /// Bytes of it.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Huge(_) => HUGE_PAGES * PAGE_SIZE,
            Self::Run(run) => run.size(),
        }
    }
}
