// SPDX-License-Identifier: GPL-2.0

//! Machines that encrypt their memory: SME, SEV, TDX.
//!
//! C header: [`include/linux/cc_platform.h`](srctree/include/linux/cc_platform.h)

/// Whether memory is encrypted, but for what devices use.
pub(crate) fn is_active() -> bool {
    #[cfg(CONFIG_ARCH_HAS_CC_PLATFORM)]
    // SAFETY: Takes any attribute.
    return unsafe {
        kernel::bindings::cc_platform_has(kernel::bindings::cc_attr_CC_ATTR_MEM_ENCRYPT)
    };
    #[cfg(not(CONFIG_ARCH_HAS_CC_PLATFORM))]
    false
}
