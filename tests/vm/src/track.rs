// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tracked windows: who stores, wakes, and whoever asks is told where.

use crate::dmabuf::export;
use crate::driver::{fdinfo, get, in_bytes, pattern, put};
use crate::folder::Folder;
use crate::map::Disk;
use crate::node::REGISTER;
use crate::pagemap;
use crate::scale::scaled;
use crate::sys::{ioctl, ioctl32, pread, process_vm, Buffer, Child, End, Map, Span, PAGE, PAGE64};
use chrmem::{Changes, Device, Errno};
use chrmem_uapi::abi::{self, CHANGES};
use fastrand::Rng;
use libc::{
    MADV_DONTNEED, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MAP_PRIVATE, MAP_SHARED, MREMAP_MAYMOVE,
};
use libc::{PROT_NONE, PROT_READ, PROT_WRITE};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use std::ops::Range;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

crate::tests! {
    a_plain_store_wakes_another_process
    a_store_is_told_of_and_its_neighbours_are_not
    each_reader_has_its_own_since
    waiting_neither_misses_nor_spins
    what_the_driver_writes_is_told_of
    what_the_kernel_stores_is_told_of
    every_way_to_map_is_noticed
    copies_of_its_own_are_not
    a_look_goes_on_where_there_was_no_room
    a_look_is_of_a_range
    windows_that_are_not_tracked_pay_nothing
    a_window_tells_that_it_is_tracked
    what_cannot_be_tracked
    looks_that_are_refused
    pins_that_last_are_refused
    no_store_is_missed
}

const LIMIT: Duration = Duration::from_secs(20);

const READ_WRITE: i32 = PROT_READ | PROT_WRITE;

/// Pages of the device: more than are mapped at mmap, or by a fault.
const PAGES: usize = 40;
const SIZE: usize = PAGES * PAGE;

/// A device of one tracked window.
fn tracked() -> Folder {
    Folder::live("track", &[("a", &format!("size={SIZE} track=1"))])
}

/// The pages that have changed, and the generation that this is complete up to.
fn look(device: &Device, since: u64) -> (Vec<usize>, u64) {
    let changes = device.changes(since).expect("CHANGES");
    let pages = changes.ranges.iter().flat_map(|range| {
        let (start, end) = (range.start as usize, range.end as usize);
        assert!(
            start % PAGE == 0 && end % PAGE == 0 && start < end,
            "{range:?}"
        );
        start / PAGE..end / PAGE
    });
    (pages.collect(), changes.generation)
}

/// What has changed, by first byte and the byte after the last.
fn pairs(changes: &Changes) -> Vec<(u64, u64)> {
    let pair = |range: &Range<u64>| (range.start, range.end);
    changes.ranges.iter().map(pair).collect()
}

/// Looks for changes again and again.
struct Reader<'a>(&'a Device, u64);

impl<'a> Reader<'a> {
    /// One that knows of all there was before.
    fn new(device: &'a Device) -> Self {
        Self(device, look(device, 0).1)
    }

    /// The pages that have changed since the last look.
    fn next(&mut self) -> Vec<usize> {
        let (pages, generation) = look(self.0, self.1);
        assert!(generation >= self.1);
        self.1 = generation;
        pages
    }

    /// Stores into page `page` of a mapping, twice, and is told each time that page `at` of the device has changed.
    fn is_told(&mut self, map: &Map, page: usize, at: usize, what: &str) {
        for _ in 0..2 {
            map.store(page * PAGE, 1);
            assert_eq!(self.next(), [at], "{what}");
        }
    }
}

/// Whether there is something new within a time.
fn is_new_within(fd: impl AsFd, time: Duration) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::try_from(time).expect("a time"))).expect("poll") == 1
}

fn is_new(fd: impl AsFd) -> bool {
    is_new_within(fd, Duration::ZERO)
}

fn a_plain_store_wakes_another_process() {
    let folder = tracked();
    let map = Map::shared(folder.open(), SIZE).expect("a mapping");
    let device = folder.device();
    let mut reader = Reader::new(&device);
    for page in [0, 7, 7, PAGES - 1] {
        let ready = Map::common();
        let mut child = Child::start(|| {
            while ready.load(0) == 0 {
                std::thread::yield_now();
            }
            map.store(page * PAGE + 8, 1);
        });
        ready.store(0, 1);
        assert!(is_new_within(&device, LIMIT));
        assert_eq!(child.wait(LIMIT), End::Status(0));
        assert_eq!(reader.next(), [page]);
    }
}

