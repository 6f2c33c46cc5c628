// SPDX-License-Identifier: GPL-2.0

//! Errors that the `kernel` crate has no names for.

use kernel::{
    bindings,
    error::Error,
    prelude::*, //
};

/// Over a quota.
pub(crate) fn edquot() -> Error {
    Error::from_errno((bindings::EDQUOT as c_int).wrapping_neg())
}

/// Not possible with this kind of thing.
pub(crate) fn eopnotsupp() -> Error {
    Error::from_errno((bindings::EOPNOTSUPP as c_int).wrapping_neg())
}
