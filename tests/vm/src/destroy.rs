// SPDX-License-Identifier: MIT OR Apache-2.0

//! A device that goes while it is used: calls say so, mappings go on, and nothing is lost.

use crate::driver::{self, fdinfo, open_node, pattern, put};
use crate::folder::Folder;
use crate::memory;
use crate::node::MadeByHand;
use crate::poll::wait_until_asleep;
use crate::scale::scaled;
use crate::sys::{ioctl, pread, pwrite, seek, Buffer, Child, End, Map, PAGE, PAGE64};
use chrmem_uapi::abi;
use libc::{MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use rustix::event::{epoll, poll, PollFd, PollFlags, Timespec};
use rustix::fs::{fsync, minor, sendfile, OFlags};
use rustix::io::Errno;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

crate::tests! {
    every_call_says_that_it_is_gone
    pollers_are_told
    who_waits_is_woken
    debugfs_has_nothing_to_tell
    mappings_go_on
    private_mappings_go_on
    a_mapping_needs_neither_file_nor_folder
    memory_goes_with_its_last_user
    destroyed_while_others_read_and_write
    destroyed_while_others_map
    live_is_toggled_from_two_sides
    a_number_is_free_when_its_node_is_gone
    windows_come_and_go_while_it_is_built
    making_and_destroying_loses_no_memory
}

const LIMIT: Duration = Duration::from_secs(60);

/// A live device of two windows, with a hole between them.
fn device() -> Folder {
    Folder::live(
        "test",
        &[("one", "size=2pages"), ("two", "offset=16pages size=1page")],
    )
}

/// Waits for children that must end well.
fn all_end_well(children: &mut [Child]) {
    for child in children {
        assert_eq!(child.wait(LIMIT), End::Status(0));
    }
}

fn every_call_says_that_it_is_gone() {
    let folder = device();
    let number = fs::metadata(folder.node()).expect("a node").rdev();
    let by_hand = MadeByHand::new("/tmp/gone_memdev", minor(number));
    let files = [OFlags::RDWR, OFlags::RDONLY, OFlags::WRONLY].map(|flags| folder.open_as(flags));
    put(&files[0], 0, &pattern(2 * PAGE));
    let map = Map::shared(&files[0], 2 * PAGE).expect("a mapping");
    folder.destroy();
    let gone = Err(Errno::NODEV);
    let buffer = Buffer::new(PAGE);
    let [both, reader, writer] = &files;
    for fd in [both, reader] {
        // Where there was a window, a hole, an end; and also nothing at all.
        for offset in [0, 2 * PAGE, 16 * PAGE, 17 * PAGE] {
            assert_eq!(
                pread(fd, buffer.span(0, PAGE), offset as i64),
                gone,
                "{offset}"
            );
            assert_eq!(
                pread(fd, buffer.span(0, 0), offset as i64),
                gone,
                "{offset}"
            );
        }
        assert_eq!(crate::sys::read(fd, buffer.span(0, 1)), gone);
        let answer = Map::new(Some(fd.as_fd()), 0, PAGE, PROT_READ, MAP_SHARED);
        assert_eq!(answer.err(), Some(Errno::NODEV));
        let null = open_node("/dev/null", OFlags::WRONLY).expect("/dev/null");
        assert_eq!(sendfile(&null, fd, None, PAGE), gone);
    }
    for fd in [both, writer] {
        for offset in [0, 2 * PAGE, 16 * PAGE, 17 * PAGE] {
            assert_eq!(
                pwrite(fd, buffer.span(0, PAGE), offset as i64),
                gone,
                "{offset}"
            );
        }
        assert_eq!(crate::sys::write(fd, buffer.span(0, 1)), gone);
    }
    for (offset, len) in [(2 * PAGE64, PAGE), (16 * PAGE64, PAGE), (0, 1 << 30)] {
        let answer = Map::shared_at(both, offset, len);
        assert_eq!(answer.err(), Some(Errno::NODEV), "{len} at {offset}");
    }
    for fd in &files {
        for whence in 0..5 {
            assert_eq!(seek(fd, 0, whence), gone, "way {whence}");
        }
        for command in [
            abi::MEM_CLEAR,
            abi::MEM_RESET,
            abi::INFO,
            abi::WINDOW,
            abi::CLEAR,
            abi::RESET,
            abi::NOTIFY,
            abi::SEEN,
            abi::SYNC,
            abi::EXPORT,
            abi::INFO ^ 0x20,
            u32::MAX,
        ] {
            assert_eq!(
                ioctl(fd, command, buffer.span(0, PAGE)),
                gone,
                "{command:#x}"
            );
        }
        // What has nothing to do has no way to fail.
        assert_eq!(fsync(fd), Ok(()));
        assert_eq!(fdinfo(fd).size, 17 * PAGE64);
    }
    assert_eq!(
        open_node(folder.node(), OFlags::RDWR).err(),
        Some(Errno::NOENT)
    );
    assert_eq!(by_hand.open(OFlags::RDWR).err(), Some(Errno::NXIO));
    // Of all that, nothing got through.
    assert_eq!(map.read(0..2 * PAGE), pattern(2 * PAGE));
}

/// All there is to ask for.
const ALL: PollFlags = PollFlags::IN
    .union(PollFlags::OUT)
    .union(PollFlags::RDNORM)
    .union(PollFlags::WRNORM)
    .union(PollFlags::PRI);

/// What a poller of a device that is gone is told.
const GONE: PollFlags = PollFlags::ERR.union(PollFlags::HUP);

/// The events that hold within a time.
fn events(fd: impl AsFd, asked: PollFlags, time: Duration) -> PollFlags {
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), asked)];
    poll(&mut fds, Some(&Timespec::try_from(time).expect("a time"))).expect("poll");
    fds[0].revents()
}

