// SPDX-License-Identifier: MIT OR Apache-2.0

//! Windows whose hardware goes: nobody accesses them from then on, and what is beside them goes on.

use crate::driver::{get, pattern, put};
use crate::folder::Folder;
use crate::iomem;
use crate::modprobe::Module;
use crate::pci::Pci;
use crate::sys::{ioctl, ioctl_fd, pread, pwrite, Buffer, Child, End, Map, PAGE};
use chrmem_uapi::abi;
use libc::{MAP_SHARED, PROT_READ, PROT_WRITE};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

crate::tests! {
    every_access_to_what_was_unplugged_fails
    what_lies_beside_it_goes_on
    threads_fault_while_it_is_unplugged
    processes_fork_while_it_is_unplugged
    a_buffer_of_it_is_taken_away_too
    the_same_hardware_serves_again
    a_driver_that_is_unbound_takes_it_along
    other_hardware_takes_nothing_away
}

const LIMIT: Duration = Duration::from_secs(60);
const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// Bytes of a window: two huge entries.
const SIZE: usize = 4 << 20;

/// The device that goes.
fn hardware() -> Pci {
    Pci::find(0x1af4, 0x1110)
}

/// The windows that go with it.
fn kinds() -> [String; 3] {
    let start = hardware().bar(2).start;
    let device = hardware().address().to_owned();
    [
        format!("memory=physical cache=noncached address={start:#x} size={SIZE}"),
        format!("memory=physical cache=writecombine address={start:#x} size={SIZE}"),
        format!("memory=dma device={device} size={SIZE}"),
    ]
}

/// Runs a test on a device of each kind, with a window of RAM before and behind the one that goes.
fn on_each_kind(test: impl Fn(&Folder)) {
    for kind in 0..kinds().len() {
        // It may lie elsewhere each time.
        let settings = &kinds()[kind];
        let ram = format!("size={SIZE}");
        let windows = [("before", ram.as_str()), ("it", settings), ("behind", &ram)];
        let folder = Folder::live("test", &windows);
        test(&folder);
        drop(folder);
        plug_in();
    }
}

/// Where the window begins that goes.
const START: u64 = SIZE as u64;

/// Has the kernel find the hardware again.
fn plug_in() {
    if !Pci::is_there(0x1af4, 0x1110) {
        Pci::rescan();
    }
}

/// What a load at `at` ends a process by; it has the mapping by a fork.
fn load(map: &Map, at: usize) -> End {
    Child::start(|| {
        map.load(at);
    })
    .wait(LIMIT)
}

/// The same for a store.
fn store(map: &Map, at: usize) -> End {
    Child::start(|| map.store(at, 1)).wait(LIMIT)
}

const GONE: End = End::Signal(libc::SIGBUS);

/// Asserts that no access to a mapping works.
fn is_gone(map: &Map) {
    for at in [0, 4, PAGE, map.len() / 2, map.len() - PAGE] {
        assert_eq!(load(map, at), GONE, "{at:#x}");
        assert_eq!(store(map, at), GONE, "{at:#x}");
    }
}

/// A range of the device as a dma-buf.
fn export(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    let range = Buffer::new(size_of::<abi::Range>());
    range.write(0, &START.to_ne_bytes());
    range.write(8, &SIZE.to_ne_bytes());
    ioctl_fd(fd, abi::EXPORT, range.span(0, size_of::<abi::Range>()))
}

