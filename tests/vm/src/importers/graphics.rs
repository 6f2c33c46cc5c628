// SPDX-License-Identifier: MIT OR Apache-2.0

//! Graphics drivers, which import dma-bufs by PRIME.

use super::memory::{Memory, SIZE};
use super::{address, argument, field, Outcome, PASS, READS};
use crate::driver::open_node;
use crate::modprobe::Module;
use crate::pci::Pci;
use crate::sys::{ioctl, ioctl_fd_at, Buffer, Map};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// `DRM_IOCTL_PRIME_FD_TO_HANDLE`: the handle that the driver has the dma-buf by.
fn import(node: impl AsFd, memory: &Memory) -> Result<u32, Errno> {
    let number = memory.buffer()?.as_raw_fd();
    let argument = argument([(8, number as u32)]);
    ioctl(
        node,
        crate::dmabuf::PRIME_FD_TO_HANDLE,
        argument.span(0, 12),
    )?;
    Ok(field(&argument, 0))
}

/// Imports, exports the import, and reads and writes through that.
pub(super) fn import_and_export(node: &str, memory: &Memory) -> Outcome {
    const PRIME_HANDLE_TO_FD: u32 = 0xc00c_642d;
    let gem = open_node(node, OFlags::RDWR).expect("a node");
    let handle = import(&gem, memory)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let argument = argument([(0, handle), (4, flags.bits())]);
    let again = ioctl_fd_at(&gem, PRIME_HANDLE_TO_FD, &argument, 8).expect("a descriptor");
    let expected = memory.fill(2);
    let new = |protection| Map::new(Some(again.as_fd()), 0, SIZE, protection, libc::MAP_SHARED);
    let map = new(libc::PROT_READ).expect("a mapping");
    assert!(map.read(0..SIZE) == expected, "read");
    // The driver asked for a descriptor that may write. It is the file that was imported.
    let map = new(libc::PROT_READ | libc::PROT_WRITE);
    if !memory.is_writable() {
        assert_eq!(map.err(), Some(Errno::ACCESS));
        return Ok(READS);
    }
    let bytes = super::memory::bytes(3);
    map.expect("a mapping").write(0, &bytes);
    assert!(memory.read() == bytes, "written");
    Ok(PASS)
}

/// A driver of graphics cards, with the one that the machine has.
pub(super) struct Card {
    node: OwnedFd,
    _modules: [Module; 2],
}

impl Card {
    /// The card of this vendor with this number, and its driver.
    pub(super) fn new(driver: &'static str, vendor: u16, device: u16) -> Self {
        let modules = load(driver);
        Self {
            node: open(&Pci::find(vendor, device)),
            _modules: modules,
        }
    }

    pub(super) fn import(&self, memory: &Memory) -> Outcome {
        import(&self.node, memory).map(|_| PASS)
    }
}

/// Loads a driver: the last module of those given.
fn load(driver: &'static str) -> [Module; 2] {
    // The console stays off the screen, which shows one buffer at a time.
    let helper = Module::load("drm_kms_helper", &["fbdev_emulation=0"]);
    [Module::load(driver, &[]), helper]
}

/// Opens a card.
fn open(device: &Pci) -> OwnedFd {
    let place = fs::canonicalize(device.path()).expect("/sys");
    let entries = fs::read_dir("/sys/class/drm").expect("/sys");
    let mut names = entries.flatten().filter_map(|entry| {
        let found = fs::canonicalize(entry.path()).ok()?;
        let name = entry.file_name().into_string().ok()?;
        found.starts_with(&place).then_some(name)
    });
    // Its outputs have the card's name, and more.
    let name = names.find(|it| it.starts_with("card") && !it.contains('-'));
    let node = Path::new("/dev/dri").join(name.expect("a card"));
    open_node(node, OFlags::RDWR).expect("a card's node")
}

/// The display of QEMU's that bochs drives: the processor copies what it shows into the device's memory.
pub(super) struct Bochs {
    device: Pci,
    _modules: [Module; 2],
}

/// The size of the picture: [`SIZE`], with pixels of four bytes.
const WIDTH: u32 = 256;
const HEIGHT: u32 = 128;

