// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the library maps, waits for and hands over, on the real device.

use crate::driver::{get, open, pattern, put, NODE, SIZE};
use crate::folder::Folder;
use crate::poll::wait_until_asleep;
use crate::sys::{Child, End, PAGE, PAGE64};
use chrmem::{Device, Direction, Errno, Error, MapOptions, Mapping};
use std::fs::{self, File};
use std::io::Read;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

crate::tests! {
    a_window_is_mapped_by_name_and_by_index
    what_does_not_lie_in_a_window_is_refused
    a_device_is_a_file_that_maps
    a_block_device_is_a_file_that_maps
    every_kind_of_memory_can_be_accessed_in_every_way
    a_private_mapping_of_the_device_keeps_its_writes
    a_read_only_window_is_mapped_read_only
    atomics_are_the_device_s
    a_change_ends_a_wait
    no_change_lets_it_run_out
    an_exported_range_is_the_same_memory
    an_access_begins_and_ends
}

const LIMIT: Duration = Duration::from_secs(40);

/// Where the second of the windows starts.
const TWO: u64 = 16 * PAGE64;

/// Two windows with a hole between them, whose bytes are a pattern.
fn windows() -> (Folder, Device) {
    let folder = Folder::live(
        "test",
        &[("one", "size=2pages"), ("two", "offset=16pages size=1page")],
    );
    let device = Device::open(folder.node()).expect("a device");
    put(&device, 0, &pattern(2 * PAGE));
    put(&device, TWO, &pattern(SIZE));
    (folder, device)
}

fn bytes(memory: &Mapping) -> Vec<u8> {
    let mut bytes = vec![0; memory.len()];
    memory.copy_to(0, &mut bytes).expect("bytes");
    bytes
}

fn a_window_is_mapped_by_name_and_by_index() {
    let (_folder, device) = windows();
    for two in [MapOptions::new().window("two"), MapOptions::new().window(1)] {
        let memory = two.map(&device).expect("a mapping");
        assert_eq!((memory.offset(), memory.can_shrink()), (TWO, false));
        assert_eq!(bytes(&memory), pattern(SIZE));
        let part = two
            .clone()
            .range(4000..)
            .map_file(&device)
            .expect("a mapping");
        assert_eq!((part.offset(), part.len()), (TWO + 4000, SIZE - 4000));
        assert_eq!(bytes(&part), pattern(SIZE)[4000..]);
    }
    let memory = MapOptions::new()
        .window("one")
        .range(PAGE64 - 6..=PAGE64 + 3)
        .map(&device);
    assert_eq!(
        bytes(&memory.expect("a mapping")),
        pattern(2 * PAGE)[PAGE - 6..PAGE + 4]
    );
    // Every page at once, and locked: what that means of a device's memory is the kernel's business.
    let all = MapOptions::new().window(0).populate().lock().map(&device);
    assert_eq!(bytes(&all.expect("a mapping")), pattern(2 * PAGE));
}

fn what_does_not_lie_in_a_window_is_refused() {
    let (folder, device) = windows();
    let error = MapOptions::new().window("three").map(&device).unwrap_err();
    let node = folder.node();
    assert_eq!(
        error.to_string(),
        format!("{node} has no window called `three`")
    );
    let error = MapOptions::new().window(2).map(&device).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::INVAL));
    // Not into the next window either.
    let size = 2 * PAGE64;
    for (start, end) in [
        (size, size + 1),
        (0, size + 1),
        (TWO, TWO + 1),
        (1, u64::MAX),
    ] {
        let options = MapOptions::new().window(0).range(start..end);
        let error = options.map(&device).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "bytes {start}..{end} do not lie in window `one` of {node}, which has {size} bytes"
            )
        );
    }
    let error = MapOptions::new()
        .window(0)
        .range(5..5)
        .map(&device)
        .unwrap_err();
    assert!(matches!(error, Error::EmptyRange { .. }), "{error:?}");
    // Without a window, the kernel says where one ends.
    let error = device.map(0..size + 1).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::INVAL));
    let error = device.map(size..size + 1).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NXIO));
}

