// SPDX-License-Identifier: MIT OR Apache-2.0

//! Cache modes: the same in every mapping of a window, the kernel's own included.

use crate::driver::{get, pattern, put};
use crate::folder::{Folder, RAM_HAS_MODES};
use crate::pagetable::{PageTables, CACHED, NONCACHED, WRITECOMBINE};
use crate::pci::Pci;
use crate::sys::{Child, End, Map, PAGE};
use chrmem::CacheMode;
use libc::{MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE};
use rustix::io::Errno;
use std::fs;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::Duration;

crate::tests! {
    in SEEN_IN_PAGE_TABLES:
    ram_is_mapped_so_by_everybody
    ram_is_cached_again_when_it_is_free
    page_frames_are_mapped_so_by_everybody
    one_device_has_windows_of_all_modes
    dma_memory_is_as_its_device_needs_it
    dma_memory_of_a_pci_device_is_mapped_as_by_the_kernel
}

crate::tests! {
    physical_ranges_are_listed_with_their_mode
    ram_is_never_given_a_mode_that_it_cannot_have
    what_is_not_cached_is_not_copied_on_write
    the_bytes_are_the_same_in_all_modes
}

const LIMIT: Duration = Duration::from_secs(20);

/// The modes, and what they are in page tables.
const MODES: [(&str, &str); 3] = [
    ("cached", CACHED),
    ("writecombine", WRITECOMBINE),
    ("noncached", NONCACHED),
];

/// Those that RAM can have.
fn modes_of_ram() -> &'static [(&'static str, &'static str)] {
    match RAM_HAS_MODES {
        true => &MODES,
        false => &MODES[..1],
    }
}

/// Bytes of the windows here.
const SIZE: usize = 16 * PAGE;

/// What a mode that a window over a physical range was given is in page tables.
#[cfg(target_arch = "aarch64")]
fn mode_of_physical(cache: &str, _range: &Range<u64>) -> String {
    let is_it = |(name, _): &&(&str, &str)| *name == cache;
    let (_, mode) = MODES.iter().find(is_it).expect("a mode");
    (*mode).to_owned()
}

/// The same. On PCs, what the range can do at most is for the firmware to say, and `cached` is more than it allows for
/// most.
#[cfg(target_arch = "x86_64")]
fn mode_of_physical(cache: &str, range: &Range<u64>) -> String {
    let modes: Vec<_> = listed(range).into_iter().map(|(_, mode)| mode).collect();
    let [mode] = &modes[..] else {
        panic!("{range:x?}: {modes:?}");
    };
    let allowed: &[&str] = match cache {
        "cached" => &[CACHED, NONCACHED],
        "writecombine" => &[WRITECOMBINE],
        _ => &[NONCACHED],
    };
    assert!(allowed.contains(&mode.as_str()), "{cache}: {mode}");
    mode.clone()
}

/// Four pages of every so many that there are.
fn some(map: &Map) -> impl Iterator<Item = usize> {
    let len = map.len();
    (0..len).step_by(len / 4)
}

fn ram_is_mapped_so_by_everybody() {
    let tables = PageTables::new();
    for &(cache, mode) in modes_of_ram() {
        for kind in ["pages", "contiguous"] {
            // Of pages that the kernel may map two megabytes at a time as well.
            for size in [SIZE, 4 << 20] {
                let settings = format!("memory={kind} cache={cache} size={size}");
                let folder = Folder::live("test", &[("one", &settings)]);
                let fd = folder.open();
                let map = Map::shared(&fd, size).expect("a mapping");
                let other = Map::shared(folder.open(), size).expect("a mapping");
                let look = |map: &Map| -> Vec<u64> {
                    some(map)
                        .map(|at| {
                            map.write(at, b"touched");
                            let entry = tables.own(map.address() + at).expect("a page");
                            assert_eq!(entry.mode, mode, "{settings}");
                            assert_eq!(tables.direct(entry.physical).mode, mode, "{settings}");
                            entry.physical
                        })
                        .collect()
                };
                let pages = look(&map);
                let mut child = Child::start(|| {
                    // Mapped when it was forked, by itself, and there as a part only.
                    assert_eq!(look(&map), pages);
                    assert_eq!(look(&other), pages);
                    let part = Map::shared_at(&fd, 2 * PAGE as u64, PAGE).expect("a mapping");
                    part.write(0, b"touched");
                    let entry = tables.own(part.address()).expect("a page");
                    assert_eq!(entry.mode, mode, "{settings}");
                });
                assert_eq!(child.wait(LIMIT), End::Status(0));
                // Still so after it was changed, forgotten and moved.
                map.protect(PROT_READ).expect("mprotect");
                map.protect(PROT_READ | PROT_WRITE).expect("mprotect");
                map.advise(libc::MADV_DONTNEED).expect("DONTNEED");
                let mut map = map;
                map.move_onto(Map::anonymous(size)).expect("a move");
                assert_eq!(look(&map), pages);
            }
        }
    }
}