fn every_access_to_what_was_unplugged_fails() {
    on_each_kind(|folder| {
        let fd = folder.open();
        put(&fd, START, &pattern(PAGE));
        let map = Map::shared_at(&fd, START, SIZE).expect("a mapping");
        let untouched = Map::shared_at(&fd, START, SIZE).expect("a mapping");
        // No huge entry fits in it.
        let small = Map::shared_at(&fd, START + PAGE as u64, 16 * PAGE).expect("a mapping");
        map.read(0..1);
        map.write(SIZE - PAGE, b"stored");
        // A process that has it by a fork, and one that maps it by itself.
        let common = Map::common();
        let wait_for = |stage: u32| {
            while common.load(0) < stage {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        let mut child = Child::start(|| {
            let own = Map::shared_at(folder.open(), START, SIZE).expect("a mapping");
            assert_eq!(own.read(SIZE - PAGE..SIZE - PAGE + 6), b"stored");
            map.read(PAGE..PAGE + 1);
            common.store(0, 1);
            wait_for(2);
            is_gone(&own);
            is_gone(&map);
        });
        wait_for(1);
        hardware().unplug();
        common.store(0, 2);
        assert_eq!(child.wait(LIMIT), End::Status(0));
        is_gone(&map);
        is_gone(&untouched);
        is_gone(&small);
        let buffer = Buffer::new(PAGE);
        let span = buffer.span(0, 16);
        assert_eq!(pread(&fd, span, START as i64), Err(Errno::NODEV));
        assert_eq!(pwrite(&fd, span, START as i64 + 7), Err(Errno::NODEV));
        let mapped = Map::shared_at(&fd, START, PAGE);
        assert_eq!(mapped.err(), Some(Errno::NODEV));
        let debugger = File::open("/proc/self/mem").expect("/proc");
        assert_eq!(pread(&debugger, span, map.address() as i64), Err(Errno::IO));
        assert!(matches!(export(&fd), Err(Errno::NODEV | Errno::OPNOTSUPP)));
        let range = Buffer::new(size_of::<abi::Range>());
        range.write(0, &(START + 8).to_ne_bytes());
        range.write(8, &8_u64.to_ne_bytes());
        let range = range.span(0, size_of::<abi::Range>());
        assert_eq!(ioctl(&fd, abi::CLEAR, range), Err(Errno::NODEV));
        // What it was can still be asked.
        let window = folder.device().window(1).expect("WINDOW");
        assert_eq!((window.name.as_str(), window.size), ("it", SIZE as u64));
    });
}

fn what_lies_beside_it_goes_on() {
    on_each_kind(|folder| {
        let fd = folder.open();
        let other = folder.open();
        let map = |number: u64| Map::shared_at(&fd, number * START, SIZE).expect("a mapping");
        let (before, it, behind) = (map(0), map(1), map(2));
        for map in [&before, &it, &behind] {
            map.write(SIZE - 8, b"the end.");
            map.write(0, b"start");
        }
        let ready = |events| {
            let mut fds = [PollFd::from_borrowed_fd(other.as_fd(), events)];
            poll(&mut fds, Some(&Timespec::default())).expect("poll");
            fds[0].revents()
        };
        assert_eq!(ready(PollFlags::IN), PollFlags::empty());
        let generation = folder.shown().generation;
        hardware().unplug();
        is_gone(&it);
        // A loss is a change, and there is something left to wait for.
        assert_eq!(folder.shown().generation, generation + 1);
        assert_eq!(ready(PollFlags::IN), PollFlags::IN);
        for (map, start) in [(&before, 0), (&behind, 2 * START)] {
            assert_eq!(map.read(SIZE - 8..SIZE), b"the end.");
            map.write(0, b"again");
            assert_eq!(get(&fd, start, 5), b"again");
        }
        // What is to be done to all is done to what there is.
        let device = folder.device();
        let error = device.clear().expect_err("a window is gone");
        assert_eq!(error.errno(), Some(Errno::NODEV));
        assert_eq!(before.read(0..5), [0; 5]);
        assert_eq!(behind.read(SIZE - 8..SIZE), [0; 8]);
        // Where nothing is left, there is nothing to wait for.
        folder.destroy();
    });
    for kind in 0..kinds().len() {
        let folder = Folder::live("test", &[("it", &kinds()[kind])]);
        let fd = folder.open();
        hardware().unplug();
        let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&Timespec::default())), Ok(1));
        assert_eq!(fds[0].revents(), PollFlags::ERR | PollFlags::HUP);
        plug_in();
    }
}

/// Has processes use a mapping until it is gone, each in several threads, and takes it away meanwhile.
fn gone_for_all(folder: &Folder, map: &Map, body: impl Fn(&Map) + Sync) {
    let common = Map::common();
    let mut children: Vec<_> = (0..3)
        .map(|number| {
            Child::start(|| {
                let own = Map::shared_at(folder.open(), START, SIZE).expect("a mapping");
                // Some by a fork, some by themselves.
                let used = if number == 0 { map } else { &own };
                std::thread::scope(|scope| {
                    for _ in 0..3 {
                        scope.spawn(|| loop {
                            body(used);
                            common
                                .number()
                                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        });
                    }
                });
            })
        })
        .collect();
    while common.load(0) < 200 {
        std::thread::sleep(Duration::from_millis(1));
    }
    hardware().unplug();
    for child in &mut children {
        assert_eq!(child.wait(LIMIT), GONE);
    }
    is_gone(map);
}