fn a_device_is_a_file_that_maps() {
    put(open(), 0, &pattern(SIZE));
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(NODE)
        .expect(NODE);
    let mut start = [0; 10];
    file.read_exact(&mut start).expect("bytes");
    let memory = MapOptions::new().map_file(&file).expect("a mapping");
    assert_eq!(bytes(&memory), pattern(SIZE));
    assert!(!memory.can_shrink());
    // The position is where it was.
    file.read_exact(&mut start).expect("bytes");
    assert_eq!(start, pattern(20)[10..]);
    let mut copy = tempfile();
    memory
        .view(100..200)
        .expect("a view")
        .write_to(&copy.0)
        .expect("written");
    let mut text = Vec::new();
    copy.1.read_to_end(&mut text).expect("bytes");
    assert_eq!(text, pattern(200)[100..]);
}

/// A file to write to, and to read what was written.
fn tempfile() -> (File, File) {
    let path = "/tmp/chrmem-options";
    let writer = File::create(path).expect(path);
    let reader = File::open(path).expect(path);
    fs::remove_file(path).expect(path);
    (writer, reader)
}

/// A block device's size comes from the device, and what is asked for behind it is an error.
fn a_block_device_is_a_file_that_maps() {
    const SIZE: usize = 64 << 10;
    let modprobe = |arguments: &[&str]| {
        let status = Command::new("modprobe").args(arguments).status();
        assert!(status.expect("modprobe runs").success(), "{arguments:?}");
    };
    modprobe(&["brd", "rd_nr=1", "rd_size=64"]);
    let disk = File::options().read(true).write(true).open("/dev/ram0");
    let disk = disk.expect("a disk");
    put(&disk, 0, &pattern(SIZE));
    let memory = MapOptions::new().map_file(&disk).expect("a mapping");
    assert!(memory.can_shrink());
    assert_eq!(bytes(&memory), pattern(SIZE));
    memory.copy_from(5000, b"stored").expect("bytes");
    assert_eq!(get(&disk, 5000, 6), b"stored");
    let error = MapOptions::new().range(1..=SIZE as u64).map_file(&disk);
    assert!(
        matches!(error, Err(Error::PastEnd { size: 65536, .. })),
        "{error:?}"
    );
    drop((disk, memory));
    modprobe(&["--remove", "brd"]);
}

/// Also where a mapping has no pages that the kernel could take hold of.
fn every_kind_of_memory_can_be_accessed_in_every_way() {
    for settings in [
        "memory=pages",
        "memory=pages cache=writecombine",
        "memory=contiguous cache=noncached",
        "memory=dma",
    ] {
        let folder = Folder::live("test", &[("one", &format!("size=2pages {settings}"))]);
        let device = Device::open(folder.node()).expect("a device");
        let memory = device.map(..).expect("a mapping");
        memory.copy_from(0, &pattern(2 * PAGE)).expect("bytes");
        assert_eq!(bytes(&memory), pattern(2 * PAGE), "{settings}");
        assert_eq!(get(&device, 0, 2 * PAGE), pattern(2 * PAGE), "{settings}");
        memory
            .atomic::<u32>(8)
            .expect("a number")
            .store(7, Ordering::Release);
        assert_eq!(
            memory.load::<u32>(8, Ordering::Acquire).expect("a number"),
            7
        );
        memory
            .array::<u32>()
            .set(2, &u32::from_ne_bytes([8, 9, 10, 11]))
            .expect("bytes");
        let mut copy = tempfile();
        memory.write_to(&copy.0).expect("written");
        let mut text = Vec::new();
        copy.1.read_to_end(&mut text).expect("bytes");
        assert_eq!(text, pattern(2 * PAGE), "{settings}");
    }
}

fn a_private_mapping_of_the_device_keeps_its_writes() {
    put(open(), 0, &pattern(SIZE));
    let reader = Device::open_read_only(NODE).expect(NODE);
    let memory = MapOptions::new().private().map(&reader).expect("a mapping");
    memory.copy_from(0, b"private").expect("bytes");
    assert_eq!(bytes(&memory)[..8], *b"private\x07");
    assert_eq!(get(open(), 0, SIZE), pattern(SIZE));
}

fn a_read_only_window_is_mapped_read_only() {
    let folder = Folder::live("test", &[("one", "size=1page access=ro fill=42")]);
    let device = Device::open(folder.node()).expect("a device");
    let error = device.map(..).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ACCESS));
    let memory = MapOptions::new()
        .read_only()
        .map(&device)
        .expect("a mapping");
    assert_eq!(bytes(&memory), [42; SIZE]);
    assert!(matches!(memory.copy_from(0, b"x"), Err(Error::ReadOnly)));
    assert_eq!(
        memory.load::<u16>(2, Ordering::Relaxed).expect("a number"),
        0x2a2a
    );
}

