// SPDX-License-Identifier: MIT OR Apache-2.0

//! How many mappings the driver says there are, and what it logs of them.

use crate::driver::{self, fdinfo, in_bytes, pattern, put, shown};
use crate::kmsg::Mark;
use crate::sys::{Child, End, Map, PAGE, PAGE64};
use libc::{MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

crate::tests! {
    each_mapping_is_counted_once
    parts_are_counted
    a_child_s_mappings_are_counted
    a_killed_process_has_no_mappings
    a_moved_mapping_is_one
    what_fails_is_not_counted
    mappings_are_not_logged_unless_asked_for
    mappings_are_logged
    the_log_is_not_flooded
}

const LIMIT: Duration = Duration::from_secs(20);

/// Asserts that there are `now` mappings, and have been at least as many more as `new` since the
/// last call; debugfs and fdinfo agree.
fn expect(counted: &mut i64, now: i64, new: i64) {
    let (are, ever) = shown().mappings;
    assert_eq!(are, now, "mappings now");
    assert!(
        ever >= *counted + new,
        "{ever} mappings ever, {counted} before"
    );
    let fd = driver::open_read_only();
    assert_eq!(fdinfo(&fd).mappings, (are, ever));
    *counted = ever;
}

fn each_mapping_is_counted_once() {
    let fd = driver::open();
    let before = shown().mappings;
    assert_eq!(before.0, 0);
    let map = Map::shared(&fd, PAGE).expect("a mapping");
    assert_eq!(shown().mappings, (1, before.1 + 1));
    map.write(0, b"touched");
    drop(map.read(0..PAGE));
    let read_only = Map::new(Some(fd.as_fd()), 0, 1, PROT_READ, MAP_SHARED).expect("a mapping");
    let private = Map::new(Some(fd.as_fd()), 0, 1, PROT_READ, MAP_PRIVATE).expect("a mapping");
    assert_eq!(shown().mappings, (3, before.1 + 3));
    drop(fd);
    assert_eq!(shown().mappings, (3, before.1 + 3));
    drop(map);
    drop(private);
    assert_eq!(shown().mappings, (1, before.1 + 3));
    drop(read_only);
    assert_eq!(shown().mappings, (0, before.1 + 3));
}

fn parts_are_counted() {
    driver::with("size=10pages", || {
        let fd = driver::open();
        let mut ever = shown().mappings.1;
        let map = Map::shared(&fd, 10 * PAGE).expect("a mapping");
        expect(&mut ever, 1, 1);
        let (head, rest) = map.split(4 * PAGE);
        let (middle, tail) = rest.split(2 * PAGE);
        expect(&mut ever, 1, 0);
        // Splits are the kernel's once what becomes of the parts differs.
        drop(middle);
        expect(&mut ever, 2, 1);
        let (head, end_of_head) = head.split(3 * PAGE);
        drop(end_of_head);
        let (start_of_tail, tail) = tail.split(PAGE);
        drop(start_of_tail);
        expect(&mut ever, 2, 0);
        let (first, rest) = head.split(PAGE);
        let (second, third) = rest.split(PAGE);
        second.protect(PROT_READ).expect("mprotect");
        expect(&mut ever, 4, 2);
        second.protect(PROT_READ | PROT_WRITE).expect("mprotect");
        drop((first, second, third));
        expect(&mut ever, 1, 0);
        drop(tail);
        expect(&mut ever, 0, 0);
    });
}

fn a_child_s_mappings_are_counted() {
    let fd = driver::open();
    let mut ever = shown().mappings.1;
    let one = Map::shared(&fd, PAGE).expect("a mapping");
    let mut two = Some(Map::shared(&fd, PAGE).expect("a mapping"));
    expect(&mut ever, 2, 2);
    let mut child = Child::start(|| {
        let mut ever = shown().mappings.1;
        expect(&mut ever, 4, 0);
        // Unmapped by the end of the process, and by itself.
        drop(two.take());
        expect(&mut ever, 3, 0);
        let third = Map::shared(&fd, PAGE).expect("a mapping");
        expect(&mut ever, 4, 1);
        std::mem::forget(third);
    });
    assert_eq!(child.wait(LIMIT), End::Status(0));
    expect(&mut ever, 2, 3);
    drop(one);
    expect(&mut ever, 1, 0);
    drop(two);
    expect(&mut ever, 0, 0);
}

fn a_killed_process_has_no_mappings() {
    let fd = driver::open();
    let mut child = Child::start(|| {
        let maps: Vec<_> = (0..10)
            .map(|_| Map::shared(&fd, PAGE).expect("a mapping"))
            .collect();
        maps[9].write(0, b"ready");
        std::thread::sleep(LIMIT);
    });
    let deadline = Instant::now() + LIMIT;
    while shown().mappings.0 != 10 {
        assert!(Instant::now() < deadline, "{:?}", shown());
        std::thread::sleep(Duration::from_millis(1));
    }
    child.signal(libc::SIGKILL);
    assert_eq!(child.wait(LIMIT), End::Signal(libc::SIGKILL));
    assert_eq!(shown().mappings.0, 0);
}

fn a_moved_mapping_is_one() {
    let fd = driver::open();
    let mut ever = shown().mappings.1;
    let mut map = Map::shared(&fd, PAGE).expect("a mapping");
    for _ in 0..3 {
        map.move_onto(Map::anonymous(PAGE)).expect("a move");
        expect(&mut ever, 1, 0);
    }
    drop(map);
    expect(&mut ever, 0, 0);
}

fn what_fails_is_not_counted() {
    let fd = driver::open();
    let before = shown().mappings;
    for (offset, len, protection) in [
        (0, 2 * PAGE, PROT_READ),
        (PAGE64, PAGE, PROT_READ),
        (0, PAGE, PROT_READ | libc::PROT_EXEC),
    ] {
        Map::new(Some(fd.as_fd()), offset, len, protection, MAP_SHARED).unwrap_err();
    }
    assert_eq!(shown().mappings, before);
    let mut map = Map::shared(&fd, PAGE).expect("a mapping");
    map.resize(2 * PAGE, libc::MREMAP_MAYMOVE).unwrap_err();
    map.duplicate().unwrap_err();
    assert_eq!(shown().mappings, (1, before.1 + 1));
}

/// The driver's lines about mappings.
fn about_mappings(log: &Mark) -> Vec<String> {
    let lines = log.driver().into_iter();
    lines.filter(|line| line.starts_with("vma_")).collect()
}

fn mappings_are_not_logged_unless_asked_for() {
    let log = Mark::now();
    drop(Map::shared(driver::open(), PAGE).expect("a mapping"));
    assert_eq!(about_mappings(&log), [""; 0]);
}

fn mappings_are_logged() {
    driver::with("size=2pages log_mappings=1", || {
        let fd = driver::open();
        put(&fd, 0, b"first page\n");
        put(&fd, PAGE64, &[b'x'; 100]);
        let log = Mark::now();
        let map = Map::shared(&fd, 2 * PAGE).expect("a mapping");
        assert_eq!(
            about_mappings(&log),
            [in_bytes(
                "vma_open: chrmem0 offset 0 bytes 2pages \"first page\""
            )]
        );
        drop(map);
        assert_eq!(
            about_mappings(&log),
            [in_bytes(
                "vma_close: chrmem0 offset 0 bytes 2pages \"first page\""
            )]
        );
        let second =
            Map::new(Some(fd.as_fd()), PAGE64, 1, PROT_READ, MAP_SHARED).expect("a mapping");
        let text = "x".repeat(40);
        let expected = format!("vma_open: chrmem0 offset {PAGE} bytes {PAGE} \"{text}\"");
        assert_eq!(about_mappings(&log), [expected]);
        // What cannot be printed is not, and ends the text.
        put(&fd, PAGE64, b"a\x1b[31m\"");
        drop(second);
        assert_eq!(
            about_mappings(&log),
            [format!(
                "vma_close: chrmem0 offset {PAGE} bytes {PAGE} \"a\""
            )]
        );
    });
}

fn the_log_is_not_flooded() {
    driver::with("log_mappings=1", || {
        let fd = driver::open();
        put(&fd, 0, &pattern(PAGE));
        let (log, start) = (Mark::now(), Instant::now());
        for _ in 0..500 {
            drop(Map::shared(&fd, PAGE).expect("a mapping"));
        }
        let lines = about_mappings(&log).len();
        // Twenty in five seconds, and for each such time a line that tells how many there were more.
        let most = 22 * (1 + start.elapsed().as_secs() as usize / 5) + 22;
        assert!((20..=most).contains(&lines), "{lines} lines");
    });
}