fn threads_fault_while_it_is_unplugged() {
    on_each_kind(|folder| {
        let map = Map::shared_at(folder.open(), START, SIZE).expect("a mapping");
        gone_for_all(folder, &map, |map| {
            let touch = |map: &Map| {
                for at in (0..SIZE).step_by(SIZE / 16) {
                    map.store(at, 7);
                    map.load(at + PAGE);
                }
            };
            // Nothing of this one is mapped yet.
            match Map::shared_at(folder.open(), START, SIZE) {
                Ok(new) => touch(&new),
                Err(error) => assert_eq!(error, Errno::NODEV),
            }
            touch(map);
            // By small entries, and by huge ones.
            let off = folder.shown().mappings.0 % 2 == 0;
            rustix::thread::disable_transparent_huge_pages(off).expect("prctl");
        });
    });
}

fn processes_fork_while_it_is_unplugged() {
    on_each_kind(|folder| {
        let map = Map::shared_at(folder.open(), START, SIZE).expect("a mapping");
        map.store(0, 7);
        let common = Map::common();
        let mut parent = Child::start(|| loop {
            map.store(PAGE, 7);
            // As long as there is something, a child has it as well.
            let mut child = Child::start(|| {
                map.load(0);
                map.load(PAGE);
            });
            match child.wait(LIMIT) {
                End::Status(0) => common.store(0, common.load(0) + 1),
                end => {
                    assert_eq!(end, GONE);
                    is_gone(&map);
                    break;
                }
            }
        });
        while common.load(0) < 20 {
            std::thread::sleep(Duration::from_millis(1));
        }
        hardware().unplug();
        let end = parent.wait(LIMIT);
        assert!(end == End::Status(0) || end == GONE, "{end:?}");
        is_gone(&map);
    });
}

fn a_buffer_of_it_is_taken_away_too() {
    on_each_kind(|folder| {
        let Ok(buffer) = export(&folder.open()) else {
            return;
        };
        let map = Map::shared(&buffer, SIZE).expect("a mapping");
        map.write(0, b"by a buffer");
        assert_eq!(get(folder.open(), START, 11), b"by a buffer");
        hardware().unplug();
        is_gone(&map);
        let mapped = Map::shared(&buffer, SIZE);
        assert_eq!(mapped.err(), Some(Errno::NODEV));
        // The memory itself stays until the last who has it has closed it.
        folder.destroy();
        is_gone(&map);
        drop((map, buffer));
    });
}

fn the_same_hardware_serves_again() {
    on_each_kind(|folder| {
        let fd = folder.open();
        let map = Map::shared_at(&fd, START, SIZE).expect("a mapping");
        map.store(0, 7);
        hardware().unplug();
        plug_in();
        // The window is the old one's, whatever has its addresses now.
        is_gone(&map);
        let span = Buffer::new(16);
        let span = span.span(0, 16);
        assert_eq!(pread(&fd, span, START as i64), Err(Errno::NODEV));
        folder.destroy();
        let address = hardware().bar(2).start;
        if folder.get("it", "memory") == "physical" {
            folder.change("it", &format!("address={address:#x}"));
        }
        folder.build();
        let new = Map::shared_at(folder.open(), START, SIZE).expect("a mapping");
        new.write(PAGE, b"anew");
        assert_eq!(get(folder.open(), START + PAGE as u64, 4), b"anew");
        is_gone(&map);
        assert_eq!(pread(&fd, span, START as i64), Err(Errno::NODEV));
    });
}

/// Whoever unbinds a driver gives the device to another one.
fn a_driver_that_is_unbound_takes_it_along() {
    let module = Module::load("uio_pci_generic", &[]);
    let device = hardware();
    device.offer_to("uio_pci_generic");
    on_each_kind(|folder| {
        let fd = folder.open();
        let map = Map::shared_at(&fd, START, SIZE).expect("a mapping");
        let ram = Map::shared(&fd, SIZE).expect("a mapping");
        map.store(0, 7);
        ram.store(0, 7);
        device.unbind("uio_pci_generic");
        is_gone(&map);
        assert_eq!(ram.load(0), 7);
        // Another driver brings nothing back, and can have what was claimed.
        assert_eq!(iomem::called("chrmem"), []);
        device.bind("uio_pci_generic");
        is_gone(&map);
        folder.destroy();
        folder.build();
        let new = Map::new(
            Some(folder.open().as_fd()),
            START,
            SIZE,
            READ_WRITE,
            MAP_SHARED,
        );
        new.expect("a mapping").store(0, 7);
    });
    device.unbind("uio_pci_generic");
    drop(module);
}

fn other_hardware_takes_nothing_away() {
    on_each_kind(|folder| {
        let map = Map::shared_at(folder.open(), START, SIZE).expect("a mapping");
        map.store(0, 7);
        Pci::find(0x1234, 0x11e8).unplug();
        Pci::rescan();
        assert_eq!(map.load(0), 7);
        assert_eq!(load(&map, PAGE), End::Status(0));
    });
}
