// SPDX-License-Identifier: MIT OR Apache-2.0

//! Nothing can dangle: the driver stays while anybody uses it, goes when nobody does, and leaves
//! nothing behind.

use crate::driver::{self, get, load, pattern, put, unload, users, NODE};
use crate::sys::{Child, End, Map, PAGE};
use crate::{load::nothing_is_left, memory};
use libc::{MADV_DONTNEED, MAP_PRIVATE, PROT_READ, PROT_WRITE};
use rustix::event::epoll;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

crate::tests! {
    an_open_file_keeps_the_driver
    a_mapping_keeps_the_driver
    a_part_of_a_mapping_keeps_the_driver
    a_child_s_mapping_keeps_the_driver
    whoever_waits_keeps_the_driver
    an_open_file_of_debugfs_keeps_the_driver
    a_path_does_not_keep_the_driver
    each_user_is_counted
    unloading_leaves_nothing
    loading_and_unloading_loses_no_memory
    mapping_and_unmapping_loses_no_memory
    opening_and_closing_from_two_processes
}

const LIMIT: Duration = Duration::from_secs(20);

/// Asserts that the driver cannot be unloaded now, and is none the worse for the attempt.
fn cannot_be_unloaded() {
    assert_ne!(users(), Some(0));
    // EWOULDBLOCK by its other name.
    assert_eq!(unload(), Err(Errno::AGAIN));
    drop(driver::open());
}

/// Asserts that the driver can be unloaded now, and loads it again.
fn can_be_unloaded() {
    driver::without(|| ());
}

fn an_open_file_keeps_the_driver() {
    let fd = driver::open();
    let same = fd.try_clone().expect("dup");
    cannot_be_unloaded();
    drop(fd);
    cannot_be_unloaded();
    put(&same, 0, b"still here");
    assert_eq!(get(&same, 0, 10), b"still here");
    drop(same);
    can_be_unloaded();
}

fn a_mapping_keeps_the_driver() {
    let map = Map::shared(driver::open(), PAGE).expect("a mapping");
    cannot_be_unloaded();
    map.write(0, &pattern(PAGE));
    assert_eq!(map.read(0..PAGE), pattern(PAGE));
    drop(map);
    can_be_unloaded();

    let fd = driver::open_read_only();
    let map = Map::new(
        Some(fd.as_fd()),
        0,
        PAGE,
        PROT_READ | PROT_WRITE,
        MAP_PRIVATE,
    );
    let map = map.expect("a private mapping");
    drop(fd);
    map.write(0, b"copied");
    cannot_be_unloaded();
    drop(map);
    can_be_unloaded();
}

fn a_part_of_a_mapping_keeps_the_driver() {
    driver::with("size=3pages", || {
        let (head, rest) = Map::shared(driver::open(), 3 * PAGE)
            .expect("a mapping")
            .split(PAGE);
        let (middle, tail) = rest.split(PAGE);
        drop((head, tail));
        assert_eq!(unload(), Err(Errno::AGAIN));
        middle.write(0, b"the last page");
        assert_eq!(get(driver::open(), PAGE as u64, 13), b"the last page");
    });
}

fn a_child_s_mapping_keeps_the_driver() {
    let map = Map::shared(driver::open(), PAGE).expect("a mapping");
    let mut child = Child::start(|| {
        map.write(0, b"child");
        std::thread::sleep(LIMIT);
    });
    drop(map);
    cannot_be_unloaded();
    child.signal(libc::SIGKILL);
    assert_eq!(child.wait(LIMIT), End::Signal(libc::SIGKILL));
    can_be_unloaded();
}

fn whoever_waits_keeps_the_driver() {
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let fd = driver::open();
    let flags = epoll::EventFlags::IN;
    epoll::add(&queue, &fd, epoll::EventData::new_u64(0), flags).expect("epoll_ctl");
    cannot_be_unloaded();
    // A closed file leaves the queue by itself.
    drop(fd);
    can_be_unloaded();
    drop(queue);
}

fn an_open_file_of_debugfs_keeps_the_driver() {
    let file = File::open("/sys/kernel/debug/chrmem/chrmem0").expect("debugfs");
    assert_eq!(unload(), Err(Errno::AGAIN));
    drop(file);
    can_be_unloaded();
}

