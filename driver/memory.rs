// SPDX-License-Identifier: GPL-2.0

//! The memory behind a window.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use kernel::{
    fmt,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

use crate::{
    abi,
    abstractions::{
        cache::Cache,
        capability::{
            Denial,
            RawMemory, //
        },
        dma,
        encryption,
        errno::eopnotsupp,
        folio::{
            available_pages,
            has_failed_memory,
            Node,
            HUGE_BYTES, //
        },
        iomem::{
            IoMemory,
            Refusal, //
        },
        iov::{
            Destination,
            Source, //
        },
        memory::SharedMemory,
        pci::PciDevice,
        revocable::Revocable,
        task,
        vma::Page, //
    },
    layout::PAGE,
    pages::Pages,
    progress::Progress, //
};

/// All processors allocate, and so zero, windows of this size or more. That takes tens of milliseconds, and starting a thread
/// less than one.
const LARGE: u64 = 256 << 20;

/// A memory kind: where the bytes are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ordinary kernel pages.
    Pages,
    /// One physical run of them.
    Contiguous,
    /// Coherent DMA memory.
    Dma,
    /// A physical address range that is not RAM.
    Physical,
}

impl Kind {
    /// All kinds, with their names and their numbers in the ioctl interface.
    pub(crate) const ALL: [(Kind, &'static str, u32); 4] = [
        (Kind::Pages, "pages", abi::MEMORY_PAGES),
        (Kind::Contiguous, "contiguous", abi::MEMORY_CONTIGUOUS),
        (Kind::Dma, "dma", abi::MEMORY_DMA),
        (Kind::Physical, "physical", abi::MEMORY_PHYSICAL),
    ];
}

/// The cache modes, with their names and their numbers in the ioctl interface.
pub(crate) const CACHES: [(Cache, &str, u32); 3] = [
    (Cache::Cached, "cached", abi::CACHE_CACHED),
    (Cache::WriteCombine, "writecombine", abi::CACHE_WRITECOMBINE),
    (Cache::NonCached, "noncached", abi::CACHE_NONCACHED),
];

/// What memory to make.
pub(crate) struct Request<'a> {
    /// Bytes, a whole number of pages and not zero.
    pub(crate) size: u64,
    /// Which kind.
    pub(crate) kind: Kind,
    /// Which cache mode.
    pub(crate) cache: Cache,
    /// For `Physical`: where.
    pub(crate) address: Option<u64>,
    /// For `Dma`: for which device.
    pub(crate) device: Option<&'a Arc<dma::Device>>,
    /// Whether each page is to be locked and made read-only alone.
    pub(crate) track: bool,
    /// For `Pages` and `Contiguous`: the number of the node that all of it is to be of.
    pub(crate) node: Option<u32>,
}

/// Memory, locked in place. RAM is zeroed when it is made; a physical range is as it was.
///
/// A range given to its methods lies inside the memory; what does not is left out.
pub(crate) struct Memory {
    cache: Cache,
    backing: Backing,
}

enum Backing {
    Pages { pages: Pages, kind: Kind },
    Dma(dma::Coherent),
    Physical(IoMemory),
}

