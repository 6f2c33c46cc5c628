// SPDX-License-Identifier: GPL-2.0

//! Atomic values, read without a call.
//!
//! C header: [`include/asm-generic/rwonce.h`](srctree/include/asm-generic/rwonce.h)

use kernel::sync::atomic::{
    Atomic,
    AtomicType, //
};

/// Reads it, in no order with anything else. That is `READ_ONCE()`, which a relaxed load is in the kernel's memory model; the one
/// of the `kernel` crate calls a C function for it.
#[inline(always)]
pub(crate) fn read_once<T: AtomicType>(value: &Atomic<T>) -> T {
    // SAFETY: The pointer is valid and aligned, and what is there is a `T` at any time. All accesses to it are atomic ones of the
    // kernel's memory model, in which a volatile read of no more than a machine word is one, too.
    unsafe { value.as_ptr().read_volatile() }
}