fn a_store_is_told_of_and_its_neighbours_are_not() {
    for settings in ["track=1", "track=1 memory=contiguous", "track=1 fill=7"] {
        let folder = Folder::live("track", &[("a", &format!("size={SIZE} {settings}"))]);
        let device = folder.device();
        assert_eq!(look(&device, 0).0, [0; 0], "{settings}");
        let mut reader = Reader::new(&device);
        // Small ones are mapped at once, larger ones by faults.
        let maps = [
            Map::shared(&device, SIZE).expect("a mapping"),
            Map::shared(&device, PAGE).expect("a mapping"),
            Map::shared_at(&device, 3 * PAGE as u64, 3 * PAGE).expect("a mapping"),
        ];
        let mut store = |map: usize, page: usize, expected: usize| {
            maps[map].store(page * PAGE + 4 * page, page as u32 + 1);
            assert_eq!(reader.next(), [expected], "{settings} {map} {page}");
            assert_eq!(reader.next(), [0; 0], "{settings} {map} {page}");
        };
        // Of pages that are not mapped, that are, and that were written before.
        for page in [20, 21, 20, 0, PAGES - 1] {
            store(0, page, page);
        }
        store(1, 0, 0);
        store(2, 1, 4);
        for page in 0..PAGES {
            store(0, page, page);
        }
        // To read is no change.
        maps[0].read(0..SIZE);
        get(&device, 0, SIZE);
        assert_eq!(reader.next(), [0; 0], "{settings}");
        assert_eq!(maps[1].load(0), 1);
        let all = look(&device, 0).0;
        assert_eq!(all, (0..PAGES).collect::<Vec<_>>(), "{settings}");
    }
}

fn each_reader_has_its_own_since() {
    let folder = tracked();
    let devices = [folder.device(), folder.device()];
    let map = Map::shared(&devices[0], SIZE).expect("a mapping");
    let [mut often, mut seldom] = [Reader::new(&devices[0]), Reader::new(&devices[1])];
    let asked = devices[1].info().expect("INFO").generation;
    for page in [3, 9, 3, 5] {
        map.store(page * PAGE, 1);
        assert_eq!(often.next(), [page]);
    }
    // What INFO and SEEN told is a time as good as any.
    let later = devices[1].seen().expect("SEEN");
    map.store(6 * PAGE, 1);
    assert_eq!(seldom.next(), [3, 5, 6, 9]);
    assert_eq!(look(&devices[1], asked).0, [3, 5, 6, 9]);
    // The page of the store before was looked at after that store, which is later than what SEEN told.
    assert_eq!(look(&devices[1], later).0, [5, 6]);
    // A store into a page that can be stored into already, after a generation that is asked about, and before somebody else's look.
    map.store(7 * PAGE, 1);
    let between = devices[1].seen().expect("SEEN");
    map.store(7 * PAGE, 2);
    assert_eq!(often.next(), [6, 7]);
    assert!(look(&devices[1], between).0.contains(&7));
    // Somebody else's look makes the next store be noticed, for all.
    map.store(6 * PAGE, 2);
    assert_eq!(often.next(), [6]);
    assert_eq!(seldom.next(), [6, 7]);
}

fn waiting_neither_misses_nor_spins() {
    let folder = tracked();
    let (device, other) = (folder.device(), folder.device());
    let map = Map::shared(&device, SIZE).expect("a mapping");
    let mut reader = Reader::new(&device);
    let mut elsewhere = Reader::new(&other);
    assert!(!is_new(&device));
    for page in 0..PAGES {
        map.store(page * PAGE, 1);
        assert!(is_new(&device));
        assert_eq!(reader.next(), [page]);
        // A look is no change: neither one's own nor somebody else's.
        assert!(!is_new(&device));
        assert_eq!(elsewhere.next(), [page]);
        assert!(!is_new(&device));
        // A page that was stored into is not noticed again before the next look, and is told of by that.
    }
    let before = fdinfo(&device).generation;
    map.store(0, 1);
    map.store(0, 2);
    map.store(PAGE, 3);
    assert_eq!(fdinfo(&device).generation, fdinfo(&other).generation);
    assert!(fdinfo(&device).generation > before);
    assert_eq!(reader.next(), [0, 1]);
    // NOTIFY wakes as ever, though nothing has changed.
    other.notify().expect("NOTIFY");
    assert!(is_new(&device));
    assert_eq!(reader.next(), [0; 0]);
    assert!(!is_new(&device));
    // The library waits so.
    let mut watch = device.watch_changes(reader.1);
    let none = watch.next_within(Some(Duration::from_millis(1)));
    assert_eq!(none.expect("CHANGES"), None);
    map.store(5 * PAGE, 4);
    let changes = watch.next().expect("it never ends").expect("CHANGES");
    let page = PAGE as u64;
    assert_eq!(pairs(&changes), [(5 * page, 6 * page)]);
}

