// SPDX-License-Identifier: GPL-2.0

//! What the current task may do.
//!
//! C headers: [`include/linux/capability.h`](srctree/include/linux/capability.h),
//! [`include/linux/security.h`](srctree/include/linux/security.h)

use kernel::{
    bindings,
    prelude::*,
    types::NotThreadSafe, //
};

const SYS_RAWIO: c_int = bindings::CAP_SYS_RAWIO as c_int;

/// Whether the current task may know physical addresses (`CAP_SYS_RAWIO`).
///
/// To lack the right leaves no trace in the audit log: the task has not asked to use it.
pub(crate) fn may_know_addresses() -> bool {
    // SAFETY: The first user namespace is never freed. The callee takes any valid capability number,
    // and reads the current task only.
    unsafe { bindings::ns_capable_noaudit(&raw mut bindings::init_user_ns, SYS_RAWIO) }
}

/// Why a task may not use hardware directly.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Denial {
    /// It lacks `CAP_SYS_RAWIO`.
    Capability,
    /// The kernel is locked down.
    Lockdown,
}

/// The right of the current task to use any physical memory that is not RAM, as `/dev/mem` asks for it.
///
/// Such memory may be a device that can reach all of RAM. Whoever holds the right is answerable for what is done with it.
pub(crate) struct RawMemory(NotThreadSafe);

impl RawMemory {
    /// Asks whether the current task has it.
    pub(crate) fn of_current_task() -> Result<Self, Denial> {
        // SAFETY: Takes any valid capability number, and reads the current task only.
        if !unsafe { bindings::capable(SYS_RAWIO) } {
            return Err(Denial::Capability);
        }
        allowed(bindings::lockdown_reason_LOCKDOWN_DEV_MEM)?;
        Ok(Self(NotThreadSafe))
    }
}

/// Asks whether the current task may have PCI devices reach memory by themselves.
pub(crate) fn may_program_pci() -> Result<(), Denial> {
    allowed(bindings::lockdown_reason_LOCKDOWN_PCI_ACCESS)
}

/// Whether lockdown leaves this to the current task.
fn allowed(what: bindings::lockdown_reason) -> Result<(), Denial> {
    // SAFETY: Takes any reason between none and all.
    match unsafe { bindings::security_locked_down(what) } {
        0 => Ok(()),
        _ => Err(Denial::Lockdown),
    }
}