impl Memory {
    /// Makes the memory. Says in the log, after `what`, why it cannot be had.
    ///
    /// Fails with `ENOMEM` rather than make the kernel look for a process to kill.
    pub(crate) fn new(what: fmt::Arguments<'_>, request: &Request<'_>) -> Result<Self> {
        let Request { size, cache, .. } = *request;
        let bytes = usize::try_from(size)?;
        let count = bytes / PAGE_SIZE;
        // ANCHOR: new
        if request.kind != Kind::Physical && size / PAGE > available_pages() {
            pr_err!("{what}: {size} bytes are more than the system has free\n");
            return Err(ENOMEM);
        }
        // ANCHOR_END: new
        if matches!(request.kind, Kind::Dma | Kind::Physical) && encryption::is_active() {
            pr_err!("{what}: this machine encrypts memory, which mappings of a device's would have to leave out\n");
            return Err(eopnotsupp());
        }
        let is_pages = matches!(request.kind, Kind::Pages | Kind::Contiguous);
        if request.track && !(is_pages && cache == Cache::Cached) {
            pr_err!("{what}: track: only cached pages and contiguous memory can be tracked\n");
            return Err(EINVAL);
        }
        if is_pages && !cache.is_for_ram() {
            pr_err!(
                "{what}: this processor's RAM is always cached: the kernel has it mapped so; take dma memory, or \
                physical memory that the device tree reserves with no-map\n"
            );
            return Err(eopnotsupp());
        }
        let node = match request.node {
            Some(_) if !is_pages => {
                pr_err!("{what}: only pages and contiguous memory have a node\n");
                return Err(EINVAL);
            }
            Some(number) => Some(Node::new(number).ok_or_else(|| {
                pr_err!(
                    "{what}: there is no node {number} with memory, see /sys/devices/system/node\n"
                );
                ENODEV
            })?),
            None => None,
        };
        let backing = match (request.kind, request.address, request.device) {
            (kind @ (Kind::Pages | Kind::Contiguous), None, None) => {
                let pages = match kind {
                    Kind::Contiguous => Pages::contiguous(count, cache, request.track, node),
                    _ if size >= LARGE => {
                        let progress = Progress::new(what, count)?;
                        Pages::shared(count, cache, request.track, node, &progress)
                            .inspect(|_| progress.finish())
                    }
                    _ => Pages::new(count, cache, request.track, node),
                };
                let pages = pages.inspect_err(|&error| match kind {
                    _ if error == EINTR => {
                        pr_err!("{what}: killed before there were {size} bytes\n");
                    }
                    Kind::Contiguous => pr_err!(
                        "{what}: no run of {size} bytes is free or can be made free ({error:?}): \
                        memory is too scattered; ask for less, or sooner after boot\n"
                    ),
                    _ => pr_err!("{what}: no {size} bytes: {error:?}\n"),
                })?;
                Backing::Pages { pages, kind }
            }
            (Kind::Dma, None, Some(device)) => {
                if cache != Cache::Cached {
                    pr_err!("{what}: coherent memory is cached as its device needs it\n");
                    return Err(EINVAL);
                }
                let memory = dma::Coherent::new(device.clone(), bytes);
                Backing::Dma(memory.inspect_err(|&error| match error {
                    _ if error == EBUSY => pr_err!(
                        "{what}: the device's driver has given it memory of its own, and it gets no other\n"
                    ),
                    _ => pr_err!("{what}: no run of {size} bytes where the device can reach it\n"),
                })?)
            }
            (Kind::Physical, Some(address), None) => {
                let right = RawMemory::of_current_task().map_err(|denial| deny(what, denial))?;
                Backing::Physical(
                    IoMemory::new(&right, c"chrmem", address, bytes, cache)
                        .map_err(|refusal| refuse(what, address, size, refusal))?,
                )
            }
            (Kind::Physical, None, _) => {
                pr_err!("{what}: physical memory needs an address\n");
                return Err(EINVAL);
            }
            _ => {
                pr_err!("{what}: only physical memory has an address, only dma memory a device\n");
                return Err(EINVAL);
            }
        };
        Ok(Self { cache, backing })
    }

    /// Which kind it is.
    pub(crate) fn kind(&self) -> Kind {
        match &self.backing {
            Backing::Pages { kind, .. } => *kind,
            Backing::Dma(_) => Kind::Dma,
            Backing::Physical(_) => Kind::Physical,
        }
    }

    /// Its cache mode: what was asked for, or what its device needs.
    pub(crate) fn cache(&self) -> Cache {
        match &self.backing {
            Backing::Dma(memory) => memory.cache(),
            _ => self.cache,
        }
    }

    /// Whether it is RAM, and not a range of a device's.
    pub(crate) fn is_ram(&self) -> bool {
        self.kind() != Kind::Physical
    }

    /// What takes it away, if anything does: a PCI device that it belongs to, and the right to access it.
    pub(crate) fn tie(&self) -> Option<(&PciDevice, &Arc<Revocable>)> {
        match &self.backing {
            Backing::Dma(memory) => memory.tie(),
            Backing::Physical(memory) => memory.tie(),
            Backing::Pages { .. } => None,
        }
    }

