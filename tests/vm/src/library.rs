// SPDX-License-Identifier: MIT OR Apache-2.0

//! The library and the command, on the real device.

use crate::commands::{chrmem, printed};
use crate::driver::{self, generation, pattern, NODE, SIZE};
use crate::sys::{self, PAGE, PAGE64};
use chrmem::{CacheMode, Device, Errno, Error, MapOptions, MemoryKind};
use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, SealFlags};
use rustix::pipe::{pipe_with, PipeFlags};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

crate::tests! {
    the_library_describes_the_device
    the_library_maps_any_range
    the_library_changes_the_device
    the_library_s_errors_keep_the_kernel_s
    the_library_maps_files_of_huge_pages
    the_demo_is_the_lesson
    the_command_clears_and_resets
    the_command_says_what_to_do
    a_closed_pipe_is_no_error
}

fn open() -> Device {
    Device::open(NODE).expect(NODE)
}

fn the_library_describes_the_device() {
    let device = Device::open_read_only(NODE).expect(NODE);
    let info = device.info().expect("INFO");
    assert_eq!((info.version, info.size, info.windows), (1, SIZE as u64, 1));
    assert_eq!(info.generation, generation());
    let [window] = &device.windows().expect("WINDOW")[..] else {
        panic!("not one window")
    };
    assert_eq!(
        (window.index, window.name.as_str(), window.address),
        (0, "buffer", None)
    );
    assert_eq!(
        (window.range(), window.memory),
        (0..SIZE as u64, MemoryKind::Pages)
    );
    assert_eq!(
        (window.cache, window.access.to_string().as_str()),
        (CacheMode::Cached, "rw")
    );
}

/// The kernel unmaps whole huge pages only.
fn the_library_maps_files_of_huge_pages() {
    const HUGE: u64 = sys::HUGE as u64;
    let reserve = |pages| fs::write("/proc/sys/vm/nr_hugepages", pages).expect("a setting");
    let free = || {
        let text = fs::read_to_string("/proc/meminfo").expect("/proc");
        let line = text.lines().find(|it| it.starts_with("HugePages_Free"));
        line.and_then(|it| it.split(' ').next_back()?.parse::<u64>().ok())
    };
    reserve("3");
    assert_eq!(free(), Some(3));
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB;
    let file = memfd_create("huge", flags | MemfdFlags::ALLOW_SEALING).expect("a memfd");
    ftruncate(&file, 3 * HUGE).expect("a size");
    let map = |range: std::ops::Range<u64>| MapOptions::new().range(range).map_file(&file);
    let bytes = pattern(3 * HUGE as usize);
    let all = map(0..3 * HUGE).expect("a mapping");
    all.copy_from(0, &bytes).expect("room");
    assert!(all.can_shrink());
    for (start, end) in [
        (0, 1),
        (PAGE64, 2 * PAGE64),
        (HUGE - 1, HUGE + 1),
        (HUGE + 5, 3 * HUGE - 5),
    ] {
        let part = map(start..end).expect("a mapping");
        assert_eq!((part.offset(), part.len() as u64), (start, end - start));
        let mut copy = vec![0; part.len()];
        part.copy_to(0, &mut copy).expect("its bytes");
        assert!(copy == bytes[start as usize..end as usize]);
    }
    drop(all);
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    assert!(!maps.contains("memfd:huge"), "{maps}");
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let length = sys::HUGE * 3 / 2;
    let output = chrmem(&["cat", &path, "5", &length.to_string()]);
    assert!(output.stdout == bytes[5..5 + length]);
    fcntl_add_seals(&file, SealFlags::SHRINK).expect("a seal");
    assert!(!map(5..6).expect("a mapping").can_shrink());
    drop(file);
    assert_eq!(free(), Some(3));
    reserve("0");
}

fn the_library_maps_any_range() {
    driver::with(&format!("size={}", 5 * PAGE - 480), || {
        let device = open();
        let size = device.info().expect("INFO").size as usize;
        driver::put(&device, 0, &pattern(size));
        for (start, end) in [
            (0, size),
            (1, 2),
            (PAGE - 1, PAGE + 1),
            (PAGE + 904, 4 * PAGE + 616),
            (size - 1, size),
        ] {
            let mapping = device.map(start as u64..end as u64).expect("a mapping");
            let mut bytes = vec![0; end - start];
            mapping.copy_to(0, &mut bytes).expect("bytes");
            assert_eq!(bytes, pattern(size)[start..end], "{start}..{end}");
        }
        assert_eq!(device.map(..).expect("a mapping").len(), size);
        assert_eq!(device.map(100..).expect("a mapping").len(), size - 100);
        let mapping = device
            .map(2 * PAGE64 + 808..2 * PAGE64 + 818)
            .expect("a mapping");
        drop(device);
        mapping.copy_from(3, b"stored").expect("bytes");
        assert_eq!(driver::get(open(), 2 * PAGE64 + 811, 6), b"stored");
    });
}

