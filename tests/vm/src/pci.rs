// SPDX-License-Identifier: MIT OR Apache-2.0

//! A PCI device of the machine.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

/// A PCI device.
#[derive(Debug)]
pub(crate) struct Pci {
    path: PathBuf,
}

impl Pci {
    /// The device of this vendor with this number.
    pub(crate) fn find(vendor: u16, device: u16) -> Self {
        let entries = fs::read_dir("/sys/bus/pci/devices").expect("/sys");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let is = |path: &PathBuf, name: &str, number: u16| {
            let text = fs::read_to_string(path.join(name)).expect(name);
            text.trim() == format!("{number:#06x}")
        };
        let path = { paths }.find(|path| is(path, "vendor", vendor) && is(path, "device", device));
        Self {
            path: path.unwrap_or_else(|| panic!("the machine has no device {vendor:x}:{device:x}")),
        }
    }

    /// Its address, as in `0000:00:04.0`.
    pub(crate) fn address(&self) -> &str {
        let name = self.path.file_name().expect("a name");
        name.to_str().expect("text")
    }

    /// The physical addresses of its base address register `number`.
    pub(crate) fn bar(&self, number: usize) -> Range<u64> {
        let text = fs::read_to_string(self.path.join("resource")).expect("resource");
        let line = text.lines().nth(number).expect("a line");
        let numbers: Vec<u64> = line
            .split(' ')
            .map(|text| u64::from_str_radix(&text[2..], 16).expect("a number"))
            .collect();
        assert_ne!(numbers[1], 0, "there is no BAR {number}");
        numbers[0]..numbers[1] + 1
    }
}