    /// Whether it was taken away.
    pub(crate) fn is_revoked(&self) -> bool {
        self.tie().is_some_and(|(_, access)| access.is_revoked())
    }

    /// The physical address, or for DMA memory the device's, if there is a single one.
    pub(crate) fn address(&self) -> Option<u64> {
        match &self.backing {
            Backing::Dma(memory) => Some(memory.bus()),
            Backing::Physical(memory) => Some(memory.start()),
            Backing::Pages { pages, kind } if *kind == Kind::Contiguous => {
                Some(pages.page(0)?.address())
            }
            Backing::Pages { .. } => None,
        }
    }

    /// Whether huge page-table entries can map some of it.
    pub(crate) fn has_huge_pages(&self) -> bool {
        match &self.backing {
            Backing::Pages { pages, .. } => pages.has_huge(),
            Backing::Dma(memory) => memory.has_huge(),
            Backing::Physical(memory) => memory.has_huge(),
        }
    }

    /// What is mapped at page `page`.
    // ANCHOR: page
    // A fault in a folio makes no call for it.
    #[inline(always)]
    pub(crate) fn page(&self, page: u64) -> Option<Page<'_>> {
        let index = usize::try_from(page).ok()?;
        match &self.backing {
            Backing::Dma(memory) => Some(Page::Frame(memory.frame(index)?)),
            Backing::Physical(memory) => Some(Page::Frame(memory.frame(index)?)),
            Backing::Pages { pages, .. } => Some(Page::Folio(pages.page(index)?)),
        }
    }
    // ANCHOR_END: page

    /// Copies `size` bytes from `start` on into `to`; gives how many it took before a fault.
    pub(crate) fn read(&self, start: u64, size: u64, to: &mut Destination<'_>) -> Result<usize> {
        self.each(start, size, |memory, start, len| {
            memory.copy_to(start, len, to)
        })
    }

    /// Copies `size` bytes from `from` to `start`; gives how many there were before a fault.
    pub(crate) fn write(&self, start: u64, size: u64, from: &mut Source<'_>) -> Result<usize> {
        self.each(start, size, |memory, start, len| {
            memory.copy_from(start, len, from)
        })
    }

    /// Sets `size` bytes from `start` on to `byte`. Fails with `EINTR` if the task is killed before it is done, and with
    /// `EIO` after it is done if some pages have failed, which are left alone.
    pub(crate) fn fill(&self, start: u64, size: u64, byte: u8) -> Result {
        let mut result = Ok(());
        let mut done: u64 = 0;
        while done < size {
            let at = start.saturating_add(done);
            let filled = self.each(at, size.saturating_sub(done), |memory, start, len| {
                memory.fill(start, len, byte);
                len
            });
            if filled == Err(ENODEV) {
                return Err(ENODEV);
            }
            let count = filled.map_or_else(
                |error| {
                    result = Err(error);
                    PAGE.saturating_sub(at % PAGE)
                },
                |count| count as u64,
            );
            done = done.saturating_add(count);
            if done < size && (count == 0 || task::is_killed()) {
                return Err(EINTR);
            }
        }
        result
    }

    /// Puts `bytes` at `start`, as many as there is memory for; gives how many.
    pub(crate) fn poke(&self, start: u64, bytes: &[u8]) -> usize {
        let mut done: usize = 0;
        self.each(start, bytes.len() as u64, |memory, start, len| {
            let end = done.saturating_add(len);
            memory.write(start, bytes.get(done..end).unwrap_or_default());
            done = end;
            len
        })
        .unwrap_or(0)
    }

    /// Reads the bytes at `start` into `bytes`, as many as there are; gives how many.
    pub(crate) fn peek(&self, start: u64, bytes: &mut [u8]) -> usize {
        let mut done: usize = 0;
        self.each(start, bytes.len() as u64, |memory, start, len| {
            let end = done.saturating_add(len);
            memory.read(start, bytes.get_mut(done..end).unwrap_or_default());
            done = end;
            len
        })
        .unwrap_or(0)
    }

    /// How many of `size` bytes from `start` on come before the first page that has failed; `EIO` if they start in it.
    pub(crate) fn intact(&self, start: u64, size: u64) -> Result<u64> {
        if !has_failed_memory() {
            return Ok(size);
        }
        let pages = start / PAGE..start.saturating_add(size).div_ceil(PAGE);
        let has_failed = |page: &u64| self.page(*page).is_some_and(|page| page.has_failed());
        match { pages }.find(has_failed) {
            None => Ok(size),
            Some(page) if page.saturating_mul(PAGE) <= start => Err(EIO),
            Some(page) => Ok(page.saturating_mul(PAGE).saturating_sub(start)),
        }
    }

    /// Calls `act` with each piece's part of a range, until it does less than the whole of one, or the
    /// task is killed, or a page has failed, or the memory is taken away. Gives the bytes done; `EIO` if the first page has
    /// failed, `ENODEV` if there is no memory any more.
    fn each(
        &self,
        start: u64,
        size: u64,
        mut act: impl FnMut(&dyn SharedMemory, usize, usize) -> usize,
    ) -> Result<usize> {
        let size = self.intact(start, size)?;
        let (Ok(mut start), Ok(size)) = (usize::try_from(start), usize::try_from(size)) else {
            return Ok(0);
        };
        if self.is_revoked() {
            return Err(ENODEV);
        }
        let mut done: usize = 0;
        while done < size && !(done > 0 && task::is_killed()) {
            let left = size.saturating_sub(done);
            let (count, len) = match &self.backing {
                Backing::Dma(memory) => {
                    let len = left.min(PIECE);
                    (act(memory, start, len), len)
                }
                Backing::Physical(memory) => {
                    let len = left.min(PIECE_OF_REGISTERS);
                    (act(memory, start, len), len)
                }
                Backing::Pages { pages, .. } => {
                    let Some((piece, within)) = pages.piece(start, left.min(PIECE)) else {
                        break;
                    };
                    let len = left.min(piece.size().saturating_sub(within));
                    (act(&piece, within, len), len)
                }
            };
            if self.is_revoked() {
                // Some of the piece may have been copied after that, or none.
                return match done {
                    0 => Err(ENODEV),
                    done => Ok(done),
                };
            }
            done = done.saturating_add(count);
            start = start.saturating_add(count);
            if count < len {
                break;
            }
        }
        Ok(done)
    }
}