fn ram_is_cached_again_when_it_is_free() {
    let tables = PageTables::new();
    for kind in ["pages", "contiguous"] {
        for &(cache, mode) in modes_of_ram() {
            let settings = format!("memory={kind} cache={cache} size=16pages");
            let folder = Folder::live("test", &[("one", &settings)]);
            let map = Map::shared(folder.open(), SIZE).expect("a mapping");
            let physical = |at: usize| {
                map.read(at..at + 1);
                tables.own(map.address() + at).expect("a page").physical
            };
            let pages: Vec<_> = some(&map).map(physical).collect();
            drop(folder);
            for page in &pages {
                assert_eq!(tables.direct(*page).mode, mode);
            }
            drop(map);
            for page in &pages {
                assert_eq!(tables.direct(*page).mode, CACHED, "{settings}");
            }
        }
    }
}

/// The pages of a device that nobody minds being written: BAR 2 of the machine's `ivshmem` device.
fn shared_memory() -> Range<u64> {
    Pci::find(0x1af4, 0x1110).bar(2)
}

fn page_frames_are_mapped_so_by_everybody() {
    let tables = PageTables::new();
    let range = shared_memory();
    let start = range.start;
    for (cache, _) in MODES {
        let settings = format!("memory=physical cache={cache} address={start:#x} size={SIZE}");
        let folder = Folder::live("test", &[("one", &settings)]);
        let mode = mode_of_physical(cache, &range);
        assert_eq!(tables.remapped(start), [&mode], "{cache}");
        let map = Map::shared(folder.open(), SIZE).expect("a mapping");
        let look = |map: &Map| {
            for at in some(map) {
                map.write(at, b"touched");
                let entry = tables.own(map.address() + at).expect("a page");
                assert_eq!(entry.physical, start + at as u64);
                assert_eq!(entry.mode, mode);
            }
        };
        look(&map);
        let mut child = Child::start(|| {
            look(&map);
            look(&Map::shared(folder.open(), SIZE).expect("a mapping"));
        });
        assert_eq!(child.wait(LIMIT), End::Status(0));
    }
}

/// The ranges that a PC's kernel keeps a mode for, with it, as far as they are of `range`.
#[cfg(target_arch = "x86_64")]
fn listed(range: &Range<u64>) -> Vec<(Range<u64>, String)> {
    let text = fs::read_to_string("/sys/kernel/debug/x86/pat_memtype_list").expect("debugfs");
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("PAT: [mem "));
    // `0x00000000fe800000-0x00000000fe801000] uncached-minus`.
    let entries = lines.map(|line| {
        let (addresses, mode) = line.split_once("] ").expect("a mode");
        let (start, end) = addresses.split_once('-').expect("two addresses");
        let number = |text: &str| u64::from_str_radix(&text[2..], 16).expect("an address");
        (number(start)..number(end), mode.to_owned())
    });
    let of_range = |entry: &Range<u64>| entry.start < range.end && range.start < entry.end;
    entries.filter(|(entry, _)| of_range(entry)).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn physical_ranges_are_listed_with_their_mode() {
    panic!("only PCs have a list");
}

