// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which lines of a kernel log say that something is wrong. The VM tests look for the same: they have this file by its path.

/// What such lines contain.
const SIGNS: &[&str] = &[
    "BUG:",
    "WARNING:",
    "Oops",
    "Kernel panic",
    "Call Trace:",
    "kernel BUG at",
    "rust_kernel: panicked",
    "general protection fault",
    "Unable to handle",
    "Bad page",
    "Bad rss",
    "soft lockup",
    "hard LOCKUP",
    "rcu: INFO:",
    "self-detected stall",
    "detected stalls",
    "blocked for more than",
    "UBSAN",
    "refcount_t:",
    "list_add corruption",
    "list_del corruption",
    "scheduling while atomic",
    "sleeping function called",
    "possible circular locking",
    "possible recursive locking",
    "KASAN:",
    "ODEBUG:",
    "Invalid wait context",
    "bad unlock balance",
    "lock held when returning to user space",
    "held lock freed",
    "suspicious RCU usage",
    "page_table_check",
    "KFENCE:",
    "unreferenced object",
    "Memory cgroup out of memory",
    "Out of memory:",
    "initramfs:",
    "nonexistent resource",
    "map pfn expected mapping type",
    "map pfn RAM range",
    "handling fault status",
    "nobody cared",
    "Busy inodes after unmount",
    // A detector that gave up: what it would have found is not in the log.
    "turning off the locking correctness validator",
    "leak detector disabled",
    "out of memory - disabling",
    "dma-debug disabled",
];

/// Whether a line of the kernel's log is one.
pub(crate) fn is_trouble(line: &str) -> bool {
    // A program's own fault is named `traps: PROGRAM[PID] general protection fault`.
    !line.contains("traps: ") && SIGNS.iter().any(|sign| line.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::is_trouble;

    #[test]
    fn splats_are_trouble() {
        for line in [
            "[    2.1] BUG: unable to handle page fault for address: ffffffffc0a3b0f0",
            "[    2.1] WARNING: CPU: 1 PID: 77 at mm/memory.c:2190 vm_insert_page+0x1",
            "[    2.1] rust_kernel: panicked at chrmem.rs:12:5:",
            "[    2.1] BUG: Bad page state in process python3  pfn:1234",
            "[    2.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[  242.1] INFO: task cat:99 blocked for more than 120 seconds.",
            "[   12.1] BUG: KASAN: slab-use-after-free in _RNvNtCs1_6chrmem4file4read+0x1",
            "[   12.1] ODEBUG: free active (active state 0) object: 00000000c0ffee00 object type: hrtimer",
            "[   12.1] WARNING: possible circular locking dependency detected",
            "[   12.1] [ BUG: Invalid wait context ]",
            "[   12.1] WARNING: lock held when returning to user space!",
            "[   12.1] WARNING: suspicious RCU usage",
            "[   12.1] WARNING: inconsistent lock state",
            "[   12.1] INFO: rcu_tasks detected stalls on tasks:",
            "[   12.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "[   12.1] BUG: KCSAN: data-race in a / b",
            "[   12.1] UBSAN: array-index-out-of-bounds in mm/x.c:1:2",
            "[   12.1] list_add corruption. prev->next should be next (a), but was b. (prev=c).",
            "[   12.1] refcount_t: underflow; use-after-free.",
            "[   12.1] kernel BUG at mm/memory.c:100!",
            "[   12.1] Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]",
            "[   12.1]  Call Trace:",
            "[   12.1] Trying to free nonexistent resource <00000000fe000000-00000000fe00ffff>",
            "[   12.1] x86/PAT: cat:9 map pfn expected mapping type uncached-minus for [mem 0x1-0x2], got write-back",
            "[   12.1] DMAR: DRHD: handling fault status reg 2",
            "[   12.1] irq 11: nobody cared (try booting with the \"irqpoll\" option)",
            "[   12.1] VFS: Busy inodes after unmount of configfs (configfs)",
        ] {
            assert!(is_trouble(line), "{line}");
        }
    }

    #[test]
    fn a_detector_that_gives_up_is_trouble() {
        for line in [
            "[   12.1] turning off the locking correctness validator.",
            "[   12.1] kmemleak: Kernel memory leak detector disabled",
            "[   12.1] DMA-API: debugging out of memory - disabling",
            "[   12.1] ODEBUG: Out of memory. ODEBUG disabled",
        ] {
            assert!(is_trouble(line), "{line}");
        }
    }

    #[test]
    fn an_unsigned_module_is_not() {
        for line in [
            "[    2.1] chrmem: loading out-of-tree module taints kernel.",
            "[    2.1] chrmem: module verification failed: signature and/or required key missing - tainting kernel",
            "[    2.1] python3[90]: segfault at 7f00 ip 0000 sp 0000 error 4 in libc.so.6",
            "[    0.5] DMA-API: preallocated 65536 debug entries",
            "[    0.5] kmemleak: Kernel memory leak detector initialized (mem pool available: 15700)",
            "[    0.5] x86/PAT: Configuration [0-7]: WB  WC  UC- UC  WB  WP  UC- WT",
            "[    2.1] traps: sh[90] general protection fault ip:7f00 sp:7ffe error:0 in libc.so.6",
        ] {
            assert!(!is_trouble(line), "{line}");
        }
    }
}
