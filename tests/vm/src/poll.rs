// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waiting for a device to change.

use crate::driver::{self, generation, NODE, SIZE};
use crate::sys::{Child, End, Map};
use chrmem::Device;
use rustix::event::{epoll, poll, PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

crate::tests! {
    nothing_is_new_at_first
    every_kind_of_change_is_news
    news_is_each_open_file_s
    seen_ends_it
    a_descriptor_s_copy_has_seen_the_same
    writable_if_opened_so
    a_waiting_process_is_woken
    every_waiting_process_is_woken
    a_waiting_thread_is_woken
    waiting_ends_in_time
    epoll_tells_changes
    epoll_tells_changes_by_their_edge
}

const LIMIT: Duration = Duration::from_secs(20);

const READABLE: PollFlags = PollFlags::IN.union(PollFlags::RDNORM);
const WRITABLE: PollFlags = PollFlags::OUT.union(PollFlags::WRNORM);

fn open() -> Device {
    Device::open(NODE).expect(NODE)
}

/// The events that hold within a time, of all there are to ask for.
fn events_within(fd: impl AsFd, time: Duration) -> PollFlags {
    let mut fds = [PollFd::from_borrowed_fd(
        fd.as_fd(),
        READABLE | WRITABLE | PollFlags::PRI,
    )];
    poll(&mut fds, Some(&Timespec::try_from(time).expect("a time"))).expect("poll");
    fds[0].revents()
}

/// The events that hold now.
fn events(fd: impl AsFd) -> PollFlags {
    events_within(fd, Duration::ZERO)
}

/// Waits until a device is readable: whether the news woke it, and not the end of its time, at which
/// the kernel looks once more.
fn wait(fd: impl AsFd) -> bool {
    let start = Instant::now();
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::try_from(LIMIT).expect("a time"))).expect("poll");
    start.elapsed() < LIMIT / 2
}

fn nothing_is_new_at_first() {
    open().notify().expect("NOTIFY");
    assert_eq!(events(open()), WRITABLE);
}

fn every_kind_of_change_is_news() {
    let (device, changer) = (open(), open());
    let changes: [(&str, &dyn Fn()); 6] = [
        ("NOTIFY", &|| changer.notify().expect("NOTIFY")),
        ("MEM_CLEAR", &|| changer.clear().expect("MEM_CLEAR")),
        ("CLEAR", &|| changer.clear_range(3..4).expect("CLEAR")),
        ("RESET", &|| changer.reset().expect("RESET")),
        ("write", &|| driver::put(&changer, 0, b"x")),
        ("another process", &|| {
            let mut child = Child::start(|| open().notify().expect("NOTIFY"));
            assert_eq!(child.wait(LIMIT), End::Status(0));
        }),
    ];
    for (name, change) in changes {
        let before = device.seen().expect("SEEN");
        assert_eq!(events(&device), WRITABLE, "before {name}");
        change();
        assert_eq!(events(&device), READABLE | WRITABLE, "after {name}");
        assert_eq!(device.seen().expect("SEEN"), before + 1, "{name}");
    }
    // What changes nothing, or cannot be seen by the driver, is none.
    let map = Map::shared(&device, SIZE).expect("a mapping");
    map.write(0, b"stored");
    driver::get(&device, 0, SIZE);
    changer.info().expect("INFO");
    changer.clear_range(0..SIZE as u64 + 1).unwrap_err();
    changer.write_at(SIZE as u64, b"x").unwrap_err();
    assert_eq!(events(&device), WRITABLE);
}

fn news_is_each_open_file_s() {
    let (one, other) = (open(), open());
    one.notify().expect("NOTIFY");
    // Also to who made the change.
    assert_eq!(
        (events(&one), events(&other)),
        (READABLE | WRITABLE, READABLE | WRITABLE)
    );
    one.seen().expect("SEEN");
    assert_eq!(
        (events(&one), events(&other)),
        (WRITABLE, READABLE | WRITABLE)
    );
    assert_eq!(events(open()), WRITABLE);
}

fn seen_ends_it() {
    let device = open();
    for _ in 0..3 {
        device.notify().expect("NOTIFY");
    }
    // Reading is not having seen: the bytes are there without it.
    driver::get(&device, 0, SIZE);
    assert_eq!(events(&device), READABLE | WRITABLE);
    assert_eq!(device.seen().expect("SEEN"), generation());
    assert_eq!(events(&device), WRITABLE);
}

