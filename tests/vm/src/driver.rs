// SPDX-License-Identifier: MIT OR Apache-2.0

//! The driver: loading it, unloading it, opening its device, and what it shows of itself.

use crate::sys::{PAGE, PAGE64};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The node of the first device.
pub(crate) const NODE: &str = "/dev/chrmem0";

/// Bytes of a device unless the `size` parameter says otherwise.
pub(crate) const SIZE: usize = PAGE;

/// Where the module is.
pub(crate) fn module() -> PathBuf {
    std::env::var_os("CHRMEM_KO").map_or("/lab/chrmem.ko".into(), PathBuf::from)
}

/// The module in memory, without what debuggers read: the kernel leaves that alone, but has to copy it, nine tenths of all.
pub(crate) fn stripped() -> PathBuf {
    let stripped = PathBuf::from("/tmp/chrmem-stripped.ko");
    let strip = Command::new("strip")
        .args(["-g", "-o"])
        .args([&stripped, &module()])
        .status();
    assert!(strip.expect("strip runs").success());
    stripped
}

/// A text in which numbers of pages, such as `1page` and `2pages`, are replaced by bytes.
pub(crate) fn in_bytes(text: &str) -> String {
    let mut parts = text.split("page");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let before = result
            .trim_end_matches(|it: char| it.is_ascii_digit())
            .len();
        match result[before..].parse::<u64>() {
            Ok(count) => {
                result.truncate(before);
                result += &(count * PAGE64).to_string();
                result += part.strip_prefix('s').unwrap_or(part);
            }
            Err(_) => {
                result += "page";
                result += part;
            }
        }
    }
    result
}

/// Loads the driver. Parameters are words such as `size=2pages`.
pub(crate) fn load(parameters: &str) -> Result<(), Errno> {
    load_from(&module(), parameters)
}

/// Loads the driver from another file.
pub(crate) fn load_from(path: &Path, parameters: &str) -> Result<(), Errno> {
    let module = fs::File::open(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let parameters = CString::new(in_bytes(parameters)).expect("words");
    rustix::system::finit_module(module, &parameters, 0)
}

/// Unloads the driver.
pub(crate) fn unload() -> Result<(), Errno> {
    rustix::system::delete_module(c"chrmem", OFlags::NONBLOCK.bits() as i32)
}

/// Unloads the driver once the kernel has done what it puts off after the last user has gone.
pub(crate) fn unload_soon() -> Result<(), Errno> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match unload() {
            Err(Errno::AGAIN) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            answer => return answer,
        }
    }
}

/// Runs `body` with the driver loaded with parameters, and loads it without afterwards.
pub(crate) fn with<T>(parameters: &str, body: impl FnOnce() -> T) -> T {
    without(|| {
        load(parameters).unwrap_or_else(|error| panic!("load with {parameters:?}: {error}"));
        let answer = body();
        unload_soon().expect("unload");
        answer
    })
}

/// Runs `body` without the driver, and loads it afterwards.
pub(crate) fn without<T>(body: impl FnOnce() -> T) -> T {
    unload_soon().expect("unload");
    let answer = body();
    load("").expect("load");
    answer
}

/// After a test that failed: brings the driver back as all tests expect it.
pub(crate) fn restore() {
    if users().is_some() {
        if let Err(error) = unload_soon() {
            eprintln!("after a failed test, unload: {error}");
        }
    }
    if let Err(error) = load("") {
        eprintln!("after a failed test, load: {error}");
    }
}

/// Opens the first device for reading and writing.
pub(crate) fn open() -> OwnedFd {
    open_as(OFlags::RDWR)
}

/// Opens the first device for reading.
pub(crate) fn open_read_only() -> OwnedFd {
    open_as(OFlags::RDONLY)
}

/// Opens the first device for writing.
pub(crate) fn open_write_only() -> OwnedFd {
    open_as(OFlags::WRONLY)
}

