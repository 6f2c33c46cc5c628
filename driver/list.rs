// SPDX-License-Identifier: GPL-2.0

//! Lists that things are taken out of again.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use kernel::prelude::*;

/// Takes the first element that `is` says yes to out of a list.
pub(crate) fn take<T>(list: &mut KVec<T>, is: impl FnMut(&T) -> bool) -> Option<T> {
    let index = list.iter().position(is)?;
    // Cannot fail: the index is of an element.
    list.remove(index).ok()
}