fn a_descriptor_s_copy_has_seen_the_same() {
    let device = open();
    let same = Device::try_from(device.as_fd().try_clone_to_owned().expect("dup")).expect(NODE);
    device.notify().expect("NOTIFY");
    assert_eq!(events(&same), READABLE | WRITABLE);
    same.seen().expect("SEEN");
    assert_eq!(events(&device), WRITABLE);
}

fn writable_if_opened_so() {
    let (reader, writer) = (driver::open_read_only(), driver::open_write_only());
    assert_eq!(
        (events(&reader), events(&writer)),
        (PollFlags::empty(), WRITABLE)
    );
    open().notify().expect("NOTIFY");
    assert_eq!(
        (events(&reader), events(&writer)),
        (READABLE, READABLE | WRITABLE)
    );
    assert_eq!(
        events(driver::open_as(OFlags::RDONLY | OFlags::NONBLOCK)),
        PollFlags::empty()
    );
}

/// Waits until a process sleeps in a system call.
pub(crate) fn wait_until_asleep(process: i32) {
    let deadline = Instant::now() + LIMIT;
    let asleep = || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("/proc");
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('S'))
    };
    while !asleep() {
        assert!(
            Instant::now() < deadline,
            "process {process} does not sleep"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn a_waiting_process_is_woken() {
    let device = open();
    let before = device.seen().expect("SEEN");
    for round in 1..=5 {
        let mut child = Child::start(|| {
            assert!(wait(&device));
            assert_eq!(device.seen().expect("SEEN"), before + round);
        });
        wait_until_asleep(child.id());
        open().notify().expect("NOTIFY");
        assert_eq!(child.wait(LIMIT), End::Status(0), "round {round}");
    }
}

fn every_waiting_process_is_woken() {
    let mut children: Vec<_> = (0..5)
        .map(|_| {
            let device = open();
            Child::start(move || assert!(wait(&device)))
        })
        .collect();
    children
        .iter()
        .for_each(|child| wait_until_asleep(child.id()));
    driver::put(open(), 0, b"news");
    for child in &mut children {
        assert_eq!(child.wait(LIMIT), End::Status(0));
    }
}

fn a_waiting_thread_is_woken() {
    let (waiting, changing) = (open(), open());
    std::thread::scope(|scope| {
        let woken = scope.spawn(|| wait(&waiting));
        std::thread::sleep(Duration::from_millis(50));
        changing.reset().expect("RESET");
        assert!(woken.join().expect("the thread"));
    });
}

fn waiting_ends_in_time() {
    let device = driver::open_read_only();
    let (time, start) = (Duration::from_millis(100), Instant::now());
    assert_eq!(events_within(&device, time), PollFlags::empty());
    assert!(start.elapsed() >= time);
}

/// The data of the events that `epoll` has now.
fn epoll_now(epoll: impl AsFd) -> Vec<u64> {
    let mut events = Vec::with_capacity(8);
    epoll::wait(
        epoll,
        rustix::buffer::spare_capacity(&mut events),
        Some(&Timespec::default()),
    )
    .expect("epoll_wait");
    events
        .iter()
        .map(|event: &epoll::Event| event.data.u64())
        .collect()
}

fn epoll_tells_changes() {
    let (one, other) = (open(), open());
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    for (device, number) in [(&one, 1), (&other, 2)] {
        let data = epoll::EventData::new_u64(number);
        epoll::add(&queue, device, data, epoll::EventFlags::IN).expect("epoll_ctl");
    }
    assert_eq!(epoll_now(&queue), [0; 0]);
    other.notify().expect("NOTIFY");
    let mut both = epoll_now(&queue);
    both.sort_unstable();
    assert_eq!(both, [1, 2]);
    one.seen().expect("SEEN");
    assert_eq!(epoll_now(&queue), [2]);
    assert_eq!(epoll_now(&queue), [2]);
    other.seen().expect("SEEN");
    assert_eq!(epoll_now(&queue), [0; 0]);
}

fn epoll_tells_changes_by_their_edge() {
    let device = open();
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&queue, &device, epoll::EventData::new_u64(7), flags).expect("epoll_ctl");
    assert_eq!(epoll_now(&queue), [0; 0]);
    for _ in 0..3 {
        device.notify().expect("NOTIFY");
        assert_eq!(epoll_now(&queue), [7]);
        assert_eq!(epoll_now(&queue), [0; 0]);
    }
}
