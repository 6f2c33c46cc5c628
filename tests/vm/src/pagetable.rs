// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the processor's page tables say of an address: which memory it is, and how it is cached.

#[cfg_attr(target_arch = "x86_64", path = "pagetable/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "pagetable/aarch64.rs")]
mod format;

use crate::btf::Btf;
use crate::kcore::{symbols, Kcore};
use format::{Format, TOP};
use std::fs;
use std::ops::Range;

pub(crate) use format::{CACHED, NONCACHED, WRITECOMBINE};

/// Page tables, and how to read them.
#[derive(Debug)]
pub(crate) struct PageTables {
    kernel: Kcore,
    format: Format,
    offsets: Offsets,
    /// The process that the list of all starts with.
    first_task: u64,
    /// The physical address of the kernel's own topmost table.
    top: u64,
}

/// What an entry of a table is.
#[derive(Clone, Copy)]
enum Meaning {
    Nothing,
    /// The physical address of a table below it.
    Table(u64),
    /// Memory: where it is, and how it is cached.
    Memory(u64, &'static str),
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
        let [first_task, top] = symbols(["init_task", TOP]);
        let kernel = Kcore::open();
        Self {
            first_task,
            top: kernel.physical(top),
            format: Format::new(&kernel),
            kernel,
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

    /// The cache modes of all mappings of this physical address that the kernel has made of RAM or a device's memory in the range
    /// of vmalloc. Of memory that is not one run, only the first page is found.
    pub(crate) fn remapped(&self, physical: u64) -> Vec<&'static str> {
        let there = |range: Range<u64>| {
            let first = self.walk(self.top, range.start)?;
            let into = physical.checked_sub(first.physical)?;
            let address = range.start.checked_add(into).filter(|it| *it < range.end)?;
            self.walk(self.top, address)
        };
        let entries = remapped().into_iter().filter_map(there);
        let those = entries.filter(|entry| entry.physical == physical);
        those.map(|entry| entry.mode).collect()
    }

    /// Follows the tables from the physical address of the topmost.
    fn walk(&self, top: u64, address: u64) -> Option<Entry> {
        let page = rustix::param::page_size() as u64;
        let bits = page.ilog2() - 3;
        let mut table = top;
        for level in (0..self.format.levels).rev() {
            let size = page << (bits * level);
            let index = (address / size) & ((1 << bits) - 1);
            // The topmost table can be smaller, and the kernel's addresses start in its middle.
            let index = match level + 1 == self.format.levels {
                true => index & (self.format.top_entries - 1),
                false => index,
            };
            let entry = self.kernel.read_physical(table + index * 8);
            match self.format.meaning(entry, level) {
                Meaning::Nothing => return None,
                Meaning::Table(below) => table = below,
                Meaning::Memory(start, mode) => {
                    return Some(Entry {
                        physical: (start & !(size - 1)) + address % size,
                        mode,
                        size,
                    })
                }
            }
        }
        unreachable!("the last table has no tables below it");
    }
}

/// The kernel's addresses at which `ioremap` and the DMA layer have mapped something.
fn remapped() -> Vec<Range<u64>> {
    const SETTING: &str = "/proc/sys/kernel/kptr_restrict";
    let before = fs::read_to_string(SETTING).expect("/proc");
    // Else, the kernel shows hashes of the addresses.
    fs::write(SETTING, "1").expect("/proc");
    let text = fs::read_to_string("/proc/vmallocinfo").expect("/proc");
    fs::write(SETTING, before).expect("/proc");
    // `0xffff8000829c5000-0xffff8000829c7000    8192 chrmem_ioremap_wc+0x10/0x20 [chrmem] phys=0x10000000 ioremap`.
    let lines = text.lines().filter(|line| {
        line.split(' ')
            .any(|word| ["ioremap", "dma-coherent"].contains(&word))
    });
    let range = |line: &str| -> Option<Range<u64>> {
        let (start, rest) = line.split_once('-')?;
        let (end, _) = rest.split_once(' ')?;
        let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
        Some(number(start)?..number(end)?)
    };
    lines.map(|line| range(line).expect("a range")).collect()
}
