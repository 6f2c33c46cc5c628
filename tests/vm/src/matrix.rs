// SPDX-License-Identifier: MIT OR Apache-2.0

//! All that can be done to a device, while it is used in every way, and by processes that are killed
//! before, while and after it is done.

use crate::driver::{self, get, open_node, pattern, put, unload, users};
use crate::folder::Folder;
use crate::kmsg::Mark;
use crate::modprobe::Module;
use crate::pci::Pci;
use crate::poll::wait_until_asleep;
use crate::report::fact;
use crate::sys::{ioctl, ioctl_fd, pread, Buffer, Child, End, Map, PAGE};
use crate::{boot, held, iomem, memory};
use chrmem::Device;
use chrmem_uapi::abi;
use libc::{MAP_ANONYMOUS, MAP_SHARED, PROT_READ, PROT_WRITE};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Barrier;
use std::time::{Duration, Instant};

crate::tests! {
    unloaded_while_it_is_used
    destroyed_while_it_is_used
    removed_while_it_is_used
    a_driver_unbound_while_its_memory_is_used
    unplugged_while_its_memory_is_used
    what_a_device_s_memory_was_others_may_have
    a_bridge_is_unplugged
}

/// The PCI device with memory of its own.
const VENDOR: u16 = 0x1af4;
const DEVICE: u16 = 0x1110;

const LIMIT: Duration = Duration::from_secs(60);

/// Bytes of each window: lost once, it is noticed.
const SIZE: usize = 2 << 20;

/// A way to use a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    Mapped,
    Forked,
    HalfUnmapped,
    Moved,
    Exported,
    Read,
    Polled,
}

impl Way {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Open, "open"),
        (Self::Mapped, "mapped"),
        (Self::Forked, "forked"),
        (Self::HalfUnmapped, "half unmapped"),
        (Self::Moved, "moved"),
        (Self::Exported, "exported"),
        (Self::Read, "being read"),
        (Self::Polled, "being polled"),
    ];
}

/// When the user is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Before,
    While,
    After,
    Never,
}

impl Death {
    const ALL: [Self; 4] = [Self::Before, Self::While, Self::After, Self::Never];
}

/// Where user and test, two processes, tell each other how far they are.
struct Board(Map);

/// The stages of a cell.
const READY: u32 = 1;
const DONE: u32 = 2;
const CHECKED: u32 = 3;
const END: u32 = 4;

/// What a user can have seen.
const SEEN: [&str; 5] = ["", "goes on", "ENODEV", "woken by ERR and HUP", "SIGBUS"];
const GOES_ON: u32 = 1;
const NODEV: u32 = 2;
const WOKEN: u32 = 3;
const BUS: u32 = 4;

impl Board {
    fn new() -> Self {
        let flags = MAP_SHARED | MAP_ANONYMOUS;
        Self(Map::new(None, 0, PAGE, PROT_READ | PROT_WRITE, flags).expect("memory"))
    }

    fn stage(&self) -> u32 {
        self.0.load(0)
    }

    fn set(&self, stage: u32) {
        self.0.store(0, stage);
    }

