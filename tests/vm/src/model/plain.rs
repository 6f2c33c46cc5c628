// SPDX-License-Identifier: MIT OR Apache-2.0

//! The plain model: a device as lists of bytes, and what each call answers then.

use crate::plan::Window;
use crate::sys::{Result, PAGE};
use rustix::io::Errno;
use std::ops::Range;

/// What the reset text is.
const RESET: &[u8] = b"hello, user!\0";

/// A device.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) windows: Vec<Window>,
    /// The bytes of each.
    pub(crate) bytes: Vec<Vec<u8>>,
    /// How often it has changed. Where stores are noticed, that is more often.
    pub(crate) generation: u64,
}

/// Some bytes of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) window: usize,
    pub(crate) range: Range<usize>,
}

impl Place {
    /// Whether it has bytes in common with another one.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.window == other.window
            && self.range.start < other.range.end
            && other.range.start < self.range.end
    }
}

/// An open file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) position: i64,
    /// The newest generation it has seen.
    pub(crate) seen: u64,
}

impl Plain {
    pub(crate) fn new(windows: Vec<Window>) -> Self {
        let bytes = windows.iter().map(|it| vec![it.fill; it.size]).collect();
        Self {
            windows,
            bytes,
            generation: 0,
        }
    }

    /// The end of the last window.
    pub(crate) fn size(&self) -> u64 {
        self.windows.last().map_or(0, Window::end)
    }

    /// Whether it has a window whose stores are noticed.
    pub(crate) fn is_tracked(&self) -> bool {
        self.windows.iter().any(|window| window.tracked)
    }

    /// Whether `shown` can be the generation that the device tells.
    pub(crate) fn can_show(&self, shown: u64, generation: u64) -> bool {
        match self.is_tracked() {
            true => shown >= generation,
            false => shown == generation,
        }
    }

    /// The window that an offset lies in.
    fn window_at(&self, offset: u64) -> Option<usize> {
        self.windows
            .iter()
            .position(|window| (window.offset..window.end()).contains(&offset))
    }

    /// The bytes that a read or write of `len` at `offset` is given; `None` at the end.
    fn place(&self, offset: u64, len: usize) -> Result<Option<Place>> {
        match self.window_at(offset) {
            Some(window) => {
                let start = (offset - self.windows[window].offset) as usize;
                let end = self.windows[window].size.min(start.saturating_add(len));
                let range = start..end;
                Ok(Some(Place { window, range }))
            }
            None if offset >= self.size() => Ok(None),
            None => Err(Errno::NXIO),
        }
    }

    /// What the kernel says of a position and a length before the driver is asked.
    fn check(position: i64, len: usize) -> Result<u64> {
        if position < 0 || position.checked_add(len as i64).is_none() {
            return Err(Errno::INVAL);
        }
        Ok(position as u64)
    }

    /// The bytes that a read gives, of which the reader has room for `room`.
    pub(crate) fn read(
        &self,
        file: &File,
        position: i64,
        len: usize,
        room: usize,
    ) -> Result<Option<Place>> {
        if !file.read {
            return Err(Errno::BADF);
        }
        let offset = Self::check(position, len)?;
        if len == 0 {
            return Ok(None);
        }
        self.place(offset, len)?
            .map(|place| within(place, room))
            .transpose()
    }

    /// The bytes that a write changes, of which the writer has `room`; counts it as a change.
    pub(crate) fn write(
        &mut self,
        file: &File,
        position: i64,
        len: usize,
        room: usize,
    ) -> Result<Option<Place>> {
        if !file.write {
            return Err(Errno::BADF);
        }
        let offset = Self::check(position, len)?;
        if len == 0 {
            return Ok(None);
        }
        let place = self.place(offset, len)?.ok_or(Errno::NOSPC)?;
        if !self.windows[place.window].writable {
            return Err(Errno::ACCESS);
        }
        let place = within(place, room)?;
        self.generation += 1;
        Ok(Some(place))
    }

    /// The bytes of a place.
    pub(crate) fn bytes(&self, place: &Place) -> &[u8] {
        &self.bytes[place.window][place.range.clone()]
    }

