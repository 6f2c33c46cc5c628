// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a window takes beside the memory that it is.

use crate::boot;
use crate::folder::Folder;
use crate::kinds::Cgroup;
use crate::memory;
use crate::report::fact;
use crate::sys::{HUGE, HUGE_PAGES, PAGE};
use rustix::io::Errno;
use std::fs;
use std::process::Command;

crate::tests! {
    a_large_window_takes_little_more_than_its_bytes
    a_small_window_takes_less_than_a_page_more
    a_huge_folio_that_is_not_there_is_asked_for_once
}

/// By so much the memory that is free is not known exactly.
const NOISE: u64 = 1 << 20;

/// Bytes that are free before, and not while there is what `make` makes.
fn taken<T>(make: impl Fn() -> T) -> u64 {
    // What the kernel keeps for the next time is there from now on.
    drop(make());
    let before = memory::free();
    let _made = make();
    before.saturating_sub(memory::free())
}

fn a_large_window_takes_little_more_than_its_bytes() {
    const SIZE: u64 = 512 << 20;
    let taken = taken(|| Folder::live("lean", &[("a", "size=512M")]));
    let beside = taken.saturating_sub(SIZE);
    // A window that takes nothing would not be there.
    assert!(taken + NOISE > SIZE, "{taken} bytes");
    assert!(beside <= SIZE / 500 + PAGE as u64 + NOISE, "{beside} bytes");
    fact(
        "lean",
        "bytes beside a window of 512 MiB (to about 1 MiB)",
        beside,
    );
}

fn a_small_window_takes_less_than_a_page_more() {
    const DEVICES: usize = 25;
    const WINDOWS: usize = 60;
    let names: Vec<_> = (0..WINDOWS).map(|number| format!("w{number}")).collect();
    let windows: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), "size=1page"))
        .collect();
    let make = |number| Folder::live(&format!("lean{number}"), &windows);
    let taken = taken(|| (0..DEVICES).map(make).collect::<Vec<_>>());
    let count = (DEVICES * WINDOWS) as u64;
    let beside = (taken / count).saturating_sub(PAGE as u64);
    assert!(taken + NOISE > count * PAGE as u64, "{taken} bytes");
    // There, the kernel keeps records beside each of the objects, such as those of the settings' files.
    let most = if boot::is_hardened() { 8192 } else { 4096 };
    assert!(beside <= most + NOISE / count, "{beside} bytes");
    fact(
        "lean",
        "bytes beside a window of 4 KiB, with its folder, of 60 in a device",
        beside,
    );
}

/// The allocations of runs of pages that a process asks the kernel for while it does something: the order, and whether there was one.
fn allocations(least: u32, body: impl FnOnce()) -> Vec<(u32, bool)> {
    const EVENTS: &str = "/sys/kernel/tracing/events/kmem/mm_page_alloc";
    let set = |name: &str, value: &str| {
        let path = format!("{EVENTS}/{name}");
        fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
    };
    let mount = Command::new("mount")
        .args(["-t", "tracefs", "none", "/sys/kernel/tracing"])
        .status();
    assert!(mount.expect("mount runs").success());
    let process = std::process::id();
    fs::write("/sys/kernel/tracing/trace", "").expect("tracefs");
    set(
        "filter",
        &format!("order >= {least} && common_pid == {process}"),
    );
    set("enable", "1");
    body();
    set("enable", "0");
    set("filter", "0");
    let trace = fs::read_to_string("/sys/kernel/tracing/trace").expect("tracefs");
    let umount = Command::new("umount").arg("/sys/kernel/tracing").status();
    assert!(umount.expect("umount runs").success());
    let value = |line: &str, name: &str| {
        let (_, rest) = line.split_once(name).expect("a value");
        rest.split_whitespace().next().expect("a value").to_owned()
    };
    // `… mm_page_alloc: page=00000000c07e5e5c pfn=0x1c600 order=9 migratetype=0 gfp_flags=…`
    let lines = trace.lines().filter(|line| line.contains("mm_page_alloc:"));
    lines
        .map(|line| {
            let order = value(line, "order=").parse().expect("a number");
            (order, value(line, "pfn=") != "0x0")
        })
        .collect()
}

fn a_huge_folio_that_is_not_there_is_asked_for_once() {
    // Less than the window: one of its folios is the first that cannot be had.
    let cgroup = Cgroup::new(&(5 * HUGE + HUGE / 2).to_string());
    let size = (6 * HUGE).to_string();
    let order = HUGE_PAGES.ilog2();
    let folder = Folder::new("lean");
    folder.window("a", &format!("size={size}"));
    cgroup.run(|| {
        let build = || drop(folder.cannot_be_built(Errno::NOMEM, &["window a", &size]));
        let asked = allocations(order - 1, build);
        let first = asked.iter().position(|(_, there)| !there).expect("a limit");
        assert!(
            first > 0 && asked[..=first].iter().all(|(it, _)| *it == order),
            "{asked:?}"
        );
        assert_eq!(
            asked.get(first + 1).map(|(order, _)| *order),
            Some(order - 1),
            "{asked:?}"
        );
    });
}
