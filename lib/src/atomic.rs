// SPDX-License-Identifier: MIT OR Apache-2.0

//! Integers in a mapping that several use at the same time.

use crate::raw::{Place, Word};
use std::sync::atomic::Ordering;

/// An integer in a mapping, accessed atomically: the methods are those of the standard library's atomics, and so
/// are the orders. [`View::atomic`](crate::View::atomic) and [`Array::atomic`](crate::Array::atomic) make it.
///
/// It is not one of those atomics. Theirs is Rust's own memory, which nobody else may write to with other sizes
/// or without atomics; here others do as they like, in this process or another. On x86-64 every aligned access of
/// up to eight bytes is atomic, whatever else happens to the same bytes; the accesses are made by assembly.
///
/// On a `physical` window, loads and stores are what they are elsewhere, but few devices know the others, which
/// read and write at once. The methods give values, not errors: where the hardware is gone, these are zeroes, and
/// [`Mapping::check`](crate::Mapping::check) tells.
///
/// ```
/// use std::sync::atomic::Ordering;
///
/// let memory = chrmem::Mapping::anonymous(4096)?;
/// let counter = memory.atomic::<u64>(8)?;
/// assert_eq!(counter.fetch_add(2, Ordering::Relaxed), 0);
/// assert_eq!(counter.load(Ordering::Relaxed), 2);
/// # Ok::<(), chrmem::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Atomic<'a, W> {
    place: Place<'a, W>,
}

impl<'a, W: Word> Atomic<'a, W> {
    /// The integer at a place that can be written.
    #[inline]
    pub(crate) fn new(place: Place<'a, W>) -> Self {
        Self { place }
    }

    /// Where in this process it is.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.atomic::<u8>(3)?.as_ptr(), memory.view(3..)?.as_ptr());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn as_ptr(&self) -> *mut W {
        self.place.as_ptr()
    }

    /// Loads the value.
    ///
    /// # Panics
    ///
    /// If `order` is [`Release`](Ordering::Release) or [`AcqRel`](Ordering::AcqRel).
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.atomic::<u32>(0)?.load(Ordering::Acquire), 0);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn load(&self, order: Ordering) -> W {
        self.place.load(order)
    }

    /// Stores a value.
    ///
    /// # Panics
    ///
    /// If `order` is [`Acquire`](Ordering::Acquire) or [`AcqRel`](Ordering::AcqRel).
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.atomic::<u32>(4)?.store(7, Ordering::Release);
    /// assert_eq!(memory.read::<u32>(4)?, 7);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn store(&self, value: W, order: Ordering) {
        self.place.store(value, order);
    }

    /// Stores a value: the one before.
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.atomic::<i8>(1)?.swap(-1, Ordering::AcqRel), 0);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn swap(&self, value: W, order: Ordering) -> W {
        self.place.swap(value, order)
    }

    /// Adds a value, wrapping around on overflow: the value before.
    ///
    /// ```
    /// use std::sync::atomic::Ordering;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let counter = memory.atomic::<u8>(0)?;
    /// counter.store(255, Ordering::Relaxed);
    /// assert_eq!(counter.fetch_add(2, Ordering::Relaxed), 255);
    /// assert_eq!(counter.load(Ordering::Relaxed), 1);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn fetch_add(&self, value: W, order: Ordering) -> W {
        self.place.fetch_add(value, order)
    }

    /// Stores `new` if the value is `current`: the value before, in `Ok` if it was.
    ///
    /// # Errors
    ///
    /// The value, if it was another.
    ///
    /// # Panics
    ///
    /// If `failure` is [`Release`](Ordering::Release) or [`AcqRel`](Ordering::AcqRel).
    ///
    /// ```
    /// use std::sync::atomic::Ordering::{AcqRel, Acquire};
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let lock = memory.atomic::<u32>(0)?;
    /// assert_eq!(lock.compare_exchange(0, 1, AcqRel, Acquire), Ok(0));
    /// assert_eq!(lock.compare_exchange(0, 1, AcqRel, Acquire), Err(1));
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn compare_exchange(
        &self,
        current: W,
        new: W,
        success: Ordering,
        failure: Ordering,
    ) -> Result<W, W> {
        let found = self
            .place
            .compare_exchange(current, new, [success, failure]);
        if found == current {
            Ok(found)
        } else {
            Err(found)
        }
    }

    /// Replaces the value by what `update` makes of it, again if another one came between: the value before.
    ///
    /// # Errors
    ///
    /// The value, if `update` makes `None` of it.
    ///
    /// # Panics
    ///
    /// As [`compare_exchange`](Self::compare_exchange); `fetch` is the order of loads.
    ///
    /// ```
    /// use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let flags = memory.atomic::<u16>(2)?;
    /// assert_eq!(flags.fetch_update(AcqRel, Acquire, |bits| Some(bits | 4)), Ok(0));
    /// assert_eq!(flags.load(Relaxed), 4);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn fetch_update(
        &self,
        set: Ordering,
        fetch: Ordering,
        mut update: impl FnMut(W) -> Option<W>,
    ) -> Result<W, W> {
        let mut current = self.load(fetch);
        while let Some(new) = update(current) {
            match self.compare_exchange(current, new, set, fetch) {
                Ok(found) => return Ok(found),
                Err(found) => current = found,
            }
        }
        Err(current)
    }
}
