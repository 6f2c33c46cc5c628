// SPDX-License-Identifier: GPL-2.0

//! The module itself and its parameters, whose form differs from one kernel series to the next.

use core::borrow::Borrow;
use kernel::{
    bindings,
    prelude::*,
    types::Opaque, //
};

#[expect(improper_ctypes, reason = "`Opaque` has the layout of what it holds")]
extern "C" {
    static __this_module: Opaque<bindings::module>;
}

/// `THIS_MODULE` of C. What the `module!` macro makes of it has another name in each series.
// SAFETY: The build puts `__this_module` into every module. It lives as long as the module's code.
pub(crate) static THIS_MODULE: ThisModule = unsafe { ThisModule::from_ptr(__this_module.get()) };

/// The value of a module parameter, which Linux 7.2 gives by reference and 7.3 by value.
pub(crate) fn value<T: Copy>(value: impl Borrow<T>) -> T {
    *value.borrow()
}