fn what_the_driver_writes_is_told_of() {
    let folder = tracked();
    let device = folder.device();
    let mut reader = Reader::new(&device);
    let page = PAGE as u64;
    put(&device, 3 * page - 1, b"ab");
    assert!(is_new(&device));
    assert_eq!(reader.next(), [2, 3]);
    put(&device, 7 * page, &pattern(PAGE));
    assert_eq!(reader.next(), [7]);
    device.clear_range(page - 1..page + 1).expect("CLEAR");
    assert!(is_new(&device));
    assert_eq!(reader.next(), [0, 1]);
    let all: Vec<_> = (0..PAGES).collect();
    device.clear().expect("MEM_CLEAR");
    assert_eq!(reader.next(), all);
    device.reset().expect("RESET");
    assert_eq!(reader.next(), all);
    assert_eq!(reader.next(), [0; 0]);
    // What was written counts also where a page of it can be stored into.
    let map = Map::shared(&device, SIZE).expect("a mapping");
    map.store(9 * PAGE, 1);
    put(&device, 9 * page, b"written");
    assert_eq!(reader.next(), [9]);
    map.store(9 * PAGE, 2);
    assert_eq!(reader.next(), [9]);
    // What cannot be read from changes nothing.
    let answer = crate::sys::pwrite(&device, Span::null(100), 0);
    assert_eq!(answer, Err(Errno::FAULT));
    assert_eq!(reader.next(), [0; 0]);
}

fn what_the_kernel_stores_is_told_of() {
    let folder = tracked();
    let device = folder.device();
    let mut reader = Reader::new(&device);
    let map = Map::shared(&device, SIZE).expect("a mapping");
    let disk = Disk::new();
    let direct = disk.open(OFlags::DIRECT);
    for _ in 0..2 {
        // A system call that copies.
        let zero = std::fs::File::open("/dev/zero").expect("/dev/zero");
        assert_eq!(crate::sys::read(&zero, map.span(4 * PAGE, 10)), Ok(10));
        assert_eq!(reader.next(), [4]);
        // One that has the disk put bytes there.
        assert_eq!(
            pread(&direct, map.span(6 * PAGE, 2 * PAGE), 0),
            Ok(2 * PAGE)
        );
        assert_eq!(reader.next(), [6, 7]);
        // Another process, and a debugger.
        let here = Map::anonymous(PAGE);
        let mut child = Child::start(|| loop {
            std::thread::sleep(LIMIT);
        });
        let (from, to) = (here.span(0, 10), map.span(11 * PAGE, 10));
        assert_eq!(process_vm(child.id(), true, from, to), Ok(10));
        assert_eq!(reader.next(), [11]);
        let memory = format!("/proc/{}/mem", child.id());
        let memory = std::fs::OpenOptions::new().write(true).open(memory);
        put(
            memory.expect("/proc"),
            (map.address() + 12 * PAGE) as u64,
            b"x",
        );
        assert_eq!(reader.next(), [12]);
        child.signal(libc::SIGKILL);
        assert_eq!(child.wait(LIMIT), End::Signal(libc::SIGKILL));
        // One that only reads.
        assert_eq!(
            crate::sys::pwrite(&direct, map.span(20 * PAGE, PAGE), 0),
            Ok(PAGE)
        );
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null");
        let null = null.expect("/dev/null");
        assert_eq!(crate::sys::write(&null, map.span(0, SIZE)), Ok(SIZE));
        assert_eq!(reader.next(), [0; 0]);
    }
}

