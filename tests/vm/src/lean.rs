// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a window takes beside the memory that it is.

use crate::folder::Folder;
use crate::memory;
use crate::report::fact;
use crate::sys::PAGE;

crate::tests! {
    a_large_window_takes_little_more_than_its_bytes
    a_small_window_takes_less_than_a_page_more
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
    assert!(beside <= SIZE / 500 + 4096 + NOISE, "{beside} bytes");
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
        .map(|name| (name.as_str(), "size=4K"))
        .collect();
    let make = |number| Folder::live(&format!("lean{number}"), &windows);
    let taken = taken(|| (0..DEVICES).map(make).collect::<Vec<_>>());
    let count = (DEVICES * WINDOWS) as u64;
    let beside = (taken / count).saturating_sub(PAGE as u64);
    assert!(taken + NOISE > count * PAGE as u64, "{taken} bytes");
    assert!(beside <= 4096 + NOISE / count, "{beside} bytes");
    fact(
        "lean",
        "bytes beside a window of 4 KiB, with its folder, of 60 in a device",
        beside,
    );
}
