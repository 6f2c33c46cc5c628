// SPDX-License-Identifier: GPL-2.0

//! A range of a device's offsets with memory behind it.

#![deny(unsafe_code)]
#![deny(clippy::arithmetic_side_effects)]

use kernel::{
    fmt,
    mm::virt::VmaNew,
    prelude::*,
    str::CString, //
};

use crate::{
    abi,
    abstractions::{
        capability,
        vma::{
            self,
            Setup, //
        },
    },
    layout::Extent,
    memory::{
        Kind,
        Memory,
        CACHES, //
    },
    registry::Charge,
    track::Stamps, //
};

/// An access mode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// User space may read and write.
    ReadWrite,
    /// User space may only read.
    ReadOnly,
}

impl Access {
    /// The access modes, with their names and their bits in the ioctl interface.
    pub(crate) const ALL: [(Access, &'static str, u32); 2] = [
        (
            Access::ReadWrite,
            "rw",
            abi::ACCESS_READ | abi::ACCESS_WRITE,
        ),
        (Access::ReadOnly, "ro", abi::ACCESS_READ),
    ];
}

/// A window of a device.
pub(crate) struct Window {
    pub(crate) name: CString,
    pub(crate) extent: Extent,
    pub(crate) memory: Memory,
    pub(crate) access: Access,
    /// When its pages changed, if it is tracked.
    pub(crate) stamps: Option<Stamps>,
    /// What it counts against the limit.
    pub(crate) _charge: Charge,
}

impl Window {
    /// Whether user space may write to it.
    pub(crate) fn is_writable(&self) -> bool {
        self.access == Access::ReadWrite
    }

    /// Fails with `ENODEV` if it was taken away, with its hardware.
    pub(crate) fn check_there(&self) -> Result {
        match self.memory.is_revoked() {
            true => Err(ENODEV),
            false => Ok(()),
        }
    }

    /// Says how a new mapping of it is to be set up, or refuses it: it is never executable, and shared
    /// writable only if the window is.
    // ANCHOR: map
    pub(crate) fn map(&self, vma: &VmaNew) -> Result<Setup> {
        self.check_there()?;
        vma.try_clear_mayexec().map_err(|_| EACCES)?;
        if vma::is_shared(vma) && !self.is_writable() {
            vma.try_clear_maywrite().map_err(|_| EACCES)?;
        }
        Ok(Setup {
            huge: self.memory.has_huge_pages(),
            track: self.stamps.is_some(),
        })
    }
    // ANCHOR_END: map

    /// The numbers and names of memory kind, cache mode and access mode.
    fn modes(&self) -> [(&'static str, u32); 3] {
        let kind = self.memory.kind();
        let cache = self.memory.cache();
        [
            named(&Kind::ALL, kind),
            named(&CACHES, cache),
            named(&Access::ALL, self.access),
        ]
    }

    /// Whether it is tracked, belongs to hardware that can go, and is gone with it: `WINDOW_*` bits.
    fn flags(&self) -> u32 {
        let flag = |is: bool, flag: u32| if is { flag } else { 0 };
        flag(self.stamps.is_some(), abi::WINDOW_TRACKED)
            | flag(self.memory.tie().is_some(), abi::WINDOW_REVOCABLE)
            | flag(self.memory.is_revoked(), abi::WINDOW_GONE)
    }

    /// What the WINDOW ioctl tells of it, as window `index`.
    pub(crate) fn describe(&self, index: u32) -> abi::Window {
        let address = self
            .memory
            .address()
            .filter(|_| capability::may_know_addresses());
        let mut name = [0; abi::NAME_SIZE];
        for (to, from) in name.iter_mut().zip(self.name.to_bytes()) {
            *to = *from;
        }
        let [(_, memory), (_, cache), (_, access)] = self.modes();
        abi::Window {
            index,
            flags: self.flags(),
            offset: self.extent.offset,
            size: self.extent.size,
            address: address.unwrap_or(abi::ADDRESS_UNKNOWN),
            memory,
            cache,
            access,
            reserved: [0; 5],
            name,
        }
    }
}

impl fmt::Display for Window {
    /// Name, offset, size, memory kind, cache mode and access mode, and whether it is tracked, as the text files show them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Extent { offset, size } = self.extent;
        let [(memory, _), (cache, _), (access, _)] = self.modes();
        f.write_fmt(fmt!(
            "{} {offset} {size} {memory} {cache} {access}",
            &*self.name
        ))?;
        match self.stamps {
            Some(_) => f.write_str(" track"),
            None => Ok(()),
        }
    }
}

/// The name and number of a mode in a list that has all of them.
pub(crate) fn named<T: Copy + PartialEq>(
    all: &[(T, &'static str, u32)],
    mode: T,
) -> (&'static str, u32) {
    all.iter()
        .find(|(each, ..)| *each == mode)
        .map_or(("", 0), |(_, name, number)| (*name, *number))
}
