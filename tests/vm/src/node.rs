// SPDX-License-Identifier: MIT OR Apache-2.0

//! The device's node, and what else of it is in the file system.

use crate::driver::{self, get, open_node, put, NODE};
use crate::map::Disk;
use crate::sys::PAGE64;
use rustix::fs::{
    fallocate, ftruncate, makedev, mknodat, FallocateFlags, FileType, Mode, OFlags, CWD,
};
use rustix::io::Errno;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

crate::tests! {
    the_node_is_there_by_itself_and_root_s
    the_class_has_the_device
    debugfs_has_the_device
    a_node_made_by_hand_is_the_same_device
    a_node_on_a_disk_is_for_pins_that_last
    a_minor_without_a_device_cannot_be_opened
    others_than_root_cannot_open_the_node
    what_a_device_is_not
}

fn the_node_is_there_by_itself_and_root_s() {
    let node = fs::metadata(NODE).expect(NODE);
    assert!(node.file_type().is_char_device());
    assert_eq!(
        node.rdev(),
        makedev(driver::major().expect("a line in /proc/devices"), 0)
    );
    assert_eq!(node.permissions().mode() & 0o7777, 0o600);
    assert_eq!((node.uid(), node.gid()), (0, 0));
}

fn the_class_has_the_device() {
    let names: Vec<_> = fs::read_dir("/sys/class/chrmem")
        .expect("the class")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["chrmem0"]);
    let major = driver::major().expect("a line in /proc/devices");
    let file = |name| fs::read_to_string(format!("/sys/class/chrmem/chrmem0/{name}")).expect(name);
    assert_eq!(file("dev"), format!("{major}:0\n"));
    assert!(file("uevent").lines().any(|line| line == "DEVNAME=chrmem0"));
}

fn debugfs_has_the_device() {
    let shown = driver::shown();
    assert_eq!(shown.size, PAGE64);
    assert_eq!(shown.mappings.0, 0);
    assert_eq!(
        shown.windows,
        [format!("0 buffer 0 {PAGE64} pages cached rw")]
    );
    let mode = fs::metadata("/sys/kernel/debug/chrmem/chrmem0")
        .expect("debugfs")
        .mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");

    let fd = driver::open_read_only();
    let seen = driver::fdinfo(&fd);
    assert_eq!(seen.seen, Some(shown.generation));
    assert_eq!(driver::Shown { seen: None, ..seen }, shown);
}

/// A node of the driver, removed when dropped.
pub(crate) struct MadeByHand(&'static str);

impl MadeByHand {
    /// Makes the node, for one of the driver's minor numbers.
    pub(crate) fn new(path: &'static str, minor: u32) -> Self {
        let device = makedev(driver::major().expect("a line in /proc/devices"), minor);
        let mode = Mode::RUSR | Mode::WUSR;
        let made = mknodat(CWD, path, FileType::CharacterDevice, mode, device);
        made.unwrap_or_else(|error| panic!("{path}: {error}"));
        Self(path)
    }

    /// Opens it.
    pub(crate) fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_node(self.0, flags)
    }
}

impl Drop for MadeByHand {
    fn drop(&mut self) {
        fs::remove_file(self.0).expect(self.0);
    }
}

fn a_node_made_by_hand_is_the_same_device() {
    let node = MadeByHand::new("/tmp/sln_memdev", 0);
    let (fd, other) = (
        open_node(node.0, OFlags::RDWR).expect(node.0),
        driver::open(),
    );
    put(&fd, 100, b"by hand");
    assert_eq!(get(&other, 100, 7), b"by hand");
    put(&other, 100, b"BY ITSELF");
    assert_eq!(get(&fd, 100, 9), b"BY ITSELF");
}

/// Registers a mapping of a node as a buffer of io_uring's, and prints the answer.
pub(crate) const REGISTER: &str = r#"
import ctypes, errno, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
memory = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), mmap.PAGESIZE)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
ring = libc.syscall(425, 1, ctypes.create_string_buffer(120))
assert ring >= 0
buffers = struct.pack("<QQ", address, mmap.PAGESIZE)
answer = libc.syscall(427, ring, 0, buffers, 1)
print("registered" if answer == 0 else errno.errorcode[ctypes.get_errno()])
"#;

/// Were its mappings those of a file of that disk, the disk would have to be told of each store.
fn a_node_on_a_disk_is_for_pins_that_last() {
    let register = |node: &str| {
        let output = Command::new("python3")
            .args(["-c", REGISTER, node])
            .output();
        let output = output.expect("python3 runs");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{complaint}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let run = |words: &[&str]| {
        let status = Command::new(words[0]).args(&words[1..]).status();
        assert!(status.expect("it runs").success(), "{words:?}");
    };
    assert_eq!(register(NODE), "registered");
    let disk = Disk::new();
    run(&["mkfs.ext4", "-q", "-O", "^has_journal", "/dev/ram0"]);
    fs::create_dir_all("/tmp/disk").expect("/tmp");
    run(&["mount", "/dev/ram0", "/tmp/disk"]);
    let node = MadeByHand::new("/tmp/disk/sln_memdev", 0);
    let answer = register(node.0);
    drop(node);
    run(&["umount", "/tmp/disk"]);
    fs::remove_dir("/tmp/disk").expect("/tmp");
    run(&["modprobe", "-r", "ext4"]);
    drop(disk);
    assert_eq!(answer, "registered");
}

fn a_minor_without_a_device_cannot_be_opened() {
    for minor in [1, 2, 4095, 4096, 0xf_ffff] {
        let node = MadeByHand::new("/tmp/no_memdev", minor);
        assert_eq!(
            node.open(OFlags::RDWR).err(),
            Some(Errno::NXIO),
            "minor {minor}"
        );
    }
}

fn others_than_root_cannot_open_the_node() {
    let output = Command::new("head")
        .args(["-c1", NODE])
        .uid(65534)
        .gid(65534)
        .output();
    let output = output.expect("head runs");
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("Permission denied"), "{complaint}");
}

fn what_a_device_is_not() {
    assert_eq!(
        open_node(NODE, OFlags::RDWR | OFlags::DIRECT).err(),
        Some(Errno::INVAL)
    );
    assert_eq!(
        open_node(NODE, OFlags::RDWR | OFlags::DIRECTORY).err(),
        Some(Errno::NOTDIR)
    );
    let fd = driver::open();
    assert_eq!(ftruncate(&fd, 100), Err(Errno::INVAL));
    assert_eq!(
        fallocate(&fd, FallocateFlags::empty(), 0, 100),
        Err(Errno::NODEV)
    );
    // Of no meaning, and no harm.
    drop(driver::open_as(
        OFlags::RDWR | OFlags::TRUNC | OFlags::CREATE | OFlags::NONBLOCK,
    ));
    assert_eq!(driver::shown().size, PAGE64);
}
