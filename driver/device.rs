// SPDX-License-Identifier: GPL-2.0

//! A device: windows in one offset space, and a generation that counts changes.
//!
//! No lock is held while bytes are copied: the memory is the users', who may map it, read it and
//! write it at the same time, as with any shared memory. That also means that a copy from a device
//! into a mapping of that device cannot deadlock.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use core::ops::Range;
use kernel::{
    error::Error,
    new_mutex,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    abi,
    abstractions::{
        debugfs::Show,
        dmabuf::{
            Access,
            Exporter, //
        },
        inode::Inode,
        iov::{
            Destination,
            Source, //
        },
        pci::Watch,
        task,
        vma::Page, //
    },
    export::Export,
    hardware::Hardware,
    layout::{
        self,
        Extent,
        Place,
        RangeError, //
    },
    list,
    registry::Registry,
    signal::Signal,
    stats::{
        Mappings,
        RateLimit, //
    },
    track::{
        Stamps, //
    },
    window::Window, //
};

/// A device. It lives as long as its node, an open file or a mapping of it does.
#[pin_data]
pub(crate) struct Device {
    name: CString,
    /// The address space that its mappings are in: a page of it is a page of the device.
    pub(crate) inode: Arc<Inode>,
    windows: KVec<Window>,
    /// Where the windows lie, in the same order.
    extents: KVec<Extent>,
    /// Counts its changes, and wakes those who wait for one.
    pub(crate) signal: Arc<Signal>,
    /// Takes windows away whose hardware goes.
    _hardware: Option<Pin<KBox<Watch<Hardware>>>>,
    /// Its mappings.
    pub(crate) mappings: Mappings,
    /// What of it is exported.
    #[pin]
    exports: Mutex<KVec<Arc<Export>>>,
    /// Limits what its users can put into the kernel log.
    #[pin]
    pub(crate) log: RateLimit,
}

