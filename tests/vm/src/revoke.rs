// SPDX-License-Identifier: MIT OR Apache-2.0

//! Windows whose hardware goes: nobody accesses them from then on, and what is beside them goes on.

use crate::commands::{chrmem, printed};
use crate::driver::{get, pattern, put};
use crate::folder::Folder;
use crate::iomem;
use crate::modprobe::Module;
use crate::pci::Pci;
use crate::sys::{
    bus_handler, end_by_bus_error, ioctl, ioctl_fd, pread, pwrite, Buffer, Child, End, Map,
    BUS_ERROR, PAGE,
};
use chrmem::{Error, MapOptions, Mapping};
use chrmem_uapi::abi;
use libc::{MAP_SHARED, PROT_READ, PROT_WRITE};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{memfd_create, MemfdFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;
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
    the_library_turns_it_into_an_error
    a_program_s_own_handler_gets_its_own_faults
    the_window_says_that_it_is_gone
    the_command_says_what_is_gone
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

/// Accesses memory in one of several ways, each time another value.
fn access(memory: &Mapping, way: usize, value: usize) -> chrmem::Result<()> {
    let at = (value * 64) % SIZE;
    let mut bytes = [7; 64];
    match way {
        0 => drop(memory.read::<u32>(at)?),
        1 => memory.write(at, &(value as u64))?,
        2 => memory.copy_to(at, &mut bytes)?,
        3 => memory.copy_from(at, &bytes)?,
        4 => drop(memory.load::<u16>(at, Ordering::Acquire)?),
        5 => memory.store(at, value as u32, Ordering::Release)?,
        6 => {
            let part = memory.view(at..at + 64)?.array::<u8>();
            drop(part.iter().collect::<chrmem::Result<Vec<_>>>()?);
        }
        7 => memory
            .view(at..at + 64)?
            .array()
            .set(3, &[value as u8; 3])?,
        8 => drop(memory.c_string(SIZE - 64)?),
        _ => memory
            .view(at..at + 64)?
            .write_to(memfd_create("copy", MemfdFlags::CLOEXEC).expect("a memfd"))?,
    }
    Ok(())
}

const WAYS: usize = 10;

/// Asserts that every access to a mapping is refused, with a reason that helps.
fn is_refused(memory: &Mapping, node: &str) {
    for way in 0..WAYS {
        let error = access(memory, way, way).expect_err("it is gone");
        assert!(
            matches!(&error, Error::Revoked { file } if file == node),
            "way {way}: {error:?}"
        );
        assert!(error.to_string().contains(node), "way {way}: {error}");
    }
    assert!(memory.check().is_err() && memory.atomic::<u8>(5).is_err());
}

/// Threads of several processes access it meanwhile, each in its own way.
fn the_library_turns_it_into_an_error() {
    on_each_kind(|folder| {
        let (device, node) = (folder.device(), folder.node());
        let memory = device.map(START..2 * START).expect("a mapping");
        let untouched = MapOptions::new().window("it").map(&device);
        let untouched = untouched.expect("a mapping");
        let ram = device.map(..START).expect("a mapping");
        let common = Map::common();
        let mut children: Vec<_> = (0..3)
            .map(|number| {
                Child::start(|| {
                    let own = folder.device().map(START..2 * START).expect("a mapping");
                    // Some by a fork, some by themselves.
                    let used = if number == 0 { &own } else { &memory };
                    std::thread::scope(|scope| {
                        for way in 0..WAYS {
                            let common = &common;
                            scope.spawn(move || {
                                let failed = (0..10_000_000).find_map(|value| {
                                    common.number().fetch_add(1, Ordering::Relaxed);
                                    access(used, way, value).err()
                                });
                                let error = failed.expect("it ends");
                                assert!(
                                    matches!(error, Error::Revoked { .. }),
                                    "way {way}: {error:?}"
                                );
                            });
                        }
                    });
                    for mapping in [&own, &memory, &untouched] {
                        is_refused(mapping, &folder.node());
                    }
                    assert_eq!(ram.read::<u8>(5).expect("RAM"), 7);
                })
            })
            .collect();
        ram.write(5, &7_u8).expect("RAM");
        while common.load(0) < 2000 {
            std::thread::sleep(Duration::from_millis(1));
        }
        hardware().unplug();
        for child in &mut children {
            assert_eq!(child.wait(LIMIT), End::Status(0));
        }
        is_refused(&memory, &node);
        is_refused(&untouched, &node);
        access(&ram, 1, 1).expect("RAM");
        ram.check().expect("RAM");
    });
}

/// It is asked for what the library does not know, and only for that. Windows of RAM are mapped without any handler.
fn a_program_s_own_handler_gets_its_own_faults() {
    on_each_kind(|folder| {
        let common = Map::common();
        let mut child = Child::start(|| {
            end_by_bus_error();
            let handler = bus_handler();
            let device = folder.device();
            let ram = device.map(..START).expect("a mapping");
            assert_eq!(bus_handler(), handler);
            let memory = device.map(START..2 * START).expect("a mapping");
            assert_ne!(bus_handler(), handler);
            let own = Map::shared_at(&device, START, SIZE).expect("a mapping");
            access(&memory, 0, 0).expect("hardware");
            common.store(0, 1);
            while common.load(0) != 2 {
                std::thread::sleep(Duration::from_millis(1));
            }
            is_refused(&memory, &folder.node());
            access(&ram, 0, 0).expect("RAM");
            common.store(0, 3);
            own.load(PAGE);
        });
        while common.load(0) != 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
        hardware().unplug();
        common.store(0, 2);
        assert_eq!(child.wait(LIMIT), End::Status(BUS_ERROR));
        assert_eq!(common.load(0), 3);
    });
}

fn the_window_says_that_it_is_gone() {
    on_each_kind(|folder| {
        let device = folder.device();
        let told = || {
            let windows = device.windows().expect("WINDOW");
            let told: Vec<_> = windows.iter().map(|it| (it.revocable, it.gone)).collect();
            told
        };
        let (ram, there, gone) = ((false, false), (true, false), (true, true));
        assert_eq!(told(), [ram, there, ram]);
        assert!(!printed(&["info", "test"]).contains("GONE"));
        hardware().unplug();
        assert_eq!(told(), [ram, gone, ram]);
        plug_in();
        assert_eq!(told(), [ram, gone, ram]);
        let table = printed(&["info", "test"]);
        let last: Vec<_> = table.lines().rev().take(4).collect();
        let last = last.iter().map(|line| line.split_whitespace().next_back());
        assert_eq!(
            last.collect::<Vec<_>>(),
            ["no", "yes", "no", "GONE"].map(Some)
        );
        let text = printed(&["info", "test", "--json"]);
        let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let of = |key: &str| [0, 1, 2].map(|index| told["windows"][index][key] == true);
        let it = [false, true, false];
        assert_eq!((of("revocable"), of("gone")), (it, it));
    });
}

/// Asserts that the command has failed, and has said why and what to do.
fn has_said(output: &Output, what: &str) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for part in [what, "/dev/chrmem-test", "hint: ", "`chrmem info`"] {
        assert!(complaint.contains(part), "no {part:?} in {complaint}");
    }
}

fn the_command_says_what_is_gone() {
    on_each_kind(|folder| {
        put(folder.open(), START, b"the start");
        // It has copied the first part, and waits for room in the pipe.
        let mut reading = Command::new("chrmem")
            .args(["read", "test:it", "--raw"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chrmem");
        let mut start = [0; 9];
        let out = reading.stdout.as_mut().expect("a pipe");
        out.read_exact(&mut start).expect("bytes");
        assert_eq!(&start, b"the start");
        hardware().unplug();
        let output = reading.wait_with_output().expect("it ends");
        assert!(output.stdout.len() < SIZE);
        has_said(&output, "error: cannot access the mapping of");
        let offset = START.to_string();
        for arguments in [
            &["read", "test:it"][..],
            &["read", "test:it", "--via", "read"],
            &["write", "test:it", "text"],
            &["write", "test:it", "text", "--via", "mmap"],
            &["fill", "test:it", "7"],
            &["clear", "test:it"],
            &["cat", "/dev/chrmem-test", &offset, "16"],
        ] {
            has_said(&chrmem(arguments), "error: cannot");
        }
        assert_eq!(printed(&["read", "test:before", "-n", "1", "--raw"]), "\0");
    });
}
