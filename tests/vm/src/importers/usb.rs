// SPDX-License-Identifier: MIT OR Apache-2.0

//! USB: a device that FunctionFS makes, at a host controller, both emulated by `dummy_hcd`. Each side is a program.

use super::memory::{bytes, Memory, SIZE};
use super::{argument, wait_for, Outcome, LIMIT, PASS, READS};
use crate::driver::open_node;
use crate::modprobe::Module;
use crate::sys::{self, ioctl, Buffer, Child, End, Span};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The device in configfs.
const FOLDER: &str = "/sys/kernel/config/usb_gadget/chrmem-test";

/// Where FunctionFS is mounted.
const MOUNT: &str = "/tmp/chrmem-functionfs";

/// The device's name in FunctionFS.
const NAME: &str = "chrmem";

const VENDOR: &str = "0x1d6b";
const PRODUCT: &str = "0x0104";

/// The endpoints: of bulk, to the host and from it.
const TO_HOST: u8 = 0x81;
const FROM_HOST: u8 = 0x02;

/// A device with two endpoints, connected.
pub(super) struct Gadget {
    /// Its endpoints, as the device's program has them.
    to_host: OwnedFd,
    from_host: OwnedFd,
    /// The device, as the host's program has it.
    host: OwnedFd,
    /// Closed, it ends the device.
    _control: OwnedFd,
    _mounted: Mounted,
}

impl Gadget {
    pub(super) fn new() -> Self {
        let mounted = Mounted::new();
        let control = open_node(format!("{MOUNT}/ep0"), OFlags::RDWR).expect("ep0");
        for part in [descriptors(), strings()] {
            assert_eq!(rustix::io::write(&control, &part), Ok(part.len()));
        }
        set("UDC", "dummy_udc.0");
        let endpoint = |number| {
            let path = format!("{MOUNT}/ep{number}");
            open_node(path, OFlags::RDWR).expect("an endpoint")
        };
        let host = wait_for("the device", host_node);
        let host = open_node(host, OFlags::RDWR).expect("the host's node");
        const CLAIM_INTERFACE: u32 = 0x8004_550f;
        let interface = argument([]);
        assert_eq!(ioctl(&host, CLAIM_INTERFACE, interface.span(0, 4)), Ok(0));
        Self {
            to_host: endpoint(1),
            from_host: endpoint(2),
            host,
            _control: control,
            _mounted: mounted,
        }
    }

    /// `FUNCTIONFS_DMABUF_ATTACH`.
    pub(super) fn attach(&self, memory: &Memory) -> Outcome {
        const ATTACH: u32 = 0x4004_6783;
        let argument = argument([(0, memory.buffer()?.as_raw_fd() as u32)]);
        ioctl(&self.to_host, ATTACH, argument.span(0, 4)).map(|_| PASS)
    }

    /// The device's program has the memory, the host's has memory of its own.
    pub(super) fn transfer_by_device(&self, memory: &Memory) -> Outcome {
        let expected = memory.fill(5);
        let host = Child::start(|| {
            let own = Buffer::new(SIZE);
            assert_eq!(self.bulk(TO_HOST, own.span(0, SIZE)), Ok(SIZE));
            assert!(own.read(0..SIZE) == expected, "to the host");
        });
        let sent = sys::write(&self.to_host, memory.span(0, SIZE));
        ended(host, sent)?;
        let expected = bytes(6);
        let host = Child::start(|| {
            let own = Buffer::new(SIZE);
            own.write(0, &expected);
            assert_eq!(self.bulk(FROM_HOST, own.span(0, SIZE)), Ok(SIZE));
        });
        let received = sys::read(&self.from_host, memory.span(0, SIZE));
        received_into(memory, received, &expected, host)
    }

    /// The host's program has the memory, the device's has memory of its own.
    pub(super) fn transfer_by_host(&self, memory: &Memory) -> Outcome {
        let expected = memory.fill(7);
        let device = Child::start(|| {
            let own = Buffer::new(SIZE);
            assert_eq!(sys::read(&self.from_host, own.span(0, SIZE)), Ok(SIZE));
            assert!(own.read(0..SIZE) == expected, "from the host");
        });
        let sent = self.bulk(FROM_HOST, memory.span(0, SIZE));
        ended(device, sent)?;
        let expected = bytes(8);
        let device = Child::start(|| {
            let own = Buffer::new(SIZE);
            own.write(0, &expected);
            assert_eq!(sys::write(&self.to_host, own.span(0, SIZE)), Ok(SIZE));
        });
        let received = self.bulk(TO_HOST, memory.span(0, SIZE));
        received_into(memory, received, &expected, device)
    }

    /// `USBDEVFS_BULK`.
    fn bulk(&self, endpoint: u8, bytes: Span<'_>) -> Result<usize, Errno> {
        const BULK: u32 = 0xc018_5502;
        let (at, len) = bytes.place();
        let milliseconds = LIMIT.as_millis() as u32;
        let argument = argument([(0, endpoint.into()), (4, len as u32), (8, milliseconds)]);
        argument.write(16, &at.to_ne_bytes());
        ioctl(&self.host, BULK, argument.span(0, 24))
    }
}