#[cfg(target_arch = "x86_64")]
fn physical_ranges_are_listed_with_their_mode() {
    let bar = shared_memory();
    assert_eq!(listed(&bar), []);
    for (cache, _) in MODES {
        let start = bar.start + 2 * PAGE as u64;
        let range = start..start + SIZE as u64;
        let settings = format!(
            "memory=physical cache={cache} address={:#x} size={SIZE}",
            range.start
        );
        let folder = Folder::live("test", &[("one", &settings)]);
        let expected = [(range, mode_of_physical(cache, &bar))];
        assert_eq!(listed(&bar), expected);
        // A process's mapping is one more user of the same range, or none of its own.
        let map = Map::shared(folder.open(), SIZE).expect("a mapping");
        map.write(0, b"touched");
        assert!(
            listed(&bar).iter().all(|entry| *entry == expected[0]),
            "{:?}",
            listed(&bar)
        );
        drop(folder);
        assert!(listed(&bar).contains(&expected[0]));
        drop(map);
        assert_eq!(listed(&bar), []);
    }
    assert_eq!(crate::iomem::called("chrmem"), []);
}

fn one_device_has_windows_of_all_modes() {
    let tables = PageTables::new();
    let start = shared_memory().start;
    let folder = Folder::new("test");
    let mut expected = Vec::new();
    for (number, (cache, mode)) in MODES.into_iter().enumerate() {
        let address = start + (number * SIZE) as u64;
        for (kind, more) in [
            ("pages", String::new()),
            ("contiguous", String::new()),
            ("physical", format!("address={address:#x}")),
        ] {
            if kind != "physical" && !modes_of_ram().contains(&(cache, mode)) {
                continue;
            }
            let settings = format!("memory={kind} cache={cache} size={SIZE} {more}");
            folder.window(&format!("{kind}-{cache}"), &settings);
            expected.push((kind, cache, mode));
        }
    }
    folder.build();
    let fd = folder.open();
    for (number, (kind, cache, mode)) in expected.into_iter().enumerate() {
        let map = Map::shared_at(&fd, (number * SIZE) as u64, SIZE).expect("a mapping");
        map.write(SIZE - 8, b"the end.");
        let entry = tables.own(map.address() + SIZE - 8).expect("a page");
        if kind == "physical" {
            let page = entry.physical & !(PAGE as u64 - 1);
            let range = page..page + PAGE as u64;
            assert_eq!(entry.mode, mode_of_physical(cache, &range));
        } else {
            assert_eq!(entry.mode, mode, "window {number}");
        }
    }
}

fn dma_memory_is_as_its_device_needs_it() {
    let tables = PageTables::new();
    let folder = Folder::live("test", &[("one", "memory=dma size=4M")]);
    let window = folder.device().window(0).expect("WINDOW");
    let address = window.address.expect("an address");
    let map = Map::shared(folder.open(), 4 << 20).expect("a mapping");
    // On arm64, what no firmware has described does not see caches.
    let mode = match cfg!(target_arch = "aarch64") {
        true => (CacheMode::WriteCombine, WRITECOMBINE),
        false => (CacheMode::Cached, CACHED),
    };
    for at in (0..map.len()).step_by(64 * PAGE).chain([map.len() - PAGE]) {
        map.write(at, b"touched");
        let entry = tables.own(map.address() + at).expect("a page");
        // One run of memory. Where nothing translates for devices, theirs are its addresses.
        let expected = (address + at as u64, mode.1);
        assert_eq!((entry.physical, entry.mode), expected);
        // RAM as such is always cached; where that is wrong, the kernel has another mapping.
        assert_eq!(tables.direct(entry.physical).mode, CACHED);
    }
    let remapped: &[&str] = match mode.0 {
        CacheMode::Cached => &[],
        _ => &[mode.1],
    };
    assert_eq!(tables.remapped(address), remapped);
    assert_eq!(window.cache, mode.0);
    drop(map);
    folder.destroy();
    for cache in ["writecombine", "noncached"] {
        folder.change("one", &format!("cache={cache}"));
        folder.cannot_be_built(Errno::INVAL, &["window one", "coherent"]);
    }
}

