// SPDX-License-Identifier: GPL-2.0

//! Where the windows of a device lie: offsets and ranges.
//!
//! Pure arithmetic on `core` alone, so that it is also compiled and tested on the host. Every
//! function takes the extents of a device's windows, which [`check`] has accepted: page-aligned,
//! not empty, sorted, apart from each other and within [`END_MAX`].

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

/// Bytes of a page; a power of two.
pub(crate) const PAGE: u64 = super::PAGE_SIZE as u64;

/// No device ends beyond this: file offsets are signed 64-bit numbers.
pub(crate) const END_MAX: u64 = i64::MAX as u64 & !(PAGE - 1);

/// A range of a device's offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First byte.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: u64,
}

impl Extent {
    /// The first byte after the extent. Saturates, which no checked extent does.
    pub(crate) fn end(self) -> u64 {
        self.offset.saturating_add(self.size)
    }

    /// The part of `range` that lies in it; an empty one if there is none.
    pub(crate) fn within(self, range: &core::ops::Range<u64>) -> core::ops::Range<u64> {
        let start = self.offset.max(range.start);
        start..self.end().min(range.end).max(start)
    }
}

/// Why extents cannot be a device's windows. The number says which one, in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// It has no bytes.
    Empty(usize),
    /// Its offset or its size is not a whole number of pages.
    Unaligned(usize),
    /// It ends beyond [`END_MAX`].
    TooLarge(usize),
    /// It starts before the one before it ends.
    Overlap(usize),
}

impl Defect {
    /// The defect in words.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Empty(_) => "it is empty",
            Self::Unaligned(_) => "offset or size is not a whole number of pages",
            Self::TooLarge(_) => "it ends beyond the largest offset",
            Self::Overlap(_) => "it overlaps the one before it",
        }
    }

    /// Which window has it.
    pub(crate) fn window(self) -> usize {
        let (Self::Empty(index)
        | Self::Unaligned(index)
        | Self::TooLarge(index)
        | Self::Overlap(index)) = self;
        index
    }
}

/// What there is at an offset for a read or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Bytes of window `window`, from `start` within it, `size` of them and not zero.
    Window {
        /// Which window.
        window: usize,
        /// First byte, counted from the window's start.
        start: u64,
        /// Bytes from there that were asked for and lie in this window.
        size: u64,
    },
    /// No memory.
    Hole,
    /// The end of the device, or beyond.
    End,
}

/// Why a range cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeError {
    /// There is no memory at its start, or somewhere in it.
    NoMemory,
    /// It is empty, or runs past the end of what it started in.
    PastEnd,
}

/// Rounds a number of bytes up to whole pages; `None` if that is nothing or beyond [`END_MAX`].
pub(crate) fn whole_pages(bytes: u64) -> Option<u64> {
    let size = bytes.checked_next_multiple_of(PAGE)?;
    (1..=END_MAX).contains(&size).then_some(size)
}

/// Checks that extents, sorted by offset, can be the windows of one device.
pub(crate) fn check(extents: &[Extent]) -> Result<(), Defect> {
    let mut end = 0;
    for (index, extent) in (0..extents.len()).zip(extents) {
        if extent.size == 0 {
            return Err(Defect::Empty(index));
        }
        if extent.offset % PAGE != 0 || extent.size % PAGE != 0 {
            return Err(Defect::Unaligned(index));
        }
        if extent.offset < end {
            return Err(Defect::Overlap(index));
        }
        end = match extent.offset.checked_add(extent.size) {
            Some(end) if end <= END_MAX => end,
            _ => return Err(Defect::TooLarge(index)),
        };
    }
    Ok(())
}

/// The size of the device: the end of its last window.
pub(crate) fn size(extents: &[Extent]) -> u64 {
    extents.last().map_or(0, |last| last.end())
}

/// The index of the first window that ends after `offset`.
#[inline]
fn next(extents: &[Extent], offset: u64) -> usize {
    // Most devices have one.
    if extents.first().is_some_and(|first| offset < first.end()) {
        return 0;
    }
    // Not `partition_point`: in the kernel its plain `+` is a possible panic.
    let (mut low, mut high) = (0_usize, extents.len());
    while low < high {
        let middle = low.wrapping_add(high.wrapping_sub(low) / 2);
        match extents.get(middle) {
            Some(extent) if extent.end() <= offset => low = middle.wrapping_add(1),
            _ => high = middle,
        }
    }
    low
}

/// What a read or write of `size` bytes at `offset` meets first.
#[inline]
pub(crate) fn place(extents: &[Extent], offset: u64, size: u64) -> Place {
    let window = next(extents, offset);
    let Some(extent) = extents.get(window) else {
        return Place::End;
    };
    match offset.checked_sub(extent.offset) {
        Some(start) => Place::Window {
            window,
            start,
            // `next` says that the window ends after `offset`.
            size: size.min(extent.size.saturating_sub(start)),
        },
        None => Place::Hole,
    }
}

/// The first offset at or after `offset` with memory behind it (`SEEK_DATA`).
pub(crate) fn data(extents: &[Extent], offset: u64) -> Option<u64> {
    let extent = extents.get(next(extents, offset))?;
    Some(extent.offset.max(offset))
}

/// The first offset at or after `offset` without memory behind it (`SEEK_HOLE`); the end of the
/// device counts as one. `None` if `offset` is not inside the device.
pub(crate) fn hole(extents: &[Extent], offset: u64) -> Option<u64> {
    let mut hole = offset;
    let rest = extents.get(next(extents, offset)..)?;
    if rest.is_empty() {
        return None;
    }
    for extent in rest {
        if extent.offset > hole {
            break;
        }
        hole = extent.end();
    }
    Some(hole)
}

/// The window that a mapping of `pages` pages from page `page` of the device lies in.
///
/// Starting where no window is gives [`RangeError::NoMemory`]; running past the end of the window
/// gives [`RangeError::PastEnd`].
// ANCHOR: mapping
pub(crate) fn mapping(extents: &[Extent], page: u64, pages: u64) -> Result<usize, RangeError> {
    let offset = page.checked_mul(PAGE).ok_or(RangeError::NoMemory)?;
    // What saturates is larger than any window.
    let size = pages.saturating_mul(PAGE);
    match place(extents, offset, size) {
        Place::Window {
            window, size: have, ..
        } if size != 0 && have == size => Ok(window),
        Place::Window { .. } => Err(RangeError::PastEnd),
        Place::Hole | Place::End => Err(RangeError::NoMemory),
    }
}
// ANCHOR_END: mapping

/// Checks that there is memory behind every byte of a range, which may span windows.
///
/// A range that is empty or runs past the device's end gives [`RangeError::PastEnd`]; one with a
/// hole in it gives [`RangeError::NoMemory`].
pub(crate) fn range(extents: &[Extent], offset: u64, bytes: u64) -> Result<(), RangeError> {
    let end = match offset.checked_add(bytes) {
        Some(end) if bytes != 0 && end <= size(extents) => end,
        _ => return Err(RangeError::PastEnd),
    };
    if data(extents, offset) == Some(offset) && hole(extents, offset).is_some_and(|at| at >= end) {
        Ok(())
    } else {
        Err(RangeError::NoMemory)
    }
}
