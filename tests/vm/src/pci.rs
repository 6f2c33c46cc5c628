// SPDX-License-Identifier: MIT OR Apache-2.0

//! A PCI device of the machine.

use crate::driver::{get, open_node, put};
use rustix::fs::OFlags;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A PCI device.
#[derive(Debug)]
pub(crate) struct Pci {
    path: PathBuf,
}

impl Pci {
    /// The device of this vendor with this number.
    pub(crate) fn find(vendor: u16, device: u16) -> Self {
        Self::look_for(vendor, device)
            .unwrap_or_else(|| panic!("the machine has no device {vendor:x}:{device:x}"))
    }

    /// Whether there is a device of this vendor with this number.
    pub(crate) fn is_there(vendor: u16, device: u16) -> bool {
        Self::look_for(vendor, device).is_some()
    }

    fn look_for(vendor: u16, device: u16) -> Option<Self> {
        let entries = fs::read_dir("/sys/bus/pci/devices").expect("/sys");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let is = |path: &PathBuf, name: &str, number: u16| {
            let text = fs::read_to_string(path.join(name)).expect(name);
            text.trim() == format!("{number:#06x}")
        };
        let path = { paths }.find(|path| is(path, "vendor", vendor) && is(path, "device", device));
        Some(Self { path: path? })
    }

    /// Its folder in sysfs.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its address, as in `0000:00:04.0`.
    pub(crate) fn address(&self) -> &str {
        let name = self.path.file_name().expect("a name");
        name.to_str().expect("text")
    }

    /// The physical addresses of its base address register `number`.
    pub(crate) fn bar(&self, number: usize) -> Range<u64> {
        let resources = self.resources();
        let (range, _) = resources.get(number).expect("a line");
        assert_ne!(range.end, 1, "there is no BAR {number}");
        range.clone()
    }

    /// The first range of memory addresses that it, a bridge, hands on.
    pub(crate) fn handed_on(&self) -> Range<u64> {
        const MEMORY: u64 = 0x200;
        // Six BARs and the ROM come before.
        let rest = self.resources().into_iter().skip(7);
        let mut memory = rest.filter(|(_, flags)| flags & MEMORY != 0);
        memory.next().expect("a bridge").0
    }

    /// All its ranges, with what they are.
    fn resources(&self) -> Vec<(Range<u64>, u64)> {
        let text = fs::read_to_string(self.path.join("resource")).expect("resource");
        let parse = |line: &str| {
            let mut numbers = line
                .split(' ')
                .map(|text| u64::from_str_radix(&text[2..], 16).expect("a number"));
            let mut next = || numbers.next().expect("three numbers");
            (next()..next() + 1, next())
        };
        text.lines().map(parse).collect()
    }

    /// The driver that it is bound to.
    pub(crate) fn driver(&self) -> Option<String> {
        let driver = fs::read_link(self.path.join("driver")).ok()?;
        Some(driver.file_name()?.to_str()?.to_owned())
    }

    /// Tells a driver that it may have devices like this one, which it takes at once.
    pub(crate) fn offer_to(&self, driver: &str) {
        let id = |name| fs::read_to_string(self.path.join(name)).expect(name);
        let text = format!("{} {}", id("vendor").trim(), id("device").trim());
        self.tell(driver, "new_id", &text.replace("0x", ""));
    }

    /// Binds it to a driver.
    pub(crate) fn bind(&self, driver: &str) {
        self.tell(driver, "bind", self.address());
    }

    /// Unbinds it from its driver.
    pub(crate) fn unbind(&self, driver: &str) {
        self.tell(driver, "unbind", self.address());
    }

    fn tell(&self, driver: &str, file: &str, text: &str) {
        let path = format!("/sys/bus/pci/drivers/{driver}/{file}");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// The group of devices that the IOMMU cannot tell apart from it.
    pub(crate) fn iommu_group(&self) -> String {
        let group = fs::read_link(self.path.join("iommu_group")).expect("a group");
        let group = group.file_name().expect("a name");
        group.to_str().expect("text").to_owned()
    }

    /// Has the IOMMU translate what it addresses, or not.
    pub(crate) fn translate(&self, wanted: bool) {
        let value = if wanted { "DMA" } else { "identity" };
        let path = self.path.join("iommu_group/type");
        fs::write(&path, value).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    }

    /// Takes it out of the machine, as far as the kernel knows.
    pub(crate) fn unplug(self) {
        let _alone = OneProcessor::only();
        fs::write(self.path.join("remove"), "1").expect("remove");
        assert!(!self.path.exists());
    }

    /// Has the kernel look for devices.
    pub(crate) fn rescan() {
        let _alone = OneProcessor::only();
        fs::write("/sys/bus/pci/rescan", "1").expect("rescan");
    }

    /// Enables it, and lets it reach memory by itself.
    pub(crate) fn enable(&self) -> Enabled<'_> {
        fs::write(self.path.join("enable"), "1").expect("enable");
        let enabled = Enabled {
            device: self,
            command: self.command(),
        };
        const MASTER: u16 = 1 << 2;
        self.set_command(enabled.command | MASTER);
        enabled
    }

    /// The command register.
    fn command(&self) -> u16 {
        let config = open_node(self.path.join("config"), OFlags::RDONLY).expect("config");
        u16::from_le_bytes(get(config, COMMAND, 2).try_into().expect("two bytes"))
    }

    /// Writes the command register.
    fn set_command(&self, command: u16) {
        let config = open_node(self.path.join("config"), OFlags::RDWR).expect("config");
        put(config, COMMAND, &command.to_le_bytes());
    }
}

/// Where the command register is in the configuration space.
const COMMAND: u64 = 4;

/// A device that is enabled, until this is dropped.
#[derive(Debug)]
pub(crate) struct Enabled<'a> {
    device: &'a Pci,
    /// The command register without the right to reach memory.
    command: u16,
}

impl Drop for Enabled<'_> {
    fn drop(&mut self) {
        self.device.set_command(self.command);
        fs::write(self.device.path.join("enable"), "0").expect("enable");
    }
}

/// The second processor is off until this is dropped: QEMU 10 ends in an assertion of its own
/// (`iotlb_to_section`) when a device's memory moves while another emulated processor runs.
struct OneProcessor;

impl OneProcessor {
    const SECOND: &str = "/sys/devices/system/cpu/cpu1/online";

    fn only() -> Self {
        Self::set("0");
        Self
    }

    fn set(online: &str) {
        if fs::exists(Self::SECOND).expect("sysfs") {
            fs::write(Self::SECOND, online).expect("a processor can be switched");
        }
    }
}

impl Drop for OneProcessor {
    fn drop(&mut self) {
        Self::set("1");
    }
}
