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
    loading_and_unloading_over_and_over
    making_and_destroying_over_and_over
}

/// How often something else in the kernel may have more objects than before: what each round loses, the next ones lose, too.
const OTHERS: usize = 2;

/// Does `round` so often, and some times before to let the kernel settle. Asserts that nothing is lost each time: not one object in four rounds, or 64
/// in all if that is more, nor one page in eight, or [`memory::SWING`] bytes in all if that is more, as it is in less than two thousand
/// rounds.
fn loses_nothing(what: &str, rounds: usize, round: impl Fn(usize)) {
    (0..rounds.min(40)).for_each(&round);
    for others in (0..=OTHERS).rev() {
        let (pages, objects, start) = (memory::settled(), memory::objects(), Instant::now());
        (0..rounds).for_each(&round);
        let time = start.elapsed();
        let less = pages.saturating_sub(memory::settled());
        let most = ((rounds * PAGE / 8) as u64).max(memory::SWING);
        assert!(less < most, "{less} bytes less after {rounds} rounds");
        let more = |(cache, now): (String, u64)| {
            let before = objects.get(&cache).copied().unwrap_or(0);
            (now.saturating_sub(before), cache)
        };
        let (lost, cache) = memory::objects()
            .into_iter()
            .map(more)
            .max()
            .expect("caches");
        if lost < (rounds as u64 / 4).max(64) {
            println!(
                "{what}: {rounds} in {time:?}, at most {lost} more objects in a cache, {less} bytes less"
            );
            return fact("load", what, rounds);
        }
        let allocators = memory::allocators(&cache);
        println!("{lost} more objects in {cache} after {rounds} rounds\n{allocators}");
        assert_ne!(others, 0, "{lost} more objects in {cache}, and before");
    }
}

/// Each takes the kernel long, emulated 50 ms: to sort its tables for stack traces, to make memory
/// executable, and to wait for RCU.
fn loading_and_unloading_over_and_over() {
    let module = driver::stripped();
    driver::without(|| {
        loses_nothing("load/unload rounds", scaled(1000), |_| {
            load_from(&module, "").expect("load");
            assert_eq!(unload(), Ok(()));
        });
    });
}

fn making_and_destroying_over_and_over() {
    let folder = Folder::new("test");
    folder.window("one", "size=2pages");
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