fn dma_memory_of_a_pci_device_is_mapped_as_by_the_kernel() {
    let tables = PageTables::new();
    // One that no driver has had, and one that a driver has: what the firmware says of a device is first read for a driver.
    let edu = Pci::find(0x1234, 0x11e8);
    let bound = fs::read_dir("/sys/bus/pci/drivers/virtio-pci").expect("/sys");
    let bound = bound.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.starts_with("0000:").then_some(name)
    });
    let bound = bound.min().expect("a virtio device");
    for device in [edu.address(), &bound] {
        let settings = format!("memory=dma size={SIZE} device={device}");
        let folder = Folder::live("test", &[("one", &settings)]);
        let map = Map::shared(folder.open(), SIZE).expect("a mapping");
        map.write(0, b"touched");
        let first = tables.own(map.address()).expect("a page");
        // Where the kernel has no mapping but that of all RAM, it uses that one.
        let kernel = match tables.remapped(first.physical)[..] {
            [] => tables.direct(first.physical).mode,
            [mode] => mode,
            ref modes => panic!("{device}: {modes:?}"),
        };
        println!("report: dma of {device}: {kernel}");
        for at in some(&map) {
            map.write(at, b"touched");
            let entry = tables.own(map.address() + at).expect("a page");
            assert_eq!(entry.mode, kernel, "{settings}");
        }
        let cache = folder.device().window(0).expect("WINDOW").cache;
        let (_, mode) = MODES
            .into_iter()
            .find(|(name, _)| *name == cache.to_string())
            .expect("a mode");
        assert_eq!(mode, kernel, "{settings}");
    }
}

/// Settings for the memory of windows that can have a mode.
fn kinds<'a>(cache: &str, physical: &'a str) -> Vec<&'a str> {
    let mut kinds = vec![physical];
    if modes_of_ram().iter().any(|(name, _)| *name == cache) {
        kinds.extend(["memory=pages", "memory=contiguous"]);
    }
    kinds
}

fn ram_is_never_given_a_mode_that_it_cannot_have() {
    for (cache, mode) in MODES {
        if modes_of_ram().contains(&(cache, mode)) {
            continue;
        }
        for kind in ["pages", "contiguous"] {
            let folder = Folder::new("test");
            let settings = format!("memory={kind} cache={cache} size={SIZE}");
            folder.window_exactly("one", &settings);
            folder.cannot_be_built(Errno::OPNOTSUPP, &["window one", "always cached"]);
        }
    }
}

fn what_is_not_cached_is_not_copied_on_write() {
    let start = shared_memory().start;
    let physical = format!("memory=physical address={start:#x}");
    for (cache, _) in MODES {
        for kind in kinds(cache, &physical) {
            let settings = format!("{kind} cache={cache} size=16pages");
            let folder = Folder::live("test", &[("one", &settings)]);
            let fd = folder.open();
            for protection in [PROT_READ, PROT_READ | PROT_WRITE] {
                let map = Map::new(Some(fd.as_fd()), 0, SIZE, protection, MAP_PRIVATE);
                if cache == "cached" && *kind != physical {
                    map.expect("a private mapping");
                } else {
                    assert_eq!(map.err(), Some(Errno::INVAL), "{settings}");
                }
                Map::new(Some(fd.as_fd()), 0, SIZE, protection, MAP_SHARED).expect("a mapping");
            }
        }
    }
}

fn the_bytes_are_the_same_in_all_modes() {
    let start = shared_memory().start;
    let physical = format!("memory=physical address={start:#x}");
    for (cache, _) in MODES {
        for kind in kinds(cache, &physical) {
            let settings = format!("{kind} cache={cache} size=16pages fill=3");
            let folder = Folder::live("test", &[("one", &settings)]);
            let fd = folder.open();
            assert_eq!(get(&fd, 0, SIZE), [3; SIZE], "{settings}");
            put(&fd, 0, &pattern(SIZE));
            let map = Map::shared(&fd, SIZE).expect("a mapping");
            assert_eq!(map.read(0..SIZE), pattern(SIZE), "{settings}");
            let mut child = Child::start(|| {
                let other = Map::shared(folder.open(), SIZE).expect("a mapping");
                assert_eq!(other.read(0..SIZE), pattern(SIZE));
                other.write(SIZE - 5, b"child");
            });
            assert_eq!(child.wait(LIMIT), End::Status(0));
            assert_eq!(get(&fd, SIZE as u64 - 5, 5), b"child");
            folder
                .device()
                .clear_range(1..SIZE as u64 - 1)
                .expect("CLEAR");
            assert_eq!(map.read(0..3), [0; 3]);
            assert_eq!(map.read(SIZE - 3..SIZE), b"\0\0d");
        }
    }
}
