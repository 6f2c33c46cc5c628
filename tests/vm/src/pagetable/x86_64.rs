// SPDX-License-Identifier: MIT OR Apache-2.0

//! Page tables of x86-64.

use super::Meaning;
use crate::driver::{get, open_node};
use crate::kcore::Kcore;
use rustix::fs::OFlags;
use std::fs;
use std::process::Command;

/// The kernel's name for its topmost table.
pub(crate) const TOP: &str = "init_top_pgt";

/// The kernel's name for what chrmem calls `cached`.
pub(crate) const CACHED: &str = "write-back";
/// For `writecombine`.
pub(crate) const WRITECOMBINE: &str = "write-combining";
/// For `noncached`.
pub(crate) const NONCACHED: &str = "uncached-minus";

/// What entries look like.
#[derive(Debug)]
pub(crate) struct Format {
    pub(crate) levels: u32,
    /// How many entries the topmost table has.
    pub(crate) top_entries: u64,
    /// Cache modes by their number in an entry.
    modes: [&'static str; 8],
}

impl Format {
    pub(crate) fn new(_: &Kcore) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").expect("/proc");
        Self {
            levels: if cpu.contains(" la57") { 5 } else { 4 },
            top_entries: 512,
            modes: modes(),
        }
    }

    pub(crate) fn meaning(&self, entry: u64, level: u32) -> Meaning {
        const PRESENT: u64 = 1;
        const LARGE: u64 = 1 << 7;
        const FRAME: u64 = 0x000f_ffff_ffff_f000;
        if entry & PRESENT == 0 {
            Meaning::Nothing
        } else if level == 0 || (level < 3 && entry & LARGE != 0) {
            // The bit that says "large" elsewhere is the third of the mode in the last table.
            let third = if level == 0 { 7 } else { 12 };
            let mode = (entry >> third & 1) << 2 | entry >> 3 & 3;
            Meaning::Memory(entry & FRAME, self.modes[mode as usize])
        } else {
            Meaning::Table(entry & FRAME)
        }
    }
}

/// The cache modes that a processor's register gives to the numbers in page table entries.
fn modes() -> [&'static str; 8] {
    const PAT: u64 = 0x277;
    let modprobe = Command::new("modprobe").arg("msr").status();
    assert!(modprobe.expect("modprobe runs").success());
    let file = open_node("/dev/cpu/0/msr", OFlags::RDONLY).expect("/dev/cpu");
    let register = get(file, PAT, 8);
    let name = |number: &u8| match number {
        0 => "uncached",
        1 => WRITECOMBINE,
        4 => "write-through",
        5 => "write-protected",
        6 => CACHED,
        7 => NONCACHED,
        other => panic!("mode {other}"),
    };
    let names: Vec<_> = register.iter().map(name).collect();
    names.try_into().expect("eight")
}
