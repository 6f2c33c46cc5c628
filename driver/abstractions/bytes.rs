// SPDX-License-Identifier: GPL-2.0

//! The structures of the ioctl interface as plain bytes.

use kernel::transmute::{
    AsBytes,
    FromBytes, //
};

use crate::abi::{
    Change,
    Changes,
    Info,
    Range,
    Window, //
};

// SAFETY: `Info` is `repr(C)` with two `u32`, then only `u64`: 64 bytes, none of them padding,
// which `abi.rs` asserts.
unsafe impl AsBytes for Info {}

// SAFETY: `Window` is `repr(C)` with only integers and arrays of them, 128 bytes whose fields add
// up to 128 (2 * 4 + 3 * 8 + 8 * 4 + 64), so none of them is padding.
unsafe impl AsBytes for Window {}

// SAFETY: Every field of `Window` is an integer or an array of integers: any bytes are a value.
unsafe impl FromBytes for Window {}

// SAFETY: Every field of `Range` is an integer: any bytes are a value.
unsafe impl FromBytes for Range {}

// SAFETY: `Changes` is `repr(C)` with five `u64`, then six `u32`: 64 bytes, none of them padding, which `abi.rs` asserts.
unsafe impl AsBytes for Changes {}

// SAFETY: Every field of `Changes` is an integer or an array of integers: any bytes are a value.
unsafe impl FromBytes for Changes {}

// SAFETY: `Change` is `repr(C)` with two `u64`: 16 bytes, none of them padding, which `abi.rs` asserts.
unsafe impl AsBytes for Change {}