fn the_library_changes_the_device() {
    let (device, before) = (open(), generation());
    let mapping = device.map(..).expect("a mapping");
    assert_eq!(device.write_at(5, b"written").expect("bytes"), 7);
    let mut bytes = [0; 7];
    assert_eq!(device.read_at(5, &mut bytes).expect("bytes"), 7);
    assert_eq!(&bytes, b"written");
    device.clear_range(6..8).expect("CLEAR");
    assert_eq!(mapping.c_string(5).expect("text"), b"w");
    device.reset().expect("RESET");
    assert_eq!(mapping.c_string(0).expect("text"), b"hello, user!");
    device.clear().expect("MEM_CLEAR");
    assert_eq!(mapping.c_string(0).expect("text"), b"");
    device.notify().expect("NOTIFY");
    assert_eq!(device.seen().expect("SEEN"), before + 5);
}

fn the_library_s_errors_keep_the_kernel_s() {
    let (device, reader) = (open(), Device::open_read_only(NODE).expect(NODE));
    let size = SIZE as u64;
    for (error, errno, text) in [
        (
            device.map(size..size + 1).unwrap_err(),
            Errno::NXIO,
            format!("map bytes {size}..{} of", size + 1).as_str(),
        ),
        (
            device.map(0..size + 1).unwrap_err(),
            Errno::INVAL,
            &format!("map bytes 0..{} of", size + 1),
        ),
        (
            device.window(1).unwrap_err(),
            Errno::INVAL,
            "ask for window 1 of",
        ),
        (
            device.clear_range(1..1).unwrap_err(),
            Errno::INVAL,
            "clear bytes 1..1 of",
        ),
        (
            device.write_at(size, b"x").unwrap_err(),
            Errno::NOSPC,
            &format!("write 1 bytes at {size} of"),
        ),
        (reader.clear().unwrap_err(), Errno::BADF, "clear"),
        (
            reader.notify().unwrap_err(),
            Errno::BADF,
            "notify the users of",
        ),
    ] {
        assert_eq!(error.errno(), Some(errno), "{error}");
        assert_eq!(error.to_string(), format!("cannot {text} {NODE}"));
    }
    let mapping = reader.map(..).expect("a mapping");
    assert!(matches!(mapping.copy_from(0, b"x"), Err(Error::ReadOnly)));
}

/// What the demo prints of a device that was just made, of which a hundredth is filled: 40 bytes of 4096.
pub(crate) fn lesson() -> String {
    format!("Before Write, shm = {}\n{LESSON}", "*".repeat(SIZE / 100))
}

/// What it prints then.
const LESSON: &str = "\
After write, shm = User write to share memory!
After clear, shm =
After reset, shm = hello, user!
";

fn the_demo_is_the_lesson() {
    driver::with("", || {
        assert_eq!(printed(&["demo", "chrmem0"]), lesson());
        // What was there is shown first, whatever it is.
        driver::put(open(), 0, b"something else\0");
        let again = format!("Before Write, shm = something else\n{LESSON}");
        assert_eq!(printed(&["demo", NODE]), again);
    });
    // Of a device that is larger, only its start.
    driver::with("devices=2 size=1048576", || {
        let first = format!("Before Write, shm = {}\n", "*".repeat(10485));
        assert!(printed(&["demo", "/dev/chrmem1"]).starts_with(&first));
    });
}

fn the_command_clears_and_resets() {
    driver::put(open(), 0, &pattern(SIZE));
    assert_eq!(printed(&["reset", NODE]), "");
    assert_eq!(driver::get(open(), 0, 13), b"hello, user!\0");
    assert_eq!(printed(&["clear", NODE]), "");
    assert_eq!(driver::get(open(), 0, SIZE), vec![0; SIZE]);
}

fn the_command_says_what_to_do() {
    let output = Command::new("chrmem")
        .arg("info")
        .uid(65534)
        .gid(65534)
        .output()
        .expect("chrmem");
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("cannot open /dev/chrmem0: Permission denied"),
        "{complaint}"
    );
    assert!(
        complaint.contains("hint: it belongs to root"),
        "{complaint}"
    );
    driver::without(|| {
        let output = chrmem(&["demo", NODE]);
        assert_eq!(output.status.code(), Some(1));
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            complaint.contains("cannot open /dev/chrmem0: No such file"),
            "{complaint}"
        );
        assert!(
            complaint.contains("hint: `chrmem list` shows the devices"),
            "{complaint}"
        );
    });
}

fn a_closed_pipe_is_no_error() {
    for arguments in [&["info"][..], &["demo", NODE], &["--help"]] {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        drop(out);
        let child = Command::new("chrmem")
            .args(arguments)
            .stdout(into)
            .stderr(Stdio::piped())
            .spawn();
        let output = child
            .expect("chrmem runs")
            .wait_with_output()
            .expect("it ends");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            (output.status.code(), complaint.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}
