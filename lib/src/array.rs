// SPDX-License-Identifier: MIT OR Apache-2.0

//! A part of a mapping as an array.

use crate::error::{Error, Result};
use crate::view::View;
use std::fmt;
use std::marker::PhantomData;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A part of a mapping as an array of `T`: a typed window. [`View::array`](crate::View::array) makes it.
///
/// Elements are copied out and in, never lent, since others may write at any time: an element larger
/// than eight bytes can be a mixture of old and new bytes. They lie one behind the other, at any
/// alignment.
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
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index`.
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] if there is none, [`Error::Gone`] if the mapping's file has become shorter.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// assert_eq!(memory.all().array::<u32>().get(1023)?, 0);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn get(&self, index: usize) -> Result<T> {
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
    pub fn set(&self, index: usize, element: &T) -> Result<()> {
        self.view.write(self.offset(index, 1)?, element)
    }

    /// Copies the elements from `index` on into `target`, filling it.
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
    pub fn copy_to(&self, index: usize, target: &mut [T]) -> Result<()> {
        let offset = self.offset(index, target.len())?;
        self.view.copy_to(offset, target.as_mut_bytes())
    }

    /// Copies `source` over the elements from `index` on.
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
    pub fn copy_from(&self, index: usize, source: &[T]) -> Result<()> {
        let offset = self.offset(index, source.len())?;
        self.view.copy_from(offset, source.as_bytes())
    }

    /// All elements, one copy after the other.
    ///
    /// ```
    /// let memory = chrmem::Mapping::anonymous(4096)?;
    /// memory.all().array().copy_from(0, &[7_u32, 8])?;
    /// let sum: chrmem::Result<u32> = memory.all().array::<u32>().iter().sum();
    /// assert_eq!(sum?, 15);
    /// # Ok::<(), chrmem::Error>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Result<T>> + use<'a, T> {
        let array = *self;
        (0..array.len()).map(move |index| array.get(index))
    }

    /// Where in the view element `index` starts, after a check that `count` elements follow.
    fn offset(&self, index: usize, count: usize) -> Result<usize> {
        let len = self.len();
        match len.checked_sub(index) {
            Some(rest) if count <= rest => Ok(index * size_of::<T>()),
            Some(_) => Err(Error::NoElement { index: len, len }),
            None => Err(Error::NoElement { index, len }),
        }
    }
}

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