    /// Changes the bytes of a place to the first ones of `from`.
    pub(crate) fn put(&mut self, place: &Place, from: &[u8]) {
        let len = place.range.len();
        self.bytes[place.window][place.range.clone()].copy_from_slice(&from[..len]);
    }

    /// Where a seek leads to.
    pub(crate) fn seek(&self, position: i64, offset: i64, whence: u32) -> Result<i64> {
        let size = self.size() as i64;
        let from = offset as u64;
        let to = match whence as i32 {
            libc::SEEK_SET => offset,
            libc::SEEK_CUR if offset == 0 => return Ok(position),
            libc::SEEK_CUR => position.wrapping_add(offset),
            libc::SEEK_END => size.wrapping_add(offset),
            libc::SEEK_DATA => self.data(from).ok_or(Errno::NXIO)? as i64,
            libc::SEEK_HOLE => self.hole(from).ok_or(Errno::NXIO)? as i64,
            _ => return Err(Errno::INVAL),
        };
        if (0..=size).contains(&to) {
            Ok(to)
        } else {
            Err(Errno::INVAL)
        }
    }

    /// The first offset with memory from `offset` on.
    fn data(&self, offset: u64) -> Option<u64> {
        let ends_later = self.windows.iter().find(|window| window.end() > offset)?;
        Some(ends_later.offset.max(offset))
    }

    /// The first offset without memory from `offset` on.
    fn hole(&self, offset: u64) -> Option<u64> {
        if offset >= self.size() {
            return None;
        }
        let mut offset = offset;
        while let Some(window) = self.window_at(offset) {
            offset = self.windows[window].end();
        }
        Some(offset)
    }

    /// Whether there is memory behind every byte of a range.
    pub(crate) fn range(&self, offset: u64, len: u64) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if len != 0 && end <= self.size() => {
                let mut at = offset;
                while at < end {
                    let window = self.window_at(at).ok_or(Errno::NXIO)?;
                    at = self.windows[window].end();
                }
                Ok(())
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// Whether a range can be written.
    pub(crate) fn writable_range(&self, offset: u64, len: u64) -> Result<()> {
        self.range(offset, len)?;
        let mut touched = self
            .windows
            .iter()
            .filter(|window| window.offset < offset + len && offset < window.end());
        if touched.all(|window| window.writable) {
            Ok(())
        } else {
            Err(Errno::ACCESS)
        }
    }

    /// CLEAR.
    pub(crate) fn clear_range(&mut self, offset: u64, len: u64) -> Result<()> {
        self.writable_range(offset, len)?;
        let end = offset + len;
        let parts: Vec<_> = self
            .windows
            .iter()
            .enumerate()
            .filter_map(|(index, window)| {
                let (from, to) = (window.offset.max(offset), window.end().min(end));
                let start = from.checked_sub(window.offset)? as usize;
                (from < to).then(|| (index, start..start + (to - from) as usize))
            })
            .collect();
        for (index, range) in parts {
            self.bytes[index][range].fill(0);
        }
        self.generation += 1;
        Ok(())
    }

    /// MEM_CLEAR.
    pub(crate) fn clear(&mut self) {
        for (window, bytes) in self.windows.iter().zip(&mut self.bytes) {
            if window.writable {
                bytes.fill(0);
            }
        }
        self.generation += 1;
    }

    /// RESET.
    pub(crate) fn reset(&mut self) {
        self.clear();
        if let Some(first) = self.windows.iter().position(|window| window.writable) {
            self.bytes[first][..RESET.len()].copy_from_slice(RESET);
        }
    }

    /// The window that pages of the device lie in, and the first of them in it.
    pub(crate) fn mapping(&self, page: u64, pages: u64) -> Result<(usize, usize)> {
        let offset = page.checked_mul(PAGE as u64).ok_or(Errno::NXIO)?;
        let window = self.window_at(offset).ok_or(Errno::NXIO)?;
        let room = (self.windows[window].end() - offset) / PAGE as u64;
        if pages == 0 || pages > room {
            return Err(Errno::INVAL);
        }
        let first = (offset - self.windows[window].offset) as usize / PAGE;
        Ok((window, first))
    }
}

/// As much of a place as there is room for.
fn within(mut place: Place, room: usize) -> Result<Place> {
    if room == 0 {
        return Err(Errno::FAULT);
    }
    place.range.end = place.range.end.min(place.range.start.saturating_add(room));
    Ok(place)
}

/// A mapping of some pages of one window.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    pub(crate) window: usize,
    /// Its first page in the window.
    pub(crate) page: usize,
    pub(crate) pages: usize,
    pub(crate) shared: bool,
    pub(crate) protection: i32,
    /// Whether it could be made writable.
    pub(crate) may_write: bool,
    /// What `msync` answers.
    pub(crate) sync: Result<()>,
    /// The pages that are its own, where it is a private one.
    copies: Vec<Option<Box<[u8]>>>,
}