fn pollers_are_told() {
    let folder = device();
    let files = [OFlags::RDWR, OFlags::RDONLY, OFlags::WRONLY].map(|flags| folder.open_as(flags));
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let data = epoll::EventData::new_u64(7);
    epoll::add(&queue, &files[1], data, epoll::EventFlags::IN).expect("epoll_ctl");
    assert_eq!(events(&files[1], ALL, Duration::ZERO), PollFlags::empty());
    folder.destroy();
    for fd in &files {
        assert_eq!(events(fd, ALL, Duration::ZERO), GONE);
        // Also who did not ask.
        assert_eq!(events(fd, PollFlags::empty(), Duration::ZERO), GONE);
    }
    let mut told: Vec<epoll::Event> = Vec::with_capacity(4);
    let room = rustix::buffer::spare_capacity(&mut told);
    epoll::wait(&queue, room, Some(&Timespec::default())).expect("epoll_wait");
    let told: Vec<_> = told
        .iter()
        .map(|event| (event.flags, event.data.u64()))
        .collect();
    assert_eq!(told, [(epoll::EventFlags::ERR | epoll::EventFlags::HUP, 7)]);
}

fn who_waits_is_woken() {
    for asked in [PollFlags::IN, PollFlags::PRI, PollFlags::empty()] {
        let folder = device();
        let fd = folder.open_as(OFlags::RDONLY);
        let mut children: Vec<_> = (0..3)
            .map(|_| Child::start(|| assert_eq!(events(&fd, asked, LIMIT), GONE)))
            .collect();
        children
            .iter()
            .for_each(|child| wait_until_asleep(child.id()));
        let start = Instant::now();
        folder.destroy();
        all_end_well(&mut children);
        assert!(start.elapsed() < LIMIT / 3);
    }
}

fn debugfs_has_nothing_to_tell() {
    let folder = device();
    let path = format!("/sys/kernel/debug/chrmem/{}", folder.device_name());
    let file = open_node(&path, OFlags::RDONLY).expect("debugfs");
    folder.destroy();
    assert_eq!(rustix::io::read(&file, &mut [0; 100]), Err(Errno::IO));
    assert_eq!(open_node(&path, OFlags::RDONLY).err(), Some(Errno::NOENT));
    drop(folder);
    assert_eq!(driver::unload(), Err(Errno::AGAIN));
    drop(file);
    driver::without(|| ());
}

