// SPDX-License-Identifier: GPL-2.0

//! arm64: the kernel's own mapping of RAM is always cached.

use kernel::{
    bindings,
    prelude::*, //
};

use super::super::{
    cache::Cache,
    errno::eopnotsupp, //
};

/// Whether [`set_cache`] can do anything. Another mapping of the same RAM that is not cached would be undefined.
pub(crate) const CAN_SET_CACHE: bool = false;

/// Fails: arm64 has no `set_pages_array_uc`.
///
/// # Safety
///
/// Takes anything.
pub(crate) unsafe fn set_cache(_pages: &[*mut bindings::page], _cache: Cache) -> Result {
    Err(eopnotsupp())
}
