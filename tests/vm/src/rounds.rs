// SPDX-License-Identifier: MIT OR Apache-2.0

//! The driver loaded and unloaded, devices made and destroyed, so often that whatever is lost each time
//! is found: by the page, and by the object.

use crate::driver::{self, load_from, unload, users};
use crate::folder::Folder;
use crate::memory;
use crate::report::fact;
use crate::scale::scaled;
use crate::sys::{Map, PAGE};
use std::time::Instant;

crate::tests! {
    a_thousand_loads
    ten_thousand_devices
}

/// Runs `round` so often, and some times before to let the kernel settle. Asserts that neither pages
/// nor objects are lost: not even one object in four rounds, or a page in eight.
fn loses_nothing(what: &str, rounds: usize, round: impl Fn(usize)) {
    (0..rounds.min(40)).for_each(&round);
    let (objects, pages, start) = (memory::objects(), memory::free(), Instant::now());
    (0..rounds).for_each(&round);
    let time = start.elapsed();
    let (mut lost, now) = (0, memory::objects());
    for (cache, before) in objects {
        let more = now.get(&cache).unwrap_or(&0).saturating_sub(before);
        lost = lost.max(more);
        // What the kernel itself keeps in its pools swings by hundreds.
        assert!(
            more < 500.max(rounds as u64 / 4),
            "{more} more in {cache} after {rounds} rounds, {before} before"
        );
    }
    let less = pages.saturating_sub(memory::free());
    let most = (rounds * PAGE / 8).max(2 << 20) as u64;
    assert!(less < most, "{less} bytes less after {rounds} rounds");
    println!(
        "{what}: {rounds} in {time:?}, at most {lost} more objects in a cache, {less} bytes less"
    );
    fact("load", what, rounds);
}

/// Each takes the kernel long, emulated 50 ms: to sort its tables for stack traces, to make memory
/// executable, and to wait for RCU.
fn a_thousand_loads() {
    let module = driver::stripped();
    driver::without(|| {
        loses_nothing("load/unload rounds", scaled(1000), |_| {
            load_from(&module, "").expect("load");
            assert_eq!(unload(), Ok(()));
        });
    });
}

fn ten_thousand_devices() {
    let folder = Folder::new("test");
    folder.window("one", "size=8K");
    loses_nothing("create/destroy rounds", scaled(10_000), |round| {
        folder.build();
        // Every way to have one, by turns: not used, opened, mapped beyond its end.
        match round % 4 {
            1 => drop(folder.open()),
            2 | 3 => {
                let map = Map::shared(folder.open(), 2 * PAGE).expect("a mapping");
                map.write(PAGE, b"used");
                if round % 4 == 3 {
                    folder.destroy();
                    map.write(PAGE, b"gone");
                }
            }
            _ => {}
        }
        folder.destroy();
    });
    drop(folder);
    assert_eq!(users(), Some(0));
}
