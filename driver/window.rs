// SPDX-License-Identifier: GPL-2.0

//! A range of a device's offsets with memory behind it.

#![deny(unsafe_code)]

use kernel::{
    fmt,
    prelude::*,
    str::CString, //
};

use crate::{
    abi,
    abstractions::capability,
    layout::Extent,
    memory::Memory, //
};

/// A window of a device.
pub(crate) struct Window {
    name: CString,
    extent: Extent,
    memory: Memory,
}

impl Window {
    /// Makes a window and its memory.
    pub(crate) fn new(name: CString, extent: Extent) -> Result<Self> {
        Ok(Self {
            name,
            extent,
            memory: Memory::new(extent.size)?,
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// Where it lies.
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// What is behind it.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Cache mode: one of `abi::CACHE_*`.
    pub(crate) fn cache(&self) -> u32 {
        abi::CACHE_CACHED
    }

    /// Access mode: `abi::ACCESS_*` bits.
    pub(crate) fn access(&self) -> u32 {
        abi::ACCESS_READ | abi::ACCESS_WRITE
    }

    /// Whether a process may have a copy-on-write mapping: of cached RAM only.
    pub(crate) fn allows_private(&self) -> bool {
        self.cache() == abi::CACHE_CACHED && self.memory.kind() == abi::MEMORY_PAGES
    }

    /// What the WINDOW ioctl tells of it, as window `index`.
    pub(crate) fn describe(&self, index: u32) -> abi::Window {
        let address = self.memory.address().filter(|_| capability::sys_rawio());
        let mut name = [0; abi::NAME_SIZE];
        for (to, from) in name.iter_mut().zip(self.name.to_bytes()) {
            *to = *from;
        }
        abi::Window {
            index,
            flags: 0,
            offset: self.extent.offset,
            size: self.extent.size,
            address: address.unwrap_or(abi::ADDRESS_UNKNOWN),
            memory: self.memory.kind(),
            cache: self.cache(),
            access: self.access(),
            reserved: [0; 5],
            name,
        }
    }
}

impl fmt::Display for Window {
    /// Name, offset, size, memory kind, cache mode and access mode, as the text files show them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = match self.memory.kind() {
            abi::MEMORY_CONTIGUOUS => "contiguous",
            abi::MEMORY_DMA => "dma",
            abi::MEMORY_PHYSICAL => "physical",
            _ => "pages",
        };
        let cache = match self.cache() {
            abi::CACHE_WRITECOMBINE => "writecombine",
            abi::CACHE_NONCACHED => "noncached",
            _ => "cached",
        };
        let access = match self.access() & abi::ACCESS_WRITE {
            0 => "ro",
            _ => "rw",
        };
        let Extent { offset, size } = self.extent;
        f.write_fmt(fmt!(
            "{} {offset} {size} {memory} {cache} {access}",
            self.name()
        ))
    }
}
