// SPDX-License-Identifier: MIT OR Apache-2.0

//! VFIO: a program has a PCI device, QEMU's `edu`, and maps memory for it in the IOMMU.

use super::memory::{Memory, SIZE};
use super::{argument, wait_for, wide_field, Outcome, PASS, READS};
use crate::driver::{get, open_node, put};
use crate::modprobe::Module;
use crate::pci::Pci;
use crate::sys::{ioctl, ioctl_fd, ioctl_number, Buffer};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::{AsRawFd, OwnedFd};

const DRIVER: &str = "vfio-pci";

/// Where the device sees the memory.
const ADDRESS: u64 = 16 << 20;

/// Where the device's own memory is for its DMA engine, and its bytes.
const INSIDE: u64 = 0x4_0000;
const INSIDE_SIZE: usize = 4096;

/// The device, handed to this process.
pub(super) struct Assigned {
    device: OwnedFd,
    /// Where its registers are in that file.
    registers: u64,
    container: OwnedFd,
    _group: OwnedFd,
    _bound: Bound,
}

impl Assigned {
    pub(super) fn new() -> Self {
        const SET_IOMMU: u32 = 0x3b66;
        const TYPE_1_V2: usize = 3;
        const SET_CONTAINER: u32 = 0x3b68;
        const GET_DEVICE: u32 = 0x3b6a;
        let bound = Bound::new();
        let pci = &bound.device;
        let group = format!("/dev/vfio/{}", pci.iommu_group());
        let group = open_node(group, OFlags::RDWR).expect("the device's group");
        let container = open_node("/dev/vfio/vfio", OFlags::RDWR).expect("/dev/vfio/vfio");
        let number = argument([(0, container.as_raw_fd() as u32)]);
        assert_eq!(ioctl(&group, SET_CONTAINER, number.span(0, 4)), Ok(0));
        assert_eq!(ioctl_number(&container, SET_IOMMU, TYPE_1_V2), Ok(0));
        let name = Buffer::new(64);
        name.write(0, pci.address().as_bytes());
        let device = ioctl_fd(&group, GET_DEVICE, name.span(0, 64)).expect("the device");
        // It reaches memory by itself.
        const COMMAND: u64 = 4;
        const MEMORY_AND_MASTER: u16 = 1 << 1 | 1 << 2;
        let configuration = region(&device, 7);
        put(
            &device,
            configuration + COMMAND,
            &MEMORY_AND_MASTER.to_le_bytes(),
        );
        Self {
            registers: region(&device, 0),
            device,
            container,
            _group: group,
            _bound: bound,
        }
    }

    /// `VFIO_IOMMU_MAP_DMA`.
    fn map(&self, memory: &Memory, flags: u32) -> Result<usize, Errno> {
        const MAP: u32 = 0x3b71;
        // size of the argument, flags, address here, address there, size
        let argument = argument([(0, 32), (4, flags)]);
        argument.write(8, &memory.address().to_ne_bytes());
        argument.write(16, &ADDRESS.to_ne_bytes());
        argument.write(24, &(SIZE as u64).to_ne_bytes());
        ioctl(&self.container, MAP, argument.span(0, 32))
    }

    /// Has the device read the memory, and write into it.
    pub(super) fn copy(&self, memory: &Memory) -> Outcome {
        const READ: u32 = 1;
        const WRITE: u32 = 2;
        const UNMAP: u32 = 0x3b72;
        let before = memory.fill(9);
        if memory.is_writable() {
            self.map(memory, READ | WRITE)?;
        } else {
            assert_eq!(self.map(memory, READ | WRITE), Err(Errno::FAULT));
            self.map(memory, READ)?;
        }
        // From the first page to the last but one, by way of the device.
        let last = SIZE - 2 * INSIDE_SIZE;
        self.transfer(ADDRESS, INSIDE, 1);
        if memory.is_writable() {
            self.transfer(INSIDE, ADDRESS + last as u64, 3);
        }
        let argument = argument([(0, 24)]);
        argument.write(8, &ADDRESS.to_ne_bytes());
        argument.write(16, &(SIZE as u64).to_ne_bytes());
        assert_eq!(ioctl(&self.container, UNMAP, argument.span(0, 24)), Ok(0));
        assert_eq!(wide_field(&argument, 16), SIZE as u64);
        let mut expected = before;
        if memory.is_writable() {
            expected.copy_within(0..INSIDE_SIZE, last);
        } else {
            self.deliver_to_own(&expected[..INSIDE_SIZE]);
        }
        assert!(memory.read() == expected, "copied");
        Ok(if memory.is_writable() { PASS } else { READS })
    }

    /// Has the device write what it holds into memory of this program's own, which must be `expected` then.
    fn deliver_to_own(&self, expected: &[u8]) {
        let own = Memory::new("udmabuf");
        self.map(&own, 2).expect("VFIO_IOMMU_MAP_DMA");
        self.transfer(INSIDE, ADDRESS, 3);
        assert!(own.read()[..INSIDE_SIZE] == *expected, "read by the device");
        const UNMAP: u32 = 0x3b72;
        let argument = argument([(0, 24)]);
        argument.write(8, &ADDRESS.to_ne_bytes());
        argument.write(16, &(SIZE as u64).to_ne_bytes());
        assert_eq!(ioctl(&self.container, UNMAP, argument.span(0, 24)), Ok(0));
    }

    /// Has the device copy a page.
    fn transfer(&self, from: u64, to: u64, command: u32) {
        let set = |register: u64, word: u32| {
            put(&self.device, self.registers + register, &word.to_le_bytes());
        };
        set(0x80, from as u32);
        set(0x88, to as u32);
        set(0x90, INSIDE_SIZE as u32);
        set(0x98, command);
        wait_for("the end of the transfer", || {
            let command = get(&self.device, self.registers + 0x98, 4);
            (command[0] & 1 == 0).then_some(())
        });
    }
}

/// Where a region of the device is in its file.
fn region(device: &OwnedFd, index: u32) -> u64 {
    const GET_REGION: u32 = 0x3b6c;
    // size of the argument, flags, index, capabilities, size, offset
    let argument = argument([(0, 32), (8, index)]);
    assert_eq!(ioctl(device, GET_REGION, argument.span(0, 32)), Ok(0));
    wide_field(&argument, 24)
}

/// The device, bound to VFIO's driver until dropped.
struct Bound {
    device: Pci,
    _modules: [Module; 2],
}

impl Bound {
    fn new() -> Self {
        // QEMU's IOMMU does not remap interrupts here, which are not used.
        let parameters = ["allow_unsafe_interrupts=1"];
        let iommu = Module::load("vfio_iommu_type1", &parameters);
        let modules = [Module::load("vfio-pci", &[]), iommu];
        let device = Pci::find(0x1234, 0x11e8);
        device.offer_to(DRIVER);
        assert_eq!(device.driver().as_deref(), Some(DRIVER));
        Self {
            device,
            _modules: modules,
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.device.unbind(DRIVER);
    }
}
