// SPDX-License-Identifier: MIT OR Apache-2.0

//! A part of a mapping as an array.

use crate::atomic::Atomic;
use crate::error::{Error, Result};
use crate::raw::Word;
use crate::view::View;
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A part of a mapping as an array of `T`: a typed window. [`View::array`](crate::View::array) makes it.
///
/// Elements are copied out and in, never lent, since others may write at any time. They lie one behind the other,
/// at any alignment; [`View::read`](crate::View::read) says which of them are copied as a whole.
///
/// ```
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// #[derive(FromBytes, IntoBytes, Immutable, Debug, PartialEq)]
/// #[repr(C)]
/// struct Point {
///     x: f32,
///     y: f32,
/// }
///
/// let memory = chrmem::Mapping::anonymous(4096)?;
/// let points = memory.all().array::<Point>();
/// assert_eq!(points.len(), 512);
/// points.set(3, &Point { x: 1.0, y: 2.0 })?;
/// assert_eq!(points.get(3)?.y, 2.0);
/// # Ok::<(), chrmem::Error>(())
/// ```
pub struct Array<'a, T> {
    view: View<'a>,
    elements: PhantomData<fn(T) -> T>,
}

impl<'a, T: FromBytes + IntoBytes + Immutable> Array<'a, T> {
    pub(crate) fn new(view: View<'a>) -> Self {
        Self {
            view,
            elements: PhantomData,
        }
    }

    /// How many elements there are. Of a `T` without bytes there are none.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.all().array::<u32>().len(), 1024);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.view.len().checked_div(size_of::<T>()).unwrap_or(0)
    }

    /// Whether there are no elements.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(3)?;
    /// assert!(memory.all().array::<u32>().is_empty());
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`.
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] if there is none, [`Error::Gone`] if the mapping's file has become shorter,
    /// [`Error::Revoked`] if its hardware is gone.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.all().array::<u32>().get(1023)?, 0);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn get(&self, index: usize) -> Result<T> {
        match self.view.get_whole(index) {
            Some(element) => Ok(element),
            None => self.get_in_pieces(index),
        }
    }

    /// The element at `index`, if there is one, when it cannot be loaded by one access.
    #[inline(never)]
    fn get_in_pieces(self, index: usize) -> Result<T> {
        self.view.read(self.offset(index, 1)?)
    }

    /// Stores an element at `index`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`Error::ReadOnly`] if the mapping cannot be written.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.all().array::<u32>().set(2, &7)?;
    /// assert_eq!(memory.read::<u32>(8)?, 7);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn set(&self, index: usize, element: &T) -> Result<()> {
        let stored = self.view.set(index, element);
        stored.unwrap_or_else(|| Err(self.no_element(index)))
    }

    /// Copies the elements from `index` on into `target`, filling it, in the quickest way: of RAM, elements can
    /// be mixtures of old and new bytes.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); where an element is missing, nothing is copied.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let mut part = [1_u32; 100];
    /// memory.all().array().copy_to(50, &mut part)?;
    /// assert_eq!(part, [0; 100]);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn copy_to(&self, index: usize, target: &mut [T]) -> Result<()> {
        let offset = self.offset(index, target.len())?;
        self.view.copy_to(offset, target.as_mut_bytes())
    }

    /// Copies `source` over the elements from `index` on, in the quickest way: others can see mixtures of old and
    /// new bytes.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set); where an element is missing, nothing is copied.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.all().array().copy_from(1, &[7_u32, 8])?;
    /// assert_eq!(memory.read::<u32>(8)?, 8);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn copy_from(&self, index: usize, source: &[T]) -> Result<()> {
        let offset = self.offset(index, source.len())?;
        self.view.copy_from(offset, source.as_bytes())
    }

    /// All elements, one copy after the other, each made when it is asked for. Only where the kernel has to copy
    /// ([`can_shrink`](crate::Mapping::can_shrink)), it copies up to 64 KiB at once.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.all().array().copy_from(0, &[7_u32, 8])?;
    /// let sum: chrmem::Result<u32> = memory.all().array::<u32>().iter().sum();
    /// assert_eq!(sum?, 15);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<T>> + FusedIterator + use<'a, T> {
        Iter {
            array: *self,
            next: 0,
            ahead: self.view.can_shrink().then(Box::default),
        }
    }

    /// Where in the view element `index` starts, after a check that `count` elements follow.
    #[inline]
    fn offset(&self, index: usize, count: usize) -> Result<usize> {
        let len = self.len();
        match len.checked_sub(index) {
            Some(rest) if count <= rest => Ok(index * size_of::<T>()),
            // The first that is missing.
            _ => Err(self.no_element(index.max(len))),
        }
    }

    #[cold]
    fn no_element(self, index: usize) -> Error {
        Error::NoElement {
            index,
            len: self.len(),
        }
    }
}

impl<'a, W: Word> Array<'a, W> {
    /// The element at `index`, for atomic accesses.
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] if there is none, [`Error::Misaligned`] if the view does not start at a multiple of the
    /// integer's size, [`Error::CanShrink`] if the mapping's file can become shorter, [`Error::ReadOnly`],
    /// [`Error::Revoked`] if its hardware is gone.
    ///
    /// ```
    /// use std::sync::atomic::Ordering::Relaxed;
    ///
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// let words = memory.array::<u64>();
    /// words.atomic(3)?.fetch_add(4, Relaxed);
    /// assert_eq!(words.get(3)?, 4);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    #[inline]
    pub fn atomic(&self, index: usize) -> Result<Atomic<'a, W>> {
        self.view.atomic(self.offset(index, 1)?)
    }
}

