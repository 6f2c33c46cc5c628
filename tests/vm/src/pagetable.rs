// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the processor's page tables say of an address: which memory it is, and how it is cached.

use crate::btf::Btf;
use crate::driver::{get, open_node};
use crate::kcore::{symbols, Kcore};
use rustix::fs::OFlags;
use std::fs;
use std::process::Command;

/// Page tables, and how to read them.
#[derive(Debug)]
pub(crate) struct PageTables {
    kernel: Kcore,
    /// Cache modes by their number in an entry.
    modes: [&'static str; 8],
    levels: u32,
    offsets: Offsets,
    /// The process that the list of all starts with.
    first_task: u64,
    /// The physical address of the kernel's own topmost table.
    top: u64,
}

/// Where in the kernel's structures the way to a process's page tables is.
#[derive(Debug)]
struct Offsets {
    tasks: u64,
    pid: u64,
    mm: u64,
    pgd: u64,
}

/// What a page table has for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The physical address.
    pub(crate) physical: u64,
    /// The cache mode, in the words of the kernel's own list.
    pub(crate) mode: &'static str,
    /// Bytes that are mapped at once.
    pub(crate) size: u64,
}

impl PageTables {
    /// Those of the running kernel.
    pub(crate) fn new() -> Self {
        let types = Btf::read();
        let cpu = fs::read_to_string("/proc/cpuinfo").expect("/proc");
        let [first_task, top] = symbols(["init_task", "init_top_pgt"]);
        let kernel = Kcore::open();
        Self {
            first_task,
            top: kernel.physical(top),
            kernel,
            modes: modes(),
            levels: if cpu.contains(" la57") { 5 } else { 4 },
            offsets: Offsets {
                tasks: types.offset("task_struct", "tasks"),
                pid: types.offset("task_struct", "pid"),
                mm: types.offset("task_struct", "mm"),
                pgd: types.offset("mm_struct", "pgd"),
            },
        }
    }

    /// What this process has at an address; `None` if it has nothing there.
    pub(crate) fn own(&self, address: usize) -> Option<Entry> {
        let offsets = &self.offsets;
        let kernel = &self.kernel;
        let own = u64::from(std::process::id());
        let mut task = self.first_task;
        loop {
            // The newest are before the first.
            task = kernel.read(task + offsets.tasks + 8) - offsets.tasks;
            assert_ne!(
                task, self.first_task,
                "this process is not in the list of processes"
            );
            if kernel.read(task + offsets.pid) & 0xffff_ffff == own {
                break;
            }
        }
        let table = kernel.read(kernel.read(task + offsets.mm) + offsets.pgd);
        self.walk(kernel.physical(table), address as u64)
    }

    /// How the kernel itself sees RAM.
    pub(crate) fn direct(&self, physical: u64) -> Entry {
        let entry = self
            .walk(self.top, self.kernel.direct(physical))
            .expect("a mapping");
        assert_eq!(entry.physical, physical);
        entry
    }

    /// Follows the tables from the physical address of the topmost.
    fn walk(&self, top: u64, address: u64) -> Option<Entry> {
        const PRESENT: u64 = 1;
        const LARGE: u64 = 1 << 7;
        const FRAME: u64 = 0x000f_ffff_ffff_f000;
        let mut table = top;
        for level in (0..self.levels).rev() {
            let size = 4096_u64 << (9 * level);
            let index = address / size % 512;
            let entry = self.kernel.read_physical(table + index * 8);
            if entry & PRESENT == 0 {
                return None;
            }
            if level == 0 || (level < 3 && entry & LARGE != 0) {
                // The bit that says "large" elsewhere is the third of the mode in the last table.
                let third = if level == 0 { 7 } else { 12 };
                let mode = (entry >> third & 1) << 2 | entry >> 3 & 3;
                return Some(Entry {
                    physical: (entry & FRAME & !(size - 1)) + address % size,
                    mode: self.modes[mode as usize],
                    size,
                });
            }
            table = entry & FRAME;
        }
        unreachable!("the last table has no tables below it");
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
        1 => "write-combining",
        4 => "write-through",
        5 => "write-protected",
        6 => "write-back",
        7 => "uncached-minus",
        other => panic!("mode {other}"),
    };
    let names: Vec<_> = register.iter().map(name).collect();
    names.try_into().expect("eight")
}
