// SPDX-License-Identifier: MIT OR Apache-2.0

//! A task that is killed during long work ends soon, and no other task waits for that work.

use crate::driver::{get, put};
use crate::folder::Folder;
use crate::memory;
use crate::sys::{self, Child, End, Map};
use chrmem::Device;
use libc::{MAP_NORESERVE, MAP_PRIVATE, PROT_READ};
use rustix::io::Errno;
use std::fs;
use std::time::{Duration, Instant};

crate::tests! {
    a_killed_task_stops_clearing
    a_killed_task_stops_writing
    a_task_killed_while_building_leaves_no_device
    nobody_waits_for_the_building_of_a_device
}

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Settings of windows whose pages are worked on in different ways.
const SETTINGS: [&str; 2] = ["", "cache=noncached"];

/// As many bytes as keep the machine's processor busy for a while.
fn size_of_window() -> usize {
    (memory::total() / 3) as usize & !0x1f_ffff
}

/// Waits until something holds.
pub(crate) fn wait_until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain");
        std::thread::yield_now();
    }
}

/// Has a child do what sets all bytes of a device to 0, kills it as soon as the first is 0, and asserts that the last stays.
fn begun_and_killed(settings: &str, act: impl Fn(&Device, usize)) {
    let size = size_of_window();
    let all = format!("{settings} size={size} fill=255");
    let folder = Folder::live("test", &[("one", &all)]);
    let device = folder.device();
    let map = Map::shared(&device, size).expect("a mapping");
    let before = folder.shown().generation;
    let mut child = Child::start(|| act(&device, size));
    wait_until(|| map.load(0) == 0);
    child.signal(libc::SIGKILL);
    assert_eq!(child.wait(LIMIT), End::Signal(libc::SIGKILL));
    assert_eq!(get(&device, size as u64 - 1, 1), [0xff], "{settings}");
    // What is changed is changed, and those who wait are told.
    assert_eq!(folder.shown().generation, before + 1);
    put(&device, 0, b"as ever");
}

fn a_killed_task_stops_clearing() {
    for settings in SETTINGS {
        begun_and_killed(settings, |device, _| drop(device.clear()));
        begun_and_killed(settings, |device, _| drop(device.reset()));
        begun_and_killed(settings, |device, size| {
            drop(device.clear_range(0..size as u64));
        });
    }
}

fn a_killed_task_stops_writing() {
    for settings in SETTINGS {
        begun_and_killed(settings, |device, size| {
            // All of it is one page.
            let flags = MAP_PRIVATE | libc::MAP_ANONYMOUS | MAP_NORESERVE;
            let zeroes = Map::new(None, 0, size, PROT_READ, flags).expect("a mapping");
            let _ = sys::pwrite(device, zeroes.span(0, size), 0);
        });
    }
}

/// A device that takes a while to be built, of which that has begun.
fn building(settings: &str) -> (Folder, Child) {
    let size = size_of_window();
    let settings = format!("{settings} size={size} fill=7");
    let folder = Folder::new("test");
    folder.window("one", &settings);
    let enough = memory::free() - (size / 8) as u64;
    let child = Child::start(|| {
        let _ = folder.set_live("1");
    });
    wait_until(|| memory::free() < enough);
    (folder, child)
}

fn a_task_killed_while_building_leaves_no_device() {
    for settings in SETTINGS {
        let before = memory::free();
        let (folder, mut child) = building(settings);
        child.signal(libc::SIGKILL);
        assert_eq!(child.wait(LIMIT), End::Signal(libc::SIGKILL));
        assert!(!folder.is_live(), "{settings:?}: it was built");
        let after = memory::free();
        assert!(
            after + (8 << 20) > before,
            "{before} bytes free, then {after}"
        );
        // Somebody else has all the time.
        folder.build();
    }
}

fn nobody_waits_for_the_building_of_a_device() {
    let (folder, mut child) = building("");
    let live = || fs::read_to_string(folder.path().join("live")).expect("live") == "1\n";
    // Not what has to do with it, which is refused,
    let mut other = Child::start(|| {
        let refused = folder.make_window("two");
        assert_eq!(refused, Err(Errno::BUSY));
        assert_eq!(folder.set("one", "size", "4096"), Err(Errno::BUSY));
        assert_eq!(folder.get("one", "memory"), "pages");
    });
    assert_eq!(other.wait(LIMIT), End::Status(0));
    assert!(!live(), "built before others were answered");
    // and not other devices.
    drop(Folder::live("other", &[("one", "size=1page")]));
    assert!(!live(), "built before another one");
    assert_eq!(child.wait(LIMIT), End::Status(0));
    assert!(live());
}