fn every_way_to_map_is_noticed() {
    let folder = tracked();
    let device = folder.device();
    let mut reader = Reader::new(&device);
    let mut map = Map::shared(&device, SIZE).expect("a mapping");
    reader.is_told(&map, 1, 1, "a mapping");
    // Two of them, one of which could be stored into already.
    let other = Map::shared(folder.open(), SIZE).expect("a mapping");
    map.store(2 * PAGE, 1);
    reader.is_told(&other, 2, 2, "two mappings");
    reader.is_told(&map, 2, 2, "two mappings");
    drop(other);
    let buffer = export(&device, 8 * PAGE as u64, 4 * PAGE as u64).expect("a dma-buf");
    let part = Map::shared(&buffer, 4 * PAGE).expect("a mapping");
    reader.is_told(&part, 1, 9, "a dma-buf");
    reader.is_told(&map, 9, 9, "what a dma-buf is of");
    drop((part, buffer));
    map.store(3 * PAGE, 1);
    reader.is_told(&map, 3, 3, "before a child");
    let mut child = Child::start(|| {
        map.store(3 * PAGE, 2);
        map.store(4 * PAGE, 2);
    });
    assert_eq!(child.wait(LIMIT), End::Status(0));
    assert_eq!(reader.next(), [3, 4], "a child");
    for protection in [PROT_READ, PROT_NONE] {
        map.store(5 * PAGE, 1);
        map.protect(protection).expect("mprotect");
        map.protect(READ_WRITE).expect("mprotect");
        reader.is_told(&map, 5, 5, "mprotect");
        map.protect(protection).expect("mprotect");
        map.protect(READ_WRITE).expect("mprotect");
        reader.is_told(&map, 5, 5, "mprotect after a look");
    }
    map.store(6 * PAGE, 1);
    map = map.move_out_of_the_way();
    reader.is_told(&map, 6, 6, "mremap");
    map.advise(MADV_DONTNEED).expect("DONTNEED");
    reader.is_told(&map, 6, 6, "DONTNEED");
    map.advise_page(7, MADV_POPULATE_READ)
        .expect("POPULATE_READ");
    reader.is_told(&map, 7, 7, "POPULATE_READ");
    map.lock(0).expect("mlock");
    reader.is_told(&map, 8, 8, "mlock");
    pagemap::clear_soft_dirty();
    reader.is_told(&map, 8, 8, "soft-dirty bits");
    // Says that it is about to store.
    map.advise_page(10, MADV_POPULATE_WRITE)
        .expect("POPULATE_WRITE");
    assert_eq!(reader.next(), [10]);
    map.store(10 * PAGE, 1);
    assert_eq!(reader.next(), [10]);
    // What was stored last is told of after the mapping is gone.
    map.store(11 * PAGE, 1);
    drop(map);
    assert_eq!(reader.next(), [11]);
    assert_eq!(reader.next(), [0; 0]);
}

impl Map {
    /// The same pages at another address.
    fn move_out_of_the_way(mut self) -> Self {
        let len = self.len();
        let place = Self::anonymous(len);
        self.move_onto(place).expect("mremap");
        self.resize(len, MREMAP_MAYMOVE).expect("mremap");
        self
    }
}

fn copies_of_its_own_are_not() {
    let folder = tracked();
    let device = folder.device();
    put(&device, 0, &pattern(SIZE));
    let mut reader = Reader::new(&device);
    let map = Map::new(Some(device.as_fd()), 0, SIZE, READ_WRITE, MAP_PRIVATE);
    let map = map.expect("a mapping");
    for page in 0..PAGES {
        map.read(page * PAGE..page * PAGE + 1);
        map.store(page * PAGE, 1);
    }
    assert!(!is_new(&device));
    assert_eq!(reader.next(), [0; 0]);
    assert_eq!(get(&device, 0, SIZE), pattern(SIZE));
    // Nor is what a process cannot store.
    let reading = Map::new(
        Some(folder.open_as(OFlags::RDONLY).as_fd()),
        0,
        SIZE,
        PROT_READ,
        MAP_SHARED,
    );
    reading.expect("a mapping").read(0..SIZE);
    assert_eq!(reader.next(), [0; 0]);
    assert_eq!(map.load(0), 1);
}

/// What CHANGES is asked, with room for so many.
struct Asked {
    look: abi::Changes,
    found: Buffer,
}

impl Asked {
    fn new(since: u64, offset: usize, size: usize, room: u32) -> Self {
        let found = Buffer::new(room as usize * size_of::<abi::Change>());
        let look = abi::Changes {
            since,
            offset: offset as u64,
            size: size as u64,
            changes: found.address() as u64,
            room,
            count: 77,
            ..Default::default()
        };
        Self { look, found }
    }

    /// The argument as bytes.
    fn argument(&self) -> Buffer {
        let abi::Changes {
            since,
            generation,
            offset,
            size,
            changes,
            room,
            count,
            flags,
            reserved,
        } = self.look;
        let words = [since, generation, offset, size, changes];
        let halves = [room, count, flags, reserved[0], reserved[1], reserved[2]];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend(halves.iter().flat_map(|half| half.to_ne_bytes()));
        let buffer = Buffer::low(bytes.len());
        buffer.write(0, &bytes);
        buffer
    }

    /// Asks; the ranges that were found, in bytes.
    fn ask(&mut self, fd: impl AsFd) -> Result<Vec<(usize, usize)>, Errno> {
        self.ask_by(|argument| ioctl(&fd, CHANGES, argument))
    }

