// SPDX-License-Identifier: GPL-2.0

//! The memory behind a window.

#![deny(unsafe_code)]

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

use crate::{
    abi,
    abstractions::{
        folio::{
            available_pages,
            Folio, //
        },
        iov::{
            Destination,
            Source, //
        }, //
    },
    layout::PAGE, //
};

// `layout` is told the page size, because it must also build where there is no kernel.
const _: () = assert!(PAGE == PAGE_SIZE as u64);

/// Memory of the kind `pages`: ordinary kernel pages, locked in place, zeroed when they are made.
///
/// A range given to its methods lies inside the memory; what does not is left out.
pub(crate) struct Memory {
    folios: KVVec<Folio>,
}

impl Memory {
    /// Allocates `size` bytes, a whole number of pages.
    ///
    /// Fails with `ENOMEM` rather than make the kernel look for a process to kill.
    pub(crate) fn new(size: u64) -> Result<Self> {
        let count = size / PAGE;
        if count > available_pages() {
            return Err(ENOMEM);
        }
        let count = usize::try_from(count)?;
        let mut folios = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        for _ in 0..count {
            folios.push(Folio::new()?, GFP_KERNEL)?;
        }
        Ok(Self { folios })
    }

    /// Which kind it is: one of `abi::MEMORY_*`.
    pub(crate) fn kind(&self) -> u32 {
        abi::MEMORY_PAGES
    }

    /// The physical or bus address, if there is a single one.
    pub(crate) fn address(&self) -> Option<u64> {
        None
    }

    /// The folio of page `page`.
    pub(crate) fn folio(&self, page: u64) -> Option<&Folio> {
        self.folios.get(usize::try_from(page).ok()?)
    }

    /// Copies `size` bytes from `start` on into `to`; gives how many it took before a fault.
    pub(crate) fn read(&self, start: u64, size: u64, to: &mut Destination<'_>) -> usize {
        self.each(start, size, |folio, start, len| {
            folio.copy_to(start, len, to)
        })
    }

    /// Copies `size` bytes from `from` to `start`; gives how many there were before a fault.
    pub(crate) fn write(&self, start: u64, size: u64, from: &mut Source<'_>) -> usize {
        self.each(start, size, |folio, start, len| {
            folio.copy_from(start, len, from)
        })
    }

    /// Sets `size` bytes from `start` on to `byte`.
    pub(crate) fn fill(&self, start: u64, size: u64, byte: u8) {
        self.each(start, size, |folio, start, len| {
            folio.fill(start, len, byte);
            len
        });
    }

    /// Puts `bytes`, at most a page, at the start.
    pub(crate) fn put(&self, bytes: &[u8]) {
        if let Some(folio) = self.folio(0) {
            folio.write(0, bytes);
        }
    }

    /// Reads the bytes at `start`, as far as the end of their page, into `bytes`.
    pub(crate) fn peek(&self, start: u64, bytes: &mut [u8]) {
        if let Some(folio) = self.folio(start / PAGE) {
            folio.read((start % PAGE) as usize, bytes);
        }
    }

    /// Calls `act` with each page's part of a range, until it does less than the whole of one.
    /// Gives the bytes done.
    fn each(
        &self,
        start: u64,
        size: u64,
        mut act: impl FnMut(&Folio, usize, usize) -> usize,
    ) -> usize {
        let mut done: u64 = 0;
        while done < size {
            let at = start.saturating_add(done);
            let Some(folio) = self.folio(at / PAGE) else {
                break;
            };
            let within = at % PAGE;
            let len = size.saturating_sub(done).min(PAGE - within);
            let count = act(folio, within as usize, len as usize) as u64;
            done = done.saturating_add(count);
            if count < len {
                break;
            }
        }
        done as usize
    }
}