    fn wait_for(&self, stage: u32) {
        let deadline = Instant::now() + LIMIT;
        while self.stage() < stage {
            assert!(Instant::now() < deadline, "no stage {stage}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// For the user: says that it is ready, and waits until the thing is done.
    fn ready_until_done(&self) {
        self.set(READY);
        self.wait_for(DONE);
    }

    /// For the test: waits for what the user has seen.
    fn seen(&self) -> &'static str {
        self.wait_for(CHECKED);
        SEEN[self.0.load(4) as usize]
    }
}

/// Where the device has a mark, and which.
const MARKS: [(usize, &[u8]); 3] = [
    (0, b"at the start"),
    (SIZE / 2 + PAGE, b"in the middle"),
    (SIZE - 100, b"at the end"),
];

/// What becomes of accesses to a mapping from `start` on: all of them work, or none does.
fn still(map: &Map, start: usize) -> u32 {
    let ends = MARKS.iter().filter(|(at, _)| *at >= start).map(|(at, _)| {
        let mut child = Child::start(|| {
            map.read(at - start..at - start + 1);
        });
        child.wait(LIMIT)
    });
    let ends: Vec<_> = ends.collect();
    if ends.iter().all(|end| *end == End::Signal(libc::SIGBUS)) {
        return BUS;
    }
    goes_on(map, start)
}

/// Asserts that a mapping from `start` on has the marks, and takes stores.
fn goes_on(map: &Map, start: usize) -> u32 {
    for (at, mark) in MARKS.iter().filter(|(at, _)| *at >= start) {
        let at = at - start;
        assert_eq!(map.read(at..at + mark.len()), *mark);
        map.write(at + 50, b"stored");
        assert_eq!(map.read(at + 50..at + 56), b"stored");
    }
    GOES_ON
}

/// All of a device's window.
fn mapping(fd: &OwnedFd) -> Map {
    Map::shared(fd, SIZE).expect("a mapping")
}

/// All of a device's window as a dma-buf.
fn export(fd: &OwnedFd) -> OwnedFd {
    let range = Buffer::new(size_of::<abi::Range>());
    range.write(8, &SIZE.to_ne_bytes());
    ioctl_fd(fd, abi::EXPORT, range.span(0, size_of::<abi::Range>())).expect("EXPORT")
}

/// Uses the device until it is told that the thing is done; gives what it then sees.
fn see(way: Way, fd: OwnedFd, inherited: Option<Map>, board: &Board) -> u32 {
    match way {
        Way::Open => {
            board.ready_until_done();
            let buffer = Buffer::new(100);
            match pread(&fd, buffer.span(0, 12), 0) {
                Ok(12) => {
                    assert_eq!(buffer.read(0..12), MARKS[0].1);
                    GOES_ON
                }
                Err(Errno::NODEV) => NODEV,
                other => panic!("{other:?}"),
            }
        }
        Way::Mapped | Way::Forked => {
            let map = inherited.unwrap_or_else(|| mapping(&fd));
            drop(fd);
            goes_on(&map, 0);
            board.ready_until_done();
            still(&map, 0)
        }
        Way::HalfUnmapped => {
            let (first, second) = mapping(&fd).split(SIZE / 2);
            drop(fd);
            first.write(0, MARKS[0].1);
            drop(first);
            board.ready_until_done();
            still(&second, SIZE / 2)
        }
        Way::Moved => {
            let mut map = mapping(&fd);
            drop(fd);
            goes_on(&map, 0);
            map.move_onto(Map::anonymous(SIZE)).expect("a move");
            board.ready_until_done();
            map.move_onto(Map::anonymous(SIZE)).expect("a move");
            still(&map, 0)
        }
        Way::Exported => {
            let buffer = export(&fd);
            let map = mapping(&buffer);
            drop(fd);
            goes_on(&map, 0);
            board.ready_until_done();
            match Map::shared(&buffer, SIZE) {
                Ok(new) => goes_on(&new, 0).min(still(&map, 0)),
                Err(error) => {
                    assert_eq!(error, Errno::NODEV);
                    still(&map, 0)
                }
            }
        }
        Way::Read => {
            let buffer = Buffer::new(SIZE / 4);
            loop {
                let last = board.stage() == DONE;
                match pread(&fd, buffer.span(0, SIZE / 4), 0) {
                    Ok(count) if count < SIZE / 4 => {
                        // It went in the middle.
                        assert_eq!(pread(&fd, buffer.span(0, 1), 0), Err(Errno::NODEV));
                    }
                    Ok(_) => {}
                    Err(Errno::NODEV) => {
                        board.wait_for(DONE);
                        break NODEV;
                    }
                    Err(error) => panic!("read: {error}"),
                }
                if last {
                    break GOES_ON;
                }
                if board.stage() == 0 {
                    board.set(READY);
                }
            }
        }
        Way::Polled => {
            let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
            let limit = Timespec::try_from(LIMIT).expect("a time");
            board.set(READY);
            assert_eq!(poll(&mut fds, Some(&limit)), Ok(1), "nobody woke it");
            board.wait_for(DONE);
            match fds[0].revents() {
                PollFlags::IN => GOES_ON,
                events => {
                    assert_eq!(events, PollFlags::ERR | PollFlags::HUP);
                    WOKEN
                }
            }
        }
    }
}

/// Starts a process that uses a device so, and waits until it does.
fn start(way: Way, node: &str, board: &Board) -> Child {
    let open = || open_node(node, OFlags::RDWR).expect(node);
    // By another file, so that the user's has seen that.
    for (at, mark) in MARKS {
        put(open(), at as u64, mark);
    }
    let fd = open();
    let inherited = (way == Way::Forked).then(|| mapping(&fd));
    let user = Child::start(move || {
        let seen = see(way, fd, inherited, board);
        board.0.store(4, seen);
        board.set(CHECKED);
        board.wait_for(END);
    });
    board.wait_for(READY);
    if way == Way::Polled {
        wait_until_asleep(user.id());
    }
    user
}

/// What was seen, by row and column: all kinds of memory together.
#[derive(Default)]
struct Table {
    cells: BTreeMap<&'static str, BTreeSet<String>>,
    /// What was answered where the user was dead by then.
    of_the_dead: BTreeSet<&'static str>,
    /// What was answered where the user was being killed meanwhile, and how many of those were killed before the answer.
    of_the_dying: BTreeSet<&'static str>,
    killed_meanwhile: usize,
    checked: usize,
}

impl Table {
    /// Has `act` done to a device while it is used so, and the user killed so. `act` gives its answer.
    fn cell(
        &mut self,
        (way, column): (Way, &'static str),
        death: Death,
        node: &str,
        act: impl FnOnce() -> &'static str,
    ) {
        let board = Board::new();
        let mut user = start(way, node, &board);
        let killed = End::Signal(libc::SIGKILL);
        self.checked += 1;
        match death {
            Death::Before => {
                user.signal(libc::SIGKILL);
                assert_eq!(user.wait(LIMIT), killed);
                self.of_the_dead.insert(act());
                return;
            }
            Death::While => {
                let (answer, meanwhile) = while_killing(&user, act);
                assert_eq!(user.wait(LIMIT), killed);
                self.of_the_dying.insert(answer);
                self.killed_meanwhile += usize::from(meanwhile);
                return;
            }
            Death::After | Death::Never => {}
        }
        let answer = act();
        board.set(DONE);
        if let (Way::Polled, Ok(device)) = (way, Device::open(node)) {
            // Where there is nothing left, it is awake already.
            let told = device.notify().map_err(|error| error.errno());
            assert!(matches!(told, Ok(()) | Err(Some(Errno::NODEV))), "{told:?}");
        }
        let seen = board.seen();
        self.cells
            .entry(column)
            .or_default()
            .insert(format!("{answer}; {seen}"));
        if death == Death::After {
            user.signal(libc::SIGKILL);
        }
        board.set(END);
        let end = user.wait(LIMIT);
        let expected = if death == Death::After {
            End::Signal(libc::SIGKILL)
        } else {
            End::Status(0)
        };
        assert_eq!(end, expected, "{way:?}");
    }

    /// Asserts what all users together have seen, by column, and `unused`, what is answered where there is none; tells it.
    fn tell(&self, row: &str, unused: &'static str, expected: impl Fn(Way) -> &'static str) {
        assert_eq!(Vec::from_iter(&self.of_the_dead), [&unused], "{row}");
        let used: Vec<_> = Way::ALL.map(|(way, _)| expected(way)).into();
        for answer in &self.of_the_dying {
            let is_of_the_living = used
                .iter()
                .any(|it| it.split_once("; ").is_some_and(|(it, _)| it == *answer));
            assert!(*answer == unused || is_of_the_living, "{row}: {answer}");
        }
        assert!(
            self.killed_meanwhile > 0,
            "{row}: nobody was killed meanwhile"
        );
        for (way, column) in Way::ALL {
            let seen = &self.cells[column];
            assert_eq!(Vec::from_iter(seen), [expected(way)], "{row}, {column}");
        }
        for (way, column) in Way::ALL {
            fact("matrix", &format!("{row} × {column}"), expected(way));
        }
        fact("load", "cells of the matrix", self.checked);
    }
}

/// Has `act` done while a user is killed: its answer, and whether the user was sent the signal before that came.
fn while_killing(user: &Child, act: impl FnOnce() -> &'static str) -> (&'static str, bool) {
    let (begins, killed) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            begins.wait();
            user.signal(libc::SIGKILL);
            killed.store(true, Ordering::SeqCst);
        });
        begins.wait();
        let answer = act();
        (answer, killed.load(Ordering::SeqCst))
    })
}

