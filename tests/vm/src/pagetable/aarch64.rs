// SPDX-License-Identifier: MIT OR Apache-2.0

//! Page tables of arm64.

use super::Meaning;
use crate::kcore::Kcore;

/// The kernel's name for its topmost table.
pub(crate) const TOP: &str = "swapper_pg_dir";

/// The architecture's name for what chrmem calls `cached`: Normal memory, Write-Back.
pub(crate) const CACHED: &str = "Normal";
/// For `writecombine`: Normal memory, Non-cacheable.
pub(crate) const WRITECOMBINE: &str = "Normal-NC";
/// For `noncached`: Device memory, as `ioremap` maps it.
pub(crate) const NONCACHED: &str = "Device-nGnRE";

/// What entries look like.
#[derive(Debug)]
pub(crate) struct Format {
    pub(crate) levels: u32,
    /// How many entries the topmost table has.
    pub(crate) top_entries: u64,
}

impl Format {
    pub(crate) fn new(kernel: &Kcore) -> Self {
        // The kernel has all memory mapped from the lowest of its addresses on.
        let bits = match kernel.lowest() >> 48 {
            0xffff => 48,
            _ => 52,
        };
        let page = rustix::param::page_size();
        let (offset, each) = (page.ilog2(), page.ilog2() - 3);
        let levels = (bits - offset).div_ceil(each);
        Self {
            levels,
            top_entries: 1 << (bits - offset - each * (levels - 1)),
        }
    }

    pub(crate) fn meaning(&self, entry: u64, level: u32) -> Meaning {
        const VALID: u64 = 1;
        /// A table, or in the last table, a page.
        const TABLE: u64 = 2;
        let page = rustix::param::page_size() as u64;
        let address = entry & ((1 << 50) - 1) & !(page - 1);
        if entry & VALID == 0 {
            Meaning::Nothing
        } else if level > 0 && entry & TABLE != 0 {
            Meaning::Table(address)
        } else {
            Meaning::Memory(address, mode(entry))
        }
    }
}

/// How an entry has its memory cached, by the number in it. What each number means is in a register, to which Linux gives a value
/// of its own (`MAIR_EL1_SET`).
fn mode(entry: u64) -> &'static str {
    match entry >> 2 & 7 {
        // Or Normal memory with tags, which is cached in the same way.
        0 | 1 => CACHED,
        2 => WRITECOMBINE,
        3 => "Device-nGnRnE",
        4 => NONCACHED,
        other => panic!("mode {other}"),
    }
}
