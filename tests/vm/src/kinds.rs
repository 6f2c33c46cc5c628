// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory kinds: what each is made of, what can be done with it, and when it cannot be had.

use crate::driver::{self, fdinfo, get, pattern, put};
use crate::folder::Folder;
use crate::map::Disk;
use crate::pci::Pci;
use crate::plan::END_MAX;
use crate::sys::{pread, process_vm, pwrite, Buffer, Child, End, Map, Span, PAGE, PAGE64};
use crate::{iomem, memory, pagemap};
use chrmem::MemoryKind;
use libc::{MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::thread::{capabilities, set_capabilities, CapabilitySet};
use std::fs;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

crate::tests! {
    pages_have_no_one_address
    contiguous_is_one_run
    a_run_that_cannot_be_had
    dma_memory_is_zeroed_and_shared
    dma_memory_for_a_device
    dma_memory_that_cannot_be_had
    physical_memory_is_the_device_s
    physical_memory_is_claimed
    physical_memory_that_cannot_be_had
    physical_memory_that_somebody_has
    physical_memory_whose_owner_may_go
    settings_that_do_not_go_together
    a_bad_pointer_ends_a_copy
    pages_stay_where_they_are
    addresses_are_for_those_who_may_know
    contiguous_pages_are_ordinary
    page_frames_are_not
    mappings_of_page_frames
    a_debugger_reads_and_writes_page_frames
    a_read_only_file_maps_every_kind
    the_limit_is_for_all_devices
    memory_that_runs_out_half_way
    memory_is_counted_for_who_builds
}

const LIMIT: Duration = Duration::from_secs(20);

/// Bytes that nobody minds being overwritten: BAR 2 of the machine's `ivshmem` device.
fn shared_memory() -> Pci {
    Pci::find(0x1af4, 0x1110)
}

/// The settings of a window on the first `size` bytes of it.
fn physical(size: u64) -> String {
    let start = shared_memory().bar(2).start;
    format!("memory=physical address={start:#x} size={size}")
}

/// A device with one window.
fn one(settings: &str) -> Folder {
    Folder::live("test", &[("one", settings)])
}

/// What WINDOW says is the address of a device's only window.
fn address(folder: &Folder) -> Option<u64> {
    folder.device().window(0).expect("WINDOW").address
}

/// Asserts that read, write and mapping of a device's only window are of the same bytes.
fn is_one_memory(folder: &Folder) {
    let size = folder.shown().size as usize;
    let fd = folder.open();
    let map = Map::shared(&fd, size).expect("a mapping");
    let mut bytes = pattern(size);
    put(&fd, 0, &bytes);
    assert!(map.read(0..size) == bytes);
    map.write(size - 5, b"store");
    bytes[size - 5..].copy_from_slice(b"store");
    // Where no whole word is.
    for (at, text) in [(1, &b"odd"[..]), (PAGE - 1, b"across"), (9000, b"eight by")] {
        put(&fd, at as u64, text);
        bytes[at..at + text.len()].copy_from_slice(text);
    }
    assert!(map.read(0..size) == bytes);
    assert!(get(&fd, 0, size) == bytes);
    for (at, len) in [
        (0, 1),
        (3, 4),
        (PAGE - 3, 6),
        (2 * PAGE - 1, 2),
        (size - 6, 6),
    ] {
        assert_eq!(get(&fd, at as u64, len), bytes[at..at + len]);
    }
    let other = Map::shared(folder.open(), size).expect("a mapping");
    let mut child = Child::start(|| {
        assert_eq!(other.read(1..4), b"odd");
        other.write(0, b"child");
    });
    assert_eq!(child.wait(LIMIT), End::Status(0));
    assert_eq!(map.read(0..5), b"child");
    folder.device().clear().expect("MEM_CLEAR");
    assert!(map.read(0..size) == vec![0; size]);
    folder.device().reset().expect("RESET");
    assert_eq!(map.read(0..13), b"hello, user!\0");
}

fn pages_have_no_one_address() {
    let folder = one("size=16pages");
    assert_eq!(address(&folder), None);
    is_one_memory(&folder);
}

fn contiguous_is_one_run() {
    for size in ["1page", "5pages", "2M", "16M"] {
        let folder = one(&format!("memory=contiguous size={size}"));
        let window = folder.device().window(0).expect("WINDOW");
        assert_eq!(window.memory, MemoryKind::Contiguous);
        let address = window.address.expect("an address");
        assert!(address % PAGE64 == 0);
        let map = Map::shared(folder.open(), window.size as usize).expect("a mapping");
        for (page, frame) in pagemap::frames(&map).into_iter().enumerate() {
            assert_eq!(frame, address / PAGE64 + page as u64, "page {page}");
        }
    }
    is_one_memory(&one("memory=contiguous size=16pages"));
}

fn a_run_that_cannot_be_had() {
    let before = memory::free();
    let folder = Folder::new("test");
    folder.make_window("one").expect("a window");
    folder.change("one", "memory=contiguous");
    let total = memory::total();
    for (size, why) in [
        (
            total.next_multiple_of(PAGE64),
            "more than the system has free",
        ),
        (1 << 62, "more than the system has free"),
        // Free altogether, but not in one piece.
        ((total / 8 * 5).next_multiple_of(PAGE64), "no run of"),
    ] {
        folder.change("one", &format!("size={size}"));
        let words = ["window one", why, &size.to_string()];
        folder.cannot_be_built(Errno::NOMEM, &words);
    }
    folder.change("one", "size=16pages");
    folder.build();
    folder.destroy();
    let after = memory::free();
    assert!(
        after + (8 << 20) > before,
        "{before} bytes free, then {after}"
    );
}

fn dma_memory_is_zeroed_and_shared() {
    // With pages of 4 KiB, the last is the largest that there is where none was set aside at boot.
    for size in ["1page", "5pages", "4M"] {
        let folder = one(&format!("memory=dma size={size}"));
        let window = folder.device().window(0).expect("WINDOW");
        assert_eq!(window.memory, MemoryKind::Dma);
        assert!(window.address.is_some_and(|it| it % PAGE64 == 0));
        let size = window.size as usize;
        assert!(get(folder.open(), 0, size) == vec![0; size]);
    }
    is_one_memory(&one("memory=dma size=16pages"));
}

fn dma_memory_for_a_device() {
    let device = shared_memory().address().to_owned();
    let settings = format!("memory=dma size=16pages device={device}");
    let folder = one(&settings);
    assert_eq!(folder.get("one", "device"), device);
    is_one_memory(&folder);
    // A device addresses 32 bits until its driver knows better.
    let end = address(&folder).expect("an address") + 16 * PAGE64;
    assert!(end <= 1 << 32, "{end:#x}");
}

fn dma_memory_that_cannot_be_had() {
    let folder = Folder::new("test");
    folder.window("one", "memory=dma size=16pages");
    for device in ["0000:00:1e.7", "0000:ff:00.0", "ffff:00:00.0"] {
        folder.change("one", &format!("device={device}"));
        folder.cannot_be_built(Errno::NODEV, &["window one", "no PCI device", device]);
    }
    folder.change("one", "device=none size=512M");
    folder.cannot_be_built(Errno::NOMEM, &["window one", "no run of", "536870912"]);
    folder.change("one", "size=1T");
    folder.cannot_be_built(
        Errno::NOMEM,
        &["window one", "more than the system has free"],
    );
    folder.change("one", "size=16pages");
    folder.build();
}

fn physical_memory_is_the_device_s() {
    let bar = shared_memory().bar(2);
    for cache in ["cached", "noncached", "writecombine"] {
        let folder = one(&format!("{} cache={cache}", physical(16 * PAGE64)));
        assert_eq!(address(&folder), Some(bar.start));
        is_one_memory(&folder);
        // What is there stays there, whoever looks, unless it is to be filled.
        put(folder.open(), 2 * PAGE64, b"left alone");
        folder.destroy();
        folder.build();
        assert_eq!(get(folder.open(), 2 * PAGE64, 10), b"left alone");
        folder.destroy();
        folder.change("one", "fill=0x5a");
        folder.build();
        assert!(get(folder.open(), 0, 16 * PAGE) == vec![0x5a; 16 * PAGE]);
    }
    // All of it, and the end of it.
    let folder = one(&physical(bar.end - bar.start));
    put(folder.open(), bar.end - bar.start - PAGE64, &pattern(PAGE));
    let end = one_more(&format!(
        "memory=physical address={:#x} size=1page",
        bar.end - PAGE64
    ));
    assert!(end.set_live("1").is_err());
    drop(folder);
    end.build();
    assert_eq!(get(end.open(), 0, PAGE), pattern(PAGE));
}

/// A second device, not yet built.
fn one_more(settings: &str) -> Folder {
    let folder = Folder::new("more");
    folder.window("one", settings);
    folder
}

fn physical_memory_is_claimed() {
    let start = shared_memory().bar(2).start;
    let claimed = || iomem::called("chrmem");
    assert_eq!(claimed(), []);
    let folder = Folder::new("test");
    folder.window("one", &physical(2 * PAGE64));
    folder.window(
        "two",
        &format!(
            "memory=physical address={:#x} size=1page",
            start + 16 * PAGE64
        ),
    );
    assert_eq!(claimed(), []);
    folder.build();
    let both = [
        start..start + 2 * PAGE64,
        start + 16 * PAGE64..start + 17 * PAGE64,
    ];
    assert_eq!(claimed(), both);
    // As long as anybody uses it, destroyed or not.
    let map = Map::shared(folder.open(), PAGE).expect("a mapping");
    folder.destroy();
    assert_eq!(claimed(), both);
    let words = ["window one", "claimed", "/proc/iomem"];
    folder.cannot_be_built(Errno::BUSY, &words);
    drop(map);
    assert_eq!(claimed(), []);
    folder.build();
    assert_eq!(claimed(), both);
    folder.destroy();
    assert_eq!(claimed(), []);
    // Of what could not be built whole, nothing is.
    let ram = iomem::called("System RAM")[0]
        .start
        .next_multiple_of(PAGE64);
    folder.change("two", &format!("address={ram:#x}"));
    folder.cannot_be_built(Errno::PERM, &["window two"]);
    assert_eq!(claimed(), []);
}

/// The width of the processor's physical addresses.
fn address_bits() -> u32 {
    // Arm tells programs nothing of it: the emulated processor's is the largest that the kernel knows.
    let (file, before, after) = match cfg!(target_arch = "aarch64") {
        true => {
            let release = rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned();
            let file = format!("/usr/lib/modules/{release}/config");
            (file, "CONFIG_ARM64_PA_BITS=", "")
        }
        false => (
            "/proc/cpuinfo".to_owned(),
            "address sizes\t: ",
            " bits physical",
        ),
    };
    let text = fs::read_to_string(file).expect("a list");
    let line = text.lines().find_map(|line| line.strip_prefix(before));
    let line = line.expect("a width");
    let end = match after {
        "" => line.len(),
        after => line.find(after).expect("a width"),
    };
    line[..end].parse().expect("a number")
}

fn physical_memory_that_cannot_be_had() {
    let ram = iomem::called("System RAM");
    let (first, last) = (&ram[0], &ram[ram.len() - 1]);
    let middle = last.start.midpoint(last.end) & !(PAGE64 - 1);
    let top = 1_u64 << address_bits();
    let ram_error = (Errno::PERM, "System RAM");
    let width_error = (Errno::INVAL, "address width");
    let folder = Folder::new("test");
    folder.window("one", "memory=physical size=1page");
    folder.cannot_be_built(Errno::INVAL, &["window one", "needs an address"]);
    for (address, size, (errno, why)) in [
        (first.start.next_multiple_of(PAGE64), PAGE64, ram_error),
        (middle, PAGE64, ram_error),
        (middle, 1 << 20, ram_error),
        ((last.end - 1) & !(PAGE64 - 1), PAGE64, ram_error),
        // Only its first, only its last page is RAM.
        ((last.end - 1) & !(PAGE64 - 1), 16 * PAGE64, ram_error),
        (
            (last.start & !(PAGE64 - 1)) - 2 * PAGE64,
            3 * PAGE64,
            ram_error,
        ),
        // From before it to behind it.
        (0, last.end + (1 << 20), ram_error),
        (top, PAGE64, width_error),
        (top - PAGE64, 2 * PAGE64, width_error),
        (1 << 63, PAGE64, width_error),
        (0_u64.wrapping_sub(PAGE64), PAGE64, width_error),
        (0_u64.wrapping_sub(PAGE64), 2 * PAGE64, width_error),
        (2 * PAGE64, END_MAX, width_error),
        (1, PAGE64, (Errno::INVAL, "not a whole number of pages")),
        (
            last.start + 1,
            PAGE64,
            (Errno::INVAL, "not a whole number of pages"),
        ),
        (
            u64::MAX,
            PAGE64,
            (Errno::INVAL, "not a whole number of pages"),
        ),
    ] {
        folder.change("one", &format!("address={address} size={size}"));
        for cache in ["cached", "noncached", "writecombine"] {
            folder.change("one", &format!("cache={cache}"));
            folder.cannot_be_built(errno, &["window one", why]);
        }
    }
}

fn physical_memory_that_somebody_has() {
    let driver = iomem::called("virtio-pci-modern");
    let bar = shared_memory().bar(2);
    let theirs = &driver[0];
    let folder = Folder::new("test");
    folder.window("one", "memory=physical");
    let claimed = |address: u64, size: u64| {
        folder.change("one", &format!("address={address:#x} size={size}"));
        folder.cannot_be_built(Errno::BUSY, &["window one", "claimed by a driver"]);
    };
    // A page of a driver's, all of it, more than that.
    claimed(theirs.start, PAGE64);
    claimed(theirs.start, theirs.end - theirs.start);
    claimed(theirs.end - PAGE64, 2 * PAGE64);
    // What another device of ours has, and what overlaps it.
    let other = Folder::new("other");
    other.window(
        "one",
        &format!(
            "memory=physical address={:#x} size=4pages",
            bar.start + 16 * PAGE64
        ),
    );
    other.build();
    for (offset, size) in [
        (16 * PAGE64, 4 * PAGE64),
        (16 * PAGE64, PAGE64),
        (19 * PAGE64, PAGE64),
        (15 * PAGE64, 2 * PAGE64),
        (19 * PAGE64, 2 * PAGE64),
        (0, 1 << 20),
    ] {
        claimed(bar.start + offset, size);
    }
    // Its neighbours are free.
    folder.change("one", &format!("address={:#x} size=16pages", bar.start));
    folder.build();
    folder.destroy();
    // Two windows of one device are no better than two devices.
    other.destroy();
    other.window(
        "two",
        &format!(
            "memory=physical address={:#x} size=1page",
            bar.start + 17 * PAGE64
        ),
    );
    other.cannot_be_built(Errno::BUSY, &["window two", "claimed"]);
    // Half of a device's, half of nobody's.
    let half = format!("address={:#x} size=2pages", bar.end - PAGE64);
    folder.change("one", &half);
    folder.cannot_be_built(Errno::BUSY, &["window one", "may take back"]);
}

/// What is handed on by what the driver cannot keep, here the bridge of the host: the range would go with it.
fn physical_memory_whose_owner_may_go() {
    let all = iomem::entries();
    // Where this is the innermost entry.
    let is_free = |range: &Range<u64>| {
        let others = all.iter().filter(|it| it.range != *range);
        !{ others }.any(|it| it.range.start < range.start + PAGE64 && range.start < it.range.end)
    };
    let first = |name: &str| {
        let ranges = iomem::called(name).into_iter();
        let range = { ranges }.find(|it| it.start >= 1 << 20 && is_free(it));
        range.unwrap_or_else(|| panic!("{name}: {all:#x?}")).start
    };
    let folder = Folder::new("test");
    folder.window("one", "memory=physical size=1page");
    // Without firmware, the bridge has its name from the device tree, devices begin where it does, and nothing is reserved.
    let is_tree = cfg!(target_arch = "aarch64");
    let address = match is_tree {
        true => iomem::called("pcie@10000000")[0].end - PAGE64,
        false => first("PCI Bus 0000:00"),
    };
    folder.change("one", &format!("address={address:#x}"));
    folder.cannot_be_built(Errno::BUSY, &["window one", "may take back", "/proc/iomem"]);
    if is_tree {
        return;
    }
    // What the firmware has reserved is there for ever.
    folder.change("one", &format!("address={:#x}", first("Reserved")));
    folder.build();
    folder.destroy();
}

fn settings_that_do_not_go_together() {
    let device = shared_memory().address().to_owned();
    let device = format!("device={device}");
    let here = physical(PAGE64);
    for (settings, more, why) in [
        (
            "memory=pages size=1page",
            "address=0xfe000000",
            "only physical",
        ),
        ("memory=contiguous size=1page", "address=0", "only physical"),
        (
            "memory=dma size=1page",
            "address=0xfe000000",
            "only physical",
        ),
        ("memory=pages size=1page", &device, "only dma"),
        ("memory=contiguous size=1page", &device, "only dma"),
        (&here, &device, "only dma"),
        ("memory=dma size=1page", "cache=noncached", "coherent"),
        ("memory=dma size=1page", "cache=writecombine", "coherent"),
    ] {
        let folder = Folder::new("test");
        folder.window("one", settings);
        folder.change("one", more);
        folder.cannot_be_built(Errno::INVAL, &["window one", why]);
        let (attribute, _) = more.split_once('=').expect("a setting");
        let default = if attribute == "cache" {
            "cached"
        } else {
            "none"
        };
        folder.set("one", attribute, default).expect("a setting");
        folder.build();
    }
}

fn a_bad_pointer_ends_a_copy() {
    let here = physical(16 * PAGE64);
    for settings in [
        "size=16pages",
        "size=16pages cache=noncached",
        "size=16pages memory=contiguous",
        "size=16pages memory=dma",
        &here,
    ] {
        let folder = one(settings);
        let fd = folder.open();
        let buffer = Buffer::new(2 * PAGE);
        let end = buffer.len();
        for room in [1, 100, 256, 300, 5000] {
            put(&fd, 0, &pattern(16 * PAGE));
            let before = folder.shown().generation;
            // As far as there is memory, and not a byte further.
            buffer.write(end - room, &vec![0xee; room]);
            let span = buffer.span(end - room, 20000);
            assert_eq!(pwrite(&fd, span, 7), Ok(room), "{settings}");
            assert_eq!(get(&fd, 7, room), vec![0xee; room]);
            let rest = 7 + room;
            assert_eq!(
                get(&fd, rest as u64, 16),
                pattern(16 * PAGE)[rest..rest + 16]
            );
            assert_eq!(folder.shown().generation, before + 1);
            assert_eq!(pread(&fd, span, PAGE as i64), Ok(room), "{settings}");
            assert_eq!(buffer.read(end - room..end), get(&fd, PAGE64, room));
        }
        let before = folder.shown().generation;
        for nowhere in Span::nowhere(100) {
            assert_eq!(pread(&fd, nowhere, 0), Err(Errno::FAULT), "{settings}");
            assert_eq!(pwrite(&fd, nowhere, 0), Err(Errno::FAULT), "{settings}");
        }
        assert_eq!(folder.shown().generation, before);
    }
}

/// Memory is locked: the kernel moves what is in its way, but not this.
fn pages_stay_where_they_are() {
    let size = 4 << 20;
    let windows = [
        ("pages", "size=4M"),
        ("noncached", "size=4M cache=noncached"),
    ];
    let folder = Folder::live("test", &windows);
    let fd = folder.open();
    let maps = [0, size].map(|at| Map::shared_at(&fd, at as u64, size).expect("a mapping"));
    maps.iter().for_each(|map| map.write(PAGE, b"stays"));
    let frames = [&maps[0], &maps[1]].map(pagemap::frames);
    for _ in 0..2 {
        fs::write("/proc/sys/vm/compact_memory", "1").expect("compaction");
        fs::write("/proc/sys/vm/drop_caches", "3").expect("drop caches");
        // Room is made for runs.
        drop(Folder::live(
            "more",
            &[("run", "memory=contiguous size=32M")],
        ));
        for map in &maps {
            map.advise(libc::MADV_PAGEOUT)
                .unwrap_or_else(|it| assert_eq!(it, Errno::INVAL));
        }
        assert!([&maps[0], &maps[1]].map(pagemap::frames) == frames);
    }
    assert!(maps.iter().all(|map| map.read(PAGE..PAGE + 5) == b"stays"));
}

fn addresses_are_for_those_who_may_know() {
    let here = physical(PAGE64);
    for settings in [
        "memory=contiguous size=16pages",
        "memory=dma size=16pages",
        &here,
    ] {
        let folder = one(settings);
        let (device, known) = (folder.device(), address(&folder).expect("an address"));
        let mut child = Child::start(|| {
            let mut sets = capabilities(None).expect("capabilities");
            sets.effective.remove(CapabilitySet::SYS_RAWIO);
            set_capabilities(None, sets).expect("fewer capabilities");
            assert_eq!(device.window(0).expect("WINDOW").address, None);
            // Root otherwise: it can open it anew and is told no more.
            assert_eq!(address(&folder), None);
            sets.effective.insert(CapabilitySet::SYS_RAWIO);
            set_capabilities(None, sets).expect("the old capabilities");
            assert_eq!(address(&folder), Some(known));
        });
        assert_eq!(child.wait(LIMIT), End::Status(0));
        // The files that show a window show none to anybody.
        let texts = [
            folder.shown().windows.concat(),
            fdinfo(&device).windows.concat(),
        ];
        for text in texts {
            assert!(!text.contains(&format!("{known:x}")), "{text}");
            assert!(!text.contains(&known.to_string()), "{text}");
        }
    }
}

/// Copies a mapping's bytes out by `process_vm_readv`, through a child that has it mapped as well.
fn copy_from_a_child(map: &Map, to: &Buffer) -> Result<usize, Errno> {
    let child = Child::start(|| std::thread::sleep(LIMIT));
    process_vm(
        child.id(),
        false,
        to.span(0, map.len()),
        map.span(0, map.len()),
    )
}

fn contiguous_pages_are_ordinary() {
    const SIZE: usize = 16 * PAGE;
    let disk = Disk::new();
    for settings in [
        "memory=contiguous size=16pages",
        "memory=contiguous size=16pages cache=noncached",
        "size=16pages cache=writecombine",
    ] {
        let folder = one(settings);
        let fd = folder.open();
        put(&fd, 0, &pattern(SIZE));
        let map = Map::shared(&fd, SIZE).expect("a mapping");
        let direct = disk.open(OFlags::DIRECT);
        assert_eq!(
            pwrite(&direct, map.span(0, SIZE), 2 * PAGE as i64),
            Ok(SIZE)
        );
        assert_eq!(
            get(disk.open(OFlags::empty()), 2 * PAGE64, SIZE),
            pattern(SIZE)
        );
        put(&fd, 0, &[0; SIZE]);
        assert_eq!(pread(&direct, map.span(0, SIZE), 2 * PAGE as i64), Ok(SIZE));
        assert_eq!(get(&fd, 0, SIZE), pattern(SIZE));
        let buffer = Buffer::new(SIZE);
        assert_eq!(copy_from_a_child(&map, &buffer), Ok(SIZE));
        assert_eq!(buffer.read(0..SIZE), pattern(SIZE));
    }
}

fn page_frames_are_not() {
    const SIZE: usize = 16 * PAGE;
    let disk = Disk::new();
    for settings in ["memory=dma size=16pages", &physical(16 * PAGE64)] {
        let folder = one(settings);
        let fd = folder.open();
        put(&fd, 0, &pattern(SIZE));
        let map = Map::shared(&fd, SIZE).expect("a mapping");
        let direct = disk.open(OFlags::DIRECT);
        assert_eq!(pwrite(&direct, map.span(0, SIZE), 0), Err(Errno::FAULT));
        assert_eq!(pread(&direct, map.span(0, SIZE), 0), Err(Errno::FAULT));
        let buffer = Buffer::new(SIZE);
        assert_eq!(copy_from_a_child(&map, &buffer), Err(Errno::FAULT));
        // The way over the kernel's own pages is open as ever.
        let buffered = disk.open(OFlags::empty());
        assert_eq!(pwrite(&buffered, map.span(0, SIZE), 0), Ok(SIZE));
        assert_eq!(get(&buffered, 0, SIZE), pattern(SIZE));
    }
}

/// To the kernel, what a file that was opened only for reading maps shared is halfway to a private mapping.
/// As gdb does it, by a file that is the memory of a process.
fn a_debugger_reads_and_writes_page_frames() {
    const SIZE: usize = 4 * PAGE;
    let memory = fs::File::options()
        .read(true)
        .write(true)
        .open("/proc/self/mem")
        .expect("/proc");
    for settings in ["memory=dma size=4pages".to_owned(), physical(SIZE as u64)] {
        let folder = Folder::live("test", &[("before", "size=2pages"), ("one", &settings)]);
        let fd = folder.open();
        let offset = 2 * PAGE as u64;
        let mut bytes = pattern(SIZE);
        put(&fd, offset, &bytes);
        let map = |fd: &OwnedFd, offset, protection| {
            let map = Map::new(Some(fd.as_fd()), offset, 3 * PAGE, protection, MAP_SHARED);
            map.expect("a mapping")
        };
        let writable = map(&fd, offset + PAGE as u64, PROT_READ | PROT_WRITE);
        let at = writable.address() as u64;
        // Nothing of it has been touched yet.
        assert!(get(&memory, at, 3 * PAGE) == bytes[PAGE..], "{settings}");
        let odd = 2 * PAGE - 3..2 * PAGE + 3;
        assert_eq!(get(&memory, at + PAGE64 - 3, 6), bytes[odd.clone()]);
        let changes = folder.shown().generation;
        put(&memory, at + PAGE64 - 3, b"by gdb");
        bytes[odd].copy_from_slice(b"by gdb");
        assert!(get(&fd, offset, SIZE) == bytes);
        assert_eq!(writable.read(PAGE - 3..PAGE + 3), b"by gdb");
        // It is a store, not a write(2).
        assert_eq!(folder.shown().generation, changes);
        // It ends where the mapping ends, and reaches what is left of one.
        let (head, tail) = writable.split(PAGE);
        drop(head);
        assert_eq!(get(&memory, at + PAGE as u64, 3), b"gdb");
        let nothing = rustix::io::pread(&memory, &mut [0; 2 * PAGE][..], at);
        assert_eq!(nothing, Err(Errno::IO));
        drop(tail);
        // A debugger reads what the process itself may not, and writes nothing that is read-only.
        for protection in [PROT_READ, libc::PROT_NONE] {
            let map = map(&fd, offset, protection);
            let at = map.address() as u64;
            assert!(get(&memory, at, 3 * PAGE) == bytes[..3 * PAGE]);
            assert_eq!(rustix::io::pwrite(&memory, b"no", at), Err(Errno::IO));
        }
        let read_only = folder.open_as(OFlags::RDONLY);
        let map = map(&read_only, offset, PROT_READ);
        assert_eq!(get(&memory, map.address() as u64, 2), bytes[..2]);
        let written = rustix::io::pwrite(&memory, b"no", map.address() as u64);
        assert_eq!(written, Err(Errno::IO));
        assert_eq!(get(&fd, offset, 2), bytes[..2]);
    }
    // A mapping of a buffer has offsets of its own.
    let folder = one("memory=dma size=4pages");
    put(folder.open(), 0, &pattern(SIZE));
    let buffer = folder.device().export(PAGE as u64..).expect("EXPORT");
    let map = Map::shared_at(&buffer, PAGE as u64, PAGE).expect("a mapping");
    let there = get(&memory, map.address() as u64, PAGE);
    assert_eq!(there, pattern(SIZE)[2 * PAGE..3 * PAGE]);
}

fn a_read_only_file_maps_every_kind() {
    for settings in [
        "size=16pages",
        "size=16pages cache=noncached",
        "size=16pages memory=contiguous cache=writecombine",
        "size=16pages memory=dma",
        &physical(16 * PAGE64),
    ] {
        let folder = one(settings);
        put(folder.open(), 0, &pattern(16 * PAGE));
        let fd = folder.open_as(OFlags::RDONLY);
        let map = Map::new(Some(fd.as_fd()), 0, 16 * PAGE, PROT_READ, MAP_SHARED);
        let map = map.unwrap_or_else(|error| panic!("{settings}: {error}"));
        assert_eq!(map.read(0..16 * PAGE), pattern(16 * PAGE), "{settings}");
        put(folder.open(), 5000, b"changed");
        assert_eq!(map.read(5000..5007), b"changed", "{settings}");
        assert_eq!(map.protect(PROT_READ | PROT_WRITE), Err(Errno::ACCESS));
    }
}

fn mappings_of_page_frames() {
    for settings in ["memory=dma size=16pages", &physical(16 * PAGE64)] {
        let folder = one(settings);
        let fd = folder.open();
        put(&fd, 0, &pattern(16 * PAGE));
        let new = |protection, flags| Map::new(Some(fd.as_fd()), 0, 16 * PAGE, protection, flags);
        for protection in [PROT_READ, PROT_READ | PROT_WRITE] {
            assert_eq!(new(protection, MAP_PRIVATE).err(), Some(Errno::INVAL));
        }
        let exec = new(PROT_READ | libc::PROT_EXEC, MAP_SHARED);
        assert_eq!(exec.err(), Some(Errno::ACCESS));
        let read_write = PROT_READ | PROT_WRITE;
        drop(
            new(
                read_write,
                MAP_SHARED | libc::MAP_POPULATE | libc::MAP_LOCKED,
            )
            .expect("a mapping"),
        );
        let mut map = new(read_write, MAP_SHARED).expect("a mapping");
        assert_eq!(
            map.resize(17 * PAGE, libc::MREMAP_MAYMOVE),
            Err(Errno::FAULT)
        );
        map.advise(libc::MADV_DONTNEED)
            .unwrap_or_else(|error| assert_eq!(error, Errno::INVAL));
        map.resize(8 * PAGE, 0).expect("a smaller mapping");
        let (head, rest) = map.split(3 * PAGE);
        let (hole, mut tail) = rest.split(PAGE);
        drop(hole);
        tail.move_onto(Map::anonymous(4 * PAGE)).expect("a move");
        assert_eq!(head.read(0..3 * PAGE), pattern(16 * PAGE)[..3 * PAGE]);
        assert_eq!(
            tail.read(0..4 * PAGE),
            pattern(16 * PAGE)[4 * PAGE..8 * PAGE]
        );
        tail.protect(PROT_READ).expect("mprotect");
        let mut child = Child::start(|| tail.write(0, b"never"));
        assert_eq!(child.wait(LIMIT), End::Signal(libc::SIGSEGV));
        tail.protect(read_write).expect("mprotect");
        tail.write(0, b"page 4");
        assert_eq!(get(&fd, 4 * PAGE as u64, 6), b"page 4");
        assert_eq!(fdinfo(&fd).mappings.0, 2);
    }
}

fn the_limit_is_for_all_devices() {
    const MOST: usize = 1 << 20;
    const HALF: usize = MOST / 2;
    let limit = format!("limit={MOST}");
    driver::with(&limit, || {
        // The plain device has a page of it.
        let first = Folder::live(
            "first",
            &[("a", "size=256K"), ("b", "size=256K memory=contiguous")],
        );
        let second = Folder::live(
            "second",
            &[("a", &format!("size={} memory=dma", HALF - PAGE))],
        );
        let over = Folder::new("over");
        over.window("one", "size=1page");
        let words = ["window one", limit.as_str(), &PAGE.to_string()];
        over.cannot_be_built(Errno::DQUOT, &words);
        let free = Folder::live("free", &[("one", &physical(1 << 20))]);
        drop(free);
        over.cannot_be_built(Errno::DQUOT, &words);
        // It counts until its last user has gone.
        let map = Map::shared(second.open(), PAGE).expect("a mapping");
        second.destroy();
        over.cannot_be_built(Errno::DQUOT, &words);
        drop(map);
        over.build();
        over.destroy();
        // What is over it gives back what it took on the way there.
        over.window("two", &format!("size={}", HALF - 3 * PAGE));
        over.window("three", "size=2pages");
        for _ in 0..3 {
            over.cannot_be_built(Errno::DQUOT, &["window three", &limit]);
        }
        over.change("three", "size=1page");
        over.build();
        drop((first, over));
        let all = Folder::live("all", &[("one", &format!("size={}", MOST - PAGE))]);
        all.destroy();
        all.change("one", "size=0xfffffff000");
        all.cannot_be_built(Errno::DQUOT, &["window one", &limit]);
    });
}

fn memory_that_runs_out_half_way() {
    let each = (memory::total() / 8).next_multiple_of(PAGE64);
    for cache in ["cached", "noncached"] {
        let folder = Folder::new("test");
        for number in 0..10 {
            folder.window(&format!("w{number}"), &format!("size={each} cache={cache}"));
        }
        let before = memory::free();
        let line = folder.cannot_be_built(Errno::NOMEM, &["window w", &each.to_string()]);
        // Some of them could be had.
        assert!(!line.contains("window w0"), "{line}");
        let after = memory::free();
        assert!(
            after + (8 << 20) > before,
            "{before} bytes free, then {after}"
        );
    }
}

/// A memory cgroup, until dropped.
pub(crate) struct Cgroup;

impl Cgroup {
    const PATH: &'static str = "/tmp/cgroup/test";

    pub(crate) fn new(limit: &str) -> Self {
        fs::create_dir_all("/tmp/cgroup").expect("/tmp");
        let mount = Command::new("mount")
            .args(["-t", "cgroup2", "none", "/tmp/cgroup"])
            .status();
        assert!(mount.expect("mount runs").success());
        fs::write("/tmp/cgroup/cgroup.subtree_control", "+memory").expect("memory");
        fs::create_dir_all(Self::PATH).expect("a cgroup");
        let this = Self;
        this.set("memory.max", limit);
        this
    }

    /// Writes one of its settings.
    pub(crate) fn set(&self, name: &str, value: &str) {
        fs::write(format!("{}/{name}", Self::PATH), value).expect(name);
    }

    /// Puts the calling process into it.
    pub(crate) fn enter(&self) {
        self.set("cgroup.procs", "0");
    }

    /// Bytes that count for it.
    pub(crate) fn used(&self) -> u64 {
        Self::number("memory.current")
    }

    /// The most bytes that ever counted for it.
    pub(crate) fn most(&self) -> u64 {
        Self::number("memory.peak")
    }

    fn number(name: &str) -> u64 {
        let text = fs::read_to_string(format!("{}/{name}", Self::PATH)).expect("a number");
        text.trim().parse().expect("a number")
    }

    /// Has a child in it do something.
    pub(crate) fn run(&self, body: impl FnOnce()) {
        let mut child = Child::start(|| {
            self.enter();
            body();
        });
        assert_eq!(child.wait(LIMIT), End::Status(0));
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        fs::remove_dir(Self::PATH).expect("rmdir");
        let umount = Command::new("umount").arg("/tmp/cgroup").status();
        assert!(umount.expect("umount runs").success());
    }
}

fn memory_is_counted_for_who_builds() {
    let cgroup = Cgroup::new("32M");
    let folder = Folder::new("test");
    folder.window("one", "size=16M");
    let before = cgroup.used();
    cgroup.run(|| folder.build());
    // For as long as it is there, not as long as who built it.
    let used = cgroup.used() - before;
    assert!((16 << 20..18 << 20).contains(&used), "{used}");
    folder.destroy();
    assert!(
        cgroup.used() < before + (1 << 20),
        "{} after {before}",
        cgroup.used()
    );
    folder.change("one", "size=64M");
    cgroup.run(|| {
        folder.cannot_be_built(Errno::NOMEM, &["window one", "67108864"]);
    });
    assert!(
        cgroup.used() < before + (1 << 20),
        "{} after {before}",
        cgroup.used()
    );
    // Others have more.
    folder.build();
}
