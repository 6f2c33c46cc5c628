// SPDX-License-Identifier: GPL-2.0

//! What the current task may do.
//!
//! C header: [`include/linux/capability.h`](srctree/include/linux/capability.h)

use kernel::{
    bindings,
    prelude::*, //
};

/// Whether the current task may know and use physical addresses (`CAP_SYS_RAWIO`).
pub(crate) fn sys_rawio() -> bool {
    // SAFETY: `capable` takes any valid capability number and reads the current task only.
    unsafe { bindings::capable(bindings::CAP_SYS_RAWIO as c_int) }
}
