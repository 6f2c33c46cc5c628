// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the kernel with sanitizers says of the tests before these, when they are over.

use crate::driver;
use crate::report;
use std::fs;
use std::time::Duration;

crate::tests! {
    no_memory_is_unreferenced
    no_page_is_the_driver_s
    locks_were_watched_to_the_end
    nothing_but_a_foreign_module_taints_the_kernel
}

/// Whether a stack trace of the kernel's is of the driver, or of a module that is not loaded any more: the code of such has
/// no names, and addresses where modules are.
fn is_ours(trace: &str) -> bool {
    trace.contains("[chrmem]")
        || trace
            .split_whitespace()
            .any(|word| word.starts_with("0xffffffffa") || word.starts_with("0xffffffffc"))
}

fn no_memory_is_unreferenced() {
    const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
    driver::without(|| {
        // kmemleak leaves young objects out. What is on its way to a list is found by the second scan.
        std::thread::sleep(Duration::from_secs(6));
        for _ in 0..2 {
            fs::write(KMEMLEAK, "scan").expect(KMEMLEAK);
        }
        let leaks = fs::read_to_string(KMEMLEAK).expect(KMEMLEAK);
        let ours = leaks
            .split("unreferenced object")
            .filter(|leak| is_ours(leak));
        let found: Vec<_> = ours.collect();
        assert!(found.is_empty(), "{}", found.join("unreferenced object"));
    });
    report::fact("load", "objects that kmemleak finds lost at the end", 0);
}

fn no_page_is_the_driver_s() {
    const STACKS: &str = "/sys/kernel/debug/page_owner_stacks/show_stacks";
    driver::without(|| {
        let stacks = fs::read_to_string(STACKS).expect(STACKS);
        let ours = stacks.split("\n\n").filter(|stack| is_ours(stack));
        let held: Vec<_> = ours.filter(|stack| pages(stack) > 0).collect();
        assert!(held.is_empty(), "{}", held.join("\n\n"));
        // Else the question was not asked.
        assert!(stacks.contains("nr_base_pages:"), "{STACKS}");
    });
    report::fact("load", "pages of the driver's at the end", 0);
}

/// How many pages are allocated by a stack: its last line is `nr_base_pages: N`.
fn pages(stack: &str) -> u64 {
    let (_, number) = stack.rsplit_once("nr_base_pages:").expect("a count");
    number.trim().parse().expect("a number")
}

fn locks_were_watched_to_the_end() {
    let stats = fs::read_to_string("/proc/lockdep_stats").expect("lockdep");
    let line = stats.lines().find(|line| line.contains("debug_locks:"));
    // lockdep ends its work with its first report.
    assert!(line.expect("a line").ends_with(" 1"), "{stats}");
}

fn nothing_but_a_foreign_module_taints_the_kernel() {
    const FOREIGN_AND_UNSIGNED: u64 = 1 << 12 | 1 << 13;
    let tainted = fs::read_to_string("/proc/sys/kernel/tainted").expect("/proc");
    let tainted: u64 = tainted.trim().parse().expect("a number");
    assert_eq!(tainted & !FOREIGN_AND_UNSIGNED, 0, "{tainted:#x}");
}
