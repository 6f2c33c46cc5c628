// SPDX-License-Identifier: GPL-2.0

//! The current task.
//!
//! C header: [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use kernel::{
    bindings,
    current,
    prelude::*, //
};

/// Whether the current task is being killed, so that nobody waits for what it does
/// (`fatal_signal_pending()`, which is inline in C).
pub(crate) fn is_killed() -> bool {
    const KILL: c_ulong = 1 << (bindings::SIGKILL - 1);
    let task = current!();
    if !task.signal_pending() {
        return false;
    }
    // SAFETY: The task is the current one, which does not end here. Other tasks set bits of the word at any time.
    let signals = unsafe { (&raw const (*task.as_ptr()).pending.signal.sig[0]).read_volatile() };
    signals & KILL != 0
}
