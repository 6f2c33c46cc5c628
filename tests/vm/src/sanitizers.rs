// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the kernel with sanitizers says of the tests before these, when they are over.

use crate::sys::PAGE;
use crate::{driver, held, kmsg, report};
use std::fs;

crate::tests! {
    no_memory_is_unreferenced
    no_page_is_the_driver_s
    locks_were_watched_to_the_end
    nothing_but_a_foreign_module_taints_the_kernel
}

fn no_memory_is_unreferenced() {
    driver::without(|| {
        let lost = held::unreferenced();
        assert!(lost.is_empty(), "{lost}");
    });
    report::fact("load", "objects that kmemleak finds lost at the end", 0);
}

fn no_page_is_the_driver_s() {
    driver::without(|| {
        let held = held::pages();
        assert_eq!(held.values().sum::<u64>(), failed(), "{held:#?}");
    });
    report::fact("load", "pages of the driver's at the end", 0);
}

/// The pages that the driver keeps because memory in them has failed. It logs the bytes of each folio.
fn failed() -> u64 {
    let log = kmsg::Mark::boot().driver();
    let bytes = log
        .iter()
        .filter_map(|line| line.strip_suffix(" bytes are lost: memory in them has failed"));
    let pages = |bytes: &str| bytes.parse::<u64>().expect("a number") / PAGE as u64;
    bytes.map(pages).sum()
}

fn locks_were_watched_to_the_end() {
    let stats = fs::read_to_string("/proc/lockdep_stats").expect("lockdep");
    let line = stats.lines().find(|line| line.contains("debug_locks:"));
    // lockdep ends its work with its first report.
    assert!(line.expect("a line").ends_with(" 1"), "{stats}");
}

fn nothing_but_a_foreign_module_taints_the_kernel() {
    const FOREIGN_AND_UNSIGNED: u64 = 1 << 12 | 1 << 13;
    // What the lab adds, where it has the kernel ignore what the firmware says of addresses.
    const FIRMWARE_IGNORED: u64 = 1 << 11;
    let tainted = fs::read_to_string("/proc/sys/kernel/tainted").expect("/proc");
    let tainted: u64 = tainted.trim().parse().expect("a number");
    let options = fs::read_to_string("/proc/cmdline").expect("/proc");
    let expected = match options.contains("pci=no_e820") {
        true => FOREIGN_AND_UNSIGNED | FIRMWARE_IGNORED,
        false => FOREIGN_AND_UNSIGNED,
    };
    assert_eq!(tainted & !expected, 0, "{tainted:#x}");
}