impl Bochs {
    const DRIVER: &str = "bochs-drm";

    pub(super) fn new() -> Self {
        let modules = load("bochs");
        Self {
            device: Pci::find(0x1234, 0x1111),
            _modules: modules,
        }
    }

    /// Has the display show a dma-buf, and looks at the device's memory.
    pub(super) fn display(&self, memory: &Memory) -> Outcome {
        const ADD_FRAME_BUFFER: u32 = 0xc01c_64ae;
        const REMOVE_FRAME_BUFFER: u32 = 0xc004_64af;
        const SET_CRTC: u32 = 0xc068_64a2;
        let expected = memory.fill(4);
        let card = open(&self.device);
        let handle = import(&card, memory)?;
        let [crtc, connector] = first_output(&card);
        // id, width, height, bytes of a line, bits of a pixel, those with a colour, handle
        let frame = argument([
            (4, WIDTH),
            (8, HEIGHT),
            (12, WIDTH * 4),
            (16, 32),
            (20, 24),
            (24, handle),
        ]);
        ioctl(&card, ADD_FRAME_BUFFER, frame.span(0, 28))?;
        let connectors = argument([(0, connector)]);
        // connectors, their number, CRTC, frame buffer, x, y, gamma, whether there is a mode, mode
        let shown = argument([(8, 1), (12, crtc), (16, field(&frame, 0)), (32, 1)]);
        shown.write(0, &address(&connectors));
        shown.write(36, &mode());
        if let Err(errno) = ioctl(&card, SET_CRTC, shown.span(0, 104)) {
            assert_eq!(ioctl(&card, REMOVE_FRAME_BUFFER, frame.span(0, 4)), Ok(0));
            return Err(errno);
        }
        // The driver has the device's memory for itself. It is as the driver left it once the driver is gone, which goes
        // while the screen is on.
        self.device.unbind(Self::DRIVER);
        let enabled = self.device.enable();
        let video = self.device.path().join("resource0");
        let video = open_node(video, OFlags::RDWR).expect("resource0");
        let video = Map::shared(video, SIZE).expect("a mapping");
        let is_shown = video.read(0..SIZE) == expected;
        video.write(0, &vec![0; SIZE]);
        drop((video, enabled, card));
        self.device.bind(Self::DRIVER);
        assert!(is_shown, "the display shows something else");
        assert!(memory.read() == expected, "changed");
        Ok(PASS)
    }
}

/// The first CRTC and the first connector of a card.
fn first_output(card: &OwnedFd) -> [u32; 2] {
    const GET_RESOURCES: u32 = 0xc040_64a0;
    const GET_CONNECTOR: u32 = 0xc050_64a7;
    let (crtcs, connectors) = (Buffer::new(4), Buffer::new(4));
    // Four lists, of frame buffers, CRTCs, connectors, encoders, and room in them.
    let resources = argument([(36, 1), (40, 1)]);
    resources.write(8, &address(&crtcs));
    resources.write(16, &address(&connectors));
    assert_eq!(ioctl(card, GET_RESOURCES, resources.span(0, 64)), Ok(0));
    let connector = field(&connectors, 0);
    // Asked for no modes, the driver looks at what is connected.
    let query = argument([(48, connector)]);
    assert_eq!(ioctl(card, GET_CONNECTOR, query.span(0, 80)), Ok(0));
    [field(&crtcs, 0), connector]
}

/// A `struct drm_mode_modeinfo`, 60 pictures a second.
fn mode() -> Vec<u8> {
    let (width, height) = (WIDTH as u16, HEIGHT as u16);
    let (across, down) = (width + 40, height + 20);
    let clock = u32::from(across) * u32::from(down) * 60 / 1000;
    let columns = [width, width + 10, width + 20, across, 0];
    let rows = [height, height + 5, height + 10, down, 0];
    let mut mode = clock.to_ne_bytes().to_vec();
    for word in columns.into_iter().chain(rows) {
        mode.extend(word.to_ne_bytes());
    }
    mode.extend(60_u32.to_ne_bytes());
    mode.resize(68, 0);
    mode
}