/// Opens the first device.
pub(crate) fn open_as(flags: OFlags) -> OwnedFd {
    open_node(NODE, flags).unwrap_or_else(|error| panic!("{NODE}: {error}"))
}

/// Opens a node.
pub(crate) fn open_node(path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path.as_ref(), flags | OFlags::CLOEXEC, Mode::empty())
}

/// Writes bytes to a device, all of them.
pub(crate) fn put(fd: impl AsFd, offset: u64, bytes: &[u8]) {
    assert_eq!(rustix::io::pwrite(fd, bytes, offset), Ok(bytes.len()));
}

/// Reads bytes from a device, as many as asked for.
pub(crate) fn get(fd: impl AsFd, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    assert_eq!(rustix::io::pread(fd, &mut bytes[..], offset), Ok(len));
    bytes
}

/// `len` bytes, no page like another.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at % 251) as u8 ^ (at / PAGE) as u8)
        .collect()
}

/// The driver's major number in `/proc/devices`.
pub(crate) fn major() -> Option<u32> {
    let devices = fs::read_to_string("/proc/devices").expect("/proc");
    let (characters, _) = devices.split_once("Block devices:").expect("two lists");
    let line = characters
        .lines()
        .find_map(|line| line.strip_suffix(" chrmem_dev"))?;
    Some(line.trim().parse().expect("a number"))
}

/// How many users of the driver `/proc/modules` counts; `None` if it is not loaded.
pub(crate) fn users() -> Option<u32> {
    let modules = fs::read_to_string("/proc/modules").expect("/proc");
    let line = modules.lines().find(|line| line.starts_with("chrmem "))?;
    Some(
        line.split(' ')
            .nth(2)
            .expect("a count")
            .parse()
            .expect("a number"),
    )
}

/// What the driver shows of a device in debugfs and of an open file in fdinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) size: u64,
    pub(crate) generation: u64,
    /// How many mappings there are, and how many there ever were.
    pub(crate) mappings: (i64, i64),
    /// Index, name, offset, size, memory kind, cache mode, access mode.
    pub(crate) windows: Vec<String>,
    /// Only of an open file.
    pub(crate) seen: Option<u64>,
}

/// What debugfs shows of the first device.
pub(crate) fn shown() -> Shown {
    shown_of("chrmem0")
}

/// What debugfs shows of a device.
pub(crate) fn shown_of(device: &str) -> Shown {
    try_shown_of(device).unwrap_or_else(|error| panic!("debugfs, {device}: {error}"))
}

/// The same, where the device may be gone.
pub(crate) fn try_shown_of(device: &str) -> std::io::Result<Shown> {
    let path = Path::new("/sys/kernel/debug/chrmem").join(device);
    Ok(parse(&fs::read_to_string(path)?, ""))
}

/// What fdinfo shows of an open file.
pub(crate) fn fdinfo(fd: impl AsFd) -> Shown {
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    parse(&fs::read_to_string(path).expect("/proc"), "chrmem-")
}

fn parse(text: &str, prefix: &str) -> Shown {
    let values = |key: &str| -> Vec<&str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
        lines
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"))
            .collect()
    };
    let value = |key: &str| match values(key)[..] {
        [value] => value,
        _ => panic!("not one line for {key}: {text}"),
    };
    let number = |text: &str| {
        text.parse()
            .unwrap_or_else(|error| panic!("{text:?}: {error}"))
    };
    let (now, ever) = value("mappings").split_once(' ').expect("two counts");
    let seen = values("seen").first().map(|text| number(text));
    Shown {
        size: number(value("size")),
        generation: number(value("generation")),
        mappings: (
            now.parse().expect("a count"),
            ever.parse().expect("a count"),
        ),
        windows: values("window").into_iter().map(str::to_owned).collect(),
        seen,
    }
}

/// How many mappings of the first device there are.
pub(crate) fn mappings() -> i64 {
    shown().mappings.0
}

/// The generation of the first device.
pub(crate) fn generation() -> u64 {
    shown().generation
}