/// Two processes count in one place, and lose nothing.
fn atomics_are_the_device_s() {
    const COUNT: u64 = 20_000;
    let device = Device::open(NODE).expect(NODE);
    device.clear().expect("MEM_CLEAR");
    let count = || {
        let memory = Device::open(NODE).expect(NODE).map(..).expect("a mapping");
        let counter = memory.atomic::<u64>(64).expect("a number");
        for _ in 0..COUNT {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut child = Child::start(count);
    count();
    assert_eq!(child.wait(LIMIT), End::Status(0));
    assert_eq!(get(&device, 64, 8), (2 * COUNT).to_ne_bytes());
    let array = device.map(..).expect("a mapping");
    assert_eq!(array.array::<u64>().get(8).expect("a number"), 2 * COUNT);
}

fn a_change_ends_a_wait() {
    let device = Device::open(NODE).expect(NODE);
    let before = device.seen().expect("SEEN");
    let mut child = Child::start(|| {
        let other = Device::open(NODE).expect(NODE);
        let before = other.seen().expect("SEEN");
        let after = other.wait(Some(LIMIT)).expect("a change");
        assert!(after > Some(before));
    });
    wait_until_asleep(child.id());
    device.notify().expect("NOTIFY");
    assert_eq!(child.wait(LIMIT), End::Status(0));
    // What has happened already does not have to be waited for.
    let start = Instant::now();
    let after = device.wait(None).expect("a change").expect("a generation");
    assert!(after > before && start.elapsed() < LIMIT / 2);
    assert_eq!(device.wait(Some(Duration::ZERO)).expect("no change"), None);
}

fn no_change_lets_it_run_out() {
    let device = Device::open(NODE).expect(NODE);
    device.seen().expect("SEEN");
    let (start, time) = (Instant::now(), Duration::from_millis(30));
    assert_eq!(device.wait(Some(time)).expect("no change"), None);
    assert!(start.elapsed() >= time);
}

fn an_exported_range_is_the_same_memory() {
    let (folder, device) = windows();
    let buffer = device.export(PAGE64..2 * PAGE64).expect("a dma-buf");
    let memory = MapOptions::new().map_file(&buffer).expect("a mapping");
    assert_eq!((memory.len(), memory.can_shrink()), (SIZE, false));
    assert_eq!(bytes(&memory), pattern(2 * PAGE)[PAGE..]);
    memory.copy_from(0, b"through the buffer").expect("bytes");
    assert_eq!(get(&device, PAGE64, 18), b"through the buffer");
    for (start, end, errno) in [
        (1, PAGE64 + 1, Errno::INVAL),
        (PAGE64, 3 * PAGE64, Errno::INVAL),
        (2 * PAGE64, 3 * PAGE64, Errno::NXIO),
        (PAGE64, PAGE64, Errno::INVAL),
    ] {
        let text = format!("export bytes {start}..{end} of");
        let error = device.export(start..end).unwrap_err();
        assert_eq!(error.errno(), Some(errno), "{text}");
        let text = format!("cannot {text} {}", folder.node());
        assert_eq!(error.to_string(), text);
    }
}

fn an_access_begins_and_ends() {
    let (_folder, device) = windows();
    for direction in [Direction::Read, Direction::Write, Direction::ReadWrite] {
        device
            .sync(100..200, direction)
            .expect("SYNC")
            .end()
            .expect("SYNC");
        drop(device.sync(..2 * PAGE64, direction).expect("SYNC"));
    }
    for (start, end, errno) in [
        (5, 5, Errno::INVAL),
        (0, 1 << 40, Errno::INVAL),
        (2 * PAGE64, 2 * PAGE64 + 1, Errno::NXIO),
    ] {
        let error = device.sync(start..end, Direction::Read).unwrap_err();
        assert_eq!(error.errno(), Some(errno), "{error}");
        let text = format!("cannot begin an access to bytes {start}..{end} of ");
        assert!(error.to_string().starts_with(&text), "{error}");
    }
}