fn a_path_does_not_keep_the_driver() {
    let path = driver::open_as(OFlags::PATH);
    can_be_unloaded();
    drop(path);
}

fn each_user_is_counted() {
    assert_eq!(users(), Some(0));
    let one = driver::open();
    // An open file may count for more than one.
    let each = users().expect("the driver");
    assert_ne!(each, 0);
    let two = driver::open();
    assert_eq!(users(), Some(2 * each));
    drop(one);
    assert_eq!(users(), Some(each));
    drop(two);
    assert_eq!(users(), Some(0));
}

fn unloading_leaves_nothing() {
    driver::without(|| {
        nothing_is_left();
        assert_eq!(
            driver::open_node(NODE, OFlags::RDWR).err(),
            Some(Errno::NOENT)
        );
        assert_eq!(unload(), Err(Errno::NOENT));
    });
}

/// A window's bytes where memory is counted: lost once, it is noticed.
const LARGE: usize = 64 << 20;

/// Runs `cycle` some times to let the kernel settle, then often. If each lost an eighth of what it
/// uses, or one of them all of it, this would panic.
fn loses_no_memory(cycles: u32, used: usize, cycle: impl Fn()) {
    (0..3).for_each(|_| cycle());
    let before = memory::free();
    (0..cycles).for_each(|_| cycle());
    let after = memory::free();
    let lost = before.saturating_sub(after);
    assert!(
        lost < used as u64 / 8,
        "{lost} bytes lost in {cycles} cycles: {before}, then {after}"
    );
}

fn loading_and_unloading_loses_no_memory() {
    driver::without(|| {
        loses_no_memory(20, LARGE, || {
            load(&format!("size={LARGE}")).expect("load");
            let fd = driver::open();
            let map = Map::shared(&fd, LARGE).expect("a mapping");
            // A copy of its own needs the page for so long as it takes to copy it.
            let (protection, private) = (PROT_READ | PROT_WRITE, MAP_PRIVATE);
            let copy = Map::new(Some(fd.as_fd()), 0, LARGE, protection, private);
            let copy = copy.expect("a mapping");
            for page in (0..LARGE).step_by(64 * PAGE) {
                map.write(page, b"used");
                copy.write(page, b"used");
            }
            // Page by page, where no huge entry fits.
            let part = Map::shared_at(&fd, PAGE as u64, 64 * PAGE).expect("a mapping");
            part.write(0, b"used");
            drop((fd, map, copy, part));
            driver::unload_soon().expect("unload");
        });
    });
}

fn mapping_and_unmapping_loses_no_memory() {
    const SIZE: usize = 16 << 20;
    driver::with(&format!("size={SIZE}"), || {
        let fd = driver::open();
        loses_no_memory(20, SIZE, || {
            (0..10).for_each(|_| drop(driver::open()));
            let (head, rest) = Map::shared(&fd, SIZE).expect("a mapping").split(SIZE / 2);
            for page in (0..SIZE / 2).step_by(16 * PAGE) {
                head.write(page, b"used");
                rest.write(page, b"used");
            }
            head.advise(MADV_DONTNEED).expect("DONTNEED");
            let (hole, tail) = rest.split(PAGE);
            drop(hole);
            let mut child = Child::start(|| tail.write(0, b"child"));
            assert_eq!(child.wait(LIMIT), End::Status(0));
            head.write(0, b"again");
        });
    });
}

fn opening_and_closing_from_two_processes() {
    let mut children = [1, 2].map(|_| {
        Child::start(|| {
            for round in 0..300 {
                let fd = driver::open();
                let map = Map::shared(&fd, PAGE).expect("a mapping");
                map.write(round, b"x");
                let same = fd.try_clone().expect("dup");
                drop(fd);
                drop(map);
                assert_eq!(get(&same, round as u64, 1), b"x");
            }
        })
    });
    for child in &mut children {
        assert_eq!(child.wait(Duration::from_secs(60)), End::Status(0));
    }
    assert_eq!(driver::mappings(), 0);
    assert_eq!(driver::users(), Some(0));
}
