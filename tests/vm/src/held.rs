// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the driver has of the machine's, as far as the kernel with sanitizers can tell.

use crate::folder::Folder;
use crate::{dmabuf, driver, iomem};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Things, and how many there are of each.
type Counts = BTreeMap<String, u64>;

/// Has something done with the driver as it always is, and asserts that it has nothing more afterwards.
pub(crate) fn leaving_nothing(body: impl FnOnce()) {
    // Lists that grow, and the device that DMA memory is for, come with the first that needs them, and stay.
    drop(Folder::live("first", &[("one", "size=1page memory=dma")]));
    nothing_more_after(body);
}

/// Asserts that after `body` the driver has nothing that it did not have before.
pub(crate) fn nothing_more_after(body: impl FnOnce()) {
    const LIMIT: Duration = Duration::from_secs(20);
    let before = all();
    body();
    let deadline = Instant::now() + LIMIT;
    loop {
        let is_more = |(what, count): &(String, u64)| before.get(what).unwrap_or(&0) < count;
        let more: Vec<_> = all().into_iter().filter(is_more).collect();
        if more.is_empty() {
            return;
        }
        let lines = more.iter().map(|(what, count)| {
            let before = before.get(what).unwrap_or(&0);
            format!("{count}, before {before}: {what}\n")
        });
        assert!(Instant::now() < deadline, "{}", lines.collect::<String>());
        // What the kernel frees after a grace period of RCU.
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// All that it has.
fn all() -> Counts {
    let mut counts = pages();
    for (what, count) in [
        ("users of the driver", driver::users().unwrap_or(0).into()),
        ("claims", iomem::called("chrmem").len() as u64),
        ("buffers", dmabuf::buffers() as u64),
    ] {
        counts.insert(what.into(), count);
    }
    counts
}

/// Whether a stack trace of the kernel's is of the driver, or of a module that is not loaded any more: the code of such has
/// no names, and addresses where modules are.
fn is_ours(trace: &str) -> bool {
    trace.contains("[chrmem]") || trace.split_whitespace().any(is_in_a_module)
}

fn is_in_a_module(address: &str) -> bool {
    address.starts_with("0xffffffffa") || address.starts_with("0xffffffffc")
}

/// A stack trace without what differs from one load of the driver to the next.
fn normal(trace: &str) -> String {
    let words = trace.split_whitespace();
    let words = words.map(|word| if is_in_a_module(word) { "?" } else { word });
    words.collect::<Vec<_>>().join("\n    ")
}

/// What asks for pages for all the kernel, and keeps them, whoever was the first to need one.
const COMMON: [&str; 6] = [
    "allocate_slab",
    "stack_depot_save",
    "pte_alloc_kernel",
    "pte_alloc_one_kernel",
    "kasan_populate_vmalloc",
    // A worker has a page for what it sends, whatever module's socket it sends to first.
    "skb_page_frag_refill",
];

/// The stacks that asked for pages for the driver, and how many of these there still are.
pub(crate) fn pages() -> Counts {
    const STACKS: &str = "/sys/kernel/debug/page_owner_stacks/show_stacks";
    let text = fs::read_to_string(STACKS).expect(STACKS);
    // Else the question was not asked.
    assert!(text.contains("nr_base_pages:"), "{STACKS}");
    let is_common = |entry: &str| COMMON.iter().any(|function| entry.contains(function));
    let entries = text.split("\n\n");
    let ours = entries.filter(|entry| is_ours(entry) && !is_common(entry));
    let mut counts = Counts::new();
    for entry in ours {
        // Its last line is `nr_base_pages: N`.
        let (stack, count) = entry.rsplit_once("nr_base_pages:").expect("a count");
        let count: u64 = count.trim().parse().expect("a number");
        if count > 0 {
            let what = format!("pages, of\n    {}", normal(stack));
            *counts.entry(what).or_default() += count;
        }
    }
    counts
}

/// What kmemleak says of memory that the driver asked for, and that nothing in the kernel points to any more.
pub(crate) fn unreferenced() -> String {
    const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
    // It leaves young objects out. What is on its way to a list is found by the second scan.
    std::thread::sleep(Duration::from_secs(6));
    for _ in 0..2 {
        fs::write(KMEMLEAK, "scan").expect(KMEMLEAK);
    }
    let text = fs::read_to_string(KMEMLEAK).expect(KMEMLEAK);
    let entries = text.split("unreferenced object");
    entries.filter(|entry| is_ours(entry)).collect()
}