/// What becomes of a use of a device that is destroyed.
fn after_destroy(way: Way) -> &'static str {
    match way {
        Way::Open | Way::Read => "done; ENODEV",
        Way::Polled => "done; woken by ERR and HUP",
        _ => "done; goes on",
    }
}

/// What becomes of a use of a window whose hardware goes.
fn after_loss(way: Way) -> &'static str {
    match way {
        Way::Open | Way::Read => "done; ENODEV",
        Way::Polled => "done; woken by ERR and HUP",
        _ => "done; SIGBUS",
    }
}

/// Waits until nobody uses the driver.
fn nobody_uses_it() {
    let deadline = Instant::now() + LIMIT;
    while users() != Some(0) {
        assert!(Instant::now() < deadline, "{:?} users", users());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(iomem::called("chrmem"), []);
}

/// Asserts that `body` loses not even one window's memory.
fn loses_no_window(body: impl FnOnce()) {
    // Sanitizers take memory themselves, for each way to get somewhere that is new; and they know who has which page.
    if boot::has_sanitizers() {
        return held::leaving_nothing(body);
    }
    let before = memory::free();
    body();
    let deadline = Instant::now() + Duration::from_secs(10);
    while memory::free() + (SIZE as u64 * 3 / 4) < before {
        let after = memory::free();
        assert!(Instant::now() < deadline, "{before} free, then {after}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn unloaded_while_it_is_used() {
    let parameters = format!("size={SIZE}");
    let mut table = Table::default();
    driver::without(|| {
        driver::load(&parameters).expect("load");
        for way in Way::ALL {
            for death in Death::ALL {
                table.cell(way, death, driver::NODE, || match unload() {
                    Err(Errno::AGAIN) => "EWOULDBLOCK",
                    Ok(()) => "unloaded",
                    Err(error) => panic!("unload: {error}"),
                });
                // Nobody uses it any more, so that it goes, if it has not gone.
                if users().is_some() {
                    assert_ne!(death, Death::Before, "{way:?}");
                    driver::unload_soon().expect("unload");
                }
                driver::load(&parameters).expect("load");
            }
        }
        driver::unload_soon().expect("unload");
    });
    table.tell("rmmod", "unloaded", |_| "EWOULDBLOCK; goes on");
}

/// Does something to devices of one window of each of these kinds, used in every way.
fn each_kind(kinds: &[Kind], mut act: impl FnMut(&Folder) -> &'static str) -> Table {
    let mut table = Table::default();
    loses_no_window(|| {
        for settings in kinds {
            for way in Way::ALL {
                if way.0 == Way::Exported && settings().contains("physical") {
                    assert_not_exported(&settings());
                    continue;
                }
                for death in Death::ALL {
                    let folder = Folder::live("test", &[("one", &settings())]);
                    table.cell(way, death, &folder.node(), || act(&folder));
                    drop(folder);
                    nobody_uses_it();
                    plug_in();
                }
            }
        }
    });
    table
}

/// Asserts that a window is nothing to make a buffer of.
fn assert_not_exported(settings: &str) {
    let folder = Folder::live("test", &[("one", settings)]);
    let range = Buffer::new(size_of::<abi::Range>());
    range.write(8, &SIZE.to_ne_bytes());
    let span = range.span(0, size_of::<abi::Range>());
    let fd = folder.open();
    assert_eq!(ioctl(&fd, abi::EXPORT, span), Err(Errno::OPNOTSUPP));
}

/// Has the kernel find the hardware again, if it was unplugged.
fn plug_in() {
    if !Pci::is_there(VENDOR, DEVICE) {
        Pci::rescan();
    }
}

/// The device whose memory nobody minds being overwritten.
fn hardware() -> Pci {
    Pci::find(VENDOR, DEVICE)
}

/// The settings of a window, which may be others each time.
type Kind = fn() -> String;

/// Windows that belong to a PCI device: DMA memory for it, and memory of its own.
const OF_HARDWARE: [Kind; 2] = [
    || format!("memory=dma device={} size={SIZE}", hardware().address()),
    || {
        let start = hardware().bar(2).start;
        format!("memory=physical address={start:#x} size={SIZE}")
    },
];

/// Windows of every kind.
const EVERY_KIND: [Kind; 5] = [
    || format!("size={SIZE}"),
    || format!("size={SIZE} cache=noncached"),
    || format!("size={SIZE} memory=contiguous"),
    || format!("size={SIZE} memory=dma"),
    OF_HARDWARE[1],
];

fn destroyed_while_it_is_used() {
    let table = each_kind(&EVERY_KIND, |folder| {
        folder.destroy();
        assert!(!folder.is_live());
        "done"
    });
    table.tell("destroy (live=0)", "done", after_destroy);
}

fn removed_while_it_is_used() {
    let table = each_kind(&EVERY_KIND, |folder| {
        folder.remove_window("one").expect("rmdir");
        assert_eq!(folder.remove(), Ok(()));
        assert!(!folder.is_seen());
        // Its users alone keep the driver, if there are any left.
        match unload() {
            Err(Errno::AGAIN) => "done, EWOULDBLOCK",
            Ok(()) => {
                driver::load("").expect("load");
                "done, unloaded"
            }
            Err(error) => panic!("unload: {error}"),
        }
    });
    table.tell(
        "destroy (rmdir), then rmmod",
        "done, unloaded",
        |way| match after_destroy(way) {
            "done; ENODEV" => "done, EWOULDBLOCK; ENODEV",
            "done; goes on" => "done, EWOULDBLOCK; goes on",
            _ => "done, EWOULDBLOCK; woken by ERR and HUP",
        },
    );
}

fn a_driver_unbound_while_its_memory_is_used() {
    let module = Module::load("uio_pci_generic", &[]);
    let device = hardware();
    device.offer_to("uio_pci_generic");
    let table = each_kind(&OF_HARDWARE, |_| {
        assert_eq!(device.driver().as_deref(), Some("uio_pci_generic"));
        device.unbind("uio_pci_generic");
        assert_eq!(device.driver(), None);
        device.bind("uio_pci_generic");
        "done"
    });
    device.unbind("uio_pci_generic");
    drop(module);
    table.tell("unbind", "done", after_loss);
}

fn unplugged_while_its_memory_is_used() {
    let table = each_kind(&OF_HARDWARE, |_| {
        hardware().unplug();
        "done"
    });
    // It is back, if elsewhere, and whole.
    let folder = Folder::live("test", &[("one", &OF_HARDWARE[1]())]);
    put(folder.open(), 0, &pattern(PAGE));
    assert_eq!(get(folder.open(), 0, PAGE), pattern(PAGE));
    table.tell("unplug", "done", after_loss);
}

/// What a bridge hands on and nobody has is the bridge's, which goes before the window does.
fn a_bridge_is_unplugged() {
    let bridge = || Pci::find(0x1b36, 0x000c);
    let settings = || {
        let start = bridge().handed_on().start;
        format!("size=64K memory=physical address={start:#x}")
    };
    let folder = Folder::live("test", &[("one", &settings())]);
    assert_eq!(iomem::called("chrmem").len(), 1);
    bridge().unplug();
    assert_eq!(iomem::called("chrmem"), []);
    folder.destroy();
    drop(folder);
    Pci::rescan();
    nobody_uses_it();
    // And where it stays.
    drop(Folder::live("test", &[("one", &settings())]));
    assert_eq!(iomem::called("chrmem"), []);
}

/// A window on memory of a device that was unplugged claims nothing that others have by now.
fn what_a_device_s_memory_was_others_may_have() {
    let log = Mark::now();
    let settings = OF_HARDWARE[1];
    let unplug = || {
        hardware().unplug();
        plug_in();
    };
    // Where it comes to lie then, it lies the next time.
    unplug();
    let old = Folder::live("test", &[("one", &settings())]);
    let range = iomem::called("chrmem");
    let map = Map::shared(old.open(), SIZE).expect("a mapping");
    let before = settings();
    unplug();
    assert_eq!(settings(), before);
    assert_eq!(iomem::called("chrmem"), []);
    let new = Folder::live("more", &[("one", &settings())]);
    assert_eq!(iomem::called("chrmem"), range);
    let mut child = Child::start(|| map.write(0, b"by the old way"));
    assert_eq!(child.wait(LIMIT), End::Signal(libc::SIGBUS));
    drop((old, map));
    assert_eq!(iomem::called("chrmem"), range);
    put(new.open(), 0, b"by the new one");
    assert_eq!(get(new.open(), 0, 14), b"by the new one");
    drop(new);
    nobody_uses_it();
    let complaints = log.all();
    let complaint = complaints.iter().find(|it| it.contains("nonexistent"));
    assert_eq!(complaint, None);
}