impl Mapping {
    /// A mapping of a window by a file that was opened so, or why there can be none.
    pub(crate) fn new(
        window: &Window,
        (index, page, pages): (usize, usize, usize),
        writable_file: bool,
        shared: bool,
        protection: i32,
    ) -> Result<Self> {
        let write = protection & libc::PROT_WRITE != 0;
        if !shared && !window.private {
            return Err(Errno::INVAL);
        }
        if shared && write && !window.writable {
            return Err(Errno::ACCESS);
        }
        Ok(Self {
            window: index,
            page,
            pages,
            shared,
            protection,
            may_write: !shared || writable_file && window.writable,
            sync: Ok(()),
            copies: if shared {
                Vec::new()
            } else {
                vec![None; pages]
            },
        })
    }

    /// Whether loads work; what can be stored to can be loaded from, on this processor.
    pub(crate) fn can_load(&self) -> bool {
        self.protection != libc::PROT_NONE
    }

    /// Whether stores work.
    pub(crate) fn can_store(&self) -> bool {
        self.protection & libc::PROT_WRITE != 0
    }

    /// Where in its window some bytes lie.
    pub(crate) fn place(&self, at: usize, len: usize) -> Place {
        let start = self.page * PAGE + at;
        Place {
            window: self.window,
            range: start..start + len,
        }
    }

    /// The bytes that are loaded.
    pub(crate) fn load(&self, device: &Plain, at: usize, len: usize) -> Vec<u8> {
        let mut bytes = device.bytes(&self.place(at, len)).to_vec();
        if self.copies.iter().any(Option::is_some) {
            for (page, within, range) in pieces(at, len) {
                if let Some(copy) = &self.copies[page] {
                    bytes[range.clone()].copy_from_slice(&copy[within..within + range.len()]);
                }
            }
        }
        bytes
    }

    /// Stores bytes.
    pub(crate) fn store(&mut self, device: &mut Plain, at: usize, bytes: &[u8]) {
        if self.shared {
            return device.put(&self.place(at, bytes.len()), bytes);
        }
        for (page, within, range) in pieces(at, bytes.len()) {
            let now = self.place(page * PAGE, PAGE);
            let copy = self.copies[page].get_or_insert_with(|| device.bytes(&now).into());
            copy[within..within + range.len()].copy_from_slice(&bytes[range]);
        }
    }

    /// Makes a private mapping's copy of each page, as if all had been stored to.
    pub(crate) fn make_copies(&mut self, device: &Plain) {
        for page in 0..self.copies.len() {
            let bytes = device.bytes(&self.place(page * PAGE, PAGE)).into();
            self.copies[page] = Some(bytes);
        }
    }

    /// Lets the copies go.
    pub(crate) fn forget_copies(&mut self) {
        self.copies.fill(None);
    }

    /// Parts it in two: the first has so many pages.
    pub(crate) fn split(mut self, pages: usize) -> (Self, Self) {
        let copies = if self.shared {
            Vec::new()
        } else {
            self.copies.split_off(pages)
        };
        let rest = Self {
            page: self.page + pages,
            pages: self.pages - pages,
            copies,
            ..self
        };
        self.pages = pages;
        (self, rest)
    }
}

/// The parts of a range by page: the page, where in it, and which part of the range.
fn pieces(at: usize, len: usize) -> impl Iterator<Item = (usize, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let (page, within) = ((at + done) / PAGE, (at + done) % PAGE);
        let range = done..len.min(done + PAGE - within);
        done = range.end;
        Some((page, within, range))
    })
}
