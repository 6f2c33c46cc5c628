// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mappings whose memory can be taken away: where they are, and from which it was.
//!
//! The handler of `SIGBUS` looks here for the mapping that was accessed, in any thread, at any moment. So nothing here
//! waits: there is no lock, and only a new mapping allocates memory, which is never freed. That also makes it whole in
//! a child that is made by `fork`, which has a copy of its own.
//!
//! Only `raw.rs` makes guards, of the pages that it maps: the handler replaces what has one.
#![deny(unsafe_code)]

use super::Link;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::atomic::{fence, AtomicBool, AtomicUsize};

/// A place for one mapping, in a list that only grows.
#[derive(Debug)]
pub(super) struct Slot {
    is_taken: AtomicBool,
    start: AtomicUsize,
    /// Zero where there is no mapping.
    size: AtomicUsize,
    is_revoked: AtomicBool,
    next: Link<Slot>,
}

/// The start of the list.
static FIRST: Slot = Slot::new();

impl Slot {
    const fn new() -> Self {
        Self {
            is_taken: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            size: AtomicUsize::new(0),
            is_revoked: AtomicBool::new(false),
            next: Link::new(),
        }
    }

    /// All that there are.
    fn all() -> impl Iterator<Item = &'static Self> {
        std::iter::successors(Some(&FIRST), |slot| slot.next.get())
    }

    /// One for the caller alone.
    fn take() -> &'static Self {
        let mut slot = &FIRST;
        while slot.is_taken.swap(true, SeqCst) {
            slot = match slot.next.get() {
                Some(next) => next,
                None => slot.next.set(Box::leak(Box::new(Self::new()))),
            };
        }
        slot
    }

    /// Has a mapping, where there is none.
    fn put(&self, start: usize, size: usize) {
        self.is_revoked.store(false, SeqCst);
        self.start.store(start, SeqCst);
        self.size.store(size, SeqCst);
    }

    /// Has no mapping any more.
    fn clear(&self) {
        self.size.store(0, SeqCst);
    }

    /// The addresses of its mapping, if `address` is one of them. A test does something `meanwhile`.
    fn range_around(&self, address: usize, meanwhile: impl FnOnce()) -> Option<Range<usize>> {
        let size = self.size.load(SeqCst);
        meanwhile();
        let start = self.start.load(SeqCst);
        // Where another mapping has come meanwhile, its start must not be taken for one of the old size.
        if size != self.size.load(SeqCst) || address.wrapping_sub(start) >= size {
            return None;
        }
        Some(start..start + size)
    }

    /// Says that its memory was taken away. From the next access on everyone is told, whatever that finds.
    pub(super) fn revoke(&self) {
        self.is_revoked.store(true, SeqCst);
    }
}

/// The mapping with this address, and all its addresses.
pub(super) fn find(address: usize) -> Option<(&'static Slot, Range<usize>)> {
    Slot::all().find_map(|slot| Some((slot, slot.range_around(address, || ())?)))
}

/// Has [`find`] find a mapping, until dropped: before it is unmapped.
#[derive(Debug)]
// The bits of its address that this leaves are used for more.
#[repr(align(16))]
pub(crate) struct Guard {
    slot: &'static Slot,
    file: String,
}

impl Guard {
    /// The mapping of `size` bytes from `start` on, of a file with this name.
    pub(super) fn new(start: usize, size: usize, file: String) -> Self {
        let slot = Slot::take();
        slot.put(start, size);
        Self { slot, file }
    }

    /// Whether an access up to now found that the memory was taken away.
    #[inline]
    pub(crate) fn is_revoked(&self) -> bool {
        // After the access: a load that found what is there instead is not made before.
        fence(Acquire);
        self.slot.is_revoked.load(Acquire)
    }

    /// The name of the mapping's file.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.slot.clear();
        self.slot.is_taken.store(false, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(start: usize, size: usize) -> Guard {
        Guard::new(start, size, "file".into())
    }

    #[test]
    fn a_mapping_is_found_by_each_of_its_addresses_until_it_is_dropped() {
        let (one, other) = (guard(1 << 60, 0x2000), guard((1 << 60) + 0x2000, 0x1000));
        let found = |address: usize| find((1 << 60) + address).map(|(_, range)| range.len());
        assert_eq!(find((1 << 60) - 1).map(|(_, range)| range), None);
        assert_eq!([found(0), found(0x1fff)], [Some(0x2000); 2]);
        assert_eq!([found(0x2000), found(0x2fff)], [Some(0x1000); 2]);
        assert_eq!(found(0x3000), None);
        let (slot, _) = find((1 << 60) + 5).expect("a mapping");
        slot.revoke();
        assert_eq!((one.is_revoked(), other.is_revoked()), (true, false));
        drop(one);
        assert_eq!((found(0), found(0x2000)), (None, Some(0x1000)));
        // The next one that is there knows nothing of it.
        let next = guard(1 << 59, 0x1000);
        assert!(!next.is_revoked());
        assert_eq!(found(0), None);
    }

    /// Another one comes while it is looked for.
    #[test]
    fn a_mapping_is_never_taken_for_another() {
        let slot = Slot::new();
        let change = |start, size| {
            let slot = &slot;
            move || {
                slot.clear();
                slot.put(start, size);
            }
        };
        slot.put(0x100_0000, 0x1000);
        let found = slot.range_around(0x200_0100, change(0x200_0000, 0x100));
        assert_eq!(found, None);
        let found = slot.range_around(0x200_0000, change(0x100_0000, 0x100));
        assert_eq!(found, None);
        // It is the new one where both are as large.
        let found = slot.range_around(0x300_0010, change(0x300_0000, 0x100));
        assert_eq!(found, Some(0x300_0000..0x300_0100));
        let found = slot.range_around(0x300_0010, || slot.clear());
        assert_eq!(found, None);
    }
}