    fn ask_by(
        &mut self,
        ask: impl FnOnce(Span<'_>) -> Result<usize, Errno>,
    ) -> Result<Vec<(usize, usize)>, Errno> {
        let argument = self.argument();
        ask(argument.span(0, size_of::<abi::Changes>()))?;
        let bytes = argument.read(0..size_of::<abi::Changes>());
        let word =
            |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let half =
            |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let before = self.look;
        self.look = abi::Changes {
            since: word(0),
            generation: word(8),
            offset: word(16),
            size: word(24),
            changes: word(32),
            room: half(40),
            count: half(44),
            flags: half(48),
            reserved: [half(52), half(56), half(60)],
        };
        // What is not for the driver to change.
        assert_eq!(
            (self.look.since, self.look.changes, self.look.room),
            (before.since, before.changes, before.room)
        );
        assert_eq!((self.look.flags, self.look.reserved), (0, [0; 3]));
        assert_eq!(
            self.look.offset + self.look.size,
            before.offset + before.size
        );
        let count = self.look.count as usize;
        assert!(count <= self.look.room as usize);
        let found = self.found.read(0..count * 16);
        let number =
            |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes")) as usize;
        let of_bytes = |bytes: &[u8]| (number(&bytes[..8]), number(&bytes[8..]));
        Ok(found.chunks(16).map(of_bytes).collect())
    }
}

fn a_look_goes_on_where_there_was_no_room() {
    let folder = tracked();
    let fd = folder.open();
    let map = Map::shared(&fd, SIZE).expect("a mapping");
    let runs = [(0, 1), (3, 2), (8, 1), (11, 4), (PAGES - 1, 1)];
    let expected: Vec<_> = runs
        .iter()
        .map(|(page, pages)| (page * PAGE, pages * PAGE))
        .collect();
    for room in 1..=6 {
        let since = folder.device().changes(0).expect("CHANGES").generation;
        for page in runs.iter().flat_map(|(page, pages)| *page..page + pages) {
            map.store(page * PAGE, room);
        }
        let mut asked = Asked::new(since, 0, SIZE, room);
        let (mut found, mut calls) = (Vec::new(), 0);
        while asked.look.size != 0 {
            let before = asked.look.generation;
            found.extend(asked.ask(&fd).expect("CHANGES"));
            assert!(before == 0 || asked.look.generation == before);
            calls += 1;
            if asked.look.size != 0 {
                // A change meanwhile, where it has been looked, is left to the next look, and wakes.
                map.store(0, 7);
            }
        }
        assert_eq!(found, expected, "room for {room}");
        // The last call may have only seen that there is no more.
        let least = expected.len().div_ceil(room as usize);
        assert!(
            calls == least || calls == least + 1,
            "{calls} calls with room for {room}"
        );
        assert_eq!(asked.look.offset as usize, SIZE);
        assert_eq!(is_new(&fd), calls > 1);
        let next = Asked::new(asked.look.generation, 0, SIZE, 6).ask(&fd);
        let expected = if calls > 1 { vec![(0, PAGE)] } else { vec![] };
        assert_eq!(next, Ok(expected), "room for {room}");
    }
    // A look in parts that begins when there has been no generation yet.
    drop((map, fd, folder));
    let folder = tracked();
    let fd = folder.open();
    let map = Map::shared(&fd, SIZE).expect("a mapping");
    let mut asked = Asked::new(0, 0, SIZE, 1);
    assert_eq!(asked.ask(&fd), Ok(vec![]));
    assert_ne!(asked.look.generation, 0);
    map.store(0, 1);
    let mut asked = Asked::new(asked.look.generation, 0, SIZE, 1);
    assert_eq!(asked.ask(&fd), Ok(vec![(0, PAGE)]));
}

fn a_look_is_of_a_range() {
    let folder = Folder::live(
        "track",
        &[
            ("a", "size=4pages track=1"),
            ("b", "size=4pages"),
            ("c", "size=4pages track=1 memory=contiguous"),
            ("d", "size=2pages track=1"),
            ("e", "offset=256pages size=4pages track=1"),
        ],
    );
    let device = folder.device();
    let windows = device.windows().expect("WINDOW");
    let mut maps = Vec::new();
    for window in &windows {
        maps.push(device.map(window.range()).expect("a mapping"));
        assert_eq!(window.tracked, window.name != "b");
    }
    let store_everywhere = || {
        for (map, window) in maps.iter().zip(&windows) {
            for page in 0..window.size as usize / PAGE {
                map.write(page * PAGE, &1_u32).expect("a store");
            }
        }
    };
    store_everywhere();
    // Windows that are not tracked are left out, and no range is of two windows.
    let changes = device.changes(0).expect("CHANGES");
    let at = |page: u64| page * PAGE64;
    let four = [
        (0, at(4)),
        (at(8), at(12)),
        (at(12), at(14)),
        (at(256), at(260)),
    ];
    assert_eq!(pairs(&changes), four);
    // What is asked about need not be whole pages.
    for (range, expected) in [
        (at(1)..at(2), vec![(at(1), at(2))]),
        (100..101, vec![(100, 101)]),
        (at(1) - 1..at(1) + 1, vec![(at(1) - 1, at(1) + 1)]),
        (
            at(4) - 1..at(8) + 1,
            vec![(at(4) - 1, at(4)), (at(8), at(8) + 1)],
        ),
        (
            at(12) - 1..at(12) + 1,
            vec![(at(12) - 1, at(12)), (at(12), at(12) + 1)],
        ),
        (at(15)..at(256) + 1, vec![(at(256), at(256) + 1)]),
        (at(260) - 1..at(260), vec![(at(260) - 1, at(260))]),
    ] {
        let changes = device.changes_in(range.clone(), 0).expect("CHANGES");
        assert_eq!(pairs(&changes), expected, "{range:?}");
    }
    // What is not in the range is left as it was, for the next look.
    let before = device.changes(0).expect("CHANGES").generation;
    store_everywhere();
    let some = device.changes_in(at(1)..at(2), before).expect("CHANGES");
    assert_eq!(pairs(&some), [(at(1), at(2))]);
    let all = device.changes(before).expect("CHANGES");
    assert_eq!(pairs(&all), four);
    // Where nothing is tracked, there is nothing to tell.
    for range in [at(4)..at(8), at(5)..at(5) + 1024, at(14)..at(256)] {
        let answer = device.changes_in(range.clone(), 0);
        assert_eq!(
            answer.unwrap_err().errno(),
            Some(Errno::OPNOTSUPP),
            "{range:?}"
        );
    }
}

fn windows_that_are_not_tracked_pay_nothing() {
    let folder = Folder::live(
        "track",
        &[("a", "size=16pages"), ("b", "size=16pages track=1")],
    );
    let device = folder.device();
    let [plain, tracked] =
        [0, 16 * PAGE64].map(|at| Map::shared_at(&device, at, 16 * PAGE).expect("a mapping"));
    let mut reader = Reader::new(&device);
    let before = fdinfo(&device).generation;
    for page in 0..16 {
        plain.store(page * PAGE, 1);
    }
    assert_eq!(fdinfo(&device).generation, before);
    assert!(!is_new(&device));
    assert_eq!(reader.next(), [0; 0]);
    tracked.store(0, 1);
    assert!(fdinfo(&device).generation > before);
    assert_eq!(reader.next(), [16]);
    put(&device, 0, b"x");
    assert_eq!(reader.next(), [0; 0]);
}

fn a_window_tells_that_it_is_tracked() {
    let folder = Folder::new("track");
    folder.window("a", "size=1page");
    folder.window("b", "size=1page track=1");
    assert_eq!(
        (folder.get("a", "track"), folder.get("b", "track")),
        ("0".into(), "1".into())
    );
    for wrong in ["2", "-1", "yes", "on"] {
        assert_eq!(
            folder.set("a", "track", wrong),
            Err(Errno::INVAL),
            "{wrong}"
        );
    }
    folder.build();
    assert_eq!(folder.set("a", "track", "1"), Err(Errno::BUSY));
    let shown = folder.shown().windows;
    assert_eq!(
        shown,
        [
            "0 a 0 1page pages cached rw",
            "1 b 1page 1page pages cached rw track"
        ]
        .map(in_bytes)
    );
    let told: Vec<_> = folder
        .device()
        .windows()
        .expect("WINDOW")
        .iter()
        .map(|it| it.tracked)
        .collect();
    assert_eq!(told, [false, true]);
}

fn what_cannot_be_tracked() {
    for settings in [
        "memory=dma",
        "cache=noncached",
        "cache=writecombine",
        "memory=contiguous cache=noncached",
        "memory=physical address=0xfed00000",
    ] {
        let folder = Folder::new("track");
        folder.window_exactly("a", &format!("size=1page track=1 {settings}"));
        folder.cannot_be_built(Errno::INVAL, &["window a", "track"]);
    }
}

/// Makes of a good look one that is wrong.
type Spoil<'a> = &'a dyn Fn(&mut abi::Changes);

fn looks_that_are_refused() {
    let folder = tracked();
    let fd = folder.open();
    put(&fd, 0, b"x");
    let now = folder.device().changes(0).expect("CHANGES").generation;
    let good = || Asked::new(0, 0, SIZE, 4);
    assert_eq!(good().ask(&fd), Ok(vec![(0, PAGE)]));
    let size = SIZE as u64;
    let wrong: [(&str, Spoil<'_>); 14] = [
        ("flags", &|look| look.flags = 1),
        ("flags", &|look| look.flags = 1 << 31),
        ("reserved", &|look| look.reserved[0] = 1),
        ("reserved", &|look| look.reserved[2] = 1 << 31),
        ("no room", &|look| look.room = 0),
        ("empty", &|look| look.size = 0),
        ("past the end", &|look| look.size = size + 1),
        ("past the end", &|look| (look.offset, look.size) = (size, 1)),
        ("past the end", &|look| (look.offset, look.size) = (1, size)),
        ("past any end", &|look| look.size = u64::MAX),
        ("past any end", &|look| {
            (look.offset, look.size) = (u64::MAX, 1)
        }),
        ("not yet", &|look| look.since = now + 1),
        ("not yet", &|look| look.since = u64::MAX),
        ("not yet", &|look| look.generation = now + 1),
    ];
    for (what, spoil) in wrong {
        let mut asked = good();
        spoil(&mut asked.look);
        assert_eq!(
            asked.ask(&fd),
            Err(Errno::INVAL),
            "{what}: {:?}",
            asked.look
        );
    }
    let plain = Folder::live("plain", &[("a", "size=1page")]);
    assert_eq!(
        Asked::new(0, 0, PAGE, 4).ask(plain.open()),
        Err(Errno::OPNOTSUPP)
    );
    assert_eq!(good().ask(folder.open_as(OFlags::WRONLY)), Err(Errno::BADF));
    assert_eq!(
        good().ask(folder.open_as(OFlags::RDONLY)),
        Ok(vec![(0, PAGE)])
    );
    // Pointers to nothing. What was found is found again.
    let map = Map::shared(&fd, SIZE).expect("a mapping");
    map.store(2 * PAGE, 1);
    for span in [Span::null(64)].into_iter().chain(Span::nowhere(64)) {
        assert_eq!(ioctl(&fd, CHANGES, span), Err(Errno::FAULT));
        let mut asked = good();
        asked.look.changes = span.place().0 as u64;
        assert_eq!(asked.ask(&fd), Err(Errno::FAULT));
    }
    assert!(is_new(&fd));
    assert_eq!(good().ask(&fd), Ok(vec![(0, PAGE), (2 * PAGE, PAGE)]));
    // The array may lie in the device itself, and so may the look: it is then stored into.
    let mut asked = good();
    asked.look.changes = (map.address() + 5 * PAGE) as u64;
    assert!(asked.ask(&fd).is_ok());
    assert_eq!(
        map.read(5 * PAGE + 24..5 * PAGE + 32),
        (PAGE as u64).to_ne_bytes()
    );
    let inside = good();
    map.write(6 * PAGE, &inside.argument().read(0..64));
    assert_eq!(ioctl(&fd, CHANGES, map.span(6 * PAGE, 64)), Ok(0));
    let found = good().ask(&fd).expect("CHANGES");
    assert_eq!(found, [(0, PAGE), (2 * PAGE, PAGE), (5 * PAGE, 2 * PAGE)]);
    // A caller of 32 bits asks in the same way, where it is this program.
    if cfg!(target_arch = "x86_64") {
        let mut asked = Asked::new(0, 0, SIZE, 4);
        asked.found = Buffer::low(64);
        asked.look.changes = asked.found.address() as u64;
        assert_eq!(
            asked.ask_by(|argument| ioctl32(&fd, CHANGES, argument)),
            Ok(found)
        );
    }
    // One that was destroyed.
    folder.destroy();
    assert_eq!(good().ask(&fd), Err(Errno::NODEV));
    map.store(0, 1);
}

/// A pin would let a device store at any time after.
fn pins_that_last_are_refused() {
    let register = |node: &str| {
        let output = Command::new("python3")
            .args(["-c", REGISTER, node])
            .output();
        let output = output.expect("python3 runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(register(&tracked().node()), "EFAULT");
    assert_eq!(
        register(&Folder::live("plain", &[("a", "size=1page")]).node()),
        "registered"
    );
}

/// Pages and writers of [`no_store_is_missed`], each of which has a word of its own in each page.
const SOME: usize = 48;
const WRITERS: usize = 3;
const READERS: usize = 2;

/// Memory that the children of this process share.
fn shared(len: usize) -> Map {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    Map::new(None, 0, len, READ_WRITE, flags).expect("memory")
}

/// Where a writer's word for a page is: in the page, and in the plain list.
fn word(writer: usize, page: usize) -> (usize, usize) {
    (page * PAGE + 64 * writer, (writer * SOME + page) * 4)
}

/// Stores numbers that only grow, now in this way, now in that, and then notes each in the plain list.
fn write_at_random(folder: &Folder, list: &Map, writer: usize, stores: usize) {
    let fd = folder.open();
    let mut rng = Rng::with_seed(writer as u64);
    let mut map = Map::shared(&fd, SOME * PAGE).expect("a mapping");
    let buffer = export(&fd, 0, (SOME * PAGE) as u64).expect("a dma-buf");
    let other = Map::shared(&buffer, SOME * PAGE).expect("a mapping");
    for number in 1..=stores as u32 {
        let page = rng.usize(..SOME);
        let (at, listed) = word(writer, page);
        match rng.u32(..1000) {
            0 => put(&fd, at as u64, &number.to_ne_bytes()),
            1 => {
                map.advise_page(page, MADV_DONTNEED).expect("DONTNEED");
                map.store(at, number);
            }
            2 => {
                map.protect(PROT_READ).expect("mprotect");
                map.protect(READ_WRITE).expect("mprotect");
                map.store(at, number);
            }
            3 => {
                map = map.move_out_of_the_way();
                map.store(at, number);
            }
            4 => {
                let mut child = Child::start(|| map.store(at, number));
                assert_eq!(child.wait(LIMIT), End::Status(0));
            }
            5..100 => other.store(at, number),
            _ => map.store(at, number),
        }
        list.store(listed, number);
    }
}

/// Looks until the writers are done, and once more. After each look, what was listed before it is in its copy of the
/// device, which it renews only where it is told to.
fn read_at_random(folder: &Folder, list: &Map, done: &Map, reader: usize) {
    let device = folder.device();
    let map = Map::new(Some(device.as_fd()), 0, SOME * PAGE, PROT_READ, MAP_SHARED);
    let map = map.expect("a mapping");
    let mut rng = Rng::with_seed(reader as u64 + 100);
    let mut copy = map.read(0..SOME * PAGE);
    let mut since = 0;
    let mut looks: u32 = 0;
    loop {
        let last = done.load(0) as usize == WRITERS;
        let listed: Vec<u32> = (0..WRITERS * SOME)
            .map(|index| list.load(index * 4))
            .collect();
        let (pages, generation) = look(&device, since);
        since = generation;
        for page in pages {
            let bytes = page * PAGE..(page + 1) * PAGE;
            copy[bytes.clone()].copy_from_slice(&map.read(bytes));
        }
        for (writer, page) in
            (0..WRITERS).flat_map(|writer| (0..SOME).map(move |page| (writer, page)))
        {
            let (at, index) = word(writer, page);
            let have = u32::from_ne_bytes(copy[at..at + 4].try_into().expect("four bytes"));
            let least = listed[index / 4];
            assert!(
                have >= least,
                "look {looks}: page {page} of writer {writer}: {have}, not {least}"
            );
        }
        looks += 1;
        if last {
            break;
        }
        match rng.u32(..4) {
            0 => drop(is_new_within(&device, Duration::from_millis(2))),
            1 => std::thread::yield_now(),
            _ => {}
        }
    }
    assert_eq!(copy, map.read(0..SOME * PAGE));
    assert!(looks > 1);
}

fn no_store_is_missed() {
    let stores = scaled(1_000_000) / WRITERS;
    let folder = Folder::live("track", &[("a", &format!("size={} track=1", SOME * PAGE))]);
    let list = shared((WRITERS * SOME * 4).next_multiple_of(PAGE));
    let done = shared(PAGE);
    let mut readers: Vec<_> = (0..READERS)
        .map(|reader| Child::start(|| read_at_random(&folder, &list, &done, reader)))
        .collect();
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|writer| Child::start(|| write_at_random(&folder, &list, writer, stores)))
        .collect();
    for writer in &mut writers {
        assert_eq!(writer.wait(Duration::from_secs(300)), End::Status(0));
        done.store(0, done.load(0) + 1);
    }
    for reader in &mut readers {
        assert_eq!(reader.wait(LIMIT), End::Status(0));
    }
    crate::report::fact(
        "inputs",
        "random stores into tracked windows, each found by all readers",
        stores * WRITERS,
    );
}