/// Bytes of memory after which a task looks whether it is killed: uncached, they take tens of milliseconds.
const PIECE: usize = HUGE_BYTES;

/// The same for registers, whose words are fetched one by one.
const PIECE_OF_REGISTERS: usize = 64 << 10;

/// Says in the log why the task may not use hardware directly.
pub(crate) fn deny(what: fmt::Arguments<'_>, denial: Denial) -> Error {
    match denial {
        Denial::Capability => pr_err!("{what}: physical memory needs CAP_SYS_RAWIO\n"),
        Denial::Lockdown => pr_err!(
            "{what}: the kernel is locked down, so nobody gets memory of hardware: \
            see kernel_lockdown(7)\n"
        ),
    }
    EPERM
}

/// Says in the log why a physical range cannot be had.
fn refuse(what: fmt::Arguments<'_>, address: u64, size: u64, refusal: Refusal) -> Error {
    let (why, error) = match refusal {
        Refusal::BeyondAddressWidth => ("ends beyond the processor's address width", EINVAL),
        Refusal::SystemRam => ("has System RAM in it, see /proc/iomem", EPERM),
        Refusal::Claimed => ("is claimed by a driver, see /proc/iomem", EBUSY),
        Refusal::Foreign => (
            "has an owner that may take back some of it, see /proc/iomem",
            EBUSY,
        ),
        Refusal::NoMemory => ("cannot be claimed: there is no memory", ENOMEM),
        Refusal::Unmappable => ("cannot be mapped with this cache mode", ENOMEM),
    };
    pr_err!("{what}: {size} bytes at {address:#x}: the range {why}\n");
    error
}
