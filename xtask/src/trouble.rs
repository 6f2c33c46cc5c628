// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which lines of a kernel log say that something is wrong.

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
];

/// Whether a line of the kernel's log is one.
pub(crate) fn is_trouble(line: &str) -> bool {
    // A program's own fault is named `traps: PROGRAM[PID] general protection fault`.
    !line.contains("traps: ") && SIGNS.iter().any(|sign| line.contains(sign))
}

/// The lines to show: from a little before the first sign of trouble on.
pub(crate) fn excerpt(log: &str) -> String {
    const BEFORE: usize = 3;
    const MOST: usize = 80;
    let lines: Vec<_> = log.lines().collect();
    let start = match lines.iter().position(|line| is_trouble(line)) {
        Some(first) => first.saturating_sub(BEFORE),
        None => lines.len().saturating_sub(10),
    };
    lines[start..]
        .iter()
        .take(MOST)
        .map(|line| format!("    {line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{excerpt, is_trouble};

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
            "[    2.1] traps: sh[90] general protection fault ip:7f00 sp:7ffe error:0 in libc.so.6",
        ] {
            assert!(!is_trouble(line), "{line}");
        }
    }

    #[test]
    fn the_excerpt_begins_shortly_before() {
        let log = "a\nb\nc\nd\nBUG: x\ne\n";
        assert_eq!(excerpt(log), "    b\n    c\n    d\n    BUG: x\n    e\n");
        assert_eq!(excerpt("only\nthis\n"), "    only\n    this\n");
    }
}