/// The elements of an array.
struct Iter<'a, T> {
    array: Array<'a, T>,
    next: usize,
    /// Elements copied ahead, where the kernel has to copy.
    ahead: Option<Box<Ahead>>,
}

/// How many bytes the kernel copies ahead.
const AHEAD: usize = 64 << 10;

/// Elements that the kernel has copied.
#[derive(Default)]
struct Ahead {
    /// The first of them.
    first: usize,
    bytes: Vec<u8>,
}

impl Ahead {
    /// The element at `index`, which is there, and not before those that were asked for.
    fn get<T: FromBytes + IntoBytes + Immutable>(
        &mut self,
        array: Array<'_, T>,
        index: usize,
    ) -> Result<T> {
        let size = size_of::<T>();
        let mut at = (index - self.first) * size;
        if at >= self.bytes.len() {
            let count = (AHEAD / size).clamp(1, array.len() - index);
            self.bytes.resize(count * size, 0);
            self.first = index;
            at = 0;
            if array.view.copy_to(index * size, &mut self.bytes).is_err() {
                // One by one up to where it can be, so that the error comes where it belongs.
                self.bytes.clear();
                return array.get(index);
            }
        }
        let element = T::read_from_bytes(&self.bytes[at..at + size]);
        Ok(element.unwrap_or_else(|_| unreachable!("as many bytes")))
    }
}

/// The element at `index`, if there is one, when it cannot be loaded by one access. By itself, and without the
/// iterator, which so needs no memory.
#[inline(never)]
fn next_in_pieces<T: FromBytes + IntoBytes + Immutable>(
    array: Array<'_, T>,
    index: usize,
    ahead: Option<&mut Ahead>,
) -> Option<Result<T>> {
    if index == array.len() {
        return None;
    }
    Some(match ahead {
        None => array.get(index),
        Some(ahead) => ahead.get(array, index),
    })
}

impl<T: FromBytes + IntoBytes + Immutable> Iterator for Iter<'_, T> {
    type Item = Result<T>;

    #[inline]
    fn next(&mut self) -> Option<Result<T>> {
        if let Some(element) = self.array.view.get_whole(self.next) {
            self.next += 1;
            return Some(Ok(element));
        }
        let element = next_in_pieces(self.array, self.next, self.ahead.as_deref_mut());
        self.next += usize::from(element.is_some());
        element
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.array.len() - self.next;
        (left, Some(left))
    }

    /// Checks once, instead of each time, that every element can be loaded by one access.
    #[inline]
    fn fold<B, F: FnMut(B, Result<T>) -> B>(self, first: B, mut add: F) -> B {
        if let Some(elements) = self.array.view.wholes(self.next) {
            return elements.fold(first, |sum, element| add(sum, Ok(element)));
        }
        let mut sum = first;
        for element in self {
            sum = add(sum, element);
        }
        sum
    }

    #[inline]
    fn nth(&mut self, count: usize) -> Option<Result<T>> {
        self.next = self.array.len().min(self.next.saturating_add(count));
        self.next()
    }
}

impl<T: FromBytes + IntoBytes + Immutable> ExactSizeIterator for Iter<'_, T> {}

impl<T: FromBytes + IntoBytes + Immutable> FusedIterator for Iter<'_, T> {}

impl<T> Clone for Array<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Array<'_, T> {}

impl<T> fmt::Debug for Array<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("view", &self.view).finish()
    }
}
