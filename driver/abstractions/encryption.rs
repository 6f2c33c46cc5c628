// SPDX-License-Identifier: GPL-2.0

//! Machines that encrypt their memory: SME, SEV, TDX, CCA.
//!
//! C header: [`include/linux/cc_platform.h`](srctree/include/linux/cc_platform.h)

use super::helpers;

/// Whether memory is encrypted, but for what devices use.
pub(crate) fn is_active() -> bool {
    helpers::memory_is_encrypted()
}
