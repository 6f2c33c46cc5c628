// SPDX-License-Identifier: MIT OR Apache-2.0

//! The kernel's memory, as `/proc/kcore` shows it.

use crate::driver::get;
use std::fs::{self, File};

/// The kernel's memory.
#[derive(Debug)]
pub(crate) struct Kcore {
    file: File,
    segments: Vec<Segment>,
}

/// A range of the kernel's addresses, and where in the file it is.
#[derive(Debug)]
struct Segment {
    offset: u64,
    address: u64,
    physical: u64,
    size: u64,
}

impl Kcore {
    /// Opens it.
    pub(crate) fn open() -> Self {
        let file = File::open("/proc/kcore").expect("/proc");
        let header = get(&file, 0, 64);
        assert_eq!(header[..5], *b"\x7fELF\x02");
        let (table, each) = (u64_at(&header, 32), u16_at(&header, 54));
        let count = u64::from(u16_at(&header, 56));
        let segments = (0..count)
            .map(|index| get(&file, table + index * u64::from(each), 56))
            // What there are notes in is no memory.
            .filter(|entry| entry[..4] == [1, 0, 0, 0])
            .map(|entry| Segment {
                offset: u64_at(&entry, 8),
                address: u64_at(&entry, 16),
                physical: u64_at(&entry, 24),
                size: u64_at(&entry, 40),
            })
            .collect();
        Self { file, segments }
    }

    /// The number at an address of the kernel's.
    pub(crate) fn read(&self, address: u64) -> u64 {
        let segments = self.segments.iter();
        let at =
            { segments }.find_map(|it| Some(it.offset + inside(it.address, it.size, address)?));
        self.number(at.unwrap_or_else(|| panic!("{address:#x} is not the kernel's")))
    }

    /// The number at a physical address of RAM.
    pub(crate) fn read_physical(&self, address: u64) -> u64 {
        let segments = self.segments.iter();
        let at =
            { segments }.find_map(|it| Some(it.offset + inside(it.physical, it.size, address)?));
        self.number(at.unwrap_or_else(|| panic!("{address:#x} is no RAM")))
    }

    /// The physical address of an address of the kernel's.
    pub(crate) fn physical(&self, address: u64) -> u64 {
        let segments = self.segments.iter().filter(|it| it.physical != u64::MAX);
        { segments }
            .find_map(|it| Some(it.physical + inside(it.address, it.size, address)?))
            .unwrap_or_else(|| panic!("{address:#x} has no physical address"))
    }

    /// Where the kernel sees a physical address.
    pub(crate) fn direct(&self, physical: u64) -> u64 {
        let segments = self.segments.iter().filter(|it| it.physical != u64::MAX);
        { segments }
            .find_map(|it| Some(it.address + inside(it.physical, it.size, physical)?))
            .unwrap_or_else(|| panic!("the kernel does not see {physical:#x}"))
    }

    /// The lowest address at which it sees memory.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn lowest(&self) -> u64 {
        let addresses = self.segments.iter().map(|it| it.address);
        addresses.min().expect("memory")
    }

    fn number(&self, at: u64) -> u64 {
        u64_at(&get(&self.file, at, 8), 0)
    }
}

/// How far into a range an address is, if it is in it with the seven bytes that follow.
fn inside(start: u64, size: u64, address: u64) -> Option<u64> {
    let into = address.checked_sub(start)?;
    (into.checked_add(8)? <= size).then_some(into)
}

/// The addresses of what the kernel has these names for.
pub(crate) fn symbols<const COUNT: usize>(names: [&str; COUNT]) -> [u64; COUNT] {
    let text = fs::read_to_string("/proc/kallsyms").expect("/proc");
    names.map(|name| {
        // `ffffffffb7a11100 T init_task`; a module's have one word more.
        let end = text.find(&format!(" {name}\n")).expect(name);
        let line = text[..end].rsplit('\n').next().expect("a line");
        let (address, _) = line.split_once(' ').expect("an address");
        u64::from_str_radix(address, 16).expect("an address")
    })
}

/// A number out of a file's bytes.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// A number out of a file's bytes.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}
