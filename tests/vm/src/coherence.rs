// SPDX-License-Identifier: MIT OR Apache-2.0

//! However the bytes are reached, they are the same bytes.

use crate::driver::{self, get, pattern, put, SIZE};
use crate::sys::{Child, End, Map};
use chrmem::Device;
use std::time::{Duration, Instant};

crate::tests! {
    a_store_is_read_and_a_write_is_loaded
    clear_and_reset_are_seen_in_a_mapping
    two_mappings_are_one_memory
    a_forked_child_shares_the_memory
    two_processes_exchange_by_loads_and_stores
    the_bytes_stay_when_nobody_looks
}

const LIMIT: Duration = Duration::from_secs(20);

fn a_store_is_read_and_a_write_is_loaded() {
    let fd = driver::open();
    let map = Map::shared(&fd, SIZE).expect("a mapping");
    let before = driver::generation();
    map.write(0, &pattern(SIZE));
    // A store is no change that the driver could see.
    assert_eq!(driver::generation(), before);
    assert_eq!(get(&fd, 0, SIZE), pattern(SIZE));
    put(&fd, 1000, b"written");
    assert_eq!(
        map.read(998..1009),
        [
            &pattern(SIZE)[998..1000],
            b"written",
            &pattern(SIZE)[1007..1009]
        ]
        .concat()
    );
}

fn clear_and_reset_are_seen_in_a_mapping() {
    let device = Device::open(driver::NODE).expect(driver::NODE);
    let map = Map::shared(&device, SIZE).expect("a mapping");
    map.write(0, &pattern(SIZE));
    device.clear_range(10..20).expect("CLEAR");
    let mut expected = pattern(SIZE);
    expected[10..20].fill(0);
    assert_eq!(map.read(0..SIZE), expected);
    device.clear().expect("MEM_CLEAR");
    assert_eq!(map.read(0..SIZE), vec![0; SIZE]);
    map.write(0, &pattern(SIZE));
    device.reset().expect("RESET");
    assert_eq!(map.read(0..13), b"hello, user!\0");
    assert_eq!(map.read(13..SIZE), vec![0; SIZE - 13]);
}

fn two_mappings_are_one_memory() {
    let (fd, other) = (driver::open(), driver::open());
    let one = Map::shared(&fd, SIZE).expect("a mapping");
    let two = Map::shared(&other, SIZE).expect("a mapping");
    one.write(0, &pattern(SIZE));
    assert_eq!(two.read(0..SIZE), pattern(SIZE));
    two.write(SIZE - 1, b"!");
    assert_eq!(one.read(SIZE - 1..SIZE), b"!");
}

fn a_forked_child_shares_the_memory() {
    let fd = driver::open();
    let map = Map::shared(&fd, SIZE).expect("a mapping");
    map.write(0, b"parent");
    let mut child = Child::start(|| {
        assert_eq!(map.read(0..6), b"parent");
        map.write(0, b"child ");
        put(&fd, 100, b"written by the child");
    });
    assert_eq!(child.wait(LIMIT), End::Status(0));
    assert_eq!(map.read(0..6), b"child ");
    assert_eq!(map.read(100..120), b"written by the child");
}

/// Two processes that have opened the device each for itself count up in turns.
fn two_processes_exchange_by_loads_and_stores() {
    const ROUNDS: u8 = 100;
    put(driver::open(), 0, &[0; 2]);
    // Byte `mine` is written here, the other one there. No call is made in between.
    let play = |mine: usize, theirs: usize| {
        move || {
            let fd = driver::open();
            let map = Map::shared(&fd, SIZE).expect("a mapping");
            drop(fd);
            let deadline = Instant::now() + LIMIT / 2;
            for round in 1..=ROUNDS {
                let expected = if mine == 0 { round - 1 } else { round };
                while map.read(theirs..theirs + 1) != [expected] {
                    assert!(Instant::now() < deadline, "round {round} did not come");
                }
                map.write(mine, &[round]);
            }
        }
    };
    let (mut one, mut other) = (Child::start(play(0, 1)), Child::start(play(1, 0)));
    assert_eq!(
        (one.wait(LIMIT), other.wait(LIMIT)),
        (End::Status(0), End::Status(0))
    );
    assert_eq!(get(driver::open(), 0, 2), [ROUNDS; 2]);
}

fn the_bytes_stay_when_nobody_looks() {
    let fd = driver::open();
    put(&fd, 0, &pattern(SIZE));
    drop(fd);
    drop(Map::shared(driver::open(), SIZE).expect("a mapping"));
    assert_eq!(get(driver::open(), 0, SIZE), pattern(SIZE));
}