fn mappings_go_on() {
    let folder = device();
    let fd = folder.open();
    let (one, two) = (
        Map::shared(&fd, 2 * PAGE).expect("a mapping"),
        Map::shared_at(&fd, 16 * PAGE64, PAGE).expect("a mapping"),
    );
    // One window was touched before, the other never was.
    one.write(0, &pattern(2 * PAGE));
    folder.destroy();
    assert_eq!(one.read(0..2 * PAGE), pattern(2 * PAGE));
    assert_eq!(two.read(0..PAGE), [0; PAGE]);
    two.write(100, b"first touched when it was gone");
    // Pages that are fetched again are the same.
    one.advise(libc::MADV_DONTNEED).expect("DONTNEED");
    assert_eq!(one.read(0..2 * PAGE), pattern(2 * PAGE));
    let mut child = Child::start(|| {
        assert_eq!(one.read(0..2 * PAGE), pattern(2 * PAGE));
        assert_eq!(two.read(100..105), b"first");
        one.write(0, b"child");
    });
    assert_eq!(child.wait(LIMIT), End::Status(0));
    assert_eq!(one.read(0..5), b"child");
    // All that can be done to a mapping still can.
    let (head, mut tail) = one.split(PAGE);
    tail.move_onto(Map::anonymous(PAGE)).expect("a move");
    assert_eq!(tail.read(0..PAGE), pattern(2 * PAGE)[PAGE..]);
    head.protect(PROT_READ).expect("mprotect");
    head.protect(PROT_READ | PROT_WRITE).expect("mprotect");
    head.sync(libc::MS_SYNC).expect("msync");
    head.lock(0).expect("mlock");
    head.write(0, b"after");
    assert_eq!(head.read(0..5), b"after");
    assert_eq!(fdinfo(&fd).mappings.0, 3);
    // What it was split from shows as much of it as ever.
    let answer = head.show_page(1);
    assert_eq!(answer.err(), Some(Errno::NODEV));
}

fn private_mappings_go_on() {
    let folder = device();
    let fd = folder.open();
    put(&fd, 0, &pattern(2 * PAGE));
    let read_write = PROT_READ | PROT_WRITE;
    let private =
        Map::new(Some(fd.as_fd()), 0, 2 * PAGE, read_write, MAP_PRIVATE).expect("a mapping");
    private.write(0, b"copied");
    folder.destroy();
    drop(fd);
    assert_eq!(private.read(0..6), b"copied");
    assert_eq!(private.read(6..2 * PAGE), pattern(2 * PAGE)[6..]);
    private.write(PAGE, b"now");
    assert_eq!(private.read(PAGE..PAGE + 3), b"now");
}

fn a_mapping_needs_neither_file_nor_folder() {
    let folder = device();
    let map = Map::shared(folder.open(), 2 * PAGE).expect("a mapping");
    map.write(0, &pattern(2 * PAGE));
    // Two generations of children, of which only the last has it mapped in the end.
    let mut child = Child::start(|| {
        let mut grandchild = Child::start(|| {
            assert_eq!(map.read(0..2 * PAGE), pattern(2 * PAGE));
            std::thread::sleep(Duration::from_millis(300));
            assert_eq!(map.read(0..2 * PAGE), pattern(2 * PAGE));
        });
        assert_eq!(grandchild.wait(LIMIT), End::Status(0));
    });
    drop(folder);
    assert_eq!(map.read(0..2 * PAGE), pattern(2 * PAGE));
    drop(map);
    assert_eq!(driver::unload(), Err(Errno::AGAIN));
    assert_eq!(child.wait(LIMIT), End::Status(0));
    driver::without(|| ());
}

