// SPDX-License-Identifier: MIT OR Apache-2.0

//! Devices of the machine, driven from user space through windows alone: one that reads and writes
//! memory by itself, and one whose memory the host has as well.
//!
//! `CHRMEM_HW` says where the host's files are that devices have for memory (`/hw`).

use crate::driver::{get, pattern, put};
use crate::folder::Folder;
use crate::kmsg::Mark;
use crate::pci::Pci;
use crate::sys::{Child, End, Map, PAGE, PAGE64};
use crate::{iomem, memory};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

crate::tests! {
    registers_are_loaded_and_stored
    the_library_accesses_registers_as_a_whole
    registers_are_read_and_written
    registers_are_seen_by_a_debugger
    a_device_computes
    a_device_copies_to_and_from_a_dma_window
    a_device_copies_to_and_from_a_contiguous_window
    a_device_copies_through_an_iommu
    what_an_iommu_translated_is_freed_without_it
    what_no_iommu_translated_is_freed_with_one
    a_device_has_memory_of_another_process
    what_the_host_writes_is_loaded
    what_is_stored_the_host_reads
    a_device_s_memory_is_there_for_many
}

const LIMIT: Duration = Duration::from_secs(20);

/// QEMU's `edu` device: registers in its BAR 0, of which we have a window.
struct Edu {
    device: Pci,
    window: Folder,
    registers: Map,
}

/// `0xRRrr00ed`: version, and what it is.
const IDENTIFICATION: usize = 0x00;
/// What is written is read inverted.
const LIVENESS: usize = 0x04;
/// What is written is replaced by its factorial.
const FACTORIAL: usize = 0x08;
/// Bit 0: still computing.
const STATUS: usize = 0x20;
const DMA_SOURCE: usize = 0x80;
const DMA_DESTINATION: usize = 0x88;
const DMA_COUNT: usize = 0x90;
/// Bit 0: go, and still on the way; bit 1: from the device to memory.
const DMA_COMMAND: usize = 0x98;
/// Where the device's own memory is for its DMA engine, and its bytes.
const INSIDE: u64 = 0x4_0000;
const INSIDE_SIZE: usize = 4096;

impl Edu {
    fn new() -> Self {
        let device = Pci::find(0x1234, 0x11e8);
        let settings = format!(
            "memory=physical cache=noncached address={:#x} size=1page",
            device.bar(0).start
        );
        let window = Folder::live("edu", &[("registers", &settings)]);
        let registers = Map::shared(window.open(), PAGE).expect("a mapping");
        Self {
            device,
            window,
            registers,
        }
    }

