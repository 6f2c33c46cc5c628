// SPDX-License-Identifier: GPL-2.0

//! What one architecture does and another does not.

#[cfg(CONFIG_X86)]
mod x86;
#[cfg(CONFIG_X86)]
pub(super) use x86::*;

#[cfg(CONFIG_ARM64)]
mod arm64;
#[cfg(CONFIG_ARM64)]
pub(super) use arm64::*;