impl Device {
    /// Makes a device of windows, and of where they lie: extents that [`layout::check`] accepts.
    pub(crate) fn new(
        registry: &Registry,
        name: CString,
        windows: KVec<Window>,
        extents: KVec<Extent>,
    ) -> Result<Arc<Self>> {
        let is_tracked = windows.iter().any(|window| window.stamps.is_some());
        let inode = Arc::new(registry.inode(layout::size(&extents))?, GFP_KERNEL_ACCOUNT)?;
        let signal = Signal::new(is_tracked)?;
        let hardware = Hardware::watch(&name, &inode, &signal, &windows).inspect_err(|error| {
            if *error == ENODEV {
                pr_err!("{}: a PCI device was unplugged meanwhile\n", &*name);
            }
        })?;
        Arc::pin_init(
            pin_init!(Self {
                name,
                inode,
                windows,
                extents,
                signal,
                _hardware: hardware,
                mappings: Mappings::new(),
                exports <- new_mutex!(KVec::new(), "Device::exports"),
                log <- RateLimit::new(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The name of its node.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// Destroys it: open files answer `ENODEV` from now on, and who waits is woken.
    // ANCHOR: remove
    pub(crate) fn remove(&self) {
        self.signal.end();
    }
    // ANCHOR_END: remove

    /// Whether it was destroyed, or has no window any more.
    pub(crate) fn is_removed(&self) -> bool {
        self.signal.has_ended()
    }

    /// Its size: the end of its last window.
    pub(crate) fn size(&self) -> u64 {
        layout::size(&self.extents)
    }

    /// Its change counter.
    pub(crate) fn generation(&self) -> u64 {
        self.signal.clock.generation()
    }

    /// Counts a change, and wakes those who wait for one.
    pub(crate) fn notify(&self) {
        self.signal.notify();
    }

    /// Copies bytes at `position`, of one window, into `to`; 0 at the end.
    pub(crate) fn read(&self, position: u64, to: &mut Destination<'_>) -> Result<usize> {
        let wanted = to.len() as u64;
        if wanted == 0 {
            return Ok(0);
        }
        match self.place(position, wanted)? {
            Some((window, start, size)) => copied(window.memory.read(start, size, to)?),
            None => Ok(0),
        }
    }

    /// Stamps the pages that `size` bytes from `start` of a window lie in, if it is tracked, after they were changed. Whoever calls this
    /// then notifies.
    fn stamp(&self, window: &Window, start: u64, size: u64) {
        if let Some(stamps) = &window.stamps {
            let end = start.saturating_add(size).div_ceil(layout::PAGE);
            // CAST: The pages are as many as an array has elements.
            stamps.stamp(
                (start / layout::PAGE) as usize..end as usize,
                &self.signal.clock,
            );
        }
    }

    /// A process is about to store into page `page`, which is locked.
    pub(crate) fn stored(&self, page: u64) {
        let Ok(Some((window, start, _))) = self.place(page.saturating_mul(layout::PAGE), 1) else {
            return;
        };
        if let Some(stamps) = &window.stamps {
            stamps.open(start / layout::PAGE, &self.signal.clock);
            self.signal.wake();
        }
    }

    /// Copies bytes from `from` to `position`, of one window, and counts a change.
    // ANCHOR: write
    pub(crate) fn write(&self, position: u64, from: &mut Source<'_>) -> Result<usize> {
        let wanted = from.len() as u64;
        if wanted == 0 {
            return Ok(0);
        }
        let (window, start, size) = self.place(position, wanted)?.ok_or(ENOSPC)?;
        if !window.is_writable() {
            return Err(EACCES);
        }
        let count = copied(window.memory.write(start, size, from)?)?;
        // All that were to be written: after a fault, more may have been than are counted.
        self.stamp(window, start, size);
        self.notify();
        Ok(count)
    }
    // ANCHOR_END: write

    /// How many of `size` bytes at `position` lie in one window; 0 at the end.
    pub(crate) fn readable(&self, position: u64, size: u64) -> Result<u64> {
        let place = self.place(position, size)?;
        Ok(place.map_or(0, |(_, _, size)| size))
    }

    /// The window at `position`, with the range in it that an access of `size` bytes is given;
    /// `None` at the end of the device.
    #[inline]
    fn place(&self, position: u64, size: u64) -> Result<Option<(&Window, u64, u64)>> {
        match layout::place(&self.extents, position, size) {
            Place::Window {
                window,
                start,
                size,
            } => Ok(self.windows.get(window).map(|window| (window, start, size))),
            Place::Hole => Err(ENXIO),
            Place::End => Ok(None),
        }
    }

    /// The first offset with memory at or after `offset`.
    pub(crate) fn seek_data(&self, offset: u64) -> Result<u64> {
        layout::data(&self.extents, offset).ok_or(ENXIO)
    }

    /// The first offset without memory at or after `offset`.
    pub(crate) fn seek_hole(&self, offset: u64) -> Result<u64> {
        layout::hole(&self.extents, offset).ok_or(ENXIO)
    }

    /// Zeroes every window that user space may write to, and counts a change, also where the task is
    /// killed before it is done (`EINTR`), or where pages have failed (`EIO`) or windows are gone (`ENODEV`), which are left out.
    pub(crate) fn clear(&self) -> Result {
        let result = self.zero(0, self.size());
        self.notify();
        result
    }

    /// The same, and puts the reset text at the start of the first of them.
    pub(crate) fn reset(&self) -> Result {
        let result = self.zero(0, self.size());
        let first = self.windows.iter().find(|window| window.is_writable());
        if let Some(first) = first.filter(|_| result != Err(EINTR)) {
            first.memory.poke(0, abi::RESET_TEXT);
            self.stamp(first, 0, abi::RESET_TEXT.len() as u64);
        }
        self.notify();
        result
    }

    /// Zeroes a range that has writable memory behind every byte, and counts a change, also where the
    /// task is killed before it is done (`EINTR`), or where pages have failed, which are left out (`EIO`).
    pub(crate) fn clear_range(&self, offset: u64, size: u64) -> Result {
        self.check_range(offset, size, true)?;
        let result = self.zero(offset, size);
        self.notify();
        result
    }

    /// Checks that there is memory behind every byte of a range, which user space may write to if it is to
    /// be written.
    fn check_range(&self, offset: u64, size: u64, write: bool) -> Result {
        layout::range(&self.extents, offset, size).map_err(errno)?;
        let end = offset.saturating_add(size);
        let mut touched = self
            .windows
            .iter()
            .filter(|window| window.extent.offset < end && offset < window.extent.end());
        touched.try_for_each(|window| {
            window.check_there()?;
            match write && !window.is_writable() {
                true => Err(EACCES),
                false => Ok(()),
            }
        })
    }

    /// Zeroes what writable memory there is in a range.
    fn zero(&self, offset: u64, size: u64) -> Result {
        let end = offset.saturating_add(size);
        let mut result = Ok(());
        for window in self.windows.iter().filter(|window| window.is_writable()) {
            let extent = window.extent;
            let from = extent.offset.max(offset);
            let to = extent.end().min(end);
            if from < to {
                let start = from.saturating_sub(extent.offset);
                let size = to.saturating_sub(from);
                let filled = window.memory.fill(start, size, 0);
                self.stamp(window, start, size);
                if filled == Err(EINTR) {
                    return filled;
                }
                result = result.and(filled);
            }
        }
        result
    }

    /// The window that a new mapping of `pages` pages from page `first` lies in.
    pub(crate) fn mapping(&self, first: u64, pages: u64) -> Result<&Window> {
        let window = layout::mapping(&self.extents, first, pages).map_err(errno)?;
        self.windows.get(window).ok_or(ENXIO)
    }

    /// Notes that a part of it is exported.
    pub(crate) fn exported(&self, export: Arc<Export>) -> Result {
        Ok(self.exports.lock().push(export, GFP_KERNEL_ACCOUNT)?)
    }

    /// Notes that a part of it is no longer exported.
    pub(crate) fn unexported(&self, export: &Arc<Export>) {
        let removed = list::take(&mut self.exports.lock(), |other| Arc::ptr_eq(other, export));
        // After the lock, which is in what the export has a reference to.
        drop(removed);
    }

    /// Begins or ends an access by the processor to a range that has memory behind every byte.
    ///
    /// Where the memory is used by no device, or by one that sees what the processor sees, that is
    /// no work.
    pub(crate) fn sync(&self, offset: u64, size: u64, access: Access, ends: bool) -> Result {
        self.check_range(offset, size, access.write)?;
        let end = offset.saturating_add(size);
        for export in self.exports.lock().iter() {
            let extent = export.extent();
            let start = offset.max(extent.offset);
            let end = end.min(extent.end());
            if start >= end {
                continue;
            }
            // Offsets of a buffer are its own.
            let bytes = start.saturating_sub(extent.offset)..end.saturating_sub(extent.offset);
            if ends {
                export.importers().end_access(bytes, access);
            } else {
                export.importers().begin_access(bytes, access);
            }
        }
        Ok(())
    }

    /// Where in its window page `page` of the device lies, in pages.
    pub(crate) fn page_in_memory(&self, page: u64) -> u64 {
        let offset = page.saturating_mul(layout::PAGE);
        match self.place(offset, 1) {
            Ok(Some((_, start, _))) => start / layout::PAGE,
            _ => 0,
        }
    }

    /// What is mapped at page `page` of the device.
    // ANCHOR: page
    #[inline]
    pub(crate) fn page(&self, page: u64) -> Option<Page<'_>> {
        let (window, start, _) = self.place(page.checked_mul(layout::PAGE)?, 1).ok()??;
        window.memory.page(start / layout::PAGE)
    }
    // ANCHOR_END: page

    /// Reads bytes at `offset`, of one window, into `to`; gives how many.
    pub(crate) fn peek(&self, offset: u64, to: &mut [u8]) -> usize {
        match self.place(offset, to.len() as u64) {
            Ok(Some((window, start, size))) => {
                let to = to.get_mut(..size as usize).unwrap_or_default();
                window.memory.peek(start, to)
            }
            _ => 0,
        }
    }

    /// Writes bytes at `offset`, of one window, from `from`; gives how many. As a store into a mapping, that is
    /// no change that is counted.
    pub(crate) fn poke(&self, offset: u64, from: &[u8]) -> usize {
        match self.place(offset, from.len() as u64) {
            Ok(Some((window, start, size))) => {
                let from = from.get(..size as usize).unwrap_or_default();
                let count = window.memory.poke(start, from);
                self.stamp(window, start, size);
                count
            }
            _ => 0,
        }
    }

    /// What its clock shows: the last stamp, and the generation.
    pub(crate) fn now(&self) -> (u64, u64) {
        self.signal.clock.now()
    }

    /// Whether there is a tracked window in `range`.
    pub(crate) fn tracks(&self, range: &Range<u64>) -> bool {
        self.tracked(range).next().is_some()
    }

    /// Closes the pages in `range`, of tracked windows, that are open. Fails with `EINTR` if the task is killed before it is done.
    // ANCHOR: close
    pub(crate) fn close(&self, range: &Range<u64>) -> Result {
        for (window, stamps, pages) in self.tracked(range) {
            for page in pages.filter(|page| stamps.is_open(*page)) {
                let Some(Page::Folio(folio)) = window.memory.page(page) else {
                    continue;
                };
                let locked = folio.lock();
                // Somebody else may have been faster.
                if stamps.is_open(page) {
                    let first = window.extent.offset / layout::PAGE;
                    self.inode.protect(first.saturating_add(page), &locked);
                    stamps.close(page, &self.signal.clock);
                }
                drop(locked);
                if task::is_killed() {
                    return Err(EINTR);
                }
            }
        }
        Ok(())
    }
    // ANCHOR_END: close

    /// Calls `found` with what in `range`, of tracked windows, may have changed after `since`: runs of pages of one window,
    /// at most `room` of them. Gives where it stopped: at the end of the range, or where there is no more room.
    // ANCHOR: changes
    pub(crate) fn changes(
        &self,
        since: u64,
        range: &Range<u64>,
        mut room: u32,
        mut found: impl FnMut(Range<u64>) -> Result,
    ) -> Result<u64> {
        for (window, stamps, pages) in self.tracked(range) {
            // The bytes of some pages, of those in the range.
            let bytes = |pages: Range<u64>| {
                let at = |page: u64| page.saturating_mul(layout::PAGE);
                let start = window.extent.offset.saturating_add(at(pages.start));
                let end = window.extent.offset.saturating_add(at(pages.end));
                start.max(range.start)..end.min(range.end)
            };
            let mut at = pages.start;
            while let Some(run) = stamps.later(at..pages.end, since) {
                let bytes = bytes(run.clone());
                if room == 0 {
                    return Ok(bytes.start);
                }
                room = room.saturating_sub(1);
                found(bytes)?;
                at = run.end;
            }
        }
        Ok(range.end)
    }
    // ANCHOR_END: changes

    /// The tracked windows in `range`, with the pages of each that lie in it.
    fn tracked<'a>(
        &'a self,
        range: &Range<u64>,
    ) -> impl Iterator<Item = (&'a Window, &'a Stamps, Range<u64>)> {
        let range = range.clone();
        self.windows.iter().filter_map(move |window| {
            let bytes = window.extent.within(&range);
            let stamps = window.stamps.as_ref().filter(|_| !bytes.is_empty())?;
            let page = |offset: u64| offset.saturating_sub(window.extent.offset);
            let first = page(bytes.start) / layout::PAGE;
            let end = page(bytes.end).div_ceil(layout::PAGE);
            Some((window, stamps, first..end))
        })
    }

    /// What the INFO ioctl tells.
    pub(crate) fn info(&self) -> abi::Info {
        abi::Info {
            version: abi::VERSION,
            windows: self.windows.len() as u32,
            size: self.size(),
            generation: self.generation(),
            page_size: layout::PAGE,
            reserved: [0; 4],
        }
    }

    /// What the WINDOW ioctl tells of the window `index`.
    pub(crate) fn window(&self, index: u32) -> Result<abi::Window> {
        let window = self.windows.get(index as usize).ok_or(EINVAL)?;
        Ok(window.describe(index))
    }

    /// Writes what debugfs and fdinfo show, each line with `prefix` before it.
    pub(crate) fn show_lines(&self, to: &SeqFile, prefix: &str) {
        seq_print!(to, "{prefix}size:\t{}\n", self.size());
        seq_print!(to, "{prefix}generation:\t{}\n", self.generation());
        seq_print!(to, "{prefix}mappings:\t{}\n", self.mappings);
        for (index, window) in (0..self.windows.len()).zip(&self.windows) {
            seq_print!(to, "{prefix}window:\t{index} {window}\n");
        }
    }
}

impl Show for Device {
    fn show(&self, to: &SeqFile) {
        self.show_lines(to, "");
    }
}

/// The answer of a copy that did `count` bytes of the more than zero it was to do.
fn copied(count: usize) -> Result<usize, Error> {
    match count {
        0 => Err(EFAULT),
        count => Ok(count),
    }
}

/// What user space is told of a range that cannot be used.
fn errno(error: RangeError) -> Error {
    match error {
        RangeError::NoMemory => ENXIO,
        RangeError::PastEnd => EINVAL,
    }
}