    /// Waits until bits of a register are clear.
    fn wait(&self, register: usize, bits: u32) {
        let deadline = Instant::now() + LIMIT;
        while self.registers.load(register) & bits != 0 {
            assert!(Instant::now() < deadline, "register {register:#x} stays");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Has the device copy bytes.
    fn copy(&self, from: u64, to: u64, count: usize, command: u32) {
        let word = |number: u64| u32::try_from(number).expect("32 bits");
        self.registers.store(DMA_SOURCE, word(from));
        self.registers.store(DMA_DESTINATION, word(to));
        self.registers.store(DMA_COUNT, word(count as u64));
        self.registers.store(DMA_COMMAND, command);
        self.wait(DMA_COMMAND, 1);
    }

    /// Has the device copy bytes from memory to itself.
    fn fetch(&self, from: u64, count: usize) {
        self.copy(from, INSIDE, count, 1);
    }

    /// Has the device copy bytes from itself to memory.
    fn deliver(&self, to: u64, count: usize) {
        self.copy(INSIDE, to, count, 3);
    }
}

fn registers_are_loaded_and_stored() {
    let edu = Edu::new();
    let identification = edu.registers.load(IDENTIFICATION);
    assert_eq!(identification & 0xffff, 0x00ed, "{identification:#x}");
    for word in [0, 1, 0xffff_ffff, 0x1234_5678] {
        edu.registers.store(LIVENESS, word);
        assert_eq!(edu.registers.load(LIVENESS), !word);
    }
    // From another process as well, which maps it by itself.
    let mut child = Child::start(|| {
        let own = Map::shared(edu.window.open(), PAGE).expect("a mapping");
        assert_eq!(own.load(IDENTIFICATION), identification);
        own.store(LIVENESS, 0xaaaa_5555);
        assert_eq!(edu.registers.load(LIVENESS), 0x5555_aaaa);
    });
    assert_eq!(child.wait(LIMIT), End::Status(0));
    assert_eq!(edu.registers.load(LIVENESS), 0x5555_aaaa);
}

/// These registers answer accesses of four bytes only. The library makes one for each value, and copies by such.
fn the_library_accesses_registers_as_a_whole() {
    let edu = Edu::new();
    let memory = edu.window.device().map(..).expect("a mapping");
    let registers = memory.array::<u32>();
    for word in [0, 1, 0xffff_ffff, 0x1234_5678_u32] {
        memory.write(LIVENESS, &word).expect("a register");
        assert_eq!(memory.read::<u32>(LIVENESS).expect("a register"), !word);
        registers.set(LIVENESS / 4, &!word).expect("a register");
        let third = registers.iter().nth(LIVENESS / 4).expect("a register");
        assert_eq!(registers.get(LIVENESS / 4).expect("a register"), word);
        assert_eq!(third.expect("a register"), word);
        (memory.copy_from(LIVENESS, &word.to_ne_bytes())).expect("a register");
        let mut copy = [0; 4];
        memory.copy_to(LIVENESS, &mut copy).expect("a register");
        assert_eq!(u32::from_ne_bytes(copy), !word);
    }
}

fn registers_are_read_and_written() {
    let edu = Edu::new();
    let fd = edu.window.open();
    let identification = edu.registers.load(IDENTIFICATION);
    // Four bytes at a time: the device answers nothing else.
    assert_eq!(get(&fd, 0, 4), identification.to_ne_bytes());
    put(&fd, LIVENESS as u64, &0x1020_3040_u32.to_ne_bytes());
    let inverted = (!0x1020_3040_u32).to_ne_bytes();
    assert_eq!(get(&fd, LIVENESS as u64, 4), inverted);
    assert_eq!(
        get(&fd, 0, 8),
        [identification.to_ne_bytes(), inverted].concat()
    );
    assert_eq!(edu.registers.load(LIVENESS), !0x1020_3040);
}

/// The device answers nothing but whole words.
fn registers_are_seen_by_a_debugger() {
    let edu = Edu::new();
    let memory = File::options()
        .read(true)
        .write(true)
        .open("/proc/self/mem")
        .expect("/proc");
    let at = |register: usize| (edu.registers.address() + register) as u64;
    let word = |register| {
        u32::from_le_bytes(
            get(&memory, at(register), 4)
                .try_into()
                .expect("four bytes"),
        )
    };
    assert_eq!(word(IDENTIFICATION) & 0xff, 0xed);
    put(&memory, at(LIVENESS), &0x1122_3344_u32.to_le_bytes());
    assert_eq!(word(LIVENESS), !0x1122_3344);
    assert_eq!(edu.registers.load(LIVENESS), !0x1122_3344);
}

fn a_device_computes() {
    let edu = Edu::new();
    for (number, factorial) in [(5, 120), (10, 3_628_800), (12, 479_001_600)] {
        edu.registers.store(FACTORIAL, number);
        edu.wait(STATUS, 1);
        assert_eq!(edu.registers.load(FACTORIAL), factorial);
    }
}

/// Has the device take bytes that were stored, and bring them back to another place.
fn copies_both_ways(settings: &str) {
    let edu = Edu::new();
    let _enabled = edu.device.enable();
    let memory = Folder::live("memory", &[("buffer", settings)]);
    let window = memory.device().window(0).expect("WINDOW");
    let address = window.address.expect("an address");
    let map = Map::shared(memory.open(), window.size as usize).expect("a mapping");
    // Nothing is called between a store here and a load there but what the device does.
    let third = 2 * PAGE;
    map.write(0, &pattern(INSIDE_SIZE));
    edu.fetch(address, INSIDE_SIZE);
    map.write(0, &[0; INSIDE_SIZE]);
    assert_eq!(map.read(third..third + INSIDE_SIZE), [0; INSIDE_SIZE]);
    edu.deliver(address + third as u64, INSIDE_SIZE);
    assert_eq!(map.read(third..third + INSIDE_SIZE), pattern(INSIDE_SIZE));
    assert_eq!(map.read(0..third), vec![0; third]);
    // A part, to where no page starts, over what is there.
    let (from, to, end) = (PAGE - 96, 3 * PAGE - 88, 4 * PAGE);
    map.write(0, &vec![0x77; end]);
    map.write(from, b"a few bytes across two pages");
    edu.fetch(address + from as u64, 300);
    edu.deliver(address + to as u64, 300);
    assert_eq!(map.read(to..to + 28), b"a few bytes across two pages");
    assert_eq!(map.read(to + 28..to + 300), [0x77; 272]);
    assert_eq!(map.read(to - 1..to + 1), b"\x77a");
    assert_eq!(map.read(to + 300..end), vec![0x77; end - to - 300]);
    // What the device wrote is what read(2) reads, and what write(2) wrote it takes.
    let fd = memory.open();
    assert_eq!(get(&fd, to as u64, 28), b"a few bytes across two pages");
    put(&fd, 0, b"written by a call");
    edu.fetch(address, 17);
    edu.deliver(address + end as u64 - 17, 17);
    assert_eq!(map.read(end - 17..end), b"written by a call");
}

fn a_device_copies_to_and_from_a_dma_window() {
    let device = Pci::find(0x1234, 0x11e8);
    copies_both_ways(&format!(
        "memory=dma device={} size=4pages",
        device.address()
    ));
}

fn a_device_copies_to_and_from_a_contiguous_window() {
    for cache in ["cached", "noncached"] {
        copies_both_ways(&format!("memory=contiguous cache={cache} size=4pages"));
    }
}

/// Where no RAM is, an address is one that the IOMMU made up.
fn is_made_up(address: u64) -> bool {
    let ram = iomem::called("System RAM");
    !ram.iter().any(|range| range.contains(&address))
}

/// Pages that are anywhere, and one run for the device.
fn a_device_copies_through_an_iommu() {
    let device = Pci::find(0x1234, 0x11e8);
    device.translate(true);
    let settings = format!("memory=dma device={} size=4pages", device.address());
    let folder = Folder::live("test", &[("one", &settings)]);
    let window = folder.device().window(0).expect("WINDOW");
    assert!(is_made_up(window.address.expect("an address")));
    copies_both_ways(&settings);
    drop(folder);
    device.translate(false);
}

/// The IOMMU has forgotten the memory of a device that goes, and of one that it is not to translate any more.
fn what_an_iommu_translated_is_freed_without_it() {
    const SIZE: usize = 2 << 20;
    let cycle = |unplug: bool| {
        let device = Pci::find(0x1234, 0x11e8);
        device.translate(true);
        let settings = format!("memory=dma device={} size={SIZE}", device.address());
        let folder = Folder::live("test", &[("one", &settings)]);
        let window = folder.device().window(0).expect("WINDOW");
        assert!(is_made_up(window.address.expect("an address")));
        let fd = folder.open();
        let map = Map::shared(&fd, SIZE).expect("a mapping");
        if unplug {
            device.unplug();
        } else {
            device.translate(false);
        }
        if !unplug {
            map.write(SIZE - 7, b"goes on");
            assert_eq!(get(&fd, SIZE as u64 - 7, 7), b"goes on");
        }
        drop((folder, fd));
        if !unplug {
            assert_eq!(map.read(SIZE - 7..SIZE), b"goes on");
        }
        drop(map);
        if unplug {
            Pci::rescan();
        }
    };
    [true, false].into_iter().for_each(cycle);
    let before = memory::free();
    for round in 0..10 {
        cycle(round % 2 == 0);
    }
    let after = memory::free();
    assert!(
        after + 4 * SIZE as u64 > before,
        "{before} bytes free, then {after}"
    );
}

/// The other way round: the IOMMU translates only since the memory was allocated.
fn what_no_iommu_translated_is_freed_with_one() {
    const SIZE: usize = 2 << 20;
    let device = Pci::find(0x1234, 0x11e8);
    let log = Mark::now();
    let cycle = || {
        device.translate(false);
        let settings = format!("memory=dma device={} size={SIZE}", device.address());
        let folder = Folder::live("test", &[("one", &settings)]);
        let window = folder.device().window(0).expect("WINDOW");
        assert!(!is_made_up(window.address.expect("an address")));
        let map = Map::shared(folder.open(), SIZE).expect("a mapping");
        device.translate(true);
        map.write(SIZE - 7, b"goes on");
        drop(folder);
        assert_eq!(map.read(SIZE - 7..SIZE), b"goes on");
        drop(map);
        device.translate(false);
    };
    cycle();
    let before = memory::free();
    (0..10).for_each(|_| cycle());
    let after = memory::free();
    let lines = log.driver();
    assert!(
        after + 4 * SIZE as u64 > before,
        "{before} bytes free, then {after}: {lines:?}"
    );
    assert_eq!(lines, [""; 0]);
}

/// The device is destroyed while the hardware uses its memory, which one mapping is enough to keep.
fn a_device_has_memory_of_another_process() {
    let edu = Edu::new();
    let _enabled = edu.device.enable();
    let settings = format!("memory=dma device={} size=4pages", edu.device.address());
    let memory = Folder::live("memory", &[("buffer", &settings)]);
    let window = memory.device().window(0).expect("WINDOW");
    let address = window.address.expect("an address");
    let map = Map::shared(memory.open(), PAGE).expect("a mapping");
    let mut child = Child::start(|| {
        let own = Map::shared(memory.open(), PAGE).expect("a mapping");
        own.write(100, b"stored by a child");
    });
    assert_eq!(child.wait(LIMIT), End::Status(0));
    drop(memory);
    edu.fetch(address, 200);
    map.write(0, &[0; 200]);
    edu.deliver(address + 1000, 200);
    assert_eq!(map.read(1100..1117), b"stored by a child");
}

/// QEMU's `ivshmem-plain` device: its BAR 2 is a file of the host's.
struct Shared {
    window: Folder,
    file: File,
    size: u64,
}

impl Shared {
    fn new(cache: &str) -> Self {
        let bar = Pci::find(0x1af4, 0x1110).bar(2);
        let size = bar.end - bar.start;
        let settings = format!(
            "memory=physical cache={cache} address={:#x} size={size}",
            bar.start
        );
        let dir = std::env::var_os("CHRMEM_HW").unwrap_or_else(|| "/hw".into());
        let path = PathBuf::from(dir).join("ivshmem");
        let file = File::options().read(true).write(true).open(&path);
        let file = file.unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert_eq!(file.metadata().expect("a size").len(), size);
        Self {
            window: Folder::live("shared", &[("bar2", &settings)]),
            file,
            size,
        }
    }

    /// Pages at the start, in the middle and at the end.
    fn places(&self) -> [u64; 3] {
        [0, self.size / 2 + PAGE64, self.size - PAGE64]
    }
}

fn what_the_host_writes_is_loaded() {
    for cache in ["cached", "writecombine", "noncached"] {
        let shared = Shared::new(cache);
        let fd = shared.window.open();
        let map = Map::shared(&fd, shared.size as usize).expect("a mapping");
        for (number, at) in (1..).zip(shared.places()) {
            let mut bytes = pattern(PAGE);
            bytes.rotate_left(number);
            put(&shared.file, at, &bytes);
            assert_eq!(map.read(at as usize..at as usize + PAGE), bytes);
            assert_eq!(get(&fd, at, PAGE), bytes);
            put(&shared.file, at + 7, b"the host once more");
            assert_eq!(
                map.read(at as usize + 7..at as usize + 25),
                b"the host once more"
            );
        }
    }
}

fn what_is_stored_the_host_reads() {
    for cache in ["cached", "writecombine", "noncached"] {
        let shared = Shared::new(cache);
        let fd = shared.window.open();
        let map = Map::shared(&fd, shared.size as usize).expect("a mapping");
        for (number, at) in (1..).zip(shared.places()) {
            let mut bytes = pattern(PAGE);
            bytes.rotate_right(number);
            map.write(at as usize, &bytes);
            assert_eq!(get(&shared.file, at, PAGE), bytes);
            put(&fd, at + 9, b"by a call");
            assert_eq!(get(&shared.file, at + 9, 9), b"by a call");
        }
        let device = shared.window.device();
        device.clear_range(0..PAGE64).expect("CLEAR");
        assert_eq!(get(&shared.file, 0, PAGE), [0; PAGE]);
        assert_ne!(get(&shared.file, shared.size - PAGE64, PAGE), [0; PAGE]);
    }
}

fn a_device_s_memory_is_there_for_many() {
    let shared = Shared::new("cached");
    put(&shared.file, 0, &[0; 64]);
    // Some processes count up, each a number of its own, and the host sees it.
    let mut children: Vec<_> = (0..3_usize)
        .map(|number| {
            let node = shared.window.open();
            Child::start(move || {
                let own = Map::shared(&node, PAGE).expect("a mapping");
                for count in 1..=1000 {
                    own.store(4 * number, count);
                }
            })
        })
        .collect();
    for child in &mut children {
        assert_eq!(child.wait(LIMIT), End::Status(0));
    }
    let counts = [1000_u32, 1000, 1000].map(u32::to_ne_bytes).concat();
    assert_eq!(get(&shared.file, 0, 12), counts);
}