/// Waits for the other side of a transfer, which ends well if this side did.
fn ended(mut other: Child, done: Result<usize, Errno>) -> Result<(), Errno> {
    assert_eq!(done?, SIZE);
    assert_eq!(other.wait(LIMIT), End::Status(0));
    Ok(())
}

/// Judges a transfer into the memory.
fn received_into(
    memory: &Memory,
    received: Result<usize, Errno>,
    expected: &[u8],
    other: Child,
) -> Outcome {
    if !memory.is_writable() {
        // The data had come before it could not be stored.
        assert_eq!(received, Err(Errno::FAULT));
        assert!(memory.read() != expected, "written");
        return Ok(READS);
    }
    ended(other, received)?;
    assert!(memory.read() == expected, "received");
    Ok(PASS)
}

/// The modules, the device's folder and FunctionFS mounted, until dropped.
struct Mounted {
    _modules: [Module; 3],
}

impl Mounted {
    fn new() -> Self {
        let modules = ["dummy_hcd", "usb_f_fs", "libcomposite"].map(|it| Module::load(it, &[]));
        for folder in ["", "configs/one.1", "functions/ffs.chrmem"] {
            let folder = Path::new(FOLDER).join(folder);
            fs::create_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        }
        set("idVendor", VENDOR);
        set("idProduct", PRODUCT);
        let function = Path::new(FOLDER).join("functions/ffs.chrmem");
        let link = Path::new(FOLDER).join("configs/one.1/ffs.chrmem");
        std::os::unix::fs::symlink(function, link).expect("a link");
        fs::create_dir_all(MOUNT).expect(MOUNT);
        run(&["mount", "-t", "functionfs", NAME, MOUNT]);
        Self { _modules: modules }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The device has gone from the host with the last of its files.
        run(&["umount", MOUNT]);
        let link = Path::new(FOLDER).join("configs/one.1/ffs.chrmem");
        fs::remove_file(link).expect("a link");
        for folder in ["functions/ffs.chrmem", "configs/one.1", ""] {
            let folder = Path::new(FOLDER).join(folder);
            fs::remove_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        }
    }
}

/// Writes one setting of the device. An empty one is a line.
fn set(setting: &str, value: &str) {
    let path = Path::new(FOLDER).join(setting);
    fs::write(&path, format!("{value}\n")).unwrap_or_else(|error| panic!("{path:?}: {error}"));
}

fn run(words: &[&str]) {
    let status = Command::new(words[0]).args(&words[1..]).status();
    assert!(status.expect("it runs").success(), "{words:?}");
}

/// The node of the device at the host, once the host has configured it.
fn host_node() -> Option<PathBuf> {
    let read = |path: PathBuf| fs::read_to_string(path).ok();
    let entries = fs::read_dir("/sys/bus/usb/devices").expect("/sys");
    let device = entries.flatten().map(|it| it.path()).find(|device| {
        let is = |name: &str, value: &str| {
            read(device.join(name)).is_some_and(|it| it.trim() == value.trim_start_matches("0x"))
        };
        is("idVendor", VENDOR) && is("idProduct", PRODUCT) && is("bConfigurationValue", "1")
    })?;
    let number = |name| -> Option<u32> { read(device.join(name))?.trim().parse().ok() };
    let (bus, device) = (number("busnum")?, number("devnum")?);
    let node = PathBuf::from(format!("/dev/bus/usb/{bus:03}/{device:03}"));
    node.exists().then_some(node)
}

/// What the device is, as FunctionFS takes it: an interface with two endpoints, for full and for high speed.
fn descriptors() -> Vec<u8> {
    const MAGIC: u32 = 3;
    const FULL_AND_HIGH: u32 = 1 | 2;
    let endpoint = |address: u8, size: u16| {
        let [low, high] = size.to_le_bytes();
        [7, 5, address, 2, low, high, 0]
    };
    let speed = |size| {
        let interface = [9, 4, 0, 0, 2, 0xff, 0, 0, 1];
        let endpoints = [endpoint(TO_HOST, size), endpoint(FROM_HOST, size)];
        [&interface[..], &endpoints.concat()].concat()
    };
    let all = [speed(64), speed(512)].concat();
    let len = 20 + all.len() as u32;
    let head = [MAGIC, len, FULL_AND_HIGH, 3, 3].map(u32::to_le_bytes);
    [head.concat(), all].concat()
}

/// Its strings: one, in English.
fn strings() -> Vec<u8> {
    const MAGIC: u32 = 2;
    let text = [&0x409_u16.to_le_bytes()[..], b"chrmem\0"].concat();
    let len = 16 + text.len() as u32;
    let head = [MAGIC, len, 1, 1].map(u32::to_le_bytes);
    [head.concat(), text].concat()
}