fn memory_goes_with_its_last_user() {
    const SIZE: u64 = 32 << 20;
    let run = format!("size={SIZE} memory=contiguous");
    let plain = format!("size={SIZE}");
    let noncached = format!("size={SIZE} cache=noncached");
    for windows in [
        &[("one", plain.as_str())][..],
        &[("one", noncached.as_str())],
        &[("one", run.as_str())],
        &[("one", "size=2M memory=dma"); 16],
    ] {
        let folder = Folder::new("test");
        for (number, (_, settings)) in windows.iter().enumerate() {
            folder.window(&format!("w{number}"), settings);
        }
        let each = (SIZE / windows.len() as u64) as usize;
        let before = memory::free();
        let used = || before.saturating_sub(memory::free());
        // What the system frees of its own at the same time makes it look like less for a moment.
        let within = |what: &str, holds: &dyn Fn(u64) -> bool| {
            let deadline = Instant::now() + Duration::from_secs(5);
            loop {
                let used = used();
                if holds(used) {
                    break;
                }
                assert!(Instant::now() < deadline, "{used} used {what}, {windows:?}");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        let is_used = |by: &str| within(by, &|used| used > SIZE - (2 << 20));
        folder.build();
        is_used("by the device");
        let fd = folder.open();
        let map = Map::shared(&fd, each).expect("a mapping");
        folder.destroy();
        is_used("by the file");
        drop(fd);
        is_used("by the mapping");
        let (first, rest) = map.split(PAGE);
        drop(rest);
        let mut child = Child::start(|| std::thread::sleep(LIMIT));
        drop(first);
        is_used("by a page in a child");
        child.signal(libc::SIGKILL);
        assert_eq!(child.wait(LIMIT), End::Signal(libc::SIGKILL));
        within("by nobody", &|used| used <= 2 << 20);
    }
}

fn destroyed_while_others_read_and_write() {
    let folder = Folder::new("test");
    folder.window("one", "size=16pages");
    for _ in 0..20 {
        folder.build();
        let fd = folder.open();
        let (read, written) = (Map::common(), Map::common());
        let work = |writes: bool| {
            let fd = fd.as_fd();
            let done = if writes { &written } else { &read };
            move || {
                let buffer = Buffer::new(16 * PAGE);
                let span = buffer.span(0, 16 * PAGE);
                for _ in 0..1_000_000 {
                    match if writes {
                        pwrite(fd, span, 0)
                    } else {
                        pread(fd, span, 0)
                    } {
                        Ok(count) if count == buffer.len() => {
                            done.number().fetch_add(1, Ordering::Relaxed)
                        }
                        Err(Errno::NODEV) => return,
                        other => panic!("{other:?}"),
                    };
                }
                panic!("it never went");
            }
        };
        let mut children = [Child::start(work(true)), Child::start(work(false))];
        wait_until_each_did(10, [&read, &written]);
        folder.destroy();
        all_end_well(&mut children);
        assert!(fdinfo(&fd).generation >= 10);
    }
}

/// Waits until each of two children has counted so many things that it did.
fn wait_until_each_did(count: u32, did: [&Map; 2]) {
    let deadline = Instant::now() + LIMIT;
    let did = || did.map(|it| it.number().load(Ordering::Relaxed));
    while did().iter().any(|it| *it < count) {
        assert!(Instant::now() < deadline, "{:?} of {count}", did());
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn destroyed_while_others_map() {
    let folder = Folder::new("test");
    folder.window("one", "size=16pages");
    folder.window("two", "size=16pages memory=contiguous cache=writecombine");
    for _ in 0..20 {
        folder.build();
        let fd = folder.open();
        let done = [Map::common(), Map::common()];
        let work = |me: usize| {
            let (fd, done) = (&fd, &done[me]);
            move || {
                for round in 0..1_000_000_usize {
                    let offset = (round % 2) as u64 * 16 * PAGE64;
                    match Map::shared_at(fd, offset, 16 * PAGE) {
                        Ok(map) => {
                            let at = round % (16 * PAGE);
                            map.write(at, &[1]);
                            assert_eq!(map.read(at..at + 1), [1]);
                        }
                        Err(Errno::NODEV) => return,
                        other => panic!("{other:?}"),
                    }
                    done.number().fetch_add(1, Ordering::Relaxed);
                }
                panic!("it never went");
            }
        };
        let mut children = [Child::start(work(0)), Child::start(work(1))];
        wait_until_each_did(5, [&done[0], &done[1]]);
        folder.destroy();
        all_end_well(&mut children);
        assert_eq!(fdinfo(&fd).mappings.0, 0);
    }
}

fn live_is_toggled_from_two_sides() {
    let folder = Folder::new("test");
    folder.window("one", "size=4pages");
    folder.window("two", "size=4pages cache=noncached");
    let (opened, mapped) = (Map::common(), Map::common());
    let count = |it: &Map| it.number().load(Ordering::Relaxed);
    // At least so often, and until the user has had enough of it as well.
    let toggle = |first: usize| {
        let (folder, opened, mapped) = (&folder, &opened, &mapped);
        move || {
            let deadline = Instant::now() + LIMIT;
            let mut round = 0;
            while round < 150 || count(opened) < 10 || count(mapped) < 10 {
                assert!(
                    Instant::now() < deadline,
                    "opened {} times, mapped {} times",
                    count(opened),
                    count(mapped)
                );
                let text = if (round + first) % 2 == 0 { "1" } else { "0" };
                assert_eq!(folder.set_live(text), Ok(()), "round {round}");
                round += 1;
            }
        }
    };
    let node = folder.node();
    let mut user = Child::start(|| {
        let buffer = Buffer::new(PAGE);
        let deadline = Instant::now() + 2 * LIMIT;
        // Until it is told by the one file that says so.
        while !fs::exists("/tmp/enough").expect("/tmp") {
            assert!(Instant::now() < deadline, "nobody tells it");
            let fd = match open_node(&node, OFlags::RDWR) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NXIO) => continue,
                Err(error) => panic!("open: {error}"),
            };
            opened.number().fetch_add(1, Ordering::Relaxed);
            let answer = pwrite(&fd, buffer.span(0, 100), 4 * PAGE as i64 - 384);
            assert!(matches!(answer, Ok(100) | Err(Errno::NODEV)), "{answer:?}");
            for offset in [0, 4 * PAGE64] {
                match Map::shared_at(&fd, offset, 4 * PAGE) {
                    Ok(map) => {
                        map.write(5000, b"mine alone");
                        assert_eq!(map.read(5000..5010), b"mine alone");
                        assert_eq!(map.read(5010..5020), [0; 10]);
                        mapped.number().fetch_add(1, Ordering::Relaxed);
                    }
                    Err(Errno::NODEV) => {}
                    Err(error) => panic!("mmap: {error}"),
                }
            }
        }
    });
    let mut togglers = [Child::start(toggle(0)), Child::start(toggle(1))];
    for toggler in &mut togglers {
        assert_eq!(toggler.wait(2 * LIMIT), End::Status(0));
    }
    fs::write("/tmp/enough", "").expect("/tmp");
    let end = user.wait(LIMIT);
    fs::remove_file("/tmp/enough").expect("/tmp");
    assert_eq!(end, End::Status(0));
    folder.destroy();
    assert!(!folder.is_live());
    drop(folder);
    assert_eq!(driver::users(), Some(0));
}

fn windows_come_and_go_while_it_is_built() {
    let folder = Folder::new("test");
    folder.window("fixed", "size=1page");
    let build = || {
        for round in 0..100 {
            match folder.set_live(if round % 2 == 0 { "1" } else { "0" }) {
                // A window that has no size yet.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(error) => panic!("live: {error}"),
            }
        }
    };
    let change = |name: &'static str| {
        let folder = &folder;
        move || {
            for round in 0..100 {
                let mut answers = vec![folder.make_window(name)];
                for (attribute, value) in [("size", "8K"), ("memory", "contiguous"), ("fill", "1")]
                {
                    answers.push(folder.set(name, attribute, value));
                }
                answers.push(folder.remove_window(name));
                let odd = answers
                    .iter()
                    .find(|it| !matches!(it, Ok(()) | Err(Errno::BUSY | Errno::NOENT)));
                assert_eq!(odd, None, "round {round}");
                // The folder goes if it came, whatever is live.
                assert_eq!(answers[4].is_ok(), answers[0].is_ok(), "{answers:?}");
            }
        }
    };
    let mut children = [
        Child::start(build),
        Child::start(change("one")),
        Child::start(change("other")),
    ];
    all_end_well(&mut children);
    folder.destroy();
    folder.build();
    assert_eq!(
        folder.shown().windows,
        [format!("0 fixed 0 {PAGE} pages cached rw")]
    );
}

fn making_and_destroying_loses_no_memory() {
    let cycle = |round: usize| {
        let folder = Folder::new("test");
        folder.window("a", "size=16pages");
        folder.window("b", "size=16pages memory=dma");
        // To find a run takes the kernel long.
        if round % 10 == 0 {
            folder.window("c", "size=16pages memory=contiguous cache=writecombine");
        }
        folder.build();
        let fd = folder.open();
        let map = Map::shared_at(&fd, 16 * PAGE64, 16 * PAGE).expect("a mapping");
        drop(folder);
        map.write(0, b"used");
    };
    (0..20).for_each(cycle);
    let before = memory::settled();
    (0..500).for_each(cycle);
    // A page of each would be twice as much.
    let less = before.saturating_sub(memory::settled());
    assert!(less < memory::SWING, "{less} bytes less");
    assert_eq!(driver::users(), Some(0));
}

/// Another device gets the number of a destroyed one: not before the kernel has forgotten the node.
fn a_number_is_free_when_its_node_is_gone() {
    let toggle = |name: &'static str| {
        Child::start(move || {
            let folder = Folder::new(name);
            folder.window("one", "size=1page");
            for _ in 0..scaled(1000) {
                folder.build();
                folder.destroy();
            }
        })
    };
    all_end_well(&mut ["one", "two", "three"].map(toggle));
}
